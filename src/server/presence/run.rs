//! The tasks behind presence and typing: timers that come due, records that go to the disk.

use std::{sync::Arc, time::Duration};

use super::Presence;
use crate::{
    core::time::Instant,
    server::{
        app::App,
        store::{Store, StoreError},
    },
};

/// How long after a failed write the next one is tried.
const RETRY: Duration = Duration::from_secs(1);

/// Runs the timers of presence and typing, and writes presence to the disk, until the task is dropped.
pub async fn run(app: Arc<App>) {
    tokio::join!(run_timers(&app), write_records(&app), app.typing.run());
}

async fn run_timers(app: &App) {
    loop {
        let next = {
            let mut inner = app.presence.lock();
            inner.armed = inner.engine.poll_timeout();
            inner.armed
        };
        match next {
            Some(at) => tokio::select! {
                () = app.clock.sleep_until(at) => {}
                () = app.presence.earlier.notified() => continue,
            },
            None => {
                app.presence.earlier.notified().await;
                continue;
            }
        }
        let told = app.presence.handle_timeout(&app.live, app.now());
        app.tell(told);
    }
}

async fn write_records(app: &App) {
    loop {
        app.presence.dirty.notified().await;
        if let Err(e) = app.presence.flush(&app.store).await {
            tracing::error!(error = %e, "presence could not be written");
            app.clock.sleep(RETRY).await;
            app.presence.dirty.notify_one();
        }
    }
}

impl Presence {
    /// Writes the records that wait; who waits for one of them goes on.
    pub async fn flush(&self, store: &Store) -> Result<(), StoreError> {
        let (records, upto) = {
            let mut inner = self.lock();
            let records = std::mem::take(&mut inner.unwritten);
            let named =
                records.into_iter().map(|(key, r)| (key, (*inner.users[key.0 as usize].user).to_owned(), r));
            (named.collect::<Vec<_>>(), inner.queued)
        };
        if !records.is_empty() {
            let written =
                store.put_presence(records.iter().map(|(_, u, r)| (u.clone(), r.clone())).collect()).await;
            if let Err(e) = written {
                let mut inner = self.lock();
                for (key, _, record) in records {
                    inner.unwritten.entry(key).or_insert(record);
                }
                return Err(e);
            }
        }
        self.written.send_if_modified(|written| std::mem::replace(written, upto.max(*written)) != upto);
        Ok(())
    }

    fn handle_timeout(
        &self,
        live: &crate::server::change::position::Live,
        now: Instant,
    ) -> Vec<crate::server::change::feed::Change> {
        let mut inner = self.lock();
        inner.engine.handle_timeout(now);
        self.drain(&mut inner, live, now)
    }
}
