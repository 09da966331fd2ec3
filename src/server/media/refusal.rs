//! Why there is no file, or none is kept.

use std::time::Duration;

use crate::server::{
    finish::Interrupted,
    store::{AwaitMediaError, PutMediaError, StoreError},
};

/// Why a file is not taken, not found or not shown.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such file, and nobody uploads it.
    #[error("there is no such file")]
    NotFound,
    /// It has an address, and is not uploaded yet.
    #[error("this file is not uploaded yet")]
    NotYetUploaded,
    /// It is at this address already.
    #[error("there is a file at this address already")]
    Taken,
    /// Somebody else has this address.
    #[error("this address was given to somebody else")]
    NotYours,
    /// Files have at most so many bytes.
    #[error("a file has at most {0} bytes")]
    TooLarge(u64),
    /// The user's files have as many bytes as they may.
    #[error("your files take all the room that you have for them")]
    UserFull,
    /// All files have as many bytes as they may, or the disk has no room.
    #[error("the server has no room for this file")]
    ServerFull,
    /// There is no thumbnail of what is no picture, or not a whole one of a kind that is known.
    #[error("there is no thumbnail of this file: it is not a picture of a known kind, or not whole")]
    NotAPicture,
    /// Nor of a picture that is too large.
    #[error("this picture is too large for a thumbnail of it")]
    PictureTooLarge,
    /// Another server's file is larger than what is fetched.
    #[error("this file of another server is too large")]
    RemoteTooLarge,
    /// Another server does not give its file; says why.
    #[error("this file of another server cannot be had: {0}")]
    Remote(String),
    /// Come again after this time.
    #[error("too many files are uploaded at once")]
    Busy(Duration),
    /// It comes too slowly.
    #[error("the file did not come in time")]
    TooSlow,
    /// It breaks off; says why.
    #[error("the file cannot be read to its end: {0}")]
    Unreadable(String),
    /// The database failed.
    #[error(transparent)]
    Store(StoreError),
    /// The folder of files cannot be used.
    #[error("the folder of files: {0}")]
    Folder(std::io::Error),
    /// The server ends.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl From<StoreError> for Refusal {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<std::io::Error> for Refusal {
    fn from(e: std::io::Error) -> Self {
        match e.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::ServerFull,
            _ => Self::Folder(e),
        }
    }
}

impl From<PutMediaError> for Refusal {
    fn from(e: PutMediaError) -> Self {
        match e {
            PutMediaError::Full => Self::UserFull,
            PutMediaError::NotAwaited => Self::NotFound,
            PutMediaError::Taken => Self::Taken,
            PutMediaError::Store(e) => Self::Store(e),
        }
    }
}

impl Refusal {
    /// As of a time in milliseconds since the Unix epoch.
    pub(super) fn of_awaiting(e: AwaitMediaError, now_ms: u64) -> Self {
        match e {
            AwaitMediaError::TooMany(first_ms) => {
                Self::Busy(Duration::from_millis(first_ms.saturating_sub(now_ms)))
            }
            AwaitMediaError::Store(e) => Self::Store(e),
        }
    }
}
