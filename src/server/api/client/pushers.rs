//! Pushers, and what users were notified of: `/pushers`, `/notifications`.

use std::sync::Arc;

use axum::{Router, extract::State, response::Response};
use ruma::{
    api::client::push::{get_notifications, get_pushers, set_pusher},
    push::Action,
};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Query},
        large::Paper,
        ruma_route::RumaRoute,
    },
    app::App,
    change::position::LogPosition,
    event::client::{ClientFormat, client_event},
    push::is_gateway,
    session::Session,
    store::{NewPusher, Others, SetPusherError},
    stream::notices::{self, Notice, NoticePage},
};

/// The longest application ID and pushkey, as the specification has them.
const MAX_APP_ID: usize = 64;
const MAX_PUSHKEY: usize = 512;

/// Bytes of one pusher, at most.
const MAX_PUSHER: usize = 8 << 10;

/// Notifications on a page, at most; and when the client does not say.
const MAX_NOTIFICATIONS: usize = 500;
const DEFAULT_NOTIFICATIONS: usize = 50;

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .ruma_route::<get_pushers::v3::Request, _, _>(pushers)
        .ruma_route::<set_pusher::v3::Request, _, _>(set)
        .ruma_route::<get_notifications::v3::Request, _, _>(notifications)
}

/// `GET /_matrix/client/v3/pushers`
async fn pushers(State(app): State<Arc<App>>, session: Session) -> ApiResult<Json<Value>> {
    let pushers = app.store.pushers_of(&session.user).await?;
    let pushers: Result<Vec<Box<RawValue>>, _> =
        pushers.into_iter().map(|pusher| RawValue::from_string(pusher.body)).collect();
    Ok(Json(json!({ "pushers": pushers.map_err(ApiError::internal)? })))
}

/// `POST /_matrix/client/v3/pushers/set`
async fn set(
    State(app): State<Arc<App>>,
    session: Session,
    Json(body): Json<Map<String, Value>>,
) -> ApiResult<Json<Value>> {
    let missing: Vec<_> =
        ["kind", "app_id", "pushkey"].into_iter().filter(|k| !body.contains_key(*k)).collect();
    check_missing(&missing)?;
    let app_id = text(&body, "app_id", MAX_APP_ID)?.to_owned();
    let pushkey = text(&body, "pushkey", MAX_PUSHKEY)?.to_owned();
    match &body["kind"] {
        Value::Null => {
            app.store.remove_pusher(session.user, app_id, pushkey).await?;
            return Ok(Json(json!({})));
        }
        Value::String(kind) if kind == "http" => {}
        Value::String(kind) if kind == "email" => {
            return Err(ApiError::invalid_param("this server sends no email"));
        }
        Value::String(_) => return Err(ApiError::invalid_param("the kind of a pusher is http, or null")),
        _ => return Err(ApiError::bad_json("kind is a text, or null")),
    }
    let pusher = pusher(&body)?;
    if pusher.len() > MAX_PUSHER {
        return Err(ApiError::too_large("a pusher takes 8 KiB at most"));
    }
    let others = match body.get("append") {
        None | Some(Value::Bool(false) | Value::Null) => Others::Go,
        Some(Value::Bool(true)) => Others::Stay,
        Some(_) => return Err(ApiError::bad_json("append is true or false")),
    };
    let set_ms = app.unix_ms();
    app.store.set_pusher(NewPusher { session, app_id, pushkey, set_ms, body: pusher, others }).await?;
    Ok(Json(json!({})))
}

/// What of a pusher is kept, as its user is shown it.
fn pusher(body: &Map<String, Value>) -> ApiResult<String> {
    const NEEDED: [&str; 4] = ["app_display_name", "device_display_name", "lang", "data"];
    let missing: Vec<_> = NEEDED.into_iter().filter(|key| !body.contains_key(*key)).collect();
    check_missing(&missing)?;
    let mut kept = Map::new();
    for key in ["pushkey", "kind", "app_id", "app_display_name", "device_display_name", "lang"] {
        kept.insert(key.to_owned(), text(body, key, MAX_PUSHER)?.into());
    }
    if !matches!(body.get("profile_tag"), None | Some(Value::Null)) {
        kept.insert("profile_tag".to_owned(), text(body, "profile_tag", MAX_PUSHER)?.into());
    }
    let Value::Object(data) = &body["data"] else { return Err(ApiError::bad_json("data is an object")) };
    match data.get("url") {
        None => return Err(ApiError::missing_param("data has no url")),
        Some(Value::String(url)) if is_gateway(url) => {}
        Some(_) => {
            let error = "url is an http or https URL with the path /_matrix/push/v1/notify";
            return Err(ApiError::invalid_param(error));
        }
    }
    kept.insert("data".to_owned(), Value::Object(data.clone()));
    serde_json::to_string(&kept).map_err(ApiError::internal)
}

fn check_missing(missing: &[&str]) -> ApiResult<()> {
    match missing {
        [] => Ok(()),
        missing => Err(ApiError::missing_param(format!("Missing parameters: {}", missing.join(", ")))),
    }
}

fn text<'a>(body: &'a Map<String, Value>, key: &str, longest: usize) -> ApiResult<&'a str> {
    match body.get(key) {
        Some(Value::String(text)) if text.len() <= longest => Ok(text),
        Some(Value::String(_)) => {
            Err(ApiError::invalid_param(format!("{key} is longer than {longest} bytes")))
        }
        _ => Err(ApiError::bad_json(format!("{key} is a text"))),
    }
}

/// What `GET /notifications` is asked with.
#[derive(Deserialize)]
struct Asked {
    from: Option<String>,
    limit: Option<u64>,
    only: Option<String>,
}

/// `GET /_matrix/client/v3/notifications`
async fn notifications(
    State(app): State<Arc<App>>,
    session: Session,
    Query(asked): Query<Asked>,
    paper: Paper,
) -> ApiResult<Response> {
    let log = app.store.log_position();
    let to = match asked.from.as_deref().filter(|from| !from.is_empty()) {
        None => log,
        Some(from) => {
            let from = from.parse().ok().map(LogPosition::new).filter(|from| *from <= log);
            from.ok_or_else(|| ApiError::invalid_param("from is no token of this endpoint"))?
        }
    };
    let limit = asked.limit.map_or(DEFAULT_NOTIFICATIONS, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let limit = limit.clamp(1, MAX_NOTIFICATIONS);
    let only_highlights = asked.only.as_deref().is_some_and(|only| only.contains("highlight"));
    let is_wanted = |notice: &Notice| !only_highlights || notice.actions.iter().any(Action::is_highlight);
    let NoticePage { notices, next } =
        notices::page(&app.stream, &session.user, to, limit, is_wanted).await?;
    let mut written = paper.object();
    if let Some(next) = next {
        written.out.text("next_token", &next.to_string());
    }
    let list = written.out.open_array("notifications");
    let now_ms = app.unix_ms();
    for Notice { event, actions, is_read } in notices {
        let object = written.out.open_element();
        let actions = serde_json::to_string(&actions).map_err(ApiError::internal)?;
        written.out.raw("actions", &actions);
        let json = client_event(&event, &session, now_ms, ClientFormat::InRoom, None, None);
        written.out.raw("event", json.get());
        written.out.boolean("read", is_read);
        written.out.text("room_id", event.room_id.as_str());
        written.out.number("ts", event.origin_server_ts);
        written.out.end(object);
        written.take().await?;
    }
    written.out.end_even_if_empty(list);
    written.answer()
}

impl From<SetPusherError> for ApiError {
    fn from(e: SetPusherError) -> Self {
        match e {
            SetPusherError::TooMany => Self::too_large("you have too many pushers"),
            SetPusherError::LoggedOut => {
                Self::unknown_token("the device was logged out").with("soft_logout", false)
            }
            SetPusherError::Store(e) => e.into(),
        }
    }
}
