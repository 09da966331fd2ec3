//! The send queue: every room's actions in ID order, one request at a time in each room.
//!
//! Rooms do not wait for each other. An action that the server refused stands aside: later ones of its
//! room go on, and a retry puts it back in ID order. Attempts that fail on the way are repeated for as
//! long as it takes, later each time. Bound: [`MAX_ACTIONS`] actions of at most [`MAX_CONTENT_BYTES`]
//! each; a push beyond is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::echo::{EchoInput, EchoState, EchoStep, step};
use super::ids::ActionId;
use crate::core::time::{Instant, UnixMillis};

/// The most actions that wait or await their place at one time, over all rooms.
pub const MAX_ACTIONS: usize = 1_000;
/// The largest content: Matrix ends events at 65,536 bytes, envelope and signatures included.
pub const MAX_CONTENT_BYTES: usize = 60_000;
/// The most rooms that send at the same time; browsers hold few connections to one server.
const MAX_IN_FLIGHT: usize = 4;

/// One action and its echo.
#[derive(Clone, Debug)]
pub struct Action {
    /// Its ID, and its transaction ID on the wire.
    pub id: ActionId,
    /// The room it goes to.
    pub room: String,
    /// Its event type.
    pub kind: String,
    /// Its content, as the application gave it.
    pub content: Box<RawValue>,
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
    /// The number of syncs begun when the answer came.
    answered_in: u64,
    /// The stream may have jumped over its place.
    gapped: bool,
}

/// An action as it lies in storage.
#[derive(Debug, Serialize, Deserialize)]
pub struct StoredAction {
    id: u64,
    device: String,
    room: String,
    #[serde(rename = "type")]
    kind: String,
    content: Box<RawValue>,
    ts: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
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

#[derive(Debug, Default)]
struct Lane {
    actions: BTreeMap<ActionId, Action>,
    in_flight: Option<ActionId>,
    resume_at: Option<Instant>,
}

/// All actions that the stream has not placed.
#[derive(Debug, Default)]
pub struct Queue {
    lanes: BTreeMap<String, Lane>,
    len: usize,
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

    /// Whether no action is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The actions of one room, in ID order.
    pub fn room(&self, room: &str) -> impl Iterator<Item = &Action> {
        self.lanes.get(room).into_iter().flat_map(|lane| lane.actions.values())
    }

    /// The action in `room` that the server answered with this event ID.
    pub fn find_event(&self, room: &str, event_id: &str) -> Option<ActionId> {
        self.room(room).find(|action| action.event_id.as_deref() == Some(event_id)).map(|action| action.id)
    }

    /// Whether `room` holds this action.
    pub fn contains(&self, room: &str, id: ActionId) -> bool {
        self.lanes.get(room).is_some_and(|lane| lane.actions.contains_key(&id))
    }

    /// How many attempts in a row were interrupted.
    pub fn attempts(&self, id: ActionId) -> u32 {
        let lanes = self.lanes.values();
        lanes.filter_map(|lane| lane.actions.get(&id)).map(|action| action.attempts).next().unwrap_or(0)
    }

    /// Takes a new action.
    pub fn push(
        &mut self,
        id: ActionId,
        room: &str,
        kind: &str,
        content: Box<RawValue>,
        at: UnixMillis,
    ) -> Result<&Action, PushError> {
        if self.len >= MAX_ACTIONS {
            return Err(PushError::Full);
        }
        if content.get().len() > MAX_CONTENT_BYTES {
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
            answered_in: 0,
            gapped: true,
        }))
    }

    /// The next action to transmit, which counts as transmitted from here on.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<&Action> {
        let in_flight = self.lanes.values().filter(|lane| lane.in_flight.is_some()).count();
        if in_flight >= MAX_IN_FLIGHT {
            return None;
        }
        let (room, id) = self.lanes.iter().find_map(|(room, lane)| {
            let waits = lane.in_flight.is_some() || lane.resume_at.is_some_and(|at| at > now);
            let next = || lane.actions.values().find(|action| action.state == EchoState::Queued);
            (!waits).then(next).flatten().map(|action| (room.clone(), action.id))
        })?;
        let lane = self.lanes.get_mut(&room)?;
        lane.in_flight = Some(id);
        lane.resume_at = None;
        let action = lane.actions.get_mut(&id)?;
        action.state = EchoState::Sending;
        Some(action)
    }

    /// When an interrupted room goes on.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.lanes.values().filter(|lane| lane.in_flight.is_none()).filter_map(|lane| lane.resume_at).min()
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
        for lane in self.lanes.values_mut() {
            lane.resume_at = None;
        }
    }

    /// The stream of `room` jumped: what was transmitted may lie in the stretch that was left out.
    pub fn handle_gap(&mut self, room: &str) {
        for action in self.lanes.get_mut(room).into_iter().flat_map(|lane| lane.actions.values_mut()) {
            action.gapped |= action.state != EchoState::Queued || action.attempts > 0;
        }
    }

    /// The answer to sync number `sync` has been read. An event that the server had before that sync
    /// began, which neither it nor an earlier one brought, lies in a gap: these leave the queue.
    pub fn handle_synced(&mut self, sync: u64) -> Vec<Action> {
        let overtaken: Vec<ActionId> = self
            .lanes
            .values()
            .flat_map(|lane| lane.actions.values())
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
        let lane = self.lanes.remove(room).unwrap_or_default();
        self.len -= lane.actions.len();
        lane.actions.into_values().collect()
    }

    fn insert(&mut self, action: Action) -> &Action {
        self.len += 1;
        let lane = self.lanes.entry(action.room.clone()).or_default();
        lane.actions.entry(action.id).or_insert(action)
    }

    fn lane_of(&mut self, id: ActionId) -> Option<&mut Lane> {
        self.lanes.values_mut().find(|lane| lane.actions.contains_key(&id))
    }

    fn apply(&mut self, id: ActionId, input: EchoInput, note: impl FnOnce(&mut Action)) -> Moved {
        let Some(lane) = self.lane_of(id) else { return Moved::No };
        let ends_request = matches!(input, EchoInput::Answered | EchoInput::Interrupted | EchoInput::Refused);
        if lane.in_flight == Some(id) && ends_request {
            lane.in_flight = None;
        }
        let Some(action) = lane.actions.get_mut(&id) else { return Moved::No };
        let out = match step(action.state, input) {
            EchoStep::Stay => return Moved::No,
            EchoStep::To(EchoState::Placed) => EchoStep::To(EchoState::Placed),
            EchoStep::Gone => EchoStep::Gone,
            EchoStep::To(next) => {
                action.state = next;
                note(action);
                return Moved::To(action.clone());
            }
        };
        let room = action.room.clone();
        let removed = lane.actions.remove(&id);
        lane.in_flight = lane.in_flight.filter(|&flying| flying != id);
        if lane.actions.is_empty() {
            self.lanes.remove(&room);
        }
        match removed {
            Some(action) => {
                self.len -= 1;
                Moved::Out(out, action)
            }
            None => Moved::No,
        }
    }
}
