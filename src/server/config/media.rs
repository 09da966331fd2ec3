//! The keys of uploaded files.

use std::ops::RangeInclusive;

use super::{
    key::{Key, Shown},
    size,
};

/// The largest file that may be allowed.
const MAX_UPLOAD_SIZE: RangeInclusive<u64> = 0..=(64 << 30);

const SIZE: &str = "a number of bytes, or one with K, M or G, such as 10G";

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "media.max_upload_size",
        help: "How large an uploaded file may be. 0: nothing can be uploaded.",
        allowed: "a number of bytes, or one with K, M or G, up to 64G, such as 100M",
        set: |c, v| {
            size::parse(v)
                .filter(|bytes| MAX_UPLOAD_SIZE.contains(bytes))
                .map(|bytes| c.media.max_upload_size = bytes)
        },
        show: |c| Shown::Text(size::show(c.media.max_upload_size)),
    },
    Key {
        name: "media.user_quota",
        help: "How much all files may have together that one user has uploaded. 0: as much as they like.",
        allowed: SIZE,
        set: |c, v| size::parse(v).map(|bytes| c.media.user_quota = bytes),
        show: |c| Shown::Text(size::show(c.media.user_quota)),
    },
    Key {
        name: "media.quota",
        help: "How much all files may have together that users have uploaded. 0: as much as the disk has.",
        allowed: SIZE,
        set: |c, v| size::parse(v).map(|bytes| c.media.quota = bytes),
        show: |c| Shown::Text(size::show(c.media.quota)),
    },
    Key {
        name: "media.remote_cache",
        help: "How much is kept of other servers' files that users here have looked at; what was not looked at for\nlongest goes. A file larger than this or media.max_upload_size is not fetched.",
        allowed: SIZE,
        set: |c, v| size::parse(v).map(|bytes| c.media.remote_cache = bytes),
        show: |c| Shown::Text(size::show(c.media.remote_cache)),
    },
    Key {
        name: "media.thumbnail_cache",
        help: "How much is kept of thumbnails, of which each can be made again; what was not looked at for longest\ngoes.",
        allowed: SIZE,
        set: |c, v| size::parse(v).map(|bytes| c.media.thumbnail_cache = bytes),
        show: |c| Shown::Text(size::show(c.media.thumbnail_cache)),
    },
    Key {
        name: "media.keep_free",
        help: "How much of the disk files leave free: the database has the same disk.",
        allowed: SIZE,
        set: |c, v| size::parse(v).map(|bytes| c.media.keep_free = bytes),
        show: |c| Shown::Text(size::show(c.media.keep_free)),
    },
];
