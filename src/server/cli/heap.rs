//! How the threads share the memory that the allocator holds.
#![expect(unsafe_code, reason = "the allocator's settings are C's")]

use std::{
    ffi::c_int,
    io,
    thread::{self, available_parallelism},
    time::Duration,
};

/// How often it is looked how much of the memory is free.
const LOOK: Duration = Duration::from_secs(10);

/// Bytes that came free since memory was given back last, for which it is done again.
const MUCH: usize = 4 << 20;

/// Stack of the thread that does it.
const STACK: usize = 64 << 10;

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

/// Starts a thread that gives pages back to the system in which nothing is left.
///
/// By itself glibc keeps them, unless they are the last ones of an arena: what a thousand users took who all came at
/// once would never be given back.
pub(super) fn give_back() -> io::Result<()> {
    let look = || {
        let mut left = free();
        loop {
            thread::sleep(LOOK);
            let now = free();
            left = if now >= left + MUCH { trim() } else { left.min(now) };
        }
    };
    thread::Builder::new().name("memory".into()).stack_size(STACK).spawn(look).map(drop)
}

/// Bytes of the allocator's that nothing uses.
fn free() -> usize {
    // SAFETY: reads numbers, each arena's under its lock.
    unsafe { libc::mallinfo2() }.fordblks
}

/// Gives back what can be; answers how much is free nevertheless, as pages are, or parts of them.
fn trim() -> usize {
    // SAFETY: takes no pointer; touches only what is free.
    unsafe { libc::malloc_trim(0) };
    free()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn resident() -> usize {
        let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux");
        pages.split(' ').nth(1).and_then(|n| n.parse().ok()).map_or(0, |pages: usize| pages * 4096)
    }

    /// How much less is resident after what came free was given back.
    fn given_back() -> usize {
        let mut blocks: Vec<_> =
            (0..48 << 10).map(|n| Some(vec![1_u8; if n % 64 == 0 { 16 } else { 1024 }])).collect();
        let before = resident();
        // Those that stay keep the allocator from giving back the end of the arena.
        blocks.iter_mut().enumerate().filter(|(n, _)| n % 64 != 0).for_each(|(_, block)| *block = None);
        trim();
        let after = resident();
        assert_eq!(blocks.iter().flatten().count(), 48 << 4);
        before.saturating_sub(after)
    }

    /// Set for the process that measures: beside other tests, what they take in the meantime would be measured too.
    const ALONE: &str = "PILOTLIGHT_TEST_ALONE";

    #[test]
    fn pages_between_what_is_in_use_are_given_back() {
        if std::env::var_os(ALONE).is_some() {
            let bytes = given_back();
            assert!(bytes > 24 << 20, "{bytes} bytes are given back");
            return;
        }
        let name = thread::current().name().expect("of a test").to_owned();
        let mut tests = Command::new(std::env::current_exe().expect("the tests"));
        let ran = tests.args(["--exact", &name]).env(ALONE, "1").output().expect("runs");
        let told = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && told.contains("1 passed"), "{told}");
    }
}
