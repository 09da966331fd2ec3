//! Numbers on which writing and reading agree.

/// The promise that holds where a link names none.
pub(super) const DEFAULT_PROMISE_MS: u64 = 120_000;

/// The largest integer JSON carries safely.
pub(super) const MAX_INTEGER: u64 = (1 << 53) - 1;
