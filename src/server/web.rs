//! The web client, served from inside the binary: `/` and what it loads from `www/`, and the npm
//! package under `/pkg/`.
//!
//! The page names its files below `/assets/HASH/`, the hash of all of them: there they are kept for ever and
//! never asked for again, and a new binary is a new client at once. They go out compressed, each compressed
//! once, to whoever takes that.
//!
//! A debug build reads the files from the source tree at each request, so that the client can be worked
//! on without compiling.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;

use axum::{
    body::Body,
    extract::Request,
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{self, HeaderName},
    },
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use parking_lot::Mutex;
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

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
     img-src 'self' data: blob:; media-src blob:; connect-src 'self' http: https:; worker-src 'self'; manifest-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Below it and the hash of all files lie copies that never change.
const ASSETS: &str = "assets/";
/// A copy that never changes: a year, which is for ever.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Asked for again each time and answered with 304 while unchanged.
const ASK_AGAIN: &str = "no-cache";
/// Below it compression gains nothing.
const WORTH_COMPRESSING_BYTES: usize = 512;
/// The most compressed files held; a binary has fewer, and a debug build forgets old ones.
const MAX_COMPRESSED: usize = 256;

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    // Calls.
    (HeaderName::from_static("permissions-policy"), "camera=(self), microphone=(self)"),
    (header::VARY, "Accept-Encoding"),
];

/// A file as it is sent.
struct Asset {
    bytes: Cow<'static, [u8]>,
    hash: [u8; 32],
    media_type: String,
    cache: &'static str,
}

/// What is computed of the files once: their common hash, as of the last page, and their compressed forms.
struct Kept {
    hash: Option<String>,
    compressed: BTreeMap<[u8; 32], Bytes>,
}

static KEPT: Mutex<Kept> = Mutex::new(Kept { hash: None, compressed: BTreeMap::new() });

/// Answers with a file of the web client, or as for any unknown endpoint.
pub async fn serve(request: Request) -> Response {
    let known_method = matches!(*request.method(), Method::GET | Method::HEAD);
    match find(request.uri().path()).filter(|_| known_method) {
        Some(asset) => answer(asset, request.headers()),
        None => ApiError::unrecognized().into_response(),
    }
}

fn find(path: &str) -> Option<Asset> {
    let path = path.strip_prefix('/')?;
    if path.is_empty() {
        return page();
    }
    let Some((hash, below)) = path.strip_prefix(ASSETS).and_then(|path| path.split_once('/')) else {
        return file(path, ASK_AGAIN);
    };
    let current = KEPT.lock().hash.as_deref() == Some(hash);
    file(below, if current { FOR_EVER } else { ASK_AGAIN })
}

fn file(path: &str, cache: &'static str) -> Option<Asset> {
    let file = match path.strip_prefix("pkg/") {
        Some(path) => Package::get(path),
        None => Client::get(path),
    }?;
    let media_type = file.metadata.mimetype().to_owned();
    Some(Asset { bytes: file.data, hash: file.metadata.sha256_hash(), media_type, cache })
}

/// The page itself, whose files it names below their hash.
fn page() -> Option<Asset> {
    let plain = file("index.html", ASK_AGAIN)?;
    let hash = current_hash();
    let below = format!("=\"/{ASSETS}{hash}/");
    let bytes = String::from_utf8_lossy(&plain.bytes).replace("=\"/", &below).into_bytes();
    Some(Asset { hash: Sha256::digest(&bytes).into(), bytes: Cow::Owned(bytes), ..plain })
}

/// The hash of all files. Those of a debug build may have changed since the last page.
fn current_hash() -> String {
    let known = KEPT.lock().hash.clone();
    if let Some(known) = known.filter(|_| !cfg!(debug_assertions)) {
        return known;
    }
    let client = Client::iter().map(|path| (Client::get(&path), path));
    let package = Package::iter().map(|path| (Package::get(&path), path));
    let mut all = Sha256::new();
    for (file, path) in client.chain(package) {
        all.update(path.as_bytes());
        all.update(file.map(|file| file.metadata.sha256_hash()).unwrap_or_default());
    }
    let hash = digits(&all.finalize());
    KEPT.lock().hash = Some(hash.clone());
    hash
}

fn answer(asset: Asset, asked: &HeaderMap) -> Response {
    let compressed = takes_gzip(asked).then(|| compressed(&asset)).flatten();
    let suffix = if compressed.is_some() { "-gzip" } else { "" };
    let etag = ["\"", &digits(&asset.hash), suffix, "\""].concat();
    let known = asked.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut response = if known.split(',').any(|one| one.trim().trim_start_matches("W/") == etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let encoding = compressed.is_some();
        let body = compressed.map_or_else(|| Body::from(asset.bytes), Body::from);
        let mut response = body.into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, content_type(&asset.media_type));
        if encoding {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    };
    let headers = response.headers_mut();
    headers
        .insert(header::ETAG, HeaderValue::try_from(etag).expect("hexadecimal digits make a header value"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(asset.cache));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether the one who asks takes gzip, by `Accept-Encoding`.
fn takes_gzip(asked: &HeaderMap) -> bool {
    let values = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let codings: Vec<&str> = values.flat_map(|value| value.split(',')).collect();
    let weight = |wanted: &str| {
        codings.iter().find_map(|coding| {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
            let weight =
                weight.trim().strip_prefix("q=").map_or(Some(1.0), |weight| weight.trim().parse().ok());
            name.trim().eq_ignore_ascii_case(wanted).then(|| weight.unwrap_or(0.0))
        })
    };
    weight("gzip").or_else(|| weight("*")).is_some_and(|weight: f32| weight > 0.0)
}

/// A file's compressed form, made once; none for what is small, or compressed by nature.
fn compressed(asset: &Asset) -> Option<Bytes> {
    let media_type = asset.media_type.as_str();
    let is_text = media_type.starts_with("text/") || media_type == "image/svg+xml";
    let packs =
        is_text || matches!(media_type, "application/wasm" | "application/javascript" | "application/json");
    if !packs || asset.bytes.len() < WORTH_COMPRESSING_BYTES {
        return None;
    }
    if let Some(known) = KEPT.lock().compressed.get(&asset.hash) {
        return Some(known.clone());
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let packed = encoder.write_all(&asset.bytes).and_then(|()| encoder.finish());
    let packed = Bytes::from(packed.expect("a Vec takes everything"));
    let compressed = &mut KEPT.lock().compressed;
    if compressed.len() >= MAX_COMPRESSED {
        compressed.clear();
    }
    compressed.insert(asset.hash, packed.clone());
    Some(packed)
}

/// Text files are UTF-8, which browsers want to be told.
fn content_type(media_type: &str) -> HeaderValue {
    let full = match media_type.starts_with("text/") {
        true => format!("{media_type}; charset=utf-8"),
        false => media_type.to_owned(),
    };
    HeaderValue::try_from(full).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

fn digits(hash: &[u8]) -> String {
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
