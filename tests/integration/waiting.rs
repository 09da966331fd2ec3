//! A `/sync` that waits has its connection taken from HTTP and given back: everything holds as for any other request.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    poll::connect,
    support::{Client, TestServer, until},
    sync::{Reader, room_of},
};

const WHOAMI: &str = "/_matrix/client/v3/account/whoami";
const VERSIONS: &str = "/_matrix/client/versions";

/// What a server said.
#[derive(Debug)]
struct Said {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Value,
}

/// A connection on which requests are written as they are.
struct Raw {
    stream: TcpStream,
    client: Client,
    read: Vec<u8>,
}

impl Raw {
    fn of(client: &Client) -> Self {
        let stream = connect(client);
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        Self { stream, client: client.clone(), read: Vec::new() }
    }

    fn request(&self, path: &str, headers: &str) -> String {
        let token = self.client.token.as_deref().expect("a token");
        format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n{headers}\r\n")
    }

    fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).expect("is sent");
    }

    fn ask(&mut self, path: &str) -> Said {
        self.write(&self.request(path, ""));
        self.hear()
    }

    /// The next answer; what follows is kept.
    #[track_caller]
    fn hear(&mut self) -> Said {
        let (status, headers) = self.hear_head();
        let length = headers["content-length"].parse().expect("a length");
        while self.read.len() < length {
            assert!(self.read_more(), "the connection ends amid an answer");
        }
        let body = serde_json::from_slice(&self.read[..length]).expect("JSON");
        self.read.drain(..length);
        Said { status, headers, body }
    }

    /// The head of the next answer.
    #[track_caller]
    fn hear_head(&mut self) -> (u16, BTreeMap<String, String>) {
        let length = loop {
            match self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => assert!(self.read_more(), "the connection ends amid an answer"),
            }
        };
        let head = String::from_utf8(self.read.drain(..length).collect()).expect("text");
        let mut lines = head.trim_end().lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").expect("a header");
            (name.to_owned(), value.to_owned())
        };
        (status.parse().expect("a number"), lines.map(header).collect())
    }

    fn read_more(&mut self) -> bool {
        let mut space = [0; 16 << 10];
        let count = self.stream.read(&mut space).expect("something comes");
        self.read.extend_from_slice(&space[..count]);
        count > 0
    }

    #[track_caller]
    fn ends(mut self) {
        assert!(self.read.is_empty() && !self.read_more(), "{}", String::from_utf8_lossy(&self.read));
    }
}

fn unlimited() -> TestServer {
    TestServer::start_with(|config| config.rate_limits.enabled = false)
}

/// Where `client` is.
fn place(client: &Client) -> String {
    Reader::new(client).since
}

fn waiting(since: &str) -> String {
    format!("/_matrix/client/v3/sync?timeout=60000&since={since}")
}

fn next(said: &Said) -> String {
    assert_eq!(said.status, 200, "{said:?}");
    said.body["next_batch"].as_str().expect("a token").to_owned()
}

/// Waits until so many wait.
#[track_caller]
fn until_waiting(server: &TestServer, count: u64) {
    until("they wait", || server.app().metrics.open_polls.value() == count);
}

/// Something new for `client`, by which a `/sync` is known that was told of it.
fn tell(client: &Client, word: &str) {
    let path = format!("/_matrix/client/v3/user/{}/account_data/word", client.user);
    client.put(&path, json!({ "word": word })).ok();
}

fn told(said: &Said) -> &str {
    said.body["account_data"]["events"][0]["content"]["word"].as_str().unwrap_or_default()
}

#[test]
fn a_connection_waits_many_times_and_serves_whatever_comes_between() {
    let server = unlimited();
    let ann = server.register("ann");
    let (mut raw, mut since) = (Raw::of(&ann), place(&ann));
    for n in 0..12 {
        raw.write(&raw.request(&waiting(&since), ""));
        until_waiting(&server, 1);
        tell(&ann, &n.to_string());
        let said = raw.hear();
        assert_eq!(told(&said), n.to_string());
        since = next(&said);
        match n % 4 {
            0 => assert_eq!(raw.ask(WHOAMI).body["user_id"], ann.user.as_str()),
            1 => {
                // A head that comes in pieces.
                let request = raw.request(WHOAMI, "");
                for piece in request.as_bytes().chunks(40) {
                    raw.stream.write_all(piece).expect("is sent");
                    std::thread::sleep(Duration::from_millis(2));
                }
                assert_eq!(raw.hear().status, 200);
            }
            2 => {
                let request = raw.request(WHOAMI, "content-length: 3\r\n").replacen("GET", "POST", 1);
                raw.write(&format!("{request}{{}}\n"));
                assert_eq!(raw.hear().status, 405);
            }
            _ => {}
        }
    }
    assert_eq!(server.app().metrics.open_polls.value(), 0);
}

#[test]
fn requests_before_and_behind_one_that_waits_are_answered_in_their_order() {
    let server = unlimited();
    let ann = server.register("ann");
    let since = place(&ann);
    let mut raw = Raw::of(&ann);
    let paths = [WHOAMI, &waiting(&since), VERSIONS, &waiting(&since), &waiting(&since), WHOAMI];
    let all: String = paths.iter().map(|path| raw.request(path, "")).collect();
    raw.write(&all);
    assert_eq!(raw.hear().body["user_id"], ann.user.as_str());
    until_waiting(&server, 1);
    tell(&ann, "one");
    assert_eq!(told(&raw.hear()), "one");
    assert!(raw.hear().body["versions"].is_array());
    assert_eq!([told(&raw.hear()), told(&raw.hear())], ["one", "one"]);
    assert_eq!(raw.hear().body["user_id"], ann.user.as_str());
    // While one waits, behind which another is said in two pieces.
    let (first, second) = (raw.request(&waiting(&place(&ann)), ""), raw.request(WHOAMI, ""));
    raw.write(&first);
    until_waiting(&server, 1);
    raw.write(&second[..30]);
    tell(&ann, "two");
    assert_eq!(told(&raw.hear()), "two");
    raw.write(&second[30..]);
    assert_eq!(raw.hear().status, 200);
}

#[test]
fn who_goes_while_waiting_is_noticed_whatever_they_said_before() {
    let server = TestServer::driven_with(|config| config.rate_limits.enabled = false);
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    room_of(&alice, &[&bob]);
    let state = || {
        let path = format!("/_matrix/client/v3/presence/{}/status", bob.user);
        alice.get(&path).ok()["presence"].as_str().expect("a state").to_owned()
    };
    for (requests_before, said_behind) in
        [(0, ""), (1, ""), (1, "GET /_matrix/client/versions HTTP/1.1\r\n\r\n")]
    {
        let mut raw = Raw::of(&bob);
        let held = bob.polls.hold();
        for n in 0..requests_before {
            raw.write(&raw.request(&waiting(&place(&bob)), ""));
            server.settle();
            tell(&bob, &format!("{n} {said_behind}"));
            raw.hear();
        }
        let since =
            raw.ask(&format!("/_matrix/client/v3/sync?since={}", place(&bob))).body["next_batch"].clone();
        raw.write(&raw.request(&waiting(since.as_str().expect("a token")), ""));
        server.settle();
        raw.write(said_behind);
        server.settle();
        assert_eq!(state(), "online");
        raw.stream.shutdown(Shutdown::Both).expect("is open");
        drop(held);
        until("it is noticed", || server.app().metrics.open_polls.value() == 0);
        server.pass(Duration::from_secs(120));
        assert_eq!(state(), "offline", "after {requests_before} requests, and {said_behind:?}");
    }
}

#[test]
fn a_connection_that_is_to_end_with_its_answer_waits_as_well() {
    let server = unlimited();
    let ann = server.register("ann");
    for is_first in [true, false] {
        for (from, to, headers) in
            [("HTTP/1.1", "HTTP/1.1", "Connection: close\r\n"), ("HTTP/1.1", "HTTP/1.0", "")]
        {
            let mut raw = Raw::of(&ann);
            if !is_first {
                assert_eq!(raw.ask(&format!("/_matrix/client/v3/sync?since={}", place(&ann))).status, 200);
            }
            let request = raw.request(&waiting(&place(&ann)), headers).replace(from, to);
            raw.write(&request);
            until_waiting(&server, 1);
            tell(&ann, &format!("{is_first} {to}"));
            assert_eq!(told(&raw.hear()), format!("{is_first} {to}"));
            raw.ends();
        }
    }
}

#[test]
fn a_server_that_stops_answers_who_waits_at_once() {
    let server = unlimited();
    let ann = server.register("ann");
    let mut raws = [Raw::of(&ann), Raw::of(&ann), Raw::of(&ann)];
    let quick = format!("/_matrix/client/v3/sync?since={}", place(&ann));
    for raw in &mut raws[1..] {
        raw.ask(&quick);
    }
    for raw in &mut raws[..2] {
        raw.write(&raw.request(&waiting(&place(&ann)), ""));
    }
    until_waiting(&server, 2);
    let begun = Instant::now();
    drop(server);
    let [mut first, mut second, idle] = raws;
    assert_eq!((first.hear().status, second.hear().status), (200, 200));
    [first, second, idle].into_iter().for_each(Raw::ends);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

/// All that an answer says of itself, but for what is of this answer only.
fn style(said: &Said) -> BTreeMap<String, String> {
    let mut headers = said.headers.clone();
    for of_this_one in ["date", "content-length", "connection"] {
        assert!(
            headers.remove(of_this_one).is_some() || of_this_one == "connection",
            "{of_this_one}: {said:?}"
        );
    }
    headers
}

#[test]
fn an_answer_reads_the_same_however_it_was_made() {
    let server = TestServer::driven_with(|config| config.rate_limits.enabled = false);
    let ann = server.register("ann");
    // The first request of a connection, which HTTP has read, and the others; and one that is answered by HTTP.
    let ways = |path: &str| {
        let mut raw = Raw::of(&ann);
        let said = [raw.ask(path), raw.ask(path), raw.ask(path)];
        raw.write(&raw.request(path, "Connection: close\r\n"));
        let by_http = raw.hear();
        assert_eq!(by_http.headers.get("connection").map(String::as_str), Some("close"));
        (said, by_http)
    };
    let since = place(&ann);
    for (query, status) in [
        (String::new(), 200),
        (format!("?since={since}"), 200),
        ("?full_state=true".to_owned(), 200),
        ("?since=nonsense".to_owned(), 400),
        ("?filter=nonsense".to_owned(), 400),
        ("?timeout=nonsense".to_owned(), 400),
        ("?set_presence=nonsense".to_owned(), 400),
        ("?org.pilotlight.joined=nonsense".to_owned(), 400),
    ] {
        for version in ["v3", "r0"] {
            let (said, by_http) = ways(&format!("/_matrix/client/{version}/sync{query}"));
            for said in said {
                assert_eq!((said.status, by_http.status), (status, status), "{query}");
                assert_eq!(style(&said), style(&by_http), "{query}");
                assert!(!said.headers.contains_key("connection"), "{query}");
                assert_eq!(said.body, by_http.body, "{query}");
            }
        }
    }
    let mut raw = Raw::of(&ann);
    for word in ["first", "second"] {
        raw.write(&raw.request(&waiting(&place(&ann)), ""));
        until_waiting(&server, 1);
        tell(&ann, word);
        let said = raw.hear();
        let quick = ann.get(&format!("/_matrix/client/v3/sync?since={since}"));
        let quick: BTreeMap<_, _> = quick
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().expect("text")))
            .collect();
        for (name, value) in style(&said) {
            assert_eq!(quick.get(name.as_str()), Some(&value.as_str()), "{name}");
        }
    }
}

#[test]
fn who_is_logged_out_while_waiting_is_told_so_and_so_they_are_behind_it() {
    let server = unlimited();
    server.register("ann");
    let refused = |said: &Said| {
        assert_eq!((said.status, &said.body["errcode"]), (401, &json!("M_UNKNOWN_TOKEN")), "{said:?}");
        style(said)
    };
    let mut styles = Vec::new();
    for is_first in [true, false] {
        let phone = server.log_in("ann");
        let mut raw = Raw::of(&phone);
        let since = place(&phone);
        if !is_first {
            raw.ask(&format!("/_matrix/client/v3/sync?since={since}"));
        }
        raw.write(&raw.request(&waiting(&since), ""));
        until_waiting(&server, 1);
        phone.post("/_matrix/client/v3/logout", json!({})).ok();
        styles.push(refused(&raw.hear()));
        styles.push(refused(&raw.ask(&waiting(&since))));
        styles.push(refused(&raw.ask(WHOAMI)));
    }
    assert!(styles.windows(2).all(|pair| pair[0] == pair[1]), "{styles:?}");
}

#[test]
fn each_request_is_counted_once_when_it_is_answered() {
    let server = unlimited();
    let ann = server.register("ann");
    let count = || -> u64 {
        let table = server.app().metrics.requests.table();
        table.filter(|(labels, _)| labels.contains("\"sync\"")).map(|(_, count)| count).sum()
    };
    let (mut raw, since) = (Raw::of(&ann), place(&ann));
    let before = count();
    for answered in 0..4 {
        raw.write(&raw.request(&waiting(&place(&ann)), ""));
        until_waiting(&server, 1);
        // That of the place is answered as well.
        assert_eq!(count() - before, 2 * answered + 1);
        tell(&ann, &answered.to_string());
        raw.hear();
        assert_eq!(count() - before, 2 * answered + 2);
    }
    raw.ask("/_matrix/client/v3/sync?since=nonsense");
    raw.write(&raw.request(&waiting(&place(&ann)), ""));
    until_waiting(&server, 1);
    drop(raw);
    until_waiting(&server, 0);
    assert_eq!(count() - before, 10, "who has gone was not answered");
    drop(since);
}

#[test]
fn a_user_has_so_many_requests_whichever_way_they_take() {
    let server = TestServer::start_with(|config| {
        (config.rate_limits.user_per_second, config.rate_limits.user_burst) = (1, 20);
    });
    let ann = server.register("ann");
    let (mut raw, quick) = (Raw::of(&ann), format!("/_matrix/client/v3/sync?since={}", place(&ann)));
    let said: Vec<_> = (0..30).map(|_| raw.ask(&quick)).collect();
    let (taken, refused): (Vec<_>, Vec<_>) = said.iter().partition(|said| said.status == 200);
    assert!((10..=21).contains(&taken.len()), "{} were let in", taken.len());
    let by_http = raw.ask(WHOAMI);
    for said in refused.into_iter().chain([&by_http]) {
        assert_eq!((said.status, &said.body["errcode"]), (429, &json!("M_LIMIT_EXCEEDED")));
        assert!(said.headers.contains_key("retry-after"), "{said:?}");
        assert_eq!(style(said), style(&by_http));
    }
}

#[test]
fn what_a_proxy_hands_in_on_one_connection_counts_for_whom_it_is() {
    let server = TestServer::start_with(|config| {
        config.rate_limits.enabled = false;
        config.connections.per_address = 2;
    });
    let ann = server.register("ann");
    let handed_in = |raw: &mut Raw, path: &str, address: &str| {
        raw.write(&raw.request(path, &format!("x-forwarded-for: {address}\r\n")));
    };
    let quick = format!("/_matrix/client/v3/sync?since={}", place(&ann));
    let mut raws = [Raw::of(&ann), Raw::of(&ann), Raw::of(&ann)];
    for raw in &mut raws {
        handed_in(raw, &quick, "198.51.100.7");
        assert_eq!(raw.hear().status, 200, "one after the other");
    }
    for raw in &mut raws[..2] {
        handed_in(raw, &waiting(&place(&ann)), "198.51.100.7");
    }
    until_waiting(&server, 2);
    for path in [&quick, WHOAMI] {
        handed_in(&mut raws[2], path, "198.51.100.7");
        assert_eq!(raws[2].hear().status, 429, "{path}");
        handed_in(&mut raws[2], path, "198.51.100.8");
        assert_eq!(raws[2].hear().status, 200, "{path}");
    }
    tell(&ann, "all");
    let [first, second, third] = &mut raws;
    assert_eq!((told(&first.hear()), told(&second.hear())), ("all", "all"));
    handed_in(third, &quick, "198.51.100.7");
    assert_eq!(third.hear().status, 200);
}

#[test]
fn a_large_answer_comes_whole_on_a_connection_that_waited() {
    let server = unlimited();
    let ann = server.register("ann");
    for n in 0..20 {
        let path = format!("/_matrix/client/v3/user/{}/account_data/large{n}", ann.user);
        ann.put(&path, json!({ "much": "x".repeat(60_000) })).ok();
    }
    let mut raw = Raw::of(&ann);
    let all = ann.get("/_matrix/client/v3/sync").ok();
    for n in 0..3 {
        raw.write(&raw.request(&waiting(&place(&ann)), ""));
        until_waiting(&server, 1);
        tell(&ann, &n.to_string());
        let request = raw.request("/_matrix/client/v3/sync", "");
        raw.write(&request);
        assert_eq!(told(&raw.hear()), n.to_string());
        let large = raw.hear();
        let (ours, theirs) = (&large.body["account_data"]["events"], &all["account_data"]["events"]);
        assert_eq!(ours.as_array().expect("events").len(), theirs.as_array().expect("events").len() + 1);
        assert!(large.headers["content-length"].parse::<usize>().expect("a number") > 1_200_000);
    }
}

#[test]
fn nothing_that_is_said_amid_an_answer_is_lost_however_much_it_is() {
    let server = unlimited();
    let ann = server.register("ann");
    let (mut raw, since) = (Raw::of(&ann), place(&ann));
    raw.write(&raw.request(&waiting(&since), ""));
    until_waiting(&server, 1);
    // More than is kept of it.
    let behind = raw.request(WHOAMI, "");
    let count = 40_000 / behind.len();
    raw.write(&behind.repeat(count));
    tell(&ann, "much");
    assert_eq!(told(&raw.hear()), "much");
    for _ in 0..count {
        assert_eq!(raw.hear().status, 200);
    }
    raw.stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    let silence = raw.stream.read(&mut [0]).expect_err("nothing else comes");
    assert!(matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silence}");
}
