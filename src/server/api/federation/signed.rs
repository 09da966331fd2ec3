//! Requests of other servers: who sends them, proven by the signature over method, path and body.
//!
//! Source: Matrix server-server API, "Request authentication".

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{FromRequest, OriginalUri, Request},
    http::StatusCode,
};
use ruma::{
    OwnedServerName, ServerName,
    api::federation::authentication::XMatrix,
    signatures::{PublicKeyMap, verify_canonical_json_bytes},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use super::canonical::canonical_form;
use crate::server::{
    api::{error::ApiError, extract::json_error},
    app::App,
    federation::key_error::KeyError,
    http::bodies::Share,
    json::is_list,
    limits::Origin,
};

/// When to come again while too many servers are being asked for their keys.
const BUSY: Duration = Duration::from_secs(10);

/// The sender of a request that proved itself, and what it sent.
#[derive(Debug)]
pub struct Signed {
    /// The server that signed the request.
    pub origin: OwnedServerName,
    /// The body as it came.
    pub body: Bytes,
    _share: Share<Origin>,
}

impl Signed {
    /// The body as JSON of the type `T`.
    ///
    /// # Errors
    /// `M_NOT_JSON` or `M_BAD_JSON`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        json_object(&self.body)
    }
}

/// A body as JSON of the type `T`, which is an object.
///
/// # Errors
/// `M_NOT_JSON` or `M_BAD_JSON`.
pub(super) fn json_object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    let said = serde_json::from_slice(body).map_err(|e| json_error(body, e))?;
    if is_list(body) {
        Err(ApiError::bad_json("the body is a list, and is to be an object"))
    } else {
        Ok(said)
    }
}

impl FromRequest<Arc<App>> for Signed {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let federation = app.federation.as_ref().ok_or_else(ApiError::unrecognized)?;
        let signature = XMatrix::extract_from_http_headers(request.headers())
            .map_err(|e| unauthorized(format!("the request is not signed: {e}")))?;
        if !federation.policy.speaks_with(&signature.origin) {
            return Err(ApiError::forbidden("this server does not federate with yours"));
        }
        if signature.destination.as_deref().is_some_and(|destination| destination != app.server_name()) {
            return Err(unauthorized("the request is signed for another server"));
        }
        if signature.origin == *app.server_name() {
            return Err(unauthorized("this server sends itself nothing"));
        }
        let (mut parts, body) = request.into_parts();
        let origin = parts.extensions.get::<Origin>().copied();
        // The signature covers the path as it was sent, before any routing.
        if let Some(OriginalUri(uri)) = parts.extensions.get::<OriginalUri>() {
            parts.uri = uri.clone();
        }
        let keys = federation.keyring.keys(&signature.origin, signature.key.as_str(), origin).await.map_err(
            |e| match &*e {
                KeyError::Busy => ApiError::limit_exceeded(BUSY),
                e => unauthorized(e.to_string()),
            },
        )?;
        let (body, share) = federation.bodies.read(body, origin).await?;
        let request = axum::http::Request::from_parts(parts, &body[..]);
        if body.is_empty() {
            signature
                .verify_http_request(&request, app.server_name(), &keys)
                .map_err(|e| unauthorized(format!("the signature is wrong: {e}")))?;
        } else if !is_body_signed(&signature, &request, app.server_name(), &keys) {
            return Err(unauthorized("the signature is wrong"));
        }
        federation.handle_life_sign(&signature.origin);
        app.limits.server(&signature.origin, origin, app.now().as_millis())?;
        Ok(Self { origin: signature.origin, body, _share: share })
    }
}

/// Whether the signature is right for a request with a body: for the body as it came, as most servers send the canonical form
/// that they sign, or for its canonical form. What is in it that this server would not read, as numbers with a fraction in rooms
/// of old versions, is then the matter of the event or EDU that it is in, and no reason to refuse all that came with it.
///
/// Of all that is signed only the body can hold a quotation mark that is not escaped: no other request is signed by
/// the same bytes.
fn is_body_signed(
    signature: &XMatrix,
    request: &axum::http::Request<&[u8]>,
    destination: &ServerName,
    keys: &PublicKeyMap,
) -> bool {
    let key = keys.get(signature.origin.as_str()).and_then(|keys| keys.get(signature.key.as_str()));
    let (Some(key), Some(uri)) = (key, request.uri().path_and_query()) else { return false };
    let rest = json!({
        "destination": destination, "method": request.method().as_str(), "origin": signature.origin, "uri": uri.as_str(),
    });
    let rest = rest.to_string();
    let algorithm = signature.key.algorithm();
    let is_signed = |body: &[u8]| {
        let signed = [br#"{"content":"#, body, b",", &rest.as_bytes()[1..]].concat();
        verify_canonical_json_bytes(&algorithm, key.as_bytes(), signature.sig.as_bytes(), &signed).is_ok()
    };
    let body = *request.body();
    is_signed(body) || canonical_form(body).is_some_and(|form| form != body && is_signed(&form))
}

fn unauthorized(error: impl Into<std::borrow::Cow<'static, str>>) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "M_UNAUTHORIZED", error)
}
