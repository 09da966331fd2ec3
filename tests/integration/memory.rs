//! What the server holds in memory, seen from outside: its resident set, in a process of its own.

use std::{path::Path, sync::Mutex};

use super::{cli::Serve, support::TempDir};

/// MiB of memory that the process has resident.
pub fn resident(server: &Serve) -> f64 {
    let path = format!("/proc/{}/status", server.child.id());
    let status = std::fs::read_to_string(Path::new(&path)).expect("the server runs on Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}

#[test]
fn hashing_many_passwords_leaves_no_memory_behind() {
    let data = TempDir::new();
    let server = Serve::start(data.path(), &["--set", "rate_limits.enabled=false"]);
    server.client.clone().register("first");
    let before = resident(&server);
    let names = Mutex::new((0..48).map(|n| format!("user{n}")));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let Some(name) = names.lock().expect("no panic").next() else { return };
                    server.client.clone().register(&name);
                }
            });
        }
    });
    let after = resident(&server);
    eprintln!("{before:.1} MiB before, {after:.1} MiB after");
    assert!(after < before + 24.0, "{before:.1} MiB before, {after:.1} MiB after");
}
