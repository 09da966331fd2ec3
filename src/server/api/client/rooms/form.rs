//! The forms that these modules share: an event by itself, and tokens.

use std::sync::Arc;

use ruma::{OwnedEventId, RoomId};
use serde::Serialize;
use serde_json::{Value, value::RawValue};

use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::Json,
        large::Written,
    },
    app::App,
    change::position::{LogPosition, TimelinePosition},
    event::{
        aggregation::Aggregations,
        client::{ClientFormat, append_client_event, client_event},
        stored::StoredEvent,
    },
    rooms::Audience,
    session::Session,
    store::{Placed, StateList},
    stream::{PageToken, Token},
};

/// Events for which what relates to them is gathered at once.
const GATHERED_AT_ONCE: usize = 16;

/// An event that was sent; with its position and, if it is not what the client said, its content, where these were
/// asked for (M12).
#[derive(Serialize)]
pub(super) struct Sent {
    event_id: OwnedEventId,
    #[serde(rename = "org.pilotlight.position", skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    #[serde(rename = "org.pilotlight.content", skip_serializing_if = "Option::is_none")]
    content: Option<Box<RawValue>>,
}

/// The answer to an event that was sent; `said` is the content that the client gave it, if it wants to know what was
/// made of it.
pub(super) async fn sent(app: &App, placed: Placed, said: Option<Box<RawValue>>) -> ApiResult<Json<Sent>> {
    let Placed { event_id, position } = placed;
    let Some(said) = said else { return Ok(Json(Sent { event_id, position: None, content: None })) };
    let stored = app.store.event(&event_id).await?;
    let content = stored.as_ref().map(|event| event.content());
    let is_same = |content: &&RawValue| {
        let parse = |raw: &RawValue| serde_json::from_str::<Value>(raw.get()).ok();
        parse(content) == parse(&said)
    };
    let content = content.filter(|content| !is_same(content)).map(ToOwned::to_owned);
    Ok(Json(Sent { event_id, position: Some(stream_token(position)), content }))
}

/// An event by itself, as the session's device sees it.
pub(super) fn client_json(app: &App, session: &Session, event: &StoredEvent) -> Box<RawValue> {
    client_event(event, session, app.unix_ms(), ClientFormat::Full, None, None)
}

/// An event of a room with what is gathered of those that relate to it, as the session's device sees them.
pub(in crate::server::api::client) async fn with_relations(
    app: &App,
    session: &Session,
    event: Arc<StoredEvent>,
) -> ApiResult<Box<RawValue>> {
    let gathered = gathered(app, session, &event.room_id, std::slice::from_ref(&event)).await?;
    let now_ms = app.unix_ms();
    let relations = gathered.get(&event.event_id).map(|of_event| of_event.json(session, now_ms));
    Ok(client_event(&event, session, now_ms, ClientFormat::Full, None, relations.as_deref()))
}

/// Writes events of one room into the open array, each with what is gathered of those that relate to it, as the
/// session's device sees them. Lets nobody go first meanwhile, as a page of events is much to hold while others have
/// their turns.
pub(super) async fn write_with_relations(
    (app, session): (&App, &Session),
    room: &RoomId,
    events: &[Arc<StoredEvent>],
    answer: &mut Written,
) -> ApiResult<()> {
    // What is gathered can be many times what it is gathered of: it is asked for by and by.
    for events in events.chunks(GATHERED_AT_ONCE) {
        let gathered = gathered(app, session, room, events).await?;
        let now_ms = app.unix_ms();
        for event in events {
            let relations = gathered.get(&event.event_id).map(|of_event| of_event.json(session, now_ms));
            write_event(event, (session, now_ms), relations.as_deref(), answer);
        }
        answer.put()?;
    }
    Ok(())
}

async fn gathered(
    app: &App,
    session: &Session,
    room: &RoomId,
    events: &[Arc<StoredEvent>],
) -> ApiResult<Aggregations> {
    let until = app.rooms.sees_until(&session.user, room).await?;
    let ignored = app.contacts.ignored_by(&session.user);
    let audience = Audience { reader: &session.user, ignored: &ignored, until };
    Ok(app.rooms.aggregations(audience, room, events).await?)
}

/// Writes the state events that are on a list, and that to `keep`, into the open array, as the session's device sees
/// them.
pub(super) async fn write_state(
    (app, session): (&App, &Session),
    mut list: StateList,
    keep: impl Fn(&StoredEvent) -> bool,
    answer: &mut Written,
) -> ApiResult<()> {
    while !list.is_empty() {
        let now_ms = app.unix_ms();
        for event in app.store.next_page(&mut list).await?.iter().filter(|event| keep(event)) {
            write_event(event, (session, now_ms), None, answer);
        }
        answer.take().await?;
    }
    Ok(())
}

/// Writes an event into the open array.
pub(super) fn write_event(
    event: &StoredEvent,
    (session, now_ms): (&Session, u64),
    relations: Option<&RawValue>,
    answer: &mut Written,
) {
    answer.out.element_with(|out| {
        append_client_event(out, event, session, now_ms, ClientFormat::Full, None, relations);
    });
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
