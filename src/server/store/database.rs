//! The handle on the database: one writer, some readers.

use std::{fs::File, path::Path, sync::Arc};

use parking_lot::Mutex;
use ruma::ServerName;
use rusqlite::Connection;

use super::{
    error::StoreError,
    folder, log,
    open::{self, Access, Prepared},
    recent_state::{RecentMembers, RecentState},
    refusal::OpenError,
    tail::Tail,
    tx::Tx,
    writer::Writer,
};
use crate::server::{
    change::{feed::Feed, position::LogPosition},
    event::stored::StoredEvent,
};

/// How many idle reading connections are kept.
const READERS: usize = 4;

/// The durable state of the server.
#[derive(Debug)]
pub struct Store {
    pub(super) writer: Writer,
    pub(super) tail: Arc<Tail>,
    pub(super) recent_state: RecentState,
    pub(super) recent_members: RecentMembers,
    /// Idle ones; `None` when the store is closed.
    readers: Mutex<Option<Vec<Connection>>>,
    path: std::path::PathBuf,
    /// Held as long as the store is open: one server per folder.
    lock: Mutex<Option<File>>,
}

impl Store {
    /// Opens (or makes) the database in `data_dir` and brings its schema up to date. What is written is
    /// published in `feed`.
    ///
    /// # Errors
    /// [`OpenError`]: not accessible, in use, damaged, not ours, of another server, or newer than this
    /// binary.
    pub fn open(
        data_dir: &Path,
        server_name: &ServerName,
        access: Access,
        feed: Arc<Feed>,
    ) -> Result<Self, OpenError> {
        let path = data_dir.join(folder::FILE);
        let Prepared { connection, lock, mark } = open::prepare(data_dir, &path, server_name, access)?;
        let tail =
            Arc::new(Tail::starting_at(log::position(&connection).map_err(OpenError::unreadable(&path))?));
        let writer = Writer::start(connection, mark, Arc::clone(&tail), feed);
        Ok(Self {
            writer,
            tail,
            recent_state: RecentState::default(),
            recent_members: RecentMembers::default(),
            readers: Mutex::new(Some(Vec::new())),
            path,
            lock: Mutex::new(lock),
        })
    }

    /// Writes what is waiting and stops the writer; what is left is one whole file. Whoever asks later is answered
    /// [`StoreError::Closed`].
    pub async fn close(&self) {
        // Before the writer: whoever closes the database last makes one file of it.
        self.readers.lock().take();
        self.writer.close().await;
        self.lock.lock().take();
    }

    /// The last position that is on the disk, with what is held in memory up to date. 0: nothing was
    /// ever written. Costs no query.
    pub fn log_position(&self) -> LogPosition {
        self.writer.committed()
    }

    /// The accepted events after position `from` that are `wanted`, in the order of the log, from
    /// memory. `None`: `from` is too long ago, ask [`Store::room_events`] room by room.
    ///
    /// Events beyond [`Store::log_position`] can be among them: whoever tells a reader a position
    /// leaves out those after it. `wanted` runs under a lock: it must not ask the store.
    pub fn recent_events(
        &self,
        from: LogPosition,
        wanted: impl Fn(&StoredEvent) -> bool,
    ) -> Option<Vec<Arc<StoredEvent>>> {
        self.tail.since(from, wanted)
    }

    /// The position of the log up to which everybody was told whom it concerns: at most [`Self::log_position`].
    pub fn told_position(&self) -> LogPosition {
        self.writer.told()
    }

    /// Runs `job` on the writer's thread inside a transaction; resolves when it is on the disk, memory has
    /// followed what it told, and those who wait for that are woken. When `job` fails, none of its changes happen.
    pub(super) async fn write<T, E>(
        &self,
        job: impl FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.writer.run(job).await
    }

    /// Hands `job` to the writer without waiting for it; it is dropped when the writer is behind.
    /// For what is nice to have.
    pub(super) fn write_later<T>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) {
        self.writer.post(job);
    }

    /// Runs `query` on a reading connection. Queries are short (microseconds): they run in place.
    pub(super) async fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let idle = self.readers.lock().as_mut().ok_or(StoreError::Closed)?.pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open::reader(&self.path)?,
        };
        let result = query(&connection);
        if let Some(readers) = self.readers.lock().as_mut()
            && readers.len() < READERS
        {
            readers.push(connection);
        }
        Ok(result?)
    }
}
