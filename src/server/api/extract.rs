//! How a request becomes types: the session of its token, ruma's request types, and our own bodies.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, RawPathParams, Request},
    http::{HeaderMap, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::BytesMut;
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedUserId,
    api::{
        IncomingRequest, IncomingRequestExt, OutgoingResponse, OutgoingResponseExt,
        error::{DeserializationError, FromHttpRequestError},
    },
};
use serde::de::{DeserializeOwned, IgnoredAny};

use super::error::ApiError;
use crate::server::{
    accounts::login::Whose,
    app::App,
    http::bodies,
    json::{is_list, json_depth},
    limits::Origin,
    registration::Registration,
    rooms::Actor,
    session::Session,
};

/// What became of the access token; in the extensions of every request to the API.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// There was none.
    None,
    /// It is nobody's.
    Unknown,
    /// It was somebody's, who has to get the next.
    Ended,
    /// It is somebody's.
    Known(Session),
    /// It is an application service's, which wants to be somebody that it is not.
    Refused(Pretence),
}

/// As whom an application service cannot act.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pretence {
    /// A user who is not its own.
    Foreign,
    /// A user whom it did not register.
    Unregistered,
    /// A device that the user does not have.
    Device,
    /// What it names is no user.
    NoUser,
}

impl From<Pretence> for ApiError {
    fn from(pretence: Pretence) -> Self {
        match pretence {
            Pretence::Foreign => Self::forbidden("this user is not one of the application service"),
            Pretence::Unregistered => Self::forbidden("the application service has not registered this user"),
            Pretence::Device => Self::new(
                axum::http::StatusCode::BAD_REQUEST,
                "M_UNKNOWN_DEVICE",
                "this user has no such device",
            ),
            Pretence::NoUser => Self::invalid_param("user_id is not a user ID"),
        }
    }
}

/// The application service that sends the request, if one does.
#[derive(Clone, Debug, Default)]
pub struct By(pub Option<Arc<Registration>>);

impl By {
    /// Whoever acts, at the time that an application service says; that others say one makes no difference.
    pub fn at(&self, actor: Actor, time: Option<MilliSecondsSinceUnixEpoch>) -> Actor {
        actor.at(time.filter(|_| self.0.is_some()).map(|time| time.get().into()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

impl FromRequestParts<Arc<App>> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, ApiError> {
        match parts.extensions.get::<Credentials>() {
            Some(Credentials::Known(session)) => Ok(session.clone()),
            Some(Credentials::Unknown) => Err(invalid_token()),
            Some(Credentials::Ended) => Err(ended_token()),
            Some(Credentials::Refused(pretence)) => Err((*pretence).into()),
            Some(Credentials::None) => Err(ApiError::missing_token("this endpoint needs an access token")),
            None => Err(ApiError::internal("a route outside the API asks who sends the request")),
        }
    }
}

/// Where none is needed: `None` without an access token. One that is nobody's is refused all the same.
impl OptionalFromRequestParts<Arc<App>> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Option<Self>, ApiError> {
        match parts.extensions.get::<Credentials>() {
            Some(Credentials::None) => Ok(None),
            _ => <Self as FromRequestParts<_>>::from_request_parts(parts, app).await.map(Some),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let origin = parts.extensions.get::<Self>().copied();
        origin.ok_or_else(|| ApiError::internal("a route outside the API asks where the request came from"))
    }
}

/// The token from the `Authorization` header or, as older clients send it, from the query.
pub fn access_token(headers: &HeaderMap, query: Option<&str>) -> Option<String> {
    if let Some(value) = headers.get(axum::http::header::AUTHORIZATION) {
        // The name of a scheme is the same in upper and lower case, by HTTP.
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned());
    }
    let pairs: Vec<(String, String)> = serde_html_form::from_str(query?).ok()?;
    pairs.into_iter().find(|(key, _)| key == "access_token").map(|(_, token)| token)
}

/// A request or an answer that ruma has a type for.
///
/// As an argument it is parsed from path, query and body; as a result it is written as JSON.
#[derive(Debug)]
pub struct Ruma<T>(pub T);

impl<T: IncomingRequest + Send> FromRequest<Arc<App>> for Ruma<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let path_args = RawPathParams::from_request_parts(&mut parts, app)
            .await
            .map_err(|_| ApiError::invalid_param("the path is not valid UTF-8"))?;
        let path_args: Vec<&str> = path_args.iter().map(|(_, value)| value).collect();
        let received = read_body(Request::from_parts(parts.clone(), body), app).await?;
        let body = &received.bytes;
        // Old clients send an empty body where an empty object is meant.
        let body: &[u8] =
            if body.is_empty() && parts.method != axum::http::Method::GET { b"{}" } else { body };
        let request = axum::http::Request::from_parts(parts.clone(), body);
        check_form(request.body())?;
        T::try_from_http_request(request, &path_args).map(Ruma).map_err(|e| request_error(body, e))
    }
}

impl<T: OutgoingResponse> IntoResponse for Ruma<T> {
    fn into_response(self) -> Response {
        match self.0.try_into_http_response::<BytesMut>() {
            Ok(response) => response.map(|body| axum::body::Body::from(body.freeze())).into_response(),
            Err(e) => ApiError::internal(e).into_response(),
        }
    }
}

/// A JSON body of our own type; as a result, written as JSON.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let received = read_body(request, app).await?;
        let body = &received.bytes;
        let body: &[u8] = if body.is_empty() { b"{}" } else { body };
        check_form(body)?;
        serde_json::from_slice(body).map(Json).map_err(|e| json_error(body, e))
    }
}

impl<T: serde::Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// A query string of our own type.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::parse(parts.uri.query())
    }
}

impl<T: DeserializeOwned> Query<T> {
    /// What a query says.
    ///
    /// # Errors
    /// `M_INVALID_PARAM` when it is not one of that type.
    pub fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        serde_html_form::from_str(query.unwrap_or_default())
            .map(Query)
            .map_err(|e| ApiError::invalid_param(format!("query: {e}")))
    }
}

/// Whether an answer that Matrix has exactly is to hold what this server adds to it (M5, M6, M12):
/// `?org.pilotlight.answer=full`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AnswerForm {
    /// As Matrix has it, and nothing beside.
    Matrix,
    /// With what this server adds.
    Full,
}

impl<S: Send + Sync> FromRequestParts<S> for AnswerForm {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let pairs: Vec<(String, String)> =
            serde_html_form::from_str(parts.uri.query().unwrap_or_default()).unwrap_or_default();
        match pairs.iter().find(|(key, _)| key == "org.pilotlight.answer") {
            None => Ok(Self::Matrix),
            Some((_, form)) if form == "full" => Ok(Self::Full),
            Some(_) => Err(ApiError::invalid_param("org.pilotlight.answer can only be full")),
        }
    }
}

/// The variable parts of the path, in their order.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = <axum::extract::Path<T> as FromRequestParts<_>>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(value)| Path(value))
            .map_err(|e| ApiError::invalid_param(format!("path: {}", e.body_text())))
    }
}

/// The body of a request, read within what there is for bodies of its sender's kind.
///
/// Who is logged out while it comes is not let in with it.
pub(super) async fn read_body(request: Request, app: &Arc<App>) -> Result<Received, ApiError> {
    let (head, body) = request.into_parts();
    let ended = app.accounts.sessions_ended();
    let origin = head.extensions.get::<Origin>().copied();
    let received = match head.extensions.get::<Credentials>() {
        Some(Credentials::Known(session)) => {
            let (bytes, share) = app.bodies.known.read(body, Some(session.user.clone())).await?;
            still_known(app, &head, ended).await?;
            Received { bytes, _share: Share::Known(share) }
        }
        _ => {
            let (bytes, share) = app.bodies.strangers.read(body, origin).await?;
            Received { bytes, _share: Share::Stranger(share) }
        }
    };
    Ok(received)
}

/// Who was logged out since `ended` sessions had ended is nobody any longer.
pub(super) async fn still_known(app: &App, head: &Parts, ended: u64) -> Result<(), ApiError> {
    if app.accounts.sessions_ended() != ended && head.extensions.get::<By>().is_none() {
        let token = access_token(&head.headers, head.uri.query()).unwrap_or_default();
        match app.accounts.session(&token).await? {
            Whose::Of(_) => {}
            Whose::Ended => return Err(ended_token()),
            Whose::Nobodys => return Err(invalid_token()),
        }
    }
    Ok(())
}

/// A body, and what it holds of the memory for bodies.
pub(super) struct Received {
    pub(super) bytes: Bytes,
    _share: Share,
}

/// Held while the body is in use.
#[expect(dead_code, reason = "what is in it is given back when it is dropped")]
enum Share {
    Known(bodies::Share<OwnedUserId>),
    Stranger(bodies::Share<Origin>),
}

fn invalid_token() -> ApiError {
    ApiError::unknown_token("this access token is not valid").with("soft_logout", false)
}

fn ended_token() -> ApiError {
    ApiError::unknown_token("this access token has ended: refresh it").with("soft_logout", true)
}

/// Objects and lists within each other in a body, at most.
pub const MAX_DEPTH: usize = 64;

/// No body of the API is a list.
fn check_form(body: &[u8]) -> Result<(), ApiError> {
    if is_list(body) {
        return Err(ApiError::bad_json("the body is a list, and is to be an object"));
    }
    if json_depth(body) > MAX_DEPTH {
        return Err(ApiError::bad_json(format!("the body is more than {MAX_DEPTH} objects or lists deep")));
    }
    Ok(())
}

/// The Matrix error of a `body` that is not the JSON it should be.
pub(in crate::server) fn json_error(body: &[u8], e: serde_json::Error) -> ApiError {
    match e.classify() {
        serde_json::error::Category::Data => ApiError::bad_json(in_words(&e.to_string())),
        // The parser says so too of `null` where one of several words is expected.
        _ if is_json(body) => ApiError::bad_json("wrong kind of value"),
        _ => ApiError::not_json(e.to_string()),
    }
}

fn is_json(body: &[u8]) -> bool {
    // What is passed over is not looked at as text.
    std::str::from_utf8(body).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// What parsers say, as somebody reads it who knows what they meant and not how it is parsed; the place in the text says
/// nothing about a body that a program wrote.
fn in_words(said: &str) -> String {
    let said = said.rfind(" at line ").map_or(said, |end| &said[..end]);
    if said.contains("did not match any variant of untagged enum") {
        return "the body has none of the forms that are allowed here".to_owned();
    }
    said.replace("unknown variant", "unknown value")
        .replace("invalid type: ", "wrong kind of value: ")
        .replace(
            "leading sigil is incorrect or missing",
            "an ID begins with @ (a user), ! (a room), # (an alias) or $ (an event)",
        )
}

fn request_error(body: &[u8], e: FromHttpRequestError) -> ApiError {
    match e {
        FromHttpRequestError::MethodMismatch { .. } => ApiError::method_not_allowed(),
        FromHttpRequestError::Deserialization(DeserializationError::Json(e)) => json_error(body, e),
        FromHttpRequestError::Deserialization(DeserializationError::Utf8(e)) => {
            ApiError::not_json(e.to_string())
        }
        FromHttpRequestError::Deserialization(e) => ApiError::invalid_param(in_words(&e.to_string())),
        e => ApiError::bad_json(in_words(&e.to_string())),
    }
}
