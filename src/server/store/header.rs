//! What the first bytes of the database's file say, before SQLite reads any of it.
//!
//! So that a file that another program, or a newer version of this one, has written is called what it is, and not
//! damaged. <https://sqlite.org/fileformat2.html#the_database_header>

use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::Path,
};

use super::{
    checked_file::{APPLICATION_ID, RESERVED},
    refusal::OpenError,
};

const MAGIC: &[u8] = b"SQLite format 3\0";

/// Where the header has the bytes at the end of each page that SQLite leaves to us.
const RESERVED_AT: usize = 20;

/// Where the header has our schema version (`PRAGMA user_version`).
const VERSION_AT: usize = 60;

/// Where the header has whose file it is (`PRAGMA application_id`).
const APPLICATION_ID_AT: usize = 68;

/// Refuses a file that is not ours, or of a schema version beyond `known`.
pub(super) fn check(path: &Path, known: u32) -> Result<(), OpenError> {
    let mut header = [0; 100];
    match File::open(path).and_then(|mut file| file.read_exact(&mut header)) {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Err(OpenError::NotOurs(path.to_owned())),
        read => read.map_err(OpenError::access(path))?,
    }
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if !header.starts_with(MAGIC) || number(APPLICATION_ID_AT) != APPLICATION_ID {
        return Err(OpenError::NotOurs(path.to_owned()));
    }
    if number(VERSION_AT) > known {
        return Err(OpenError::Newer { path: path.to_owned(), found: number(VERSION_AT), known });
    }
    match header[RESERVED_AT] {
        RESERVED => Ok(()),
        0 => Err(OpenError::NeverReleased(path.to_owned())),
        _ => Err(OpenError::Damaged(path.to_owned(), "its header is not as it was written".to_owned())),
    }
}
