//! What application services and those who look for their networks ask: pings, third-party networks.
//!
//! Application service API, "Pinging" and "Third-party networks".

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use ruma::{OwnedRoomAliasId, OwnedUserId};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{By, Json, Path, Query},
    },
    app::App,
    app_service::{PingError, Sought},
    session::Session,
};

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    let mut router = Router::new()
        .route("/_matrix/client/v1/appservice/{id}/ping", post(ping))
        .route("/_matrix/client/unstable/fi.mau.msc2659/appservice/{id}/ping", post(ping));
    for version in ["r0", "v3"] {
        let path = format!("/_matrix/client/{version}/thirdparty");
        router = router
            .route(&format!("{path}/protocols"), get(protocols))
            .route(&format!("{path}/protocol/{{protocol}}"), get(protocol))
            .route(&format!("{path}/location"), get(behind_alias))
            .route(&format!("{path}/location/{{protocol}}"), get(locations))
            .route(&format!("{path}/user"), get(behind_user))
            .route(&format!("{path}/user/{{protocol}}"), get(users));
    }
    router
}

#[derive(Deserialize)]
struct Ping {
    transaction_id: Option<String>,
}

/// `POST /_matrix/client/v1/appservice/{appserviceId}/ping`
async fn ping(
    State(app): State<Arc<App>>,
    _: Session,
    By(by): By,
    Path(id): Path<String>,
    Json(ping): Json<Ping>,
) -> ApiResult<Json<Value>> {
    let one = by.filter(|one| one.id == id);
    let one = one.ok_or_else(|| ApiError::forbidden("this is not the token of that application service"))?;
    match app.app_services.ping(&one, ping.transaction_id.as_deref()).await {
        Ok(took) => Ok(Json(json!({ "duration_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX) }))),
        Err(e) => Err(not_answered(e)),
    }
}

fn not_answered(e: PingError) -> ApiError {
    let (status, errcode) = match &e {
        PingError::NoUrl => (StatusCode::BAD_REQUEST, "M_URL_NOT_SET"),
        PingError::Status(..) => (StatusCode::BAD_GATEWAY, "M_BAD_STATUS"),
        PingError::Timeout => (StatusCode::GATEWAY_TIMEOUT, "M_CONNECTION_TIMEOUT"),
        PingError::Connection(_) => (StatusCode::BAD_GATEWAY, "M_CONNECTION_FAILED"),
    };
    let error = ApiError::new(status, errcode, e.to_string());
    match e {
        PingError::Status(status, body) => error.with("status", status.as_u16()).with("body", body),
        PingError::NoUrl | PingError::Timeout | PingError::Connection(_) => error,
    }
}

/// `GET /_matrix/client/v3/thirdparty/protocols`: what bridges say of the networks that they are bridges to.
async fn protocols(State(app): State<Arc<App>>, session: Session) -> Json<Value> {
    let mut all = Map::new();
    for name in app.registrations.protocols() {
        if let Some(about) = app.app_services.protocol(&session.user, &name).await {
            all.insert(name, about);
        }
    }
    Json(all.into())
}

/// `GET /_matrix/client/v3/thirdparty/protocol/{protocol}`
async fn protocol(
    State(app): State<Arc<App>>,
    session: Session,
    Path(name): Path<String>,
) -> ApiResult<Json<Value>> {
    let about = app.app_services.protocol(&session.user, &name).await;
    about.map(Json).ok_or_else(|| ApiError::not_found("there is no bridge to this network"))
}

/// What is looked for by. A client can show its token there too, and an application service as whom it asks.
type Fields = Vec<(String, String)>;

fn without_session(mut fields: Fields) -> Fields {
    fields.retain(|(key, _)| !["access_token", "user_id", "device_id"].contains(&key.as_str()));
    fields
}

/// `GET /_matrix/client/v3/thirdparty/user/{protocol}`
async fn users(
    State(app): State<Arc<App>>,
    session: Session,
    Path(network): Path<String>,
    Query(fields): Query<Fields>,
) -> Json<Vec<Value>> {
    let sought = Sought::Users(&network, &without_session(fields));
    Json(app.app_services.of_networks(&session.user, &sought).await)
}

/// `GET /_matrix/client/v3/thirdparty/location/{protocol}`
async fn locations(
    State(app): State<Arc<App>>,
    session: Session,
    Path(network): Path<String>,
    Query(fields): Query<Fields>,
) -> Json<Vec<Value>> {
    let sought = Sought::Locations(&network, &without_session(fields));
    Json(app.app_services.of_networks(&session.user, &sought).await)
}

#[derive(Deserialize)]
struct ByUser {
    userid: OwnedUserId,
}

/// `GET /_matrix/client/v3/thirdparty/user`
async fn behind_user(
    State(app): State<Arc<App>>,
    session: Session,
    Query(ByUser { userid }): Query<ByUser>,
) -> Json<Vec<Value>> {
    Json(app.app_services.of_networks(&session.user, &Sought::Behind(&userid)).await)
}

#[derive(Deserialize)]
struct ByAlias {
    alias: OwnedRoomAliasId,
}

/// `GET /_matrix/client/v3/thirdparty/location`
async fn behind_alias(
    State(app): State<Arc<App>>,
    session: Session,
    Query(ByAlias { alias }): Query<ByAlias>,
) -> Json<Vec<Value>> {
    Json(app.app_services.of_networks(&session.user, &Sought::BehindAlias(&alias)).await)
}
