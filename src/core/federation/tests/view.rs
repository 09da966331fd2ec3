//! What an operator sees of the peers.

use super::net::{Net, secs, server, user};
use crate::core::federation::{Availability, PeerView, Speech};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn view(net: &Net, at: usize) -> PeerView {
    let views = net.engines[at].as_ref().expect("it is up").peers();
    assert_eq!(views.len(), 1);
    views[0].clone()
}

/// Two users of each of two servers, who see one another and are there.
fn acquainted() -> Net {
    let mut net = Net::new(2, 1);
    for (ours, theirs) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        net.befriend(user(0, ours), user(1, theirs));
    }
    assert_eq!(view(&net, 0).alive, None, "nothing was ever heard");
    for n in 0..2 {
        net.appear(user(0, n));
        net.appear(user(1, n));
    }
    net.run(secs(30));
    net
}

#[test]
fn a_view_counts_promises_and_tells_when_each_timer_ends() {
    let net = acquainted();
    let now = net.now;
    let seen = view(&net, 0);
    assert_eq!((seen.server, seen.speech), (server(1), Speech::Extended));
    assert_eq!((seen.given, seen.asked, seen.held), (2, 2, 2));
    assert_eq!((seen.batch, seen.flush_at, seen.in_flight_since), (0, None, None));
    assert_eq!((seen.failures, seen.paused_until), (0, None));
    assert!(seen.alive.is_some_and(|at| at <= now && now.since(at) <= secs(30)));
    assert!(seen.short_watchdog.is_some_and(|at| at > now && at.since(now) <= secs(90)));
    assert!(seen.long_watchdog.is_some_and(|at| at.since(now) > secs(2_000)));
    assert!(seen.held_until.is_some_and(|at| at > now && at.since(now) <= secs(120)));
}

#[test]
fn a_view_counts_what_waits_in_the_batch_and_when_it_goes() {
    let mut net = acquainted();
    net.change(user(0, 0), Availability::Busy);
    net.change(user(0, 1), Availability::Busy);
    net.change(user(0, 1), Availability::Unavailable);
    let seen = view(&net, 0);
    assert_eq!((seen.batch, seen.flush_at), (2, Some(net.now + net.config.batch_window)));
    net.run(secs(15));
    let seen = view(&net, 0);
    assert_eq!((seen.batch, seen.flush_at), (0, None));
}

#[test]
fn a_view_of_a_dead_peer_shows_its_failures_and_that_nothing_is_known() {
    let mut net = acquainted();
    net.crash(1);
    net.run(secs(300));
    let seen = view(&net, 0);
    assert!(seen.failures > 0 && seen.paused_until.is_some(), "{seen:?}");
    assert_eq!((seen.asked, seen.held, seen.held_until), (2, 0, None));
    assert_eq!((seen.short_watchdog, seen.long_watchdog), (None, None), "the backoff is in their place");
}
