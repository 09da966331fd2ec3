//! The shell's one timer.

use std::cell::{Cell, RefCell};

use wasm_bindgen::prelude::*;

use crate::core::time::{Instant, millis};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &JsValue, ms: f64) -> JsValue;
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(handle: &JsValue);
}

/// Longer delays overflow in browsers; waking early does no harm.
const LONGEST_MS: u64 = 3_600_000;

/// Wakes the shell when the core asks for it.
#[derive(Debug)]
pub struct Timer {
    callback: Closure<dyn FnMut()>,
    armed: Cell<Option<Instant>>,
    handle: RefCell<JsValue>,
}

impl Timer {
    /// A timer that calls `wake`, and is not armed.
    pub fn new(wake: impl FnMut() + 'static) -> Self {
        Self {
            callback: Closure::new(wake),
            armed: Cell::new(None),
            handle: RefCell::new(JsValue::UNDEFINED),
        }
    }

    /// The timer has fired.
    pub fn fired(&self) {
        self.armed.set(None);
    }

    /// Arms it for `deadline`, or disarms it.
    pub fn arm(&self, deadline: Option<Instant>, now: Instant) {
        if self.armed.get() == deadline {
            return;
        }
        clear_timeout(&self.handle.borrow());
        self.armed.set(deadline);
        if let Some(deadline) = deadline {
            let delay = millis(deadline.since(now)).clamp(1, LONGEST_MS);
            *self.handle.borrow_mut() = set_timeout(self.callback.as_ref(), delay as f64);
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        clear_timeout(&self.handle.borrow());
    }
}
