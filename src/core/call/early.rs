//! What is heard of a call before its invitation: kept for a while, since servers may tell the second before the first.

use std::collections::VecDeque;
use std::time::Duration;

use super::signal::{Said, Signal};
use crate::core::time::Instant;

/// The most that are kept; the oldest goes.
const MOST: usize = 32;
/// Calls that are over, of which nothing more is heard; the oldest is forgotten.
const MOST_OVER: usize = 64;
/// Of whatever is older, no invitation comes that still rings.
const LONGEST: Duration = Duration::from_secs(300);

#[derive(Debug, Default)]
pub(super) struct Early {
    heard: VecDeque<(Instant, String, Signal)>,
    over: VecDeque<(String, String)>,
}

impl Early {
    /// Keeps what is said of a call that nobody has heard of.
    pub(super) fn keep(&mut self, now: Instant, room: &str, signal: Signal, age: Duration) {
        debug_assert!(!matches!(signal.said, Said::Invite(_)), "an invitation is never early");
        if age > LONGEST || self.is_over(room, &signal.call) {
            return;
        }
        if self.heard.len() >= MOST {
            self.heard.pop_front();
        }
        self.heard.push_back((now, room.to_owned(), signal));
    }

    /// Takes out what was said of a call, in order.
    pub(super) fn take(&mut self, now: Instant, room: &str, call: &str) -> Vec<Signal> {
        let (mut found, mut rest) = (Vec::new(), VecDeque::new());
        for (at, of, signal) in self.heard.drain(..) {
            if of == room && signal.call == call {
                found.push(signal);
            } else if now.since(at) <= LONGEST {
                rest.push_back((at, of, signal));
            }
        }
        self.heard = rest;
        found
    }

    /// A call is over, or was never the own user's.
    pub(super) fn end(&mut self, room: &str, call: &str) {
        if self.is_over(room, call) {
            return;
        }
        if self.over.len() >= MOST_OVER {
            self.over.pop_front();
        }
        self.over.push_back((room.to_owned(), call.to_owned()));
    }

    pub(super) fn is_over(&self, room: &str, call: &str) -> bool {
        self.over.iter().any(|(of, known)| of == room && known == call)
    }
}
