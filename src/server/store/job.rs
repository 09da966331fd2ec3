//! What the writing thread is handed: a job, which runs in a savepoint of its own, and whoever waits for it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{error::StoreError, tx::Tx};
use crate::server::{change::feed::Change, log::panic_message};

/// Runs inside the transaction; what it returns is told of the outcome of the commit.
pub(super) type Job = Box<dyn FnOnce(&Connection) -> Box<dyn Pending> + Send>;

/// A job that ran and waits for the commit of its batch.
pub(super) trait Pending {
    /// What the job told.
    fn changes(&mut self) -> Vec<Change>;
    /// Tells the caller.
    fn answer(self: Box<Self>, commit: Result<(), StoreError>);
}

/// A job of which `caller` hears what came of it.
pub(super) fn awaited<T, E>(
    job: impl FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    caller: oneshot::Sender<Result<T, E>>,
) -> Job
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    Box::new(move |connection| {
        let (result, changes) = in_savepoint(connection, job);
        Box::new(Ran { result, changes, caller })
    })
}

/// A job of which nobody hears.
pub(super) fn posted<T>(job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static) -> Job {
    Box::new(move |connection| {
        Box::new(Posted(in_savepoint(connection, |c| job(c).map(drop).map_err(StoreError::from)).0))
    })
}

/// SQLite has ended the transaction by itself.
pub(super) fn ended_early() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT_ROLLBACK);
    rusqlite::Error::SqliteFailure(code, Some("the transaction ended early".to_owned()))
}

/// A job that ran and whose caller waits.
struct Ran<T, E> {
    result: Result<T, E>,
    changes: Vec<Change>,
    caller: oneshot::Sender<Result<T, E>>,
}

/// A job that ran and that nobody waits for.
struct Posted(Result<(), StoreError>);

impl<T, E: From<StoreError>> Pending for Ran<T, E> {
    fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    fn answer(self: Box<Self>, commit: Result<(), StoreError>) {
        let outcome = self.result.and_then(|value| commit.map(|()| value).map_err(E::from));
        if self.caller.send(outcome).is_err() {
            tracing::trace!("the caller of a write is gone");
        }
    }
}

impl Pending for Posted {
    fn changes(&mut self) -> Vec<Change> {
        Vec::new()
    }

    fn answer(self: Box<Self>, commit: Result<(), StoreError>) {
        if let Err(e) = self.0.and(commit) {
            tracing::warn!(error = %e, "a write that nobody waits for failed");
        }
    }
}

/// What `job` answers, and what it told if it succeeded.
fn in_savepoint<T, E: From<StoreError>>(
    connection: &Connection,
    job: impl FnOnce(&Tx<'_>) -> Result<T, E>,
) -> (Result<T, E>, Vec<Change>) {
    let sql = |sql: &str| connection.execute_batch(sql).map_err(|e| E::from(StoreError::from(e)));
    let run = || {
        sql("SAVEPOINT job")?;
        let tx = Tx::new(connection);
        // A bug in one write must not end all writing: its changes are rolled back, like those of an error.
        let outcome = catch_unwind(AssertUnwindSafe(|| job(&tx))).unwrap_or_else(|panic| {
            Err(StoreError::Panicked(panic_message(panic.as_ref()).to_owned()).into())
        });
        match outcome {
            Ok(value) => sql("RELEASE job").map(|()| (value, tx.into_changes())),
            Err(e) => {
                sql("ROLLBACK TO job; RELEASE job")?;
                Err(e)
            }
        }
    };
    match run() {
        Ok((value, changes)) => (Ok(value), changes),
        // SQLite has ended the batch's transaction: all of the batch is undone, whatever this job makes of it.
        Err(_) if connection.is_autocommit() => {
            (Err(StoreError::Commit(ended_early().to_string()).into()), Vec::new())
        }
        Err(e) => (Err(e), Vec::new()),
    }
}
