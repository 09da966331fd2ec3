//! Around every route: who sends the request, and whether they may ask as often.

use std::{net::Ipv6Addr, pin::Pin, sync::Arc};

use axum::{
    extract::{MatchedPath, Request, State},
    http::Method,
    middleware::Next,
    response::{IntoResponse, Response},
};
use ruma::{OwnedDeviceId, UserId};
use serde::Deserialize;

use super::{
    error::ApiError,
    extract::{By, Credentials, Pretence, Query, access_token},
    guest, large,
};
use crate::server::{
    accounts::login::Whose, app::App, limits::Origin, registration::Registration, session::Session,
    store::StoreError,
};

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
    if let Some(one) = app.registrations.of_token(&token) {
        let one = Arc::clone(one);
        return Box::pin(async move { as_one_of(&app, one, request, next).await });
    }
    if let Some(session) = app.accounts.recent_session(&token) {
        return pass(&app, request, next, Credentials::Known(session));
    }
    Box::pin(async move {
        match app.accounts.session(&token).await {
            Ok(whose) => {
                let credentials = match whose {
                    Whose::Of(session) => Credentials::Known(session),
                    Whose::Ended => Credentials::Ended,
                    Whose::Nobodys => Credentials::Unknown,
                };
                pass(&app, request, next, credentials).await
            }
            Err(e) => ApiError::from(e).into_response(),
        }
    })
}

/// Passes the request of an application service on, as the user that it names.
async fn as_one_of(app: &Arc<App>, one: Arc<Registration>, mut request: Request, next: Next) -> Response {
    let named: AsWhom = match Query::parse(request.uri().query()) {
        Ok(Query(named)) => named,
        Err(e) => return e.into_response(),
    };
    match acting_as(app, &one, named).await {
        Ok(credentials) => {
            request.extensions_mut().insert(By(Some(one)));
            pass(app, request, next, credentials).await
        }
        Err(e) => ApiError::from(e).into_response(),
    }
}

/// The user and device as whom an application service says that it acts.
#[derive(Deserialize)]
struct AsWhom {
    user_id: Option<String>,
    device_id: Option<OwnedDeviceId>,
    #[serde(rename = "org.matrix.msc3202.device_id")]
    device_id_too: Option<OwnedDeviceId>,
}

async fn acting_as(app: &App, one: &Registration, named: AsWhom) -> Result<Credentials, StoreError> {
    let user = match named.user_id.filter(|user| !user.is_empty()).map(UserId::parse) {
        None => one.sender.clone(),
        Some(Ok(user)) => user,
        Some(Err(_)) => return Ok(Credentials::Refused(Pretence::NoUser)),
    };
    if !one.has_user(&user) {
        return Ok(Credentials::Refused(Pretence::Foreign));
    }
    if app.store.login(&user).await?.is_none_or(|login| login.deactivated) {
        return Ok(Credentials::Refused(Pretence::Unregistered));
    }
    let Some(device) = named.device_id.or(named.device_id_too) else {
        return Ok(Credentials::Known(Session::without_device(user)));
    };
    Ok(match app.store.device(&user, &device).await? {
        Some(_) => Credentials::Known(Session { user, device }),
        None => Credentials::Refused(Pretence::Device),
    })
}

/// Whether an application service asks that is not limited.
fn is_free(request: &Request, session: &Session) -> bool {
    let by = request.extensions().get::<By>().and_then(|By(one)| one.as_ref());
    by.is_some_and(|one| !one.limits(&session.user))
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
        Credentials::Known(session) if is_free(&request, session) => Ok(()),
        Credentials::Known(session) => app.limits.user(&session.user, now_ms),
        Credentials::Unknown | Credentials::Ended | Credentials::Refused(_) | Credentials::None => {
            app.limits.address(origin, now_ms)
        }
    };
    let allowed = match &credentials {
        Credentials::Known(session) if app.guests.is_guest(&session.user) => guest::check(&request),
        _ => Ok(()),
    };
    match counted.map_err(ApiError::from).and(allowed) {
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
        Err(e) => Box::pin(std::future::ready(e.into_response())),
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
        Credentials::Unknown | Credentials::Ended | Credentials::Refused(_) | Credentials::None => {
            format!("{origin:?}")
        }
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
