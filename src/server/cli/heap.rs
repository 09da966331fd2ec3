//! How the threads share the memory that the allocator holds.
#![expect(unsafe_code, reason = "the allocator's settings are C's")]

use std::{ffi::c_int, thread::available_parallelism};

/// Has the threads share as many arenas as there are processor cores, and two at least.
///
/// By itself glibc gives eight to a core, each of which keeps what was freed in it. Large answers are made by threads
/// that come and go: with an arena for each of them, what one has freed the others do not find.
pub(super) fn limit_arenas() {
    let cores = available_parallelism().map_or(1, usize::from).max(2);
    // SAFETY: sets a number, which the allocator reads when it makes an arena.
    let taken = unsafe { libc::mallopt(libc::M_ARENA_MAX, c_int::try_from(cores).unwrap_or(c_int::MAX)) };
    debug_assert_eq!(taken, 1, "glibc takes any number");
}
