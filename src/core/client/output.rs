//! What the client role hands to its shell: requests, changes to show, things to store, answers.

use std::sync::Arc;
use std::time::Duration;

use super::contact::Contact;
use super::item::TimelineItem;
use super::member::Member;
use super::presence::{Me, Presence};
use super::room::RoomSummary;
use super::timeline::TimelineOp;
use crate::core::call::output::View;
use crate::core::notify::NotifySettings;
use crate::core::wire::object::Object;

/// Names one request from its output to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Names one command from its call to its [`Output::Answer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// One thing for the shell to do. Drain them all, in order, after every input.
#[derive(Debug)]
pub enum Output {
    /// Send this; feed the end of it to `handle_response` or `handle_failure`.
    Request(Request),
    /// Give this request up; what still comes of it is ignored.
    Cancel(RequestId),
    /// Show this.
    Changed(Change),
    /// Keep `value` under `key` over restarts, or delete what is there.
    Store {
        /// Unique within this user's storage.
        key: String,
        /// What to keep; `None` deletes.
        value: Option<String>,
    },
    /// Delete all that is kept of this user, by other tabs too, but the last action ID: a device that is taken
    /// up again must not use one twice.
    Forget,
    /// Tell the other clients of this session, such as those of other tabs; feed it to their `handle_tab`.
    Tell(String),
    /// Have the page's script do this to the connection of a call: JSON.
    Media(String),
    /// A command has ended.
    Answer {
        /// Which command.
        ticket: Ticket,
        /// JSON, nothing where there is nothing to say but that it is done, or why not.
        result: Result<String, Failure>,
    },
}

/// One HTTP request.
#[derive(Debug)]
pub struct Request {
    /// Its name.
    pub id: RequestId,
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: &'static str,
    /// Path and query, to be appended to the homeserver's base URL.
    pub path: String,
    /// A JSON body.
    pub body: Option<String>,
    /// The answer may be an event stream, which does not end: its bytes are fed to `handle_chunk` as they come, after
    /// an empty chunk for its head, and its end to `handle_failure`. Any other answer is fed whole.
    pub held: bool,
    /// It is to arrive though the page goes.
    pub keepalive: bool,
}

/// Why a request did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Matrix's error code, or one of this client's own, which `pkg/index.d.ts` lists.
    pub code: String,
    /// Words for a person.
    pub message: String,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// How long the server asks to wait.
    pub retry_after_ms: Option<u64>,
}

impl Failure {
    /// A failure that no server answered.
    pub fn local(code: &str, message: &str) -> Self {
        Self { code: code.to_owned(), message: message.to_owned(), status: None, retry_after_ms: None }
    }

    /// An answer of a shape that nobody foresaw.
    pub fn not_understood() -> Self {
        Self::local("BAD_ANSWER", "the server's answer is not understood")
    }

    /// What an answer that is not a success says.
    pub fn of_answer(status: u16, retry_after_ms: Option<u64>, body: &str) -> Self {
        let error = Object::parse_or_empty(body);
        Self {
            code: error.string("errcode").unwrap_or_else(|| String::from("BAD_ANSWER")),
            message: error
                .string("error")
                .unwrap_or_else(|| ["the server answered ", &status.to_string()].concat()),
            status: Some(status),
            retry_after_ms: retry_after_ms.or_else(|| error.integer("retry_after_ms")),
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        match self.status {
            None => self.code != "BAD_ANSWER",
            Some(status) => status >= 500 || status == 429 || status == 408,
        }
    }

    /// How long the server asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after_ms.map(Duration::from_millis)
    }
}

/// Whether the client follows the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Not started, or stopped.
    Stopped,
    /// Started; nothing received so far.
    Connecting,
    /// Following.
    Online,
    /// The network or the server is away; tried again with growing delays.
    Offline,
    /// The access token is no longer valid.
    LoggedOut,
}

impl Connection {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Connecting => "connecting",
            Self::Online => "online",
            Self::Offline => "offline",
            Self::LoggedOut => "logged_out",
        }
    }
}

/// Something to show.
#[derive(Debug)]
pub enum Change {
    /// Whose presence changed, and to what (W4).
    Presence(Vec<Arc<Presence>>),
    /// What the user chose, or is called.
    Me(Me),
    /// Rooms that changed or came, and rooms that are gone.
    Rooms {
        /// As they are after the change.
        changed: Vec<RoomSummary>,
        /// IDs of those that are gone.
        removed: Vec<String>,
    },
    /// Edits to one room's timeline, in order.
    Timeline {
        /// The room.
        room_id: String,
        /// The edits.
        ops: Vec<TimelineOp>,
    },
    /// Edits to the stretch of a room's past that somebody looks at; emptied, it is left, or has become a part
    /// of the timeline.
    Past {
        /// The room.
        room_id: String,
        /// The edits.
        ops: Vec<TimelineOp>,
    },
    /// The server refused an action that leaves nothing to try again: it is gone.
    Refused {
        /// The room.
        room_id: String,
        /// Its echo as it was, with the reason.
        item: Arc<TimelineItem>,
    },
    /// Members of one room that changed.
    Members {
        /// The room.
        room_id: String,
        /// As they are after the change.
        changed: Vec<Member>,
    },
    /// The presence list: who is on it, asks, or may see the user.
    Contacts {
        /// As they are after the change.
        changed: Vec<Contact>,
        /// Whom the list has nothing more to do with.
        removed: Vec<String>,
    },
    /// The connection's state.
    Connection(Connection, Option<Failure>),
    /// The user went idle (`true`) or came back.
    Idle(bool),
    /// A call, as it is.
    Call(View),
    /// Which events the user is told of.
    NotifySettings(NotifySettings),
}
