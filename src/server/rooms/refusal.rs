//! Why a room did not do what was asked.

use std::borrow::Cow;

use crate::server::{api::error::ApiError, store::StoreError};

/// Why a room did not do what was asked. Nothing was changed.
#[derive(Debug)]
pub enum Refusal {
    /// What was named does not exist, or the user may not know that it does.
    NotFound(Cow<'static, str>),
    /// The authorisation rules, or a rule of this server, say no.
    Forbidden(Cow<'static, str>),
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
    /// An alias in `m.room.canonical_alias` does not lead to the room.
    BadAlias(Cow<'static, str>),
    /// Not a room version of [`super::VERSIONS`].
    UnsupportedVersion,
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

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound(why) => Self::not_found(why),
            Refusal::Forbidden(why) => Self::forbidden(why),
            Refusal::TooLarge(why) => Self::too_large(why),
            Refusal::BadJson(why) => Self::bad_json(why),
            Refusal::InvalidParam(why) => Self::invalid_param(why),
            Refusal::InvalidState(why) => Self::invalid_room_state(why),
            Refusal::AliasTaken => Self::room_in_use("this alias is taken"),
            Refusal::BadAlias(why) => Self::new(http::StatusCode::BAD_REQUEST, "M_BAD_ALIAS", why),
            Refusal::UnsupportedVersion => {
                Self::unsupported_room_version("this server has rooms of versions 10, 11 and 12")
            }
            Refusal::Store(e) => e.into(),
            Refusal::Internal(e) => Self::internal(e),
        }
    }
}
