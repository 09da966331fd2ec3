//! One HTTP request by the platform's `fetch`.

use js_sys::{Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Headers, RequestInit, Response};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = fetch)]
    fn global_fetch(url: &str, init: &RequestInit) -> Promise;
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

/// Sends a request and reads the whole answer; an error is the network's, or an abort.
pub async fn fetch(
    method: &str,
    url: &str,
    token: Option<&str>,
    body: Option<&str>,
    signal: Option<&AbortSignal>,
) -> Result<Answer, JsValue> {
    let headers = Headers::new()?;
    if let Some(token) = token {
        headers.set("Authorization", &["Bearer ", token].concat())?;
    }
    let init = RequestInit::new();
    init.set_method(method);
    init.set_signal(signal);
    if let Some(body) = body {
        headers.set("Content-Type", "application/json")?;
        init.set_body(&JsValue::from_str(body));
    }
    init.set_headers(&headers);
    let response: Response = JsFuture::from(global_fetch(url, &init)).await?.unchecked_into();
    let retry_after = response.headers().get("Retry-After")?;
    let buffer = JsFuture::from(response.array_buffer()?).await?;
    Ok(Answer {
        status: response.status(),
        retry_after_ms: retry_after.and_then(|text| text.parse::<u32>().ok()).map(|s| u64::from(s) * 1_000),
        body: Uint8Array::new(&buffer).to_vec(),
    })
}

/// The words of a failed fetch.
pub fn reason(error: &JsValue) -> String {
    let message = error.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message()));
    message.unwrap_or_else(|| String::from("the network is away"))
}
