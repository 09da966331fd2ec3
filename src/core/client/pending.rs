//! What a request under way is for, and what follows from its answer.

use super::output::{RequestId, Ticket};
use crate::core::action::ids::ActionId;
use crate::core::call::output::Token;
use crate::core::notify::NotifySettings;
use crate::core::presence::{Choice, StatusMsg};
use crate::core::time::Instant;

/// A request under way.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: RequestId,
    pub(super) awaited: Awaited,
    pub(super) deadline: Instant,
}

/// What a request under way is for.
#[derive(Debug)]
pub(super) enum Awaited {
    /// `/versions`: which dialect to speak.
    Versions,
    /// `/sync`, counted from one.
    Sync(u64),
    /// The held stream.
    Stream,
    /// The own profile.
    Profile,
    /// The own presence.
    OwnStatus,
    /// A room's whole member list.
    Members(String),
    /// A part of the presence list.
    Contacts(Half),
    /// An action of the queue.
    Action(ActionId),
    /// The user's choice of a state.
    Choice,
    /// Idleness begun (`true`) or ended.
    IdleReport(bool),
    /// An event of a room whose last edit was taken back: which one stands.
    Edited(String),
    /// An event of a call.
    Letter(Token),
    /// The event that ends a call; it outlives the page.
    Farewell(Token),
    /// A notice that may get lost.
    Notice,
    /// A command of the application.
    Command(Ticket, Then),
}

/// The two answers that make up the presence list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Listed,
    Observers,
}

/// Which way to go on from a place in the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To what is older.
    Back,
    /// Towards the present.
    Forward,
}

/// Which redactions nobody will hear the end of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Those that are in the queue no more.
    Gone,
    /// All of them.
    All,
}

/// What to do with a command's answer.
#[derive(Debug)]
pub(super) enum Then {
    /// Give the body.
    Body,
    /// Give `null`.
    Done,
    /// Give the room's ID; the room is a conversation with these users.
    Room { direct_with: Vec<String> },
    /// The room is gone.
    Forget(String),
    /// More of the past.
    ScrollBack { room_id: String, from: String },
    /// The surroundings of an event.
    Jump { room_id: String },
    /// More of a room's past.
    ScrollPast { room_id: String, from: String, direction: Direction },
    /// One event.
    Event,
    /// The directory.
    Directory,
    /// Give the settings of privacy.
    Privacy,
    /// The settings of notifications were taken.
    Notify(NotifySettings),
    /// The choice was taken.
    Choice { choice: Choice, words: StatusMsg },
    /// The name was taken.
    DisplayName(String),
    /// The session has ended.
    LogOut,
}
