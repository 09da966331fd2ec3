//! Whose action goes next: those of one device in one room, in the order of their IDs (M9).
//!
//! Owns what waits and what is being done. Has no timers: whoever waits asks until when, and says when that has come. Source:
//! instant-messaging.rst, "Action APIs".

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use ruma::{OwnedDeviceId, OwnedUserId};
use tokio::sync::oneshot;

use crate::{core::time::Instant, server::session::Session};

/// Actions of one user that wait for others, at most, and the bytes of their requests.
const MAX_OF_ONE: Held = Held { actions: 1_000, bytes: 8 << 20 };

/// The same of everybody together.
const MAX_OF_ALL: Held = Held { actions: 10_000, bytes: 64 << 20 };

/// Refused actions that are remembered; those refused first are forgotten, and who names one of them waits for nothing.
const MAX_REFUSED: usize = 10_000;

/// The room of an action that is in none yet.
pub const NO_ROOM: &str = "";

/// There are too many actions that wait.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Full;

/// Everybody's actions that wait for others or are being done. Those that nobody asked the order of are not here.
#[derive(Debug, Default)]
pub(super) struct Lanes(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    users: HashMap<OwnedUserId, OfUser>,
    waiting: Held,
    refused: Refused,
}

/// Bounded by [`MAX_OF_ONE`], and removed with its last lane.
#[derive(Debug, Default)]
struct OfUser {
    waiting: Held,
    lanes: BTreeMap<(OwnedDeviceId, String), Lane>,
}

/// The actions of one device in one room.
#[derive(Debug, Default)]
struct Lane {
    waiting: BTreeMap<u64, Waiting>,
    running: Option<Running>,
    /// When an action was answered last that had not given up the one before it. As long as that goes on, what is missing
    /// is likely to wait at the client for an answer.
    progressed_at: Option<Instant>,
}

/// What is being done.
#[derive(Debug)]
struct Running {
    id: u64,
    /// How many requests ask for it.
    requests: usize,
    before: Before,
}

#[derive(Debug)]
struct Waiting {
    after: u64,
    before: Before,
    requests: Vec<Request>,
}

/// One request for an action; there can be several when it is sent again.
#[derive(Debug)]
struct Request {
    go: oneshot::Sender<()>,
    bytes: usize,
}

/// How it stands with the action before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Before {
    /// It is waited for.
    Missing,
    /// It was answered, or there is none.
    Past,
    /// It is waited for no longer.
    GivenUp,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    actions: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Refused {
    order: VecDeque<(OwnedUserId, OwnedDeviceId, u64)>,
    known: BTreeSet<(OwnedUserId, OwnedDeviceId, u64)>,
}

/// A request's place among the actions of its device in its room; given up when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    lanes: Arc<Lanes>,
    session: Session,
    room: String,
    id: u64,
    after: u64,
    /// `None`: it goes.
    go: Option<oneshot::Receiver<()>>,
    end: End,
    ended_at: Option<Instant>,
}

/// What became of a request for an action.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// It was done.
    Done,
    /// It was refused, as it would be again.
    Refused,
    /// It may come again, and be done then: those after it go on waiting.
    Open,
}

impl Lanes {
    /// Takes a place for the action `id` of the session's device in `room`, which comes after its action `after` (0:
    /// after none).
    pub(super) fn enter(
        self: &Arc<Self>,
        session: &Session,
        room: &str,
        (id, after): (u64, u64),
        bytes: usize,
    ) -> Result<Place, Full> {
        let inner = &mut *self.0.lock();
        let is_past = after == 0 || inner.refused.contains(session, after);
        let of_user = inner.users.entry(session.user.clone()).or_default();
        let key = (session.device.clone(), room.to_owned());
        let lane = of_user.lanes.entry(key.clone()).or_default();
        let go = if let Some(running) = &mut lane.running
            && running.id == id
        {
            running.requests += 1;
            None
        } else if of_user.waiting.has_room(MAX_OF_ONE, bytes) && inner.waiting.has_room(MAX_OF_ALL, bytes) {
            let (go, wait) = oneshot::channel();
            let before = if is_past { Before::Past } else { Before::Missing };
            let waiting = lane.waiting.entry(id).or_insert(Waiting { after, before, requests: Vec::new() });
            if is_past {
                waiting.before = waiting.before.answered();
            }
            waiting.requests.push(Request { go, bytes });
            of_user.waiting.add(bytes);
            inner.waiting.add(bytes);
            Some(wait)
        } else {
            inner.advance(&session.user, &key);
            return Err(Full);
        };
        inner.advance(&session.user, &key);
        let (lanes, session, room) = (Arc::clone(self), session.clone(), room.to_owned());
        Ok(Place { lanes, session, room, id, after, go, end: End::Open, ended_at: None })
    }

    /// An action of the session's device that nobody asked the order of was answered.
    pub(super) fn handle_end(&self, session: &Session, id: u64, end: End) {
        self.0.lock().end(session, id, end);
    }

    /// How many requests wait.
    pub(super) fn waiting(&self) -> usize {
        self.0.lock().waiting.actions
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        let inner = self.0.lock();
        inner.users.is_empty() && inner.waiting.actions == 0 && inner.waiting.bytes == 0
    }
}

impl Inner {
    fn end(&mut self, session: &Session, id: u64, end: End) {
        match end {
            End::Open => return,
            End::Refused => self.refused.insert(session, id),
            End::Done => {}
        }
        self.handle_past(session, id);
    }

    /// Those that come after the action `id` of a device wait for it no longer.
    fn handle_past(&mut self, session: &Session, id: u64) {
        let Some(of_user) = self.users.get_mut(&session.user) else { return };
        let mut moved = Vec::new();
        let first = (session.device.clone(), String::new());
        for (key, lane) in of_user.lanes.range_mut(first..).take_while(|((d, _), _)| *d == session.device) {
            for waiting in lane.waiting.values_mut().filter(|waiting| waiting.after == id) {
                waiting.before = waiting.before.answered();
            }
            moved.push(key.clone());
        }
        for key in moved {
            self.advance(&session.user, &key);
        }
    }

    /// Lets the first action of a lane go, if nothing is done there and it waits for nothing.
    fn advance(&mut self, user: &OwnedUserId, key: &(OwnedDeviceId, String)) {
        let Some(of_user) = self.users.get_mut(user) else { return };
        let Some(lane) = of_user.lanes.get_mut(key) else { return };
        while lane.running.is_none()
            && let Some(first) = lane.waiting.first_entry()
            && first.get().before != Before::Missing
        {
            let (id, waiting) = first.remove_entry();
            let mut requests = 0;
            for request in waiting.requests {
                of_user.waiting.remove(request.bytes);
                self.waiting.remove(request.bytes);
                requests += usize::from(request.go.send(()).is_ok());
            }
            lane.running = (requests > 0).then_some(Running { id, requests, before: waiting.before });
        }
        if lane.running.is_none() && lane.waiting.is_empty() {
            of_user.lanes.remove(key);
        }
        if of_user.lanes.is_empty() {
            self.users.remove(user);
        }
    }
}

impl Place {
    /// Whether the action may be done at once.
    pub(super) fn goes(&mut self) -> bool {
        if self.go.as_mut().is_some_and(|go| go.try_recv().is_ok()) {
            self.go = None;
        }
        self.go.is_none()
    }

    /// Waits until the action may be done.
    pub(super) async fn wait(&mut self) {
        if let Some(go) = &mut self.go {
            // Whoever is let go of is told so before what tells them is dropped.
            let told = go.await;
            debug_assert!(told.is_ok(), "a request that waits is not forgotten");
            self.go = None;
        }
    }

    /// The action before this one is known to be done.
    pub(super) fn handle_done_before(&self) {
        self.lanes.0.lock().handle_past(&self.session, self.after);
    }

    /// When an action of the same device and room was answered last in its turn, if this one still waits.
    pub(super) fn progressed_at(&self) -> Option<Instant> {
        let inner = self.lanes.0.lock();
        inner.users.get(&self.session.user)?.lanes.get(&self.key())?.progressed_at
    }

    /// This action was waiting for long enough: what is missing before it is given up, and what is here goes, in order.
    pub(super) fn handle_timeout(&self) {
        let inner = &mut *self.lanes.0.lock();
        let key = self.key();
        let Some(of_user) = inner.users.get_mut(&self.session.user) else { return };
        let Some(lane) = of_user.lanes.get_mut(&key) else { return };
        for (_, waiting) in lane.waiting.range_mut(..=self.id) {
            if waiting.before == Before::Missing {
                waiting.before = Before::GivenUp;
            }
        }
        inner.advance(&self.session.user, &key);
    }

    /// What became of it; those that come after it go when this is dropped.
    pub(super) fn end(mut self, end: End, now: Instant) {
        self.end = end;
        self.ended_at = Some(now);
    }

    fn key(&self) -> (OwnedDeviceId, String) {
        (self.session.device.clone(), self.room.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let inner = &mut *self.lanes.0.lock();
        let key = self.key();
        let waits = self.go.take().is_some_and(|mut go| go.try_recv().is_err());
        let Some(of_user) = inner.users.get_mut(&self.session.user) else { return };
        let Some(lane) = of_user.lanes.get_mut(&key) else { return };
        if waits {
            if let Some(waiting) = lane.waiting.get_mut(&self.id) {
                waiting.requests.retain(|request| {
                    let stays = !request.go.is_closed();
                    if !stays {
                        of_user.waiting.remove(request.bytes);
                        inner.waiting.remove(request.bytes);
                    }
                    stays
                });
                if waiting.requests.is_empty() {
                    lane.waiting.remove(&self.id);
                }
            }
        } else if let Some(running) = &mut lane.running
            && running.id == self.id
        {
            if running.before == Before::Past && self.end != End::Open {
                lane.progressed_at = self.ended_at;
            }
            running.requests -= 1;
            if running.requests == 0 {
                lane.running = None;
            }
        }
        inner.end(&self.session, self.id, self.end);
        inner.advance(&self.session.user, &key);
    }
}

impl Before {
    fn answered(self) -> Self {
        match self {
            Self::Missing | Self::Past => Self::Past,
            Self::GivenUp => Self::GivenUp,
        }
    }
}

impl Held {
    fn has_room(self, most: Self, bytes: usize) -> bool {
        self.actions < most.actions && self.bytes.saturating_add(bytes) <= most.bytes
    }

    fn add(&mut self, bytes: usize) {
        self.actions += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, bytes: usize) {
        self.actions -= 1;
        self.bytes -= bytes;
    }
}

impl Refused {
    fn contains(&self, session: &Session, id: u64) -> bool {
        self.known.contains(&(session.user.clone(), session.device.clone(), id))
    }

    fn insert(&mut self, session: &Session, id: u64) {
        let action = (session.user.clone(), session.device.clone(), id);
        if !self.known.insert(action.clone()) {
            return;
        }
        self.order.push_back(action);
        if self.order.len() > MAX_REFUSED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests;
