//! How many connections the system allows: each is an open file, and the database needs some, too.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files that are kept for the database, the log and connections to other servers.
const RESERVED: u64 = 128;

/// Connections that are allowed, however few files the system does.
const LEAST: usize = 64;

/// Connections that are allowed, however many files the system does.
const MOST: usize = 1_000_000;

/// Asks the system for as many open files as it gives without further rights. Many systems begin with
/// 1024, which a server of long polls reaches soon.
pub fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(e) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(error = %e, ?current, "cannot raise the limit of open files");
    }
}

/// Connections that one listener serves at once; further ones wait in the system's queue.
pub(super) fn most_connections() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(RESERVED)).unwrap_or(MOST).clamp(LEAST, MOST)
}
