//! Who comes to the doors: many from one address, many who dawdle, more than there are files for.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    authority::{Authority, free_address},
    cli::Serve,
    hostile_peer::Scene,
    peer::read_message,
    poll::connect,
    support::{Client, TempDir, TestServer, until},
};

const WHOAMI: &str = "/_matrix/client/v3/account/whoami";
const VERSIONS: &str = "/_matrix/client/versions";

/// Bodies that are held open at once.
const HELD: usize = 300;

/// What they may cost, all together; a tenth of what they have sent.
const HELD_KIB: u64 = 30 << 10;

/// A request with a body of almost a megabyte, of which the last byte does not come.
fn hold(client: &Client, path: &str, token: Option<&str>) -> TcpStream {
    let (length, mut stream) = (1_000_000, connect(client));
    stream.set_write_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let token = token.map_or(String::new(), |token| format!("authorization: bearer {token}\r\n"));
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\n{token}content-length: {length}\r\n\r\n");
    let body = vec![b' '; length - 1];
    // Who is refused while sending may find that nobody reads the rest.
    match stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)) {
        Ok(()) | Err(_) => stream,
    }
}

fn memory_kib(server: &Serve) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn bodies_that_are_held_open_share_a_memory_with_a_token_and_without() {
    let data = TempDir::new();
    let server = Serve::start(data.path(), &["--set", "rate_limits.enabled=false"]);
    let (ann, ben) = (server.client.clone().register("ann"), server.client.clone().register("ben"));
    let before = memory_kib(&server);
    let token = ann.token.clone();
    let held: Vec<_> = (0..HELD)
        .map(|n| match n % 2 {
            0 => hold(&ann, "/_matrix/client/v3/login", None),
            _ => hold(&ann, "/_matrix/client/v3/keys/upload", token.as_deref()),
        })
        .collect();
    let begun = Instant::now();
    ben.get(WHOAMI).ok();
    let large = json!({ "one_time_keys": {}, "padding": "x".repeat(900_000) });
    ben.post("/_matrix/client/v3/keys/upload", large).ok();
    server.client.clone().log_in("ben");
    assert!(begun.elapsed() < Duration::from_secs(20), "nobody waits: {:?}", begun.elapsed());
    let grown = memory_kib(&server).saturating_sub(before);
    assert!(grown < HELD_KIB, "{grown} KiB for {HELD} bodies of a megabyte");
    drop(held);
    server
        .client
        .post("/_matrix/client/v3/login", json!({ "x": "y".repeat(70_000) }))
        .refused(413, "M_TOO_LARGE");
}

/// What a connection on which nothing is said is told; empty: nothing.
fn told(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    let mut told = Vec::new();
    match stream.read_to_end(&mut told) {
        Ok(_) | Err(_) => String::from_utf8(told).expect("text"),
    }
}

#[test]
fn one_address_has_so_many_connections_and_who_has_more_is_told_so() {
    let ca = Authority::new();
    let data = TempDir::new();
    let (name, mut arguments) = ca.arguments();
    arguments
        .extend(["--set", "connections.per_address=5", "--set", "trusted_proxies="].map(ToOwned::to_owned));
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let server = Serve::start(data.path(), &arguments);
    let mut held: Vec<_> = (0..5).map(|_| connect(&server.client)).collect();
    // The first ones are let in, in the order of coming.
    until("the sixth is told", || {
        let told = told(&mut connect(&server.client));
        told.starts_with("HTTP/1.1 429 ") && told.contains("M_LIMIT_EXCEEDED")
    });
    assert_eq!(told(&mut held[4]), "");
    held.clear();
    until("there is room again", || told(&mut connect(&server.client)).is_empty());
    let port = name.port().expect("a port");
    let servers: Vec<_> =
        (0..5).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("is taken")).collect();
    until("the sixth is closed", || {
        let mut sixth = TcpStream::connect(("127.0.0.1", port)).expect("is taken");
        sixth.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        matches!(sixth.read(&mut [0]), Ok(0))
    });
    drop(servers);
}

#[test]
fn what_a_proxy_hands_in_counts_for_whom_it_is() {
    let data = TempDir::new();
    let server = Serve::start(data.path(), &["--set", "connections.per_address=3"]);
    let ann = server.client.clone().register("ann");
    let since = ann.get("/_matrix/client/v3/sync").ok()["next_batch"].as_str().expect("a token").to_owned();
    let behind = |address: &'static str, path: String| {
        let ann = ann.clone();
        std::thread::spawn(move || ann.send_with("GET", &path, &[("x-forwarded-for", address)], None))
    };
    // That somebody is here by now is no news to these.
    let query = "timeout=60000&filter=%7B%22presence%22:%7B%22types%22:%5B%5D%7D%7D";
    let poll = || behind("198.51.100.7", format!("/_matrix/client/v3/sync?{query}&since={since}"));
    let polls: Vec<JoinHandle<_>> = (0..3).map(|_| poll()).collect();
    let ask = |address| behind(address, VERSIONS.to_owned()).join().expect("is answered");
    until("a fourth is refused", || ask("198.51.100.7").status == 429);
    ask("198.51.100.7").refused(429, "M_LIMIT_EXCEEDED");
    ask("198.51.100.8").ok();
    ann.get(WHOAMI).ok();
    server.end("-TERM");
    let answered = polls.into_iter().map(|poll| poll.join().expect("is answered").status);
    assert_eq!(answered.collect::<Vec<_>>(), [200; 3]);
}

fn server_port(client: &Client) -> u16 {
    connect(client).peer_addr().expect("is connected").port()
}

/// Open files that the program is allowed.
const FILES: u32 = 256;

#[test]
fn when_both_doors_are_full_the_database_has_its_files() {
    let ca = Authority::new();
    let data = TempDir::new();
    let (name, arguments) = ca.arguments();
    let metrics = free_address();
    let metrics_setting = format!("metrics.listen={metrics}");
    let mut arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    arguments.extend(["--set", &metrics_setting, "--set", "rate_limits.enabled=false"]);
    let server = Serve::start_with_files(data.path(), &arguments, FILES);
    let ann = server.client.clone().register("ann");
    let port = name.port().expect("a port");
    // More than there are places for, and no more than the system lets wait.
    let doors = [(server_port(&server.client), 200), (port, 100), (metrics.port(), 40)];
    let connections = doors.into_iter().flat_map(|(port, count)| std::iter::repeat_n(port, count));
    let held: Vec<_> = connections
        .map(|port| TcpStream::connect(("127.0.0.1", port)).expect("is taken, or waits"))
        .collect();
    let files = || {
        let files = format!("/proc/{}/fd", server.child.id());
        std::fs::read_dir(files).expect("Linux tells").count()
    };
    until("the doors are full", || {
        let before = files();
        std::thread::sleep(Duration::from_millis(100));
        before > 100 && files() == before
    });
    // The connection that was open goes on.
    for n in 0..5 {
        ann.put(&format!("/_matrix/client/v3/user/{}/account_data/x", ann.user), json!({ "n": n })).ok();
        ann.get("/_matrix/client/v3/sync").ok();
    }
    let open = files();
    assert!(open < 200, "{open} of {FILES} files are open");
    drop(held);
    let (code, log) = server.end("-TERM");
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

#[test]
fn every_answer_of_the_api_says_that_it_is_not_to_be_stored() {
    let scene = Scene::start();
    let control = |answer: &super::support::Answer| {
        answer.headers.get("cache-control").map(|value| value.to_str().expect("text").to_owned())
    };
    let alice = &scene.alice;
    let answers = [
        alice.get(WHOAMI),
        alice.get(VERSIONS),
        alice.get("/_matrix/client/v3/sync"),
        alice.get("/.well-known/matrix/client"),
        alice.get("/_matrix/client/v3/unknown"),
        alice.get("/_matrix/media/v3/config"),
        alice.post(WHOAMI, json!({})),
        alice.post("/_matrix/client/v3/login", json!({})),
        alice.clone().with_token(&json!("wrong")).get(WHOAMI),
        alice.send("GET", "/health", None),
    ];
    for answer in answers {
        assert_eq!(control(&answer).as_deref(), Some("no-store"), "{}", answer.text);
    }
    let peer = &scene.mallory;
    let mut unsigned = scene.profile_query(peer);
    unsigned.headers.clear();
    for request in [
        scene.profile_query(peer),
        unsigned,
        scene.transaction("1", &[]),
        peer.signed(&scene.name, "GET", "/_matrix/key/v2/server", b""),
        peer.signed(&scene.name, "GET", "/_matrix/federation/v1/nothing", b""),
    ] {
        let answer = scene.send(&request);
        assert_eq!(control(&answer).as_deref(), Some("no-store"), "{}", answer.text);
    }
    assert_eq!(control(&alice.get("/")).as_deref(), Some("no-cache"), "the web client is asked for again");
}

#[test]
fn the_name_of_the_scheme_may_be_in_lower_case() {
    let data = TempDir::new();
    let server = Serve::start(data.path(), &[]);
    let ann = server.client.clone().register("ann");
    let token = ann.token.expect("a token");
    for (scheme, status) in
        [("bearer", 200), ("BEARER", 200), ("Bearer ", 200), ("Basic", 401), ("Bearerx", 401)]
    {
        let header = format!("{scheme} {token}");
        let answer = server.client.send_with("GET", WHOAMI, &[("authorization", &header)], None);
        assert_eq!(answer.status, status, "{scheme}: {}", answer.text);
    }
}

#[test]
fn who_is_refused_before_their_body_is_read_goes_on_with_the_same_connection() {
    let server = TestServer::start();
    let client = server.register("ann");
    let mut stream = connect(&client);
    for (path, status) in [
        ("/_matrix/client/v3/join/!r:x?org.pilotlight.answer=none", 400),
        (WHOAMI, 405),
        ("/_matrix/client/v3/no/such/path", 404),
        ("/_matrix/client/v3/createRoom", 401),
    ] {
        let token = client.token.as_deref().filter(|_| status != 401).unwrap_or("x");
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: bearer {token}\r\ncontent-length: 2\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("is sent");
        stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        stream.read(&mut [0; 64]).expect_err("the body is waited for");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream.write_all(b"{}").expect("is sent");
        let (answer, _) = read_message(&mut stream).expect("is answered");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        assert!(!answer.to_lowercase().contains("connection: close"), "{path}: {answer}");
    }
    // Who has more to send, or does not send it, is told that the connection ends.
    for (body, length) in [(Vec::new(), 2), (vec![b' '; 100_000], 1 << 20)] {
        let mut stream = connect(&client);
        let head = format!("POST {WHOAMI} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).expect("is sent");
        let (answer, _) = read_message(&mut stream).expect("is answered");
        assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("connection: close"), "{answer}");
    }
}
