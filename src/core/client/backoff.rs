//! Delays between attempts: doubled each time, spread so that clients do not come back all at once.

use std::time::Duration;

use crate::core::rng::Rng;

/// The first delay.
const FIRST: Duration = Duration::from_secs(1);
/// The longest delay, unless the server asks for more: a server that is back is found while people still look.
const LONGEST: Duration = Duration::from_secs(10);
/// How long a stream that had been there waits at most: whether its server is still there is shown within a second.
const SOON: Duration = Duration::from_millis(600);
/// The longest wait that a server is granted.
const LONGEST_ASKED: Duration = Duration::from_secs(3_600);

/// The delay before attempt `failures + 1`, never below what the server asked for.
pub fn delay(failures: u32, asked: Option<Duration>, rng: &mut Rng) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(4)).min(LONGEST);
    let spread = rng.jitter(doubled.mul_f64(0.75), 0.33);
    match asked {
        Some(asked) => asked.min(LONGEST_ASKED) + rng.jitter(FIRST / 4, 1.0),
        None => spread,
    }
}

/// The delay before a stream that had been there is asked for again, spread as many lose theirs at one time.
pub fn soon(rng: &mut Rng) -> Duration {
    rng.jitter(SOON / 2, 1.0)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn delays_grow_to_a_bound_and_never_undercut_the_server() {
        let mut rng = Rng::new(1);
        for failures in 0..200 {
            let drawn = delay(failures, None, &mut rng);
            assert!(drawn >= Duration::from_millis(500) && drawn <= LONGEST, "{failures}: {drawn:?}");
        }
        assert!(delay(7, None, &mut rng) >= LONGEST / 2);
        let asked = Duration::from_secs(90);
        assert!(delay(1, Some(asked), &mut rng) >= asked);
        assert!(delay(1, Some(Duration::MAX), &mut rng) <= LONGEST_ASKED + FIRST);
    }

    #[test]
    fn a_stream_is_asked_for_again_early_enough_to_show_within_a_second_that_its_server_is_gone() {
        let mut rng = Rng::new(2);
        let drawn: Vec<Duration> = (0..1_000).map(|_| soon(&mut rng)).collect();
        assert!(drawn.iter().all(|&d| d <= SOON) && SOON < FIRST * 2 / 3);
        assert!(drawn.iter().any(|&d| d < SOON / 10) && drawn.iter().any(|&d| d > SOON * 9 / 10));
    }
}
