//! How long somebody who was denied is not heard again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::time::{Instant, UnixMillis};

/// How long after the first denial; after each further one in a row twice as long.
const FIRST: Duration = Duration::from_secs(60 * 60);

/// How long at most.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How often a user was denied in a row, and until when they are not heard again.
///
/// A request that comes until then is kept and waits, as any other does for all that the asker sees; the user is
/// asked only after it. What is accepted unasked is accepted at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denials {
    in_a_row: u32,
    until: UnixMillis,
}

impl Denials {
    /// Whether there was none since the user was accepted last.
    pub fn is_none(&self) -> bool {
        self.in_a_row == 0
    }

    /// Whether a request is to be heard.
    pub fn hear(&self, now: Instant) -> bool {
        now >= Instant::from_unix(self.until)
    }

    /// Their request was denied.
    pub fn handle_denied(&mut self, now: Instant) {
        let times = 1_u32.checked_shl(self.in_a_row).unwrap_or(u32::MAX);
        self.until = (now + FIRST.saturating_mul(times).min(LONGEST)).to_unix();
        self.in_a_row = self.in_a_row.saturating_add(1);
    }

    /// They were accepted: all is forgiven.
    pub fn handle_accepted(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    #[test]
    fn l2_the_pause_doubles_with_each_denial_is_bounded_and_ends_with_an_acceptance() {
        let (mut denials, mut now) = (Denials::default(), Instant::from_millis(1_000));
        assert!(denials.hear(now) && denials.is_none());
        for hours in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 720, 720] {
            denials.handle_denied(now);
            let end = now + HOUR * hours;
            assert!(!denials.hear(end - Duration::from_millis(1)) && denials.hear(end), "{hours} hours");
            now = end;
        }
        for _ in 0..100 {
            denials.handle_denied(now);
        }
        assert!(denials.hear(now + LONGEST), "however often");
        denials.handle_accepted();
        assert_eq!(denials, Denials::default());
        denials.handle_denied(now);
        assert!(denials.hear(now + HOUR));
    }

    #[test]
    fn l2_what_was_kept_before_there_were_denials_has_none() {
        let denials: Denials = serde_json::from_str(r#"{"in_a_row":2,"until":7}"#).expect("its own JSON");
        assert!(!denials.is_none() && !denials.hear(Instant::from_millis(6)));
    }
}
