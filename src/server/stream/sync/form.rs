//! How an answer reads: to whom, in which form, and when.

use crate::{
    core::time::Instant,
    server::{
        event::{client::ClientFormat, fields::Fields},
        session::Session,
    },
};

/// How an answer reads.
#[derive(Clone, Copy, Debug)]
pub struct Form<'a> {
    /// Who reads it.
    pub viewer: &'a Session,
    /// How events of rooms are written.
    pub events: ClientFormat,
    /// Which of their fields; `None`: all.
    pub fields: Option<&'a Fields>,
    /// When.
    pub now: Instant,
    /// Which state of a room stands beside its timeline.
    pub state: StateTold,
}

/// Which state of a room is told beside its timeline, and under which name (client-server API, "Syncing", `use_state_after`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum StateTold {
    /// That before the timeline: who reads it takes that of the timeline's events over it.
    #[default]
    Before,
    /// That after the timeline, its own events included.
    After,
    /// The same, by the name from before the specification took it up (MSC4222).
    AfterUnstable,
}

impl StateTold {
    /// The name under which it stands.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Before => "state",
            Self::After => "state_after",
            Self::AfterUnstable => "org.matrix.msc4222.state_after",
        }
    }

    /// Whether it is that at the end of the look.
    pub(in crate::server::stream) fn is_at_end(self) -> bool {
        self != Self::Before
    }
}
