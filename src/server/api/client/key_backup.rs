//! Backups of room keys: `/room_keys`. The server keeps what it cannot read.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, response::Response};
use ruma::api::client::backup::{
    add_backup_keys, add_backup_keys_for_room, add_backup_keys_for_session, create_backup_version,
    delete_backup_keys, delete_backup_keys_for_room, delete_backup_keys_for_session, delete_backup_version,
    get_backup_info, get_backup_keys, get_backup_keys_for_room, get_backup_keys_for_session,
    get_latest_backup_info, update_backup_version,
};
use ruma::{OwnedRoomId, UserId};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Path, Query},
        large::{Paper, Written},
        ruma_route::RumaRoute,
    },
    app::App,
    json::Open,
    profile::check_length,
    session::Session,
    store::{BackedUpKey, Backup, BackupRefusal, Extent, KeyScope},
};

/// The longest name of an algorithm and of a session, in bytes.
const MAX_NAME: usize = 255;

/// Bytes of one encrypted key, and of what a backup says of its encryption, at most.
const MAX_DATA: usize = 16 << 10;

/// Keys that are read at once.
const PAGE: u32 = 100;

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .ruma_route::<create_backup_version::v3::Request, _, _>(create)
        .ruma_route::<get_latest_backup_info::v3::Request, _, _>(current)
        .ruma_route::<get_backup_info::v3::Request, _, _>(info)
        .ruma_route::<update_backup_version::v3::Request, _, _>(update)
        .ruma_route::<delete_backup_version::v3::Request, _, _>(delete)
        .ruma_route::<add_backup_keys::v3::Request, _, _>(put_all)
        .ruma_route::<add_backup_keys_for_room::v3::Request, _, _>(put_room)
        .ruma_route::<add_backup_keys_for_session::v3::Request, _, _>(put_session)
        .ruma_route::<get_backup_keys::v3::Request, _, _>(all)
        .ruma_route::<get_backup_keys_for_room::v3::Request, _, _>(room)
        .ruma_route::<get_backup_keys_for_session::v3::Request, _, _>(session)
        .ruma_route::<delete_backup_keys::v3::Request, _, _>(delete_all)
        .ruma_route::<delete_backup_keys_for_room::v3::Request, _, _>(delete_room)
        .ruma_route::<delete_backup_keys_for_session::v3::Request, _, _>(delete_session)
}

/// What a backup is encrypted with, as clients say it.
#[derive(Deserialize)]
struct Encryption {
    algorithm: String,
    auth_data: Map<String, Value>,
    /// Has to be the one in the path.
    version: Option<String>,
}

impl Encryption {
    fn checked(self) -> ApiResult<(String, String)> {
        check_length("the algorithm", Some(&self.algorithm), MAX_NAME)?;
        let auth_data = Value::Object(self.auth_data).to_string();
        if auth_data.len() > MAX_DATA {
            return Err(ApiError::too_large("auth_data takes 16 KiB at most"));
        }
        Ok((self.algorithm, auth_data))
    }
}

/// A key, as clients say it.
#[derive(Deserialize)]
struct Key {
    first_message_index: u32,
    forwarded_count: u32,
    is_verified: bool,
    session_data: Map<String, Value>,
}

#[derive(Deserialize)]
struct OfRoom {
    sessions: std::collections::BTreeMap<String, Key>,
}

#[derive(Deserialize)]
struct OfAll {
    rooms: std::collections::BTreeMap<OwnedRoomId, OfRoom>,
}

/// The query of everything about keys.
#[derive(Deserialize)]
struct Version {
    version: Option<String>,
}

impl Version {
    /// The number; one that cannot be is of no backup.
    fn number(self) -> ApiResult<u64> {
        let version = self.version.ok_or_else(|| ApiError::missing_param("version is not given"))?;
        Ok(number(&version))
    }
}

fn number(version: &str) -> u64 {
    // A number has one form only.
    version.parse().ok().filter(|n: &u64| n.to_string() == version && *n <= i64::MAX as u64).unwrap_or(0)
}

fn no_such_backup() -> ApiError {
    ApiError::not_found("there is no such backup")
}

fn stored((room, session): (&str, &str), key: Key) -> ApiResult<BackedUpKey> {
    check_length("the session", Some(session), MAX_NAME)?;
    let data = Value::Object(key.session_data).to_string();
    if data.len() > MAX_DATA {
        return Err(ApiError::too_large("session_data takes 16 KiB at most"));
    }
    Ok(BackedUpKey {
        room: room.to_owned(),
        session: session.to_owned(),
        first_message_index: key.first_message_index.into(),
        forwarded_count: key.forwarded_count.into(),
        is_verified: key.is_verified,
        data,
    })
}

fn raw(json: String) -> ApiResult<Box<RawValue>> {
    RawValue::from_string(json).map_err(ApiError::internal)
}

fn told(backup: Backup) -> ApiResult<Json<Value>> {
    let auth_data = raw(backup.auth_data)?;
    let Extent { count, etag } = backup.extent;
    Ok(Json(json!({
        "algorithm": backup.algorithm, "auth_data": auth_data, "count": count, "etag": etag.to_string(),
        "version": backup.version.to_string(),
    })))
}

fn extent(Extent { count, etag }: Extent) -> Json<Value> {
    Json(json!({ "count": count, "etag": etag.to_string() }))
}

/// `POST /_matrix/client/v3/room_keys/version`
async fn create(
    State(app): State<Arc<App>>,
    session: Session,
    Json(body): Json<Encryption>,
) -> ApiResult<Json<Value>> {
    let (algorithm, auth_data) = body.checked()?;
    let version = app.store.create_backup(session.user, algorithm, auth_data).await?;
    Ok(Json(json!({ "version": version.to_string() })))
}

/// `GET /_matrix/client/v3/room_keys/version`
async fn current(State(app): State<Arc<App>>, session: Session) -> ApiResult<Json<Value>> {
    told(app.store.backup(&session.user, None).await?.ok_or_else(no_such_backup)?)
}

/// `GET /_matrix/client/v3/room_keys/version/{version}`
async fn info(
    State(app): State<Arc<App>>,
    session: Session,
    Path(version): Path<String>,
) -> ApiResult<Json<Value>> {
    told(known(&app, &session.user, number(&version)).await?)
}

/// `PUT /_matrix/client/v3/room_keys/version/{version}`
async fn update(
    State(app): State<Arc<App>>,
    session: Session,
    Path(version): Path<String>,
    Json(body): Json<Encryption>,
) -> ApiResult<Json<Value>> {
    if body.version.as_ref().is_some_and(|said| *said != version) {
        return Err(ApiError::invalid_param("the version is another one than that in the path"));
    }
    let (algorithm, auth_data) = body.checked()?;
    app.store.update_backup(session.user, number(&version), algorithm, auth_data).await?;
    Ok(Json(json!({})))
}

/// `DELETE /_matrix/client/v3/room_keys/version/{version}`
async fn delete(
    State(app): State<Arc<App>>,
    session: Session,
    Path(version): Path<String>,
) -> ApiResult<Json<Value>> {
    let was_there = app.store.remove_backup(session.user, number(&version)).await?;
    if was_there { Ok(Json(json!({}))) } else { Err(no_such_backup()) }
}

async fn put(app: &App, session: Session, version: u64, keys: Vec<BackedUpKey>) -> ApiResult<Json<Value>> {
    Ok(extent(app.store.back_up_keys(session.user, version, keys).await?))
}

/// `PUT /_matrix/client/v3/room_keys/keys`
async fn put_all(
    State(app): State<Arc<App>>,
    session: Session,
    Query(version): Query<Version>,
    Json(body): Json<OfAll>,
) -> ApiResult<Json<Value>> {
    let mut keys = Vec::new();
    for (room, OfRoom { sessions }) in body.rooms {
        for (session, key) in sessions {
            keys.push(stored((room.as_str(), &session), key)?);
        }
    }
    put(&app, session, version.number()?, keys).await
}

/// `PUT /_matrix/client/v3/room_keys/keys/{roomId}`
async fn put_room(
    State(app): State<Arc<App>>,
    session: Session,
    Path(room): Path<OwnedRoomId>,
    Query(version): Query<Version>,
    Json(body): Json<OfRoom>,
) -> ApiResult<Json<Value>> {
    let keys: ApiResult<Vec<_>> =
        body.sessions.into_iter().map(|(session, key)| stored((room.as_str(), &session), key)).collect();
    put(&app, session, version.number()?, keys?).await
}

/// `PUT /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`
async fn put_session(
    State(app): State<Arc<App>>,
    session: Session,
    Path((room, of)): Path<(OwnedRoomId, String)>,
    Query(version): Query<Version>,
    Json(key): Json<Key>,
) -> ApiResult<Json<Value>> {
    put(&app, session, version.number()?, vec![stored((room.as_str(), &of), key)?]).await
}

async fn known(app: &App, user: &UserId, version: u64) -> ApiResult<Backup> {
    app.store.backup(user, Some(version)).await?.ok_or_else(no_such_backup)
}

/// `GET /_matrix/client/v3/room_keys/keys`
async fn all(
    State(app): State<Arc<App>>,
    session: Session,
    Query(version): Query<Version>,
    paper: Paper,
) -> ApiResult<Response> {
    let version = version.number()?;
    known(&app, &session.user, version).await?;
    let mut written = paper.object();
    let rooms = written.out.open("rooms");
    let mut keys = Keys { app: &app, user: &session.user, version, room: None, after: None };
    let mut in_room: Option<(String, Open, Open)> = None;
    loop {
        let page = keys.next().await?;
        if page.is_empty() {
            break;
        }
        for key in page {
            if in_room.as_ref().is_none_or(|(room, ..)| *room != key.room) {
                if let Some((_, object, sessions)) = in_room.take() {
                    written.out.end_even_if_empty(sessions);
                    written.out.end_even_if_empty(object);
                }
                let object = written.out.open(&key.room);
                in_room = Some((key.room.clone(), object, written.out.open("sessions")));
            }
            write(&mut written, key).await?;
        }
    }
    if let Some((_, object, sessions)) = in_room {
        written.out.end_even_if_empty(sessions);
        written.out.end_even_if_empty(object);
    }
    written.out.end_even_if_empty(rooms);
    written.answer()
}

/// `GET /_matrix/client/v3/room_keys/keys/{roomId}`
async fn room(
    State(app): State<Arc<App>>,
    session: Session,
    Path(room): Path<OwnedRoomId>,
    Query(version): Query<Version>,
    paper: Paper,
) -> ApiResult<Response> {
    let version = version.number()?;
    known(&app, &session.user, version).await?;
    let mut written = paper.object();
    let sessions = written.out.open("sessions");
    let mut keys = Keys { app: &app, user: &session.user, version, room: Some(room.as_str()), after: None };
    loop {
        let page = keys.next().await?;
        if page.is_empty() {
            break;
        }
        for key in page {
            write(&mut written, key).await?;
        }
    }
    written.out.end_even_if_empty(sessions);
    written.answer()
}

/// `GET /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`
async fn session(
    State(app): State<Arc<App>>,
    session: Session,
    Path((room, of)): Path<(OwnedRoomId, String)>,
    Query(version): Query<Version>,
) -> ApiResult<Json<Value>> {
    let version = version.number()?;
    known(&app, &session.user, version).await?;
    let key = app.store.backed_up_key(&session.user, version, room.as_str(), &of).await?;
    let key = key.ok_or_else(|| ApiError::not_found("there is no such key"))?;
    Ok(Json(json!({
        "first_message_index": key.first_message_index, "forwarded_count": key.forwarded_count,
        "is_verified": key.is_verified, "session_data": raw(key.data)?,
    })))
}

async fn remove(app: &App, session: Session, version: Version, scope: KeyScope) -> ApiResult<Json<Value>> {
    Ok(extent(app.store.remove_backed_up_keys(session.user, version.number()?, scope).await?))
}

/// `DELETE /_matrix/client/v3/room_keys/keys`
async fn delete_all(
    State(app): State<Arc<App>>,
    session: Session,
    Query(version): Query<Version>,
) -> ApiResult<Json<Value>> {
    remove(&app, session, version, KeyScope::default()).await
}

/// `DELETE /_matrix/client/v3/room_keys/keys/{roomId}`
async fn delete_room(
    State(app): State<Arc<App>>,
    session: Session,
    Path(room): Path<OwnedRoomId>,
    Query(version): Query<Version>,
) -> ApiResult<Json<Value>> {
    remove(&app, session, version, KeyScope { room: Some(room.into()), session: None }).await
}

/// `DELETE /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`
async fn delete_session(
    State(app): State<Arc<App>>,
    session: Session,
    Path((room, of)): Path<(OwnedRoomId, String)>,
    Query(version): Query<Version>,
) -> ApiResult<Json<Value>> {
    remove(&app, session, version, KeyScope { room: Some(room.into()), session: Some(of) }).await
}

/// The keys of a backup, page by page.
struct Keys<'a> {
    app: &'a App,
    user: &'a UserId,
    version: u64,
    room: Option<&'a str>,
    after: Option<(String, String)>,
}

impl Keys<'_> {
    async fn next(&mut self) -> ApiResult<Vec<BackedUpKey>> {
        let after = self.after.as_ref().map(|(room, session)| (&**room, &**session));
        let store = &self.app.store;
        let page = store.backed_up_keys(self.user, self.version, self.room, after, PAGE).await?;
        self.after = page.last().map(|last| (last.room.clone(), last.session.clone()));
        Ok(page)
    }
}

async fn write(written: &mut Written, key: BackedUpKey) -> ApiResult<()> {
    let out = &mut written.out;
    let object = out.open(&key.session);
    out.number("first_message_index", key.first_message_index);
    out.number("forwarded_count", key.forwarded_count);
    out.boolean("is_verified", key.is_verified);
    out.raw("session_data", &key.data);
    out.end(object);
    Ok(written.take().await?)
}

impl From<BackupRefusal> for ApiError {
    fn from(refusal: BackupRefusal) -> Self {
        match refusal {
            BackupRefusal::Unknown => no_such_backup(),
            BackupRefusal::NotCurrent(current) => {
                let error = "this is not the current backup";
                Self::new(StatusCode::FORBIDDEN, "M_WRONG_ROOM_KEYS_VERSION", error)
                    .with("current_version", current.to_string())
            }
            BackupRefusal::OtherAlgorithm => Self::invalid_param("the algorithm of a backup does not change"),
            BackupRefusal::Full => Self::too_large("there is no room for more backups or keys"),
            BackupRefusal::Store(e) => e.into(),
        }
    }
}
