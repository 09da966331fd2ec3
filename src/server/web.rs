//! The web client, served from inside the binary: `/` and what it loads from `www/`, and the npm
//! package under `/pkg/`.
//!
//! A debug build reads the files from the source tree at each request, so that the client can be worked
//! on without compiling.

use axum::{
    body::Body,
    extract::Request,
    http::{
        HeaderValue, Method, StatusCode,
        header::{self, HeaderName},
    },
    response::{IntoResponse, Response},
};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::api::error::ApiError;

/// The client itself.
#[derive(RustEmbed)]
#[folder = "www/"]
struct Client;

/// What a page imports from the package. Its wasm is built by `make wasm`; without it the page says so.
#[derive(RustEmbed)]
#[folder = "pkg/"]
#[allow_missing = true]
#[include = "*.js"]
#[include = "wasm/*.js"]
#[include = "wasm/*.wasm"]
#[exclude = "*/node_modules/*"]
#[exclude = "test/*"]
struct Package;

/// Only our own scripts and styles, the wasm they compile, and any homeserver a person names.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
     img-src 'self' data: blob:; connect-src 'self' http: https:; worker-src 'self'; manifest-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    // Asked for again each time and answered with 304 while unchanged: a new binary is a new client at once.
    (header::CACHE_CONTROL, "no-cache"),
];

/// Answers with a file of the web client, or as for any unknown endpoint.
pub async fn serve(request: Request) -> Response {
    let known_method = matches!(*request.method(), Method::GET | Method::HEAD);
    match find(request.uri().path()).filter(|_| known_method) {
        Some(file) => answer(file, request.headers().get(header::IF_NONE_MATCH)),
        None => ApiError::unrecognized().into_response(),
    }
}

fn find(path: &str) -> Option<EmbeddedFile> {
    match path.strip_prefix('/')? {
        "" => Client::get("index.html"),
        path => match path.strip_prefix("pkg/") {
            Some(path) => Package::get(path),
            None => Client::get(path),
        },
    }
}

fn answer(file: EmbeddedFile, known: Option<&HeaderValue>) -> Response {
    let etag = etag(&file);
    let mut response = if known == Some(&etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = Body::from(file.data).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, content_type(file.metadata.mimetype()));
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag);
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Text files are UTF-8, which browsers want to be told.
fn content_type(media_type: &str) -> HeaderValue {
    let full = match media_type.starts_with("text/") {
        true => format!("{media_type}; charset=utf-8"),
        false => media_type.to_owned(),
    };
    HeaderValue::try_from(full).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

fn etag(file: &EmbeddedFile) -> HeaderValue {
    let hash = file.metadata.sha256_hash();
    let digits: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::try_from(format!("\"{digits}\"")).expect("hexadecimal digits make a header value")
}
