//! The user's choice of a state on its way to the server (P2, P3): shown at once, kept while the server is
//! away and over restarts, and told when the stream is there.
//!
//! One choice is under way at a time, and at most one waits behind it: a later one takes the place of one that
//! waits, with the words of both. Only a refusal takes a choice back.

use super::backoff;
use super::choice_report::{ChoiceReport, Wish};
use super::output::{Failure, Output, Ticket};
use super::pending::{Awaited, Then};
use super::role::{Client, Dialect};
use super::stored::{CHOICE_KEY, WISH_KEY};
use crate::core::presence::{Choice, StatusMsg};
use crate::core::time::Instant;
use crate::core::wire::object::Object;
use crate::core::wire::path::path;
use crate::core::wire::write;

impl Client {
    /// Chooses a state and, unless kept, a status message (P2, P3). Shown at once; the answer comes when the
    /// server has taken it, or has refused it.
    pub fn set_presence(&mut self, now: Instant, choice: Choice, words: StatusMsg) -> Ticket {
        if !self.is_running() {
            let (path, body) = self.choice_request(choice, &words);
            return self.command(now, Then::Choice { choice, words }, "PUT", path, Some(body));
        }
        let ticket = self.next_ticket();
        let words = match self.choice.waiting.take() {
            Some(older) => {
                self.answer_wish(older.ticket, Ok(()));
                later(older.words, words)
            }
            None => words,
        };
        if !self.choice.is_open() {
            self.choice.taken = Some((self.me.state, self.me.status_msg.clone()));
        }
        self.show_choice(choice, &words);
        self.choice.waiting = Some(Wish { choice, words, ticket: Some(ticket) });
        self.store_wish();
        self.settle(now);
        ticket
    }

    /// Tells the server, when it can be told.
    pub(super) fn transmit_choice(&mut self, now: Instant) {
        let busy = self.choice.under_way.is_some() || self.choice.resume_at.is_some();
        if busy || !self.is_online() {
            return;
        }
        let Some(wish) = self.choice.waiting.take() else { return };
        let (path, body) = self.choice_request(wish.choice, &wish.words);
        self.choice.under_way = Some(wish);
        self.request(now, Awaited::Choice, "PUT", path, Some(body));
    }

    pub(super) fn conclude_choice(&mut self, now: Instant, outcome: Result<(), Failure>) {
        let Some(wish) = self.choice.under_way.take() else { return };
        match outcome {
            Ok(()) => {
                self.choice.failures = 0;
                self.choice.taken = self.choice.waiting.is_some().then(|| {
                    let words = match &wish.words {
                        StatusMsg::Keep => self.choice.taken.take().and_then(|(_, words)| words),
                        StatusMsg::Set(words) => Some(words.clone()),
                        StatusMsg::Clear => None,
                    };
                    (wish.choice, words)
                });
                self.keep_choice(wish.choice);
                self.answer_wish(wish.ticket, Ok(()));
            }
            Err(failure) if failure.is_transient() => {
                self.choice.failures = self.choice.failures.saturating_add(1);
                let delay = backoff::delay(self.choice.failures, failure.retry_after(), &mut self.rng);
                self.choice.resume_at = Some(now + delay);
                self.wait_again(wish);
            }
            Err(failure) => {
                if self.choice.waiting.is_none()
                    && let Some((state, words)) = self.choice.taken.take()
                {
                    (self.me.state, self.me.status_msg) = (state, words);
                }
                self.answer_wish(wish.ticket, Err(failure));
            }
        }
        self.store_wish();
    }

    /// The client stops: who waits for an answer hears so, and the wish waits for the next start.
    pub(super) fn interrupt_choice(&mut self, why: &Failure) {
        if let Some(wish) = self.choice.under_way.take() {
            self.wait_again(wish);
        }
        let ticket = self.choice.waiting.as_mut().and_then(|wish| wish.ticket.take());
        self.answer_wish(ticket, Err(why.clone()));
        self.choice.resume_at = None;
    }

    /// The session has ended: nothing is to be told any more.
    pub(super) fn forget_choice(&mut self) {
        if self.choice.is_open() {
            self.interrupt_choice(&Failure::local("STOPPED", "the client was stopped"));
            self.choice = ChoiceReport::default();
            self.store_wish();
        }
    }

    /// Takes back a choice that an earlier run could not tell.
    pub(super) fn restore_choice(&mut self, stored: &str) {
        let Some(stored) = Object::parse(stored) else { return };
        let Some(choice) = stored.text("state").and_then(|word| word.parse().ok()) else { return };
        let words = match stored.raw("words") {
            None => StatusMsg::Keep,
            Some(_) => StatusMsg::from_nullable(stored.string("words")).unwrap_or(StatusMsg::Keep),
        };
        self.show_choice(choice, &words);
        self.choice.waiting = Some(Wish { choice, words, ticket: None });
    }

    /// The server took a choice while this client was not running.
    pub(super) fn handle_choice(&mut self, choice: Choice, words: &StatusMsg) {
        self.show_choice(choice, words);
        self.keep_choice(choice);
    }

    fn show_choice(&mut self, choice: Choice, words: &StatusMsg) {
        self.me.state = choice;
        match words {
            StatusMsg::Keep => (),
            StatusMsg::Set(words) => self.me.status_msg = Some(words.clone()),
            StatusMsg::Clear => self.me.status_msg = None,
        }
    }

    /// Servers other than this project's do not keep a choice.
    fn keep_choice(&mut self, choice: Choice) {
        if self.dialect != Dialect::Pilotlight {
            let value = Some(choice.as_str().to_owned());
            self.outputs.push_back(Output::Store { key: CHOICE_KEY.to_owned(), value });
        }
    }

    /// What could not be told waits, unless a later choice does.
    fn wait_again(&mut self, wish: Wish) {
        match &mut self.choice.waiting {
            None => self.choice.waiting = Some(wish),
            Some(newer) => {
                newer.words = later(wish.words, std::mem::replace(&mut newer.words, StatusMsg::Keep));
                self.answer_wish(wish.ticket, Ok(()));
            }
        }
    }

    fn answer_wish(&mut self, ticket: Option<Ticket>, result: Result<(), Failure>) {
        if let Some(ticket) = ticket {
            let result = result.map(|()| String::new());
            self.outputs.push_back(Output::Answer { ticket, result });
        }
    }

    fn store_wish(&mut self) {
        let wish = self.choice.waiting.as_ref().or(self.choice.under_way.as_ref());
        let value = wish.map(|wish| {
            write::object(|fields| {
                fields.text("state", wish.choice.as_str());
                write_words(fields, "words", &wish.words);
            })
        });
        self.outputs.push_back(Output::Store { key: WISH_KEY.to_owned(), value });
    }

    fn choice_request(&self, choice: Choice, words: &StatusMsg) -> (String, String) {
        let (presence, told) = match self.dialect {
            Dialect::Unknown | Dialect::Pilotlight => (choice.as_str(), words.clone()),
            Dialect::Stock => (choice.state().matrix().as_str(), self.words_for_stock(words)),
        };
        let body = write::object(|body| {
            body.text("presence", presence);
            write_words(body, "status_msg", &told);
        });
        (path("/_matrix/client/v3", &["presence", &self.user_id, "status"]), body)
    }

    /// On a stock server an absent message clears: to keep one is to send it again.
    fn words_for_stock(&self, words: &StatusMsg) -> StatusMsg {
        match (words, &self.me.status_msg) {
            (StatusMsg::Set(words), _) | (StatusMsg::Keep, Some(words)) => StatusMsg::Set(words.clone()),
            (StatusMsg::Clear, _) | (StatusMsg::Keep, None) => StatusMsg::Keep,
        }
    }
}

/// The words after both: what keeps leaves the older ones.
fn later(older: StatusMsg, newer: StatusMsg) -> StatusMsg {
    match newer {
        StatusMsg::Keep => older,
        StatusMsg::Set(_) | StatusMsg::Clear => newer,
    }
}

fn write_words(fields: &mut write::Fields<'_>, key: &str, words: &StatusMsg) {
    match words {
        StatusMsg::Keep => (),
        StatusMsg::Set(words) => fields.text(key, words),
        StatusMsg::Clear => fields.raw(key, "null"),
    }
}
