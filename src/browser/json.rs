//! Values between Rust and JavaScript, and the errors that JavaScript sees.

use std::cell::RefCell;

use js_sys::{Array, Function, JSON, RangeError, Reflect, TypeError};
use serde::Serialize;
use wasm_bindgen::prelude::*;

use crate::core::client::output::Failure;
use crate::core::wire::write::ToJson;

/// The largest integer that JavaScript counts exactly.
const MAX_EXACT: f64 = 9_007_199_254_740_991.0;

thread_local! {
    static ERROR_CLASS: RefCell<Option<Function>> = const { RefCell::new(None) };
}

/// Tells the class of the errors to throw: called as `new Class(code, message, status, retryAfterMs)`.
#[wasm_bindgen(js_name = setErrorClass, skip_typescript)]
pub fn set_error_class(class: Function) {
    ERROR_CLASS.with(|slot| *slot.borrow_mut() = Some(class));
}

/// A JavaScript object from a small value.
pub fn give(value: &impl Serialize) -> JsValue {
    serde_wasm_bindgen::to_value(value).expect("every value of ours has a form in JavaScript")
}

/// A JavaScript value from anything that has a JSON form.
pub fn to_js(value: &(impl ToJson + ?Sized)) -> JsValue {
    parse(&value.to_json())
}

/// A JavaScript value from JSON text.
pub fn parse(text: &str) -> JsValue {
    JSON::parse(text).unwrap_or(JsValue::NULL)
}

/// JSON text of a JavaScript value; `what` names it in the error.
pub fn stringify(value: &JsValue, what: &str) -> Result<String, JsValue> {
    let text = JSON::stringify(value).ok().and_then(|text| text.as_string());
    text.ok_or_else(|| type_error(&[what, " is not a JSON value"].concat()))
}

/// JSON text of a JavaScript object; `what` names it in the error.
pub fn object_text(value: &JsValue, what: &str) -> Result<String, JsValue> {
    if !value.is_object() {
        return Err(type_error(&[what, " must be an object"].concat()));
    }
    stringify(value, what)
}

/// An integer from a JavaScript number. NaN, fractions, negative numbers and those that JavaScript does
/// not count exactly are refused.
pub fn integer(number: f64, what: &str) -> Result<u64, JsValue> {
    if number.fract() == 0.0 && (0.0..=MAX_EXACT).contains(&number) {
        return Ok(number as u64);
    }
    Err(range_error(&[what, " must be an integer from 0 to 2^53 - 1"].concat()))
}

/// A `TypeError`, whose `code` is `BAD_ARGUMENT`.
pub fn type_error(message: &str) -> JsValue {
    with_code(TypeError::new(message).into(), "BAD_ARGUMENT")
}

/// A `RangeError`, whose `code` is `OUT_OF_RANGE`.
pub fn range_error(message: &str) -> JsValue {
    with_code(RangeError::new(message).into(), "OUT_OF_RANGE")
}

fn with_code(error: JsValue, code: &str) -> JsValue {
    let set = Reflect::set(&error, &"code".into(), &code.into());
    debug_assert!(set.is_ok(), "a new error takes a property");
    error
}

/// The error that JavaScript sees for a failure.
pub fn error(failure: &Failure) -> JsValue {
    let arguments = Array::of4(
        &JsValue::from_str(&failure.code),
        &JsValue::from_str(&failure.message),
        &failure.status.map_or(JsValue::UNDEFINED, JsValue::from),
        &failure.retry_after_ms.map_or(JsValue::UNDEFINED, |ms| JsValue::from_f64(ms as f64)),
    );
    let class = ERROR_CLASS.with(|slot| slot.borrow().clone());
    let built = class.and_then(|class| Reflect::construct(&class, &arguments).ok());
    built.unwrap_or_else(|| js_sys::Error::new(&failure.message).into())
}
