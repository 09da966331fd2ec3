//! Around every route: who sends the request, and whether they may ask as often.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    http::Method,
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    error::{ApiError, ApiResult},
    extract::{Credentials, access_token},
};
use crate::server::{app::App, http::PeerAddress, limits::Origin};

/// Finds out who sends the request, and counts it. Around every route of the API.
///
/// Not an `async fn`: that would hold the request a second time for as long as a long poll waits.
pub fn count(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> impl Future<Output = Response> + Send {
    let peer = request.extensions().get::<PeerAddress>().map(|PeerAddress(peer)| peer.ip());
    let origin = Origin::of(peer, request.headers());
    let answer = match admit(&app, &request, origin) {
        Ok(credentials) => {
            request.extensions_mut().insert(credentials);
            request.extensions_mut().insert(origin);
            Ok(Box::pin(next.run(request)))
        }
        Err(e) => Err(Box::new(e.into_response())),
    };
    async move {
        match answer {
            Ok(answer) => answer.await,
            Err(refused) => *refused,
        }
    }
}

/// Counts the request for its address, until it proves to be of another server. Around every route of the
/// server-server API.
pub async fn count_stranger(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<PeerAddress>().map(|PeerAddress(peer)| peer.ip());
    let origin = Origin::of(peer, request.headers());
    match app.limits.address(origin, app.unix_ms()) {
        Ok(()) => {
            request.extensions_mut().insert(origin);
            next.run(request).await
        }
        Err(e) => ApiError::from(e).into_response(),
    }
}

fn admit(app: &App, request: &Request, origin: Origin) -> ApiResult<Credentials> {
    let now_ms = app.unix_ms();
    let credentials = match access_token(request.headers(), request.uri().query()) {
        None => Credentials::None,
        Some(token) => match app.session(&token)? {
            Some(session) => Credentials::Known(session),
            None => Credentials::Unknown,
        },
    };
    match &credentials {
        Credentials::Known(_) if is_counted_elsewhere(request) => {}
        Credentials::Known(session) => app.limits.user(&session.user, now_ms)?,
        Credentials::Unknown | Credentials::None => app.limits.address(origin, now_ms)?,
    }
    Ok(credentials)
}

/// Whether the request says something of presence, which counts when it is taken.
fn is_counted_elsewhere(request: &Request) -> bool {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    request.method() == Method::PUT
        && ["/presence/{user_id}/status", "/presence/{user_id}/device"].iter().any(|end| path.ends_with(end))
}
