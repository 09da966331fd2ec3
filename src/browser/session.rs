//! Registering and logging in: before there is a client.

use js_sys::{Function, Promise};
use wasm_bindgen::prelude::*;

use super::fetch::{Answer, Exchange, fetch};
use super::given::Given;
use super::json::{error, give};
use crate::core::client::output::Failure;
use crate::core::client::session::{
    LOGIN_PATH, Login, REGISTER_PATH, Registration, Session, Step, session_of,
};

/// Creates an account and logs in to it.
#[wasm_bindgen(skip_typescript)]
pub fn register(base_url: &str, account: &JsValue) -> Result<Promise, JsValue> {
    let given =
        Given::only(account, "account", &["username", "password", "deviceName", "registrationToken"])?;
    let registration = Registration {
        username: given.text("username")?,
        password: given.text("password")?,
        device_name: given.optional_text("deviceName")?,
        token: given.optional_text("registrationToken")?,
    };
    let base = base_url.trim_end_matches('/').to_owned();
    Ok(Promise::new(&mut |resolve, reject| {
        step(base.clone(), registration.clone(), Step::FIRST, Promised { resolve, reject });
    }))
}

/// One request of a registration, and the next one if its answer asks for more.
fn step(base: String, registration: Registration, this: Step, promise: Promised) {
    let (url, body) = (base.clone(), registration.body(&this));
    post(&url, REGISTER_PATH, &body, promise, move |answer, promise| {
        if answer.status != 401 {
            return promise.finish(&base, answer);
        }
        let failure = Failure::of_answer(401, answer.retry_after_ms, answer.text());
        match registration.next(&this, failure, answer.text()) {
            Ok(next) => step(base, registration, next, promise),
            Err(failure) => promise.end(Err(failure)),
        }
    });
}

/// Logs in with a password.
#[wasm_bindgen(skip_typescript)]
pub fn login(base_url: &str, account: &JsValue) -> Result<Promise, JsValue> {
    let given = Given::only(account, "account", &["user", "password", "deviceName", "deviceId"])?;
    let login = Login {
        user: given.text("user")?,
        password: given.text("password")?,
        device_name: given.optional_text("deviceName")?,
        device_id: given.optional_text("deviceId")?,
    };
    let base = base_url.trim_end_matches('/').to_owned();
    Ok(Promise::new(&mut |resolve, reject| {
        let (promise, base_url) = (Promised { resolve, reject }, base.clone());
        post(&base, LOGIN_PATH, &login.body(), promise, move |answer, promise| {
            promise.finish(&base_url, answer)
        });
    }))
}

/// A session as an application has kept it, perhaps with more of its own.
pub fn read_session(session: &JsValue) -> Result<Session, JsValue> {
    let given = Given::open(session, "session")?;
    let session = Session {
        base_url: given.text("baseUrl")?,
        user_id: given.text("userId")?,
        device_id: given.text("deviceId")?,
        access_token: given.text("accessToken")?,
    };
    Ok(session.without_slash())
}

/// A promise to end.
struct Promised {
    resolve: Function,
    reject: Function,
}

impl Promised {
    fn end(self, result: Result<JsValue, Failure>) {
        let called = match result {
            Ok(value) => self.resolve.call1(&JsValue::UNDEFINED, &value),
            Err(failure) => self.reject.call1(&JsValue::UNDEFINED, &error(&failure)),
        };
        debug_assert!(called.is_ok(), "a promise's own functions do not throw");
    }

    fn finish(self, base_url: &str, answer: &Answer) {
        self.end(if (200..300).contains(&answer.status) {
            session_of(base_url, answer.text())
                .map(|session| give(&session))
                .ok_or_else(Failure::not_understood)
        } else {
            Err(Failure::of_answer(answer.status, answer.retry_after_ms, answer.text()))
        });
    }
}

fn post(
    base_url: &str,
    path: &str,
    body: &str,
    promise: Promised,
    then: impl FnOnce(&Answer, Promised) + 'static,
) {
    let url = [base_url, path].concat();
    let exchange = Exchange { method: "POST", url: &url, token: None, body: Some(body), keepalive: false };
    let done = Box::new(move |outcome: Result<Answer, String>| match outcome {
        Ok(answer) => then(&answer, promise),
        Err(words) => promise.end(Err(Failure::local("NETWORK", &words))),
    });
    // Without an AbortController or Headers there is no fetch either: the page is told at once.
    if let Err(cause) = fetch(&exchange, None, done) {
        wasm_bindgen::throw_val(cause);
    }
}
