//! Everything durable, in one SQLite file. The only place that knows SQL.
//!
//! One thread writes: it takes what is waiting, runs each piece in a savepoint of one transaction,
//! commits with a sync to the disk, and only then answers. So whoever was told "done" can rely on
//! it after a power cut, and a busy server shares one sync among many. Readers have connections of
//! their own and see the state of the last commit. Positions grow in the order of the commits.
//!
//! The methods are grouped by subject in the files beside this one; each takes and returns plain values.

mod account_data;
mod accounts;
mod backup;
mod contacts;
mod device_keys;
mod devices;
mod directory;
mod epoch;
mod events;
mod filters;
mod list_outbox;
mod log;
mod members;
mod open;
mod presence;
mod receipts;
mod recent_state;
mod rooms;
mod server_keys;
mod state;
mod tail;
mod to_device;
mod writer;

use std::{
    fs::File,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use ruma::ServerName;
use rusqlite::Connection;

pub use self::{
    account_data::{
        AccountData, AccountDataError, AccountDataKey, MAX_ACCOUNT_DATA, MAX_ACCOUNT_DATA_PIECES,
        MAX_ACCOUNT_DATA_TOTAL,
    },
    accounts::{CreateUserError, Login, NewUser},
    backup::{BackupError, backup},
    contacts::{ContactRow, ContactWrite},
    device_keys::{DeviceKeys, KeyCounts, KeySignature, KeyUpload, MAX_ONE_TIME_KEYS, UploadError},
    devices::{Device, Displaced, MAX_DEVICES, NewDevice, RemovedDevice},
    directory::AliasRow,
    events::Order,
    filters::{AddFilterError, MAX_FILTERS},
    list_outbox::ListMessage,
    members::MembershipRow,
    open::{Access, OpenError},
    receipts::Receipt,
    rooms::{Changes, Extremity, NewEvent, RoomRow, RoomWrite},
    to_device::{Queued, ToDevice, WaitingMessages},
};
use self::{recent_state::RecentState, tail::Tail, writer::Writer};
pub use super::profile::{Profile, ProfileField};

/// How many idle reading connections are kept.
const READERS: usize = 4;

/// The durable state of the server.
#[derive(Debug)]
pub struct Store {
    writer: Writer,
    tail: Arc<Tail>,
    recent_state: RecentState,
    readers: Mutex<Vec<Connection>>,
    path: std::path::PathBuf,
    /// Held as long as the store is open: one server per folder.
    lock: Mutex<Option<File>>,
}

/// The database could not do what was asked. Not the client's fault.
#[derive(Debug)]
pub enum StoreError {
    /// SQLite said no.
    Sqlite(rusqlite::Error),
    /// The store is closing.
    Closed,
    /// The code of a write panicked; nothing of that write happened.
    Panicked(String),
    /// A stored value is not what the schema promises; says which.
    Corrupt(String),
}

impl Store {
    /// Opens (or makes) the database in `data_dir` and brings its schema up to date.
    ///
    /// # Errors
    /// [`OpenError`]: not accessible, in use, damaged, not ours, of another server, or newer than this
    /// binary.
    pub fn open(data_dir: &Path, server_name: &ServerName, access: Access) -> Result<Self, OpenError> {
        let path = data_dir.join(open::FILE);
        let (connection, lock) = open::prepare(data_dir, &path, server_name, access)?;
        let writer = Writer::start(connection);
        let tail = Arc::new(Tail::starting_at(writer.committed()));
        Ok(Self {
            writer,
            tail,
            recent_state: RecentState::default(),
            readers: Mutex::default(),
            path,
            lock: Mutex::new(lock),
        })
    }

    /// Writes what is waiting and stops the writer. Later writes answer [`StoreError::Closed`].
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Runs `job` on the writer's thread inside a transaction; resolves when it is on the disk.
    /// When `job` fails, none of its changes happen.
    async fn write<T, E>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.write_then(job, |_| {}).await
    }

    /// Like [`Self::write`]; when the change is on the disk, and before anybody can see its position
    /// in [`Self::log_position`] or is told that it happened, `apply` brings what is held in memory up
    /// to date. Applied in the order of the log, on the writer's thread: it must be quick, and must not
    /// wait for anything but short locks.
    async fn write_then<T, E>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        apply: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.writer.run(job, apply).await
    }

    /// Hands `job` to the writer without waiting for it; it is dropped when the writer is behind.
    /// For what is nice to have.
    fn write_later<T>(&self, job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static) {
        self.writer.post(job);
    }

    /// Runs `query` on a reading connection. Queries are short (microseconds): they run in place.
    async fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open::reader(&self.path)?,
        };
        let result = query(&connection);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS {
            readers.push(connection);
        }
        Ok(result?)
    }
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(e) => write!(f, "database: {e}"),
            Self::Closed => write!(f, "the database is closing"),
            Self::Panicked(what) => write!(f, "a write panicked: {what}"),
            Self::Corrupt(what) => write!(f, "database: unexpected value: {what}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<rusqlite::Error> for StoreError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Sqlite(e)
    }
}
