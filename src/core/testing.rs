//! What the core's own tests share.

use proptest::test_runner::{Config, RngSeed};

/// The configuration of every property test: no files of past failures (there is no file system in
/// wasm), and a fixed seed in wasm, where no entropy can be had without a JavaScript binding.
///
/// `PROPTEST_CASES` and `PROPTEST_RNG_SEED` in the environment work as proptest documents them,
/// natively.
pub(crate) fn config() -> Config {
    let default = Config::default();
    Config {
        failure_persistence: None,
        rng_seed: if cfg!(target_arch = "wasm32") { RngSeed::Fixed(0x_b1a2e) } else { default.rng_seed },
        ..default
    }
}

/// How many seeds a simulation takes where `small` do for every day: proptest's cases multiply them, as
/// proptest is what reads the environment.
pub(crate) fn seeds(small: u64) -> u64 {
    small * u64::from(Config::default().cases) / 256
}
