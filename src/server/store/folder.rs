//! The folder of the data: made, locked by who writes, and nobody else's business.

use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::refusal::OpenError;

/// The name of the database in the data folder.
pub(super) const FILE: &str = "pilotlight.db";

const LOCK: &str = "pilotlight.lock";

/// How the names begin of what holds secrets in the folder: the database with what SQLite and a backup put
/// beside it, the lock, the signing keys.
const OURS: [&str; 3] = [FILE, LOCK, KEY];

/// The key with which a server signs; that of former times begins so too.
const KEY: &str = "signing.key";

/// Whether there is a database in the data folder, whatever its state.
pub fn has_database(data_dir: &Path) -> bool {
    data_dir.join(FILE).exists()
}

/// The signing key in the data folder, or that of former times: the first start makes it after the database.
pub(super) fn key(data_dir: &Path) -> Option<PathBuf> {
    [KEY, "signing.key.retired"].map(|name| data_dir.join(name)).into_iter().find(|path| path.exists())
}

/// `path` with `suffix` after its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes the folder when there is none, and takes its lock; `None`: somebody has it. Whoever has it keeps
/// others from reading what is in the folder.
pub(super) fn enter(data_dir: &Path) -> Result<Option<File>, OpenError> {
    make(data_dir).map_err(OpenError::access(data_dir))?;
    let path = data_dir.join(LOCK);
    let access = OpenError::access(&path);
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(&access)?;
    match file.try_lock() {
        Ok(()) => {
            keep_to_owner(data_dir).map_err(OpenError::access(data_dir))?;
            Ok(Some(file))
        }
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(access(e)),
    }
}

/// Makes a folder that only its owner can enter; warns of one that is there and that others can.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    if folder.metadata().is_ok_and(|there| !there.is_dir()) {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is a file, not a folder"));
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mode = std::fs::metadata(folder)?.permissions().mode();
    if mode & 0o011 != 0 {
        tracing::warn!(
            folder = %folder.display(),
            mode = format!("{:o}", mode & 0o7777),
            "others can enter this folder of passwords and keys: `chmod 700` keeps them out"
        );
    }
    Ok(())
}

/// Takes from everybody but the owner what they may do with our files.
fn keep_to_owner(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let (name, path) = (name.to_string_lossy(), entry.path());
        if !OURS.iter().any(|ours| name.starts_with(ours)) {
            continue;
        }
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        let mode = metadata.permissions().mode();
        if !metadata.is_file() || mode & 0o077 == 0 {
            continue;
        }
        match std::fs::set_permissions(&path, Permissions::from_mode(mode & 0o700)) {
            Ok(()) => {
                tracing::warn!(file = %path.display(), "others could read this file: from here on they cannot")
            }
            Err(e) => tracing::warn!(file = %path.display(), error = %e, "others can read this file"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_files_are_kept_to_their_owner_and_others_are_left_alone() {
        let folder = std::env::temp_dir().join(format!("pilotlight-folder-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let mode =
            |name: &str| std::fs::metadata(folder.join(name)).expect("is there").permissions().mode() & 0o777;
        let ours =
            [FILE, "pilotlight.db-wal", "pilotlight.db.new", LOCK, "signing.key", "signing.key.retired"];
        for name in ours.into_iter().chain(["pilotlight.toml"]) {
            std::fs::write(folder.join(name), "").expect("writes");
            std::fs::set_permissions(folder.join(name), Permissions::from_mode(0o664)).expect("is ours");
        }
        let lock = enter(&folder).expect("enters");
        assert!(lock.is_some());
        for name in ours {
            assert_eq!(mode(name), 0o600, "{name}");
        }
        assert_eq!(mode("pilotlight.toml"), 0o664);
        std::fs::remove_dir_all(folder).expect("can be removed");
    }
}
