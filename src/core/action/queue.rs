//! The send queue: every room's actions in ID order, one request at a time in each room; some, where the server keeps
//! the order that it is asked for (M9).
//!
//! Rooms do not wait for each other. An action that the server refused stands aside: later ones of its
//! room go on, and a retry puts it back in ID order. Attempts that fail on the way are repeated for as
//! long as it takes, later each time. Bound: [`MAX_ACTIONS`] actions of at most [`MAX_CONTENT_BYTES`]
//! each; a push beyond is refused.

use std::collections::VecDeque;
use std::sync::Arc;

use super::echo::{EchoInput, EchoState, EchoStep, step};
use super::ids::ActionId;
use crate::core::time::{Instant, UnixMillis};

/// The most actions that wait or await their place at one time, over all rooms.
pub const MAX_ACTIONS: usize = 1_000;
/// The largest content: Matrix ends events at 65,536 bytes, envelope and signatures included.
pub const MAX_CONTENT_BYTES: usize = 60_000;
/// The most requests at the same time; browsers hold few connections to one server.
const MAX_IN_FLIGHT: usize = 4;
/// The most of them for one room, where the server keeps their order: others have their turn.
const MAX_IN_ROOM: usize = 3;

/// One action and its echo.
#[derive(Clone, Debug)]
pub struct Action {
    /// Its ID, and its transaction ID on the wire.
    pub id: ActionId,
    /// The room it goes to.
    pub room: String,
    /// Its event type.
    pub kind: String,
    /// Its content: a JSON object, as the application gave it.
    pub content: Arc<str>,
    /// When the user made it.
    pub at: UnixMillis,
    /// Where its echo stands.
    pub state: EchoState,
    /// What went wrong last.
    pub error: Option<String>,
    /// The event's ID, once the server has answered.
    pub event_id: Option<String>,
    /// Attempts in a row that were interrupted.
    pub attempts: u32,
    /// The action of its room after which it is to take effect, if the server keeps the order: 0 where none is under way.
    pub after: Option<u64>,
    /// The number of syncs begun when the answer came.
    answered_in: u64,
    /// The stream may have jumped over its place.
    gapped: bool,
}

/// An action as it lies in storage.
#[derive(Debug)]
pub struct StoredAction {
    /// Its ID.
    pub id: u64,
    /// The device that made it: the scope of the ID.
    pub device: String,
    /// The room it goes to.
    pub room: String,
    /// Its event type.
    pub kind: String,
    /// Its content.
    pub content: Arc<str>,
    /// When the user made it, in milliseconds since the epoch.
    pub ts: u64,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// Why an action was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// [`MAX_ACTIONS`] are waiting.
    Full,
    /// The content is longer than [`MAX_CONTENT_BYTES`].
    TooLarge,
}

/// What an input did to an action.
#[derive(Debug)]
pub enum Moved {
    /// No such action, or it stands where it stood.
    No,
    /// It moved; the action as it is after that.
    To(Action),
    /// It left the queue; the action as it was. `Placed` if the stream placed it.
    Out(EchoStep, Action),
}

/// The actions of one room, in ID order.
#[derive(Debug, Default)]
struct Lane {
    room: String,
    actions: VecDeque<Action>,
    in_flight: Vec<ActionId>,
    resume_at: Option<Instant>,
}

/// All actions that the stream has not placed.
#[derive(Debug, Default)]
pub struct Queue {
    lanes: Vec<Lane>,
    len: usize,
    /// The server keeps the order of a room's actions that it gets at one time.
    keeps_order: bool,
}

impl Lane {
    fn find(&self, id: ActionId) -> Result<usize, usize> {
        self.actions.binary_search_by_key(&id, |action| action.id)
    }

    /// The action to transmit next, if one may go; a delay that has passed is `None` by then.
    fn next(&self, at_once: usize) -> Option<&Action> {
        let waits = self.in_flight.len() >= at_once || self.resume_at.is_some();
        self.actions.iter().find(|action| !waits && action.state == EchoState::Queued)
    }

    /// The action under way that is the last before this one.
    fn before(&self, id: ActionId) -> Option<ActionId> {
        self.in_flight.iter().copied().filter(|&flying| flying < id).max()
    }
}

impl Action {
    /// The form that storage keeps; the device is the scope of the action's ID.
    pub fn to_stored(&self, device: &str) -> StoredAction {
        StoredAction {
            id: self.id.0,
            device: device.to_owned(),
            room: self.room.clone(),
            kind: self.kind.clone(),
            content: self.content.clone(),
            ts: self.at.0,
            error: if self.state == EchoState::Failed { self.error.clone() } else { None },
        }
    }
}

impl Queue {
    /// The number of actions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many of them the server is not known to have.
    pub fn unsent(&self) -> usize {
        let unsent = |action: &&Action| {
            matches!(action.state, EchoState::Queued | EchoState::Sending | EchoState::Failed)
        };
        self.lanes.iter().flat_map(|lane| &lane.actions).filter(unsent).count()
    }

    /// Whether no action is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The actions of one room, in ID order.
    pub fn room(&self, room: &str) -> impl Iterator<Item = &Action> {
        self.lane(room).into_iter().flat_map(|lane| &lane.actions)
    }

    /// The action in `room` that the server answered with this event ID.
    pub fn find_event(&self, room: &str, event_id: &str) -> Option<ActionId> {
        self.room(room).find(|action| action.event_id.as_deref() == Some(event_id)).map(|action| action.id)
    }

    /// Whether `room` holds this action.
    pub fn contains(&self, room: &str, id: ActionId) -> bool {
        self.lane(room).is_some_and(|lane| lane.find(id).is_ok())
    }

    /// Whether any room holds this action.
    pub fn knows(&self, id: ActionId) -> bool {
        self.action(id).is_some()
    }

    /// An action of any room.
    pub fn action(&self, id: ActionId) -> Option<&Action> {
        self.lanes.iter().find_map(|lane| lane.find(id).ok().map(|at| &lane.actions[at]))
    }

    /// How many attempts in a row were interrupted.
    pub fn attempts(&self, id: ActionId) -> u32 {
        self.action(id).map_or(0, |action| action.attempts)
    }

    /// Takes a new action.
    pub fn push(
        &mut self,
        id: ActionId,
        room: &str,
        kind: &str,
        content: Arc<str>,
        at: UnixMillis,
    ) -> Result<&Action, PushError> {
        if self.len >= MAX_ACTIONS {
            return Err(PushError::Full);
        }
        if content.len() > MAX_CONTENT_BYTES {
            return Err(PushError::TooLarge);
        }
        let action = Action {
            id,
            room: room.to_owned(),
            kind: kind.to_owned(),
            content,
            at,
            state: EchoState::Queued,
            error: None,
            event_id: None,
            attempts: 0,
            after: None,
            answered_in: 0,
            gapped: false,
        };
        Ok(self.insert(action))
    }

    /// Takes an action back from storage. Stored by another device it is not sent by itself: the server
    /// may have it, and would not know it again under this device. It fails, and the user decides.
    pub fn restore(&mut self, stored: StoredAction, device: &str) -> Option<&Action> {
        if self.len >= MAX_ACTIONS || self.contains(&stored.room, ActionId(stored.id)) {
            return None;
        }
        let error = match stored.error {
            None if stored.device != device => {
                Some(String::from("interrupted: it may have been sent by an earlier session"))
            }
            error => error,
        };
        Some(self.insert(Action {
            id: ActionId(stored.id),
            room: stored.room,
            kind: stored.kind,
            content: stored.content,
            at: UnixMillis(stored.ts),
            state: if error.is_some() { EchoState::Failed } else { EchoState::Queued },
            error,
            event_id: None,
            attempts: 0,
            after: None,
            answered_in: 0,
            gapped: true,
        }))
    }

    /// Whether the server keeps the order of actions as it is asked for.
    pub fn handle_order(&mut self, keeps_order: bool) {
        self.keeps_order = keeps_order;
    }

    /// How many requests for one room there may be at one time.
    fn at_once(&self) -> usize {
        if self.keeps_order { MAX_IN_ROOM } else { 1 }
    }

    /// The next action to transmit, of a room that is `open`; it counts as transmitted from here on.
    pub fn poll_transmit(&mut self, now: Instant, open: impl Fn(&str) -> bool) -> Option<&Action> {
        // A delay that has passed must not wake anybody again, whether there is something to send or not.
        for lane in &mut self.lanes {
            lane.resume_at = lane.resume_at.filter(|&at| at > now);
        }
        let in_flight: usize = self.lanes.iter().map(|lane| lane.in_flight.len()).sum();
        if in_flight >= MAX_IN_FLIGHT {
            return None;
        }
        // Oldest first over all rooms, so that a busy one does not hold up the others.
        let open = self.lanes.iter().enumerate().filter(|(_, lane)| open(&lane.room));
        let next = open.filter_map(|(at, lane)| Some((lane.next(self.at_once())?.id, at)));
        let (id, at) = next.min()?;
        let lane = &mut self.lanes[at];
        let after = self.keeps_order.then(|| lane.before(id).map_or(0, |before| before.0));
        lane.in_flight.push(id);
        self.apply(id, EchoInput::Transmitted, |action| action.after = after);
        let lane = &self.lanes[at];
        lane.find(id).ok().map(|at| &lane.actions[at])
    }

    /// When an interrupted room goes on.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.lanes.iter().filter(|lane| lane.in_flight.len() < self.at_once());
        waiting.filter_map(|lane| lane.resume_at).min()
    }

    /// The server answered; `syncs_begun` tells later which syncs must have known the event.
    pub fn handle_answered(&mut self, id: ActionId, event_id: &str, syncs_begun: u64) -> Moved {
        self.apply(id, EchoInput::Answered, |action| {
            action.event_id = Some(event_id.to_owned());
            action.answered_in = syncs_begun;
            action.error = None;
        })
    }

    /// The request failed in a way that another attempt may mend, not before `resume_at`.
    pub fn handle_interrupted(&mut self, id: ActionId, error: &str, resume_at: Instant) -> Moved {
        let moved = self.apply(id, EchoInput::Interrupted, |action| {
            action.error = Some(error.to_owned());
            action.attempts = action.attempts.saturating_add(1);
        });
        if matches!(moved, Moved::To(_))
            && let Some(lane) = self.lane_of(id)
        {
            lane.resume_at = Some(resume_at);
        }
        moved
    }

    /// The server refused it.
    pub fn handle_refused(&mut self, id: ActionId, error: &str) -> Moved {
        self.apply(id, EchoInput::Refused, |action| action.error = Some(error.to_owned()))
    }

    /// It appeared in the stream.
    pub fn handle_streamed(&mut self, id: ActionId) -> Moved {
        self.apply(id, EchoInput::Streamed, |_| ())
    }

    /// The user wants it tried again.
    pub fn retry(&mut self, id: ActionId) -> Moved {
        if let Some(lane) = self.lane_of(id) {
            lane.resume_at = None;
        }
        self.apply(id, EchoInput::Retry, |action| {
            action.error = None;
            action.attempts = 0;
        })
    }

    /// The user takes it back.
    pub fn cancel(&mut self, id: ActionId) -> Moved {
        self.apply(id, EchoInput::Cancel, |_| ())
    }

    /// The network is back: nobody waits out an old delay.
    pub fn handle_online(&mut self) {
        for lane in &mut self.lanes {
            lane.resume_at = None;
        }
    }

    /// The stream of `room` jumped: what was transmitted may lie in the stretch that was left out.
    pub fn handle_gap(&mut self, room: &str) {
        let lane = self.lanes.iter_mut().find(|lane| lane.room == room);
        for action in lane.into_iter().flat_map(|lane| &mut lane.actions) {
            action.gapped |= action.state != EchoState::Queued || action.attempts > 0;
        }
    }

    /// The answer to sync number `sync` has been read. An event that the server had before that sync
    /// began, which neither it nor an earlier one brought, lies in a gap: these leave the queue.
    pub fn handle_synced(&mut self, sync: u64) -> Vec<Action> {
        let overtaken: Vec<ActionId> = self
            .lanes
            .iter()
            .flat_map(|lane| &lane.actions)
            .filter(|action| action.state == EchoState::Sent && action.gapped && action.answered_in < sync)
            .map(|action| action.id)
            .collect();
        let mut gone = Vec::with_capacity(overtaken.len());
        for id in overtaken {
            if let Moved::Out(_, action) = self.apply(id, EchoInput::Overtaken, |_| ()) {
                gone.push(action);
            }
        }
        gone
    }

    /// Takes all actions of a room that is no more.
    pub fn forget_room(&mut self, room: &str) -> Vec<Action> {
        let Some(at) = self.lanes.iter().position(|lane| lane.room == room) else { return Vec::new() };
        let lane = self.lanes.remove(at);
        self.len -= lane.actions.len();
        lane.actions.into()
    }

    /// Takes all actions.
    pub fn forget_all(&mut self) -> Vec<Action> {
        self.len = 0;
        std::mem::take(&mut self.lanes).into_iter().flat_map(|lane| lane.actions).collect()
    }

    fn insert(&mut self, action: Action) -> &Action {
        self.len += 1;
        let known = self.lanes.iter().position(|lane| lane.room == action.room);
        let lane = known.unwrap_or_else(|| {
            self.lanes.push(Lane { room: action.room.clone(), ..Lane::default() });
            self.lanes.len() - 1
        });
        let lane = &mut self.lanes[lane];
        let (Ok(at) | Err(at)) = lane.find(action.id);
        lane.actions.insert(at, action);
        &lane.actions[at]
    }

    fn lane(&self, room: &str) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.room == room)
    }

    fn lane_of(&mut self, id: ActionId) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.find(id).is_ok())
    }

    fn apply(&mut self, id: ActionId, input: EchoInput, note: impl FnOnce(&mut Action)) -> Moved {
        let Some(lane) = self.lane_of(id) else { return Moved::No };
        let ends_request = matches!(input, EchoInput::Answered | EchoInput::Interrupted | EchoInput::Refused);
        if ends_request {
            lane.in_flight.retain(|&flying| flying != id);
        }
        let Ok(at) = lane.find(id) else { return Moved::No };
        let action = &mut lane.actions[at];
        let out = match step(action.state, input) {
            EchoStep::Stay => return Moved::No,
            out @ (EchoStep::To(EchoState::Placed) | EchoStep::Gone) => out,
            EchoStep::To(next) => {
                action.state = next;
                note(action);
                return Moved::To(action.clone());
            }
        };
        let removed = lane.actions.remove(at);
        lane.in_flight.retain(|&flying| flying != id);
        self.lanes.retain(|lane| !lane.actions.is_empty());
        let Some(action) = removed else { return Moved::No };
        self.len -= 1;
        Moved::Out(out, action)
    }
}

#[cfg(test)]
mod tests;
