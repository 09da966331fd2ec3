//! One homeserver of the simulation, and what its people do.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::cost::{one_per_change, one_per_contact};
use super::params::Params;
use super::population::Population;
use super::tally::Tally;
use crate::core::federation::{Availability, Delivery, Edu, Engine, Output, Permission, Server, Status};
use crate::core::rng::Rng;
use crate::core::time::{Instant, millis};

const HOUR: u64 = 3_600_000;

/// The Unix time of the simulated midnight: epochs are as long as real ones.
const MIDNIGHT: u64 = 1_795_219_200_000;

/// The longest that a message can wait: well within every promise and watchdog that it prolongs.
const INBOX: Duration = Duration::from_secs(20);

/// A homeserver with its engine and its people.
///
/// Nothing that a person does makes the engine send or tell anything at once: it waits for the settle
/// time after a login and for the batch window after everything else. Nor does a message that only
/// pushes. So all this is done as late as it can be, much of it in one go while the server is in the
/// processor's cache; each at its own time.
#[derive(Clone, Debug)]
pub(super) struct Site {
    server: u32,
    /// `None` while the server is dead.
    pub(super) engine: Option<Engine>,
    /// When the next wake-up of the server is scheduled.
    pub(super) wake: Instant,
    people: Vec<Person>,
    /// When those who are away come.
    comings: BinaryHeap<Reverse<(Instant, u32)>>,
    /// When those who are online change or go.
    doings: BinaryHeap<Reverse<(Instant, u32)>>,
    /// Messages that can wait, with the time at which they came and the server they came from.
    inbox: VecDeque<(Instant, u32, Box<Delivery>)>,
    rng: Rng,
}

#[derive(Clone, Copy, Debug)]
struct Person {
    leaves: Instant,
    /// Up to when their time online is counted.
    counted: Instant,
    last_active: Instant,
    availability: Availability,
    /// The number of their contacts, and of the servers where these are.
    contacts: u32,
    reach: u32,
}

/// What sites have in common.
pub(super) struct Surroundings<'a> {
    pub(super) params: &'a Params,
    pub(super) population: &'a Population,
    pub(super) tally: &'a mut Tally,
}

impl Site {
    /// A server that never ran, with nobody online; `rng` is its own.
    pub(super) fn new(server: u32, rng: Rng, params: &Params, population: &Population) -> Self {
        let person = |index: u32| Person {
            leaves: Instant::ZERO,
            counted: Instant::ZERO,
            last_active: Instant::ZERO,
            availability: Availability::Offline,
            contacts: u32::try_from(population.contacts[index as usize].len()).expect("few"),
            reach: population.reach[index as usize],
        };
        let mut site = Self {
            server,
            engine: None,
            wake: Instant::MAX,
            people: population.users_of(server).map(person).collect(),
            comings: BinaryHeap::new(),
            doings: BinaryHeap::new(),
            inbox: VecDeque::new(),
            rng,
        };
        (0..params.users).for_each(|local| site.plan_day(local, 0, params));
        site
    }

    /// Starts the server, with what its store holds, and nobody connected; who was online, and who would
    /// have come in between, comes within a minute.
    pub(super) fn start(&mut self, now: Instant, around: &Surroundings<'_>) {
        let Surroundings { params, population, .. } = around;
        let epoch = MIDNIGHT + now.as_millis();
        let mut engine = Engine::new(Server(self.server), epoch, self.rng.next_u64(), params.config.clone());
        for index in population.users_of(self.server) {
            let user = population.user(self.server, index);
            for &contact in &population.contacts[index as usize] {
                let contact = population.user(self.server, contact);
                engine.handle_interest_added(now, user, contact);
                engine.handle_permission(now, contact.server, user, Permission::Allowed);
            }
        }
        self.engine = Some(engine);
        self.wake = Instant::MAX;
        self.doings.clear();
        let mut back: Vec<u32> = Vec::new();
        while let Some(&Reverse((at, local))) = self.comings.peek()
            && at < now
        {
            self.comings.pop();
            back.push(local);
        }
        for (local, person) in (0..).zip(&mut self.people) {
            if std::mem::take(&mut person.availability) != Availability::Offline {
                back.push(local);
            }
        }
        for local in back {
            let soon = Duration::from_millis(self.rng.range(0..60_000));
            self.comings.push(Reverse((now + soon, local)));
        }
    }

    /// When the server has to be looked at, at the latest.
    pub(super) fn next(&self, params: &Params) -> Instant {
        let Some(engine) = &self.engine else { return Instant::MAX };
        let first = |queue: &BinaryHeap<Reverse<(Instant, u32)>>, delay: Duration| {
            queue.peek().map_or(Instant::MAX, |&Reverse((at, _))| at + delay)
        };
        let settle = params.config.settle.min(params.config.batch_window);
        let people = first(&self.comings, settle).min(first(&self.doings, params.config.batch_window));
        let letters = self.inbox.front().map_or(Instant::MAX, |&(at, ..)| at + patience(params));
        people.min(letters).min(engine.poll_timeout().unwrap_or(Instant::MAX))
    }

    /// What the user with this number, of this server, shows.
    pub(super) fn availability(&self, index: u32, population: &Population) -> Availability {
        self.people[(index - population.users_of(self.server).start) as usize].availability
    }

    /// The numbers of those who are online.
    pub(super) fn online(&self, population: &Population) -> Vec<u32> {
        let people = population.users_of(self.server).zip(&self.people);
        people.filter(|(_, p)| p.availability != Availability::Offline).map(|(index, _)| index).collect()
    }

    /// Takes a message if it can wait, or answers it: one that asks for an answer cannot, nor can any where
    /// something goes wrong, for the first message of a server that is heard of again ends a backoff.
    pub(super) fn put_by(
        &mut self,
        now: Instant,
        from: u32,
        delivery: Box<Delivery>,
        params: &Params,
    ) -> Option<Box<Delivery>> {
        let edu = &delivery.edu;
        let pushes = edu.push.len() == edu.users() && !(edu.hello || edu.poll_all) && edu.reminder.is_none();
        if !pushes || params.faults.any() {
            return Some(delivery);
        }
        self.inbox.push_back((now, from, delivery));
        None
    }

    /// Lets happen what happens up to and at `now`.
    pub(super) fn settle(&mut self, now: Instant, around: &mut Surroundings<'_>) {
        while let Some((at, from, delivery)) = self.inbox.pop_front() {
            self.let_people_act(at, around);
            self.take(at, from, delivery.edu);
        }
        self.let_people_act(now, around);
    }

    /// Gives the engine a message that could wait.
    fn take(&mut self, at: Instant, from: u32, edu: Edu) {
        let Some(engine) = &mut self.engine else { return };
        engine.handle_edu(at, Server(from), edu).expect("the simulated servers behave");
        while let Some(output) = engine.poll_output() {
            assert!(matches!(output, Output::RemoteChanged { .. }), "nothing was to be said to {from}");
        }
    }

    fn let_people_act(&mut self, now: Instant, around: &mut Surroundings<'_>) {
        while let Some((at, local, comes)) = self.first_by(now) {
            if self.engine.is_none() {
                return;
            }
            around.tally.events += 1;
            let Some(then) = self.act(at, local, around) else {
                self.doings.pop();
                continue;
            };
            if comes {
                self.comings.pop();
                self.doings.push(Reverse((then, local)));
            } else if let Some(mut first) = self.doings.peek_mut() {
                *first = Reverse((then, local));
            }
        }
    }

    /// Who does something by `now`, before everybody else; and whether they come.
    fn first_by(&self, now: Instant) -> Option<(Instant, u32, bool)> {
        let first = |queue: &BinaryHeap<Reverse<(Instant, u32)>>| queue.peek().map(|first| first.0);
        let never = (Instant::MAX, u32::MAX);
        let (coming, doing) = (first(&self.comings).unwrap_or(never), first(&self.doings).unwrap_or(never));
        let (at, local) = coming.min(doing);
        (at <= now && at < Instant::MAX).then_some((at, local, coming < doing))
    }

    /// The user comes, changes or goes; answers when they do something next, unless they are gone.
    fn act(&mut self, now: Instant, local: u32, around: &mut Surroundings<'_>) -> Option<Instant> {
        let Some(engine) = &mut self.engine else { return None };
        let Surroundings { params, population, tally } = around;
        let user = population.user(self.server, population.users_of(self.server).start + local);
        let person = &mut self.people[local as usize];
        let (before, leaves) = (person.availability, person.leaves);
        let after = if now >= leaves { Availability::Offline } else { other_than(before, &mut self.rng) };
        person.availability = after;
        count_change(tally, now, person, before);
        let mut status = Status::from(after);
        if status.shown.currently_active {
            person.last_active = now;
        }
        status.last_active = Some(person.last_active);
        status.away_since = (after == Availability::Offline).then_some(now);
        engine.handle_local_change(now, user, status);
        if after == Availability::Offline {
            engine.handle_client_detached(now, user);
            self.plan_day(local, leaves.as_millis() / (24 * HOUR) + 1, params);
            return None;
        }
        if before == Availability::Offline {
            engine.handle_client_attached(now, user);
        }
        let then = next_change(now, params.changes_per_hour, &mut self.rng).min(leaves);
        // Up to the end of the run, and once, though who is back after a restart comes anew.
        let until = then.min(Instant::ZERO + params.duration);
        tally.online_ms += millis(until.since(now.max(person.counted)));
        person.counted = person.counted.max(until);
        Some(then)
    }

    /// The user's next day begins around nine o'clock, for some earlier, for some later.
    fn plan_day(&mut self, local: u32, day: u64, params: &Params) {
        let hours = params.online_hours;
        let midnight = Instant::from_millis(day * 24 * HOUR);
        let (comes, stays) = if hours >= 24.0 {
            (self.rng.range(0..millis(params.arrivals).max(1)), 24 * HOUR * 365)
        } else {
            let around =
                7 * HOUR + HOUR / 2 + self.rng.range(0..3 * HOUR / 2) + self.rng.range(0..3 * HOUR / 2);
            (around, millis(self.rng.jitter(Duration::from_secs_f64(hours * 3_600.0), 0.1)))
        };
        let comes = midnight + Duration::from_millis(comes);
        self.people[local as usize].leaves = comes + Duration::from_millis(stays);
        self.comings.push(Reverse((comes, local)));
    }
}

/// How long a message that only pushes can wait.
pub(super) fn patience(params: &Params) -> Duration {
    params.config.batch_window.min(INBOX)
}

/// Changes come independently of each other: the pause to the next is exponentially distributed.
fn next_change(now: Instant, changes_per_hour: f64, rng: &mut Rng) -> Instant {
    if changes_per_hour == 0.0 {
        return Instant::MAX;
    }
    let uniform = (rng.range(0..1 << 53) + 1) as f64 / (1u64 << 53) as f64;
    let millis = -uniform.ln() / changes_per_hour * HOUR as f64;
    now + Duration::from_millis(millis.min(1e15) as u64)
}

fn other_than(before: Availability, rng: &mut Rng) -> Availability {
    use Availability::{Busy, FreeForChat, Offline, Online, Unavailable};
    let choice = match before {
        Offline => return Online,
        Online => [Unavailable, Unavailable, Busy],
        Unavailable => [Online, Online, Busy],
        Busy => [Online, Unavailable, FreeForChat],
        FreeForChat => [Online, Unavailable, Busy],
    };
    choice[usize::try_from(rng.range(0..3)).expect("small")]
}

fn count_change(tally: &mut Tally, now: Instant, person: &Person, before: Availability) {
    let (servers, contacts) = (u64::from(person.reach), u64::from(person.contacts));
    tally.changes += 1;
    tally.per_change += one_per_change(servers);
    tally.minute(now.as_millis() / 60_000).per_change += servers;
    tally.per_contact += one_per_contact(contacts);
    if before == Availability::Offline {
        tally.logins += 1;
        tally.per_contact += one_per_contact(2 * contacts);
    }
}
