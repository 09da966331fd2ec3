//! Files in the data folder, and the parts of files that are asked for.

use http::{HeaderMap, HeaderValue, header};

use crate::server::{
    http::range::{Wanted, wanted},
    keys::{parse_key, parse_retired},
};

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

/// A part of what there is, however it is asked for.
pub(super) fn range(data: &[u8]) {
    let Ok(range) = HeaderValue::from_bytes(data) else { return };
    let mut asked = HeaderMap::new();
    asked.insert(header::RANGE, range);
    for size in [0, 1, 10, u64::MAX] {
        if let Wanted::Part(part) = wanted(&asked, size, "\"a\"") {
            assert!(part.start < part.end && part.end <= size, "{part:?} of {size}");
        }
    }
}
