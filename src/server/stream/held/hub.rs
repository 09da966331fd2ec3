//! Tells everybody at once: one thread takes what happened since its last pass, encodes each change once, and writes it
//! to the socket of every stream whose reader may see it.
//!
//! A pass goes up to where everything was told: whoever has something to look at themselves is marked by then, and left
//! to themselves. So a stream that follows was told everything up to the last pass, though most passes have nothing for
//! it and touch it with nothing.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::RwLock;
use ruma::{OwnedRoomId, OwnedUserId, UserId};
use tokio::net::TcpStream;

use super::{
    frames,
    line::{Item, Line, Pass},
};
use crate::server::{
    change::{
        bell::Bell,
        position::TimelinePosition,
        wakers::{Place, Wakers},
    },
    event::stored::StoredEvent,
    session::Session,
    stream::parts::Parts,
};

/// How long nothing may be written on a stream: a comment comes then. Shorter than the patience of proxies.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(25);

/// How much sooner the hub writes one, as it looks once a second only.
const EARLY: Duration = Duration::from_secs(2);

/// What is written then.
const BEAT: &[u8] = b":\n\n";

/// How often the hub looks around though nothing rang.
const TICK: Duration = Duration::from_secs(1);

/// After how many ticks readers are told how much they have not read.
const COUNTING: u32 = 2;

/// After a pass the hub waits for so many times as long as that took: what happens meanwhile shares the writes of the
/// next, and at most a fifth of one core is used by it.
const REST: u32 = 4;

/// The longest that it waits.
const MAX_REST: Duration = Duration::from_millis(50);

/// Passes that were shorter need no rest.
const SHORT: Duration = Duration::from_micros(250);

/// Streams of one device at most; with one more, the oldest ends.
const MAX_OF_DEVICE: usize = 16;

/// All held streams. Bounded by the connections that there may be.
#[derive(Debug)]
pub struct Hub {
    lines: RwLock<HashMap<OwnedUserId, Vec<Arc<Line>>>>,
    count: AtomicUsize,
    is_stopped: AtomicBool,
    wakers: Arc<Wakers>,
    bell: Arc<Bell>,
}

/// A stream among the others, until this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    hub: Arc<Hub>,
    pub(super) line: Arc<Line>,
}

impl Hub {
    /// Without streams. Whoever waits at `wakers` is woken; `bell` rings when something was told.
    pub fn new(wakers: Arc<Wakers>, bell: Arc<Bell>) -> Self {
        Self {
            lines: RwLock::default(),
            count: AtomicUsize::new(0),
            is_stopped: AtomicBool::new(false),
            wakers,
            bell,
        }
    }

    /// How many streams are open.
    pub fn open_streams(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Starts the thread, which reads `parts` until they are gone or [`Self::stop`] is called.
    pub fn start(self: &Arc<Self>, parts: &Arc<Parts>) -> std::io::Result<()> {
        let (hub, parts) = (Arc::clone(self), Arc::downgrade(parts));
        thread::Builder::new().name("streams".into()).spawn(move || hub.run(&parts)).map(drop)
    }

    /// Ends the thread.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        self.bell.wake();
    }

    /// A place for a stream.
    pub(super) fn enter(self: &Arc<Self>, session: Session, stream: TcpStream) -> Seat {
        let slot = self.wakers.enter(&session.user);
        let line = Arc::new(Line::new(session, stream, slot, Instant::now()));
        let mut lines = self.lines.write();
        let of_user = lines.entry(line.session.user.clone()).or_default();
        let is_of_device = |other: &&Arc<Line>| other.session.device == line.session.device;
        let mut of_device = of_user.iter().filter(is_of_device).filter(|other| !other.is_replaced());
        if let Some(oldest) = of_device.next()
            && of_device.count() + 1 >= MAX_OF_DEVICE
        {
            oldest.replace();
        }
        of_user.push(Arc::clone(&line));
        drop(lines);
        if self.count.fetch_add(1, Ordering::AcqRel) == 0 {
            self.bell.wake();
        }
        Seat { hub: Arc::clone(self), line }
    }

    fn leave(&self, line: &Arc<Line>) {
        let mut lines = self.lines.write();
        if let Some(of_user) = lines.get_mut(&line.session.user) {
            of_user.retain(|other| !Arc::ptr_eq(other, line));
            if of_user.is_empty() {
                lines.remove(&line.session.user);
            }
        }
        drop(lines);
        self.count.fetch_sub(1, Ordering::AcqRel);
        self.wakers.leave(&line.session.user, &line.slot);
    }

    fn run(&self, parts: &Weak<Parts>) {
        self.bell.listen(thread::current());
        let (mut at, mut ticks, mut ticked) = (Place::default(), 0_u32, Instant::now());
        while !self.is_stopped.load(Ordering::Acquire) {
            let Some(parts) = parts.upgrade() else { return };
            let begun = Instant::now();
            at = self.pass(&parts, at);
            if ticked.elapsed() >= TICK {
                (ticks, ticked) = (ticks.wrapping_add(1), begun);
                self.tick(ticks.is_multiple_of(COUNTING));
            }
            let took = begun.elapsed();
            if is_behind(&parts, at) {
                // Something is being told: whoever ends that, rings.
                self.bell.arm();
            }
            let is_more = place_told(&parts) != at;
            drop(parts);
            if took > SHORT {
                thread::sleep((took * REST).min(MAX_REST));
            } else if !is_more {
                match self.open_streams() {
                    0 => thread::park(),
                    _ => thread::park_timeout(TICK),
                }
            }
        }
    }

    /// Tells what happened after `since`; answers up to where.
    fn pass(&self, parts: &Parts, since: Place) -> Place {
        let upto = place_told(parts);
        if upto == since {
            return since;
        }
        if self.open_streams() > 0 {
            let mut pass = Pass::new(since, upto, parts.clock.now());
            let lines = self.lines.read();
            let mut told = Vec::new();
            add_events(&mut pass, parts, &lines, &mut told);
            let events = pass.items.len();
            add_presence(&mut pass, parts, &lines, &mut told);
            drop(lines);
            let now = Instant::now();
            let writes: usize = told.iter().map(|line: &Arc<Line>| line.tell(&mut pass, now)).sum();
            if pass.items.len() > events {
                parts.metrics.presence_delivered.add(writes);
            }
        }
        self.wakers.note_followed(upto);
        upto
    }

    /// Keeps connections alive through whoever is between, and has readers told how much they have not read.
    fn tick(&self, is_counting: bool) {
        let lines = self.lines.read();
        let now = Instant::now();
        #[expect(clippy::disallowed_methods, reason = "in any order")]
        for line in lines.values().flatten() {
            line.beat(BEAT, now, HEARTBEAT - EARLY);
            if is_counting {
                line.count();
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.leave(&self.line);
    }
}

type Lines = HashMap<OwnedUserId, Vec<Arc<Line>>>;

/// Up to where everything was told.
fn place_told(parts: &Parts) -> Place {
    // The log last: what it brings to what lives is told with it.
    let live = parts.live.told();
    Place { log: parts.store.told_position(), live }
}

/// Whether there is more than was told up to `at`.
fn is_behind(parts: &Parts, at: Place) -> bool {
    parts.live.position() > at.live || parts.store.log_position() > at.log
}

/// The streams of `user`.
fn of_user<'a>(lines: &'a Lines, user: &UserId) -> &'a [Arc<Line>] {
    lines.get(user).map_or(&[], Vec::as_slice)
}

/// Adds what the pass has at `number` for `line`, unless it was told to them.
fn add(pass: &Pass, number: usize, line: &Arc<Line>, told: &mut Vec<Arc<Line>>) {
    let Ok(count) = u32::try_from(number) else { return };
    if line.add(count, &pass.items[number]) {
        told.push(Arc::clone(line));
    }
}

/// What happened in rooms and is no state: who is joined is told. All that concerns state is looked at by each reader,
/// and marks them before it counts as told.
fn add_events(pass: &mut Pass, parts: &Parts, lines: &Lines, told: &mut Vec<Arc<Line>>) {
    let (since, upto) = (pass.since.log, pass.upto.log);
    let Some(events) = parts.store.recent_events(since, |e| e.state_key.is_none() && e.position <= upto)
    else {
        #[expect(clippy::disallowed_methods, reason = "in any order")]
        lines.values().flatten().for_each(|line| line.send_away(pass));
        return;
    };
    let mut rooms: HashMap<OwnedRoomId, Vec<Arc<Line>>> = HashMap::new();
    for event in &events {
        rooms.entry(event.room_id.clone()).or_insert_with(|| {
            let mut there = Vec::new();
            parts.members.each_joined(&event.room_id, |user| there.extend_from_slice(of_user(lines, user)));
            there
        });
    }
    // After who is joined: who came in or went since, and is not marked for it yet, looks for themselves.
    let Some(passages) = parts.store.recent_events(since, |e| e.membership().is_some()) else {
        #[expect(clippy::disallowed_methods, reason = "in any order")]
        lines.values().flatten().for_each(|line| line.send_away(pass));
        return;
    };
    for passage in passages.iter().filter(|passage| rooms.contains_key(&passage.room_id)) {
        let user = passage.membership().and_then(|(user, _)| <&UserId>::try_from(user).ok());
        user.into_iter().flat_map(|user| of_user(lines, user)).for_each(|line| line.send_away(pass));
    }
    for event in events {
        let Some(there) = rooms.get(&event.room_id).filter(|there| !there.is_empty()) else { continue };
        if event.timeline != TimelinePosition::live(event.position) {
            there.iter().for_each(|line| line.send_away(pass));
            continue;
        }
        let nobody = Session { user: event.sender.clone(), device: "".into() };
        let frame = frames::timeline(&event, &nobody, pass.now);
        let number = pass.items.len();
        pass.items.push(Item::Event { frame, event: Arc::clone(&event) });
        for line in there {
            if line.is_lazy() && !knows_sender(parts, line, &event, pass.upto) {
                line.send_away(pass);
            } else {
                add(pass, number, line, told);
            }
        }
    }
}

/// Whether a reader who is told of members only when they speak was told of who sent an event.
fn knows_sender(parts: &Parts, line: &Line, event: &StoredEvent, upto: Place) -> bool {
    let sender = [event.sender.clone()].into();
    parts.lazy_members.untold(&line.session, &event.room_id, upto.log, sender).is_empty()
}

/// Whose presence changed: whoever may see it is told.
fn add_presence(pass: &mut Pass, parts: &Parts, lines: &Lines, told: &mut Vec<Arc<Line>>) {
    let mut observers = Vec::new();
    for (at, user, event) in parts.board.changes(pass.since.live, pass.upto.live) {
        observers.clear();
        parts.sight.each_observer(&user, |observer| observers.extend(of_user(lines, observer)));
        if observers.is_empty() {
            continue;
        }
        let number = pass.items.len();
        pass.items.push(Item::Presence { at, frame: frames::presence(&event, pass.now) });
        let mut last: Option<(&UserId, bool)> = None;
        for line in &observers {
            let observer = &*line.session.user;
            // What their own devices are told is not what others are.
            if *observer == **user {
                continue;
            }
            let may_see = match last {
                Some((same, may_see)) if same == observer => may_see,
                _ => parts.sight.may_see(observer, &user),
            };
            last = Some((observer, may_see));
            if may_see {
                add(pass, number, line, told);
            }
        }
    }
}

#[cfg(test)]
mod tests;
