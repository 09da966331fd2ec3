//! One held stream as the hub sees it: a socket, and how far its reader was told.

use std::{collections::HashMap, io, sync::Arc, time::Instant};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use ruma::{OwnedRoomId, OwnedUserId, UserId};
use tokio::net::TcpStream;

use super::{
    joining::Joining,
    pass::{Item, Pass, Tells},
};
use crate::server::{
    change::wakers::{Place, Slot},
    session::Session,
    stream::filter::Timelines,
};

/// Rooms of which a reader is to be told how much they have not read before they are told at once.
const MAX_UNCOUNTED: usize = 64;

/// For how many items of a pass a line keeps room.
const KEPT: usize = 32;

/// What the hub writes at most to one reader in one pass, in bytes. Who would be told more looks for themselves: what a
/// socket does not take of a write is all that is held for its reader.
const MAX_WRITE: usize = 256 << 10;

/// One held stream.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) session: Session,
    pub(super) stream: TcpStream,
    pub(super) slot: Arc<Slot>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    follows: bool,
    /// There was something for the reader while they did not follow.
    missed: bool,
    /// Everything up to here was told.
    at: Place,
    tells: Tells,
    /// What of a write the socket did not take; shared with those who were written the same.
    rest: Bytes,
    /// What the pass under way has for the reader, by its number.
    pending: Vec<u32>,
    /// The rooms of which the reader does not know how much they have not read.
    uncounted: Vec<OwnedRoomId>,
    written: Instant,
    joining: Joining,
    is_broken: bool,
    is_replaced: bool,
}

/// What ends a reader's following.
#[derive(Debug)]
pub(super) struct Left {
    /// From where they look on.
    pub(super) since: Place,
    /// What is still to be written of what they were told.
    pub(super) rest: Bytes,
    /// The rooms of which they do not know how much they have not read.
    pub(super) uncounted: Vec<OwnedRoomId>,
    /// The connection is gone.
    pub(super) is_broken: bool,
    /// The device opened so many streams that this one ends.
    pub(super) is_replaced: bool,
}

impl Line {
    pub(super) fn new(session: Session, stream: TcpStream, slot: Arc<Slot>, now: Instant) -> Self {
        let state = State {
            follows: false,
            missed: false,
            at: Place::default(),
            tells: Tells::default(),
            rest: Bytes::new(),
            pending: Vec::new(),
            uncounted: Vec::new(),
            written: now,
            joining: Joining::default(),
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

    /// What its device joins, and how the stream waits for it.
    pub(super) fn joining<T>(&self, with: impl FnOnce(&mut Joining) -> T) -> T {
        with(&mut self.lock().joining)
    }

    /// Whether the stream ends for another of its device.
    pub(super) fn is_replaced(&self) -> bool {
        self.lock().is_replaced
    }

    /// When the hub wrote last, or the reader began to follow.
    pub(super) fn written(&self) -> Instant {
        self.lock().written
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
    fn add(&self, number: u32, item: &Item) -> bool {
        let mut state = self.lock();
        if !state.follows {
            state.missed = true;
            return false;
        }
        let is_told = item.is_told(state.at) || state.pending.last() == Some(&number);
        if is_told || state.tells.passes_over(item) {
            return false;
        }
        state.pending.push(number);
        state.pending.len() == 1
    }

    /// Tells the reader what a pass has for them; answers how many users' presence that was.
    pub(super) fn tell(&self, pass: &mut Pass, now: Instant) -> usize {
        let mut state = self.lock();
        let mut pending = std::mem::take(&mut state.pending);
        if pending.is_empty() || !state.follows || self.slot.is_woken() {
            // Who looks for themselves looks from before this pass.
            return 0;
        }
        let tells_all = pass.of(&pending).all(|item| state.tells.tells(item));
        if !tells_all || pass.size(&pending) > MAX_WRITE {
            state.follows = false;
            state.at = state.at.max(pass.since);
            self.slot.call();
            return 0;
        }
        let at = state.at.max(pass.upto);
        let bytes = pass.written(&pending, &state.tells, &self.session, at);
        match self.stream.try_write(&bytes) {
            Ok(count) if count == bytes.len() => {
                (state.at, state.written) = (at, now);
            }
            Ok(count) => {
                (state.at, state.follows, state.rest) = (at, false, bytes.slice(count..));
                self.slot.call();
            }
            Err(e) => {
                state.is_broken = e.kind() != io::ErrorKind::WouldBlock;
                (state.at, state.follows) = (state.at.max(pass.since), false);
                self.slot.call();
                return 0;
            }
        }
        let mut count = 0;
        for item in pass.of(&pending) {
            count += usize::from(matches!(item, Item::Presence { .. }));
            let Some(room) = item.counts_for(&self.session.user) else { continue };
            if !state.uncounted.contains(room) {
                state.uncounted.push(room.clone());
            }
            // Who has read elsewhere is to see at once that they have.
            if state.uncounted.len() >= MAX_UNCOUNTED || matches!(item, Item::Receipts { .. }) {
                self.slot.call();
            }
        }
        if pending.capacity() <= KEPT {
            pending.clear();
            state.pending = pending;
        }
        count
    }

    /// Writes `bytes`, which say nothing, if nothing was written for long.
    pub(super) fn beat(&self, bytes: &'static [u8], now: Instant, after: std::time::Duration) {
        let mut state = self.lock();
        if !state.follows || now.duration_since(state.written) < after {
            return;
        }
        state.written = now;
        match self.stream.try_write(bytes) {
            Ok(count) if count == bytes.len() => {}
            Ok(count) => {
                (state.follows, state.rest) = (false, Bytes::from_static(&bytes[count..]));
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
        if !state.follows {
            state.missed = true;
        } else if !self.slot.is_woken() {
            (state.at, state.follows) = (state.at.max(pass.since), false);
            self.slot.call();
        }
        // Who is woken looks from where that was, which is before this pass, and perhaps before others of which they
        // were told nothing.
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// All streams, by their users.
pub(super) type Lines = HashMap<OwnedUserId, Vec<Arc<Line>>>;

/// The streams of `user`.
pub(super) fn of_user<'a>(lines: &'a Lines, user: &UserId) -> &'a [Arc<Line>] {
    lines.get(user).map_or(&[], Vec::as_slice)
}

/// Adds what the pass has at `number` for `line`, unless it was told to them; `told`: those for whom there is something.
pub(super) fn add_to(line: &Arc<Line>, pass: &Pass, number: usize, told: &mut Vec<Arc<Line>>) {
    let Ok(count) = u32::try_from(number) else { return };
    if line.add(count, &pass.items[number]) {
        told.push(Arc::clone(line));
    }
}
