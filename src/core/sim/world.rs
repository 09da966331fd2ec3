//! The world: users with their devices on one server, rooms, and what each observer was told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::reference;
use super::script::{Act, DEVICES, ROOMS, Step, Tie, USERS};
use crate::core::idle::{self, IdleTimeout, IdleTimer};
use crate::core::list::{AutoAccept, Effect, List, Observed, Output as ListOutput};
use crate::core::presence::{
    Change, Decision, DeviceKey, DeviceType, Engine, Output, Record, SetPresence, Settings, State, StatusMsg,
    UserKey, View,
};
use crate::core::time::Instant;
use crate::core::visibility::{RoomLimit, Share, Ties, may_see};

const LIMIT: RoomLimit = RoomLimit::Members(3);

/// A device as its owner has it: awake or asleep, with tabs that each hold a poll.
pub(super) struct Device {
    pub(super) key: u64,
    pub(super) idle: IdleTimer,
    awake: bool,
    pub(super) tabs: u32,
    seq: u64,
    device_type: DeviceType,
}

/// What an observer knows of an observed: all of a view that a change is told for.
pub(super) type Known = (State, Option<Arc<str>>, Option<DeviceType>, bool, bool);

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) now: Instant,
    pub(super) engine: Engine,
    pub(super) devices: Vec<Vec<Device>>,
    pub(super) reference: Vec<reference::User>,
    records: Vec<Record>,
    pub(super) lists: Vec<List>,
    rooms: [[bool; USERS]; ROOMS],
    pub(super) share: [Share; USERS],
    pub(super) known: BTreeMap<(usize, usize), Known>,
    told: Vec<Known>,
    /// All that others were sent or could ask for about each user, in order.
    pub(super) trace: Vec<String>,
}

pub(super) fn name(user: usize) -> Arc<str> {
    Arc::from(format!("@u{user}"))
}

pub(super) fn key(user: usize) -> UserKey {
    UserKey(u32::try_from(user).expect("few users"))
}

pub(super) fn known(view: &View) -> Known {
    let is_idle = view.idle_for.is_some();
    (view.state, view.status_msg.clone(), view.device_type, view.currently_active, is_idle)
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Instant::from_millis(1_700_000_000_000);
        let device = |user: usize, n: usize| Device {
            key: (user * DEVICES + n) as u64,
            idle: IdleTimer::new(IdleTimeout::default(), now),
            awake: true,
            tabs: 0,
            seq: 0,
            device_type: [DeviceType::WEB, DeviceType::MOBILE][n],
        };
        let mut world = Self {
            seed,
            now,
            engine: Engine::new(Settings::default()),
            devices: (0..USERS).map(|user| (0..DEVICES).map(|n| device(user, n)).collect()).collect(),
            reference: Vec::new(),
            records: vec![Record::default(); USERS],
            lists: (0..USERS).map(|user| List::restored(name(user), AutoAccept::Reverse, [])).collect(),
            rooms: [[true, true, true, false], [true, false, false, true]],
            share: [Share::SharedRooms; USERS],
            known: BTreeMap::new(),
            told: Vec::new(),
            trace: vec![String::new(); USERS],
        };
        world.restart();
        world
    }

    pub(super) fn run(seed: u64, steps: &[Step]) -> Self {
        let mut world = Self::new(seed);
        for step in steps {
            world.step(step);
        }
        world
    }

    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Act(user, device, act) => self.act(*user, *device, act),
            Step::Tie(tie) => self.tie(tie),
            Step::Pass(time) => self.pass(*time),
            Step::Jump(time) => self.arrive(self.now + *time),
            Step::Restart => self.restart(),
        }
        self.check(step);
    }

    /// The server is killed and started again on what it stored.
    fn restart(&mut self) {
        self.engine = Engine::new(Settings::default());
        for user in 0..USERS {
            let record = self.records[user].clone();
            if let Some(reference) = self.reference.get(user) {
                assert!(reference.admits(&record), "seed {}: {record:?} of {reference:?}", self.seed);
            }
            assert_eq!(self.engine.insert_user(record, self.now), key(user));
        }
        self.reference = self.records.iter().map(|r| reference::User::restored(r, self.now)).collect();
        for device in self.devices.iter_mut().flatten() {
            device.tabs = 0;
        }
        self.told = (0..USERS).map(|user| known(&self.engine.view(key(user), self.now))).collect();
        self.known.clear();
        self.look_around();
    }

    fn act(&mut self, user: usize, device: usize, act: &Act) {
        let now = self.now;
        let d = &mut self.devices[user][device];
        match act {
            Act::Move if d.awake => {
                d.idle.handle_activity(now);
                self.report(user, device);
            }
            Act::Open if d.awake => {
                d.tabs += 1;
                self.connect(user, device);
            }
            Act::Close if d.tabs > 0 => self.close(user, device, 1),
            Act::Drop => self.close(user, device, self.devices[user][device].tabs),
            Act::Sleep => {
                d.awake = false;
                self.close(user, device, self.devices[user][device].tabs);
            }
            Act::Wake if !d.awake => {
                d.awake = true;
                d.idle.handle_timeout(now);
                self.report(user, device);
            }
            Act::Choose(choice, status) => {
                self.engine.handle_choice(key(user), *choice, status_msg(status.as_ref()), now);
                self.reference[user].choose(*choice, status.clone(), now);
            }
            Act::SignOff(off, status) => {
                let decision = Decision { choice: None, signed_off: Some(*off) };
                self.engine.handle_decision(key(user), decision, status_msg(status.as_ref()), now);
                self.reference[user].sign_off(*off, status.clone(), now);
            }
            Act::Send => {
                self.engine.handle_pro_active(key(user), now);
                self.reference[user].send_message(now);
            }
            Act::LogOut => {
                let removed = d.key;
                d.key += 1_000;
                (d.tabs, d.seq) = (0, 0);
                self.engine.handle_device_removed(key(user), DeviceKey(removed), now);
                self.reference[user].remove(removed, now);
            }
            Act::Late(seq) => {
                // What the engine forgot with the device, it cannot tell from new.
                let remembered = self.reference[user].devices.get(&d.key).map_or(0, |device| device.seq);
                let (device, seq) = (d.key, (*seq).min(remembered));
                self.engine.handle_idle(key(user), DeviceKey(device), Some(seq), Duration::ZERO, now);
                self.reference[user].report(device, seq, Ok(now), now);
            }
            Act::Move | Act::Open | Act::Close | Act::Wake => {}
        }
        self.drain();
    }

    fn connect(&mut self, user: usize, device: usize) {
        let d = &self.devices[user][device];
        let (idle, device_type) = (d.idle.is_idle(), d.device_type);
        let (device_key, idle_for) = (d.key, d.idle.idle_for(self.now));
        let says = if idle { SetPresence::Unavailable } else { SetPresence::Online };
        self.engine.handle_connected(key(user), DeviceKey(device_key), says, self.now);
        self.engine.handle_device_type(key(user), DeviceKey(device_key), Some(device_type));
        self.reference[user].connect(device_key, idle, Some(device_type), self.now);
        if idle {
            self.say(user, device, Some(idle_for));
        }
    }

    fn close(&mut self, user: usize, device: usize, tabs: u32) {
        let d = &mut self.devices[user][device];
        d.tabs -= tabs;
        for _ in 0..tabs {
            self.engine.handle_disconnected(key(user), DeviceKey(d.key), self.now);
            self.reference[user].disconnect(d.key, self.now);
        }
    }

    /// Sends what the device's idle timer has to say.
    fn report(&mut self, user: usize, device: usize) {
        match self.devices[user][device].idle.poll_output(self.now) {
            Some(idle::Output::BecameIdle { idle_for }) => self.say(user, device, Some(idle_for)),
            Some(idle::Output::BecameActive) => self.say(user, device, None),
            None => {}
        }
    }

    fn say(&mut self, user: usize, device: usize, idle_for: Option<Duration>) {
        let now = self.now;
        let d = &mut self.devices[user][device];
        d.seq += 1;
        let (device, seq) = (d.key, d.seq);
        match idle_for {
            Some(idle_for) => {
                self.engine.handle_idle(key(user), DeviceKey(device), Some(seq), idle_for, now);
                self.reference[user].report(device, seq, Ok(now - idle_for), now);
            }
            None => {
                self.engine.handle_active(key(user), DeviceKey(device), Some(seq), now);
                self.reference[user].report(device, seq, Err(now), now);
            }
        }
    }

    fn tie(&mut self, tie: &Tie) {
        match tie {
            Tie::Add(user, other) if user != other => {
                self.lists[*user].handle_add(&name(*other), None).expect("there is room");
            }
            Tie::Add(..) => {}
            Tie::Remove(user, other) => self.lists[*user].handle_remove(&name(*other)),
            Tie::Deny(user, other) => self.lists[*user].handle_deny(&name(*other), self.now),
            Tie::Accept(user, other) => {
                let asked = self.standing(*user, *other);
                let outcome = self.lists[*user].handle_accept(&name(*other));
                assert_eq!(outcome.is_ok(), matches!(asked, Observed::Asked | Observed::Yes));
            }
            Tie::Room(room, user) => self.rooms[*room][*user] ^= true,
            Tie::Share(user, share) => self.share[*user] = *share,
        }
        self.settle_lists();
        self.look_around();
    }

    fn settle_lists(&mut self) {
        let mut again = true;
        while std::mem::take(&mut again) {
            for user in 0..USERS {
                while let Some(output) = self.lists[user].poll_output() {
                    if let ListOutput::Effect { contact, effect: Effect::Send(message) } = output {
                        let other = (0..USERS).find(|&other| name(other) == contact).expect("a user");
                        self.lists[other].handle_message(&name(user), message.kind, Some(message.seq));
                        again = true;
                    }
                }
            }
        }
    }

    /// Lets time pass, waking everybody on time.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for round in 0.. {
            assert!(round < 10_000, "seed {}: a timer fires and is not done", self.seed);
            let awake = self.devices.iter().flatten().filter(|device| device.awake);
            let wakes = awake.filter_map(|device| device.idle.poll_timeout());
            let next = wakes.chain(self.engine.poll_timeout()).min();
            match next.filter(|&at| at <= end) {
                Some(at) => self.arrive(at),
                None => break,
            }
        }
        self.arrive(end);
    }

    /// It is now so late, and nobody was woken in between.
    fn arrive(&mut self, now: Instant) {
        self.now = now;
        self.engine.handle_timeout(now);
        for user in &mut self.reference {
            user.tick(now);
        }
        self.drain();
        for user in 0..USERS {
            for device in 0..DEVICES {
                let d = &mut self.devices[user][device];
                if d.awake && d.idle.poll_timeout().is_some_and(|at| at <= now) {
                    d.idle.handle_timeout(now);
                    self.report(user, device);
                }
            }
        }
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output(self.now) {
            match output {
                Output::Persist { user, record } => self.records[user.0 as usize] = record,
                Output::Changed { change: Change::Own, .. } => {}
                Output::Changed { user, change } => self.deliver(user.0 as usize, change),
            }
        }
    }

    fn deliver(&mut self, user: usize, change: Change) {
        let view = self.engine.view(key(user), self.now);
        let current = known(&view);
        let (old, new) = (&self.told[user], &current);
        let differs = (old.0, &old.1, old.2, old.4) != (new.0, &new.1, new.2, new.4);
        // A message that changed and changed back was told once for nothing; all else differs.
        assert_eq!(change == Change::Visible, differs, "seed {}: {old:?} {new:?}", self.seed);
        self.told[user] = current.clone();
        for observer in 0..USERS {
            if observer != user && self.may_see(observer, user) {
                self.known.insert((observer, user), current.clone());
                let line = format!("{} to {observer}: {view:?}\n", self.now.as_millis());
                self.trace[user].push_str(&line);
            }
        }
    }

    /// Ties changed: who may see now is shown the present, who may not is shown nothing.
    fn look_around(&mut self) {
        for observer in 0..USERS {
            for user in (0..USERS).filter(|&user| user != observer) {
                if !self.may_see(observer, user) {
                    self.known.remove(&(observer, user));
                } else if !self.known.contains_key(&(observer, user)) {
                    let view = self.engine.view(key(user), self.now);
                    self.known.insert((observer, user), known(&view));
                }
            }
        }
    }

    fn standing(&self, user: usize, other: usize) -> Observed {
        self.lists[user].contact(&name(other)).map_or(Observed::No, |contact| contact.relation.observed())
    }

    fn may_see(&self, observer: usize, user: usize) -> bool {
        let sizes = self.shared_rooms(observer, user);
        let accepted = self.standing(user, observer) == Observed::Yes;
        may_see(Ties { accepted, smallest_shared_room: sizes.min() }, self.share[user], LIMIT)
    }

    pub(super) fn shared_rooms(&self, a: usize, b: usize) -> impl Iterator<Item = usize> {
        let shared = self.rooms.iter().filter(move |room| room[a] && room[b]);
        shared.map(|room| room.iter().filter(|&&joined| joined).count())
    }
}

fn status_msg(status: Option<&Option<Arc<str>>>) -> StatusMsg {
    match status {
        None => StatusMsg::Keep,
        Some(None) => StatusMsg::Clear,
        Some(Some(text)) => StatusMsg::set(text.to_string()).expect("short"),
    }
}
