//! Registering and logging in: before there is a client.

use js_sys::{Function, Promise};
use wasm_bindgen::prelude::*;

use super::fetch::{Answer, Exchange, fetch};
use super::json::{error, give, read};
use crate::core::client::output::Failure;
use crate::core::client::session::{
    LOGIN_PATH, Login, REGISTER_PATH, Registration, dummy_session, session_of,
};

/// Creates an account and logs in to it.
#[wasm_bindgen(skip_typescript)]
pub fn register(base_url: &str, account: &JsValue) -> Result<Promise, JsValue> {
    let registration: Registration = read(account, "account")?;
    let base_url = base_url.trim_end_matches('/').to_owned();
    Ok(Promise::new(&mut |resolve, reject| {
        let (promise, body) = (Promised { resolve, reject }, registration.body(None));
        let (registration, base) = (registration.clone(), base_url.clone());
        post(&base_url, REGISTER_PATH, &body, promise, move |answer, promise| {
            match dummy_session(answer.text()) {
                Some(session) if answer.status == 401 => {
                    let body = registration.body(Some(&session));
                    let finish = {
                        let base = base.clone();
                        move |answer: &Answer, promise: Promised| promise.finish(&base, answer)
                    };
                    post(&base, REGISTER_PATH, &body, promise, finish);
                }
                _ => promise.finish(&base, answer),
            }
        });
    }))
}

/// Logs in with a password.
#[wasm_bindgen(skip_typescript)]
pub fn login(base_url: &str, account: &JsValue) -> Result<Promise, JsValue> {
    let login: Login = read(account, "account")?;
    let base = base_url.trim_end_matches('/').to_owned();
    Ok(Promise::new(&mut |resolve, reject| {
        let (promise, base_url) = (Promised { resolve, reject }, base.clone());
        post(&base, LOGIN_PATH, &login.body(), promise, move |answer, promise| {
            promise.finish(&base_url, answer)
        });
    }))
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
    let exchange = Exchange { method: "POST", url: &url, token: None, body: Some(body) };
    let done = Box::new(move |outcome: Result<Answer, String>| match outcome {
        Ok(answer) => then(&answer, promise),
        Err(words) => promise.end(Err(Failure::local("NETWORK", &words))),
    });
    // Without an AbortController or Headers there is no fetch either: the page is told at once.
    if let Err(cause) = fetch(&exchange, done) {
        wasm_bindgen::throw_val(cause);
    }
}
