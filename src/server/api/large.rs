//! Requests whose answers can be large: they are made where they keep no other request waiting.
//!
//! `/sync` is not among them: most of its answers are small, and which are not the stream knows.

use std::sync::Arc;

use axum::{
    body::{Body, to_bytes},
    extract::{MatchedPath, Request},
    http::Method,
    middleware::Next,
    response::Response,
};

use super::{error::ApiError, extract::read_body};
use crate::server::{answers::Size, app::App};

/// By method and the end of a route's path.
const LARGE: [(Method, &str, Size); 18] = [
    (Method::GET, "/rooms/{room_id}/initialSync", Size::Whole),
    (Method::GET, "/rooms/{room_id}/state", Size::Whole),
    (Method::GET, "/rooms/{room_id}/members", Size::Whole),
    (Method::GET, "/rooms/{room_id}/joined_members", Size::Whole),
    (Method::GET, "/rooms/{room_id}/messages", Size::Page),
    (Method::GET, "/rooms/{room_id}/context/{event_id}", Size::Whole),
    (Method::GET, "/rooms/{room_id}/relations/{event_id}", Size::Page),
    (Method::GET, "/rooms/{room_id}/relations/{event_id}/{rel_type}", Size::Page),
    (Method::GET, "/rooms/{room_id}/relations/{event_id}/{rel_type}/{kind}", Size::Page),
    (Method::GET, "/publicRooms", Size::Page),
    (Method::POST, "/publicRooms", Size::Page),
    (Method::POST, "/user_directory/search", Size::Page),
    (Method::GET, "/joined_rooms", Size::Page),
    (Method::POST, "/keys/query", Size::Page),
    (Method::GET, "/keys/changes", Size::Whole),
    (Method::GET, "/presence/list/{user_id}", Size::Page),
    (Method::GET, "/presence/requests/{user_id}", Size::Page),
    (Method::GET, "/presence/groups/{user_id}", Size::Page),
];

/// How large the answer can be; `None`: it is small.
pub(super) fn size(request: &Request) -> Option<Size> {
    let path = request.extensions().get::<MatchedPath>()?.as_str();
    // A HEAD costs as much as the GET.
    let asked = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let found = LARGE.iter().find(|(method, end, _)| method == asked && path.ends_with(end));
    found.map(|(_, _, size)| *size)
}

/// Passes the request of `client` on when there is a place for its answer.
pub(super) async fn run(
    app: Arc<App>,
    client: String,
    size: Size,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    // All of the request first: who sends it slowly must not hold a place meanwhile.
    let (head, body) = request.into_parts();
    let received = read_body(Request::from_parts(head.clone(), body), &app).await?;
    let body = received.bytes.clone();
    let place = app.answers.place(&client, size).await;
    let (head, body) = place
        .make(async {
            let answer = next.run(Request::from_parts(head, Body::from(body))).await;
            let (head, body) = answer.into_parts();
            to_bytes(body, usize::MAX).await.map(|body| (head, body)).map_err(ApiError::internal)
        })
        .await?;
    Ok(Response::from_parts(head, place.body(body).await))
}
