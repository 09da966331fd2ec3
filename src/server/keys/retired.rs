//! Keys that were replaced: they sign nothing, and are published so that what they signed can be verified.
//!
//! The file has a line for each, `ed25519 VERSION PUBLIC_KEY EXPIRED_MS`, the earliest first.

use std::{collections::BTreeMap, fmt, io::ErrorKind, path::Path};

use ruma::{
    CanonicalJsonValue, Int,
    serde::{Base64, base64::Standard},
};

use super::{error::KeyFileError, version::is_version};
use crate::server::private_file;

/// The file of replaced keys, in the data folder.
pub(super) const FILE: &str = "signing.key.retired";

/// A key that was replaced.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Retired {
    version: String,
    public_key: Base64<Standard, [u8; 32]>,
    expired_ms: u64,
}

impl Retired {
    pub(super) fn new(version: &str, public_key: [u8; 32], expired_ms: u64) -> Self {
        Self { version: version.to_owned(), public_key: Base64::new(public_key), expired_ms }
    }

    /// The key's ID: `ed25519:VERSION`.
    pub fn id(&self) -> String {
        format!("ed25519:{}", self.version)
    }

    /// Until when it signed (Unix).
    pub fn expired_ms(&self) -> u64 {
        self.expired_ms
    }

    /// The public key, with which others verify what it signed.
    pub(super) fn public_key(&self) -> &[u8; 32] {
        self.public_key.as_inner()
    }

    /// Its entry in `old_verify_keys`.
    pub(super) fn published(&self) -> CanonicalJsonValue {
        CanonicalJsonValue::Object(BTreeMap::from([
            ("key".to_owned(), self.public_key.encode().into()),
            (
                "expired_ts".to_owned(),
                CanonicalJsonValue::Integer(Int::try_from(self.expired_ms).unwrap_or(Int::MAX)),
            ),
        ]))
    }
}

/// One line of the file.
impl fmt::Display for Retired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519 {} {} {}", self.version, self.public_key.encode(), self.expired_ms)
    }
}

/// Reads the replaced keys in `data_dir`; none when there is no file.
pub(super) fn read(data_dir: &Path) -> Result<Vec<Retired>, KeyFileError> {
    let path = data_dir.join(FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(KeyFileError(path, e.to_string())),
    };
    let keys = text.lines().enumerate().map(|(n, line)| parse(line).ok_or(n + 1));
    keys.collect::<Result<_, _>>().map_err(|line| {
        let what = format!("line {line} is not `ed25519 VERSION PUBLIC_KEY EXPIRED_MS`");
        KeyFileError(path, what)
    })
}

/// Puts `keys` in the place of those in `data_dir`.
pub(super) fn write(data_dir: &Path, keys: &[Retired]) -> Result<(), KeyFileError> {
    let path = data_dir.join(FILE);
    let text: String = keys.iter().map(|key| format!("{key}\n")).collect();
    private_file::write(&path, &text).map_err(|e| KeyFileError(path.clone(), e.to_string()))
}

/// Reads one line of the file.
pub(in crate::server) fn parse(line: &str) -> Option<Retired> {
    let mut words = line.split_whitespace();
    let (algorithm, version) = (words.next()?, words.next()?);
    let (public_key, expired_ms) = (words.next()?, words.next()?);
    if algorithm != "ed25519" || !is_version(version) || words.next().is_some() {
        return None;
    }
    let public_key: Base64<Standard, [u8; 32]> = Base64::parse(public_key).ok()?;
    Some(Retired { version: version.to_owned(), public_key, expired_ms: expired_ms.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_line_is_refused_with_its_number() {
        let folder = std::env::temp_dir().join(format!("pilotlight-retired-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let keys = [Retired::new("a_1", [7; 32], 5), Retired::new("a_2", [8; 32], 6)];
        write(&folder, &keys).expect("writes");
        assert_eq!(read(&folder).expect("reads"), keys);
        let whole = std::fs::read_to_string(folder.join(FILE)).expect("is there");
        for damage in ["ed25519 a_3 AAAA 7", "ed25519 a_3", "rsa a_3 AAAA 7", ""] {
            std::fs::write(folder.join(FILE), format!("{whole}{damage}\n")).expect("writes");
            let error = read(&folder).expect_err(damage).to_string();
            assert!(error.contains("line 3"), "{error}");
        }
        std::fs::remove_dir_all(folder).expect("can be removed");
    }
}
