//! All servers and users on one virtual clock.

use std::time::Duration;

use super::params::{BadParams, Faults, Params, Span};
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

/// What people see of their contacts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Contacts who are seen as they are.
    pub right: u64,
    /// Contacts who are seen as they were: their change is on its way, or lost.
    pub wrong: u64,
    /// Contacts of whom it is said that nothing is known.
    pub unknown: u64,
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
            if self.params.faults.any() && at.as_millis() / 60_000 != sample {
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
                    if self.sites[from as usize].engine.is_some() && !self.is_cut(from, at) {
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
            Event::Restart => {
                self.tell(0, |_, _| {});
                // One that is dead stays so.
                if self.sites[0].engine.is_some() {
                    self.start(0);
                }
            }
        }
    }

    /// Whether what one server sends does not arrive at another.
    fn is_cut(&self, from: u32, to: u32) -> bool {
        let Faults { cut, one_way_cut, .. } = &self.params.faults;
        let holds = |span: &Option<Span>| span.is_some_and(|span| span.holds(self.now));
        match (from, to) {
            (0, 1) => holds(cut) || holds(one_way_cut),
            (1, 0) => holds(cut),
            _ => false,
        }
    }

    /// What those who are online see of their contacts, compared with what these show.
    pub fn agreement(&self) -> Agreement {
        let mut agreement = Agreement::default();
        for (server, site) in (0..).zip(&self.sites) {
            let Some(engine) = &site.engine else { continue };
            for index in site.online(&self.population) {
                for &contact in &self.population.contacts[index as usize] {
                    let user = self.population.user(server, contact);
                    let home = &self.sites[user.server.0 as usize];
                    let held = engine.status_of(user).map(|status| status.shown.availability);
                    match held {
                        None => agreement.unknown += 1,
                        Some(held) if held == home.availability(contact, &self.population) => {
                            agreement.right += 1;
                        }
                        Some(_) => agreement.wrong += 1,
                    }
                }
            }
        }
        agreement
    }

    /// How many contacts a user has, on average.
    pub fn contacts_each(&self) -> f64 {
        let contacts: usize = self.population.contacts.iter().map(|contacts| contacts.len()).sum();
        contacts as f64 / self.population.contacts.len() as f64
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
                let arrives = self.sites[to as usize].engine.is_some() && !self.is_cut(from, to);
                if arrives {
                    self.receive(from, to, delivery);
                }
                let lost = self.params.faults.lost_acknowledgements;
                // What answers a request comes back the way that the request went.
                let is_known = arrives && !(lost > 0 && self.rng.chance(lost, 1_000));
                self.tally.failed += u64::from(!is_known);
                let outcome = if is_known { Outcome::Delivered } else { Outcome::Failed };
                let transit = Transit::Outcome { to: from, about: to, seq, outcome };
                self.schedule.put_transit(self.now + LATENCY, transit);
            }
            Transit::Outcome { to, about, seq, outcome } => {
                self.tell(to, |engine, now| engine.handle_outcome(now, Server(about), seq, outcome));
            }
        }
    }

    fn receive(&mut self, from: u32, to: u32, delivery: Box<Delivery>) {
        match self.sites[to as usize].put_by(self.now, from, delivery, &self.params) {
            Some(delivery) => self.tell(to, |engine, now| {
                let result = engine.handle_edu(now, Server(from), delivery.edu);
                result.expect("the simulated servers behave");
            }),
            None => self.wake(to, self.now + patience(&self.params)),
        }
    }

    fn start(&mut self, server: u32) {
        let Self { params, population, tally, sites, now, .. } = self;
        sites[server as usize].start(*now, &Surroundings { params, population, tally });
        self.tell(server, |_, _| {});
    }

    /// Schedules what happens by itself.
    fn plan(&mut self) {
        if let Some(outage) = self.params.faults.outage {
            self.schedule.put(Instant::ZERO + outage.begins, Event::OutageBegins);
            self.schedule.put(Instant::ZERO + outage.ends, Event::OutageEnds);
        }
        for &restart in &self.params.faults.restarts {
            self.schedule.put(Instant::ZERO + restart, Event::Restart);
        }
        if let Some(pause) = self.params.room_traffic {
            let (servers, peers) = (self.params.servers, self.params.peers);
            for one in 0..servers {
                let opposite = (peers % 2 == 1 && one < servers / 2).then_some(servers / 2);
                for distance in (1..=peers / 2).chain(opposite) {
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
    let alone = edu.users() == 0 && delivery.speech == Speech::Extended;
    tally.reminders += u64::from(alone);
    match edu.reminder {
        Some(reminder) if reminder.answer || alone => tally.add_reminder(now, reminder.answer),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
