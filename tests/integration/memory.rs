//! What the server holds in memory, seen from outside: its resident set, in a process of its own, without the pages of its
//! program, which come with whatever runs for the first time.

use std::{io::Write, net::TcpStream, path::Path, sync::Mutex};

use serde_json::{Value, json};

use super::{
    cli::Serve, peer::read_message, poll::connect, sliding::V4, support::TempDir, sync::create_room,
};

/// MiB of memory that the process has resident, of its own.
pub fn resident(server: &Serve) -> f64 {
    let path = format!("/proc/{}/status", server.child.id());
    let status = std::fs::read_to_string(Path::new(&path)).expect("the server runs on Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
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

/// How many arenas the allocator has beside the first: each begins at a multiple of 64 MiB.
fn arenas(server: &Serve) -> usize {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.child.id())).expect("runs on Linux");
    let is_arena = |line: &&str| {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap_or_default(), fields.next());
        let start = range.split('-').next().and_then(|start| u64::from_str_radix(start, 16).ok());
        rights == Some("rw-p") && fields.count() == 3 && start.is_some_and(|start| start % (64 << 20) == 0)
    };
    maps.lines().filter(is_arena).count()
}

#[test]
#[cfg(target_env = "gnu")]
fn the_threads_that_make_answers_share_a_few_arenas() {
    let data = TempDir::new();
    let server = Serve::start(data.path(), &["--set", "rate_limits.enabled=false"]);
    let clients: Vec<_> = (0..16).map(|n| server.client.clone().register(&format!("user{n}"))).collect();
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| {
                for _ in 0..20 {
                    client.get("/_matrix/client/v3/sync").ok();
                }
            });
        }
    });
    let most = std::thread::available_parallelism().map_or(1, usize::from).max(2);
    let count = arenas(&server);
    assert!((1..=most).contains(&count), "{count} arenas of {most}");
}

/// Polls that wait at once, and the memory that each may have, in KiB: a quarter of what HTTP alone would hold for it.
const WAITING: u32 = 400;
const FOR_ONE: f64 = 8.0;

#[test]
fn a_sync_that_waits_holds_a_few_kilobytes() {
    let data = TempDir::new();
    let server = Serve::start(data.path(), &["--set", "rate_limits.enabled=false"]);
    let ann = server.client.clone().register("ann");
    let since =
        || ann.get("/_matrix/client/v3/sync").ok()["next_batch"].as_str().expect("a token").to_owned();
    let token = ann.token.as_deref().expect("a token");
    let ask = |stream: &mut TcpStream, timeout: u32, since: &str| {
        let path = format!("/_matrix/client/v3/sync?timeout={timeout}&since={since}");
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("is sent");
    };
    let before = resident(&server);
    let mut held: Vec<_> = (0..WAITING).map(|_| connect(&ann)).collect();
    let quick = since();
    for stream in &mut held {
        // By the time that it is answered, the one that waits on its connection is the second.
        ask(stream, 0, &quick);
        read_message(stream).expect("is answered");
    }
    let place = since();
    held.iter_mut().for_each(|stream| ask(stream, 60_000, &place));
    let path = format!("/_matrix/client/v3/user/{}/account_data/x", ann.user);
    let waiting = resident(&server);
    ann.put(&path, serde_json::json!({})).ok();
    for stream in &mut held {
        let (head, _) = read_message(stream).expect("is answered");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
    let each = (waiting.max(resident(&server)) - before) * 1024.0 / f64::from(WAITING);
    assert!(each < FOR_ONE, "{each:.1} KiB each");
}

/// Users, the connections of sliding sync of each, and the rooms that all of them are in.
const SLIDERS: usize = 20;
const SLIDES: usize = 16;
const SLID_ROOMS: usize = 10;

/// What one that waits may have, in KiB, with all that is remembered for it.
const FOR_ONE_SLIDING: f64 = 32.0;

#[test]
fn a_connection_of_sliding_sync_that_waits_holds_a_few_kilobytes_with_all_that_it_remembers() {
    let data = TempDir::new();
    let server = Serve::start(data.path(), &["--set", "rate_limits.enabled=false"]);
    let users: Vec<_> =
        (0..SLIDERS).map(|n| server.client.clone().register(&format!("user{n:02}"))).collect();
    for n in 0..SLID_ROOMS {
        let room = create_room(&users[0], json!({ "preset": "public_chat", "name": format!("r{n}") }));
        for user in &users[1..] {
            user.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
        }
    }
    let list = json!({ "range": [0, 99], "timeline_limit": 1,
        "required_state": { "include": [{ "type": "m.room.create" }], "lazy_members": true } });
    let ask = |stream: &mut TcpStream, token: &str, body: Value| {
        let body = body.to_string();
        let head = format!(
            "POST {V4} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("is sent");
    };
    let answer = |stream: &mut TcpStream| -> Value {
        let (head, body) = read_message(stream).expect("is answered");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        serde_json::from_slice(&body).expect("is JSON")
    };
    let body = |n: usize, pos: &Value, timeout: u64| json!({ "conn_id": n.to_string(), "pos": pos, "timeout": timeout, "lists": { "all": list } });
    let before = resident(&server);
    let mut held = Vec::new();
    for user in &users {
        let token = user.token.as_deref().expect("a token");
        for n in 0..SLIDES {
            let mut stream = connect(user);
            ask(&mut stream, token, body(n, &Value::Null, 0));
            let first = answer(&mut stream);
            assert_eq!(first["rooms"].as_object().map(serde_json::Map::len), Some(SLID_ROOMS));
            // By the time that it is answered, what was told is remembered as had.
            ask(&mut stream, token, body(n, &first["pos"], 0));
            let pos = answer(&mut stream)["pos"].clone();
            ask(&mut stream, token, body(n, &pos, 60_000));
            held.push((stream, pos));
        }
    }
    let each = (resident(&server) - before) * 1024.0 / (SLIDERS * SLIDES) as f64;
    eprintln!("{each:.1} KiB each");
    assert!(each < FOR_ONE_SLIDING, "{each:.1} KiB each");
}
