//! One held stream as the hub sees it: a socket, and how far its reader was told.

use std::{collections::BTreeSet, io, sync::Arc, time::Instant};

use parking_lot::{Mutex, MutexGuard};
use ruma::{OwnedRoomId, OwnedUserId};
use tokio::net::TcpStream;

use super::frames::{self, Frames};
use crate::{
    core::time,
    server::{
        change::{
            position::LivePosition,
            wakers::{Place, Slot},
        },
        event::stored::StoredEvent,
        session::Session,
        stream::{filter::Timelines, token::Token},
    },
};

/// Rooms of which a reader is to be told how much they have not read before they are told at once.
const MAX_UNCOUNTED: usize = 64;

/// One held stream.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) session: Session,
    pub(super) stream: TcpStream,
    pub(super) slot: Arc<Slot>,
    state: Mutex<State>,
}

/// What the hub tells a reader who follows; for all else they look themselves.
#[derive(Clone, Debug, Default)]
pub(super) struct Tells {
    /// Everybody's presence.
    pub(super) presence: bool,
    /// Events of timelines.
    pub(super) timelines: Timelines,
    /// Whom the reader ignores.
    pub(super) ignored: Arc<BTreeSet<OwnedUserId>>,
}

#[derive(Debug)]
struct State {
    follows: bool,
    /// There was something for the reader while they did not follow.
    missed: bool,
    /// Everything up to here was told.
    at: Place,
    tells: Tells,
    /// What of a write the socket did not take.
    rest: Vec<u8>,
    /// What the pass under way has for the reader, by its number.
    pending: Vec<u32>,
    /// The rooms of which the reader does not know how much they have not read.
    uncounted: Vec<OwnedRoomId>,
    written: Instant,
    is_broken: bool,
    is_replaced: bool,
}

/// One thing to tell, by the pass of the hub that tells it.
#[derive(Debug)]
pub(super) enum Item {
    /// The presence of a user.
    Presence {
        /// Its position.
        at: LivePosition,
        /// As it is written.
        frame: Vec<u8>,
    },
    /// An event at the end of a room.
    Event {
        /// As others than the sending device see it.
        frame: Vec<u8>,
        /// The event.
        event: Arc<StoredEvent>,
    },
}

/// A pass of the hub: from where it goes up to where, and what it tells.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) since: Place,
    pub(super) upto: Place,
    pub(super) items: Vec<Item>,
    /// As of when it tells.
    pub(super) now: time::Instant,
    /// The items of the last write, and what was written: most readers are told the same.
    last: (Vec<u32>, Vec<u8>),
}

/// What ends a reader's following.
#[derive(Debug)]
pub(super) struct Left {
    /// From where they look on.
    pub(super) since: Place,
    /// What is still to be written of what they were told.
    pub(super) rest: Vec<u8>,
    /// The rooms of which they do not know how much they have not read.
    pub(super) uncounted: Vec<OwnedRoomId>,
    /// The connection is gone.
    pub(super) is_broken: bool,
    /// The device opened so many streams that this one ends.
    pub(super) is_replaced: bool,
}

impl Tells {
    fn tells(&self, item: &Item) -> bool {
        match item {
            Item::Presence { .. } => self.presence,
            Item::Event { .. } => self.timelines != Timelines::Chosen,
        }
    }
}

impl Line {
    pub(super) fn new(session: Session, stream: TcpStream, slot: Arc<Slot>, now: Instant) -> Self {
        let state = State {
            follows: false,
            missed: false,
            at: Place::default(),
            tells: Tells::default(),
            rest: Vec::new(),
            pending: Vec::new(),
            uncounted: Vec::new(),
            written: now,
            is_broken: false,
            is_replaced: false,
        };
        Self { session, stream, slot, state: Mutex::new(state) }
    }

    /// Takes note that the reader begins to look. Before the positions are read up to which they do.
    pub(super) fn begin_look(&self) {
        self.lock().missed = false;
    }

    /// From here on the hub tells the reader, who was told everything up to `at`. `false`: there was something for
    /// them meanwhile, they have to look again.
    pub(super) fn follow(&self, at: Place, tells: Tells, now: Instant) -> bool {
        let mut state = self.lock();
        if state.missed || self.slot.is_woken() {
            return false;
        }
        (state.at, state.tells, state.follows, state.written) = (at, tells, true, now);
        true
    }

    /// From here on the reader looks for themselves. The hub was at `followed` before this was called.
    pub(super) fn leave(&self, followed: Place) -> Left {
        let mut state = self.lock();
        // In this order: what is told after this marks the slot again, or finds that nobody follows.
        let woken_at = self.slot.begin_look();
        let had_all = std::mem::take(&mut state.follows);
        // Else another pass could tell what the next look tells.
        state.pending.clear();
        let since = match woken_at {
            // Who did not follow was not told what those were told who did.
            _ if !had_all => state.at,
            Some(at) => state.at.max(at),
            None => state.at.max(followed),
        };
        state.at = since;
        Left {
            since,
            rest: std::mem::take(&mut state.rest),
            uncounted: std::mem::take(&mut state.uncounted),
            is_broken: state.is_broken,
            is_replaced: state.is_replaced,
        }
    }

    /// Whether the stream ends for another of its device.
    pub(super) fn is_replaced(&self) -> bool {
        self.lock().is_replaced
    }

    /// Ends the stream: there are too many of its device.
    pub(super) fn replace(&self) {
        self.lock().is_replaced = true;
        self.slot.call();
    }

    /// Whether the reader has something to do themselves.
    pub(super) fn is_to_look(&self) -> bool {
        let state = self.lock();
        !state.follows
            || state.is_broken
            || state.is_replaced
            || !state.uncounted.is_empty()
            || self.slot.is_woken()
    }

    /// Whether an event is told only with the member who sent it, unless the reader knows them.
    pub(super) fn is_lazy(&self) -> bool {
        self.lock().tells.timelines == Timelines::OfKnown
    }

    /// Adds an item of a pass to what the reader is told by it. `true`: it is the first one.
    pub(super) fn add(&self, number: u32, item: &Item) -> bool {
        let mut state = self.lock();
        if !state.follows {
            state.missed = true;
            return false;
        }
        let told = match item {
            Item::Presence { at, .. } => *at <= state.at.live,
            Item::Event { event, .. } => {
                event.position <= state.at.log || state.tells.ignored.contains(&event.sender)
            }
        };
        if told || state.pending.last() == Some(&number) {
            return false;
        }
        state.pending.push(number);
        state.pending.len() == 1
    }

    /// Tells the reader what a pass has for them.
    pub(super) fn tell(&self, pass: &mut Pass, now: Instant) -> usize {
        let mut state = self.lock();
        let pending = std::mem::take(&mut state.pending);
        if pending.is_empty() || !state.follows || self.slot.is_woken() {
            // Who looks for themselves looks from before this pass.
            return 0;
        }
        if !pending.iter().all(|number| state.tells.tells(&pass.items[*number as usize])) {
            state.follows = false;
            state.at = state.at.max(pass.since);
            self.slot.call();
            return 0;
        }
        let at = state.at.max(pass.upto);
        let own;
        let bytes = if at == pass.upto && !pass.is_own(&pending, &self.session) {
            pass.shared(&pending)
        } else {
            own = pass.written_for(&pending, &self.session, at);
            &own
        };
        match self.stream.try_write(bytes) {
            Ok(count) if count == bytes.len() => {
                (state.at, state.written) = (at, now);
            }
            Ok(count) => {
                (state.at, state.follows, state.rest) = (at, false, bytes[count..].to_vec());
                self.slot.call();
            }
            Err(e) => {
                state.is_broken = e.kind() != io::ErrorKind::WouldBlock;
                (state.at, state.follows) = (state.at.max(pass.since), false);
                self.slot.call();
            }
        }
        let count = pending.len();
        pass.note_rooms(&pending, &mut state.uncounted);
        if state.uncounted.len() >= MAX_UNCOUNTED {
            self.slot.call();
        }
        state.pending = pending;
        state.pending.clear();
        count
    }

    /// Writes `bytes`, which say nothing, if nothing was written for long.
    pub(super) fn beat(&self, bytes: &[u8], now: Instant, after: std::time::Duration) {
        let mut state = self.lock();
        if !state.follows || now.duration_since(state.written) < after {
            return;
        }
        state.written = now;
        match self.stream.try_write(bytes) {
            Ok(count) if count == bytes.len() => {}
            Ok(count) => {
                (state.follows, state.rest) = (false, bytes[count..].to_vec());
                self.slot.call();
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => {
                state.is_broken = true;
                self.slot.call();
            }
        }
    }

    /// Has the reader be told how much they have not read, if they do not know.
    pub(super) fn count(&self) {
        let state = self.lock();
        if state.follows && !state.uncounted.is_empty() {
            self.slot.call();
        }
    }

    /// Has the reader look for themselves.
    pub(super) fn send_away(&self, pass: &Pass) {
        let mut state = self.lock();
        if state.follows {
            (state.at, state.follows) = (state.at.max(pass.since), false);
            self.slot.call();
        } else {
            state.missed = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Pass {
    pub(super) fn new(since: Place, upto: Place, now: time::Instant) -> Self {
        Self { since, upto, items: Vec::new(), now, last: Default::default() }
    }

    /// What everybody is told who is told these items.
    fn shared(&mut self, items: &[u32]) -> &[u8] {
        if self.last.0 != items {
            self.last = (items.to_vec(), self.write(items, self.upto, |_| None));
        }
        &self.last.1
    }

    fn written_for(&self, items: &[u32], session: &Session, at: Place) -> Vec<u8> {
        self.write(items, at, |event| {
            is_of(event, session).then(|| frames::timeline(event, session, self.now))
        })
    }

    fn write(&self, items: &[u32], at: Place, own: impl Fn(&StoredEvent) -> Option<Vec<u8>>) -> Vec<u8> {
        let mut frames = Frames::default();
        for item in items.iter().map(|number| &self.items[*number as usize]) {
            match item {
                Item::Presence { frame, .. } => frames.encoded(frame),
                Item::Event { frame, event } => match own(event) {
                    Some(own) => frames.encoded(&own),
                    None => frames.encoded(frame),
                },
            }
        }
        frames.up_to(&Token::new(at.log, at.live))
    }

    /// Whether one of the items reads differently for the device that caused it.
    fn is_own(&self, items: &[u32], session: &Session) -> bool {
        items.iter().any(|number| match &self.items[*number as usize] {
            Item::Presence { .. } => false,
            Item::Event { event, .. } => is_of(event, session),
        })
    }

    fn note_rooms(&self, items: &[u32], rooms: &mut Vec<OwnedRoomId>) {
        for number in items {
            if let Item::Event { event, .. } = &self.items[*number as usize]
                && !rooms.contains(&event.room_id)
            {
                rooms.push(event.room_id.clone());
            }
        }
    }
}

/// Whether the device sent the event, so that it is told its transaction ID.
fn is_of(event: &StoredEvent, session: &Session) -> bool {
    let device = event.transaction.as_ref().map(|(device, _)| device);
    event.sender == session.user && device == Some(&session.device)
}
