//! Every page of the database's file carries a checksum, so that damage on the disk is seen when it is read.
//!
//! SQLite leaves the last bytes of each page alone, as the database is made so. A thin layer between SQLite and the
//! system (a VFS) puts the page's checksum there when the page is written, and compares it when it is read: what was
//! changed since by anybody else answers `SQLITE_IOERR_DATA`. The write-ahead log has checksums of SQLite's own.
//! <https://sqlite.org/vfs.html>, <https://sqlite.org/cksumvfs.html>
#![expect(unsafe_code, reason = "SQLite's interface to files is one of C")]

use std::{
    ffi::{CStr, c_int, c_void},
    path::Path,
    sync::OnceLock,
};

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, ffi};

/// The size of a page: SQLite's default, with which databases are made.
const PAGE: usize = 4096;

/// Bytes at the end of each page that SQLite leaves to us.
pub(super) const RESERVED: u8 = 8;

const NAME: &CStr = c"pilotlight";

/// What pages of the whole file are compared: all but those of a file that another program made.
pub(super) const APPLICATION_ID: u32 = 0x506c_4c74;

/// Where the first page says whose it is.
const APPLICATION_ID_AT: std::ops::Range<usize> = 68..72;

/// Opens the database's file.
pub(super) fn open(path: impl AsRef<Path>, flags: OpenFlags) -> rusqlite::Result<Connection> {
    register()?;
    Connection::open_with_flags_and_vfs(path, flags, NAME)
}

/// Opens a file that is to become a database: before anything is written to it.
pub(super) fn open_new(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path, OpenFlags::default())?;
    let mut reserved = c_int::from(RESERVED);
    // SAFETY: the handle is that of an open connection, and the operation reads and writes one `int`.
    let code = unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_RESERVE_BYTES,
            (&raw mut reserved).cast(),
        )
    };
    match code {
        ffi::SQLITE_OK => Ok(connection),
        code => Err(failed(code)),
    }
}

fn failed(code: c_int) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
}

/// The checksum of a page: Fletcher's, as in SQLite's own log, over its number and all but the last bytes.
fn checksum(number: i64, page: &[u8; PAGE]) -> [u8; RESERVED as usize] {
    let number = number.to_le_bytes();
    let word = |four: &[u8]| u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
    let (mut a, mut b) = (word(&number[..4]), word(&number[4..]));
    for eight in page[..PAGE - RESERVED as usize].chunks_exact(8) {
        a = a.wrapping_add(word(&eight[..4])).wrapping_add(b);
        b = b.wrapping_add(word(&eight[4..])).wrapping_add(a);
    }
    (u64::from(a) << 32 | u64::from(b)).to_le_bytes()
}

/// Whether a page that was read is as it was written.
fn is_whole(number: i64, page: &[u8; PAGE]) -> bool {
    let is_ours = number != 0 || page[APPLICATION_ID_AT] == APPLICATION_ID.to_be_bytes();
    // Whose file it is, is for others to see to.
    !is_ours || page[PAGE - RESERVED as usize..] == checksum(number, page)
}

/// The number of the page that is at `offset` and has `amount` bytes; `None`: it is not a page.
fn page_number(amount: c_int, offset: i64) -> Option<i64> {
    let size = PAGE as i64;
    (i64::from(amount) == size && offset % size == 0).then_some(offset / size)
}

/// What SQLite calls to work with a file: the system's, but for reading and writing.
#[repr(C)]
struct Methods {
    /// First, so that a file's methods lead here.
    ours: ffi::sqlite3_io_methods,
    of_system: *const ffi::sqlite3_io_methods,
}

/// The layer: how files are opened, and what it stands on.
struct Layer {
    of_system: *mut ffi::sqlite3_vfs,
    /// Made once for each kind of file that the system's has, of which there are a few.
    methods: Mutex<Vec<&'static Methods>>,
}

// SAFETY: the pointers lead to what SQLite, or this file, keeps as long as the process lives and never changes.
unsafe impl Sync for Methods {}
// SAFETY: as above.
unsafe impl Send for Methods {}
// SAFETY: as above.
unsafe impl Sync for Layer {}
// SAFETY: as above.
unsafe impl Send for Layer {}

static LAYER: OnceLock<Result<Layer, c_int>> = OnceLock::new();

/// Makes the layer known to SQLite, once.
fn register() -> rusqlite::Result<()> {
    let layer = LAYER.get_or_init(|| {
        // SAFETY: without a name this answers the system's layer, which stays as long as the process lives; ours is
        // a copy of it that is never freed.
        unsafe {
            let of_system = ffi::sqlite3_vfs_find(std::ptr::null());
            if of_system.is_null() {
                return Err(ffi::SQLITE_ERROR);
            }
            let mut ours = *of_system;
            ours.zName = NAME.as_ptr();
            ours.xOpen = Some(open_file);
            match ffi::sqlite3_vfs_register(Box::leak(Box::new(ours)), 0) {
                ffi::SQLITE_OK => Ok(Layer { of_system, methods: Mutex::default() }),
                code => Err(code),
            }
        }
    });
    layer.as_ref().map(drop).map_err(|code| failed(*code))
}

impl Layer {
    /// Ours in the place of the system's `methods`.
    ///
    /// # Safety
    /// They are methods of the system's layer.
    unsafe fn in_place_of(&self, methods: *const ffi::sqlite3_io_methods) -> *const ffi::sqlite3_io_methods {
        let mut all = self.methods.lock();
        let known = all.iter().copied().find(|known| std::ptr::eq(known.of_system, methods));
        let ours = known.unwrap_or_else(|| {
            // SAFETY: the caller's.
            let mut ours = unsafe { *methods };
            ours.xRead = Some(read);
            ours.xWrite = Some(write);
            // Without the methods that give SQLite the file's memory instead of reading.
            ours.iVersion = ours.iVersion.min(2);
            let ours: &'static Methods = Box::leak(Box::new(Methods { ours, of_system: methods }));
            all.push(ours);
            ours
        });
        &raw const ours.ours
    }
}

/// SQLite opens a file: the system does it, and the database's is read and written by way of us.
unsafe extern "C" fn open_file(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let Some(Ok(layer)) = LAYER.get() else { return ffi::SQLITE_CANTOPEN };
    // SAFETY: what SQLite hands to us is what the system's layer expects, and its files are of the size it asks for.
    unsafe {
        let Some(open) = (*layer.of_system).xOpen else { return ffi::SQLITE_CANTOPEN };
        let code = open(layer.of_system, name, file, flags, out_flags);
        if code == ffi::SQLITE_OK && flags & ffi::SQLITE_OPEN_MAIN_DB != 0 {
            (*file).pMethods = layer.in_place_of((*file).pMethods);
        }
        code
    }
}

/// The system's methods of a file that has ours.
///
/// # Safety
/// It was opened by [`open_file`], which gave it ours.
unsafe fn of_system(file: *mut ffi::sqlite3_file) -> &'static ffi::sqlite3_io_methods {
    // SAFETY: the methods are the first field of a `Methods` that is never freed.
    unsafe { &*(*(*file).pMethods.cast::<Methods>()).of_system }
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    into: *mut c_void,
    amount: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite calls this with a file of ours, and with `amount` bytes at `into`.
    unsafe {
        let Some(read) = of_system(file).xRead else { return ffi::SQLITE_IOERR_READ };
        let code = read(file, into, amount, offset);
        if code == ffi::SQLITE_OK
            && let Some(number) = page_number(amount, offset)
            && !is_whole(number, &*into.cast())
        {
            tracing::error!(page = number + 1, "this page of the database is not as it was written");
            return ffi::SQLITE_IOERR_DATA;
        }
        code
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    amount: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite calls this with a file of ours, and with `amount` bytes at `from`.
    unsafe {
        let Some(write) = of_system(file).xWrite else { return ffi::SQLITE_IOERR_WRITE };
        let Some(number) = page_number(amount, offset) else { return write(file, from, amount, offset) };
        let mut page: [u8; PAGE] = *from.cast();
        let sum = checksum(number, &page);
        page[PAGE - RESERVED as usize..].copy_from_slice(&sum);
        write(file, page.as_ptr().cast(), amount, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_was_changed_moved_or_emptied_is_not_whole() {
        let mut page = [7; PAGE];
        let sum = checksum(3, &page);
        page[PAGE - 8..].copy_from_slice(&sum);
        assert!(is_whole(3, &page));
        assert!(!is_whole(4, &page), "in another place");
        assert!(!is_whole(3, &[0; PAGE]));
        for at in (0..PAGE).step_by(13) {
            for bit in [1, 0x80] {
                page[at] ^= bit;
                assert!(!is_whole(3, &page), "{at}");
                page[at] ^= bit;
            }
        }
    }

    #[test]
    fn what_grows_shrinks_and_is_copied_stays_readable() {
        let folder = std::env::temp_dir().join(format!("pilotlight-checked-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let connection = open_new(&folder.join("a.db")).expect("opens");
        connection
            .execute_batch(&format!(
                "PRAGMA application_id = {APPLICATION_ID}; PRAGMA journal_mode = WAL; PRAGMA cache_size = 8;
                 CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB); CREATE INDEX i ON t (substr(x, 1, 9));"
            ))
            .expect("is made");
        for round in 0..12 {
            connection
                .execute_batch(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
                     INSERT INTO t (x) SELECT randomblob(abs(random()) % 20000) FROM n;
                     BEGIN; SAVEPOINT a; INSERT INTO t (x) VALUES (randomblob(300000)); ROLLBACK TO a; COMMIT;
                     DELETE FROM t WHERE id % 3 = abs(random()) % 3;",
                )
                .expect("is written");
            if round % 4 == 3 {
                connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("is moved to the file");
            }
            if round == 7 {
                connection.execute_batch("DELETE FROM t").expect("is written");
            }
        }
        let mut copy = open_new(&folder.join("b.db")).expect("opens");
        let backup = rusqlite::backup::Backup::new(&connection, &mut copy).expect("begins");
        assert_eq!(backup.step(-1).expect("copies"), rusqlite::backup::StepResult::Done);
        drop(backup);
        drop((connection, copy));
        for name in ["a.db", "b.db"] {
            let again = open(folder.join(name), OpenFlags::default()).expect("opens");
            let verdict: String =
                again.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("can be read");
            assert_eq!(verdict, "ok");
            again.execute_batch("VACUUM").expect("is written anew");
        }
        std::fs::remove_dir_all(folder).expect("can be removed");
    }
}
