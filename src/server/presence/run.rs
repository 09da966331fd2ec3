//! The tasks behind presence: timers that come due, records and choices that go to the disk.

use std::{collections::BTreeMap, time::Duration};

use ruma::OwnedUserId;

use super::{
    choosing::{Choosing, Ticket},
    engine::Presence,
    said::Said,
};
use crate::{
    core::{
        presence::Record,
        time::{Instant, UnixMillis},
    },
    server::{change::feed::Change, store::StoreError},
};

/// How long after a failed write the next one is tried.
const RETRY: Duration = Duration::from_secs(1);

impl Presence {
    /// Runs the timers, and writes records to the disk, until the task is dropped.
    pub async fn run(&self) {
        tokio::join!(self.run_timers(), self.write_records());
    }

    async fn run_timers(&self) {
        loop {
            match self.arm() {
                Some(at) => tokio::select! {
                    () = self.clock.sleep_until(at) => self.handle_timeout(),
                    () = self.earlier.notified() => {}
                },
                None => self.earlier.notified().await,
            }
        }
    }

    async fn write_records(&self) {
        loop {
            self.dirty.notified().await;
            if let Err(error) = self.flush().await {
                // What the disk does not take, the store tells, and does not repeat at every attempt.
                match error {
                    StoreError::Commit(_) => tracing::debug!(%error, "presence could not be written"),
                    _ => tracing::error!(%error, "presence could not be written"),
                }
                self.clock.sleep(RETRY).await;
                self.dirty.notify_one();
            }
        }
    }

    /// Writes the records that wait, and what users chose; who waits for any of it goes on, or hears that it could not
    /// be written.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written; then the records wait again, and the choices are none.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        let (records, upto) = self.unwritten();
        let choices = self.choices.take();
        let rows = records.iter().map(|(_, user, record)| ((**user).clone(), record.clone()));
        // After what was so before they were made: of two records of a user the last one stays.
        let rows = rows.chain(self.chosen(&choices));
        let rows: Vec<_> = rows.map(|(user, record)| (user, self.as_stored(record))).collect();
        let outcome = if rows.is_empty() { Ok(()) } else { self.store.put_presence(rows).await };
        self.choices_written(choices, &outcome);
        match &outcome {
            Ok(()) => self.written.send_modify(|written| written.upto = upto.max(written.upto)),
            Err(_) => {
                self.take_back(records);
                self.written.send_modify(|written| written.refused = upto.max(written.refused));
            }
        }
        outcome
    }

    /// The engine counts from the server's start; what is kept is read by a later one.
    fn as_stored(&self, record: Record) -> Record {
        let unix = |at: UnixMillis| self.clock.unix_at(Instant::from_unix(at));
        let idle = record.idle.iter().map(|&(device, since)| (device, unix(since))).collect();
        let (last_active, last_seen) = (record.last_active.map(unix), record.last_seen.map(unix));
        Record { last_active, last_seen, idle, ..record }
    }

    /// Takes what was said of a user who is known: it is on the disk when this returns, or nothing has changed.
    ///
    /// # Errors
    /// [`StoreError`] when the disk does not take it.
    pub(super) async fn choose(&self, user: &OwnedUserId, said: Said) -> Result<(), StoreError> {
        let reports = said.reports();
        let taken = self.choices.add(user, said);
        self.dirty.notify_one();
        match taken.await {
            // What a device said of itself in the same breath has a record of its own.
            Ok(Ok(Some(ticket))) if reports => self.written(ticket).await,
            Ok(Ok(_)) => Ok(()),
            Ok(Err(e)) => Err(e),
            Err(_) => Err(StoreError::Closed),
        }
    }

    /// What is to be stored for choices; for one that changes nothing that is stored, nothing.
    pub(super) fn chosen(&self, choices: &BTreeMap<OwnedUserId, Choosing>) -> Vec<(OwnedUserId, Record)> {
        let record = |(user, Choosing { said, .. }): (&OwnedUserId, &Choosing)| {
            Some((user.clone(), self.record_with(user, said)?))
        };
        choices.iter().filter_map(record).collect()
    }

    /// The choices are on the disk: shows them, and tells those who wait; or tells them why they are not.
    pub(super) fn choices_written(
        &self,
        choices: BTreeMap<OwnedUserId, Choosing>,
        outcome: &Result<(), StoreError>,
    ) {
        for (user, Choosing { said, waiting }) in choices {
            let taken = outcome.as_ref().map(|()| self.take(&user, said));
            for sender in waiting {
                if sender.send(taken.map_err(StoreError::for_another)).is_err() {
                    tracing::trace!("whoever chose a state is gone");
                }
            }
        }
    }

    /// Tells the engine what was said, and then whoever is concerned.
    pub(super) fn take(&self, user: &OwnedUserId, said: Said) -> Option<Ticket> {
        let hides = said.hides();
        let ticket = self.input(user, |engine, user, now| said.apply(engine, user, now));
        if hides {
            self.feed.tell(&[Change::Hidden { user: user.clone() }]);
        }
        ticket
    }
}
