//! Who is asked for when, and what waits for it.

use ruma::user_id;

use super::*;

fn at(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1_000)
}

fn bob() -> &'static UserId {
    user_id!("@bob:b")
}

fn named(name: &str) -> Profile {
    Profile { displayname: Some(name.to_owned()), avatar_url: None }
}

/// Server `b` has been asked for Bob, and answered.
fn knowing(name: &str) -> Profiles {
    let mut profiles = Profiles::default();
    assert_eq!(profiles.handle_change(bob(), named(name).mark(), at(0)), Turn::Hold);
    let wanted = profiles.take_next(at(0)).expect("is wanted");
    assert!(profiles.handle_answer(&wanted, Some(named(name)), at(0)));
    profiles
}

#[test]
fn p10_a_profile_is_asked_for_once_a_change_and_the_change_waits_for_it() {
    let mut profiles = knowing("Bob");
    let (same, other) = (named("Bob").mark(), named("Robert").mark());
    for second in 1..100 {
        assert_eq!(profiles.handle_change(bob(), same, at(second)), Turn::Tell(Arc::new(named("Bob"))));
    }
    assert_eq!(profiles.take_next(at(100)), None);
    assert_eq!(profiles.handle_change(bob(), other, at(100)), Turn::Hold);
    assert_eq!(profiles.handle_change(bob(), other, at(101)), Turn::Hold);
    let wanted = profiles.take_next(at(101)).expect("is wanted");
    assert_eq!(profiles.take_next(at(101)), None, "once");
    assert!(profiles.is_held(bob()));
    assert!(profiles.handle_answer(&wanted, Some(named("Robert")), at(101)));
    assert!(!profiles.is_held(bob()) && profiles.busy() == 0 && profiles.deadline().is_none());
    assert_eq!(profiles.handle_change(bob(), other, at(102)), Turn::Tell(Arc::new(named("Robert"))));
}

#[test]
fn p10_a_change_waits_two_seconds_and_a_profile_that_comes_later_is_told_then() {
    let mut profiles = knowing("Bob");
    assert_eq!(profiles.handle_change(bob(), named("Robert").mark(), at(100)), Turn::Hold);
    let wanted = profiles.take_next(at(100)).expect("is wanted");
    assert_eq!((profiles.deadline(), profiles.handle_timeout(at(101))), (Some(at(102)), Vec::new()));
    assert_eq!(profiles.handle_timeout(at(102)), [bob()]);
    assert_eq!(*profiles.profile(bob()), named("Bob"));
    assert!(profiles.handle_answer(&wanted, Some(named("Robert")), at(109)), "told again");
    assert_eq!(*profiles.profile(bob()), named("Robert"));
}

#[test]
fn who_has_neither_name_nor_picture_is_not_asked_for() {
    let mut profiles = Profiles::default();
    assert_eq!(profiles.handle_change(bob(), ProfileMark::EMPTY, at(0)), Turn::Tell(Arc::default()));
    assert_eq!(profiles.take_next(at(0)), None);
}

#[test]
fn p10_of_a_stock_servers_users_profiles_are_asked_for_once_an_hour_and_only_the_first_is_waited_for() {
    let mut profiles = Profiles::default();
    assert_eq!(profiles.handle_change(bob(), ProfileMark::UNTOLD, at(0)), Turn::Hold);
    let wanted = profiles.take_next(at(0)).expect("is wanted");
    assert!(profiles.handle_answer(&wanted, Some(named("Bob")), at(1)));
    for second in (2..3_600).step_by(100) {
        let turn = profiles.handle_change(bob(), ProfileMark::UNTOLD, at(second));
        assert_eq!((turn, profiles.take_next(at(second))), (Turn::Tell(Arc::new(named("Bob"))), None));
    }
    let turn = profiles.handle_change(bob(), ProfileMark::UNTOLD, at(3_601));
    assert_eq!(turn, Turn::Tell(Arc::new(named("Bob"))), "the old one meanwhile");
    let wanted = profiles.take_next(at(3_601)).expect("is wanted");
    assert!(!profiles.handle_answer(&wanted, Some(named("Bob")), at(3_602)), "nothing is different");
}

#[test]
fn a_profile_that_is_known_is_not_asked_for_when_its_mark_is_said_at_last() {
    let mut profiles = Profiles::default();
    profiles.handle_change(bob(), ProfileMark::UNTOLD, at(0));
    let wanted = profiles.take_next(at(0)).expect("is wanted");
    profiles.handle_answer(&wanted, Some(named("Bob")), at(0));
    assert_eq!(profiles.handle_change(bob(), named("Bob").mark(), at(1)), Turn::Tell(Arc::new(named("Bob"))));
    assert_eq!((profiles.take_next(at(1)), profiles.deadline()), (None, None));
}

#[test]
fn a_mark_that_changes_all_the_time_is_asked_for_every_ten_seconds() {
    let mut profiles = Profiles::default();
    let mut asked = 0;
    for second in 0..100 {
        profiles.handle_change(bob(), named(&second.to_string()).mark(), at(second));
        profiles.handle_timeout(at(second));
        if let Some(wanted) = profiles.take_next(at(second)) {
            asked += 1;
            profiles.handle_answer(&wanted, Some(named("anybody")), at(second));
        }
    }
    assert!((9..=11).contains(&asked), "{asked}");
}

#[test]
fn a_request_that_fails_is_repeated_ever_later_and_not_for_ever() {
    let mut profiles = Profiles::default();
    assert_eq!(profiles.handle_change(bob(), named("Bob").mark(), at(0)), Turn::Hold);
    let mut asked = Vec::new();
    for second in 0..10_000 {
        assert_eq!(profiles.handle_timeout(at(second)), Vec::<OwnedUserId>::new());
        if let Some(wanted) = profiles.take_next(at(second)) {
            asked.push(second);
            let is_told = profiles.handle_answer(&wanted, None, at(second));
            assert_eq!(is_told, asked.len() == 2, "told without, when it failed again");
        }
    }
    assert_eq!(asked, [0, 1, 61, 181, 421, 901]);
    let turn = profiles.handle_change(bob(), named("Bob").mark(), at(10_000));
    assert_eq!(turn, Turn::Tell(Arc::default()), "nobody waits for it again");
}

#[test]
fn requests_are_bounded_for_each_server_and_for_all_and_those_of_one_do_not_wait_for_another() {
    let mut profiles = Profiles::default();
    for server in 0..20 {
        for user in 0..10 {
            let user = UserId::parse(format!("@u{user}:s{server}")).expect("an ID");
            profiles.handle_change(&user, named("x").mark(), at(0));
        }
    }
    let mut under_way = Vec::new();
    while let Some(wanted) = profiles.take_next(at(0)) {
        under_way.push(wanted);
    }
    assert_eq!(under_way.len(), MAX_IN_FLIGHT_TO_ALL);
    let of = |server: &str| under_way.iter().filter(|wanted| wanted.user.server_name() == server).count();
    assert_eq!((of("s0"), of("s1")), (MAX_IN_FLIGHT, MAX_IN_FLIGHT));
    for wanted in &under_way {
        profiles.handle_answer(wanted, Some(named("x")), at(0));
    }
    assert_eq!(profiles.busy(), 200 - MAX_IN_FLIGHT_TO_ALL);
}

#[test]
fn who_is_not_observed_any_more_is_forgotten_with_what_waits() {
    let mut profiles = Profiles::default();
    profiles.handle_change(bob(), named("Bob").mark(), at(0));
    let wanted = profiles.take_next(at(0)).expect("is wanted");
    profiles.forget(bob());
    assert!(!profiles.handle_answer(&wanted, Some(named("Bob")), at(1)));
    assert!(profiles.users.is_empty() && profiles.deadline().is_none() && profiles.busy() == 0);
}

#[test]
fn p10_what_somebody_asked_for_themselves_is_told_to_all() {
    let mut profiles = knowing("Bob");
    let mut seen = |user: &UserId, name: &str, second: u64| {
        let asked = profiles.ask();
        profiles.handle_seen(user, asked, &named(name), at(second))
    };
    assert!(!seen(bob(), "Bob", 1));
    assert!(seen(bob(), "Robert", 2));
    assert!(!seen(user_id!("@carol:b"), "Carol", 3), "nobody observes her");
}

#[test]
fn p10_of_two_answers_that_of_the_later_request_counts_whichever_comes_last() {
    // Somebody asks for themselves, and Bob takes his name off before they are answered.
    let mut profiles = knowing("Bob");
    let of_client = profiles.ask();
    assert_eq!(profiles.handle_change(bob(), named("Robert").mark(), at(100)), Turn::Hold);
    let wanted = profiles.take_next(at(100)).expect("is wanted");
    assert!(profiles.handle_answer(&wanted, Some(named("Robert")), at(100)));
    assert!(!profiles.handle_seen(bob(), of_client, &named("Bob"), at(101)));
    assert_eq!(*profiles.profile(bob()), named("Robert"));
    // The other way round.
    assert_eq!(profiles.handle_change(bob(), named("Rob").mark(), at(200)), Turn::Hold);
    let wanted = profiles.take_next(at(200)).expect("is wanted");
    let of_client = profiles.ask();
    assert!(profiles.handle_seen(bob(), of_client, &named("Rob"), at(201)));
    assert!(profiles.handle_answer(&wanted, Some(named("Robert")), at(201)), "the change waited for it");
    assert_eq!(*profiles.profile(bob()), named("Rob"));
}

#[test]
fn p10_a_change_waits_for_a_second_request_when_the_first_fails() {
    let mut profiles = knowing("Bob");
    assert_eq!(profiles.handle_change(bob(), named("Robert").mark(), at(100)), Turn::Hold);
    let wanted = profiles.take_next(at(100)).expect("is wanted");
    assert!(!profiles.handle_answer(&wanted, None, at(100)), "not told with the old name");
    let again = profiles.take_next(at(100)).expect("is wanted again, at once");
    assert!(profiles.is_held(bob()));
    assert!(profiles.handle_answer(&again, Some(named("Robert")), at(100)));
    assert_eq!(*profiles.profile(bob()), named("Robert"));
}
