//! The options an application passes to a client.

use std::time::Duration;

use js_sys::{Object, Reflect};
use wasm_bindgen::prelude::*;

use super::activity::has_document;
use super::given::Given;
use super::json::{integer, range_error, type_error};
use crate::core::client::{Options, PresenceGrace};
use crate::core::idle::IdleTimeout;
use crate::core::presence::DeviceType;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = Math, js_name = random)]
    fn random() -> f64;
    #[wasm_bindgen(catch, js_name = matchMedia)]
    fn match_media(query: &str) -> Result<JsValue, JsValue>;
}

/// The options, checked.
pub struct Checked {
    /// Those of the role.
    pub role: Options,
    /// Where to keep what outlives the page; see `Store::open`.
    pub storage: JsValue,
    /// Whether to watch the page for the user's activity.
    pub track_activity: bool,
}

const FIELDS: [&str; 5] = ["idleTimeoutMs", "presenceGraceMs", "deviceType", "storage", "trackActivity"];

/// Reads and checks `options`, an object or undefined.
pub fn check(options: &JsValue) -> Result<Checked, JsValue> {
    let none = Object::new().into();
    let given = Given::only(if options.is_undefined() { &none } else { options }, "options", &FIELDS)?;
    let idle_timeout = match given.optional_number("idleTimeoutMs")? {
        None => IdleTimeout::default(),
        Some(ms) => {
            let ms = integer(ms, "idleTimeoutMs")?;
            let refused = "idleTimeoutMs must be from 60000 to 300000 (1 to 5 minutes)";
            IdleTimeout::new(Duration::from_millis(ms)).map_err(|_| range_error(refused))?
        }
    };
    let presence_grace = match given.optional_number("presenceGraceMs")? {
        None => PresenceGrace::default(),
        Some(ms) => {
            let ms = integer(ms, "presenceGraceMs")?;
            let refused = "presenceGraceMs must be from 0 to 300000 (5 minutes)";
            PresenceGrace::new(Duration::from_millis(ms)).ok_or_else(|| range_error(refused))?
        }
    };
    let device_type = match given.optional_text("deviceType")? {
        Some(word) => word.parse().map_err(|error: crate::core::presence::device_type::BadDeviceType| {
            type_error(&["deviceType: ", &error.to_string()].concat())
        })?,
        None => usual_device_type(),
    };
    let track_activity = given.optional_flag("trackActivity")?.unwrap_or(true) && has_document();
    let seed = (random() * 9_007_199_254_740_992.0) as u64;
    let role = Options { idle_timeout, device_type, presence_grace, seed };
    Ok(Checked { role, storage: given.value("storage")?, track_activity })
}

/// A page on a screen for fingers is on a mobile device; any other page, and anything else, is on the web.
fn usual_device_type() -> DeviceType {
    let coarse = has_document()
        && match_media("(pointer: coarse)")
            .and_then(|query| Reflect::get(&query, &"matches".into()))
            .is_ok_and(|matches| matches.is_truthy());
    if coarse { DeviceType::MOBILE } else { DeviceType::WEB }
}
