//! All servers and users on one virtual clock.

use std::time::Duration;

use super::cost::{one_per_change, one_per_contact};
use super::params::{BadParams, Params};
use super::population::Population;
use super::schedule::{Event, Next, Schedule, Transit};
use super::tally::Tally;
use crate::core::federation::{
    Availability, Delivery, Engine, Outcome, Output, Permission, Server, Speech, Status, encoded_len,
};
use crate::core::rng::Rng;
use crate::core::time::{Instant, millis};

/// The time a message takes, and an acknowledgement.
const LATENCY: Duration = Duration::from_millis(50);

/// The length of a localpart and of a server name, for counting bytes.
const NAME_LENGTHS: (usize, usize) = (8, 16);

/// A running simulation.
#[derive(Clone, Debug)]
pub struct World {
    params: Params,
    population: Population,
    engines: Vec<Option<Engine>>,
    /// For each server, when its next wake-up is scheduled.
    wakes: Vec<Instant>,
    people: Vec<Person>,
    schedule: Schedule,
    tally: Tally,
    now: Instant,
    rng: Rng,
}

#[derive(Clone, Copy, Debug)]
struct Person {
    availability: Availability,
    leaves: Instant,
}

impl World {
    /// A world at midnight, with nobody online.
    pub fn new(params: Params) -> Result<Self, BadParams> {
        params.check()?;
        let mut rng = Rng::new(params.seed);
        let population = Population::new(&params, &mut rng);
        let offline = Person { availability: Availability::Offline, leaves: Instant::ZERO };
        let mut world = Self {
            engines: vec![None; params.servers as usize],
            wakes: vec![Instant::MAX; params.servers as usize],
            people: vec![offline; population.contacts.len()],
            schedule: Schedule::new(params.servers),
            tally: Tally::default(),
            now: Instant::ZERO,
            population,
            params,
            rng,
        };
        (0..world.params.servers).for_each(|server| world.start(server));
        (0..world.params.servers * world.params.users).for_each(|user| world.plan_day(user, 0));
        world.plan_rest();
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
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake(server) => {
                if self.wakes[server as usize] == self.now {
                    self.wakes[server as usize] = Instant::MAX;
                    self.tell(server, |engine, now| engine.handle_timeout(now));
                }
            }
            Event::User(user) => self.act(user),
            Event::SomebodyOf(_) => unreachable!("the schedule says who"),
            Event::RoomTraffic(one, other) => {
                for (at, from) in [(one, other), (other, one)] {
                    if self.engines[from as usize].is_some() {
                        self.tell(at, |engine, now| engine.handle_traffic(now, Server(from)));
                    }
                }
                let pause = self.params.room_traffic.expect("there is traffic");
                let pause = self.rng.jitter(pause, 0.3);
                self.schedule.put(self.now + pause, Event::RoomTraffic(one, other));
            }
            Event::OutageBegins => self.engines[0] = None,
            Event::OutageEnds => self.start(0),
        }
    }

    /// Gives a server an input and takes what comes of it; a dead one takes nothing.
    fn tell(&mut self, server: u32, input: impl FnOnce(&mut Engine, Instant)) {
        let Some(engine) = &mut self.engines[server as usize] else { return };
        input(engine, self.now);
        while let Some(output) = engine.poll_output() {
            if let Output::Send(delivery) = output {
                count(&mut self.tally, self.now, &delivery);
                let Delivery { peer, seq, edu, .. } = delivery;
                let transit = Transit::Message { from: server, to: peer.0, seq, edu };
                self.schedule.put_transit(self.now + LATENCY, transit);
            }
        }
        // What should have been done already is done next, not in the past.
        if let Some(at) = engine.poll_timeout().map(|at| at.max(self.now))
            && at < self.wakes[server as usize]
        {
            self.wakes[server as usize] = at;
            self.schedule.put(at, Event::Wake(server));
        }
    }

    fn arrive(&mut self, transit: Transit) {
        match transit {
            Transit::Message { from, to, seq, edu } => {
                let up = self.engines[to as usize].is_some();
                self.tell(to, |engine, now| {
                    engine.handle_edu(now, Server(from), edu).expect("the simulated servers behave");
                });
                let outcome = if up { Outcome::Delivered } else { Outcome::Failed };
                let transit = Transit::Outcome { to: from, about: to, seq, outcome };
                self.schedule.put_transit(self.now + LATENCY, transit);
            }
            Transit::Outcome { to, about, seq, outcome } => {
                self.tell(to, |engine, now| engine.handle_outcome(now, Server(about), seq, outcome));
            }
        }
    }

    /// Starts a server, with what its store holds, and nobody connected; its users come back within a
    /// minute.
    fn start(&mut self, server: u32) {
        let seed = self.rng.next_u64();
        let epoch = self.now.as_millis() + 1;
        let config = self.params.config.clone();
        self.wakes[server as usize] = Instant::MAX;
        self.engines[server as usize] = Some(Engine::new(Server(server), epoch, seed, config));
        for index in self.population.users_of(server) {
            let user = self.population.user(index);
            for contact in self.population.contacts[index as usize].clone() {
                let contact = self.population.user(contact);
                self.tell(server, |engine, now| {
                    engine.handle_interest_added(now, user, contact);
                    engine.handle_permission(now, contact.server, user, Permission::Allowed);
                });
            }
            let person = &mut self.people[index as usize];
            if std::mem::take(&mut person.availability) != Availability::Offline {
                let back = Duration::from_millis(self.rng.range(0..60_000));
                self.schedule.put_user(self.now + back, server, index);
            }
        }
    }

    /// The user's next day begins around nine o'clock, for some earlier, for some later.
    fn plan_day(&mut self, user: u32, day: u64) {
        const HOUR: u64 = 3_600_000;
        let hours = self.params.online_hours;
        let midnight = Instant::from_millis(day * 24 * HOUR);
        let (comes, stays) = if hours >= 24.0 {
            (self.rng.range(0..HOUR / 2), 24 * HOUR * 365)
        } else {
            let around =
                7 * HOUR + HOUR / 2 + self.rng.range(0..3 * HOUR / 2) + self.rng.range(0..3 * HOUR / 2);
            (around, millis(self.rng.jitter(Duration::from_secs_f64(hours * 3_600.0), 0.1)))
        };
        let comes = midnight + Duration::from_millis(comes);
        self.people[user as usize].leaves = comes + Duration::from_millis(stays);
        self.schedule.put_user(comes, self.population.server_of(user), user);
    }

    fn plan_rest(&mut self) {
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

    /// The user comes, changes or goes.
    fn act(&mut self, index: u32) {
        let server = self.population.server_of(index);
        if self.engines[server as usize].is_none() {
            return;
        }
        let user = self.population.user(index);
        let person = self.people[index as usize];
        let before = person.availability;
        let after = if self.now >= person.leaves { Availability::Offline } else { self.other_than(before) };
        self.people[index as usize].availability = after;
        self.count_change(index, before, after);
        let status = Status::from(after);
        if after == Availability::Offline {
            self.tell(server, |engine, now| {
                engine.handle_local_change(now, user, status);
                engine.handle_client_detached(now, user);
            });
            self.plan_day(index, person.leaves.as_millis() / 86_400_000 + 1);
            return;
        }
        self.tell(server, |engine, now| {
            engine.handle_local_change(now, user, status);
            if before == Availability::Offline {
                engine.handle_client_attached(now, user);
            }
        });
        let next = self.next_change();
        self.tally.user_hours += next.min(person.leaves).since(self.now).as_secs_f64() / 3_600.0;
        self.schedule.put_user(next.min(person.leaves), server, index);
    }

    /// Changes come independently of each other: the pause to the next is exponentially distributed.
    fn next_change(&mut self) -> Instant {
        if self.params.changes_per_hour == 0.0 {
            return Instant::MAX;
        }
        let uniform = (self.rng.range(0..1 << 53) + 1) as f64 / (1u64 << 53) as f64;
        let hours = -uniform.ln() / self.params.changes_per_hour;
        self.now + Duration::from_secs_f64((hours * 3_600.0).min(1e9))
    }

    fn other_than(&mut self, before: Availability) -> Availability {
        use Availability::{Busy, FreeForChat, Offline, Online, Unavailable};
        let choice = match before {
            Offline => return Online,
            Online => [Unavailable, Unavailable, Busy],
            Unavailable => [Online, Online, Busy],
            Busy => [Online, Unavailable, FreeForChat],
            FreeForChat => [Online, Unavailable, Busy],
        };
        choice[usize::try_from(self.rng.range(0..3)).expect("small")]
    }

    fn count_change(&mut self, index: u32, before: Availability, after: Availability) {
        let servers = u64::from(self.population.reach[index as usize]);
        let contacts = self.population.contacts[index as usize].len() as u64;
        let tally = &mut self.tally;
        tally.changes += 1;
        tally.per_change += one_per_change(servers);
        tally.minute(self.now.as_millis() / 60_000).per_change += servers;
        tally.per_contact += one_per_contact(contacts);
        if before == Availability::Offline && after != Availability::Offline {
            tally.logins += 1;
            tally.per_contact += one_per_contact(2 * contacts);
        }
    }

    /// Notes how many users of the first server its first peer knows.
    fn sample(&mut self, minute: u64) {
        let known = self.engines[1].as_ref().map_or(0, |engine| {
            let shown = |&index: &u32| engine.status_of(self.population.user(index)).is_some();
            self.population.users_of(0).filter(shown).count()
        });
        self.tally.minute(minute).known = known as u64;
    }
}

fn count(tally: &mut Tally, now: Instant, delivery: &Delivery) {
    let edu = &delivery.edu;
    let (localpart, server) = NAME_LENGTHS;
    tally.ours.add_edu(encoded_len(edu, delivery.speech, localpart, server));
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

    #[test]
    fn at_every_moment_of_quiet_contacts_agree() {
        let mut world = run(Params { changes_per_hour: 4.0, ..small() });
        world.params.duration += Duration::from_secs(3_600);
        world.run_until(Instant::MAX);
        let mut watched = 0;
        for (index, person) in world.people.iter().enumerate() {
            let user = world.population.user(u32::try_from(index).expect("small"));
            let engine = world.engines[user.server.0 as usize].as_ref().expect("up");
            for &contact in &world.population.contacts[index] {
                let held = engine.status_of(world.population.user(contact));
                if person.availability != Availability::Offline {
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
        assert!(tally.user_hours > 500.0, "{}", tally.user_hours);
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
