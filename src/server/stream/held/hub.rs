//! Tells everybody at once: one thread takes what happened since its last pass, encodes each change once, and writes it
//! to the socket of every stream whose reader may see it.
//!
//! A pass goes up to where everything was told: whoever has something to look at themselves is marked by then, and left
//! to themselves. So a stream that follows was told everything up to the last pass, though most passes have nothing for
//! it and touch it with nothing.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::RwLock;
use ruma::{OwnedRoomId, UserId};
use tokio::{net::TcpStream, time::Instant as Timer};

use super::{
    frames,
    joining::Join,
    line::{Line, Lines, add_to, of_user},
    pass::{Item, Pass},
    rooms,
};
use crate::server::{
    change::{
        bell::Bell,
        wakers::{Place, Wakers},
    },
    session::Session,
    stream::{entered::Entered, parts::Parts},
};

/// How long nothing may be written on a stream: a comment comes then. Shorter than the patience of proxies.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(25);

/// How much sooner the hub writes one, as it looks once a second only.
pub(super) const EARLY: Duration = Duration::from_secs(2);

/// What is written then.
pub(super) const BEAT: &[u8] = b":\n\n";

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

/// Streams of one user at most, likewise.
const MAX_OF_USER: usize = 256;

/// All held streams. Bounded by the connections that there may be.
#[derive(Debug)]
pub struct Hub {
    lines: RwLock<Lines>,
    count: AtomicUsize,
    joins: AtomicU64,
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

/// A join whose answer the device will confirm; dropped when it is refused.
#[derive(Debug)]
pub struct JoinUnderWay {
    lines: Vec<Arc<Line>>,
    join: Join,
    is_answered: bool,
}

impl Hub {
    /// Without streams. Whoever waits at `wakers` is woken; `bell` rings when something was told.
    pub fn new(wakers: Arc<Wakers>, bell: Arc<Bell>) -> Self {
        Self {
            lines: RwLock::default(),
            count: AtomicUsize::new(0),
            joins: AtomicU64::new(0),
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
        let of_device = |other: &Line| other.session.device == line.session.device;
        replace_oldest(of_user, MAX_OF_DEVICE, of_device);
        replace_oldest(of_user, MAX_OF_USER, |_| true);
        of_user.push(Arc::clone(&line));
        drop(lines);
        if self.count.fetch_add(1, Ordering::AcqRel) == 0 {
            self.bell.wake();
        }
        Seat { hub: Arc::clone(self), line }
    }

    /// The device joins a room and will say that it has the answer: until it has said so, or much time has passed, its
    /// streams tell nothing.
    pub fn join(self: &Arc<Self>, session: &Session) -> JoinUnderWay {
        let join = Join(self.joins.fetch_add(1, Ordering::Relaxed));
        let lines = self.of_device(session);
        lines.iter().for_each(|line| line.joining(|joining| joining.begin(join, Timer::now())));
        JoinUnderWay { lines, join, is_answered: false }
    }

    /// The device has the answer to a join: what its streams tell of the room begins after it.
    pub fn confirm(&self, session: &Session, entered: &Entered) {
        for line in self.of_device(session) {
            line.joining(|joining| joining.confirm(entered.clone()));
            line.slot.call();
        }
    }

    fn of_device(&self, session: &Session) -> Vec<Arc<Line>> {
        let lines = self.lines.read();
        let of_user = of_user(&lines, &session.user).iter();
        of_user.filter(|line| line.session.device == session.device).cloned().collect()
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
            rooms::add(&mut pass, parts, &lines, &mut told);
            add_presence(&mut pass, parts, &lines, &mut told);
            drop(lines);
            let now = Instant::now();
            let seen: usize = told.iter().map(|line: &Arc<Line>| line.tell(&mut pass, now)).sum();
            parts.metrics.presence_delivered.add(seen);
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

impl JoinUnderWay {
    /// The device is in `room`, and is about to be answered so.
    pub fn answer(mut self, room: &OwnedRoomId) {
        self.is_answered = true;
        for line in &self.lines {
            line.joining(|joining| joining.answer(self.join, room, Timer::now()));
            line.slot.call();
        }
    }
}

impl Drop for JoinUnderWay {
    fn drop(&mut self) {
        if !self.is_answered {
            for line in &self.lines {
                line.joining(|joining| joining.give_up(self.join));
                line.slot.call();
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.leave(&self.line);
    }
}

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

/// Ends the oldest of those that `counts`, if there are `most` of them.
fn replace_oldest(of_user: &[Arc<Line>], most: usize, counts: impl Fn(&Line) -> bool) {
    let mut counted = of_user.iter().filter(|line| counts(line) && !line.is_replaced());
    if let Some(oldest) = counted.next()
        && counted.count() + 1 >= most
    {
        oldest.replace();
    }
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
                _ => parts.sight.may_see_since(observer, &user, (pass.upto.log, pass.upto.live)),
            };
            last = Some((observer, may_see));
            if may_see {
                add_to(line, pass, number, told);
            }
        }
    }
}

#[cfg(test)]
mod stress;
#[cfg(test)]
mod tests;
