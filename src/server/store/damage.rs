//! Damage at many places of what a server leaves behind: it is refused, or nothing is missing.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use ruma::{OwnedUserId, server_name};
use rusqlite::{Connection, OpenFlags, types::Value};

use super::{Access, NewUser, OpenError, Store, backup, checked_file, folder::FILE};

/// Bytes of a damage: as much as a disk loses at least, or fewer.
const BURST: usize = 64;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("pilotlight-damage-{}-{n}", std::process::id())))
    }

    fn open(&self) -> Result<Store, OpenError> {
        Store::open(&self.0, server_name!("a"), Access::Sole, Default::default())
    }

    /// The same files as they are on the disk at this moment, as SIGKILL would leave them.
    fn copy(&self) -> Self {
        let copy = Self::new();
        fs::create_dir_all(&copy.0).expect("a folder");
        for (name, bytes) in self.files() {
            if !name.ends_with("-shm") {
                fs::write(copy.0.join(name), bytes).expect("writes");
            }
        }
        copy
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(&self.0).expect("a folder").map(|entry| entry.expect("an entry"));
        let name = |entry: &fs::DirEntry| entry.file_name().into_string().expect("text");
        entries.map(|entry| (name(&entry), fs::read(entry.path()).expect("reads"))).collect()
    }

    fn file(&self, suffix: &str) -> PathBuf {
        self.0.join(format!("{FILE}{suffix}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {e}", self.0.display());
        }
    }
}

fn user(n: u32) -> OwnedUserId {
    format!("@user{n}:a").try_into().expect("a user")
}

async fn add(store: &Store, n: u32) {
    let new = NewUser { id: user(n), password_hash: Some("x".repeat(90)), created_ms: 1, device: None };
    store.create_user(new).await.expect("is written");
}

/// A store with some content, in a database of some pages and a log of some commits.
async fn filled(folder: &Folder) -> Store {
    let store = folder.open().expect("opens");
    for n in 0..40 {
        add(&store, n).await;
    }
    let connection = checked_file::open(folder.file(""), OpenFlags::default()).expect("opens");
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("is moved to the file");
    drop(connection);
    for n in 40..60 {
        add(&store, n).await;
    }
    store
}

/// Everything in the database; only what counts its commits differs between two looks.
fn content(path: &Path) -> rusqlite::Result<BTreeMap<String, Vec<Vec<Value>>>> {
    let connection = Connection::open(path)?;
    let tables: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'log'")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let rows = |table: &str| -> rusqlite::Result<Vec<Vec<Value>>> {
        let mut all = connection.prepare(&format!("SELECT * FROM {table}"))?;
        let columns = all.column_count();
        all.query_map([], |row| (0..columns).map(|n| row.get(n)).collect())?.collect()
    };
    tables.into_iter().map(|table| Ok((table.clone(), rows(&table)?))).collect()
}

/// Damages the file with `suffix` every `step` bytes, in copies of `folder`; how often that was refused, and
/// how often it was not.
fn damage_everywhere(folder: &Folder, suffix: &str, step: usize) -> (usize, usize) {
    let whole = content(&folder.copy().file("")).expect("is sound");
    let (mut refused, mut harmless) = (0, 0);
    let length = fs::metadata(folder.file(suffix)).expect("is there").len() as usize;
    for at in (0..length).step_by(step) {
        let copy = folder.copy();
        let mut bytes = fs::read(copy.file(suffix)).expect("reads");
        for byte in bytes.iter_mut().skip(at).take(BURST) {
            *byte = !*byte;
        }
        fs::write(copy.file(suffix), &bytes).expect("writes");
        let before = copy.files();
        match copy.open() {
            Ok(store) => {
                assert_eq!(content(&copy.file("")).expect("reads"), whole, "damaged at {at} of {length}");
                drop(store);
                harmless += 1;
            }
            Err(_) => {
                let mut after = copy.files();
                after.retain(|name, _| before.contains_key(name));
                assert!(after == before, "what is refused is left alone; damaged at {at} of {length}");
                refused += 1;
            }
        }
    }
    (refused, harmless)
}

#[tokio::test]
async fn after_a_kill_damage_anywhere_in_the_log_is_refused_or_harmless() {
    let folder = Folder::new();
    let store = filled(&folder).await;
    let (refused, harmless) = damage_everywhere(&folder, "-wal", 1500);
    assert!(refused > 20 && harmless < refused / 10, "{refused} {harmless}");
    store.close().await;
}

#[tokio::test]
async fn a_clean_stop_leaves_one_file_and_damage_anywhere_in_it_is_refused_or_harmless() {
    let folder = Folder::new();
    filled(&folder).await.close().await;
    assert!(!folder.file("-wal").exists() && !folder.file("-shm").exists());
    let (refused, harmless) = damage_everywhere(&folder, "", 2500);
    assert!(refused > 40 && harmless == 0, "{refused} {harmless}");
}

#[tokio::test]
async fn a_log_that_is_cut_short_or_gone_is_refused_and_the_operator_can_go_on_without_it() {
    let folder = Folder::new();
    let store = filled(&folder).await;
    let length = fs::metadata(folder.file("-wal")).expect("is there").len();
    for cut in [0, 10, 32, 5000, length / 2, length - 5000, length - 1] {
        let copy = folder.copy();
        let log = fs::File::options().write(true).open(copy.file("-wal")).expect("opens");
        log.set_len(cut).expect("is cut");
        let error = copy.open().expect_err("is refused").to_string();
        assert!(error.contains("lacks writes that were acknowledged"), "{error}");
        assert!(error.contains("restore a backup") && error.contains("pilotlight.db-mark"), "{error}");
        fs::write(copy.file("-mark"), "").expect("writes");
        drop(copy.open().expect("is what the operator wants"));
    }
    let copy = folder.copy();
    fs::remove_file(copy.file("-wal")).expect("can be removed");
    assert!(matches!(copy.open(), Err(OpenError::Lost { .. })));
    store.close().await;
}

#[tokio::test]
async fn an_older_note_which_a_power_cut_leaves_is_no_reason_to_refuse() {
    let folder = Folder::new();
    let store = folder.open().expect("opens");
    let early = fs::read(folder.file("-mark")).expect("is there");
    for n in 0..5 {
        add(&store, n).await;
    }
    let copy = folder.copy();
    fs::write(copy.file("-mark"), &early).expect("writes");
    let again = copy.open().expect("opens");
    assert!(again.profile(&user(4)).await.expect("reads").is_some());
    drop(again);
    // And the log's end as the power cut can leave it: with a commit that nobody was told of.
    let copy = folder.copy();
    fs::write(copy.file("-mark"), early).expect("writes");
    let log = fs::File::options().write(true).open(copy.file("-wal")).expect("opens");
    log.set_len(log.metadata().expect("is there").len() - 3000).expect("is cut");
    let again = copy.open().expect("opens");
    let all =
        [again.profile(&user(3)).await, again.profile(&user(4)).await].map(|found| found.expect("reads"));
    assert_eq!(all.map(|found| found.is_some()), [true, false]);
    drop(again);
    store.close().await;
}

#[tokio::test]
async fn damage_in_the_middle_of_a_log_is_seen_also_when_nothing_or_little_was_noted() {
    let folder = Folder::new();
    let store = filled(&folder).await;
    for noted in [None, Some("what nobody can read")] {
        let copy = folder.copy();
        match noted {
            Some(text) => fs::write(copy.file("-mark"), text).expect("writes"),
            None => fs::remove_file(copy.file("-mark")).expect("can be removed"),
        }
        let mut bytes = fs::read(copy.file("-wal")).expect("reads");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(copy.file("-wal"), bytes).expect("writes");
        assert!(matches!(copy.open(), Err(OpenError::Lost { .. })), "{noted:?}");
    }
    store.close().await;
}

#[tokio::test]
async fn an_empty_or_missing_database_is_refused_where_there_was_one() {
    let folder = Folder::new();
    filled(&folder).await.close().await;
    let copy = folder.copy();
    fs::write(copy.file(""), "").expect("writes");
    assert!(matches!(copy.open(), Err(OpenError::Empty(_))));
    assert_eq!(fs::metadata(copy.file("")).expect("is there").len(), 0, "is left alone");
    fs::remove_file(copy.file("")).expect("can be removed");
    assert!(matches!(copy.open(), Err(OpenError::Gone(_))));
    assert!(!copy.file("").exists());
    // Nothing of a first start that was cut short is in the way.
    let fresh = Folder::new();
    fs::create_dir_all(&fresh.0).expect("a folder");
    fs::write(fresh.file(".new"), "half").expect("writes");
    drop(fresh.open().expect("opens"));
}

#[tokio::test]
async fn a_backup_in_the_place_of_the_data_is_served_and_never_with_the_log_of_what_it_replaces() {
    let folder = Folder::new();
    let store = filled(&folder).await;
    let copy = Folder::new();
    backup(&folder.0, &copy.0).expect("is made");
    add(&store, 99).await;
    let killed = folder.copy();
    fs::copy(copy.file(""), killed.file("")).expect("is put in place");
    let error = killed.open().expect_err("the log is another's").to_string();
    assert!(error.contains("pilotlight.db-wal belongs to another database"), "{error}");
    fs::remove_file(killed.file("-wal")).expect("can be removed");
    let restored = killed.open().expect("what is noted is of the replaced one");
    assert_eq!(restored.profile(&user(99)).await.expect("reads"), None);
    assert!(restored.profile(&user(3)).await.expect("reads").is_some());
    restored.close().await;
    store.close().await;
    assert!(copy.open().is_ok());
}
