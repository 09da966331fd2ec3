//! The program for libFuzzer: which target it feeds is in `FUZZ_TARGET`.

#![no_main]

use std::sync::OnceLock;

use pilotlight::server::fuzzed::{Target, target};

static TARGET: OnceLock<Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    TARGET.get_or_init(|| target(&std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names one")))(data);
});
