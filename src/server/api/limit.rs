//! Around every route: who sends the request, and whether they may ask as often.

use std::{net::Ipv6Addr, pin::Pin, sync::Arc};

use axum::{
    extract::{MatchedPath, Request, State},
    http::Method,
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    error::ApiError,
    extract::{Credentials, access_token},
    large,
};
use crate::server::{app::App, limits::Origin};

/// Finds out who sends the request, and counts it. Around every route of the API.
///
/// Not an `async fn`: that would hold the request a second time for as long as a long poll waits. Only who
/// was not seen lately is looked for in the store.
pub fn count(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Pin<Box<dyn Future<Output = Response> + Send>> {
    let token = match access_token(request.headers(), request.uri().query()) {
        None => return pass(&app, request, next, Credentials::None),
        Some(token) => token,
    };
    if let Some(session) = app.accounts.recent_session(&token) {
        return pass(&app, request, next, Credentials::Known(session));
    }
    Box::pin(async move {
        match app.accounts.session(&token).await {
            Ok(session) => {
                let credentials = session.map_or(Credentials::Unknown, Credentials::Known);
                pass(&app, request, next, credentials).await
            }
            Err(e) => ApiError::from(e).into_response(),
        }
    })
}

/// Counts the request and passes it on, unless there were too many.
fn pass(
    app: &Arc<App>,
    mut request: Request,
    next: Next,
    credentials: Credentials,
) -> Pin<Box<dyn Future<Output = Response> + Send>> {
    let origin = origin(&request);
    let now_ms = app.now().as_millis();
    let counted = match &credentials {
        Credentials::Known(_) if is_counted_elsewhere(&request) => Ok(()),
        Credentials::Known(session) => app.limits.user(&session.user, now_ms),
        Credentials::Unknown | Credentials::None => app.limits.address(origin, now_ms),
    };
    match counted {
        Ok(()) => {
            let client = large::size(&request).map(|size| (size, client_of(&credentials, origin)));
            request.extensions_mut().insert(credentials);
            match client {
                None => Box::pin(next.run(request)),
                Some((size, client)) => {
                    let answer = large::run(Arc::clone(app), client, size, request, next);
                    Box::pin(async move { answer.await.unwrap_or_else(IntoResponse::into_response) })
                }
            }
        }
        Err(e) => Box::pin(std::future::ready(ApiError::from(e).into_response())),
    }
}

/// Where the request came from, as the door found out.
fn origin(request: &Request) -> Origin {
    let unknown = || Origin::new(Ipv6Addr::UNSPECIFIED.into());
    request.extensions().get::<Origin>().copied().unwrap_or_else(unknown)
}

/// For whom a large answer counts: the user, or where a stranger's request came from.
fn client_of(credentials: &Credentials, origin: Origin) -> String {
    match credentials {
        Credentials::Known(session) => session.user.to_string(),
        Credentials::Unknown | Credentials::None => format!("{origin:?}"),
    }
}

/// Counts the request for its address, until it proves to be of another server. Around every route of the
/// server-server API.
pub async fn count_stranger(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match app.limits.address(origin(&request), app.now().as_millis()) {
        Ok(()) => next.run(request).await,
        Err(e) => ApiError::from(e).into_response(),
    }
}

/// Whether the request says something of presence, which counts when it is taken.
fn is_counted_elsewhere(request: &Request) -> bool {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    request.method() == Method::PUT
        && ["/presence/{user_id}/status", "/presence/{user_id}/device"].iter().any(|end| path.ends_with(end))
}
