//! What a call has to say: one event after the other, each until the server has it; candidates are collected, so that they are few
//! events.

use std::collections::VecDeque;
use std::time::Duration;

use super::output::{Delivery, Token};
use crate::core::time::Instant;

/// The most events that wait; of what is beyond it the call ends sooner.
const MOST_WAITING: usize = 32;
/// The most candidates of one event.
const MOST_CANDIDATES: usize = 32;
/// The most candidates of one description.
const MOST_COLLECTED: usize = 256;

/// An event that is to be sent.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) kind: &'static str,
    pub(super) content: String,
    /// Set while it is under way and once it was: a repetition is the same event.
    pub(super) token: Option<Token>,
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Waiting>,
    /// Whether the first is under way.
    flies: bool,
    /// When the first may be sent again.
    resume_at: Option<Instant>,
    candidates: Vec<String>,
    collected: usize,
    flush_at: Option<Instant>,
}

impl Outbox {
    pub(super) fn push(&mut self, kind: &'static str, content: String) {
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push_back(Waiting { kind, content, token: None });
        }
    }

    /// Whether nothing is left to be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether the server may know of any of it: all that was begun to be sent.
    pub(super) fn is_begun(&self) -> bool {
        self.waiting.front().is_none_or(|first| first.token.is_some())
    }

    /// Drops what is not under way: it is of use to nobody any more.
    pub(super) fn drop_rest(&mut self) {
        let keep = usize::from(self.flies || self.waiting.front().is_some_and(|first| first.token.is_some()));
        self.waiting.truncate(keep);
        self.candidates.clear();
        self.flush_at = None;
    }

    /// A new description has candidates of its own.
    pub(super) fn begin_candidates(&mut self) {
        self.candidates.clear();
        self.collected = 0;
        self.flush_at = None;
    }

    /// Collects a candidate, a JSON object.
    pub(super) fn collect(&mut self, candidate: &str, now: Instant, wait: Duration) {
        if self.collected < MOST_COLLECTED {
            self.collected += 1;
            self.candidates.push(candidate.to_owned());
            self.flush_at.get_or_insert(now + wait);
        }
    }

    /// There are no more.
    pub(super) fn end_candidates(&mut self, now: Instant) {
        self.candidates.push(String::from(r#"{"candidate":""}"#));
        self.flush_at = Some(now);
    }

    /// The candidates that are due, as a JSON array.
    pub(super) fn take_candidates(&mut self, now: Instant) -> Option<String> {
        self.flush_at.filter(|&at| at <= now)?;
        let rest = self.candidates.split_off(self.candidates.len().min(MOST_CANDIDATES));
        let due = std::mem::replace(&mut self.candidates, rest);
        self.flush_at = self.flush_at.filter(|_| !self.candidates.is_empty());
        Some(["[", &due.join(","), "]"].concat())
    }

    /// The next to be sent; `next_token` numbers it, if it is sent for the first time.
    pub(super) fn poll(&mut self, now: Instant, next_token: &mut u64) -> Option<(Token, &Waiting)> {
        if self.flies || self.resume_at.is_some_and(|at| at > now) {
            return None;
        }
        let first = self.waiting.front_mut()?;
        let token = *first.token.get_or_insert_with(|| {
            *next_token += 1;
            Token(*next_token)
        });
        self.flies = true;
        self.resume_at = None;
        Some((token, first))
    }

    pub(super) fn knows(&self, token: Token) -> bool {
        self.waiting.front().is_some_and(|first| first.token == Some(token))
    }

    /// The first has come to an end, or waits for its next attempt; answers its type.
    pub(super) fn handle_sent(&mut self, now: Instant, delivery: Delivery) -> Option<&'static str> {
        self.flies = false;
        if let Delivery::Lost(wait) = delivery {
            self.resume_at = Some(now + wait);
            return None;
        }
        self.waiting.pop_front().map(|first| first.kind)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let resume = self.resume_at.filter(|_| !self.flies && !self.waiting.is_empty());
        [resume, self.flush_at].into_iter().flatten().min()
    }
}
