//! What reaches the queue and the feed, in whichever order things are handed in.

use std::cell::Cell;

use ruma::{server_name, user_id};

use super::*;
use crate::{
    core::{federation::Availability, time::UnixMillis},
    server::{change::feed::Subscriber, config},
};

/// What became known of the users of other servers.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<Known>>);

/// The number, who, the state if it is known, and how many observe them.
type Known = (u64, String, Option<Availability>, usize);

impl Subscriber for Told {
    fn follow(&self, _: &Change) {}

    fn tell(&self, changes: &[Change]) {
        for change in changes {
            let Change::RemotePresence { user, status, order, observers, .. } = change else {
                panic!("nothing else is told here: {change:?}")
            };
            let state = status.as_ref().map(|status| status.shown.availability);
            self.0.lock().push((*order, user.to_string(), state, observers.len()));
        }
    }
}

struct World {
    presence: Arc<Presence>,
    told: Arc<Told>,
}

impl World {
    fn new() -> Self {
        let (feed, told) = (Arc::new(Feed::default()), Arc::new(Told::default()));
        feed.subscribe(Some(Arc::clone(&told) as Arc<dyn Subscriber>));
        let config = config::Config::default();
        let engine = config.presence.engine();
        let queue = Arc::new(Queue::new(server_name!("a"), 1, engine.backoff));
        let policy = Arc::new(Policy::new(&config.federation));
        let clock = Clock::driven(UnixMillis(1_000_000));
        let grace = Duration::from_secs(30);
        let presence = Presence::new(server_name!("a"), 1, engine, grace, (clock, feed), (policy, queue));
        Self { presence: Arc::new(presence), told }
    }

    /// The last that server `b` is sent of presence, once everything is sent that waits.
    fn sent(&self) -> String {
        self.presence.handle_flush();
        let mut last = String::new();
        while let Ok(transaction) = self.presence.queue.next_transaction(self.presence.clock.now()) {
            assert_eq!(transaction.destination, "b");
            last = transaction.edus.last().map_or_else(String::new, |edu| edu.content.to_string());
            self.presence.queue.handle_delivered(&transaction, last.len());
            for edu in &transaction.edus {
                self.presence.handle_outcome(&transaction.destination, edu.seq, Outcome::Delivered);
            }
        }
        last
    }
}

fn seen_by_b() -> Across {
    Across { servers: [server_name!("b").to_owned()].into(), ..Across::default() }
}

fn status(position: u64, availability: Availability) -> (LivePosition, Status) {
    (LivePosition::new(position), Status::from(availability))
}

#[test]
fn of_two_statuses_the_later_is_shown_whichever_is_told_first() {
    use Availability::{Busy, Offline, Online};
    let alice = user_id!("@alice:a");
    for order in [[7, 9], [9, 7]] {
        let world = World::new();
        world.presence.handle_lists(alice, seen_by_b(), || status(5, Offline));
        for position in order {
            let (position, status) = status(position, if position == 9 { Busy } else { Online });
            world.presence.handle_status(alice, position, &status);
        }
        let sent = world.sent();
        assert!(sent.contains("busy") && !sent.contains("online"), "{order:?}: {sent}");
        let (position, earlier) = status(8, Online);
        world.presence.handle_status(alice, position, &earlier);
        assert_eq!(world.sent(), "", "{order:?}: nothing is new");
    }
}

#[test]
fn what_a_user_came_to_show_while_nobody_listened_is_not_missed() {
    let (world, alice, asked) = (World::new(), user_id!("@alice:a"), Cell::new(0));
    let statuses = [status(5, Availability::Online), status(8, Availability::Busy)];
    world.presence.handle_lists(alice, seen_by_b(), || {
        let status = statuses[asked.get()].clone();
        // It is asked for while nothing is locked, and told while no server may see the user.
        if asked.replace(asked.get() + 1) == 0 {
            world.presence.handle_status(alice, statuses[1].0, &statuses[1].1);
        }
        status
    });
    let sent = world.sent();
    assert!(sent.contains("busy"), "{sent}");
}

#[test]
fn of_whom_no_server_may_see_nothing_is_kept() {
    let (world, alice) = (World::new(), user_id!("@alice:a"));
    world.presence.handle_lists(alice, seen_by_b(), || status(5, Availability::Online));
    world.presence.handle_lists(alice, Across::default(), || panic!("nobody wants to know"));
    world.sent();
    world.presence.handle_status(alice, LivePosition::new(9), &Status::from(Availability::Busy));
    assert!(world.presence.lock().lists.is_empty());
    assert_eq!(world.sent(), "");
}

#[test]
fn what_becomes_known_of_others_is_told_with_its_number_and_to_their_observers() {
    let (world, alice, bob) = (World::new(), user_id!("@alice:a"), user_id!("@bob:b"));
    let reading = world.presence.attach(alice);
    let observes = Across { observed: [bob.to_owned()].into(), ..Across::default() };
    world.presence.handle_lists(alice, observes, || panic!("no server may see her"));
    let push = |state: &str| {
        let content =
            format!(r#"{{"push":[{{"user_id":"@bob:b","presence":"{state}","last_active_ago":1}}]}}"#);
        let content = RawValue::from_string(content).expect("is JSON");
        world.presence.handle_edu(server_name!("b"), &content);
        std::mem::take(&mut *world.told.0.lock())
    };
    let bob = || bob.to_string();
    let (online, away) = (Some(Availability::Online), Some(Availability::Unavailable));
    assert_eq!((push("online"), push("unavailable")), (vec![], vec![]), "what he is called is asked for");
    world.presence.clock.advance(Duration::from_secs(2));
    world.presence.handle_timeout();
    assert_eq!(std::mem::take(&mut *world.told.0.lock()), [(1, bob(), away, 1)], "nobody said it");
    assert_eq!(push("online"), [(2, bob(), online, 1)]);
    drop(reading);
    assert!(world.presence.lock().attached.contains(alice), "the next poll may come");
    world.presence.clock.advance(Duration::from_secs(30));
    world.presence.handle_timeout();
    assert!(world.presence.lock().attached.is_empty());
}
