//! What is counted.

use super::cost::Cost;
use crate::core::time::Instant;

/// The counts of a run so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// What the engines sent.
    pub ours: Cost,
    /// What one message for each change and server would have been.
    pub per_change: Cost,
    /// What one stanza for each contact would have been, with the probes of those who log in and the
    /// answers to them.
    pub per_contact: Cost,
    /// Changes of users, logins and logouts among them.
    pub changes: u64,
    /// Logins.
    pub logins: u64,
    /// The milliseconds that users spent online, in all.
    pub online_ms: u64,
    /// Our messages that named users in pushes.
    pub pushes: u64,
    /// The users named in these.
    pub pushed_users: u64,
    /// Our messages that polled.
    pub polls: u64,
    /// Our messages that were nothing but reminders.
    pub reminders: u64,
    /// Our reminders that asked for an answer, by the minute in which they were sent: the long watchdogs.
    pub long_reminders: Vec<u64>,
    /// Our other reminders, by the second in which they were sent: the short watchdogs.
    pub short_reminders: Vec<u64>,
    /// Our messages that did not arrive, or whose acknowledgement did not.
    pub failed: u64,
    /// Our messages by the minute.
    pub by_minute: Vec<Minute>,
    /// Events of the simulation.
    pub events: u64,
}

/// One minute of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Minute {
    /// Our messages.
    pub ours: u64,
    /// Those of one-per-change.
    pub per_change: u64,
    /// Users of the first server whose status its first peer knew at the end of the minute.
    pub known: u64,
    /// Our messages to the first server.
    pub to_first: u64,
}

impl Tally {
    /// The hours that users spent online, in all.
    pub fn user_hours(&self) -> f64 {
        self.online_ms as f64 / 3_600_000.0
    }

    /// Counts a reminder that was sent `at` that time; whether it asks for an answer.
    pub(super) fn add_reminder(&mut self, at: Instant, answer: bool) {
        let (counts, unit) = match answer {
            true => (&mut self.long_reminders, 60_000),
            false => (&mut self.short_reminders, 1_000),
        };
        let index = usize::try_from(at.as_millis() / unit).expect("a run has fewer seconds than that");
        if counts.len() <= index {
            counts.resize(index + 1, 0);
        }
        counts[index] += 1;
    }

    /// The counts of `minute`.
    pub(super) fn minute(&mut self, minute: u64) -> &mut Minute {
        let index = usize::try_from(minute).expect("a run has fewer minutes than that");
        if self.by_minute.len() <= index {
            self.by_minute.resize(index + 1, Minute::default());
        }
        &mut self.by_minute[index]
    }
}
