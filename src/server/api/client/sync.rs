//! `/sync`: the stream of everything that concerns a user, by long polling.

use std::{future::ready, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::State,
    http::{Request, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;

use crate::{
    core::presence::{DeviceType, SetPresence},
    server::{
        api::{
            around,
            error::{ApiError, ApiResult},
            extract::{Query, access_token},
        },
        app::App,
        http::{Lendable, Making},
        session::Session,
        stream::{
            self, Entered, Poll, Sources, Token, Told,
            sync::{Form, StateTold},
        },
    },
};

/// Answers to joins that a request names, at most.
const MAX_ENTERED: usize = 50;

/// Where it is answered.
const PATHS: [&str; 2] = ["/_matrix/client/v3/sync", "/_matrix/client/r0/sync"];

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    PATHS.into_iter().fold(Router::new(), |routes, path| routes.route(path, get(sync)))
}

#[derive(Deserialize)]
struct Parameters {
    since: Option<String>,
    filter: Option<String>,
    #[serde(default)]
    full_state: bool,
    timeout: Option<u64>,
    set_presence: Option<String>,
    #[serde(rename = "org.pilotlight.device_type")]
    device_type: Option<String>,
    #[serde(default, rename = "org.pilotlight.joined")]
    entered: Vec<String>,
    #[serde(default)]
    use_state_after: bool,
    #[serde(default, rename = "org.matrix.msc4222.use_state_after")]
    use_state_after_unstable: bool,
}

/// `GET /_matrix/client/v3/sync`
async fn sync(
    State(app): State<Arc<App>>,
    session: Session,
    Query(parameters): Query<Parameters>,
    lendable: Option<Extension<Lendable>>,
) -> Response {
    around::in_a_while(lendable, answer(app, session, parameters)).await
}

/// Answers a `/sync` of somebody who was seen lately; `None`: it is another request, or needs more to be answered.
pub(super) fn shortcut(app: &Arc<App>, request: &Request<()>) -> Option<Making> {
    if !PATHS.contains(&request.uri().path()) {
        return None;
    }
    let query = request.uri().query();
    let session = app.accounts.recent_session(&access_token(request.headers(), query)?)?;
    let Query(parameters) = Query::parse(query).ok()?;
    Some(match app.limits.user(&session.user, app.now().as_millis()) {
        Ok(()) => around::around(answer(Arc::clone(app), session, parameters)),
        Err(e) => around::around(ready(ApiError::from(e))),
    })
}

/// Answers as soon as there is something to say.
async fn answer(app: Arc<App>, session: Session, parameters: Parameters) -> ApiResult<Response> {
    let mut poll = parse(&app, &session, parameters).await?;
    let sources = Sources::new(Arc::clone(&app.stream));
    let body = match poll.answer(&sources, &session).await? {
        Told::Answer(body) => body,
        Told::News(news) => {
            let (events, now) = (poll.filter.format(), sources.parts().clock.now());
            let form =
                Form { viewer: &session, events, fields: poll.filter.fields(), now, state: poll.state };
            let answer = stream::sync::answer(news, form);
            app.answers.body(session.user.as_str(), answer)?
        }
    };
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

async fn parse(app: &App, session: &Session, parameters: Parameters) -> ApiResult<Poll> {
    let since = match parameters.since.as_deref() {
        None | Some("") => None,
        Some(since) => Some(
            since
                .parse::<Token>()
                .map_err(|_| ApiError::invalid_param("since is not a token of this server"))?,
        ),
    };
    Ok(Poll {
        since,
        filter: app.stream.filters.named(&session.user, parameters.filter.as_deref()).await?,
        full_state: parameters.full_state,
        timeout: Duration::from_millis(parameters.timeout.unwrap_or(0)),
        set_presence: set_presence(parameters.set_presence.as_deref())?,
        device_type: device_type(parameters.device_type.as_deref())?,
        entered: entered(&parameters.entered)?,
        state: match (parameters.use_state_after, parameters.use_state_after_unstable) {
            (true, _) => StateTold::After,
            (false, true) => StateTold::AfterUnstable,
            (false, false) => StateTold::Before,
        },
    })
}

/// Of which rooms the device has the answer to its join.
pub(super) fn entered(tokens: &[String]) -> ApiResult<Vec<Entered>> {
    if tokens.len() > MAX_ENTERED {
        return Err(ApiError::invalid_param(format!("org.pilotlight.joined: at most {MAX_ENTERED}")));
    }
    let parse = |token: &String| {
        token
            .parse()
            .map_err(|_| ApiError::invalid_param("org.pilotlight.joined is not a token of this server"))
    };
    tokens.iter().map(parse).collect()
}

/// What a device says of itself by `set_presence`; `None`: it does not count as connected.
pub(super) fn set_presence(word: Option<&str>) -> ApiResult<Option<SetPresence>> {
    match word {
        None => Ok(Some(SetPresence::Absent)),
        Some("online") => Ok(Some(SetPresence::Online)),
        Some("unavailable") => Ok(Some(SetPresence::Unavailable)),
        Some("offline") => Ok(None),
        Some(_) => Err(ApiError::invalid_param("set_presence is online, unavailable or offline")),
    }
}

/// What kind of device it says that it is.
pub(super) fn device_type(word: Option<&str>) -> ApiResult<Option<DeviceType>> {
    let device_type = word.map(str::parse::<DeviceType>).transpose();
    device_type.map_err(|e| ApiError::invalid_param(format!("org.pilotlight.device_type: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tens of thousands wait at once.
    #[test]
    fn what_waits_for_an_answer_is_small() {
        fn size<F: Future>(_: impl FnOnce(Arc<App>, Session, Parameters) -> F) -> usize {
            size_of::<F>()
        }
        let size = size(answer);
        assert!(size <= 1024, "{size} bytes");
    }
}
