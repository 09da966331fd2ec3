//! Requests by the browser's own `fetch`, and every way one can end.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::wasm_bindgen_test as test;
use web_sys::AbortController;

use super::super::fetch::{Answer, Exchange, Heard, fetch};
use super::js;

/// Sends it, does something to it, and waits for its end.
async fn exchange(exchange: Exchange<'_>, then: impl FnOnce(AbortController)) -> Result<Answer, String> {
    listen(exchange, None, then).await
}

/// The same, with somebody who hears what comes of a stream.
async fn listen(
    exchange: Exchange<'_>,
    heard: Option<Heard>,
    then: impl FnOnce(AbortController),
) -> Result<Answer, String> {
    let end = Rc::new(RefCell::new(None));
    let mut controller = None;
    let promise = Promise::new(&mut |resolve, _| {
        let end = Rc::clone(&end);
        let done = Box::new(move |outcome| {
            *end.borrow_mut() = Some(outcome);
            resolve.call0(&JsValue::UNDEFINED).expect("a promise's own function");
        });
        controller = Some(fetch(&exchange, heard.clone(), done).expect("a page can fetch"));
    });
    then(controller.expect("a request was made"));
    JsFuture::from(promise).await.expect("it ends");
    end.take().expect("with an outcome")
}

fn to(url: &str) -> Exchange<'_> {
    Exchange { method: "GET", url, token: None, body: None, keepalive: false }
}

/// Puts a function in the place of the browser's, for as long as this lives.
struct Instead;

impl Instead {
    fn of_fetch(function: &str) -> Self {
        js(&["globalThis.realFetch = fetch; globalThis.fetch = ", function].concat());
        Self
    }
}

impl Drop for Instead {
    fn drop(&mut self) {
        js("globalThis.fetch = globalThis.realFetch");
    }
}

#[test]
async fn an_answer_comes_with_its_status_and_its_bytes() {
    let answer = exchange(to("data:application/json,%7B%22a%22%3A%22%E2%98%83%22%7D"), drop).await.unwrap();
    assert_eq!((answer.status, answer.text(), answer.retry_after_ms), (200, "{\"a\":\"☃\"}", None));
    let missing = exchange(to("/no-such-file-here"), drop).await.unwrap();
    assert_eq!(missing.status, 404, "a refusal is an answer");
}

#[test]
async fn what_is_not_utf8_is_no_text() {
    let answer = exchange(to("data:application/octet-stream;base64,/w=="), drop).await.unwrap();
    assert_eq!((answer.body.as_slice(), answer.text()), (&[0xff][..], ""));
}

#[test]
async fn token_and_body_go_out_and_the_wish_to_wait_comes_back() {
    let instead = Instead::of_fetch(
        "async (url, init) => new Response(
            JSON.stringify([url, init.method, init.headers.get('Authorization'), init.headers.get('Content-Type'), init.body]),
            { status: 429, headers: { 'Retry-After': '7' } })",
    );
    let sent = Exchange {
        method: "PUT",
        url: "http://hs/x",
        token: Some("secret"),
        body: Some("{}"),
        keepalive: false,
    };
    let answer = exchange(sent, drop).await.unwrap();
    assert_eq!((answer.status, answer.retry_after_ms), (429, Some(7_000)));
    assert_eq!(answer.text(), r#"["http://hs/x","PUT","Bearer secret","application/json","{}"]"#);
    drop(instead);
}

#[test]
async fn a_server_that_is_not_there_ends_it_with_words() {
    assert!(exchange(to("http://127.0.0.1:1/"), drop).await.is_err_and(|words| !words.is_empty()));
    assert!(exchange(to("no-such-scheme:x"), drop).await.is_err());
}

#[test]
async fn a_request_that_is_given_up_ends_at_once_and_so_does_a_body_that_breaks_off() {
    let instead = Instead::of_fetch(
        "(url, { signal }) => new Promise((_, reject) =>
            signal.addEventListener('abort', () => reject(new DOMException('given up', 'AbortError'))))",
    );
    assert!(exchange(to("http://hs/slow"), |controller| controller.abort()).await.is_err());
    drop(instead);
    let instead = Instead::of_fetch(
        "async () => new Response(new ReadableStream({ start: (body) => body.error(new Error('broken off')) }))",
    );
    assert!(exchange(to("http://hs/broken"), drop).await.is_err());
    drop(instead);
}

#[test]
async fn an_event_stream_is_heard_as_it_comes_and_any_other_answer_comes_whole() {
    let instead = Instead::of_fetch(
        "async (url) => new Response(
            new ReadableStream({ start(body) {
                for (const part of [[1], [2, 3]]) body.enqueue(new Uint8Array(part));
                body.close();
            } }),
            { status: url.endsWith('refused') ? 403 : 200,
              headers: { 'Content-Type': url.endsWith('json') ? 'application/json' : 'text/event-stream; charset=utf-8' } })",
    );
    for (url, is_heard) in
        [("http://hs/stream", true), ("http://hs/json", false), ("http://hs/refused", false)]
    {
        let parts = Rc::new(RefCell::new(Vec::new()));
        let all = Rc::clone(&parts);
        let heard = Rc::new(move |bytes: &[u8]| all.borrow_mut().push(bytes.to_vec())) as Heard;
        let end = listen(to(url), Some(heard), drop).await;
        if is_heard {
            assert_eq!(*parts.borrow(), [vec![], vec![1], vec![2, 3]], "the head, then each part");
            assert!(end.is_err(), "a stream has no good end");
        } else {
            assert_eq!(end.map(|answer| answer.body), Ok(vec![1, 2, 3]), "{url}");
            assert!(parts.borrow().is_empty());
        }
    }
    drop(instead);
}
