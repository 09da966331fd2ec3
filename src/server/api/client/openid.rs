//! Tokens with which users show to others who they are: `/user/{userId}/openid/request_token`.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State, routing::get};
use ruma::{OwnedUserId, api::client::account::request_openid_token};
use serde_json::{Map, Value, json};

use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Path},
        openid::{USERINFO, userinfo},
        ruma_route::RumaRoute,
    },
    app::App,
    session::{Session, Token, TokenHash},
};

/// How long a token is valid.
const LIFETIME: Duration = Duration::from_secs(3600);

/// The routes of this module. Whose a token is can be asked here, too: a server that is on its own has no other place.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .ruma_route::<request_openid_token::v3::Request, _, _>(request_token)
        .route(USERINFO, get(userinfo))
}

/// `POST /_matrix/client/v3/user/{userId}/openid/request_token`
async fn request_token(
    State(app): State<Arc<App>>,
    session: Session,
    Path(user): Path<OwnedUserId>,
    Json(_): Json<Map<String, Value>>,
) -> ApiResult<Json<Value>> {
    if session.user != user {
        return Err(ApiError::forbidden("this is somebody else"));
    }
    let (token, now_ms) = (Token::random(), app.unix_ms());
    let expires_ms = now_ms + u64::try_from(LIFETIME.as_millis()).unwrap_or(u64::MAX);
    app.store.put_openid_token(user, TokenHash::of(token.as_str()), now_ms, expires_ms).await?;
    Ok(Json(json!({
        "access_token": token.as_str(), "token_type": "Bearer", "matrix_server_name": app.server_name(),
        "expires_in": LIFETIME.as_secs(),
    })))
}
