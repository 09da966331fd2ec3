//! Looks whether the write-ahead log goes on behind the place at which SQLite stops reading it.
//!
//! SQLite reads the log up to the first frame that is not as it was written, and takes that for the end: after a
//! crash it is. In the middle, what comes after it was acknowledged. Each frame's checksum is that of all frames up
//! to it, so those that follow a damaged one still prove that they were written one after the other. Of what a
//! crash leaves behind the end at most one commit hangs together: the second one is written when the
//! first is on the disk. <https://sqlite.org/fileformat2.html#the_write_ahead_log>

use std::{
    fs::File,
    io::{BufReader, ErrorKind, Read},
    path::Path,
};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// The magic number without its last bit, which says that checksums are of big-endian words.
const MAGIC: u32 = 0x377f_0682;

/// The size of a page where the log does not say it: SQLite's default, with which databases are made.
const USUAL_PAGE: u32 = 4096;

/// Whether the log at `path` has commits that were acknowledged, and that SQLite will not read. Not when there
/// is no log.
pub(super) fn goes_on_behind_its_end(path: &Path) -> std::io::Result<bool> {
    match File::open(path) {
        Ok(file) => look(BufReader::with_capacity(1 << 20, file)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

fn look(mut log: impl Read) -> std::io::Result<bool> {
    let Some(header) = read(&mut log, HEADER)? else { return Ok(false) };
    let mut order = if word(&header, 0) & 1 == 1 { Order::Big } else { Order::Little };
    let mut page = word(&header, 8);
    let mut sum = order.sum([0, 0], &header[..24]);
    let is_sound = word(&header, 0) & !1 == MAGIC && sum == sum_at(&header, 24);
    if !is_sound {
        (order, page) = (Order::native(), USUAL_PAGE);
    }
    if !page.is_power_of_two() || !(512..=65_536).contains(&page) {
        return Ok(false);
    }
    let mut salt = is_sound.then(|| salt_at(&header, 16));
    // SQLite has stopped; commits since then that hang together.
    let (mut stopped, mut commits) = (!is_sound, 0);
    while let Some(frame) = read(&mut log, FRAME_HEADER + page as usize)? {
        let follows = *salt.get_or_insert_with(|| salt_at(&frame, 8)) == salt_at(&frame, 8);
        let whole = order.sum(order.sum(sum, &frame[..8]), &frame[FRAME_HEADER..]) == sum_at(&frame, 16);
        if !(follows && whole) {
            (stopped, commits) = (true, 0);
        } else if stopped && word(&frame, 4) != 0 {
            commits += 1;
        }
        if commits == 2 {
            return Ok(true);
        }
        sum = sum_at(&frame, 16);
    }
    Ok(false)
}

/// The next `length` bytes; `None` when there are fewer.
fn read(log: &mut impl Read, length: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; length];
    match log.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn sum_at(bytes: &[u8], at: usize) -> [u32; 2] {
    [word(bytes, at), word(bytes, at + 4)]
}

fn salt_at(bytes: &[u8], at: usize) -> [u32; 2] {
    [word(bytes, at), word(bytes, at + 4)]
}

/// How the bytes of a word lie when it is summed.
#[derive(Clone, Copy)]
enum Order {
    Big,
    Little,
}

impl Order {
    fn native() -> Self {
        if cfg!(target_endian = "big") { Self::Big } else { Self::Little }
    }

    /// Adds `bytes` to a checksum.
    fn sum(self, [mut a, mut b]: [u32; 2], bytes: &[u8]) -> [u32; 2] {
        for pair in bytes.chunks_exact(8) {
            let (x, y) = match self {
                Self::Big => (word(pair, 0), word(pair, 4)),
                Self::Little => (word(pair, 0).swap_bytes(), word(pair, 4).swap_bytes()),
            };
            a = a.wrapping_add(x).wrapping_add(b);
            b = b.wrapping_add(y).wrapping_add(a);
        }
        [a, b]
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    /// A log of `commits` commits of several frames each, and where each of them ends.
    fn log(name: &str, commits: usize) -> (Vec<u8>, Vec<usize>) {
        let path = std::env::temp_dir().join(format!("pilotlight-wal-{}-{name}.db", std::process::id()));
        let wal = super::super::folder::beside(&path, "-wal");
        let connection = Connection::open(&path).expect("opens");
        connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x)").expect("is made");
        let mut ends = vec![];
        for _ in 0..commits {
            connection.execute_batch("INSERT INTO t VALUES (randomblob(9000))").expect("is written");
            ends.push(std::fs::metadata(&wal).expect("is there").len() as usize);
        }
        let bytes = std::fs::read(&wal).expect("is there");
        drop(connection);
        std::fs::remove_file(path).expect("can be removed");
        (bytes, ends)
    }

    #[test]
    fn damage_before_the_last_commit_but_one_is_seen_wherever_it_is() {
        let (whole, ends) = log("damage", 5);
        assert!(!look(&whole[..]).expect("can be read"), "it ends where it ends");
        let harmless = ends[2];
        for at in (0..whole.len()).step_by(97) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x40;
            let seen = look(&damaged[..]).expect("can be read");
            // The last two prove nothing by themselves: one of them can be what a power cut left.
            assert!(seen || at >= harmless, "{at} of {}", whole.len());
        }
    }

    #[test]
    fn what_a_crash_leaves_is_no_damage() {
        let (whole, ends) = log("crash", 5);
        for end in (0..whole.len()).step_by(1009) {
            assert!(!look(&whole[..end]).expect("can be read"), "cut at {end}");
        }
        // Of the last commit any part can have come to the disk, in any order.
        for at in (ends[3]..whole.len()).step_by(211) {
            let mut torn = whole.clone();
            torn[at..(at + 4096).min(whole.len())].fill(0);
            assert!(!look(&torn[..]).expect("can be read"), "torn at {at}");
        }
        assert!(!look(&[0_u8; 100_000][..]).expect("can be read"), "nothing but zeros");
    }
}
