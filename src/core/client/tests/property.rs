//! M11 over random orderings and over every short one, in both forms of the stream, against a server that knows what it
//! has accepted.

use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::stream::frame;
use super::*;

/// How the client follows the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Sync,
    Held,
}

impl Form {
    /// A stream that nothing came by for some seconds is given up for `/sync`.
    fn of(path: &str) -> Self {
        if path.contains("/sync") { Self::Sync } else { Self::Held }
    }
}

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
    /// The sync or the stream under way brings what is new, or only the last of it.
    Sync {
        limit: usize,
    },
    /// It breaks off, half a write being on the way.
    Drop,
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
        1 => Just(Step::Drop),
        1 => Just(Step::Reload),
        2 => Just(Step::Wait),
    ];
    prop::collection::vec(step, 0..40)
}

/// The room as the server has it: event ID, sender, action.
#[derive(Default)]
struct Server {
    log: Vec<(String, String, Option<u64>)>,
    /// Up to where the stream under way has told it.
    told: usize,
    /// The request that `told` is of.
    of: String,
}

impl Server {
    /// Accepts a request once, however often it comes; its event's ID.
    fn accept(&mut self, path: &str) -> String {
        let action = action_of(path);
        if let Some((event, ..)) = self.log.iter().find(|(.., known)| *known == Some(action)) {
            return event.clone();
        }
        self.log.push((format!("$a{action}"), ME.to_owned(), Some(action)));
        format!("$a{action}")
    }

    /// At most `limit` events of those that whoever asks with `path` was not told, and whether there are more.
    fn news(&mut self, path: &str, limit: usize) -> (usize, bool, Vec<Value>) {
        if self.of != path {
            self.of = path.to_owned();
            let since = path.split("since=").nth(1).map(|since| since.parse().expect("a position"));
            self.told = since.unwrap_or(0);
        }
        let from = self.told.max(self.log.len().saturating_sub(limit));
        let limited = from > self.told;
        self.told = self.log.len();
        let event = |(id, sender, action): &(String, String, Option<u64>)| {
            message(id, sender, "x", action.map(ActionId))
        };
        (from, limited, self.log[from..].iter().map(event).collect())
    }

    /// An answer of `/sync`.
    fn answer(&mut self, path: &str, limit: usize) -> Value {
        let (from, limited, events) = self.news(path, limit);
        json!({"next_batch": self.told.to_string(), "rooms": rooms(from, limited, &events)})
    }

    /// A write of the held stream.
    fn write(&mut self, path: &str, limit: usize) -> String {
        let told = if self.of == path { Some(self.told) } else { None };
        let is_first = told.is_none() && !path.contains("since=");
        let (from, limited, events) = self.news(path, limit);
        let end = ["id: ", &self.told.to_string(), "\n\n"].concat();
        let one = |mut event: Value| {
            event["room_id"] = json!(ROOM);
            frame("e", &event, "")
        };
        let frames = match (is_first, limited) {
            (true, _) => {
                frame("sync", &json!({"next_batch": "x", "rooms": rooms(from, limited, &events)}), "")
            }
            (false, true) => frame("room", &rooms(from, limited, &events), ""),
            (false, false) => events.into_iter().map(one).collect(),
        };
        frames + &end
    }
}

fn rooms(from: usize, limited: bool, events: &[Value]) -> Value {
    json!({"join": {ROOM: {"timeline": {"events": events, "limited": limited, "prev_batch": from.to_string()}}}})
}

fn action_of(path: &str) -> u64 {
    let last = path.split('?').next().and_then(|path| path.rsplit('/').next());
    last.and_then(|last| last.parse().ok()).expect("an action ID")
}

struct World {
    form: Form,
    f: Fixture,
    server: Server,
    sent: Vec<ActionId>,
    cancelled: Vec<ActionId>,
}

impl World {
    /// A client that has begun, and read what there is.
    fn new(form: Form) -> Self {
        let (sent, cancelled) = (Vec::new(), Vec::new());
        let mut world = Self { form, f: Fixture::new(), server: Server::default(), sent, cancelled };
        world.begin();
        world
    }

    fn begin(&mut self) {
        let features = json!({"org.pilotlight.presence": true, "org.pilotlight.stream": self.form == Form::Held,
            "org.pilotlight.action_order": self.form == Form::Held});
        self.f.start();
        self.f.respond("versions", 200, json!({"unstable_features": features}));
        self.tell(2);
    }

    /// What the client follows by brings what is new.
    fn tell(&mut self, limit: usize) {
        let f = &mut self.f;
        let Some(path) = following(f) else { return };
        match Form::of(&path) {
            Form::Sync => {
                let answer = self.server.answer(&path, limit);
                f.respond("/sync", 200, answer);
            }
            Form::Held => {
                f.chunk("event: hello\ndata: {}\n\n");
                let write = self.server.write(&path, limit);
                let (one, other) = write.split_at(write.len() / 3);
                f.chunk(one);
                f.chunk(other);
            }
        }
    }

    /// It breaks off in the middle of that.
    fn break_off(&mut self) {
        let Some(path) = following(&self.f) else { return };
        match Form::of(&path) {
            Form::Sync => self.f.lose("/sync"),
            Form::Held => {
                let write = self.server.write(&path, 2);
                self.f.chunk(&write[..write.len() - 1]);
                self.f.lose("/stream");
            }
        }
        self.server.of.clear();
    }

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
                let action = action_of(&path);
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
            Step::Sync { limit } => self.tell(*limit),
            Step::Drop => self.break_off(),
            Step::Reload => self.reload(),
            Step::Wait => f.pass(Duration::from_secs(10)),
            Step::Answer | Step::LoseAnswer | Step::LoseRequest | Step::Refuse => (),
        }
        self.check();
    }

    /// The page goes away in the middle of whatever it did, and comes back.
    fn reload(&mut self) {
        let now = self.f.now + Duration::from_millis(1);
        self.f = Fixture::with_storage("D", std::mem::take(&mut self.f.stored), now);
        self.server.of.clear();
        self.begin();
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

    /// Everything heals: all requests answered, all that is new told, the history read to its beginning.
    fn heal(&mut self) {
        let mut quiet = 0;
        while quiet < 5 {
            quiet = if self.f.client.waiting() == 0 { quiet + 1 } else { 0 };
            self.step(&Step::Retry);
            self.step(&Step::Wait);
            while self.f.count("/send/") > 0 {
                self.step(&Step::Answer);
            }
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

/// What the client follows by.
fn following(f: &Fixture) -> Option<String> {
    let follows = |request: &&Request| request.held || request.path.contains("/sync");
    f.requests.iter().find(follows).map(|request| request.path.clone())
}

/// In the end everything that was sent and not taken back is there, once, and the timeline is the server's.
fn check_end(mut world: World, steps: &[Step]) {
    world.heal();
    for id in &world.sent {
        let accepted = world.server.log.iter().filter(|(.., action)| *action == Some(id.0)).count();
        let wanted = usize::from(!world.cancelled.contains(id));
        assert!(accepted <= 1 && accepted >= wanted, "{id} accepted {accepted} times after {steps:?}");
    }
    let timeline = world.f.client.timeline(ROOM);
    let shown: Vec<_> = timeline.iter().map(|item| item.event_id.as_deref().map(str::to_owned)).collect();
    let log: Vec<_> = world.server.log.iter().map(|(id, ..)| Some(id.clone())).collect();
    assert_eq!(shown, log, "{:?} after {steps:?}", world.form);
}

#[test]
fn m11_in_every_order_of_what_can_happen_no_echo_is_lost_doubled_or_stuck() {
    const STEPS: [Step; 8] = [
        Step::Answer,
        Step::LoseAnswer,
        Step::LoseRequest,
        Step::Sync { limit: 9 },
        Step::Sync { limit: 0 },
        Step::Drop,
        Step::Reload,
        Step::Wait,
    ];
    // Sent once, and once more after the first thing has happened; a hundred times as many in the long suite.
    let depth: u32 = if crate::core::testing::seeds(1) > 1 { 5 } else { 4 };
    for form in [Form::Sync, Form::Held] {
        for order in 0..STEPS.len().pow(depth) {
            let mut rest = order;
            let mut steps = vec![Step::Send];
            for _ in 0..depth {
                steps.push(STEPS[rest % STEPS.len()].clone());
                rest /= STEPS.len();
            }
            steps.insert(2, Step::Send);
            let mut world = World::new(form);
            steps.iter().for_each(|step| world.step(step));
            check_end(world, &steps);
        }
    }
}

proptest! {
    #![proptest_config(crate::core::testing::config())]

    #[test]
    fn m11_never_shown_twice_never_lost_and_placed_by_the_stream(steps in steps(), held: bool) {
        let mut world = World::new(if held { Form::Held } else { Form::Sync });
        for step in &steps {
            world.step(step);
        }
        check_end(world, &steps);
    }
}
