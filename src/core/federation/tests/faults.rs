//! Seeded runs in bad weather, against the truth as a reference model.

use std::collections::{BTreeMap, BTreeSet};

use super::net::{Clock, Net, Sent, Weather, between, secs, server, user};
use crate::core::federation::{Availability, Config, Engine, Link, Permission, Status, User};
use crate::core::rng::Rng;
use crate::core::time::Instant;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const SERVERS: usize = 3;
const USERS: u32 = 3;

/// What is true, as the servers' users and operators know it.
struct Truth {
    status: BTreeMap<User, Availability>,
    interest: BTreeSet<(User, User)>,
    permitted: BTreeSet<(usize, User)>,
    attached: BTreeSet<User>,
    dead_since: Vec<Option<Instant>>,
    /// The seconds that a message may be under way.
    longest_way: u64,
    /// Inputs that may cost messages of their own.
    acts: u64,
}

fn home(user: User) -> usize {
    user.server.0 as usize
}

fn everybody() -> Vec<User> {
    (0..SERVERS).flat_map(|at| (0..USERS).map(move |n| user(at, n))).collect()
}

impl Truth {
    fn new(weather: Weather) -> Self {
        Self {
            status: BTreeMap::new(),
            interest: BTreeSet::new(),
            permitted: BTreeSet::new(),
            attached: BTreeSet::new(),
            dead_since: vec![None; SERVERS],
            longest_way: match weather {
                Weather { lateness: 1.., .. } => 90,
                // A server that restarted cannot know that it had the message before.
                Weather { duplication: 1.., .. } => 60,
                Weather { max_latency_ms, .. } => max_latency_ms / 1_000 + 1,
            },
            acts: 0,
        }
    }

    /// What `observer`'s server should hold of `observed`.
    fn expected(&self, observer: User, observed: User) -> Option<Availability> {
        let visible =
            self.dead_since[home(observed)].is_none() && self.permitted.contains(&(home(observer), observed));
        visible.then(|| self.status.get(&observed).copied().unwrap_or_default())
    }

    /// One thing happens somewhere.
    fn act(&mut self, net: &mut Net, rng: &mut Rng) {
        let users = everybody();
        let mut pick = || users[usize::try_from(rng.range(0..users.len() as u64)).expect("small")];
        let (one, other) = (pick(), pick());
        let (at, there) = (home(one), home(other));
        match rng.range(0..100) {
            0..40 => {
                let availability = Availability::ALL[usize::try_from(rng.range(0..5)).expect("small")];
                if self.dead_since[at].is_none() {
                    self.status.insert(one, availability);
                    net.change(one, availability);
                }
            }
            40..60 => self.toggle_client(net, one),
            60..75 if at != there => {
                self.acts += 1;
                let added = self.interest.insert((one, other));
                if !added {
                    self.interest.remove(&(one, other));
                }
                net.tell(at, |engine, now| match added {
                    true => engine.handle_interest_added(now, one, other),
                    false => engine.handle_interest_removed(now, one, other),
                });
            }
            75..85 if at != there => {
                self.acts += 1;
                let permission = if self.permitted.insert((at, other)) {
                    Permission::Allowed
                } else {
                    self.permitted.remove(&(at, other));
                    Permission::Denied
                };
                net.tell(there, |engine, now| engine.handle_permission(now, server(at), other, permission));
            }
            85..88 if at != there && !net.cuts.remove(&(at, there)) => {
                net.cuts.insert((at, there));
            }
            88..90 if at != there && !net.muted.remove(&(at, there)) => {
                net.muted.insert((at, there));
            }
            90..95 if self.dead_since[there].is_none() && !net.cuts.contains(&(there, at)) => {
                net.tell(at, |engine, now| engine.handle_traffic(now, server(there)));
            }
            95..97 => self.crash(net, at),
            97..100 => self.restart(net, at),
            _ => {}
        }
    }

    fn toggle_client(&mut self, net: &mut Net, who: User) {
        if self.dead_since[home(who)].is_some() {
            return;
        }
        self.acts += 1;
        let attached = self.attached.insert(who);
        if !attached {
            self.attached.remove(&who);
        }
        let status = if attached { Availability::Online } else { Availability::Offline };
        self.status.insert(who, status);
        net.tell(home(who), |engine, now| {
            engine.handle_local_change(now, who, status.into());
            match attached {
                true => engine.handle_client_attached(now, who),
                false => engine.handle_client_detached(now, who),
            }
        });
    }

    fn crash(&mut self, net: &mut Net, at: usize) {
        if self.dead_since[at].is_none() {
            self.dead_since[at] = Some(net.now);
            self.status.retain(|who, _| home(*who) != at);
            self.attached.retain(|who| home(*who) != at);
            net.crash(at);
        }
    }

    /// The server starts with what its store holds, and nobody connected.
    fn restart(&mut self, net: &mut Net, at: usize) {
        self.crash(net, at);
        self.acts += 1;
        self.dead_since[at] = None;
        net.start(at);
        let own = |who: User| home(who) == at;
        for &(observer, observed) in self.interest.iter().filter(|pair| own(pair.0)) {
            net.tell(at, |engine, now| engine.handle_interest_added(now, observer, observed));
        }
        for &(peer, observed) in self.permitted.iter().filter(|pair| own(pair.1)) {
            net.tell(at, |engine, now| {
                engine.handle_permission(now, server(peer), observed, Permission::Allowed);
            });
        }
    }

    /// Nobody is shown by the word of a server that is dead for longer than its promise, and the time
    /// that its last words can have been under way.
    fn check_no_ghosts(&self, net: &Net, seed: u64) {
        let promise = Config::default().promise.as_secs() + 2 + self.longest_way;
        for who in everybody() {
            let Some(since) = self.dead_since[home(who)] else { continue };
            if between(since, net.now) > promise {
                for at in (0..SERVERS).filter(|&at| at != home(who)) {
                    let ghost = net.seen(at, who);
                    assert_eq!(
                        ghost,
                        None,
                        "seed {seed}: {who:?} at server {at}\n{}",
                        talk(net, user(at, 0), who)
                    );
                }
            }
        }
    }

    fn check_agreement(&self, net: &Net, seed: u64) {
        for &(observer, observed) in &self.interest {
            if self.dead_since[home(observer)].is_none() && self.attached.contains(&observer) {
                let seen = net.seen(home(observer), observed);
                let expected = self.expected(observer, observed);
                assert_eq!(
                    seen,
                    expected,
                    "seed {seed}: {observer:?} watches {observed:?}\n{}",
                    talk(net, observer, observed)
                );
            }
        }
    }
}

/// The last messages between the servers of two users, for a person to read.
fn talk(net: &Net, one: User, other: User) -> String {
    let (at, there) = (home(one), home(other));
    let between = |sent: &&Sent| [(at, there), (there, at)].contains(&(sent.from, sent.to));
    let talk: Vec<String> = net.sent.iter().filter(between).map(|sent| format!("{sent:?}")).collect();
    format!("{:?}\n{}", net.now, talk[talk.len().saturating_sub(12)..].join("\n"))
}

fn run(seed: u64) -> Net {
    let mut rng = Rng::new(seed);
    let mut net = Net::new(SERVERS, seed);
    for at in 0..SERVERS {
        net.clocks[at] = Clock { offset_ms: rng.range(0..1 << 40), fast_per_mille: rng.range(0..4) };
        net.start(at);
    }
    net.weather = Weather {
        loss: rng.range(0..150),
        duplication: rng.range(0..300).saturating_sub(150),
        lateness: rng.range(0..200).saturating_sub(100),
        max_latency_ms: rng.range(10..3_000),
    };
    let mut truth = Truth::new(net.weather);
    let started = net.now;
    for _ in 0..40 {
        truth.act(&mut net, &mut rng);
    }
    for _ in 0..150 {
        truth.act(&mut net, &mut rng);
        net.run(secs(rng.range(0..20)));
        truth.check_no_ghosts(&net, seed);
    }
    net.cuts.clear();
    net.muted.clear();
    net.weather = Weather { max_latency_ms: 100, ..Weather::default() };
    // The longest pause of all, to which lost acknowledgements can have led soon, and two reminders.
    for _ in 0..150 {
        net.run(secs(30));
        truth.check_no_ghosts(&net, seed);
    }
    truth.check_agreement(&net, seed);
    check_message_bound(&net, &truth, started, seed);
    net
}

/// The formula of `docs/FEDERATION.md`.
fn check_message_bound(net: &Net, truth: &Truth, started: Instant, seed: u64) {
    let config = Config::default();
    let pairs = (SERVERS * (SERVERS - 1)) as u64;
    let seconds = between(started, net.now);
    let batches = pairs * (seconds / config.batch_window.as_secs() + 1);
    let reminders = pairs * 2 * (seconds / config.short_watchdog.as_secs() + 1);
    let acts = 4 * truth.acts * (SERVERS as u64 - 1);
    let faults = 4 * (net.failed + net.repeated);
    let sent = net.sent.len() as u64;
    assert!(sent <= batches + reminders + acts + faults, "seed {seed}: {sent} messages");
}

fn seeds() -> u64 {
    crate::core::testing::seeds(300)
}

#[test]
fn after_quiet_every_watcher_agrees_with_the_watched_and_nobody_is_a_ghost() {
    (0..seeds()).for_each(|seed| {
        run(seed);
    });
}

#[test]
fn the_same_seed_gives_the_same_messages() {
    let (one, other) = (run(42), run(42));
    assert_eq!(format!("{:?}", one.sent), format!("{:?}", other.sent));
}

#[test]
fn a_peer_that_stays_dead_gets_ever_fewer_messages() {
    let mut net = Net::new(2, 1);
    net.befriend(user(0, 0), user(1, 0));
    (0..2).for_each(|at| net.appear(user(at, 0)));
    net.run(secs(60));
    net.crash(1);
    net.run(secs(118));
    let mark = net.sent.len();
    net.run(secs(24 * 3_600));
    assert_eq!(net.seen(0, user(1, 0)), None);
    let sent = net.sent.len() - mark;
    assert!((20..50).contains(&sent), "{sent} in a day, not one a minute");
}

#[test]
fn a_peer_that_hears_us_but_cannot_reach_us_becomes_unknown_here_and_not_there() {
    let mut net = Net::new(2, 1);
    net.befriend(user(0, 0), user(1, 0));
    (0..2).for_each(|at| net.appear(user(at, 0)));
    net.run(secs(60));
    net.cuts.insert((1, 0));
    net.run(secs(245));
    assert_eq!(net.seen(0, user(1, 0)), None, "its own messages do not come through");
    assert_eq!(net.seen(1, user(0, 0)), Some(Availability::Online));
    net.cuts.clear();
    net.run(secs(1_800));
    assert_eq!(net.seen(0, user(1, 0)), Some(Availability::Online));
}

#[test]
fn a_restart_is_noticed_by_the_next_reminder_at_the_latest() {
    let mut net = Net::new(2, 1);
    net.befriend(user(0, 0), user(1, 0));
    (0..2).for_each(|at| net.appear(user(at, 0)));
    net.run(secs(60));
    net.crash(1);
    net.run(secs(5));
    net.start(1);
    net.befriend(user(0, 0), user(1, 0));
    net.run(secs(100));
    assert_eq!(net.seen(0, user(1, 0)), Some(Availability::Offline));
    let status: Status = Availability::Busy.into();
    net.tell(1, |engine, now| engine.handle_local_change(now, user(1, 0), status));
    net.run(secs(11));
    assert_eq!(net.seen(0, user(1, 0)), Some(Availability::Busy), "and the promise is renewed");
}

#[test]
fn after_a_restart_a_peer_is_told_of_nobody_whom_it_has_not_asked_for_again() {
    let mut net = Net::new(2, 1);
    net.befriend(user(0, 0), user(1, 0));
    net.befriend(user(0, 1), user(1, 0));
    [user(0, 0), user(0, 1), user(1, 0)].into_iter().for_each(|who| net.appear(who));
    net.run(secs(30));
    assert_eq!(net.seen(1, user(0, 0)), Some(Availability::Online));
    net.crash(1);
    net.start(1);
    // What was watched is watched no longer, but for one user.
    net.tell(1, |e, now| e.handle_interest_added(now, user(1, 0), user(0, 1)));
    net.appear(user(1, 0));
    net.run(secs(30));
    let mark = net.sent.len();
    net.change(user(0, 0), Availability::Busy);
    net.change(user(0, 1), Availability::Busy);
    net.run(secs(30));
    let sent = net.sent_since(mark, 0, 1);
    let pushed: Vec<_> = sent.iter().flat_map(|sent| &sent.edu.push).map(|push| push.user).collect();
    assert_eq!(pushed, [user(0, 1)]);
}

#[test]
fn a_message_from_before_a_restart_does_not_undo_it() {
    let mut net = Net::new(2, 1);
    net.befriend(user(0, 0), user(1, 0));
    (0..2).for_each(|at| net.appear(user(at, 0)));
    net.run(secs(30));
    let old = net.sent_since(0, 1, 0).last().expect("it answered").edu.clone();
    let mut late = old.clone();
    late.link = late.link.map(|link| Link { seq: link.seq + 1, ..link });
    net.start(1);
    net.befriend(user(0, 0), user(1, 0));
    net.appear(user(1, 0));
    net.change(user(1, 0), Availability::Busy);
    net.run(secs(20));
    net.tell(0, |engine, now| engine.handle_edu(now, server(1), late).expect("ignored"));
    assert_eq!(net.seen(0, user(1, 0)), Some(Availability::Busy));
}

#[test]
fn a_clock_set_back_between_two_starts_is_forgiven() {
    let mut net = Net::new(2, 1);
    net.befriend(user(0, 0), user(1, 0));
    (0..2).for_each(|at| net.appear(user(at, 0)));
    net.run(secs(30));
    let config = net.config.clone();
    net.engines[1] = Some(Engine::new(server(1), 5, 5, config));
    net.befriend(user(0, 0), user(1, 0));
    net.change(user(1, 0), Availability::Busy);
    net.run(secs(1_200));
    assert_eq!(net.seen(0, user(1, 0)), Some(Availability::Busy));
}

#[test]
fn servers_that_hear_each_other_but_no_acknowledgement_do_not_answer_each_other_for_ever() {
    let mut net = Net::new(2, 1);
    net.befriend(user(0, 0), user(1, 0));
    net.appear(user(0, 0));
    net.appear(user(1, 0));
    net.run(secs(30));
    net.muted.extend([(0, 1), (1, 0)]);
    let mark = net.sent.len();
    net.change(user(0, 0), Availability::Busy);
    net.change(user(1, 0), Availability::Busy);
    net.run(secs(600));
    let sent = net.sent.len() - mark;
    assert!(sent <= 60, "{sent} messages in ten minutes");
    assert_eq!(net.seen(1, user(0, 0)), Some(Availability::Busy), "what is said arrives");
    net.muted.clear();
    net.change(user(0, 0), Availability::Online);
    net.run(secs(60));
    assert_eq!(net.seen(1, user(0, 0)), Some(Availability::Online));
    let mark = net.sent.len();
    net.run(secs(600));
    assert!(net.sent.len() - mark <= 12, "and all is quiet again");
}
