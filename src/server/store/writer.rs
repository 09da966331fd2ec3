//! The one thread that writes: batches of jobs, one transaction and one sync to the disk each.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    error::StoreError,
    job::{self, Job, Pending, ended_early},
    log,
    mark::Mark,
    tail::Tail,
    tx::Tx,
};
use crate::server::{
    change::{
        feed::{Change, Feed},
        position::LogPosition,
    },
    log::panic_message,
};

/// Jobs that wait at most; a writer this far behind makes callers wait their turn.
const QUEUE: usize = 4096;

/// Jobs that share one transaction at most.
const BATCH: usize = 256;

/// The handle on the writing thread.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Mutex<Option<SyncSender<Job>>>,
    committed: Arc<AtomicU64>,
    told: Arc<AtomicU64>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Writer {
    /// Starts the thread on its own connection. What is committed is noted in `mark`; who has none is on a visit.
    pub(super) fn start(
        connection: Connection,
        mark: Option<Mark>,
        tail: Arc<Tail>,
        feed: Arc<Feed>,
    ) -> Self {
        let (jobs, inbox) = sync_channel(QUEUE);
        let (end, ended) = oneshot::channel();
        let position = log::position(&connection).expect("the schema has a log with one row");
        let committed = Arc::new(AtomicU64::new(position.get()));
        let told = Arc::new(AtomicU64::new(position.get()));
        let (publish, telling) = (Arc::clone(&committed), Arc::clone(&told));
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                Thread { connection, mark, publish, told: telling, tail, feed, failed: 0 }
                    .write_until_closed(&inbox);
                if end.send(()).is_err() {
                    tracing::trace!("nobody waits for the store to close");
                }
            })
            .expect("a thread can be started when the server starts");
        Self { jobs: Mutex::new(Some(jobs)), committed, told, ended: Mutex::new(Some(ended)) }
    }

    /// The last log position that is on the disk and applied to what is held in memory.
    pub(super) fn committed(&self) -> LogPosition {
        LogPosition::new(self.committed.load(Ordering::Acquire))
    }

    /// The last log position of which everybody was told whom it concerns.
    pub(super) fn told(&self) -> LogPosition {
        LogPosition::new(self.told.load(Ordering::Acquire))
    }

    /// See [`super::database::Store::write`].
    pub(super) async fn run<T, E>(
        &self,
        job: impl FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        match self.enqueue(job).await {
            Ok(outcome) => outcome.await.unwrap_or_else(|_| Err(StoreError::Closed.into())),
            Err(e) => Err(e.into()),
        }
    }

    /// Hands `job` to the thread, after those that were handed to it before, and does not wait for it: the receiver
    /// gets the outcome.
    pub(super) async fn enqueue<T, E>(
        &self,
        job: impl FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<T, E>>, StoreError>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (send, receive) = oneshot::channel();
        let mut job = job::awaited(job, send);
        loop {
            let Some(jobs) = self.jobs.lock().clone() else {
                return Err(StoreError::Closed);
            };
            match jobs.try_send(job) {
                Ok(()) => return Ok(receive),
                Err(TrySendError::Full(back)) => {
                    job = back;
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                }
                Err(TrySendError::Disconnected(_)) => return Err(StoreError::Closed),
            }
        }
    }

    /// See [`super::database::Store::write_later`].
    pub(super) fn post<T>(&self, job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static) {
        let job = job::posted(job);
        let jobs = self.jobs.lock();
        if let Some(Err(_)) = jobs.as_ref().map(|jobs| jobs.try_send(job)) {
            tracing::debug!("a write that nobody waits for was passed over");
        }
    }

    /// Takes no further jobs and waits until those taken are written.
    pub(super) async fn close(&self) {
        self.jobs.lock().take();
        let ended = self.ended.lock().take();
        if let Some(ended) = ended
            && ended.await.is_err()
        {
            tracing::error!("the store's thread ended before its time");
        }
    }
}

/// What the writing thread has.
struct Thread {
    connection: Connection,
    mark: Option<Mark>,
    publish: Arc<AtomicU64>,
    told: Arc<AtomicU64>,
    tail: Arc<Tail>,
    feed: Arc<Feed>,
    /// The batches that failed since one was written.
    failed: u64,
}

/// How far a commit has come.
struct Committed {
    position: LogPosition,
    /// Of all commits; `None` when there was nothing to write.
    count: Option<i64>,
}

impl Thread {
    fn write_until_closed(mut self, inbox: &Receiver<Job>) {
        while let Ok(first) = inbox.recv() {
            let mut answers: Vec<Box<dyn Pending>> = Vec::new();
            let outcome = self.batch(first, inbox, &mut answers);
            match &outcome {
                Ok(committed) => {
                    self.note_success(committed);
                    self.publish(committed, &mut answers);
                }
                Err(e) => {
                    self.note_failure(e);
                    self.roll_back();
                }
            }
            for answer in answers {
                answer.answer(outcome.as_ref().map(drop).map_err(|e| StoreError::Commit(e.to_string())));
            }
        }
        self.close();
    }

    /// Runs `first` and what else waits in one transaction, and commits it.
    fn batch(
        &self,
        first: Job,
        inbox: &Receiver<Job>,
        answers: &mut Vec<Box<dyn Pending>>,
    ) -> rusqlite::Result<Committed> {
        let connection = &self.connection;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let before = log::changes(connection)?;
        let mut next = Some(first);
        while let Some(job) = next {
            answers.push(job(connection));
            // When the disk is full or fails, SQLite can end the transaction by itself: what came before this job
            // is undone with it, and what comes after must not be committed one by one.
            if connection.is_autocommit() {
                return Err(ended_early());
            }
            next = if answers.len() < BATCH { inbox.try_recv().ok() } else { None };
        }
        let committed = if log::changes(connection)? == before {
            Committed { position: log::position(connection)?, count: None }
        } else {
            let (position, count) = log::count_commit(connection)?;
            Committed { position, count: Some(count) }
        };
        connection.execute_batch("COMMIT")?;
        Ok(committed)
    }

    /// Tells what was committed. Memory first, then the position, then whoever waits: who reads the position finds
    /// everything up to it, and who is woken reads the position.
    fn publish(&mut self, committed: &Committed, answers: &mut [Box<dyn Pending>]) {
        if let (Some(mark), Some(count)) = (&mut self.mark, committed.count) {
            mark.note(count);
        }
        let changes: Vec<Change> = answers.iter_mut().flat_map(|ran| ran.changes()).collect();
        let _telling = self.feed.live().telling();
        for change in &changes {
            self.tail.follow(change);
            guarded("memory lags behind the disk", || self.feed.follow(change));
        }
        self.publish.store(committed.position.get(), Ordering::Release);
        guarded("somebody was not told of a change", || self.feed.tell(&changes));
        self.told.store(committed.position.get(), Ordering::Release);
    }

    /// A disk that is full fails each write for as long as it is: the log has the first, and then ever fewer.
    fn note_failure(&mut self, error: &rusqlite::Error) {
        self.failed += 1;
        if self.failed.is_power_of_two() {
            let failed = self.failed;
            tracing::error!(%error, failed, "the disk does not take what is to be written: requests are refused");
        }
    }

    fn note_success(&mut self, committed: &Committed) {
        if self.failed > 0 && committed.count.is_some() {
            tracing::info!(failed = self.failed, "the disk takes what is to be written again");
            self.failed = 0;
        }
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(e) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(error = %e, "and could not be rolled back");
        }
    }

    /// Leaves one whole file. Of a visit, the server's own end does that.
    fn close(self) {
        if let Some(mark) = self.mark {
            if let Err(e) = log::into_one_file(&self.connection) {
                tracing::warn!(error = %e, "the write-ahead log stays beside the database: both are needed");
            }
            if let Err(e) = mark.sync() {
                tracing::warn!(error = %e, "what was acknowledged is noted, and perhaps not on the disk");
            }
        }
        if let Err((_, e)) = self.connection.close() {
            tracing::error!(error = %e, "cannot close the database");
        }
    }
}

/// Runs what belongs to others: a bug there must not end all writing.
fn guarded(lost: &str, run: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
        tracing::error!(panic = panic_message(panic.as_ref()), "{lost}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::change::feed::Subscriber;

    /// Notes what it hears of, and whether that could be seen by then.
    #[derive(Debug, Default)]
    struct Noted {
        committed: Mutex<Option<Arc<AtomicU64>>>,
        followed: Mutex<Vec<u64>>,
        told: Mutex<Vec<u64>>,
        panics: std::sync::atomic::AtomicBool,
    }

    impl Noted {
        fn committed(&self) -> u64 {
            self.committed.lock().as_ref().expect("is set").load(Ordering::Acquire)
        }
    }

    fn number(change: &Change) -> u64 {
        let Change::AccountData { position, .. } = change else { panic!("not told here") };
        position.get()
    }

    impl Subscriber for Noted {
        fn follow(&self, change: &Change) {
            assert!(!self.panics.load(Ordering::Acquire), "a bug in memory");
            assert!(self.committed() < number(change), "nobody can see it yet");
            self.followed.lock().push(number(change));
        }

        fn tell(&self, changes: &[Change]) {
            assert!(changes.iter().all(|change| number(change) <= self.committed()), "can be read");
            self.told.lock().extend(changes.iter().map(number));
        }
    }

    fn writer() -> (Writer, Arc<Noted>) {
        let connection = Connection::open_in_memory().expect("opens");
        connection.execute_batch(include_str!("schema/log.sql")).expect("is valid SQL");
        let (feed, noted) = (Arc::new(Feed::default()), Arc::new(Noted::default()));
        feed.subscribe(Some(Arc::clone(&noted) as Arc<dyn Subscriber>));
        let tail = Arc::new(Tail::starting_at(LogPosition::START));
        let writer = Writer::start(connection, None, tail, feed);
        *noted.committed.lock() = Some(Arc::clone(&writer.committed));
        (writer, noted)
    }

    fn advance(tx: &Tx<'_>) -> Result<u64, StoreError> {
        let position = log::advance(tx)?;
        tx.tell(Change::AccountData { user: ruma::user_id!("@a:x").to_owned(), position });
        Ok(position.get())
    }

    #[tokio::test]
    async fn memory_follows_in_the_order_of_the_log_before_its_position_shows_and_readers_are_told_after() {
        let (writer, noted) = writer();
        let writer = Arc::new(writer);
        let jobs: Vec<_> = (0..40)
            .map(|_| {
                let writer = Arc::clone(&writer);
                tokio::spawn(async move {
                    let position = writer.run(advance).await.expect("is written");
                    assert!(writer.committed() >= LogPosition::new(position));
                })
            })
            .collect();
        for job in jobs {
            job.await.expect("holds");
        }
        let all = (1..=40).collect::<Vec<u64>>();
        assert_eq!((noted.followed.lock().clone(), noted.told.lock().clone()), (all.clone(), all));
    }

    #[tokio::test]
    async fn a_job_that_fails_changes_nothing_and_tells_nobody() {
        let (writer, noted) = writer();
        let fails = |tx: &Tx<'_>| advance(tx).and_then(|_| Err::<(), _>(StoreError::Corrupt("no".into())));
        assert!(matches!(writer.run(fails).await, Err(StoreError::Corrupt(_))));
        assert_eq!(writer.run(advance).await.expect("is written"), 1);
        assert_eq!(*noted.told.lock(), [1]);
        writer.close().await;
        assert!(matches!(writer.run(advance).await, Err(StoreError::Closed)));
    }

    #[tokio::test]
    async fn a_write_that_panics_leaves_nothing_behind_and_the_next_one_works() {
        let (writer, noted) = writer();
        let outcome = writer.run(|tx| advance(tx).map(|_| -> () { panic!("a bug") })).await;
        assert!(matches!(outcome, Err(StoreError::Panicked(what)) if what == "a bug"));
        noted.panics.store(true, Ordering::Release);
        writer.run(advance).await.expect("is on the disk all the same");
        noted.panics.store(false, Ordering::Release);
        assert_eq!(writer.run(advance).await.expect("is written"), 2);
        assert_eq!((noted.followed.lock().clone(), noted.told.lock().clone()), (vec![2], vec![1, 2]));
    }

    #[tokio::test]
    async fn a_write_that_fails_leaves_its_neighbours_alone() {
        let (writer, _) = writer();
        let fails = writer.run(|tx| advance(tx).and_then(|_| Err::<(), _>(StoreError::Closed)));
        let (a, b, c) = tokio::join!(writer.run(advance), fails, writer.run(advance));
        assert!(b.is_err());
        assert_eq!((a.expect("is written"), c.expect("is written")), (1, 2));
    }

    #[tokio::test]
    async fn closing_writes_what_was_taken_also_when_nobody_waits() {
        let (writer, _) = writer();
        writer.post(log::advance);
        let committed = Arc::clone(&writer.committed);
        writer.close().await;
        assert_eq!(committed.load(Ordering::Acquire), 1);
    }
}
