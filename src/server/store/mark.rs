//! What was acknowledged, noted in a place of its own: so that a database that lacks some of it is noticed.
//!
//! The database counts its commits. After each, and before anybody is told of it, the count is noted in a small file
//! beside the database. The note is not synced to the disk: after a crash of the program it is exact, after a
//! power cut it can be that of some seconds before, and never is it ahead of what is on the disk. So a database
//! with fewer commits than noted has lost some. The note names the copy of the database that it is about:
//! a backup that is put in its place is another one.

use std::{
    fs::{File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rusqlite::Connection;
use sha2::{Digest, Sha256};

use super::{folder::beside, refusal::OpenError};
use crate::server::private_file;

/// How far a database has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Commits {
    /// Which copy of the database: a number drawn when it was made.
    pub(super) copy: i64,
    /// Its commits so far.
    pub(super) count: i64,
}

impl Commits {
    /// How far the database has come, as this connection sees it.
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let read = |row: &rusqlite::Row<'_>| Ok(Self { copy: row.get(0)?, count: row.get(1)? });
        connection.query_row("SELECT copy, commits FROM log", [], read)
    }
}

/// What stands in the place of the note.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Noted {
    /// Nothing: of a backup, or of a database that was never served.
    Nothing,
    /// An empty file: the operator goes on with what there is.
    Waived,
    /// Something that cannot be understood.
    Unreadable,
    /// This was acknowledged.
    Said(Commits),
}

/// The note of the database at `path`.
pub(super) fn place(path: &Path) -> PathBuf {
    beside(path, "-mark")
}

/// Reads the note of the database at `path`.
pub(super) fn read(path: &Path) -> Result<Noted, OpenError> {
    let place = place(path);
    match std::fs::read(&place) {
        Ok(text) if text.is_empty() => Ok(Noted::Waived),
        Ok(text) => {
            Ok(std::str::from_utf8(&text).ok().and_then(parse).map_or(Noted::Unreadable, Noted::Said))
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Noted::Nothing),
        Err(e) => Err(OpenError::Access(place, e.to_string())),
    }
}

/// Refuses the database at `path`, which has come as far as `found`, when it lacks what was acknowledged.
pub(super) fn compare(path: &Path, noted: Noted, found: Commits) -> Result<(), OpenError> {
    match noted {
        Noted::Said(noted) if noted.copy == found.copy && noted.count > found.count => Err(OpenError::Lost {
            path: path.to_owned(),
            what: format!("it has {} of {}", found.count, noted.count),
            mark: place(path),
        }),
        Noted::Said(_) | Noted::Nothing | Noted::Waived => Ok(()),
        Noted::Unreadable => {
            tracing::warn!(
                file = %place(path).display(),
                "this file is damaged: it cannot tell whether the database has all that was acknowledged"
            );
            Ok(())
        }
    }
}

/// The note, for whoever writes to the database.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    copy: i64,
    /// The last note could not be written.
    failing: bool,
}

impl Mark {
    /// Begins to note, in the place of the former note. One of the usual length is written over, which needs no room
    /// on the disk: a server starts on a full one.
    pub(super) fn begin(path: &Path, commits: Commits) -> Result<Self, OpenError> {
        let place = place(path);
        let Commits { copy, count } = commits;
        let open = || OpenOptions::new().write(true).open(&place);
        if let Ok(file) = open()
            && file.metadata().is_ok_and(|former| former.len() == line(commits).len() as u64)
        {
            let mut mark = Self { file, copy, failing: false };
            mark.note(count);
            return Ok(mark);
        }
        let file = private_file::write(&place, &line(commits)).and_then(|()| open());
        Ok(Self { file: file.map_err(OpenError::access(&place))?, copy, failing: false })
    }

    /// Notes that `count` commits are on the disk.
    pub(super) fn note(&mut self, count: i64) {
        let written = self.file.write_all_at(line(Commits { copy: self.copy, count }).as_bytes(), 0);
        if let (Err(e), false) = (&written, self.failing) {
            tracing::warn!(error = %e, "what was acknowledged cannot be noted: its loss would not be noticed");
        }
        self.failing = written.is_err();
    }

    /// Returns when the last note is on the disk.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        self.file.sync_all()
    }
}

/// Always of the same length: the next one covers it.
fn line(Commits { copy, count }: Commits) -> String {
    let said = format!("{:016x} {count:019}", copy.cast_unsigned());
    format!("{said} {}\n", checksum(&said))
}

fn parse(line: &str) -> Option<Commits> {
    let (said, sum) = line.strip_suffix('\n')?.rsplit_once(' ')?;
    let (copy, count) = said.split_once(' ')?;
    let commits =
        Commits { copy: u64::from_str_radix(copy, 16).ok()?.cast_signed(), count: count.parse().ok()? };
    (sum == checksum(said)).then_some(commits)
}

fn checksum(said: &str) -> String {
    Sha256::digest(said).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_and_any_damage_is_seen() {
        let folder = std::env::temp_dir().join(format!("pilotlight-mark-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("x.db");
        assert_eq!(read(&path).expect("can be looked for"), Noted::Nothing);
        for copy in [0, 1, -1, i64::MIN, i64::MAX] {
            let mut mark = Mark::begin(&path, Commits { copy, count: 0 }).expect("is made");
            for count in [1, 9, 10, i64::MAX] {
                mark.note(count);
                assert_eq!(read(&path).expect("is there"), Noted::Said(Commits { copy, count }));
            }
        }
        let whole = std::fs::read(place(&path)).expect("is there");
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(place(&path), &damaged).expect("writes");
            assert_eq!(read(&path).expect("is there"), Noted::Unreadable, "{at}");
            std::fs::write(place(&path), &whole[..at]).expect("writes");
            let short = if at == 0 { Noted::Waived } else { Noted::Unreadable };
            assert_eq!(read(&path).expect("is there"), short, "{at}");
        }
        std::fs::remove_dir_all(folder).expect("can be removed");
    }

    #[test]
    fn only_the_same_copy_with_fewer_commits_is_refused() {
        let commits = |copy, count| Commits { copy, count };
        let refused = |noted, found| compare(Path::new("x.db"), noted, found).is_err();
        assert!(refused(Noted::Said(commits(1, 8)), commits(1, 7)));
        for noted in [Noted::Nothing, Noted::Waived, Noted::Unreadable, Noted::Said(commits(2, 9))] {
            assert!(!refused(noted, commits(1, 7)), "{noted:?}");
        }
        for count in [7, 8] {
            assert!(!refused(Noted::Said(commits(1, 7)), commits(1, count)));
        }
    }
}
