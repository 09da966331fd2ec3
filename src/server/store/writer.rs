//! The one thread that writes: batches of jobs, one transaction and one sync to the disk each.

use std::sync::{
    Mutex, PoisonError,
    mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::StoreError;

/// Jobs that wait at most; a writer this far behind makes callers wait their turn.
const QUEUE: usize = 4096;

/// Jobs that share one transaction at most.
const BATCH: usize = 256;

/// Runs inside the transaction; what it returns is called with the outcome of the commit.
type Job = Box<dyn FnOnce(&Connection) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// The handle on the writing thread.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Mutex<Option<SyncSender<Job>>>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Writer {
    /// Starts the thread on its own connection.
    pub(super) fn start(connection: Connection) -> Self {
        let (jobs, inbox) = sync_channel(QUEUE);
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                write_until_closed(connection, &inbox);
                if end.send(()).is_err() {
                    tracing::trace!("nobody waits for the store to close");
                }
            })
            .expect("a thread can be started when the server starts");
        Self { jobs: Mutex::new(Some(jobs)), ended: Mutex::new(Some(ended)) }
    }

    /// See [`super::Store::write`].
    pub(super) async fn run<T, E>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (send, receive) = oneshot::channel();
        let mut job: Job = Box::new(move |connection| {
            let result = in_savepoint(connection, job);
            Box::new(move |commit| {
                let outcome = result.and_then(|value| commit.map(|()| value).map_err(E::from));
                if send.send(outcome).is_err() {
                    tracing::trace!("the caller of a write is gone");
                }
            })
        });
        loop {
            let Some(jobs) = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone() else {
                return Err(StoreError::Closed.into());
            };
            match jobs.try_send(job) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) => {
                    job = back;
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                }
                Err(TrySendError::Disconnected(_)) => return Err(StoreError::Closed.into()),
            }
        }
        receive.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    /// Takes no further jobs and waits until those taken are written.
    pub(super) async fn close(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended
            && ended.await.is_err()
        {
            tracing::error!("the store's thread ended before its time");
        }
    }
}

fn in_savepoint<T, E: From<StoreError>>(
    connection: &Connection,
    job: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    let sql = |sql: &str| connection.execute_batch(sql).map_err(|e| E::from(StoreError::from(e)));
    sql("SAVEPOINT job")?;
    match job(connection) {
        Ok(value) => sql("RELEASE job").map(|()| value),
        Err(e) => {
            sql("ROLLBACK TO job; RELEASE job")?;
            Err(e)
        }
    }
}

fn write_until_closed(connection: Connection, inbox: &Receiver<Job>) {
    while let Ok(first) = inbox.recv() {
        let mut answers = Vec::new();
        let begun = connection.execute_batch("BEGIN IMMEDIATE");
        if begun.is_ok() {
            answers.push(first(&connection));
            while answers.len() < BATCH {
                match inbox.try_recv() {
                    Ok(job) => answers.push(job(&connection)),
                    Err(_) => break,
                }
            }
        }
        let outcome = begun.and_then(|()| connection.execute_batch("COMMIT"));
        if let Err(e) = &outcome {
            tracing::error!(error = %e, "a batch of writes failed");
            if !connection.is_autocommit()
                && let Err(e) = connection.execute_batch("ROLLBACK")
            {
                tracing::error!(error = %e, "and could not be rolled back");
            }
        }
        for answer in answers {
            answer(
                outcome
                    .as_ref()
                    .map(|&()| ())
                    .map_err(|e| StoreError::Corrupt(format!("commit failed: {e}"))),
            );
        }
    }
    if let Err((_, e)) = connection.close() {
        tracing::error!(error = %e, "cannot close the database");
    }
}
