//! Made answers that wait to be taken, on the disk.
//!
//! One file without a name in the data folder, in blocks that answers hold and give back. The blocks are bounded together,
//! and by what the disk has free. Who finds none takes those of the answer that was not read from for longest, of the
//! client who holds most: that answer ends. So holding blocks is no way to keep others from having some.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::PathBuf,
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Bytes of a block.
const BLOCK: usize = 64 << 10;

/// Blocks that all answers hold together, at most: 1 GiB.
const MAX_BLOCKS: u32 = 16 << 10;

/// By how many blocks the file grows before the disk is asked again what it has free.
const STRIDE: u32 = 64;

/// Why an answer gets no room.
#[derive(Debug, thiserror::Error)]
pub(super) enum Full {
    /// Of those who hold blocks nobody holds more than who asks.
    #[error("there is no room for so large an answer at the moment")]
    Spool,
    /// The disk does not take it.
    #[error("the disk has no room for an answer: {0}")]
    Disk(io::Error),
}

/// An answer that cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// It had to give its blocks to others.
    #[error("others needed the room of this answer, which was not taken")]
    Evicted,
    /// The disk does not give it back.
    #[error("an answer cannot be read: {0}")]
    Disk(#[from] io::Error),
}

/// The file.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    max_blocks: u32,
    blocks: Mutex<Blocks>,
}

#[derive(Debug, Default)]
struct Blocks {
    /// Made when the first answer needs it.
    file: Option<Arc<File>>,
    /// How many the file has.
    end: u32,
    /// Up to how many it may grow without asking the disk again.
    granted: u32,
    /// Those that nobody holds.
    free: BTreeSet<u32>,
    holders: BTreeMap<u64, Holder>,
    next: u64,
}

/// An answer, and what it holds.
#[derive(Debug)]
struct Holder {
    client: Arc<str>,
    blocks: Vec<u32>,
    /// Something is being written for it: its blocks cannot be taken from it.
    writing: bool,
    /// When something was read or written last.
    touched: Instant,
}

/// The part of one answer that is in the file; gives its blocks back when it is dropped.
#[derive(Debug)]
pub(super) struct Spooled {
    spool: Arc<Spool>,
    holder: u64,
    len: usize,
}

impl Spool {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, max_blocks: MAX_BLOCKS, blocks: Mutex::default() }
    }

    /// Room for an answer to `client`.
    pub(super) fn begin(self: &Arc<Self>, client: &Arc<str>) -> Spooled {
        let mut blocks = self.blocks.lock();
        let holder = blocks.next;
        blocks.next += 1;
        let client = Arc::clone(client);
        let held = Holder { client, blocks: Vec::new(), writing: false, touched: Instant::now() };
        blocks.holders.insert(holder, held);
        Spooled { spool: Arc::clone(self), holder, len: 0 }
    }

    /// Bytes that the file has.
    pub(super) fn size(&self) -> usize {
        self.blocks.lock().end as usize * BLOCK
    }

    fn open(&self) -> io::Result<File> {
        let path = self.folder.join("answers.spool");
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        // Without a name it is gone with the process, however that ends.
        std::fs::remove_file(&path)?;
        Ok(file)
    }

    /// The file, and a block for `holder` to write on at `len`.
    fn to_write(&self, holder: u64, len: usize) -> Result<(Arc<File>, u32), Full> {
        let mut blocks = self.blocks.lock();
        let file = match &blocks.file {
            Some(file) => Arc::clone(file),
            None => Arc::clone(blocks.file.insert(Arc::new(self.open().map_err(Full::Disk)?))),
        };
        let last = blocks.holders.get(&holder).ok_or(Full::Spool)?.blocks.last().copied();
        let block = match last.filter(|_| !len.is_multiple_of(BLOCK)) {
            Some(block) => block,
            None => blocks.one_for(holder, self.max_blocks, &file)?,
        };
        if let Some(holder) = blocks.holders.get_mut(&holder) {
            holder.writing = true;
        }
        Ok((file, block))
    }

    fn written(&self, holder: u64) {
        if let Some(holder) = self.blocks.lock().holders.get_mut(&holder) {
            holder.writing = false;
            holder.touched = Instant::now();
        }
    }
}

impl Blocks {
    /// One more block for `holder`.
    fn one_for(&mut self, holder: u64, max_blocks: u32, file: &File) -> Result<u32, Full> {
        let block = match self.free.pop_first() {
            Some(block) => block,
            None => match self.grow(max_blocks, file) {
                Ok(block) => block,
                Err(full) => {
                    let victim = self.victim(holder).ok_or(full)?;
                    self.drop_holder(victim);
                    self.free.pop_first().ok_or(Full::Spool)?
                }
            },
        };
        if let Some(holder) = self.holders.get_mut(&holder) {
            holder.blocks.push(block);
        }
        Ok(block)
    }

    fn grow(&mut self, max_blocks: u32, file: &File) -> Result<u32, Full> {
        if self.end >= max_blocks {
            return Err(Full::Spool);
        }
        if self.end >= self.granted {
            let disk = rustix::fs::fstatvfs(file).map_err(|e| Full::Disk(e.into()))?;
            let available = disk.f_bavail.saturating_mul(disk.f_frsize);
            // The database has the same disk: at least as much as all answers take is left to it.
            let wanted = u64::from(self.end + 2 * STRIDE) * BLOCK as u64;
            if available < wanted {
                return Err(Full::Disk(io::ErrorKind::StorageFull.into()));
            }
            self.granted = self.end + STRIDE;
        }
        self.end += 1;
        Ok(self.end - 1)
    }

    /// The answer that has to make room for one more block of `asking`: of the client who holds most, what was not
    /// touched for longest. `None`: nobody holds more than who asks.
    fn victim(&self, asking: u64) -> Option<u64> {
        let mut held: BTreeMap<&str, usize> = BTreeMap::new();
        for holder in self.holders.values() {
            *held.entry(&holder.client).or_default() += holder.blocks.len();
        }
        let own = &*self.holders.get(&asking)?.client;
        let least = held.get(own).copied().unwrap_or_default();
        let mut clients: Vec<(usize, &str)> = held
            .into_iter()
            .filter(|(client, count)| *count > least || *client == own)
            .map(|(c, n)| (n, c))
            .collect();
        clients.sort_unstable_by(|a, b| b.cmp(a));
        clients.into_iter().find_map(|(_, client)| {
            let of_client = self.holders.iter().filter(|(id, holder)| {
                **id != asking && *holder.client == *client && !holder.writing && !holder.blocks.is_empty()
            });
            of_client.min_by_key(|(_, holder)| holder.touched).map(|(id, _)| *id)
        })
    }

    fn drop_holder(&mut self, holder: u64) {
        if let Some(holder) = self.holders.remove(&holder) {
            self.free.extend(holder.blocks);
        }
    }

    /// Cuts off what nobody holds at the end of the file, once that is half of it.
    fn shrink(&mut self) {
        let mut end = self.end;
        for block in self.free.iter().rev() {
            if block + 1 != end {
                break;
            }
            end = *block;
        }
        let Some(file) = self.file.as_ref().filter(|_| end < self.end && end <= self.end / 2) else { return };
        match file.set_len(u64::from(end) * BLOCK as u64) {
            Ok(()) => {
                self.free.split_off(&end);
                (self.end, self.granted) = (end, end);
            }
            Err(e) => tracing::warn!(error = %e, "cannot shorten the file of answers that wait"),
        }
    }
}

impl Spooled {
    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Writes `bytes` at the end.
    pub(super) fn append(&mut self, mut bytes: &[u8]) -> Result<(), Full> {
        while !bytes.is_empty() {
            let within = self.len % BLOCK;
            let (piece, rest) = bytes.split_at(bytes.len().min(BLOCK - within));
            let (file, block) = self.spool.to_write(self.holder, self.len)?;
            let written = file.write_all_at(piece, offset(block) + within as u64);
            self.spool.written(self.holder);
            written.map_err(Full::Disk)?;
            self.len += piece.len();
            bytes = rest;
        }
        Ok(())
    }

    /// Reads up to `max` of the bytes from `at` on; there are some.
    pub(super) fn read(&self, at: usize, max: usize) -> Result<Vec<u8>, Lost> {
        let within = at % BLOCK;
        let len = max.min(BLOCK - within).min(self.len - at);
        let (file, block) = {
            let blocks = self.spool.blocks.lock();
            let holder = blocks.holders.get(&self.holder).ok_or(Lost::Evicted)?;
            let block = holder.blocks.get(at / BLOCK).copied().ok_or(Lost::Evicted)?;
            (blocks.file.clone().ok_or(Lost::Evicted)?, block)
        };
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, offset(block) + within as u64)?;
        // Blocks that were taken away meanwhile can hold what is somebody else's.
        match self.spool.blocks.lock().holders.get_mut(&self.holder) {
            Some(holder) => holder.touched = Instant::now(),
            None => return Err(Lost::Evicted),
        }
        Ok(bytes)
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        let mut blocks = self.spool.blocks.lock();
        blocks.drop_holder(self.holder);
        blocks.shrink();
    }
}

fn offset(block: u32) -> u64 {
    u64::from(block) * BLOCK as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool(name: &str, max_blocks: u32) -> Arc<Spool> {
        let folder = std::env::temp_dir().join(format!("pilotlight-spool-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Arc::new(Spool { max_blocks, ..Spool::new(folder) })
    }

    fn end(spool: &Spool) {
        std::fs::remove_dir(&spool.folder).expect("holds no file with a name");
    }

    /// An answer of so many blocks, less a byte.
    fn answer(spool: &Arc<Spool>, client: &str, blocks: usize, byte: u8) -> Spooled {
        let mut spooled = spool.begin(&client.into());
        spooled.append(&vec![byte; blocks * BLOCK - 1]).expect("there is room");
        spooled
    }

    fn text(spooled: &Spooled) -> Result<Vec<u8>, Lost> {
        let mut bytes = Vec::new();
        while bytes.len() < spooled.len() {
            bytes.extend(spooled.read(bytes.len(), 10_000)?);
        }
        Ok(bytes)
    }

    #[test]
    fn what_is_written_in_pieces_of_any_size_is_read_as_it_was() {
        let spool = spool("pieces", 64);
        let whole: Vec<u8> = (0..3 * BLOCK + 17).map(|n| (n % 251) as u8).collect();
        for piece in [1000, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            let mut first = spool.begin(&"@a:x".into());
            let mut second = spool.begin(&"@b:x".into());
            for part in whole.chunks(piece) {
                first.append(part).expect("there is room");
                second.append(part).expect("there is room");
            }
            assert!(text(&first).expect("is there") == whole && text(&second).expect("is there") == whole);
        }
        assert_eq!(spool.size(), 0, "all of it was given back");
        end(&spool);
    }

    #[test]
    fn who_holds_most_makes_room_with_what_was_left_lying_longest() {
        let spool = spool("victims", 10);
        let small = answer(&spool, "@b:x", 1, b'b');
        let (left, read) = (answer(&spool, "@a:x", 3, b'1'), answer(&spool, "@a:x", 3, b'2'));
        let other = answer(&spool, "@c:x", 3, b'c');
        left.read(0, 10).expect("is there");
        read.read(0, 10).expect("is there");
        let asked = answer(&spool, "@d:x", 2, b'd');
        assert!(matches!(text(&left), Err(Lost::Evicted)));
        for (kept, byte) in [(&small, b'b'), (&read, b'2'), (&other, b'c'), (&asked, b'd')] {
            assert!(text(kept).expect("is there").iter().all(|b| *b == byte));
        }
        drop((small, left, read, other, asked));
        end(&spool);
    }

    #[test]
    fn who_holds_most_gets_no_more_of_others_and_ends_their_own() {
        let spool = spool("most", 10);
        let others: Vec<_> = (0..4).map(|n| answer(&spool, &format!("@o{n}:x"), 1, b'o')).collect();
        let own = answer(&spool, "@a:x", 3, b'1');
        let mut huge = spool.begin(&"@a:x".into());
        assert!(matches!(huge.append(&vec![b'2'; 7 * BLOCK]), Err(Full::Spool)));
        assert!(matches!(text(&own), Err(Lost::Evicted)), "their own answers make room first");
        assert!(others.iter().all(|other| text(other).is_ok()));
        drop(huge);
        drop(answer(&spool, "@a:x", 6, b'3'));
        drop((others, own));
        end(&spool);
    }

    #[test]
    fn the_file_gets_shorter_when_what_lay_at_its_end_is_given_back() {
        let spool = spool("shrinks", 100);
        let first = answer(&spool, "@a:x", 2, b'a');
        let second = answer(&spool, "@b:x", 20, b'b');
        assert_eq!(spool.size(), 22 * BLOCK);
        drop(second);
        assert_eq!(spool.size(), 2 * BLOCK);
        let third = answer(&spool, "@b:x", 5, b'c');
        assert!(text(&first).expect("is there").iter().all(|b| *b == b'a'));
        assert!(text(&third).expect("is there").iter().all(|b| *b == b'c'));
        drop((first, third));
        assert_eq!(spool.size(), 0);
        end(&spool);
    }

    #[test]
    fn answers_take_no_more_of_the_disk_than_they_leave_free() {
        let spool = spool("disk", u32::MAX);
        let file = spool.open().expect("opens");
        let mut blocks = Blocks { end: u32::MAX / 4, ..Blocks::default() };
        assert!(matches!(blocks.grow(u32::MAX, &file), Err(Full::Disk(_))));
        end(&spool);
    }
}
