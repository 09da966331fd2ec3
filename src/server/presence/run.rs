//! The tasks behind presence: timers that come due, records that go to the disk.

use std::time::Duration;

use super::engine::Presence;
use crate::{
    core::{
        presence::Record,
        time::{Instant, UnixMillis},
    },
    server::store::StoreError,
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
            if let Err(e) = self.flush().await {
                tracing::error!(error = %e, "presence could not be written");
                self.clock.sleep(RETRY).await;
                self.dirty.notify_one();
            }
        }
    }

    /// Writes the records that wait; who waits for one of them goes on, or hears that it could not be written.
    ///
    /// # Errors
    /// [`StoreError`] when they could not be written; then they wait again.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let (records, upto) = self.unwritten();
        if !records.is_empty() {
            // The engine counts from the server's start; what is kept is read by a later one.
            let row = |record: &Record| {
                let unix = |at: UnixMillis| self.clock.unix_at(Instant::from_unix(at));
                let idle = record.idle.iter().map(|&(device, since)| (device, unix(since))).collect();
                let (last_active, last_seen) = (record.last_active.map(unix), record.last_seen.map(unix));
                Record { last_active, last_seen, idle, ..record.clone() }
            };
            let rows = records.iter().map(|(_, user, record)| ((**user).clone(), row(record))).collect();
            if let Err(e) = self.store.put_presence(rows).await {
                self.take_back(records);
                self.written.send_modify(|written| written.refused = upto.max(written.refused));
                return Err(e);
            }
        }
        self.written.send_modify(|written| written.upto = upto.max(written.upto));
        Ok(())
    }
}
