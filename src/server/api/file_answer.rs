//! How a file is answered: which part of it, and what is said of it, so that it can do nothing in a page.
//!
//! Source: Matrix client-server API, "Content repository"; RFC 6266 and RFC 8187 for names.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};

use serde::Deserialize;

use super::error::{ApiError, ApiResult};
use crate::server::{
    http::range::{Wanted as Part, wanted},
    media::{self, Found, Media, Size, Wanted},
};

/// Kinds that are shown where they are; everything else is saved as a file.
const INLINE: [&str; 26] = [
    "text/css",
    "text/plain",
    "text/csv",
    "application/json",
    "application/ld+json",
    "image/jpeg",
    "image/gif",
    "image/png",
    "image/apng",
    "image/webp",
    "image/avif",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "video/quicktime",
    "audio/mp4",
    "audio/webm",
    "audio/aac",
    "audio/mpeg",
    "audio/ogg",
    "audio/wave",
    "audio/wav",
    "audio/x-wav",
    "audio/x-pn-wav",
    "audio/flac",
    "audio/x-flac",
];

/// What a file is whose owner says nothing that can be said.
const BYTES: &str = "application/octet-stream";

/// Nothing in a file runs, wherever it is opened.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; \
         style-src 'unsafe-inline'; media-src 'self'; object-src 'self';",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    // A file never changes; it is for whoever may ask, not for a proxy on the way.
    (header::CACHE_CONTROL, "private, max-age=31536000, immutable"),
    (header::ACCEPT_RANGES, "bytes"),
];

/// How long who asks for a file waits until it is uploaded, if they do not say.
const PATIENCE: Duration = Duration::from_secs(20);

/// The query of a download, or of a thumbnail. Where a file is fetched from is not for the client to say.
#[derive(Debug, Deserialize)]
pub(super) struct ThumbnailQuery {
    width: Option<u32>,
    height: Option<u32>,
    method: Option<ThumbnailMethod>,
    animated: Option<bool>,
    timeout_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ThumbnailMethod {
    Crop,
    Scale,
}

impl ThumbnailQuery {
    /// How long a file is waited for that is not uploaded yet.
    pub(super) fn patience(&self) -> Duration {
        self.timeout_ms.map_or(PATIENCE, Duration::from_millis)
    }

    /// What is wanted of a picture.
    ///
    /// # Errors
    /// `M_MISSING_PARAM`, `M_INVALID_PARAM`.
    pub(super) fn wanted(&self) -> ApiResult<Wanted> {
        let side = |name: &'static str, side: Option<u32>| match side {
            None => Err(ApiError::missing_param(format!("{name} is missing"))),
            Some(0) => Err(ApiError::invalid_param(format!("{name} is 0"))),
            Some(side) => Ok(side),
        };
        let size = Size { width: side("width", self.width)?, height: side("height", self.height)? };
        let method = match self.method {
            Some(ThumbnailMethod::Crop) => media::Method::Crop,
            Some(ThumbnailMethod::Scale) | None => media::Method::Scale,
        };
        Ok(Wanted { size, method, may_move: self.animated == Some(true) })
    }
}

/// What a file is called here.
pub(super) struct Named<'a> {
    /// Its identity, as long as it is the same bytes: letters, digits, `_` and `-`.
    pub(super) etag: &'a str,
    /// What it is called by who asks; `None`: as by its owner.
    pub(super) file_name: Option<&'a str>,
}

/// The answer to a request for a file by `method` with the headers `asked`.
pub(super) fn answer(
    media: &Media,
    found: &Found,
    named: &Named<'_>,
    method: &Method,
    asked: &HeaderMap,
) -> Response {
    let etag = format!("\"{}\"", named.etag);
    let known = asked.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_known =
        known.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == etag);
    let part = if method == Method::GET { wanted(asked, found.size, &etag) } else { Part::All };
    let mut answer = match part {
        _ if is_known => StatusCode::NOT_MODIFIED.into_response(),
        // Without the body: a HEAD opens no file, and is told how long it would be.
        Part::All if method == Method::HEAD => Body::empty().into_response(),
        Part::All => media.read(found, 0..found.size).into_response(),
        Part::Part(part) => {
            let range = format!("bytes {}-{}/{}", part.start, part.end - 1, found.size);
            let body = media.read(found, part);
            (StatusCode::PARTIAL_CONTENT, [(header::CONTENT_RANGE, range)], body).into_response()
        }
        Part::Nothing => {
            let range = format!("bytes */{}", found.size);
            (StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, range)]).into_response()
        }
    };
    let headers = answer.headers_mut();
    if method == Method::HEAD && !is_known {
        headers.insert(header::CONTENT_LENGTH, found.size.into());
    }
    describe(headers, found, named.file_name);
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(header::ETAG, etag);
    }
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// Says what a file is and what it is called.
pub(super) fn describe(headers: &mut HeaderMap, found: &Found, file_name: Option<&str>) {
    let kind = found.described.content_type.as_deref().unwrap_or(BYTES);
    let kind = HeaderValue::try_from(kind).unwrap_or(HeaderValue::from_static(BYTES));
    let disposition =
        disposition(kind.to_str().unwrap_or(BYTES), file_name.or(found.described.file_name.as_deref()));
    headers.insert(header::CONTENT_TYPE, kind);
    if let Ok(disposition) = HeaderValue::try_from(disposition) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
}

/// Whether a file of this kind is shown or saved, and under which name: letters, digits and punctuation of ASCII, whatever
/// it is.
fn disposition(kind: &str, file_name: Option<&str>) -> String {
    let essence = kind.split(';').next().unwrap_or_default().trim();
    let is_inline = INLINE.iter().any(|inline| essence.eq_ignore_ascii_case(inline));
    let shown = if is_inline { "inline" } else { "attachment" };
    let Some(name) = file_name.filter(|name| !name.is_empty()) else { return shown.to_owned() };
    let is_plain = |c: char| (c.is_ascii_graphic() || c == ' ') && !"\"\\%".contains(c);
    if name.chars().all(is_plain) {
        return format!("{shown}; filename=\"{name}\"");
    }
    // Who does not know the second form has the first.
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    format!("{shown}; filename=\"{plain}\"; filename*=UTF-8''{}", percent_encoded(name))
}

fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kinds_that_cannot_run_are_shown_where_they_are() {
        for (kind, shown) in [
            ("image/png", "inline"),
            ("IMAGE/PNG", "inline"),
            ("text/plain; charset=utf-8", "inline"),
            (" text/plain ;x", "inline"),
            ("text/html", "attachment"),
            ("image/svg+xml", "attachment"),
            ("application/xhtml+xml", "attachment"),
            ("application/pdf", "attachment"),
            ("text/javascript", "attachment"),
            ("image/png, text/html", "attachment"),
            ("", "attachment"),
        ] {
            assert_eq!(disposition(kind, None), shown, "{kind}");
        }
    }

    #[test]
    fn a_name_is_said_so_that_everybody_reads_it_and_nothing_else_comes_of_it() {
        for (name, said) in [
            ("cat.png", "inline; filename=\"cat.png\""),
            ("my cat; (1).png", "inline; filename=\"my cat; (1).png\""),
            ("", "inline"),
            ("кот.png", "inline; filename=\"___.png\"; filename*=UTF-8''%D0%BA%D0%BE%D1%82.png"),
            ("a\"b.png", "inline; filename=\"a_b.png\"; filename*=UTF-8''a%22b.png"),
            ("a\r\nX: y", "inline; filename=\"a__X: y\"; filename*=UTF-8''a%0D%0AX%3A%20y"),
            ("100%.png", "inline; filename=\"100_.png\"; filename*=UTF-8''100%25.png"),
            ("a\\b", "inline; filename=\"a_b\"; filename*=UTF-8''a%5Cb"),
        ] {
            assert_eq!(disposition("image/png", Some(name)), said, "{name:?}");
            assert!(HeaderValue::try_from(said).is_ok());
        }
    }
}
