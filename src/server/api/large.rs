//! Requests whose answers can be large: they are made where they keep no other request waiting.
//!
//! `/sync` is not among them: most of its answers are small, and which are not the stream knows.

use std::sync::Arc;

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequestParts, MatchedPath, Request},
    http::{Method, header::CONTENT_TYPE, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use ruma::ServerName;

use super::{
    error::{ApiError, ApiResult},
    extract::read_body,
};
use crate::server::{
    answers::{NoRoom, Sheet, Size, aside},
    app::App,
    json::Writer,
};

/// By method and the end of a route's path.
const LARGE: &[(Method, &str, Size)] = &[
    (Method::GET, "/rooms/{room_id}/initialSync", Size::Whole),
    (Method::GET, "/rooms/{room_id}/state", Size::Whole),
    (Method::GET, "/rooms/{room_id}/members", Size::Whole),
    (Method::GET, "/rooms/{room_id}/joined_members", Size::Whole),
    (Method::GET, "/rooms/{room_id}/messages", Size::Page),
    (Method::GET, "/rooms/{room_id}/context/{event_id}", Size::Whole),
    (Method::GET, "/rooms/{room_id}/relations/{event_id}", Size::Page),
    (Method::GET, "/rooms/{room_id}/relations/{event_id}/{rel_type}", Size::Page),
    (Method::GET, "/rooms/{room_id}/relations/{event_id}/{rel_type}/{kind}", Size::Page),
    (Method::GET, "/rooms/{room_id}/threads", Size::Page),
    (Method::GET, "/rooms/{room}/hierarchy", Size::Page),
    // Before what its path ends with too.
    (Method::POST, "/user_directory/search", Size::Page),
    (Method::POST, "/search", Size::Search),
    (Method::GET, "/publicRooms", Size::Page),
    (Method::POST, "/publicRooms", Size::Page),
    (Method::GET, "/joined_rooms", Size::Page),
    (Method::GET, "/notifications", Size::Page),
    (Method::GET, "/room_keys/keys", Size::Whole),
    (Method::GET, "/room_keys/keys/{room_id}", Size::Whole),
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
    let sheet = Sheet::new(app.answers.place(&client, size).await);
    let shared = OnTheDesk(Arc::new(Mutex::new(Some(sheet))));
    let work = async {
        let mut request = Request::from_parts(head, Body::from(body));
        request.extensions_mut().insert(shared.clone());
        let answer = next.run(request).await;
        let sheet = shared.0.lock().take();
        // Who took the sheet has written on it, or refuses in a few words.
        let Some(sheet) = sheet else { return Ok(answer) };
        let (head, body) = answer.into_parts();
        let body = to_bytes(body, usize::MAX).await.map_err(ApiError::internal)?;
        Ok(Response::from_parts(head, sheet.body_of(body)?))
    };
    aside(work).await
}

/// The sheet of a request, until its handler takes it.
#[derive(Clone)]
struct OnTheDesk(Arc<Mutex<Option<Sheet>>>);

/// A JSON answer that its handler writes piece by piece.
pub(super) struct Written {
    pub(super) out: Writer,
    sheet: Sheet,
}

impl Written {
    /// Takes over what is written, once that is a piece, and keeps the place: for who has much in memory meanwhile.
    pub(super) fn put(&mut self) -> Result<(), NoRoom> {
        self.sheet.put(&mut self.out)
    }

    /// Takes over what is written, once that is a piece, and lets others go first when it is their turn.
    pub(super) async fn take(&mut self) -> Result<(), NoRoom> {
        self.sheet.take(&mut self.out).await
    }

    /// The answer, with the outermost object or array closed.
    pub(super) fn answer(self) -> ApiResult<Response> {
        let body = self.sheet.body(self.out)?;
        Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
    }
}

/// What the answer of a handler is written on.
pub(super) struct Paper(Sheet);

impl Paper {
    /// For an answer to another server, as soon as it is its turn. Who writes on it does so [`aside`].
    pub(super) async fn for_server(app: &App, server: &ServerName, size: Size) -> Self {
        Self(Sheet::new(app.answers.place(server.as_str(), size).await))
    }

    /// Begins an answer that is an object.
    pub(super) fn object(self) -> Written {
        Written { out: Writer::object(), sheet: self.0 }
    }

    /// Begins an answer that is an array.
    pub(super) fn array(self) -> Written {
        Written { out: Writer::array(), sheet: self.0 }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Paper {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let sheet = parts.extensions.get::<OnTheDesk>().and_then(|shared| shared.0.lock().take());
        sheet.map(Self).ok_or_else(|| ApiError::internal("a route that is not large writes a large answer"))
    }
}
