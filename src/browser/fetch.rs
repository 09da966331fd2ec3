//! HTTP requests by the platform's `fetch`.
//!
//! A few functions serve all requests, bound to a request's number each time: nothing is left behind
//! whichever way one ends.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{AbortController, Headers, RequestInit, Response};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = fetch)]
    fn global_fetch(url: &str, init: &RequestInit) -> Promise;

    /// A promise, to be told what to do with either end.
    type Thenable;
    #[wasm_bindgen(method)]
    fn then(this: &Thenable, fulfilled: &Function, rejected: &Function) -> JsValue;

    /// An answer that may come in pieces.
    type Pieces;
    #[wasm_bindgen(method, getter)]
    fn body(this: &Pieces) -> Option<Pieces>;
    #[wasm_bindgen(method, js_name = getReader)]
    fn reader(this: &Pieces) -> Pieces;
    #[wasm_bindgen(method)]
    fn read(this: &Pieces) -> Promise;
    #[wasm_bindgen(method, getter)]
    fn value(this: &Pieces) -> JsValue;

    /// A function that can be given its first arguments.
    type Bindable;
    #[wasm_bindgen(method, js_name = bind)]
    fn bind_number(this: &Bindable, context: &JsValue, number: u32) -> Function;
    #[wasm_bindgen(method)]
    fn bind(this: &Bindable, context: &JsValue, number: u32, response: &JsValue) -> Function;
}

/// What to send.
pub struct Exchange<'a> {
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: &'a str,
    /// Where.
    pub url: &'a str,
    /// The access token.
    pub token: Option<&'a str>,
    /// A JSON body.
    pub body: Option<&'a str>,
    /// It is to arrive though the page goes.
    pub keepalive: bool,
}

/// An answer, whatever its status.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// What `Retry-After` asks for.
    pub retry_after_ms: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text; what is not UTF-8 is not JSON either.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_default()
    }
}

/// What is done with the end of a request: an answer, or the words of a failure.
type Done = Box<dyn FnOnce(Result<Answer, String>)>;

/// What is done with the bytes of an event stream as they come; there are none with its head.
pub type Heard = Rc<dyn Fn(&[u8])>;

/// A request that has not ended.
struct Waiting {
    number: u32,
    heard: Option<Heard>,
    done: Done,
}

struct Fetcher {
    last: Cell<u32>,
    waiting: RefCell<Vec<Waiting>>,
    on_response: Bindable,
    on_body: Bindable,
    on_piece: Bindable,
    on_error: Bindable,
}

thread_local! {
    static FETCHER: Fetcher = Fetcher::new();
}

impl Fetcher {
    fn new() -> Self {
        let on_response = |number: u32, response: JsValue| {
            let response: Response = response.unchecked_into();
            if FETCHER.with(|fetcher| fetcher.hear_head(number, &response)) {
                return;
            }
            let body = response.array_buffer();
            FETCHER.with(|fetcher| match body {
                Ok(body) => {
                    let on_body = fetcher.on_body.bind(&JsValue::UNDEFINED, number, &response);
                    follow(body, &on_body, &bound(&fetcher.on_error, number));
                }
                Err(cause) => fetcher.end(number, Err(words(&cause))),
            });
        };
        let on_body = |number: u32, response: JsValue, body: JsValue| {
            let response: Response = response.unchecked_into();
            let retry_after = response.headers().get("Retry-After").ok().flatten();
            let seconds = retry_after.and_then(|text| text.parse::<u32>().ok());
            let answer = Answer {
                status: response.status(),
                retry_after_ms: seconds.map(|seconds| u64::from(seconds) * 1_000),
                body: Uint8Array::new(&body).to_vec(),
            };
            FETCHER.with(|fetcher| fetcher.end(number, Ok(answer)));
        };
        let on_piece = |number: u32, reader: JsValue, piece: JsValue| {
            let piece = piece.unchecked_into::<Pieces>().value();
            FETCHER.with(|fetcher| {
                if piece.is_undefined() {
                    return fetcher.end(number, Err(String::from("the stream has ended")));
                }
                fetcher.hear(number, &Uint8Array::new(&piece).to_vec());
                fetcher.read_on(number, reader.unchecked_into());
            });
        };
        let on_error = |number: u32, cause: JsValue| {
            FETCHER.with(|fetcher| fetcher.end(number, Err(words(&cause))));
        };
        Self {
            last: Cell::new(0),
            waiting: RefCell::default(),
            on_response: Closure::<dyn Fn(u32, JsValue)>::new(on_response).into_js_value().unchecked_into(),
            on_body: Closure::<dyn Fn(u32, JsValue, JsValue)>::new(on_body).into_js_value().unchecked_into(),
            on_piece: Closure::<dyn Fn(u32, JsValue, JsValue)>::new(on_piece)
                .into_js_value()
                .unchecked_into(),
            on_error: Closure::<dyn Fn(u32, JsValue)>::new(on_error).into_js_value().unchecked_into(),
        }
    }

    fn end(&self, number: u32, outcome: Result<Answer, String>) {
        let at = self.waiting.borrow().iter().position(|waiting| waiting.number == number);
        if let Some(at) = at {
            let waiting = self.waiting.borrow_mut().swap_remove(at);
            (waiting.done)(outcome);
        }
    }

    /// Begins to read an event stream, if the answer is one and was asked for.
    fn hear_head(&self, number: u32, response: &Response) -> bool {
        let kind = response.headers().get("Content-Type").ok().flatten();
        let fits = response.ok() && kind.is_some_and(|kind| kind.starts_with("text/event-stream"));
        if !fits || self.heard(number).is_none() {
            return false;
        }
        let Some(body) = response.unchecked_ref::<Pieces>().body() else { return false };
        let reader = body.reader();
        self.hear(number, &[]);
        self.read_on(number, reader);
        true
    }

    fn heard(&self, number: u32) -> Option<Heard> {
        let waiting = self.waiting.borrow();
        waiting.iter().find(|waiting| waiting.number == number)?.heard.clone()
    }

    fn hear(&self, number: u32, bytes: &[u8]) {
        if let Some(heard) = self.heard(number) {
            heard(bytes);
        }
    }

    fn read_on(&self, number: u32, reader: Pieces) {
        let piece = reader.read();
        let on_piece = self.on_piece.bind(&JsValue::UNDEFINED, number, &reader);
        follow(piece, &on_piece, &bound(&self.on_error, number));
    }
}

/// Sends a request and reads the whole answer, then calls `done`; with `heard`, an answer that is an event stream is
/// read as it comes, and its end is a failure. Dropping the controller does not abort.
pub fn fetch(exchange: &Exchange<'_>, heard: Option<Heard>, done: Done) -> Result<AbortController, JsValue> {
    let headers = Headers::new()?;
    if let Some(token) = exchange.token {
        headers.set("Authorization", &["Bearer ", token].concat())?;
    }
    let controller = AbortController::new()?;
    let init = RequestInit::new();
    init.set_method(exchange.method);
    init.set_signal(Some(&controller.signal()));
    if let Some(body) = exchange.body {
        headers.set("Content-Type", "application/json")?;
        init.set_body(&JsValue::from_str(body));
    }
    if exchange.keepalive {
        Reflect::set(&init, &JsValue::from_str("keepalive"), &JsValue::TRUE)?;
    }
    init.set_headers(&headers);
    FETCHER.with(|fetcher| {
        let number = fetcher.last.get().wrapping_add(1);
        fetcher.last.set(number);
        fetcher.waiting.borrow_mut().push(Waiting { number, heard, done });
        let promise = global_fetch(exchange.url, &init);
        follow(promise, &bound(&fetcher.on_response, number), &bound(&fetcher.on_error, number));
    });
    Ok(controller)
}

/// The function, its first argument being the request's number.
fn bound(function: &Bindable, number: u32) -> Function {
    function.bind_number(&JsValue::UNDEFINED, number)
}

fn follow(promise: Promise, fulfilled: &Function, rejected: &Function) {
    promise.unchecked_into::<Thenable>().then(fulfilled, rejected);
}

/// The words of a failed fetch.
fn words(cause: &JsValue) -> String {
    let message = cause.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message()));
    message.unwrap_or_else(|| String::from("the network is away"))
}
