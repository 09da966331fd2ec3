//! Why a room did not do what was asked.

use std::{borrow::Cow, time::Duration};

use ruma::RoomVersionId;

use crate::server::{finish::Interrupted, store::StoreError};

/// Why a room did not do what was asked. Nothing was changed.
#[derive(Debug)]
pub enum Refusal {
    /// What was named does not exist, or the user may not know that it does.
    NotFound(Cow<'static, str>),
    /// The authorisation rules, or a rule of this server, say no.
    Forbidden(Cow<'static, str>),
    /// The user is a guest, and the room takes none.
    NoGuests(Cow<'static, str>),
    /// The invited user does not take invites of the sender: nothing is told of why.
    Unwanted,
    /// The invited user takes no invites at all, and says so.
    InvitesBlocked,
    /// An event, or one of its parts, is larger than allowed.
    TooLarge(Cow<'static, str>),
    /// Not canonical JSON, or not of the right shape.
    BadJson(Cow<'static, str>),
    /// A parameter has a value that is not allowed.
    InvalidParam(Cow<'static, str>),
    /// The state that a new room would begin with is not allowed.
    InvalidState(Cow<'static, str>),
    /// The alias belongs to a room already.
    AliasTaken,
    /// The request cannot be done as it is, for a reason that Matrix has no word for.
    Invalid(Cow<'static, str>),
    /// The user has annotated the event so already.
    DuplicateAnnotation,
    /// An alias in `m.room.canonical_alias` does not lead to the room.
    BadAlias(Cow<'static, str>),
    /// Whether a user may come in depends on rooms that this server is not in.
    UnableToAuthorise,
    /// A user may come in, and nobody of this server may say so.
    UnableToGrant,
    /// Who asks has no rooms of the version of this one.
    IncompatibleVersion(RoomVersionId),
    /// Another server says that the request is wrong, for a reason that this one does not know.
    Elsewhere {
        /// Such as `M_BAD_JSON`.
        errcode: String,
        /// For people.
        why: String,
    },
    /// The room is of other servers, and none of them lets the user in, or answers; says what they said.
    Unreachable(Cow<'static, str>),
    /// Not a room version of [`super::bounds::VERSIONS`].
    UnsupportedVersion,
    /// Too many actions wait for others; there may be room after this time.
    Crowded(Duration),
    /// The device was logged out before it was the action's turn.
    LoggedOut,
    /// The store failed.
    Store(StoreError),
    /// Something of ours is not as it must be.
    Internal(String),
}

impl From<StoreError> for Refusal {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<Interrupted> for Refusal {
    fn from(e: Interrupted) -> Self {
        Self::Internal(e.to_string())
    }
}
