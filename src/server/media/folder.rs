//! Where the bytes of files lie: the folder `media` in the data folder.
//!
//! Nobody else makes a path there: others hold a [`FileName`], drawn by chance and never taken from a request. A file
//! begins among the unsettled; the row that names it is committed while it is there, and then it gets its place. So what is
//! unsettled when a server starts is either named by a row, and gets its place, or is what an end by force left, and goes.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::server::private_file::sync_folder;

/// The name of the folder in the data folder.
const MEDIA: &str = "media";

/// Below it: files that have no place yet.
const UNSETTLED: &str = "unsettled";

/// The name of a file: 32 hexadecimal digits.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct FileName(String);

impl FileName {
    /// A name that no file has yet.
    pub fn random() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()))
    }

    /// The name that was kept as `text`; `None`: it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (text.len() == 32 && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    /// The name as it is kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What can be read: a file, or a thumbnail of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Readable {
    /// The file.
    pub name: FileName,
    /// How the thumbnail of it is called: letters, digits, `-` and a `.`, never taken from a request; `None`: the file itself.
    pub thumbnail: Option<String>,
}

/// The folder.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

/// A file that is being written. Without [`Unsettled::finish`] it is gone when this is dropped.
#[derive(Debug)]
pub struct Unsettled {
    path: PathBuf,
    /// `None`: it stays.
    name: Option<FileName>,
}

impl Folder {
    /// That in `data_dir`, which is made when the first file needs it.
    pub fn of(data_dir: &Path) -> Self {
        Self { root: data_dir.join(MEDIA) }
    }

    /// Whether it is there.
    pub fn exists(&self) -> bool {
        self.root.is_dir()
    }

    /// Begins a file.
    ///
    /// # Errors
    /// Of the system.
    pub fn begin(&self) -> io::Result<Unsettled> {
        let unsettled = self.root.join(UNSETTLED);
        make(&unsettled)?;
        let name = FileName::random();
        let path = unsettled.join(name.as_str());
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Unsettled { path, name: Some(name) })
    }

    /// Gives a file that a row names its place; without one it is still found.
    ///
    /// # Errors
    /// Of the system.
    pub fn settle(&self, name: &FileName) -> io::Result<()> {
        let place = self.place(name);
        if let Some(folder) = place.parent() {
            make(folder)?;
        }
        std::fs::rename(self.unsettled(name), place)
    }

    /// Takes its place from a file whose row is to go: from here on it is gone with the next start, if nobody names it.
    ///
    /// # Errors
    /// Of the system.
    pub fn unsettle(&self, name: &FileName) -> io::Result<()> {
        make(&self.root.join(UNSETTLED))?;
        match std::fs::rename(self.place(name), self.unsettled(name)) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes a file that no row names, and its thumbnails.
    ///
    /// # Errors
    /// Of the system.
    pub fn remove_unsettled(&self, name: &FileName) -> io::Result<()> {
        let place = self.place(name);
        let folder = place.parent().filter(|folder| folder.is_dir()).map(std::fs::read_dir).transpose()?;
        for entry in folder.into_iter().flatten() {
            let path = entry?.path();
            if path.with_extension("").file_stem() == place.file_stem() {
                std::fs::remove_file(path)?;
            }
        }
        match std::fs::remove_file(self.unsettled(name)) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The files that have no place yet.
    ///
    /// # Errors
    /// Of the system.
    pub fn all_unsettled(&self) -> io::Result<Vec<FileName>> {
        let entries = match std::fs::read_dir(self.root.join(UNSETTLED)) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().to_str().and_then(FileName::parse));
        }
        names.sort();
        Ok(names)
    }

    /// Keeps what is in `file` as the thumbnail `of` a file.
    ///
    /// # Errors
    /// Of the system.
    pub fn settle_thumbnail(&self, file: Unsettled, of: &Readable) -> io::Result<()> {
        let place = self.thumbnail(&of.name, of.thumbnail.as_deref().unwrap_or_default());
        if let Some(folder) = place.parent() {
            make(folder)?;
        }
        std::fs::rename(&file.path, place)?;
        file.keep();
        Ok(())
    }

    /// Removes a thumbnail, if it is there.
    ///
    /// # Errors
    /// Of the system.
    pub fn remove_thumbnail(&self, what: &Readable) -> io::Result<()> {
        let Some(thumbnail) = &what.thumbnail else { return Ok(()) };
        match std::fs::remove_file(self.thumbnail(&what.name, thumbnail)) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// A file to read from.
    ///
    /// # Errors
    /// Of the system; [`ErrorKind::NotFound`] when it is gone.
    pub fn open(&self, what: &Readable) -> io::Result<File> {
        let name = &what.name;
        if let Some(thumbnail) = &what.thumbnail {
            return File::open(self.thumbnail(name, thumbnail));
        }
        // It can get its place between two looks.
        for path in [self.place(name), self.unsettled(name), self.place(name)] {
            match File::open(path) {
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                opened => return opened,
            }
        }
        Err(ErrorKind::NotFound.into())
    }

    /// The `len` bytes of a file from `at` on.
    ///
    /// # Errors
    /// Of the system; when they are not all there, too.
    pub fn read(&self, what: &Readable, at: u64, len: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; len];
        self.open(what)?.read_exact_at(&mut bytes, at)?;
        Ok(bytes.into())
    }

    /// Puts a copy of a file in its place in another such folder; `false`: there is none to copy. It is on the disk on return.
    ///
    /// # Errors
    /// Of the system, for what is written.
    pub fn copy(&self, name: &FileName, to: &Self) -> io::Result<bool> {
        let Ok(mut from) = self.open(&Readable { name: name.clone(), thumbnail: None }) else {
            return Ok(false);
        };
        let copy = to.begin()?;
        io::copy(&mut from, &mut OpenOptions::new().append(true).open(&copy.path)?)?;
        copy.sync()?;
        let place = to.place(name);
        if let Some(folder) = place.parent() {
            make(folder)?;
        }
        std::fs::rename(&copy.path, &place)?;
        copy.keep();
        sync_folder(&place).map(|()| true)
    }

    /// How many bytes the disk has for us.
    ///
    /// # Errors
    /// Of the system.
    pub fn free_space(&self) -> io::Result<u64> {
        let folder = if self.exists() { &self.root } else { self.root.parent().unwrap_or(&self.root) };
        let disk = rustix::fs::statvfs(folder)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn unsettled(&self, name: &FileName) -> PathBuf {
        self.root.join(UNSETTLED).join(name.as_str())
    }

    /// Beside the file.
    fn thumbnail(&self, name: &FileName, thumbnail: &str) -> PathBuf {
        let mut path = self.place(name).into_os_string();
        path.push(format!(".{thumbnail}"));
        path.into()
    }

    fn place(&self, name: &FileName) -> PathBuf {
        let (first, rest) = name.as_str().split_at(2);
        self.root.join(first).join(rest)
    }
}

impl Unsettled {
    /// Writes `bytes` at the end.
    ///
    /// # Errors
    /// Of the system.
    pub fn append(&self, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new().append(true).open(&self.path)?.write_all(bytes)
    }

    /// What it will be called.
    pub fn name(&self) -> Option<&FileName> {
        self.name.as_ref()
    }

    /// Returns when all of it is on the disk, and its name.
    ///
    /// # Errors
    /// Of the system.
    pub fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()?;
        sync_folder(&self.path)
    }

    /// It stays, whatever becomes of this.
    pub fn keep(mut self) -> Option<FileName> {
        self.name.take()
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        if self.name.is_some()
            && let Err(e) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(error = %e, "a file that was not kept cannot be removed");
        }
    }
}

/// Makes a folder that only its owner can enter, if it is not there.
fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_32_digits_and_never_a_way_out_of_the_folder() {
        let name = FileName::random();
        assert_eq!(FileName::parse(name.as_str()), Some(name));
        for text in ["", "..", "../../../../../../../../etc/passwd", "0123456789ABCDEF0123456789abcdef", "0"]
        {
            assert_eq!(FileName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_file_is_found_while_it_has_no_place_and_when_it_has_one_and_is_gone_when_it_is_dropped() {
        let data = std::env::temp_dir().join(format!("pilotlight-files-{}", std::process::id()));
        let folder = Folder::of(&data);
        assert!(folder.all_unsettled().expect("there is no folder yet").is_empty());
        let file = folder.begin().expect("begins");
        file.append(b"one ").expect("writes");
        file.append(b"two").expect("writes");
        file.sync().expect("syncs");
        let name = file.keep().expect("has a name");
        let whole = Readable { name: name.clone(), thumbnail: None };
        assert_eq!(folder.read(&whole, 4, 3).expect("is there"), "two");
        folder.settle(&name).expect("there is a place");
        assert_eq!(folder.read(&whole, 0, 7).expect("is there"), "one two");
        assert!(folder.read(&whole, 5, 3).is_err(), "there are only two more");
        assert!(folder.all_unsettled().expect("can be read").is_empty());
        drop(folder.begin().expect("begins"));
        assert!(folder.all_unsettled().expect("can be read").is_empty(), "nothing is left of it");
        folder.unsettle(&name).expect("moves");
        assert_eq!(folder.all_unsettled().expect("can be read"), std::slice::from_ref(&name));
        folder.remove_unsettled(&name).expect("goes");
        assert_eq!(folder.open(&whole).expect_err("is gone").kind(), ErrorKind::NotFound);
        std::fs::remove_dir_all(data).expect("can be removed");
    }
}
