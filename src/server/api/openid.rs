//! Who holds a token of [OpenID](https://spec.matrix.org/latest/server-server-api/#openid): asked by services that somebody
//! showed one to.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    error::{ApiError, ApiResult},
    extract::{Json, Query},
};
use crate::server::{app::App, session::TokenHash};

/// Where that is asked.
pub const USERINFO: &str = "/_matrix/federation/v1/openid/userinfo";

/// The query of [`userinfo`].
#[derive(Deserialize)]
pub struct Asked {
    access_token: Option<String>,
}

/// `GET /_matrix/federation/v1/openid/userinfo`
pub async fn userinfo(State(app): State<Arc<App>>, Query(asked): Query<Asked>) -> ApiResult<Json<Value>> {
    let token = asked.access_token.ok_or_else(|| ApiError::missing_token("access_token is not given"))?;
    let user = app.store.openid_user(TokenHash::of(&token), app.unix_ms()).await?;
    let user = user.ok_or_else(|| ApiError::unknown_token("access_token is not valid, or not any longer"))?;
    Ok(Json(json!({ "sub": user })))
}
