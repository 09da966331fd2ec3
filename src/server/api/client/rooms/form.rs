//! The forms that these modules share: an event by itself, and tokens.

use std::sync::Arc;

use ruma::RoomId;
use serde_json::value::RawValue;

use crate::server::{
    api::error::{ApiError, ApiResult},
    app::App,
    change::position::{LogPosition, TimelinePosition},
    event::{
        client::{ClientFormat, client_event},
        stored::StoredEvent,
    },
    rooms::Audience,
    session::Session,
    stream::{PageToken, Token},
};

/// An event by itself, as the session's device sees it.
pub(super) fn client_json(app: &App, session: &Session, event: &StoredEvent) -> Box<RawValue> {
    client_event(event, session, app.unix_ms(), ClientFormat::Full, None, None)
}

/// Events of one room, each with what is gathered of those that relate to it, as the session's device sees them.
pub(super) async fn with_relations(
    app: &App,
    session: &Session,
    room: &RoomId,
    events: &[Arc<StoredEvent>],
) -> ApiResult<Vec<Box<RawValue>>> {
    let until = app.rooms.sees_until(&session.user, room).await?;
    let ignored = app.contacts.ignored_by(&session.user);
    let audience = Audience { reader: &session.user, ignored: &ignored, until };
    let gathered = app.rooms.aggregations(audience, room, events).await?;
    let now_ms = app.unix_ms();
    let json = |event: &Arc<StoredEvent>| {
        let relations = gathered.get(&event.event_id).map(|of_event| of_event.json(session, now_ms));
        client_event(event, session, now_ms, ClientFormat::Full, None, relations.as_deref())
    };
    Ok(events.iter().map(json).collect())
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
