//! M11 over random orderings, against a server that knows what it has accepted.

use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Send,
    /// Another user's message.
    Other,
    /// The request reaches the server and its answer the client.
    Answer,
    /// The request reaches the server, its answer is lost.
    LoseAnswer,
    /// The request is lost.
    LoseRequest,
    Refuse,
    Retry,
    Cancel,
    /// The sync under way brings what is new, or only the last of it.
    Sync {
        limit: usize,
    },
    Reload,
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Send),
        1 => Just(Step::Other),
        3 => Just(Step::Answer),
        2 => Just(Step::LoseAnswer),
        1 => Just(Step::LoseRequest),
        1 => Just(Step::Refuse),
        1 => Just(Step::Retry),
        1 => Just(Step::Cancel),
        3 => (1usize..4).prop_map(|limit| Step::Sync { limit }),
        1 => Just(Step::Reload),
        2 => Just(Step::Wait),
    ];
    prop::collection::vec(step, 0..40)
}

/// The room as the server has it: event ID, sender, action.
#[derive(Default)]
struct Server {
    log: Vec<(String, String, Option<u64>)>,
    told: usize,
}

impl Server {
    /// Accepts a request once, however often it comes; its event's ID.
    fn accept(&mut self, path: &str) -> String {
        let action: u64 = path.rsplit('/').next().unwrap().parse().expect("an action ID");
        if let Some((event, ..)) = self.log.iter().find(|(.., known)| *known == Some(action)) {
            return event.clone();
        }
        self.log.push((format!("$a{action}"), ME.to_owned(), Some(action)));
        format!("$a{action}")
    }

    /// The room's part of a sync answer: at most `limit` events of those not told.
    fn news(&mut self, limit: usize) -> Value {
        let from = self.told.max(self.log.len().saturating_sub(limit));
        let limited = from > self.told;
        self.told = self.log.len();
        let events: Vec<Value> = self.log[from..]
            .iter()
            .map(|(id, sender, action)| message(id, sender, "x", action.map(ActionId)))
            .collect();
        json!({"rooms": {"join": {ROOM: {"timeline": {"events": events, "limited": limited,
            "prev_batch": from.to_string()}}}}})
    }
}

struct World {
    f: Fixture,
    server: Server,
    sent: Vec<ActionId>,
    cancelled: Vec<ActionId>,
}

impl World {
    fn step(&mut self, step: &Step) {
        let f = &mut self.f;
        // Placed by the stream before its answer, a request can be under way beside the next one.
        let under_way = f.requests.iter().find(|request| request.path.contains("/send/"));
        let path = under_way.map(|request| request.path.clone()).unwrap_or_default();
        let sending = !path.is_empty();
        match step {
            Step::Send => self.sent.push(f.send("x")),
            Step::Other => {
                let id = format!("$o{}", self.server.log.len());
                self.server.log.push((id, String::from("@b:hs"), None));
            }
            Step::Answer | Step::LoseAnswer if sending => {
                let path =
                    f.requests.iter().find(|request| request.path.contains("/send/")).unwrap().path.clone();
                let event = self.server.accept(&path);
                match step {
                    Step::Answer => f.respond(&path, 200, json!({"event_id": event})),
                    _ => f.lose(&path),
                }
            }
            Step::LoseRequest if sending => f.lose(&path),
            Step::Refuse if sending => {
                let path =
                    f.requests.iter().find(|request| request.path.contains("/send/")).unwrap().path.clone();
                let action: u64 = path.rsplit('/').next().unwrap().parse().unwrap();
                // A server never refuses what it has accepted.
                if self.server.log.iter().all(|(.., known)| *known != Some(action)) {
                    f.respond(&path, 403, json!({"errcode": "M_FORBIDDEN"}));
                }
            }
            Step::Retry => {
                for &id in &self.sent {
                    f.client.retry(f.now, id);
                }
                f.drain();
            }
            Step::Cancel => {
                let held = self.sent.iter().copied().rfind(|&id| f.client.queue.contains(ROOM, id));
                if let Some(id) = held {
                    f.client.cancel(f.now, id);
                    f.drain();
                    self.cancelled.push(id);
                }
            }
            Step::Sync { limit } if f.count("/sync") > 0 => {
                let news = self.server.news(*limit);
                f.sync(news);
            }
            Step::Reload => self.reload(),
            Step::Wait => f.pass(Duration::from_secs(10)),
            Step::Answer | Step::LoseAnswer | Step::LoseRequest | Step::Refuse | Step::Sync { .. } => (),
        }
        self.check();
    }

    /// The page goes away in the middle of whatever it did, and comes back.
    fn reload(&mut self) {
        let now = self.f.now + Duration::from_millis(1);
        self.f = Fixture::with_storage("D", std::mem::take(&mut self.f.stored), now);
        self.f.start();
        self.f.respond("versions", 200, json!({"unstable_features": {"org.pilotlight.presence": true}}));
        self.server.told = 0;
        let mut first = self.server.news(2);
        first["rooms"]["join"][ROOM]["timeline"]["limited"] = json!(true);
        self.f.sync(first);
    }

    /// At every moment: nothing twice, and what the stream placed in the stream's order.
    fn check(&self) {
        let items = self.f.client.timeline(ROOM);
        let mut events: Vec<&str> = items.iter().filter_map(|item| item.event_id.as_deref()).collect();
        let mut actions: Vec<u64> = items.iter().filter_map(|item| item.action_id).collect();
        let (shown_events, shown_actions) = (events.len(), actions.len());
        events.sort_unstable();
        events.dedup();
        actions.sort_unstable();
        actions.dedup();
        assert_eq!((events.len(), actions.len()), (shown_events, shown_actions), "shown twice: {items:#?}");
        let placed = items.iter().filter(|item| item.echo.as_str() == "placed");
        let order: Vec<usize> = placed
            .map(|item| {
                self.server.log.iter().position(|(id, ..)| Some(&**id) == item.event_id.as_deref()).unwrap()
            })
            .collect();
        assert!(order.is_sorted(), "out of the stream's order: {order:?}");
    }

    /// Everything heals: all requests answered, all syncs whole, the history read to its beginning.
    fn heal(&mut self) {
        for _ in 0..200 {
            self.step(&Step::Retry);
            self.step(&Step::Wait);
            self.step(&Step::Answer);
            self.step(&Step::Sync { limit: 1_000 });
        }
        while self.f.client.rooms()[0].can_scroll_back {
            self.f.client.scroll_back(self.f.now, ROOM, 100);
            self.f.drain();
            let path =
                self.f.requests.iter().find(|one| one.path.contains("/messages")).unwrap().path.clone();
            let from = path.split("from=").nth(1).unwrap().split('&').next().unwrap();
            let from: usize = from.parse().expect("a token of this server");
            let older: Vec<Value> = self.server.log[..from]
                .iter()
                .rev()
                .map(|(id, sender, _)| message(id, sender, "x", None))
                .collect();
            self.f.respond("/messages", 200, json!({"chunk": older}));
            self.check();
        }
    }
}

proptest! {
    #![proptest_config(crate::core::testing::config())]

    #[test]
    fn m11_never_shown_twice_never_lost_and_placed_by_the_stream(steps in steps()) {
        let mut f = Fixture::new();
        f.start();
        f.respond("versions", 200, json!({"unstable_features": {"org.pilotlight.presence": true}}));
        let mut world = World { f, server: Server::default(), sent: Vec::new(), cancelled: Vec::new() };
        let first = world.server.news(10);
        world.f.sync(first);
        for step in &steps {
            world.step(step);
        }
        world.heal();
        for id in &world.sent {
            let accepted = world.server.log.iter().filter(|(.., action)| *action == Some(id.0)).count();
            let wanted = usize::from(!world.cancelled.contains(id));
            prop_assert!(accepted <= 1 && accepted >= wanted, "{} accepted {accepted} times", id);
        }
        let shown: Vec<_> = world.f.client.timeline(ROOM).iter().map(|item| item.event_id.as_deref().map(str::to_owned)).collect();
        let log: Vec<_> = world.server.log.iter().map(|(id, ..)| Some(id.clone())).collect();
        prop_assert_eq!(shown, log, "in the end the timeline is the server's");
    }
}
