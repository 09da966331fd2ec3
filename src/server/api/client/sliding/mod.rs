//! Simplified sliding sync (MSC4186): windows on the user's rooms, by long polling. One thing, asked for in two forms.

pub mod accepted;
pub mod before;
mod parts;

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
    routing::post,
};

use self::{
    accepted::Accepted,
    before::{Before, Parameters},
};
use crate::server::{
    api::{
        around,
        error::ApiResult,
        extract::{Json, Query},
    },
    app::App,
    http::Lendable,
    session::Session,
    stream::{
        Sources,
        sliding::{self, request::Request},
    },
};

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/_matrix/client/v4/sync", post(accepted))
        .route("/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", post(before))
}

/// `POST /_matrix/client/v4/sync`
async fn accepted(
    State(app): State<Arc<App>>,
    session: Session,
    lendable: Option<Extension<Lendable>>,
    Json(body): Json<Accepted>,
) -> Response {
    let request = accepted::parse(body);
    around::in_a_while(lendable, answer(app, session, request)).await
}

/// `POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync`
async fn before(
    State(app): State<Arc<App>>,
    session: Session,
    Query(parameters): Query<Parameters>,
    lendable: Option<Extension<Lendable>>,
    Json(body): Json<Before>,
) -> Response {
    let request = before::parse(parameters, body, &session.user);
    around::in_a_while(lendable, answer(app, session, request)).await
}

/// Answers as soon as there is something to say.
async fn answer(app: Arc<App>, session: Session, request: ApiResult<Request>) -> ApiResult<Response> {
    // Boxed, as it waits.
    let request = Box::new(request?);
    let sources = Sources::new(Arc::clone(&app.stream));
    let body = sliding::answer(&request, &sources, &session).await?;
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tens of thousands wait at once.
    #[test]
    fn what_waits_for_an_answer_is_small() {
        fn size<F: Future>(_: impl FnOnce(Arc<App>, Session, ApiResult<Request>) -> F) -> usize {
            size_of::<F>()
        }
        let size = size(answer);
        assert!(size <= 1536, "{size} bytes");
    }
}
