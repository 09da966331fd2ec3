//! Reading timelines: scrolling back and forth, single events, context, relations, times.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Router, extract::State, response::Response, routing::get};
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
use serde::Deserialize;
use serde_json::value::RawValue;

use super::form::{page_token, place, with_relations, write_event, write_state, write_with_relations};
use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{AnswerForm, Json, Path, Query, Ruma},
        large::Paper,
        ruma_route::RumaRoute,
    },
    app::App,
    event::stored::StoredEvent,
    rooms::{Context, MAX_PAGE, Wanted},
    session::Session,
    store::{Entry, Kinds, Order},
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
    for version in ["v1", "unstable"] {
        let path = format!("/_matrix/client/{version}/rooms/{{room_id}}/relations/{{event_id}}");
        router = router
            .route(&path, get(relations))
            .route(&format!("{path}/{{rel_type}}"), get(relations))
            .route(&format!("{path}/{{rel_type}}/{{kind}}"), get(relations));
    }
    router
}

/// Whether other servers may be asked for what is not here (M8).
#[derive(Deserialize)]
struct Backfill {
    #[serde(rename = "org.pilotlight.backfill")]
    backfill: Option<bool>,
}

/// `GET /_matrix/client/v3/rooms/{roomId}/messages`
async fn messages(
    State(app): State<Arc<App>>,
    session: Session,
    paper: Paper,
    (form, Query(Backfill { backfill })): (AnswerForm, Query<Backfill>),
    Ruma(request): Ruma<get_message_events::v3::Request>,
) -> ApiResult<Response> {
    let room = &request.room_id;
    let wanted = Wanted {
        from: request.from.as_deref().map(place).transpose()?,
        to: request.to.as_deref().map(place).transpose()?,
        order: order(request.dir),
        limit: request.filter.limit.map_or(usize::MAX, size).min(size(request.limit)),
    };
    let (order, to) = (wanted.order, wanted.to);
    let keep = keep(&app, &session, &request.filter, room);
    let page = if order == Order::NewestFirst && backfill != Some(false) {
        app.page_back(&session.user, room, wanted, keep).await?
    } else {
        app.rooms.messages(&session.user, room, wanted, keep).await?
    };
    let mut answer = paper.object();
    let chunk = answer.out.open_array("chunk");
    write_with_relations((&app, &session), room, &page.events, &mut answer).await?;
    answer.out.end_even_if_empty(chunk);
    answer.out.text("start", &page_token(page.start));
    if let Some(end) = page.end {
        answer.out.text("end", &page_token(end));
    }
    if form == AnswerForm::Full {
        let here = match page.end.or(to) {
            Some(end) => app.rooms.has_more(&session.user, room, end, order).await?,
            None => false,
        };
        let more = answer.out.open("org.pilotlight.more");
        answer.out.boolean("here", here);
        let elsewhere = match page.end.or(to) {
            Some(end) if order == Order::NewestFirst => app.has_past_elsewhere(room, end).await?,
            Some(_) | None => false,
        };
        answer.out.boolean("elsewhere", elsewhere);
        answer.out.end(more);
    }
    let senders: BTreeSet<OwnedUserId> = page.events.into_iter().map(|event| event.sender.clone()).collect();
    if !request.filter.lazy_load_options.is_disabled() {
        let state = answer.out.open_array("state");
        for sender in senders {
            if let Some(member) = app.store.state_event(room, "m.room.member", sender.as_str()).await? {
                write_event(&member, (&session, app.unix_ms()), None, &mut answer);
                answer.take().await?;
            }
        }
        answer.out.end(state);
    }
    answer.answer()
}

/// `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`
async fn event(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<get_room_event::v3::Request>,
) -> ApiResult<Json<Box<RawValue>>> {
    let event = app.event_of(&session.user, &request.room_id, &request.event_id).await?;
    check_heard(&app, &session, &event)?;
    Ok(Json(with_relations(&app, &session, event).await?))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`
async fn context(
    State(app): State<Arc<App>>,
    session: Session,
    paper: Paper,
    Ruma(request): Ruma<get_context::v3::Request>,
) -> ApiResult<Response> {
    let room = &request.room_id;
    let limit = size(request.limit).min(MAX_PAGE);
    let keep = keep(&app, &session, &request.filter, room);
    let last = app.rooms.scrolls_back_from(&session.user, room, None).await?;
    let event = app.event_of(&session.user, room, &request.event_id).await?;
    app.fetch_past(room, event.timeline.min(last), limit / 2).await?;
    let Context { event, before, after } =
        app.rooms.context(&session.user, room, &request.event_id, limit, keep).await?;
    check_heard(&app, &session, &event)?;
    let last = after.events.last().map_or(event.timeline, |event| event.timeline);
    let first = before.events.last().map_or(event.timeline, |event| event.timeline);
    let is_lazy = !request.filter.lazy_load_options.is_disabled();
    let state = {
        let shown = before.events.iter().chain([&event]).chain(&after.events);
        let senders: BTreeSet<&str> = shown.map(|event| event.sender.as_str()).collect();
        let keep =
            |entry: Entry<'_>| !is_lazy || entry.kind != "m.room.member" || senders.contains(entry.key);
        app.rooms.state_at(room, last, Kinds::All, keep).await?
    };
    let by = (&*app, &session);
    let mut answer = paper.object();
    answer.out.text("start", &page_token(first.before()));
    answer.out.text("end", &page_token(last));
    for (key, events) in [("events_before", before.events), ("events_after", after.events)] {
        let list = answer.out.open_array(key);
        write_with_relations(by, room, &events, &mut answer).await?;
        answer.out.end_even_if_empty(list);
    }
    answer.out.raw("event", with_relations(&app, &session, event).await?.get());
    let list = answer.out.open_array("state");
    write_state(by, state, |_| true, &mut answer).await?;
    answer.out.end_even_if_empty(list);
    answer.answer()
}

/// `GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event`
async fn at_time(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<get_event_by_timestamp::v1::Request>,
) -> ApiResult<Ruma<get_event_by_timestamp::v1::Response>> {
    let at = (request.ts.get().into(), order(request.dir));
    let event = app.event_at_time(&session.user, &request.room_id, at).await?;
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
    #[serde(default, alias = "org.matrix.msc3981.recurse")]
    recurse: bool,
}

/// How far `recurse` goes: to reactions to, and edits of, what is in a thread.
const RECURSION_DEPTH: u32 = 3;

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}[/{relType}[/{eventType}]]`
async fn relations(
    State(app): State<Arc<App>>,
    session: Session,
    paper: Paper,
    Path(path): Path<RelationsPath>,
    Query(query): Query<RelationsQuery>,
) -> ApiResult<Response> {
    let wanted = Wanted {
        from: query.from.as_deref().map(place).transpose()?,
        to: query.to.as_deref().map(place).transpose()?,
        order: order(query.dir.unwrap_or(Direction::Backward)),
        limit: query.limit.unwrap_or(DEFAULT_PAGE),
    };
    let event_id: &EventId = &path.event_id;
    let depth = if query.recurse { RECURSION_DEPTH } else { 0 };
    let kinds = (path.rel_type.as_deref(), path.kind.as_deref());
    let mut page =
        app.rooms.relations(&session.user, &path.room_id, (event_id, depth), kinds, wanted).await?;
    let ignored = app.contacts.ignored_by(&session.user);
    page.events.retain(|event| is_heard(&ignored, event));
    let mut answer = paper.object();
    let chunk = answer.out.open_array("chunk");
    write_with_relations((&app, &session), &path.room_id, &page.events, &mut answer).await?;
    answer.out.end_even_if_empty(chunk);
    if let Some(end) = page.end {
        answer.out.text("next_batch", &page_token(end));
    }
    if let Some(from) = &query.from {
        answer.out.text("prev_batch", from);
    }
    if query.recurse {
        answer.out.raw("recursion_depth", &RECURSION_DEPTH.to_string());
    }
    answer.answer()
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
pub(super) fn keep<'a>(
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
pub(super) fn is_heard(ignored: &BTreeSet<OwnedUserId>, event: &StoredEvent) -> bool {
    event.state_key.is_some() || !ignored.contains(&event.sender)
}

/// What somebody says whom the user ignores is as if it were not there.
pub(in crate::server::api::client) fn check_heard(
    app: &App,
    session: &Session,
    event: &StoredEvent,
) -> ApiResult<()> {
    match is_heard(&app.contacts.ignored_by(&session.user), event) {
        true => Ok(()),
        false => Err(ApiError::not_found("there is no such event, or you may not see it")),
    }
}
