//! Heads of answers that HTTP does not write, and of requests that it need not read.

use std::{
    cell::RefCell,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};
use httparse::Status;

/// How the end of an answer is found, and what becomes of the connection then.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Framing {
    /// After so many bytes; the next request may follow.
    Length(u64),
    /// After so many bytes, with which the connection ends.
    LastLength(u64),
    /// Where the connection ends.
    Close,
}

/// What a request may have for [`brief`], in headers.
const MAX_HEADERS: usize = 32;

/// The headers that are kept of it: all that anybody asks for who answers without a router.
const KEPT: [HeaderName; 2] = [header::AUTHORIZATION, HeaderName::from_static("x-forwarded-for")];

/// Adds the head of an answer to `out`.
pub(super) fn write(out: &mut Vec<u8>, answer: &Response, framing: Framing) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(answer.status().as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(answer.status().canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    let framed = [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    for (name, value) in answer.headers().iter().filter(|(name, _)| !framed.contains(name)) {
        line(out, name.as_str(), value.as_bytes());
    }
    with_date(|date| line(out, "date", date));
    match framing {
        Framing::Length(length) | Framing::LastLength(length) => {
            line(out, "content-length", length.to_string().as_bytes());
        }
        Framing::Close => {}
    }
    if framing.is_last() {
        line(out, "connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
}

fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

impl Framing {
    /// Whether the connection ends with the answer.
    pub(super) fn is_last(self) -> bool {
        !matches!(self, Self::Length(_))
    }
}

/// Calls `say` with what the `Date` of an answer says at this moment; written anew once a second.
fn with_date(say: impl FnOnce(&[u8])) {
    thread_local! {
        static LAST: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    LAST.with_borrow_mut(|(at, date)| {
        if *at != second {
            (*at, *date) = (second, httpdate::fmt_http_date(now));
        }
        say(date.as_bytes());
    });
}

/// The request with which `bytes` begin, and how long it is, if it is all there, a `GET` without a body, and the connection
/// goes on after it: of its headers, [`KEPT`]. `None`: it is for whoever knows all of HTTP.
pub(super) fn brief(bytes: &[u8]) -> Option<(Request<()>, usize)> {
    let mut space = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut space);
    let Ok(Status::Complete(length)) = parsed.parse(bytes) else { return None };
    let path = parsed.path.filter(|path| path.starts_with('/'))?;
    if parsed.method != Some("GET") || parsed.version != Some(1) || !parsed.headers.iter().all(is_plain) {
        return None;
    }
    let uri: Uri = path.parse().ok()?;
    let mut headers = HeaderMap::new();
    for header in parsed.headers.iter() {
        if let Some(name) = KEPT.iter().find(|name| header.name.eq_ignore_ascii_case(name.as_str())) {
            headers.append(name, HeaderValue::from_bytes(header.value).ok()?);
        }
    }
    let mut request = Request::new(());
    (*request.uri_mut(), *request.headers_mut()) = (uri, headers);
    Some((request, length))
}

/// Whether a header says nothing of how the request ends, or of what becomes of the connection.
fn is_plain(header: &httparse::Header<'_>) -> bool {
    let is = |name: HeaderName| header.name.eq_ignore_ascii_case(name.as_str());
    if is(header::CONNECTION) {
        return header.value.eq_ignore_ascii_case(b"keep-alive");
    }
    !(is(header::CONTENT_LENGTH)
        || is(header::TRANSFER_ENCODING)
        || is(header::EXPECT)
        || is(header::UPGRADE))
}

/// Whether a connection goes on as it is after a request that HTTP has read.
pub(super) fn goes_on<B>(request: &Request<B>) -> bool {
    let stays = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"keep-alive");
    let headers = request.headers();
    request.version() == http::Version::HTTP_11
        && headers.get_all(header::CONNECTION).iter().all(stays)
        && !headers.contains_key(header::EXPECT)
        && !headers.contains_key(header::UPGRADE)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn the_head_is_the_answers_but_for_how_its_end_is_found() {
        let answer = Response::builder().status(200).header("content-type", "text/event-stream");
        let answer = answer.header("content-length", "0").header("vary", "origin");
        let answer = answer.body(Body::empty()).expect("an answer");
        for (framing, expected) in [
            (Framing::Close, "connection: close\r\n"),
            (Framing::Length(12), "content-length: 12\r\n"),
            (Framing::LastLength(12), "content-length: 12\r\nconnection: close\r\n"),
        ] {
            let mut head = Vec::new();
            write(&mut head, &answer, framing);
            let head = String::from_utf8(head).expect("is ASCII");
            let said = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nvary: origin\r\ndate: ";
            let (begin, rest) = head.split_at(said.len());
            let (date, end) = rest.split_at(rest.find("\r\n").expect("more lines"));
            assert_eq!((begin, end), (said, format!("\r\n{expected}\r\n").as_str()));
            let date = httpdate::parse_http_date(date).expect("a date");
            assert!(date.elapsed().expect("has passed").as_secs() < 10);
        }
    }

    /// What is asked by `text`, and what follows, if it is understood.
    fn understood(text: &str) -> Option<(String, &str)> {
        let (request, length) = brief(text.as_bytes())?;
        let kept: Vec<_> = request.headers().values().map(|value| value.to_str().expect("text")).collect();
        Some((format!("{} {}", request.uri(), kept.join(" ")), &text[length..]))
    }

    #[test]
    fn a_plain_request_is_understood_and_so_is_where_it_ends() {
        for (text, expected, rest) in [
            ("GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n", "/a?b=c ", ""),
            ("GET /a HTTP/1.1\r\nAUTHORIZATION: Bearer t\r\n\r\nGET /", "/a Bearer t", "GET /"),
            ("GET / HTTP/1.1\r\nconnection: Keep-Alive\r\n\r\n\r\n", "/ ", "\r\n"),
            ("GET / HTTP/1.1\r\nx-forwarded-for: a\r\nX-Forwarded-For: b\r\n\r\n", "/ a b", ""),
        ] {
            assert_eq!(understood(text), Some((expected.to_owned(), rest)), "{text}");
        }
    }

    #[test]
    fn every_other_request_is_for_others() {
        let many = "a: b\r\n".repeat(MAX_HEADERS + 1);
        for (line, headers) in [
            ("POST /a HTTP/1.1", ""),
            ("HEAD /a HTTP/1.1", ""),
            ("OPTIONS * HTTP/1.1", ""),
            ("GET http://x/a HTTP/1.1", ""),
            ("GET * HTTP/1.1", ""),
            ("GET /a HTTP/1.0", ""),
            ("GET /a\u{7f} HTTP/1.1", ""),
            ("GET /a HTTP/2", ""),
            ("GET /a HTTP/1.1", "Content-Length: 0\r\n"),
            ("GET /a HTTP/1.1", "transfer-encoding: chunked\r\n"),
            ("GET /a HTTP/1.1", "Connection: close\r\n"),
            ("GET /a HTTP/1.1", "connection: keep-alive, upgrade\r\n"),
            ("GET /a HTTP/1.1", "connection: keep-alive\r\nconnection: close\r\n"),
            ("GET /a HTTP/1.1", "expect: 100-continue\r\n"),
            ("GET /a HTTP/1.1", "upgrade: h2c\r\n"),
            ("GET /a HTTP/1.1", "a : b\r\n"),
            ("GET /a HTTP/1.1", "authorization: a\r\n b\r\n"),
            ("GET /a HTTP/1.1", many.as_str()),
        ] {
            let text = format!("{line}\r\n{headers}\r\n");
            assert_eq!(understood(&text), None, "{text}");
        }
        let whole = "GET /a HTTP/1.1\r\nhost: x\r\n\r\n";
        for end in 0..whole.len() {
            assert_eq!(understood(&whole[..end]), None, "it is not all there");
        }
    }
}
