//! What rooms ask of other servers while they receive.

use ruma::{EventId, OwnedEventId, RoomId, ServerName};
use serde_json::value::RawValue;

use crate::server::{
    keys::{EventKeys, NeededKeys},
    outgoing::shares::Held,
};

/// Other servers, as rooms see them: what was asked for, or why there is no (good) answer. Whoever implements it bounds
/// how long an answer may take and how large it may be; what is in one is believed nowhere before it is checked.
pub trait Elsewhere: Send + Sync + 'static {
    /// An answer with many events.
    type Texts: Texts;

    /// The keys with which servers signed, as far as they can be found out.
    fn keys(&self, needed: NeededKeys) -> impl Future<Output = EventKeys> + Send;

    /// `POST /get_missing_events`: events between those that are here and those that are not, the oldest first.
    fn missing_events(
        &self,
        server: &ServerName,
        room: &RoomId,
        between: Between,
    ) -> impl Future<Output = Result<Vec<Box<RawValue>>, Unanswered>> + Send;

    /// `GET /state_ids`: the state of a room before an event.
    fn state_ids(
        &self,
        server: &ServerName,
        room: &RoomId,
        before: &EventId,
    ) -> impl Future<Output = Result<StateBefore, Unanswered>> + Send;

    /// `GET /state`: the same with the events themselves, for when most of them are not here.
    fn state(
        &self,
        server: &ServerName,
        room: &RoomId,
        before: &EventId,
    ) -> impl Future<Output = Result<Self::Texts, Unanswered>> + Send;

    /// `GET /event`: one event.
    fn event(
        &self,
        server: &ServerName,
        event: &EventId,
    ) -> impl Future<Output = Result<Box<RawValue>, Unanswered>> + Send;

    /// `GET /event_auth`: the auth chain of an event.
    fn event_auth(
        &self,
        server: &ServerName,
        room: &RoomId,
        event: &EventId,
    ) -> impl Future<Output = Result<Self::Texts, Unanswered>> + Send;
}

/// Takes the text of an event, and what is before it in the answer, as that counts; an error ends the reading.
pub type EachText<'a> = dyn FnMut(u64, Box<RawValue>) -> Result<(), String> + 'a;

/// The events of an answer. Reads the disk: not for the asynchronous workers.
pub trait Texts: Send + 'static {
    /// Hands over all of them.
    ///
    /// # Errors
    /// Says what is wrong with the answer; or that of `each`.
    fn walk(&mut self, each: &mut EachText<'_>) -> Result<(), String>;

    /// The one before which there is as much as [`Self::walk`] told, and that is so long.
    ///
    /// # Errors
    /// Says what is wrong with the answer.
    fn text_at(&mut self, at: u64, len: usize) -> Result<Box<RawValue>, String>;
}

/// What is asked for by `get_missing_events`.
#[derive(Clone, Debug)]
pub struct Between {
    /// What is here: the end of the room.
    pub earliest: Vec<OwnedEventId>,
    /// What is known of, and follows what is missing.
    pub latest: Vec<OwnedEventId>,
    /// Events at most.
    pub limit: usize,
    /// Nothing that is less deep is wanted.
    pub min_depth: u64,
}

/// The state before an event, as another server says it.
#[derive(Debug, Default)]
pub struct StateBefore {
    /// The state.
    pub state: Vec<OwnedEventId>,
    /// What allows it.
    pub auth_chain: Vec<OwnedEventId>,
    /// What a large one takes of what all may take, until it is dropped.
    pub held: Option<Held>,
}

/// There is no good answer; says why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(pub String);
