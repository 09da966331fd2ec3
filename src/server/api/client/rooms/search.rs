//! `/search`: messages, names and topics by their words.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{Router, extract::State, response::Response, routing::post};
use ruma::{OwnedRoomId, OwnedUserId, api::client::filter::RoomEventFilter};
use serde::Deserialize;

use super::{
    form::{page_token, with_relations, write_state, write_with_relations},
    messages::keep,
};
use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Query},
        large::{Paper, Written},
    },
    app::App,
    event::stored::StoredEvent,
    rooms::{Context, Results, Search, Words},
    session::Session,
    store::Found,
};

/// Results on a page when the client does not say, and at most.
const PAGE: (usize, usize) = (10, 100);

/// Events before and after a result when the client does not say, and at most.
const AROUND: (usize, usize) = (5, 50);

/// Words to highlight, at most.
const MAX_HIGHLIGHTS: usize = 100;

/// What can be looked through, and in events of which type it is.
const KEYS: [(&str, &str); 3] =
    [("content.body", "m.room.message"), ("content.name", "m.room.name"), ("content.topic", "m.room.topic")];

pub(super) fn routes() -> Router<Arc<App>> {
    ["r0", "v3"].into_iter().fold(Router::new(), |routes, version| {
        routes.route(&format!("/_matrix/client/{version}/search"), post(search))
    })
}

#[derive(Deserialize)]
struct Page {
    next_batch: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    search_categories: Categories,
}

#[derive(Deserialize)]
struct Categories {
    room_events: Option<Criteria>,
}

#[derive(Deserialize)]
struct Criteria {
    search_term: String,
    keys: Option<Vec<String>>,
    #[serde(default)]
    filter: RoomEventFilter,
    #[serde(default)]
    order_by: OrderBy,
    event_context: Option<Around>,
    #[serde(default)]
    include_state: bool,
    #[serde(default)]
    groupings: Groupings,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum OrderBy {
    #[default]
    Rank,
    Recent,
}

#[derive(Deserialize)]
struct Around {
    before_limit: Option<usize>,
    after_limit: Option<usize>,
    #[serde(default)]
    include_profile: bool,
}

#[derive(Default, Deserialize)]
struct Groupings {
    #[serde(default)]
    group_by: Vec<Grouping>,
}

#[derive(Deserialize)]
struct Grouping {
    key: GroupKey,
}

#[derive(Clone, Copy, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "snake_case")]
enum GroupKey {
    RoomId,
    Sender,
}

/// `POST /_matrix/client/v3/search`
async fn search(
    State(app): State<Arc<App>>,
    session: Session,
    paper: Paper,
    Query(page): Query<Page>,
    Json(body): Json<Body>,
) -> ApiResult<Response> {
    let mut answer = paper.object();
    let categories = answer.out.open("search_categories");
    if let Some(criteria) = &body.search_categories.room_events {
        let from = begin(criteria.order_by, page.next_batch.as_deref())?;
        let words = Words::parse(&criteria.search_term);
        let found = match &words {
            Some(words) => find(&app, &session, criteria, words, from).await?,
            None => Results::default(),
        };
        let object = answer.out.open("room_events");
        write(&app, &session, criteria, (words.as_ref(), found), &mut answer).await?;
        answer.out.end_even_if_empty(object);
    }
    answer.out.end_even_if_empty(categories);
    answer.answer()
}

/// Where a page begins.
fn begin(order: OrderBy, token: Option<&str>) -> ApiResult<Found> {
    let number = |token: &str, letter| token.strip_prefix(letter)?.parse::<i64>().ok().filter(|n| *n >= 0);
    let found = match (order, token) {
        (OrderBy::Recent, None) => Some(Found::Recent(i64::MAX)),
        (OrderBy::Rank, None) => Some(Found::Ranked(0)),
        (OrderBy::Recent, Some(token)) => number(token, 's').map(Found::Recent),
        (OrderBy::Rank, Some(token)) => number(token, 'r').map(Found::Ranked),
    };
    found.ok_or_else(|| ApiError::invalid_param("next_batch is not a token of this search"))
}

async fn find(
    app: &App,
    session: &Session,
    criteria: &Criteria,
    words: &Words,
    from: Found,
) -> ApiResult<Results> {
    let is_wanted = |key: &str| criteria.keys.as_ref().is_none_or(|keys| keys.iter().any(|one| one == key));
    let kinds: Vec<_> = KEYS.iter().filter(|(key, _)| is_wanted(key)).map(|(_, kind)| *kind).collect();
    let ignored = app.contacts.ignored_by(&session.user);
    let limit = criteria.filter.limit.map_or(PAGE.0, |n| usize::try_from(u64::from(n)).unwrap_or(PAGE.1));
    let search = Search {
        words,
        kinds,
        rooms: criteria.filter.rooms.as_deref(),
        senders: criteria.filter.senders.as_deref(),
        not_senders: &criteria.filter.not_senders,
        ignored: &ignored,
        limit: limit.clamp(1, PAGE.1),
    };
    // In rooms that took the place of those that are named, events count as theirs.
    let mut filter = criteria.filter.clone();
    filter.rooms = None;
    let keep = |event: &StoredEvent| keep(app, session, &filter, &event.room_id)(event);
    Ok(app.rooms.search(&session.user, &search, from, keep).await?)
}

async fn write(
    app: &App,
    session: &Session,
    criteria: &Criteria,
    (words, found): (Option<&Words>, Results),
    answer: &mut Written,
) -> ApiResult<()> {
    answer.out.raw("count", &found.count.to_string());
    let mut highlights: BTreeSet<String> = words.into_iter().flat_map(Words::iter).cloned().collect();
    let mut groups: BTreeMap<GroupKey, BTreeMap<String, Vec<String>>> =
        criteria.groupings.group_by.iter().map(|group| (group.key, BTreeMap::new())).collect();
    let list = answer.out.open_array("results");
    for (event, rank) in &found.events {
        if let Some(words) = words {
            let text: serde_json::Value = event.content_as().unwrap_or_default();
            for key in ["body", "name", "topic"] {
                highlights.extend(words.in_text(text[key].as_str().unwrap_or_default()));
            }
        }
        for (key, groups) in &mut groups {
            let of = match key {
                GroupKey::RoomId => event.room_id.as_str(),
                GroupKey::Sender => event.sender.as_str(),
            };
            groups.entry(of.to_owned()).or_default().push(event.event_id.to_string());
        }
        let object = answer.out.open_element();
        answer.out.raw("rank", &rank.to_string());
        answer.out.raw("result", with_relations(app, session, Arc::clone(event)).await?.get());
        if let Some(around) = &criteria.event_context {
            write_context(app, session, around, event, answer).await?;
        }
        answer.out.end(object);
        answer.put()?;
    }
    answer.out.end_even_if_empty(list);
    let list = answer.out.open_array("highlights");
    highlights.iter().take(MAX_HIGHLIGHTS).for_each(|word| answer.out.string_element(word));
    answer.out.end_even_if_empty(list);
    write_groups(groups, answer);
    if criteria.include_state {
        let rooms: BTreeSet<&OwnedRoomId> = found.events.iter().map(|(event, _)| &event.room_id).collect();
        let state = answer.out.open("state");
        for room in rooms {
            let list = answer.out.open_array(room.as_str());
            let of_room = app.rooms.state(&session.user, room).await?;
            write_state((app, session), of_room, |_| true, answer).await?;
            answer.out.end_even_if_empty(list);
        }
        answer.out.end_even_if_empty(state);
    }
    match found.next {
        Some(Found::Recent(before)) => answer.out.text("next_batch", &format!("s{before}")),
        Some(Found::Ranked(after)) => answer.out.text("next_batch", &format!("r{after}")),
        None => {}
    }
    Ok(())
}

fn write_groups(groups: BTreeMap<GroupKey, BTreeMap<String, Vec<String>>>, answer: &mut Written) {
    if groups.is_empty() {
        return;
    }
    let all = answer.out.open("groups");
    for (key, groups) in groups {
        let of_key = answer.out.open(match key {
            GroupKey::RoomId => "room_id",
            GroupKey::Sender => "sender",
        });
        for (order, (of, events)) in groups.into_iter().enumerate() {
            let group = answer.out.open(&of);
            answer.out.raw("order", &(order + 1).to_string());
            let list = answer.out.open_array("results");
            events.iter().for_each(|event| answer.out.string_element(event));
            answer.out.end_even_if_empty(list);
            answer.out.end(group);
        }
        answer.out.end_even_if_empty(of_key);
    }
    answer.out.end_even_if_empty(all);
}

async fn write_context(
    app: &App,
    session: &Session,
    around: &Around,
    event: &Arc<StoredEvent>,
    answer: &mut Written,
) -> ApiResult<()> {
    let limit = |asked: Option<usize>| asked.unwrap_or(AROUND.0).min(AROUND.1);
    let limits = (limit(around.before_limit), limit(around.after_limit));
    let room = &event.room_id;
    let filter = RoomEventFilter::default();
    let keep = keep(app, session, &filter, room);
    let Context { before, after, .. } =
        app.rooms.around(&session.user, Arc::clone(event), limits, keep).await?;
    let first = before.events.last().map_or(event.timeline, |event| event.timeline);
    let last = after.events.last().map_or(event.timeline, |event| event.timeline);
    let context = answer.out.open("context");
    answer.out.text("start", &page_token(first.before()));
    answer.out.text("end", &page_token(last));
    let mut senders: BTreeSet<OwnedUserId> = BTreeSet::from([event.sender.clone()]);
    for (key, events) in [("events_before", before.events), ("events_after", after.events)] {
        senders.extend(events.iter().map(|event| event.sender.clone()));
        let list = answer.out.open_array(key);
        write_with_relations((app, session), room, &events, answer).await?;
        answer.out.end_even_if_empty(list);
    }
    if around.include_profile {
        let profiles = answer.out.open("profile_info");
        for sender in senders {
            let member =
                app.store.state_event_at(room, "m.room.member", sender.as_str(), event.timeline).await?;
            let content: serde_json::Value =
                member.and_then(|member| member.content_as()).unwrap_or_default();
            let object = answer.out.open(sender.as_str());
            for key in ["displayname", "avatar_url"] {
                if let Some(text) = content[key].as_str() {
                    answer.out.text(key, text);
                }
            }
            answer.out.end_even_if_empty(object);
        }
        answer.out.end_even_if_empty(profiles);
    }
    answer.out.end(context);
    Ok(())
}
