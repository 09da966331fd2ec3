//! The one thread that writes: batches of jobs, one transaction and one sync to the disk each.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{StoreError, log};
use crate::server::{change::position::LogPosition, log::panic_message};

/// Jobs that wait at most; a writer this far behind makes callers wait their turn.
const QUEUE: usize = 4096;

/// Jobs that share one transaction at most.
const BATCH: usize = 256;

/// Runs inside the transaction; what it returns is told of the outcome of the commit.
type Job = Box<dyn FnOnce(&Connection) -> Box<dyn Pending> + Send>;

/// A job that ran and waits for the commit of its batch.
trait Pending {
    /// The batch is on the disk: brings what is held in memory up to date.
    fn apply(&mut self);
    /// Tells the caller.
    fn answer(self: Box<Self>, commit: Result<(), StoreError>);
}

struct Ran<T, E, A> {
    result: Result<T, E>,
    apply: Option<A>,
    caller: oneshot::Sender<Result<T, E>>,
}

/// A job that ran and that nobody waits for.
struct Posted(Result<(), StoreError>);

/// The handle on the writing thread.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Mutex<Option<SyncSender<Job>>>,
    committed: Arc<AtomicU64>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Writer {
    /// Starts the thread on its own connection.
    pub(super) fn start(connection: Connection) -> Self {
        let (jobs, inbox) = sync_channel(QUEUE);
        let (end, ended) = oneshot::channel();
        let position = log::position(&connection).expect("the schema has a log with one row");
        let committed = Arc::new(AtomicU64::new(position.get()));
        let publish = Arc::clone(&committed);
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                write_until_closed(connection, &inbox, &publish);
                if end.send(()).is_err() {
                    tracing::trace!("nobody waits for the store to close");
                }
            })
            .expect("a thread can be started when the server starts");
        Self { jobs: Mutex::new(Some(jobs)), committed, ended: Mutex::new(Some(ended)) }
    }

    /// The last log position that is on the disk and applied to what is held in memory.
    pub(super) fn committed(&self) -> LogPosition {
        LogPosition::new(self.committed.load(Ordering::Acquire))
    }

    /// See [`super::Store::write_then`].
    pub(super) async fn run<T, E>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        apply: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (send, receive) = oneshot::channel();
        let mut job: Job = Box::new(move |connection| {
            Box::new(Ran { result: in_savepoint(connection, job), apply: Some(apply), caller: send })
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

    /// See [`super::Store::write_later`].
    pub(super) fn post<T>(&self, job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static) {
        let job: Job = Box::new(move |connection| {
            Box::new(Posted(in_savepoint(connection, |c| job(c).map(drop).map_err(StoreError::from))))
        });
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(_)) = jobs.as_ref().map(|jobs| jobs.try_send(job)) {
            tracing::debug!("a write that nobody waits for was passed over");
        }
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

impl<T, E: From<StoreError>, A: FnOnce(&T)> Pending for Ran<T, E, A> {
    fn apply(&mut self) {
        if let (Ok(value), Some(apply)) = (&self.result, self.apply.take()) {
            apply(value);
        }
    }

    fn answer(self: Box<Self>, commit: Result<(), StoreError>) {
        let outcome = self.result.and_then(|value| commit.map(|()| value).map_err(E::from));
        if self.caller.send(outcome).is_err() {
            tracing::trace!("the caller of a write is gone");
        }
    }
}

impl Pending for Posted {
    fn apply(&mut self) {}

    fn answer(self: Box<Self>, commit: Result<(), StoreError>) {
        if let Err(e) = self.0.and(commit) {
            tracing::warn!(error = %e, "a write that nobody waits for failed");
        }
    }
}

fn in_savepoint<T, E: From<StoreError>>(
    connection: &Connection,
    job: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    let sql = |sql: &str| connection.execute_batch(sql).map_err(|e| E::from(StoreError::from(e)));
    sql("SAVEPOINT job")?;
    // A bug in one write must not end all writing: its changes are rolled back, like those of an error.
    let outcome = catch_unwind(AssertUnwindSafe(|| job(connection)))
        .unwrap_or_else(|panic| Err(StoreError::Panicked(panic_message(panic.as_ref()).to_owned()).into()));
    match outcome {
        Ok(value) => sql("RELEASE job").map(|()| value),
        Err(e) => {
            sql("ROLLBACK TO job; RELEASE job")?;
            Err(e)
        }
    }
}

fn write_until_closed(connection: Connection, inbox: &Receiver<Job>, publish: &AtomicU64) {
    while let Ok(first) = inbox.recv() {
        let mut answers: Vec<Box<dyn Pending>> = Vec::new();
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
        let outcome = begun.and_then(|()| {
            let position = log::position(&connection)?;
            connection.execute_batch("COMMIT")?;
            Ok(position)
        });
        if let Ok(position) = outcome {
            // Memory first, then the position: whoever reads the position finds everything up to it.
            for ran in &mut answers {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| ran.apply())) {
                    tracing::error!(panic = panic_message(panic.as_ref()), "memory lags behind the disk");
                }
            }
            publish.store(position.get(), Ordering::Release);
        }
        if let Err(e) = &outcome {
            tracing::error!(error = %e, "a batch of writes failed");
            if !connection.is_autocommit()
                && let Err(e) = connection.execute_batch("ROLLBACK")
            {
                tracing::error!(error = %e, "and could not be rolled back");
            }
        }
        for answer in answers {
            answer.answer(
                outcome.as_ref().map(|_| ()).map_err(|e| StoreError::Corrupt(format!("commit failed: {e}"))),
            );
        }
    }
    if let Err((_, e)) = connection.close() {
        tracing::error!(error = %e, "cannot close the database");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer() -> Writer {
        let connection = Connection::open_in_memory().expect("opens");
        connection.execute_batch(include_str!("schema/log.sql")).expect("is valid SQL");
        Writer::start(connection)
    }

    fn advance(connection: &Connection) -> Result<u64, StoreError> {
        Ok(log::advance(connection)?.get())
    }

    #[tokio::test]
    async fn memory_is_brought_up_to_date_in_the_order_of_the_log_and_before_its_position_shows() {
        let writer = Arc::new(writer());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let jobs: Vec<_> = (0..40)
            .map(|_| {
                let (writer, seen) = (Arc::clone(&writer), Arc::clone(&seen));
                tokio::spawn(async move {
                    let committed = Arc::clone(&writer.committed);
                    let apply = move |p: &u64| {
                        assert!(committed.load(Ordering::Acquire) < *p);
                        seen.lock().expect("no panic").push(*p);
                    };
                    let position = writer.run(advance, apply).await.expect("is written");
                    assert!(writer.committed() >= LogPosition::new(position));
                })
            })
            .collect();
        for job in jobs {
            job.await.expect("holds");
        }
        assert_eq!(*seen.lock().expect("no panic"), (1..=40).collect::<Vec<u64>>());
    }

    #[tokio::test]
    async fn a_job_that_fails_changes_nothing_and_is_not_applied() {
        let writer = writer();
        let result = writer
            .run(
                |c| advance(c).and_then(|_| Err::<(), _>(StoreError::Corrupt("no".into()))),
                |()| panic!("is not applied"),
            )
            .await;
        assert!(matches!(result, Err(StoreError::Corrupt(_))));
        assert_eq!(writer.run(advance, |_| {}).await.expect("is written"), 1);
        writer.close().await;
        assert!(matches!(writer.run(advance, |_| {}).await, Err(StoreError::Closed)));
    }

    #[tokio::test]
    async fn a_write_that_panics_leaves_nothing_behind_and_the_next_one_works() {
        let writer = writer();
        let outcome = writer.run(|c| advance(c).map(|_| panic!("a bug")), |_: &()| {}).await;
        assert!(matches!(outcome, Err(StoreError::Panicked(what)) if what == "a bug"));
        writer.run(advance, |_| panic!("a bug in memory")).await.expect("is on the disk all the same");
        assert_eq!(writer.run(advance, |_| {}).await.expect("is written"), 2);
    }

    #[tokio::test]
    async fn a_write_that_fails_leaves_its_neighbours_alone() {
        let writer = writer();
        let fails = writer.run(|c| advance(c).and_then(|_| Err::<(), _>(StoreError::Closed)), |()| {});
        let (a, b, c) = tokio::join!(writer.run(advance, |_| {}), fails, writer.run(advance, |_| {}));
        assert!(b.is_err());
        assert_eq!((a.expect("is written"), c.expect("is written")), (1, 2));
    }

    #[tokio::test]
    async fn closing_writes_what_was_taken_also_when_nobody_waits() {
        let writer = writer();
        writer.post(log::advance);
        let committed = Arc::clone(&writer.committed);
        writer.close().await;
        assert_eq!(committed.load(Ordering::Acquire), 1);
    }
}
