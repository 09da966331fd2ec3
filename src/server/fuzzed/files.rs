//! Files in the data folder.

use crate::server::keys::{parse_key, parse_retired};

/// A line of `signing.key`, and one of `signing.key.retired`.
pub(super) fn key_file(data: &[u8]) {
    let Ok(line) = str::from_utf8(data) else { return };
    if let Some(retired) = parse_retired(line) {
        assert_eq!(parse_retired(&retired.to_string()), Some(retired));
    }
    if let Some(key) = parse_key(line) {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!((words.len(), words[0], words[1]), (3, "ed25519", key.version()));
    }
}
