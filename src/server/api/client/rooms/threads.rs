//! The threads of a room: `/threads`.

use std::sync::Arc;

use axum::{Router, extract::State, response::Response, routing::get};
use ruma::OwnedRoomId;
use serde::Deserialize;

use super::form::{page_token, place, write_with_relations};
use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{Path, Query},
        large::Paper,
    },
    app::App,
    rooms::{Page, ThreadsWanted},
    session::Session,
};

/// Threads on a page when the client does not say, and at most.
const PAGE: (usize, usize) = (20, 100);

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/_matrix/client/v1/rooms/{room_id}/threads", get(threads))
        .route("/_matrix/client/unstable/org.matrix.msc3856/rooms/{room_id}/threads", get(threads))
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    include: Include,
    limit: Option<usize>,
    from: Option<String>,
}

#[derive(Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Include {
    #[default]
    All,
    Participated,
}

/// `GET /_matrix/client/v1/rooms/{roomId}/threads`
async fn threads(
    State(app): State<Arc<App>>,
    session: Session,
    paper: Paper,
    Path(room): Path<OwnedRoomId>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    let limit = wanted.limit.unwrap_or(PAGE.0);
    if limit == 0 {
        return Err(ApiError::invalid_param("limit must be greater than 0"));
    }
    let ignored = app.contacts.ignored_by(&session.user);
    let wanted = ThreadsWanted {
        before: wanted.from.as_deref().map(place).transpose()?,
        with_reader: wanted.include == Include::Participated,
        limit: limit.min(PAGE.1),
    };
    let Page { events, end, .. } = app.rooms.threads(&session.user, &room, &ignored, wanted).await?;
    let mut answer = paper.object();
    let chunk = answer.out.open_array("chunk");
    write_with_relations((&app, &session), &room, &events, &mut answer).await?;
    answer.out.end_even_if_empty(chunk);
    if let Some(end) = end {
        answer.out.text("next_batch", &page_token(end));
    }
    answer.answer()
}
