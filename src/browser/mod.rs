//! The wasm binding: DOM activity, timers, the fetch loop and what JavaScript sees.
