//! What a peer cannot make an engine do.

use super::net::{Net, online, secs, server, user};
use crate::core::federation::{
    Asked, Availability, Edu, Federation, Fingerprint, Link, Permission, Push, Refused, Rejected, User,
};
use crate::core::time::Instant;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn push(who: User) -> Push {
    Push { shown: online().shown, ..Push::offline(who) }
}

fn link(seq: u64) -> Option<Link> {
    Some(Link { epoch: 1 << 50, seq, promise: None })
}

fn victim() -> Net {
    let mut net = Net::new(3, 1);
    net.befriend(user(0, 0), user(1, 0));
    net.befriend(user(0, 0), user(2, 0));
    net.appear(user(0, 0));
    net.appear(user(2, 0));
    net.run(secs(30));
    net
}

fn receive(net: &mut Net, from: usize, edu: Edu) -> Result<(), Refused> {
    let mut result = Ok(());
    net.tell(0, |engine, now| result = engine.handle_edu(now, server(from), edu));
    result
}

#[test]
fn it_speaks_only_for_its_own_users() {
    let mut net = victim();
    for edu in [
        Edu { link: link(1), push: vec![push(user(1, 0)), push(user(2, 0))], ..Edu::default() },
        Edu { link: link(1), withdrawn: vec![user(2, 0)], ..Edu::default() },
        Edu { push: vec![push(user(2, 0))], ..Edu::default() },
    ] {
        assert_eq!(receive(&mut net, 1, edu), Err(Refused::NotItsUser(user(2, 0))));
    }
    assert_eq!(net.seen(0, user(2, 0)), Some(Availability::Online), "untouched");
}

#[test]
fn of_servers_without_anybody_to_watch_a_bounded_number_is_told_that_there_is_nothing_to_see() {
    let mut net = Net::new(5, 1);
    net.config.max_strangers = 2;
    net.start(0);
    let poll = Edu { link: link(1), poll: vec![Asked::Known(user(0, 0))], ..Edu::default() };
    assert_eq!(receive(&mut net, 1, Edu { link: link(1), ..Edu::default() }), Err(Refused::Unrelated));
    let results = [1, 2, 3, 4].map(|from| receive(&mut net, from, poll.clone()));
    assert_eq!(results, [Ok(()), Ok(()), Err(Refused::Unrelated), Err(Refused::Unrelated)]);
    assert!(net.sent.iter().all(|sent| sent.edu.users() == 0));
    assert_eq!(net.sent.len(), 2);
}

#[test]
fn it_sees_only_whom_it_may() {
    let mut net = victim();
    net.appear(user(0, 5));
    let polled = [user(0, 0), user(0, 5)].map(Asked::Known);
    let edu = Edu { link: link(1), poll: polled.to_vec(), ..Edu::default() };
    let mark = net.sent.len();
    assert_eq!(receive(&mut net, 1, edu), Ok(()));
    net.change(user(0, 5), Availability::Busy);
    net.run(secs(600));
    let pushed: Vec<User> = net
        .sent_since(mark, 0, 1)
        .iter()
        .flat_map(|sent| sent.edu.push.iter().map(|push| push.user))
        .collect();
    assert!(!pushed.is_empty() && pushed.iter().all(|&who| who == user(0, 0)), "{pushed:?}");
}

#[test]
fn polls_for_a_hundred_thousand_users_are_kept_within_their_bound() {
    let mut net = victim();
    let mut refused = 0;
    for part in 0..100u64 {
        let stranger = |n: u64| Asked::Stranger(Fingerprint(part * 1_000 + n));
        let edu = Edu { link: link(part + 1), poll: (0..1_000).map(stranger).collect(), ..Edu::default() };
        refused += u32::from(receive(&mut net, 1, edu) == Err(Refused::TooManyPolls));
    }
    assert_eq!(refused, 99);
    net.change(user(0, 0), Availability::Busy);
    net.run(secs(15));
    assert_eq!(net.seen(2, user(0, 0)), Some(Availability::Busy), "other peers are not affected");
}

#[test]
fn replayed_messages_change_nothing() {
    let mut net = victim();
    let mut off = push(user(1, 0));
    off.shown.availability = Availability::Offline;
    let on = Edu { link: link(1), push: vec![push(user(1, 0))], ..Edu::default() };
    let off = Edu { link: link(2), push: vec![off], ..Edu::default() };
    assert_eq!(receive(&mut net, 1, on.clone()), Ok(()));
    assert_eq!(receive(&mut net, 1, off), Ok(()));
    assert_eq!(receive(&mut net, 1, on), Ok(()));
    assert_eq!(net.seen(0, user(1, 0)), Some(Availability::Offline));
}

#[test]
fn endless_disagreement_costs_less_and_less() {
    let mut net = victim();
    net.cuts.insert((1, 0));
    let mark = net.sent.len();
    for second in 0..7_200u64 {
        let seen =
            net.sent_since(0, 0, 1).last().and_then(|sent| sent.edu.link).map(|link| (link.epoch, link.seq));
        let wrong = "00000000deadbeef".parse().expect("a digest");
        let reminder = crate::core::federation::Reminder { mine: wrong, yours: wrong, seen, answer: false };
        let edu = Edu { link: link(second + 1), reminder: Some(reminder), ..Edu::default() };
        assert_eq!(receive(&mut net, 1, edu), Ok(()));
        net.run(secs(1));
    }
    let answers = net.sent_since(mark, 0, 1).len();
    assert!(answers < 120, "{answers} messages in two hours");
}

#[test]
fn the_named_role_refuses_what_it_cannot_read_and_goes_on() {
    let mut role = Federation::new("a.example", 1, 1, crate::core::federation::Config::default());
    let now = Instant::ZERO;
    role.handle_interest_added(now, "@alice:a.example", "@bob:b.example").expect("IDs");
    role.handle_permission(now, "b.example", "@alice:a.example", Permission::Allowed).expect("an ID");
    role.handle_client_attached(now, "@alice:a.example").expect("an ID");
    assert!(matches!(role.handle_edu(now, "b.example", "{"), Err(Rejected::Bad(_))));
    assert_eq!(role.handle_edu(now, "c.example", "{}"), Err(Rejected::Refused(Refused::Unrelated)));
    let forged = r#"{"push":[{"user_id":"@alice:a.example","presence":"online"}]}"#;
    assert!(matches!(role.handle_edu(now, "b.example", forged), Err(Rejected::Bad(_))));
    let good = r#"{"push":[{"user_id":"@bob:b.example","presence":"online","last_active_ago":1}]}"#;
    assert_eq!(role.handle_edu(now, "b.example", good), Ok(()));
    let status = role.status_of("@bob:b.example").expect("known");
    assert_eq!(status.shown.availability, Availability::Online);
}
