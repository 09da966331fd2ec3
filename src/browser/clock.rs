//! The clock: Unix time taken once, carried on monotonically, and never standing still while the machine
//! sleeps.

use std::cell::Cell;

use wasm_bindgen::prelude::*;

use crate::core::time::Instant;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = Date, js_name = now)]
    fn date_now() -> f64;
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}

/// Two platform clocks made one. `performance.now()` never runs backwards, but stands still in some
/// browsers while the machine sleeps; `Date.now()` counts sleep, but follows every correction.
#[derive(Debug)]
pub struct Clock {
    steady: Cell<f64>,
    wall: Cell<f64>,
    elapsed: Cell<f64>,
}

impl Clock {
    /// A clock that starts at the Unix time.
    pub fn new() -> Self {
        let wall = date_now();
        Self { steady: Cell::new(performance_now()), wall: Cell::new(wall), elapsed: Cell::new(wall) }
    }

    /// Now: the Unix time, but for corrections of the wall clock backwards.
    pub fn now(&self) -> Instant {
        let (steady, wall) = (performance_now(), date_now());
        let passed = (steady - self.steady.replace(steady)).max(wall - self.wall.replace(wall)).max(0.0);
        self.elapsed.set(self.elapsed.get() + passed);
        Instant::from_millis(self.elapsed.get() as u64)
    }
}

/// Milliseconds for throttling; cheap.
pub fn ticks() -> f64 {
    performance_now()
}
