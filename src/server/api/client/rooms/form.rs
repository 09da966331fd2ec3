//! The forms that these modules share: an event by itself, and tokens.

use serde_json::value::RawValue;

use crate::server::{
    api::error::{ApiError, ApiResult},
    app::App,
    change::position::{LogPosition, TimelinePosition},
    event::{
        client::{ClientFormat, client_event},
        stored::StoredEvent,
    },
    session::Session,
    stream::{PageToken, Token},
};

/// An event by itself, as the session's device sees it.
pub(super) fn client_json(app: &App, session: &Session, event: &StoredEvent) -> Box<RawValue> {
    client_event(event, session, app.unix_ms(), ClientFormat::Full, None)
}

/// The place in a room's timeline that a client's token means.
pub(super) fn place(token: &str) -> ApiResult<TimelinePosition> {
    token
        .parse()
        .map(|PageToken(place)| place)
        .map_err(|_| ApiError::invalid_param("this is not a token of this server"))
}

/// The token of a place between pages of a timeline.
pub(super) fn page_token(place: TimelinePosition) -> String {
    PageToken(place).to_string()
}

/// The token of a position in the log; a stream that goes on from it is told everything live.
pub(super) fn stream_token(position: LogPosition) -> String {
    Token::at(position).to_string()
}
