//! Who another server is: its name and where it leads, its keys, and the heads of requests.

use std::net::{IpAddr, Ipv4Addr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header::AUTHORIZATION};
use ruma::{
    CanonicalJsonObject, OwnedServerName, ServerName, UserId, api::federation::authentication::XMatrix,
    server_name,
};
use serde_json::Value;

use crate::{
    core::federation::Names,
    server::{
        api::extract::access_token,
        config::{self, Federation, servers::Policy},
        federation::{
            fetch::{max_age, redirect},
            key_document::KeyDocument,
            multipart::{Multipart, Piece, file_name},
            resolve::{delegated, direct},
            room_answer::{Part, walk},
        },
        http::proxies::Proxies,
        outgoing::addresses::Allowed,
    },
};

/// The signed document of the corpus: who changes it cannot sign it again.
const SIGNED: &str = include_str!("../../../tests/fuzz/corpus/key_document/signed");

/// A key document: what is taken says word for word what its server signed.
pub(super) fn key_document(data: &[u8]) {
    let Ok(json) = str::from_utf8(data) else { return };
    let Ok(document) = KeyDocument::verified(server_name!("a.example"), json) else { return };
    assert!((1..=32).contains(&document.keys.len()));
    assert!(document.old.len() <= 64);
    assert_eq!(said(json), said(SIGNED), "nobody but the server could have signed this");
}

/// An answer to a join: what is handed over of it one by one is what stands in it as a whole.
pub(super) fn join_answer(data: &[u8]) {
    let mut parts: Vec<(Part, Value)> = Vec::new();
    let read = walk(data, |part, at, event| {
        let stands = data[at as usize..].starts_with(event.get().as_bytes());
        assert!(stands || !event.get().starts_with('{'), "at {at}");
        parts.push((part, serde_json::from_str(event.get()).map_err(|e| e.to_string())?));
        Ok(())
    });
    let Ok(whole) = serde_json::from_slice::<Value>(data) else { return };
    let body = if whole.is_array() { &whole[1] } else { &whole };
    // Of two lists of one name the last stands in the whole; all are handed over. State has one name for joins and another.
    if read.is_ok() && body.get("pdus").is_none() {
        for (part, key) in [(Part::State, "state"), (Part::AuthChain, "auth_chain")] {
            let of_part: Vec<&Value> =
                parts.iter().filter(|(of, _)| *of == part).map(|(_, event)| event).collect();
            let last = body[key].as_array().map(Vec::as_slice).unwrap_or_default();
            assert!(of_part.ends_with(&last.iter().collect::<Vec<_>>()), "{key}");
        }
    }
}

/// What a signature of a document covers.
fn said(json: &str) -> CanonicalJsonObject {
    let mut object: CanonicalJsonObject = serde_json::from_str(json).expect("is canonical JSON");
    object.retain(|key, _| !["signatures", "unsigned"].contains(&&**key));
    object
}

/// A server's name in the first line, a well-known file's headers `Location` and `Cache-Control` in two more, then its
/// body: whatever it leads to is the server that was named.
pub(super) fn server_name(data: &[u8]) {
    let Ok(words) = str::from_utf8(data) else { return };
    let mut lines = words.splitn(4, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (name, location, cache_control, body) = (line(), line(), line(), line());
    if let Ok(server) = ServerName::parse(name) {
        leads_to_itself(&server);
    }
    if let Ok(server) = delegated(body.as_bytes()) {
        leads_to_itself(&server);
    }
    if let Some(to) = redirect(&Uri::from_static("https://a.example/x"), location) {
        assert_eq!(to.scheme_str(), Some("https"));
        assert!(to.host().is_some_and(|host| !host.is_empty()), "{to}");
        assert!(!location.starts_with('/') || to.host() == Some("a.example"), "{to} is elsewhere");
    }
    assert!(max_age(cache_control).is_none() || cache_control.contains("max-age="));
    user(name);
}

fn leads_to_itself(server: &OwnedServerName) {
    let policy = Policy::new(&Federation { deny_servers: vec![server.clone()], ..Federation::default() });
    assert!(!policy.speaks_with(server), "who is denied is not spoken with");
    if let Ok(Some(route)) = direct(server) {
        let [(host, port)] = &route.dial[..] else { panic!("{server}: one place to dial") };
        assert!(!host.is_empty() && server.as_str().contains(host.as_str()), "{server}: {host}");
        assert!(server.port().is_none_or(|named| named == *port), "{server}: {port}");
        assert_eq!(route.host, server.as_str());
        if let Ok(address) = host.parse::<IpAddr>() {
            let inside = address.to_canonical().is_loopback();
            assert!(!inside || !Allowed::default().may_dial(address), "{address} is this machine");
        }
    }
    // The pool of connections knows servers by what it finds in a URI.
    if let Ok(uri) = format!("https://{server}/x").parse::<Uri>() {
        assert_eq!(uri.authority().map(|authority| authority.as_str()), Some(server.as_str()));
        assert_eq!(uri.path(), "/x");
    }
}

/// A user's ID says the same to the core as to the server.
fn user(id: &str) {
    if let Ok(user) = UserId::parse(id) {
        let mut names = Names::default();
        let handle = names.user(id).expect("a user's ID");
        assert_eq!(names.localpart(handle), user.localpart());
        assert_eq!(names.server_name(handle.server), user.server_name().as_str());
        assert_eq!(names.user_id(handle), id);
    }
}

/// A query in the first line, then headers: who asks, and from where.
pub(super) fn request_head(data: &[u8]) {
    let Ok(words) = str::from_utf8(data) else { return };
    let (query, rest) = words.split_once('\n').unwrap_or((words, ""));
    let mut headers = HeaderMap::new();
    for (name, value) in rest.lines().filter_map(|line| line.split_once(':')) {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value.trim())) {
            headers.append(name, value);
        }
    }
    if let Some(token) = access_token(&headers, Some(query)) {
        assert!(token.len() <= data.len());
        assert!(
            headers.contains_key(AUTHORIZATION) || query.contains("access"),
            "{token} comes from somewhere"
        );
    }
    // Only who is on this machine is believed about others.
    let stranger = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
    let proxies = Proxies::new(config::Config::default().trusted_proxies);
    assert_eq!(proxies.forwarded(stranger, &headers), None);
    let proxy = IpAddr::V4(Ipv4Addr::LOCALHOST);
    assert_eq!(proxies.origin(Some(proxy), &headers), proxies.origin(Some(proxy), &headers));
    if let Ok(signature) = XMatrix::extract_from_http_headers(&headers) {
        let again = XMatrix::parse(HeaderValue::from(&signature).to_str().expect("is text")).expect("is one");
        assert_eq!((&again.origin, &again.destination), (&signature.origin, &signature.destination));
        assert_eq!((&again.key, again.sig.as_bytes()), (&signature.key, signature.sig.as_bytes()));
    }
}

/// Parts: what is cut in two comes out as what came whole.
pub(super) fn multipart(data: &[u8]) {
    let read = |size: usize| {
        let mut parts = Multipart::of("multipart/mixed; boundary=b").expect("has parts");
        let (mut bytes, mut heads) = (Vec::new(), Vec::new());
        for piece in data.chunks(size) {
            parts.take(piece);
            loop {
                match parts.next_piece() {
                    Ok(None) => break,
                    Ok(Some(Piece::Content(content))) => bytes.extend_from_slice(&content),
                    Ok(Some(Piece::Head(head))) => heads.push(head),
                    Ok(Some(Piece::End)) => return Some((heads, bytes)),
                    Err(_) => return None,
                }
            }
        }
        None
    };
    assert_eq!(read(data.len().max(1)), read(3));
    if let Ok(said) = str::from_utf8(data) {
        file_name(said);
    }
}
