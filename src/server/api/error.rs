//! The one error of the APIs, for clients and for servers: a Matrix error code, a sentence, and an HTTP status.

use std::{borrow::Cow, time::Duration};

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use crate::server::{
    accounts,
    answers::NoRoom,
    app::{self, profile::FieldRefusal},
    contacts,
    finish::Interrupted,
    http::bodies::BodyError,
    limits::TooMany,
    media, presence,
    profile::{TooLong, field::MAX_PROFILE, status::BadStatus},
    rooms,
    store::{AccountDataError, AddFilterError, NotProven, StoreError},
    stream,
};

/// What a handler answers: a body, or a Matrix error.
pub type ApiResult<T> = Result<T, ApiError>;

/// An error as the Matrix specification's "standard error response" has it.
#[derive(Debug)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The machine's word, such as `M_FORBIDDEN`.
    pub errcode: Cow<'static, str>,
    /// The person's sentence. Says what was wrong, never whose secret it was.
    pub error: Cow<'static, str>,
    /// Further keys of the answer (`retry_after_ms`, `soft_logout`, user-interactive flows).
    pub extra: Map<String, Value>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident = $status:ident $errcode:literal;)*) => {
        impl ApiError {
            $($(#[$doc])* pub fn $name(error: impl Into<Cow<'static, str>>) -> Self {
                Self::new(StatusCode::$status, $errcode, error)
            })*
        }
    };
}

constructors! {
    /// 403: the user may not do this.
    forbidden = FORBIDDEN "M_FORBIDDEN";
    /// 403: guests may not do this.
    guest_access_forbidden = FORBIDDEN "M_GUEST_ACCESS_FORBIDDEN";
    /// 404: what was named does not exist, or the user may not know that it does.
    not_found = NOT_FOUND "M_NOT_FOUND";
    /// 400: JSON, but not of the right shape.
    bad_json = BAD_REQUEST "M_BAD_JSON";
    /// 400: not JSON at all.
    not_json = BAD_REQUEST "M_NOT_JSON";
    /// 400: a parameter has a value that is not allowed.
    invalid_param = BAD_REQUEST "M_INVALID_PARAM";
    /// 400: a parameter is absent.
    missing_param = BAD_REQUEST "M_MISSING_PARAM";
    /// 413: the body, event or value is larger than allowed.
    too_large = PAYLOAD_TOO_LARGE "M_TOO_LARGE";
    /// 401: no access token where one is needed.
    missing_token = UNAUTHORIZED "M_MISSING_TOKEN";
    /// 401: an access token that is not valid (any longer).
    unknown_token = UNAUTHORIZED "M_UNKNOWN_TOKEN";
    /// 400: the user name is taken.
    user_in_use = BAD_REQUEST "M_USER_IN_USE";
    /// 400: not a user name that can be registered.
    invalid_username = BAD_REQUEST "M_INVALID_USERNAME";
    /// 400: the room alias is taken.
    room_in_use = BAD_REQUEST "M_ROOM_IN_USE";
    /// 400: the state that the room would begin with is not allowed.
    invalid_room_state = BAD_REQUEST "M_INVALID_ROOM_STATE";
    /// 400: rooms of that version cannot be made or joined here.
    unsupported_room_version = BAD_REQUEST "M_UNSUPPORTED_ROOM_VERSION";
    /// 400: the user or alias is kept for an application service, or for another one.
    exclusive = BAD_REQUEST "M_EXCLUSIVE";
    /// 400: a connection of sliding sync does not go on from there.
    unknown_pos = BAD_REQUEST "M_UNKNOWN_POS";
    /// 400: the request cannot be understood in some other way.
    unknown = BAD_REQUEST "M_UNKNOWN";
}

impl ApiError {
    /// An error of the given kind; the named constructors are shorter.
    pub fn new(
        status: StatusCode,
        errcode: impl Into<Cow<'static, str>>,
        error: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, errcode: errcode.into(), error: error.into(), extra: Map::new() }
    }

    /// 404: no such endpoint.
    pub fn unrecognized() -> Self {
        Self::new(StatusCode::NOT_FOUND, "M_UNRECOGNIZED", "there is no such endpoint")
    }

    /// 405: the endpoint exists, with another method.
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "M_UNRECOGNIZED", "this endpoint does not take this method")
    }

    /// 429: come again after `retry_after`.
    pub fn limit_exceeded(retry_after: Duration) -> Self {
        let ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
        Self::new(StatusCode::TOO_MANY_REQUESTS, "M_LIMIT_EXCEEDED", "too many requests")
            .with("retry_after_ms", ms)
    }

    /// 500: our fault. The cause goes to the log, never to the client.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN", "internal server error")
    }

    /// 500: the disk does not take what would have to be written. The log has it from the store.
    pub fn not_written() -> Self {
        let error = "the server's disk does not take what would have to be written";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN", error)
    }

    /// The same error with one more key in its body.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(key.to_owned(), value.into());
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({ "errcode": self.errcode, "error": self.error });
        if let Some(object) = body.as_object_mut() {
            object.extend(self.extra);
        }
        let retry_after = body.get("retry_after_ms").and_then(Value::as_u64).map(|ms| ms.div_ceil(1000));
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::Commit(_) => Self::not_written(),
            e => Self::internal(e),
        }
    }
}

impl From<TooMany> for ApiError {
    fn from(TooMany(wait): TooMany) -> Self {
        Self::limit_exceeded(wait)
    }
}

impl From<accounts::refusal::Refusal> for ApiError {
    fn from(refusal: accounts::refusal::Refusal) -> Self {
        use accounts::refusal::Refusal;
        match refusal {
            Refusal::InvalidParam(why) => Self::invalid_param(why),
            Refusal::InvalidUsername(why) => Self::invalid_username(why),
            Refusal::WeakPassword(why) => Self::new(StatusCode::BAD_REQUEST, "M_WEAK_PASSWORD", why),
            Refusal::TooLarge(why) => Self::too_large(why),
            Refusal::Busy(wait) => Self::limit_exceeded(wait),
            Refusal::Outdated => Self::forbidden(refusal.to_string()),
            Refusal::Store(e) => e.into(),
            Refusal::Internal(e) => Self::internal(e),
        }
    }
}

impl From<NotProven> for ApiError {
    fn from(e: NotProven) -> Self {
        accounts::refusal::Refusal::from(e).into()
    }
}

impl From<contacts::refusal::Refusal> for ApiError {
    fn from(refusal: contacts::refusal::Refusal) -> Self {
        use contacts::refusal::Refusal;
        match refusal {
            Refusal::NoSuchUser | Refusal::NoRequest(_) => Self::not_found(refusal.to_string()),
            Refusal::NotShared(_) => Self::forbidden(refusal.to_string()),
            Refusal::Add(_) | Refusal::Group(_) => Self::invalid_param(refusal.to_string()),
            Refusal::Store(e) => e.into(),
            Refusal::Interrupted(e) => e.into(),
        }
    }
}

impl From<AccountDataError> for ApiError {
    fn from(e: AccountDataError) -> Self {
        accounts::refusal::Refusal::from(e).into()
    }
}

impl From<rooms::Refusal> for ApiError {
    fn from(refusal: rooms::Refusal) -> Self {
        use rooms::Refusal;
        match refusal {
            Refusal::NotFound(why) => Self::not_found(why),
            Refusal::Forbidden(why) => Self::forbidden(why),
            Refusal::NoGuests(why) => Self::guest_access_forbidden(why),
            Refusal::Unwanted => {
                Self::forbidden("this user does not take invitations from you at the moment")
            }
            Refusal::InvitesBlocked => {
                Self::new(StatusCode::FORBIDDEN, "M_INVITE_BLOCKED", "this user takes no invitations")
            }
            Refusal::TooLarge(why) => Self::too_large(why),
            Refusal::BadJson(why) => Self::bad_json(why),
            Refusal::InvalidParam(why) => Self::invalid_param(why),
            Refusal::InvalidState(why) => Self::invalid_room_state(why),
            Refusal::AliasTaken => Self::room_in_use("this alias is taken"),
            Refusal::Invalid(why) => Self::unknown(why),
            Refusal::DuplicateAnnotation => {
                let error = "you have annotated this event so already";
                Self::new(StatusCode::BAD_REQUEST, "M_DUPLICATE_ANNOTATION", error)
            }
            Refusal::BadAlias(why) => Self::new(StatusCode::BAD_REQUEST, "M_BAD_ALIAS", why),
            Refusal::UnableToAuthorise => {
                let error = "this server is not in the rooms that decide whether the user may come in";
                Self::new(StatusCode::BAD_REQUEST, "M_UNABLE_TO_AUTHORISE_JOIN", error)
            }
            Refusal::UnableToGrant => {
                let error = "nobody of this server may let users into this room";
                Self::new(StatusCode::BAD_REQUEST, "M_UNABLE_TO_GRANT_JOIN", error)
            }
            Refusal::IncompatibleVersion(version) => {
                let error = "your server has no rooms of the version of this one";
                Self::new(StatusCode::BAD_REQUEST, "M_INCOMPATIBLE_ROOM_VERSION", error)
                    .with("room_version", version.as_str())
            }
            Refusal::Elsewhere { errcode, why } => Self::new(StatusCode::BAD_REQUEST, errcode, why),
            Refusal::Unreachable(why) => Self::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", why),
            Refusal::UnsupportedVersion => {
                Self::unsupported_room_version("this server has rooms of versions 3 to 12")
            }
            Refusal::Crowded(wait) => Self::limit_exceeded(wait),
            Refusal::LoggedOut => Self::unknown_token("the device was logged out").with("soft_logout", false),
            Refusal::Store(e) => e.into(),
            Refusal::Internal(e) => Self::internal(e),
        }
    }
}

impl From<media::Refusal> for ApiError {
    fn from(refusal: media::Refusal) -> Self {
        use media::Refusal;
        let said = refusal.to_string();
        match refusal {
            Refusal::NotFound => Self::not_found(said),
            Refusal::NotYetUploaded => Self::new(StatusCode::GATEWAY_TIMEOUT, "M_NOT_YET_UPLOADED", said),
            Refusal::Taken => Self::new(StatusCode::CONFLICT, "M_CANNOT_OVERWRITE_MEDIA", said),
            Refusal::NotYours | Refusal::UserFull => Self::forbidden(said),
            Refusal::TooLarge(_) | Refusal::PictureTooLarge => Self::too_large(said),
            Refusal::RemoteTooLarge => Self::new(StatusCode::BAD_GATEWAY, "M_TOO_LARGE", said),
            Refusal::Remote(_) => Self::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", said),
            Refusal::ServerFull => Self::new(StatusCode::INSUFFICIENT_STORAGE, "M_UNKNOWN", said),
            Refusal::Busy(wait) => Self::limit_exceeded(wait),
            Refusal::TooSlow => Self::new(StatusCode::REQUEST_TIMEOUT, "M_UNKNOWN", said),
            Refusal::Unreadable(_) | Refusal::NotAPicture => Self::unknown(said),
            Refusal::Store(e) => e.into(),
            Refusal::Folder(_) => Self::internal(said),
            Refusal::Interrupted(e) => e.into(),
        }
    }
}

impl From<presence::Refusal> for ApiError {
    fn from(refusal: presence::Refusal) -> Self {
        match refusal {
            presence::Refusal::Store(e) => e.into(),
            presence::Refusal::NotTaken => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN", refusal.to_string())
            }
        }
    }
}

impl From<FieldRefusal> for ApiError {
    fn from(refusal: FieldRefusal) -> Self {
        match refusal {
            FieldRefusal::Bad(e @ BadStatus::Shape(_)) => Self::bad_json(e.to_string()),
            FieldRefusal::Bad(e @ BadStatus::TooLong(..)) => {
                Self::new(StatusCode::BAD_REQUEST, "M_TOO_LARGE", e.to_string())
            }
            FieldRefusal::TooLarge => {
                let error = format!("a profile has less than {MAX_PROFILE} bytes");
                Self::new(StatusCode::BAD_REQUEST, "M_PROFILE_TOO_LARGE", error)
            }
            FieldRefusal::NoSuchUser => Self::not_found("there is no such user here"),
            FieldRefusal::Presence(refusal) => refusal.into(),
            FieldRefusal::Store(e) => e.into(),
            FieldRefusal::Interrupted(e) => e.into(),
        }
    }
}

impl From<stream::Refusal> for ApiError {
    fn from(refusal: stream::Refusal) -> Self {
        use stream::Refusal;
        match refusal {
            Refusal::LoggedOut => {
                Self::unknown_token("this device was logged out").with("soft_logout", false)
            }
            Refusal::UnknownPos => {
                Self::unknown_pos("the connection has expired, or is not there: begin without a pos")
            }
            Refusal::BadFilter(why) => Self::invalid_param(why),
            Refusal::Store(e) => e.into(),
            Refusal::NoRoom(e) => e.into(),
            Refusal::Internal(e) => Self::internal(e),
        }
    }
}

impl From<NoRoom> for ApiError {
    fn from(e: NoRoom) -> Self {
        tracing::warn!(error = %e, "an answer was not made");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", e.to_string())
    }
}

impl From<BodyError> for ApiError {
    fn from(e: BodyError) -> Self {
        match e {
            BodyError::TooLarge(_) => Self::too_large(e.to_string()),
            BodyError::TooSlow => Self::new(StatusCode::REQUEST_TIMEOUT, "M_UNKNOWN", e.to_string()),
            BodyError::Busy(wait) => Self::limit_exceeded(wait),
            BodyError::Unreadable(_) => Self::unknown(e.to_string()),
        }
    }
}

impl From<app::refusal::Refusal> for ApiError {
    fn from(refusal: app::refusal::Refusal) -> Self {
        use app::refusal::Refusal;
        match refusal {
            Refusal::Rooms(refusal) => refusal.into(),
            Refusal::Contacts(refusal) => refusal.into(),
            Refusal::Outdated => NotProven::Outdated.into(),
            Refusal::Store(e) => e.into(),
            Refusal::Interrupted(e) => e.into(),
        }
    }
}

impl From<AddFilterError> for ApiError {
    fn from(e: AddFilterError) -> Self {
        match e {
            AddFilterError::TooMany => Self::too_large("there are too many filters"),
            AddFilterError::Store(e) => e.into(),
        }
    }
}

impl From<TooLong> for ApiError {
    fn from(e: TooLong) -> Self {
        Self::invalid_param(e.to_string())
    }
}

impl From<Interrupted> for ApiError {
    fn from(e: Interrupted) -> Self {
        Self::internal(e)
    }
}
