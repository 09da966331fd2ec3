//! Registering and logging in: before there is a client.

use wasm_bindgen::prelude::*;

use super::fetch::{Answer, fetch, reason};
use super::json::{error, from_js, to_js};
use crate::core::client::output::Failure;
use crate::core::client::session::{
    LOGIN_PATH, Login, REGISTER_PATH, Registration, dummy_session, session_of,
};

/// Creates an account and logs in to it.
#[wasm_bindgen(skip_typescript)]
pub async fn register(base_url: String, account: JsValue) -> Result<JsValue, JsValue> {
    let registration: Registration = from_js(&account, "register")?;
    let mut answer = post(&base_url, REGISTER_PATH, &registration.body(None)).await?;
    if answer.status == 401
        && let Some(session) = dummy_session(&answer.body)
    {
        answer = post(&base_url, REGISTER_PATH, &registration.body(Some(&session))).await?;
    }
    finish(&base_url, &answer)
}

/// Logs in with a password.
#[wasm_bindgen(skip_typescript)]
pub async fn login(base_url: String, account: JsValue) -> Result<JsValue, JsValue> {
    let login: Login = from_js(&account, "login")?;
    let answer = post(&base_url, LOGIN_PATH, &login.body()).await?;
    finish(&base_url, &answer)
}

async fn post(base_url: &str, path: &str, body: &str) -> Result<Answer, JsValue> {
    let url = [base_url.trim_end_matches('/'), path].concat();
    let answer = fetch("POST", &url, None, Some(body), None).await;
    answer.map_err(|cause| error(&Failure::local("NETWORK", &reason(&cause))))
}

fn finish(base_url: &str, answer: &Answer) -> Result<JsValue, JsValue> {
    if !(200..300).contains(&answer.status) {
        return Err(error(&Failure::of_answer(answer.status, answer.retry_after_ms, &answer.body)));
    }
    let session = session_of(base_url, &answer.body);
    let session =
        session.ok_or_else(|| error(&Failure::local("BAD_ANSWER", "the server answered no session")))?;
    Ok(to_js(&session))
}
