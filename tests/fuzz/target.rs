//! Every program for libFuzzer: which parser it feeds is its name.

#![no_main]

use std::sync::OnceLock;

use pilotlight::server::fuzzed::{Target, target};

static TARGET: OnceLock<Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    TARGET.get_or_init(|| target(env!("CARGO_BIN_NAME")))(data);
});
