//! The shell's parts in a page: what the DOM, the storage, the network and the clock of a browser do to them.

mod activity;
mod fetch;
mod storage;
mod timer;

use js_sys::{Function, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// What a line of JavaScript says.
fn js(line: &str) -> JsValue {
    Function::new_no_args(line).call0(&JsValue::UNDEFINED).expect("the line runs")
}

/// Lets so many milliseconds pass.
async fn pass(ms: u32) {
    let line = ["return new Promise((resolve) => setTimeout(resolve, ", &ms.to_string(), "))"].concat();
    JsFuture::from(js(&line).unchecked_into::<Promise>()).await.expect("time passes");
}
