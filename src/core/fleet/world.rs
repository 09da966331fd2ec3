//! All servers and users on one virtual clock.

use std::time::Duration;

use super::params::{BadParams, Params};
use super::population::Population;
use super::schedule::{Event, Next, Schedule, Transit};
use super::site::{Site, Surroundings, patience};
use super::tally::Tally;
use crate::core::federation::{
    Delivery, Engine, NameLengths, Outcome, Output, Server, Speech, encode_brief, encoded_len,
};
use crate::core::rng::Rng;
use crate::core::time::{Instant, millis};

/// The time a message takes, and an acknowledgement.
const LATENCY: Duration = Duration::from_millis(50);

/// The length of a localpart and of a server name, for counting bytes.
const NAMES: NameLengths = NameLengths { localpart: 8, server: 16 };

/// A running simulation.
#[derive(Clone, Debug)]
pub struct World {
    params: Params,
    population: Population,
    sites: Vec<Site>,
    schedule: Schedule,
    tally: Tally,
    now: Instant,
    rng: Rng,
}

impl World {
    /// A world at midnight, with nobody online.
    pub fn new(params: Params) -> Result<Self, BadParams> {
        params.check()?;
        let mut rng = Rng::new(params.seed);
        let population = Population::new(&params, &mut rng);
        let sites = (0..params.servers)
            .map(|server| Site::new(server, Rng::new(rng.next_u64()), &params, &population));
        let mut world = Self {
            sites: sites.collect(),
            schedule: Schedule::default(),
            tally: Tally::default(),
            now: Instant::ZERO,
            population,
            params,
            rng,
        };
        (0..world.params.servers).for_each(|server| world.start(server));
        world.plan();
        Ok(world)
    }

    /// The time.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// What was simulated.
    pub const fn params(&self) -> &Params {
        &self.params
    }

    /// What was counted so far.
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Goes on until `until`, or the end of the simulated time.
    pub fn run_until(&mut self, until: Instant) {
        let until = until.min(Instant::ZERO + self.params.duration);
        let mut sample = self.now.as_millis() / 60_000;
        while let Some((at, next)) = self.schedule.pop(until) {
            self.now = at;
            self.tally.events += 1;
            if self.params.outage.is_some() && at.as_millis() / 60_000 != sample {
                self.sample(sample);
                sample = at.as_millis() / 60_000;
            }
            match next {
                Next::Event(event) => self.happen(event),
                Next::Transit(transit) => self.arrive(transit),
            }
        }
        self.now = until;
        (0..self.params.servers).for_each(|server| self.tell(server, |_, _| {}));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake(server) => {
                let site = &mut self.sites[server as usize];
                if site.wake == self.now {
                    site.wake = Instant::MAX;
                    self.tell(server, |engine, now| engine.handle_timeout(now));
                }
            }
            Event::RoomTraffic(one, other) => {
                for (at, from) in [(one, other), (other, one)] {
                    if self.sites[from as usize].engine.is_some() {
                        self.tell(at, |engine, now| engine.handle_traffic(now, Server(from)));
                    }
                }
                let pause = self.params.room_traffic.expect("there is traffic");
                let pause = self.rng.jitter(pause, 0.3);
                self.schedule.put(self.now + pause, Event::RoomTraffic(one, other));
            }
            Event::OutageBegins => {
                self.tell(0, |_, _| {});
                self.sites[0].engine = None;
            }
            Event::OutageEnds => self.start(0),
        }
    }

    /// Gives a server an input, after what its people did before, and takes what comes of it; a dead one
    /// takes nothing.
    fn tell(&mut self, server: u32, input: impl FnOnce(&mut Engine, Instant)) {
        let Self { params, population, tally, sites, schedule, now, .. } = self;
        let site = &mut sites[server as usize];
        site.settle(*now, &mut Surroundings { params, population, tally });
        let Some(engine) = &mut site.engine else { return };
        input(engine, *now);
        while let Some(output) = engine.poll_output() {
            if let Output::Send(mut delivery) = output {
                count(tally, *now, &delivery);
                population.translate(&mut delivery, server);
                schedule.put_transit(*now + LATENCY, Transit::Message { from: server, delivery });
            }
        }
        // What should have been done already is done next, not in the past.
        let next = site.next(params).max(*now);
        self.wake(server, next);
    }

    /// Schedules a wake-up of a server, if there is none as early as that.
    fn wake(&mut self, server: u32, at: Instant) {
        let site = &mut self.sites[server as usize];
        if at < site.wake {
            site.wake = at;
            self.schedule.put(at, Event::Wake(server));
        }
    }

    fn arrive(&mut self, transit: Transit) {
        match transit {
            Transit::Message { from, delivery } => {
                let (to, seq) = (delivery.peer.0, delivery.seq);
                let site = &mut self.sites[to as usize];
                let up = site.engine.is_some();
                match site.put_by(self.now, from, delivery, &self.params) {
                    Some(delivery) => self.tell(to, |engine, now| {
                        let result = engine.handle_edu(now, Server(from), delivery.edu);
                        result.expect("the simulated servers behave");
                    }),
                    None => self.wake(to, self.now + patience(&self.params)),
                }
                let outcome = if up { Outcome::Delivered } else { Outcome::Failed };
                let transit = Transit::Outcome { to: from, about: to, seq, outcome };
                self.schedule.put_transit(self.now + LATENCY, transit);
            }
            Transit::Outcome { to, about, seq, outcome } => {
                self.tell(to, |engine, now| engine.handle_outcome(now, Server(about), seq, outcome));
            }
        }
    }

    fn start(&mut self, server: u32) {
        let Self { params, population, tally, sites, now, .. } = self;
        sites[server as usize].start(*now, &Surroundings { params, population, tally });
        self.tell(server, |_, _| {});
    }

    /// Schedules what happens by itself.
    fn plan(&mut self) {
        if let Some(outage) = self.params.outage {
            self.schedule.put(Instant::ZERO + outage.begins, Event::OutageBegins);
            self.schedule.put(Instant::ZERO + outage.ends, Event::OutageEnds);
        }
        if let Some(pause) = self.params.room_traffic {
            let servers = self.params.servers;
            for one in 0..servers {
                for distance in 1..=self.params.peers / 2 {
                    let first = Duration::from_millis(self.rng.range(0..millis(pause).max(1)));
                    let event = Event::RoomTraffic(one, (one + distance) % servers);
                    self.schedule.put(Instant::ZERO + first, event);
                }
            }
        }
    }

    /// Notes how many users of the first server its first peer knows.
    fn sample(&mut self, minute: u64) {
        let known = self.sites[1].engine.as_ref().map_or(0, |engine| {
            let shown = |&index: &u32| engine.status_of(self.population.user(1, index)).is_some();
            self.population.users_of(0).filter(shown).count()
        });
        self.tally.minute(minute).known = known as u64;
    }
}

fn count(tally: &mut Tally, now: Instant, delivery: &Delivery) {
    let edu = &delivery.edu;
    if delivery.speech == Speech::Extended && edu.reminder.is_some() && encode_brief(edu).is_some() {
        tally.ours.add_reminder();
    } else {
        tally.ours.add_edu(encoded_len(edu, delivery.speech, NAMES));
    }
    let minute = now.as_millis() / 60_000;
    let of_minute = tally.minute(minute);
    of_minute.ours += 1;
    of_minute.to_first += u64::from(delivery.peer == Server(0));
    tally.pushes += u64::from(!edu.push.is_empty());
    tally.pushed_users += edu.push.len() as u64;
    tally.polls += u64::from(!edu.poll.is_empty() || edu.poll_all);
    tally.reminders += u64::from(edu.users() == 0 && delivery.speech == Speech::Extended);
    if edu.reminder.is_some_and(|reminder| reminder.answer) {
        let index = usize::try_from(minute).expect("a run has fewer minutes than that");
        if tally.long_reminders.len() <= index {
            tally.long_reminders.resize(index + 1, 0);
        }
        tally.long_reminders[index] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outage;
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

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
        let outage = Some(Outage { begins: minutes(12 * 60), ends: minutes(12 * 60 + 30) });
        let world = run(Params { outage, ..small() });
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
            ..Params::default()
        };
        let world = run(params);
        let all = &world.tally().long_reminders[120..];
        let (total, most) = (all.iter().sum::<u64>(), all.iter().copied().max().unwrap_or(0));
        assert!(total > 1_000, "{total}");
        assert!(most * 40 < total, "{most} of {total} in one minute of three hours");
    }

    #[test]
    fn parameters_without_meaning_are_refused() {
        for (params, error) in [
            (Params { servers: 1, ..small() }, BadParams::Empty),
            (Params { users: 0, ..small() }, BadParams::Empty),
            (Params { peers: 3, ..small() }, BadParams::Peers),
            (Params { peers: 10, ..small() }, BadParams::Peers),
            (Params { online_hours: 25.0, ..small() }, BadParams::Times),
            (Params { changes_per_hour: f64::NAN, ..small() }, BadParams::Times),
            (Params { users: 1 << 30, ..small() }, BadParams::TooMany),
        ] {
            assert_eq!(World::new(params).err(), Some(error));
        }
    }
}
