//! The shell's one timer.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use gloo_timers::callback::Timeout;

use crate::core::time::{Instant, millis};

/// Longer delays overflow in browsers; waking early does no harm.
const LONGEST_MS: u64 = 3_600_000;

/// Wakes the shell when the core asks for it.
pub struct Timer {
    wake: Rc<dyn Fn()>,
    armed: Cell<Option<Instant>>,
    /// Cancelled when dropped.
    timeout: RefCell<Option<Timeout>>,
}

impl Timer {
    /// A timer that calls `wake`, and is not armed.
    pub fn new(wake: impl Fn() + 'static) -> Self {
        Self { wake: Rc::new(wake), armed: Cell::new(None), timeout: RefCell::new(None) }
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
        self.armed.set(deadline);
        let timeout = deadline.map(|deadline| {
            let delay = millis(deadline.since(now)).clamp(1, LONGEST_MS);
            let wake = Rc::clone(&self.wake);
            Timeout::new(delay as u32, move || wake())
        });
        self.timeout.replace(timeout);
    }
}
