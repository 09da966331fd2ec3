//! Seeded randomness: the same seed gives the same numbers everywhere, for ever.
//!
//! For spreading deadlines and for simulations. Never for secrets: who sees a few numbers can tell
//! the next.

use std::ops::Range;
use std::time::Duration;

use super::time::millis;

/// A generator of pseudo-random numbers (SplitMix64: Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A generator that is wholly determined by `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number within `range`, each (but for a bias below 2⁻⁶⁴ × its length) as likely as the others.
    ///
    /// An empty range is a bug of the caller and panics.
    pub fn range(&mut self, range: Range<u64>) -> u64 {
        assert!(range.start < range.end, "nothing to choose from in {range:?}");
        let length = u128::from(range.end - range.start);
        let offset = (u128::from(self.next_u64()) * length) >> 64;
        range.start + u64::try_from(offset).expect("below the length, which is a u64")
    }

    /// True in `numerator` of `denominator` cases.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.range(0..denominator) < numerator
    }

    /// `duration` made longer or shorter by up to `fraction` of itself (0 to 1; more counts as 1).
    pub fn jitter(&mut self, duration: Duration, fraction: f64) -> Duration {
        let spread = millis(duration.mul_f64(fraction.clamp(0.0, 1.0)));
        if spread == 0 {
            return duration;
        }
        let shortest = duration.saturating_sub(Duration::from_millis(spread));
        let added = self.range(0..spread.saturating_mul(2).saturating_add(1));
        shortest.saturating_add(Duration::from_millis(added))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn numbers_are_those_of_the_published_algorithm() {
        let mut rng = Rng::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| rng.next_u64()).collect();
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn a_range_is_filled_and_never_left() {
        let mut rng = Rng::new(7);
        let mut seen = [0u32; 6];
        for _ in 0..6_000 {
            let n = rng.range(10..16);
            seen[usize::try_from(n - 10).expect("small")] += 1;
        }
        assert!(seen.iter().all(|&count| (800..1_200).contains(&count)), "{seen:?}");
        assert_eq!(rng.range(u64::MAX - 1..u64::MAX), u64::MAX - 1);
    }

    #[test]
    fn jitter_stays_within_its_fraction_on_both_sides() {
        let mut rng = Rng::new(7);
        let base = Duration::from_secs(60);
        let drawn: Vec<Duration> = (0..1_000).map(|_| rng.jitter(base, 0.1)).collect();
        assert!(drawn.iter().all(|d| (54..=66).contains(&d.as_secs())));
        assert!(drawn.iter().any(|&d| d < base) && drawn.iter().any(|&d| d > base));
        assert_eq!(rng.jitter(base, 0.0), base);
        assert!(rng.jitter(base, 9.0) <= base * 2);
    }
}
