//! Where answers wait to be taken: the end of each in memory, if there is some, and what comes before it on the disk.

use std::{io, path::PathBuf, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::spool::{Full, Spool, Spooled};

/// Bytes in memory of all answers that wait to be taken.
pub(super) const MEMORY: usize = 32 << 20;

/// What the memory is counted in.
const UNIT: usize = 1 << 10;

/// Bytes of one answer that stay in memory when the disk takes none.
const MEMORY_OF_ONE: usize = 8 << 20;

/// There is no room for an answer, neither on the disk nor in memory.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoRoom(String);

/// Where answers wait to be taken.
#[derive(Clone, Debug)]
pub(super) struct Room {
    memory: Arc<Semaphore>,
    pub(super) spool: Arc<Spool>,
}

/// What of an answer is handed over: first what is on the disk, then what is in memory.
#[derive(Debug)]
pub(super) struct Written {
    room: Room,
    client: Arc<str>,
    pub(super) spooled: Option<Spooled>,
    /// Only when the disk takes no more.
    pub(super) kept: Vec<u8>,
    pub(super) counted: Option<OwnedSemaphorePermit>,
}

impl Room {
    pub(super) fn new(folder: PathBuf) -> Self {
        let memory = Arc::new(Semaphore::new(MEMORY / UNIT));
        Self { memory, spool: Arc::new(Spool::new(folder)) }
    }

    /// Bytes that wait in memory.
    pub(super) fn in_memory(&self) -> usize {
        MEMORY - self.memory.available_permits() * UNIT
    }

    /// Memory for so many bytes, if there is some.
    pub(super) fn memory(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        Arc::clone(&self.memory).try_acquire_many_owned(units).ok()
    }
}

impl Written {
    pub(super) fn new(room: &Room, client: &Arc<str>) -> Self {
        Self {
            room: room.clone(),
            client: Arc::clone(client),
            spooled: None,
            kept: Vec::new(),
            counted: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.spooled.is_none() && self.kept.is_empty()
    }

    /// Takes `bytes` over: to the disk, or into memory when the disk has no room.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        if !self.kept.is_empty() {
            return self.keep(bytes);
        }
        let spooled = self.spooled.get_or_insert_with(|| self.room.spool.begin(&self.client));
        let before = spooled.len();
        match spooled.append(bytes) {
            Ok(()) => Ok(()),
            Err(Full::Disk(e)) => {
                tracing::warn!(error = %e, "the disk does not take an answer: it waits in memory");
                // What the disk took of it stays there.
                let taken = spooled.len() - before;
                self.keep(&bytes[taken..])
            }
            Err(e @ Full::Spool) => Err(NoRoom(e.to_string())),
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let full = || NoRoom(Full::Disk(io::ErrorKind::StorageFull.into()).to_string());
        if self.kept.len() + bytes.len() > MEMORY_OF_ONE {
            return Err(full());
        }
        let more = self.room.memory(bytes.len()).ok_or_else(full)?;
        match &mut self.counted {
            Some(counted) => counted.merge(more),
            None => self.counted = Some(more),
        }
        self.kept.extend_from_slice(bytes);
        Ok(())
    }
}
