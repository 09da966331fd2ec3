//! When the stream counts as lost, and what is shown of presence until it is back.
//!
//! Presence is believed for a grace after the stream broke off, or after the answer to a long poll was due:
//! short interruptions show nobody anything. Then everybody is unknown, oneself included. The first answer
//! brings back what was known and what changed meanwhile in ONE change set.

use std::sync::Arc;
use std::time::Duration;

use super::output::{Change, Connection, Failure, Output};
use super::pending::{Awaited, Pending};
use super::presence::Presence;
use super::role::Client;
use crate::core::time::Instant;
use crate::core::wire::sync::SyncBody;

impl Client {
    /// A sync begins that the server may hold open for so long. Attempts after a failure prolong nothing.
    pub(super) fn expect_answer(&mut self, now: Instant, hold: Duration) {
        if self.sync.failures == 0 && !self.book.is_lost() {
            self.sync.lost_at = Some(now + hold + self.presence_grace);
        }
    }

    /// The stream broke off.
    pub(super) fn note_interruption(&mut self, now: Instant) {
        self.sync.broken_at.get_or_insert(now);
        if !self.book.is_lost() {
            let latest = now + self.presence_grace;
            self.sync.lost_at = Some(self.sync.lost_at.map_or(latest, |at| at.min(latest)));
        }
    }

    pub(super) fn handle_loss_timeout(&mut self, now: Instant) {
        if self.sync.lost_at.is_some_and(|at| at <= now) {
            self.sync.broken_at.get_or_insert(now);
            self.lose_stream();
        }
    }

    /// Nobody tells of changes: nothing that was heard is shown as true.
    pub(super) fn lose_stream(&mut self) {
        self.sync.lost_at = None;
        let changes = self.book.handle_lost();
        self.show_presence(changes);
    }

    /// Applies what a sync says of presence; one change set tells what differs from what was shown.
    pub(super) fn apply_presence(&mut self, now: Instant, body: &SyncBody<'_>) {
        let mut changes = Vec::new();
        if self.sync.since.is_none() {
            let mentioned = body.presence.iter().map(|event| &*event.sender);
            changes.extend(self.book.handle_anew(mentioned, now.to_unix()));
        }
        for event in &body.presence {
            if *event.sender == *self.user_id {
                self.handle_own_presence(&event.content);
            }
            changes.extend(self.book.handle(event, now.to_unix()));
        }
        if self.book.is_lost() {
            changes = self.book.handle_regained(changes);
        }
        self.show_presence(changes);
    }

    fn show_presence(&mut self, changes: Vec<Arc<Presence>>) {
        if !changes.is_empty() {
            self.outputs.push_back(Output::Changed(Change::Presence(changes)));
        }
    }

    /// The system says that there is no network: what is under way will not be answered.
    pub fn handle_network_down(&mut self, now: Instant) {
        if self.is_running() {
            self.give_up_sync();
            self.delay_sync(now, Failure::local("NETWORK", "the network is down"));
            self.settle(now);
        }
    }

    /// Another request was lost on the way: the stream is asked at once whether the server is there.
    pub(super) fn doubt_connection(&mut self, now: Instant, failure: Failure) {
        if self.connection != Connection::Online {
            return;
        }
        self.give_up_sync();
        self.delay_sync(now, failure);
        self.sync.resume_at_once(now);
        self.continue_sync(now);
    }

    pub(super) fn give_up_sync(&mut self) {
        self.close_stream();
        let follows = |pending: &Pending| {
            matches!(pending.awaited, Awaited::Sync(_) | Awaited::Stream | Awaited::Versions)
        };
        if let Some(at) = self.pending.iter().position(follows) {
            let pending = self.pending.remove(at);
            self.outputs.push_back(Output::Cancel(pending.id));
        }
    }
}
