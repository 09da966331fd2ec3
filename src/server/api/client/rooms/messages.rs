//! Reading timelines: scrolling back and forth, single events, context, relations, times.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use ruma::{
    EventId, OwnedEventId, OwnedRoomId, OwnedUserId, UInt,
    api::{
        Direction,
        client::{
            context::get_context,
            filter::RoomEventFilter,
            message::get_message_events,
            room::{get_event_by_timestamp, get_room_event},
        },
    },
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::form::{client_json, page_token, place, with_relations};
use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Path, Query, Ruma},
        ruma_route::RumaRoute,
    },
    app::App,
    change::position::TimelinePosition,
    event::stored::StoredEvent,
    rooms::{MAX_PAGE, Wanted},
    session::Session,
    store::Order,
    stream::{Seen, wants_event},
};

/// Events on a page when the client does not say.
const DEFAULT_PAGE: usize = 10;

pub(super) fn routes() -> Router<Arc<App>> {
    let mut router = Router::new()
        .ruma_route::<get_message_events::v3::Request, _, _>(messages)
        .ruma_route::<get_room_event::v3::Request, _, _>(event)
        .ruma_route::<get_context::v3::Request, _, _>(context)
        .ruma_route::<get_event_by_timestamp::v1::Request, _, _>(at_time);
    for version in ["r0", "v3"] {
        let path = format!("/_matrix/client/{version}/rooms/{{room_id}}/initialSync");
        router = router.route(&path, get(initial_sync));
    }
    for version in ["v1", "unstable"] {
        let path = format!("/_matrix/client/{version}/rooms/{{room_id}}/relations/{{event_id}}");
        router = router
            .route(&path, get(relations))
            .route(&format!("{path}/{{rel_type}}"), get(relations))
            .route(&format!("{path}/{{rel_type}}/{{kind}}"), get(relations));
    }
    router
}

#[derive(Serialize)]
struct MessagesAnswer {
    chunk: Vec<Box<RawValue>>,
    start: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    state: Vec<Box<RawValue>>,
}

/// `GET /_matrix/client/v3/rooms/{roomId}/messages`
async fn messages(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<get_message_events::v3::Request>,
) -> ApiResult<Response> {
    let room = &request.room_id;
    let wanted = Wanted {
        from: request.from.as_deref().map(place).transpose()?,
        to: request.to.as_deref().map(place).transpose()?,
        order: order(request.dir),
        limit: request.filter.limit.map_or(usize::MAX, size).min(size(request.limit)),
    };
    let keep = keep(&app, &session, &request.filter, room);
    let page = app.rooms.messages(&session.user, room, wanted, keep).await?;
    let state = if request.filter.lazy_load_options.is_disabled() {
        Vec::new()
    } else {
        app.rooms.senders_of(room, &page.events).await?
    };
    let answer = MessagesAnswer {
        chunk: with_relations(&app, &session, room, &page.events).await?,
        start: page_token(page.start),
        end: page.end.map(page_token),
        state: encode(&app, &session, &state),
    };
    Ok(Json(answer).into_response())
}

/// `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`
async fn event(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<get_room_event::v3::Request>,
) -> ApiResult<Json<Box<RawValue>>> {
    let event = app.rooms.event(&session.user, &request.room_id, &request.event_id).await?;
    check_heard(&app, &session, &event)?;
    let event = with_relations(&app, &session, &request.room_id, &[event]).await?.pop();
    event.map(Json).ok_or_else(|| ApiError::internal("an event was lost on its way"))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`
async fn context(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<get_context::v3::Request>,
) -> ApiResult<Response> {
    #[derive(Serialize)]
    struct Answer {
        start: String,
        end: String,
        events_before: Vec<Box<RawValue>>,
        event: Box<RawValue>,
        events_after: Vec<Box<RawValue>>,
        state: Vec<Box<RawValue>>,
    }
    let room = &request.room_id;
    let limit = size(request.limit).min(MAX_PAGE);
    let keep = keep(&app, &session, &request.filter, room);
    let mut found = app.rooms.context(&session.user, room, &request.event_id, limit, keep).await?;
    check_heard(&app, &session, &found.event)?;
    if !request.filter.lazy_load_options.is_disabled() {
        let shown = found.before.events.iter().chain([&found.event]).chain(&found.after.events);
        let senders: Vec<_> = shown.map(|event| event.sender.to_string()).collect();
        found.state.retain(|event| {
            event.membership().is_none_or(|(user, _)| senders.iter().any(|sender| sender == user))
        });
    }
    let last = found.after.events.last().map_or(found.event.timeline, |event| event.timeline);
    let first = found.before.events.last().map_or(found.event.timeline, |event| event.timeline);
    // All in one go: what is gathered is asked for once.
    let before = found.before.events.len();
    let all: Vec<_> =
        found.before.events.into_iter().chain([found.event]).chain(found.after.events).collect();
    let mut events_before = with_relations(&app, &session, room, &all).await?;
    let mut events_after = events_before.split_off(before);
    let event = events_after.remove(0);
    let answer = Answer {
        start: page_token(first.before()),
        end: page_token(last),
        events_before,
        event,
        events_after,
        state: encode(&app, &session, &found.state),
    };
    Ok(Json(answer).into_response())
}

/// `GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event`
async fn at_time(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<get_event_by_timestamp::v1::Request>,
) -> ApiResult<Ruma<get_event_by_timestamp::v1::Response>> {
    let (unix_ms, order) = (request.ts.get().into(), order(request.dir));
    let event = app.rooms.event_at_time(&session.user, &request.room_id, unix_ms, order).await?;
    let time = UInt::try_from(event.origin_server_ts).unwrap_or(UInt::MAX);
    let time = ruma::MilliSecondsSinceUnixEpoch(time);
    Ok(Ruma(get_event_by_timestamp::v1::Response::new(event.event_id.clone(), time)))
}

#[derive(Deserialize)]
struct RelationsPath {
    room_id: OwnedRoomId,
    event_id: OwnedEventId,
    rel_type: Option<String>,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct RelationsQuery {
    from: Option<String>,
    to: Option<String>,
    limit: Option<usize>,
    dir: Option<Direction>,
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}[/{relType}[/{eventType}]]`
async fn relations(
    State(app): State<Arc<App>>,
    session: Session,
    Path(path): Path<RelationsPath>,
    Query(query): Query<RelationsQuery>,
) -> ApiResult<Response> {
    #[derive(Serialize)]
    struct Answer {
        chunk: Vec<Box<RawValue>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_batch: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        prev_batch: Option<String>,
    }
    let wanted = Wanted {
        from: query.from.as_deref().map(place).transpose()?,
        to: query.to.as_deref().map(place).transpose()?,
        order: order(query.dir.unwrap_or(Direction::Backward)),
        limit: query.limit.unwrap_or(DEFAULT_PAGE),
    };
    let event_id: &EventId = &path.event_id;
    let kinds = (path.rel_type.as_deref(), path.kind.as_deref());
    let mut page = app.rooms.relations(&session.user, &path.room_id, event_id, kinds, wanted).await?;
    let ignored = app.contacts.ignored_by(&session.user);
    page.events.retain(|event| is_heard(&ignored, event));
    let answer = Answer {
        chunk: with_relations(&app, &session, &path.room_id, &page.events).await?,
        next_batch: page.end.map(page_token),
        prev_batch: query.from,
    };
    Ok(Json(answer).into_response())
}

/// `GET /_matrix/client/v3/rooms/{roomId}/initialSync`
async fn initial_sync(
    State(app): State<Arc<App>>,
    session: Session,
    Path(room): Path<OwnedRoomId>,
) -> ApiResult<Response> {
    #[derive(Serialize)]
    struct Answer {
        room_id: OwnedRoomId,
        #[serde(skip_serializing_if = "Option::is_none")]
        membership: Option<&'static str>,
        visibility: &'static str,
        messages: MessagesAnswer,
        state: Vec<Box<RawValue>>,
    }
    let state = app.rooms.state(&session.user, &room).await?;
    let wanted = Wanted { from: None, to: None, order: Order::NewestFirst, limit: DEFAULT_PAGE };
    let ignored = app.contacts.ignored_by(&session.user);
    let mut page =
        app.rooms.messages(&session.user, &room, wanted, |event| is_heard(&ignored, event)).await?;
    page.events.reverse();
    let membership = app.store.membership(&session.user, &room).await?;
    let listed = app.store.room(&room).await?.is_some_and(|room| room.listed);
    let answer = Answer {
        membership: membership.map(|row| row.membership.as_str()),
        visibility: if listed { "public" } else { "private" },
        messages: MessagesAnswer {
            chunk: encode(&app, &session, &page.events),
            start: page_token(page.end.unwrap_or(TimelinePosition::START)),
            end: Some(page_token(page.start)),
            state: Vec::new(),
        },
        state: encode(&app, &session, &state),
        room_id: room,
    };
    Ok(Json(answer).into_response())
}

fn encode(app: &App, session: &Session, events: &[Arc<StoredEvent>]) -> Vec<Box<RawValue>> {
    events.iter().map(|event| client_json(app, session, event)).collect()
}

fn order(direction: Direction) -> Order {
    match direction {
        Direction::Forward => Order::OldestFirst,
        Direction::Backward => Order::NewestFirst,
    }
}

fn size(limit: UInt) -> usize {
    usize::try_from(u64::from(limit)).unwrap_or(usize::MAX)
}

/// Which events of a room a filter wants and its user hears.
fn keep<'a>(
    app: &App,
    session: &Session,
    filter: &'a RoomEventFilter,
    room: &'a ruma::RoomId,
) -> impl Fn(&StoredEvent) -> bool + use<'a> {
    let ignored = app.contacts.ignored_by(&session.user);
    move |event| {
        let seen = Seen { kind: &event.kind, sender: event.sender.as_str(), json: &event.pdu };
        is_heard(&ignored, event) && wants_event(filter, room, seen)
    }
}

/// Whether an event is told to somebody who ignores these: of theirs only state is.
fn is_heard(ignored: &BTreeSet<OwnedUserId>, event: &StoredEvent) -> bool {
    event.state_key.is_some() || !ignored.contains(&event.sender)
}

/// What somebody says whom the user ignores is as if it were not there.
fn check_heard(app: &App, session: &Session, event: &StoredEvent) -> ApiResult<()> {
    match is_heard(&app.contacts.ignored_by(&session.user), event) {
        true => Ok(()),
        false => Err(ApiError::not_found("there is no such event, or you may not see it")),
    }
}
