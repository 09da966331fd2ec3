//! Small worlds: what is counted, what goes wrong, and what all agree on in the end.

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const HOUR: Duration = Duration::from_secs(3_600);

fn small() -> Params {
    let duration = Duration::from_secs(14 * 3_600);
    Params { servers: 6, users: 20, contacts: 20, duration, changes_per_hour: 30.0, ..Params::default() }
}

fn run(params: Params) -> World {
    let mut world = World::new(params).expect("good parameters");
    world.run_until(Instant::MAX);
    world
}

#[test]
fn the_same_seed_gives_the_same_counts() {
    let (one, other) = (run(small()), run(small()));
    assert_eq!(one.tally(), other.tally());
    let third = run(Params { seed: 2, ..small() });
    assert_ne!(one.tally(), third.tally());
}

/// People act late, many in one go: what follows from it is as if they had not.
#[test]
fn a_run_in_many_steps_counts_the_same_as_in_one_go() {
    let params = Params { duration: Duration::from_secs(10 * 3_600), ..small() };
    let mut world = World::new(params.clone()).expect("good parameters");
    for step in 0..Duration::as_millis(&params.duration) / 700 {
        world.run_until(Instant::from_millis(u64::try_from(step * 700).expect("small")));
    }
    world.run_until(Instant::MAX);
    let events = world.tally().events;
    assert_eq!(*world.tally(), Tally { events, ..run(params).tally().clone() });
}

#[test]
fn at_every_moment_of_quiet_contacts_agree() {
    let mut world = run(Params { changes_per_hour: 4.0, ..small() });
    world.params.duration += Duration::from_secs(3_600);
    world.run_until(Instant::MAX);
    let mut watched = 0;
    for (server, site) in (0..).zip(&world.sites) {
        let engine = site.engine.as_ref().expect("up");
        for index in site.online(&world.population) {
            for &contact in &world.population.contacts[index as usize] {
                let held = engine.status_of(world.population.user(server, contact));
                watched += 1;
                assert!(held.is_some(), "{index} knows of {contact}");
            }
        }
    }
    assert!(watched > 100, "{watched}");
}

#[test]
fn batches_cost_far_less_than_a_message_for_each_contact() {
    let world = run(small());
    let tally = world.tally();
    let (ours, per_change) = (tally.ours.messages, tally.per_change.messages);
    assert!(ours * 10 < tally.per_contact.messages, "{ours} of {}", tally.per_contact.messages);
    assert!(ours * 2 < per_change, "{ours} of {per_change}");
    assert!(tally.user_hours() > 500.0, "{}", tally.user_hours());
}

#[test]
fn a_server_that_dies_is_unknown_after_its_promise_and_known_again_when_it_is_back() {
    let minutes = |n: u64| Duration::from_secs(n * 60);
    let outage = Some(Span { begins: minutes(12 * 60), ends: minutes(12 * 60 + 30) });
    let faults = Faults { outage, ..Faults::default() };
    let world = run(Params { faults, ..small() });
    let known = |minute: usize| world.tally().by_minute[minute].known;
    assert!(known(719) > 10);
    assert_eq!((723..749).map(known).max(), Some(0), "the promise is of two minutes");
    assert!(known(765) > 10, "{}", known(765));
    let to_the_dead: u64 = world.tally().by_minute[723..749].iter().map(|minute| minute.to_first).sum();
    assert!(to_the_dead < 4 * 26, "{to_the_dead}: backed off");
}

#[test]
fn long_watchdogs_do_not_expire_together() {
    let params = Params {
        servers: 31,
        users: 2,
        contacts: 60,
        peers: 30,
        changes_per_hour: 0.0,
        online_hours: 24.0,
        duration: Duration::from_secs(5 * 3_600),
        room_traffic: Some(Duration::from_secs(25)),
        arrivals: Duration::from_secs(1_800),
        ..Params::default()
    };
    let world = run(params);
    let all = &world.tally().long_reminders[120..];
    let (total, most) = (all.iter().sum::<u64>(), all.iter().copied().max().unwrap_or(0));
    assert!(total > 1_000, "{total}");
    assert!(most * 40 < total, "{most} of {total} in one minute of three hours");
}

/// Everybody is always online, and the changes end long before the run does.
fn quiet_end(faults: Faults) -> World {
    let hours = |n: u32| Duration::from_secs(3_600) * n;
    let params = Params { online_hours: 24.0, duration: hours(3), faults, ..small() };
    let mut world = World::new(params).expect("good parameters");
    world.run_until(Instant::ZERO + hours(2));
    world.params.changes_per_hour = 0.0;
    world.run_until(Instant::MAX);
    world
}

#[test]
fn f11_whatever_goes_wrong_all_agree_some_time_after_it_ended() {
    let minutes = |begins: u64, ends: u64| {
        Some(Span { begins: Duration::from_secs(begins * 60), ends: Duration::from_secs(ends * 60) })
    };
    let none = Faults::default;
    for (what, faults, fails) in [
        ("nothing", none(), false),
        ("an outage", Faults { outage: minutes(60, 75), ..none() }, true),
        ("a cut", Faults { cut: minutes(60, 90), ..none() }, true),
        ("a one-way cut", Faults { one_way_cut: minutes(60, 90), ..none() }, true),
        ("a restart", Faults { restarts: vec![Duration::from_secs(4_000)], ..none() }, false),
        ("lost acknowledgements", Faults { lost_acknowledgements: 100, ..none() }, true),
    ] {
        let world = quiet_end(faults);
        let Agreement { right, wrong, unknown } = world.agreement();
        assert_eq!((wrong, unknown), (0, 0), "{what}: {right} right");
        assert!(right > 1_000, "{what}: {right}");
        assert_eq!(world.tally().failed > 0, fails, "{what}: {}", world.tally().failed);
    }
}

#[test]
fn f11_while_a_cut_lasts_those_beyond_it_are_unknown_and_nobody_is_shown_as_they_were() {
    for (one_way, known_there) in [(false, false), (true, true)] {
        let span = Some(Span { begins: Duration::from_secs(3_600), ends: Duration::from_secs(7_200) });
        let faults = match one_way {
            false => Faults { cut: span, ..Faults::default() },
            true => Faults { one_way_cut: span, ..Faults::default() },
        };
        let params = Params { servers: 2, peers: 1, online_hours: 24.0, faults, ..small() };
        let mut world = World::new(params).expect("good parameters");
        world.run_until(Instant::from_millis(3_600_000 + 10 * 60_000));
        let known = |at: u32, of: u32| {
            let engine = world.sites[at as usize].engine.as_ref().expect("up");
            let shown = |&index: &u32| engine.status_of(world.population.user(at, index)).is_some();
            world.population.users_of(of).filter(shown).count()
        };
        assert_eq!(known(1, 0), 0, "the first is not heard of at the second");
        assert_eq!(known(0, 1) > 0, known_there, "one way: {one_way}");
    }
}

#[test]
fn f11_hours_past_the_end_are_not_counted() {
    for rate in [0.0, 1.0] {
        let params = Params {
            servers: 3,
            users: 1,
            contacts: 2,
            peers: 2,
            changes_per_hour: rate,
            online_hours: 24.0,
            ..Params::default()
        };
        let hours = run(params).tally().user_hours();
        assert!((71.9..=72.0).contains(&hours), "{hours} at rate {rate}");
    }
    let day = run(Params { duration: Duration::from_secs(10 * 3_600), ..small() }).tally().user_hours();
    assert!(day < 6.0 * 20.0 * 2.5, "{day}: they came after half past seven");
}

#[test]
fn f11_two_servers_and_odd_numbers_of_peers_can_be_simulated() {
    for (servers, peers) in [(2, 1), (4, 3), (6, 1), (6, 3), (6, 5), (5, 4)] {
        let params =
            Params { servers, peers, online_hours: 24.0, duration: Duration::from_secs(1_800), ..small() };
        let world = run(params);
        for site in &world.sites {
            assert_eq!(site.engine.as_ref().expect("up").peers().len(), peers as usize, "{servers}");
        }
        let Agreement { right, wrong, unknown } = world.agreement();
        assert!(right > wrong + unknown, "{servers} {peers}: {right} {wrong} {unknown}");
    }
}

#[test]
fn contacts_beyond_the_people_within_reach_are_those_within_reach() {
    let world = World::new(Params { contacts: u32::MAX, users: 2, ..small() }).expect("good parameters");
    assert!((1.0..=8.0).contains(&world.contacts_each()), "{}", world.contacts_each());
}

#[test]
fn parameters_without_meaning_are_refused() {
    let backwards = Span { begins: Duration::from_secs(2), ends: Duration::from_secs(1) };
    let (early, late) = (Span { begins: HOUR, ends: HOUR * 2 }, Span { begins: HOUR, ends: HOUR * 30 });
    let none = Faults::default;
    let faults = |faults: Faults| Params { faults, ..small() };
    let window = |batch_window| {
        let config = crate::core::federation::Config { batch_window, ..Default::default() };
        Params { config, ..small() }
    };
    for (params, error) in [
        (faults(Faults { cut: Some(backwards), ..none() }), BadParams::Faults),
        (faults(Faults { lost_acknowledgements: 1_001, ..none() }), BadParams::Faults),
        (Params { servers: 7, peers: 5, ..small() }, BadParams::Peers),
        (Params { servers: 1, ..small() }, BadParams::Empty),
        (Params { users: 0, ..small() }, BadParams::Empty),
        (Params { peers: 0, ..small() }, BadParams::Peers),
        (Params { peers: 10, ..small() }, BadParams::Peers),
        (faults(Faults { cut: Some(late), ..none() }), BadParams::LateFault),
        (faults(Faults { outage: Some(late), ..none() }), BadParams::LateFault),
        (faults(Faults { one_way_cut: Some(late), ..none() }), BadParams::LateFault),
        (faults(Faults { restarts: vec![HOUR, HOUR * 14], ..none() }), BadParams::LateFault),
        (faults(Faults { outage: Some(early), restarts: vec![HOUR], ..none() }), BadParams::DeadRestart),
        (window(Duration::ZERO), BadParams::Window),
        (window(Duration::MAX), BadParams::Window),
        (Params { duration: Duration::ZERO, ..small() }, BadParams::Duration),
        (Params { duration: Duration::MAX, ..small() }, BadParams::Duration),
        (Params { online_hours: 0.0, ..small() }, BadParams::Times),
        (Params { changes_per_hour: 1e300, ..small() }, BadParams::Times),
        (Params { online_hours: 25.0, ..small() }, BadParams::Times),
        (Params { changes_per_hour: f64::NAN, ..small() }, BadParams::Times),
        (Params { users: 1 << 30, ..small() }, BadParams::TooMany),
    ] {
        assert_eq!(World::new(params).err(), Some(error));
    }
}
