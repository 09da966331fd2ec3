//! Large answers: who makes the server build many of them keeps nobody else waiting.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use pilotlight::server::answers::{Place, Size};
use serde_json::{Value, json};

use super::{
    cli::Serve,
    memory::resident,
    support::{Client, TempDir, TestServer, times, until},
    sync::{create_room, joined, room_of, send},
};

const SYNC: &str = "/_matrix/client/v3/sync";
const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

/// Takes places of `client` until there are no more of its own.
fn take_places(server: &TestServer, client: &Client, size: Size) -> Vec<Place> {
    let answers = &server.app().answers;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut places = Vec::new();
    runtime.block_on(async {
        while let Ok(place) = tokio::time::timeout(Duration::ZERO, answers.place(&client.user, size)).await {
            places.push(place);
        }
    });
    places
}

#[test]
fn first_syncs_of_one_user_in_many_rooms_do_not_keep_others_waiting() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 * times() {
                    create_room(&alice, json!({ "name": "One of many" }));
                }
            });
        }
    });
    let done = AtomicBool::new(false);
    let begun = Instant::now();
    let (longest, total) = std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !done.load(Ordering::Relaxed) {
                let asked = Instant::now();
                bob.get(WHOAMI).ok();
                longest = longest.max(asked.elapsed());
            }
            longest
        });
        let syncs: Vec<_> = (0..24).map(|_| scope.spawn(|| alice.get(SYNC).ok())).collect();
        for sync in syncs {
            let answer = sync.join().expect("is answered");
            assert_eq!(answer["rooms"]["join"].as_object().map(|rooms| rooms.len()), Some(100 * times()));
        }
        let total = begun.elapsed();
        done.store(true, Ordering::Relaxed);
        (others.join().expect("is answered"), total)
    });
    eprintln!("24 first syncs took {total:?}; the longest other request {longest:?}");
    assert!(longest < total / 5, "{longest:?} of {total:?}");
}

#[test]
fn who_waits_for_large_answers_of_their_own_stands_in_nobodys_way() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let event = send(&alice, &room, "1", "hello");
    let in_room = |rest: &str| format!("/_matrix/client/v3/rooms/{room}/{rest}");
    let users = json!({ "device_keys": { bob.user.as_str(): [] } });
    let (list, since) = (format!("/_matrix/client/v3/presence/list/{}", alice.user), "p1_0");
    let requests: Vec<(Size, &str, String, Value)> = vec![
        (Size::Whole, "GET", SYNC.to_owned(), Value::Null),
        (Size::Whole, "GET", format!("{SYNC}?since={since}&full_state=true"), Value::Null),
        (Size::Whole, "GET", in_room("initialSync"), Value::Null),
        (Size::Whole, "GET", in_room("state"), Value::Null),
        (Size::Whole, "GET", in_room("members"), Value::Null),
        (Size::Whole, "GET", in_room("joined_members"), Value::Null),
        (Size::Whole, "GET", in_room(&format!("context/{event}")), Value::Null),
        (Size::Whole, "GET", format!("/_matrix/client/v3/keys/changes?from={since}&to={since}"), Value::Null),
        (Size::Page, "GET", in_room("messages?dir=b"), Value::Null),
        (Size::Page, "GET", format!("/_matrix/client/v1/rooms/{room}/relations/{event}"), Value::Null),
        (
            Size::Page,
            "GET",
            format!("/_matrix/client/v1/rooms/{room}/relations/{event}/m.thread"),
            Value::Null,
        ),
        (Size::Page, "GET", "/_matrix/client/v3/publicRooms".to_owned(), Value::Null),
        (Size::Page, "POST", "/_matrix/client/v3/publicRooms".to_owned(), json!({})),
        (
            Size::Page,
            "POST",
            "/_matrix/client/v3/user_directory/search".to_owned(),
            json!({ "search_term": "b" }),
        ),
        (Size::Page, "GET", "/_matrix/client/v3/joined_rooms".to_owned(), Value::Null),
        (Size::Page, "POST", "/_matrix/client/v3/keys/query".to_owned(), users),
        (
            Size::Search,
            "POST",
            "/_matrix/client/v3/search".to_owned(),
            json!({ "search_categories": { "room_events": { "search_term": "hello" } } }),
        ),
        (Size::Page, "GET", list, Value::Null),
    ];
    let now = alice.get(SYNC).ok()["next_batch"].as_str().expect("next_batch").to_owned();
    let held = [Size::Whole, Size::Page, Size::Search].map(|size| take_places(&server, &alice, size));
    let ask = |client: &Client, (_, method, path, body): &(Size, &str, String, Value)| {
        let answer = if *method == "GET" { client.get(path) } else { client.post(path, body.clone()) };
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    };
    std::thread::scope(|scope| {
        let own: Vec<_> = requests.iter().map(|request| scope.spawn(|| ask(&alice, request))).collect();
        until("all of them wait", || server.app().answers.asking() == requests.len());
        // What is small needs no place, and others have places of their own.
        alice.get(WHOAMI).ok();
        alice.get(&format!("{SYNC}?since={now}")).ok();
        let bobs: Vec<_> =
            requests.iter().filter(|(_, _, path, _)| !path.contains("presence/list")).collect();
        for request in bobs {
            ask(&bob, request);
        }
        assert!(own.iter().all(|request| !request.is_finished()), "they wait still");
        drop(held);
        for request in own {
            request.join().expect("is answered in the end");
        }
    });
}

#[test]
fn a_client_that_goes_away_while_it_waits_takes_no_place() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let answers = || &server.app().answers;
    let held = take_places(&server, &alice, Size::Whole);
    let gone: Vec<_> = (0..20).map(|_| super::poll::Poll::open(&alice, "")).collect();
    until("all of them wait", || answers().asking() == 20);
    drop(gone);
    until("none of them waits", || answers().asking() == 0);
    drop(held);
    alice.get(SYNC).ok();
}

#[test]
fn a_device_that_is_logged_out_while_it_waits_for_its_turn_is_told_nothing() {
    let server = TestServer::start();
    let (alice, phone) = (server.register("alice"), server.log_in("alice"));
    let held = take_places(&server, &alice, Size::Whole);
    std::thread::scope(|scope| {
        let sync = scope.spawn(|| phone.get(SYNC));
        until("it waits", || server.app().answers.asking() == 1);
        phone.post("/_matrix/client/v3/logout", json!({})).ok();
        drop(held);
        sync.join().expect("is answered").refused(401, "M_UNKNOWN_TOKEN");
    });
}

#[test]
fn an_answer_in_pieces_is_whole() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let room = create_room(&alice, json!({}));
    let text = "long ".repeat(12_000);
    for n in 0..20 {
        send(&alice, &room, &n.to_string(), &text);
    }
    let filter = "%7B%22room%22%3A%7B%22timeline%22%3A%7B%22limit%22%3A100%7D%7D%7D";
    let answer = alice.get(&format!("{SYNC}?filter={filter}"));
    assert_eq!(answer.headers["content-length"].to_str().ok(), Some(&*answer.text.len().to_string()));
    let events = joined(&answer.body, &room)["timeline"]["events"].as_array().expect("events").clone();
    assert_eq!(events.iter().filter(|e| e["content"]["body"] == text.as_str()).count(), 20);
}

#[test]
fn a_page_of_large_events_is_short_and_the_next_one_goes_on() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let alice = server.register("alice");
    let room = create_room(&alice, json!({}));
    let text = "long ".repeat(12_000);
    let sent: Vec<String> = (0..100).map(|n| send(&alice, &room, &n.to_string(), &text)).collect();
    let (mut from, mut found, mut pages) = (String::new(), Vec::new(), 0);
    loop {
        let path = format!("/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=1000{from}");
        let answer = alice.get(&path);
        assert!(answer.text.len() < 5 << 20, "{} bytes", answer.text.len());
        let answer = answer.ok();
        let chunk = answer["chunk"].as_array().expect("events").clone();
        found.extend(chunk.iter().filter(|e| e["type"] == "m.room.message").map(|e| e["event_id"].clone()));
        pages += 1;
        match answer["end"].as_str() {
            Some(end) if !chunk.is_empty() => from = format!("&from={end}"),
            _ => break,
        }
    }
    let expected: Vec<Value> = sent.iter().rev().map(|id| json!(id)).collect();
    assert!(found == expected && pages >= 2, "{pages} pages with {} events", found.len());
}

/// A room of `clients` with so many state events of 60 kB.
fn room_of_much_state(clients: &[Client], events: usize) -> String {
    let levels = json!({ "state_default": 0 });
    let room =
        create_room(&clients[0], json!({ "preset": "public_chat", "power_level_content_override": levels }));
    for client in &clients[1..] {
        client.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    }
    let (text, share) = ("x".repeat(60_000), events.div_ceil(4));
    std::thread::scope(|scope| {
        for part in 0..4 {
            let (client, room, text) = (&clients[part % clients.len()], &room, &text);
            scope.spawn(move || {
                for n in 0..share {
                    let path = format!("/_matrix/client/v3/rooms/{room}/state/org.x/{part}.{n}");
                    client.put(&path, json!({ "text": text })).ok();
                }
            });
        }
    });
    room
}

/// Asks for something and takes nothing of the answer.
fn ask_and_take_nothing(client: &Client, path: &str) -> TcpStream {
    let address = client.base.strip_prefix("http://").expect("a URL");
    let mut stream = TcpStream::connect(address).expect("connects");
    let token = client.token.as_deref().expect("is logged in");
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n");
    stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).expect("is sent");
    stream
}

/// Takes the answer to what was asked, and reads its body.
fn take(mut stream: TcpStream) -> Value {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("is whole");
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    serde_json::from_slice(&answer[at..]).expect("is JSON")
}

/// How long it takes until somebody else is told who they are, and everything that there is for them.
fn others_wait(client: &Client) -> Duration {
    let asked = Instant::now();
    client.get(WHOAMI).ok();
    client.get(SYNC).ok();
    asked.elapsed()
}

#[test]
fn memory_is_bounded_whatever_a_room_holds_and_whoever_does_not_take_their_answers() {
    let data = TempDir::new();
    let server = Serve::start(data.path(), &["--set", "rate_limits.enabled=false"]);
    let users: Vec<Client> =
        (0..6 * times()).map(|n| server.client.clone().register(&format!("u{n}"))).collect();
    let other = server.client.clone().register("other");
    for n in 0..40 {
        create_room(&other, json!({ "name": format!("Room {n} of the other") }));
    }
    let events = 400;
    let room = room_of_much_state(&users[..4], events);
    for user in &users[4..] {
        user.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    }
    let begun = resident(&server);
    let in_room = |rest: &str| format!("/_matrix/client/v3/rooms/{room}/{rest}");
    let paths = [in_room("state"), SYNC.to_owned(), in_room("initialSync")];
    let mut untaken = Vec::new();
    let (mut most, mut longest) = (begun, Duration::ZERO);
    for (n, user) in users.iter().enumerate() {
        untaken.extend((0..2).map(|m| ask_and_take_nothing(user, &paths[(2 * n + m) % paths.len()])));
        longest = longest.max(others_wait(&other));
        most = most.max(resident(&server));
    }
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        longest = longest.max(others_wait(&other));
        most = most.max(resident(&server));
    }
    let reader = server.client.clone().register("reader");
    reader.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    for path in &paths {
        let answer = take(ask_and_take_nothing(&reader, path));
        let of_room = joined(&answer, &room);
        let lists = [&answer, &answer["state"], &of_room["state"]["events"], &of_room["timeline"]["events"]];
        let told = lists.into_iter().filter_map(Value::as_array).flatten();
        assert_eq!(told.filter(|e| e["type"] == "org.x").count(), events, "{path}");
    }
    drop(untaken);
    eprintln!(
        "{begun:.0} MiB before, {most:.0} at most, {:.0} after; others waited {longest:?}",
        resident(&server)
    );
    assert!(most < begun + 64.0, "{begun:.0} MiB before, {most:.0} at most");
    assert!(longest < Duration::from_secs(3), "{longest:?}");
}

#[test]
fn pages_and_first_syncs_that_are_begun_hold_little_and_let_small_ones_go_first() {
    let data = TempDir::new();
    let server = Serve::start(data.path(), &["--set", "rate_limits.enabled=false"]);
    let register = |name: &str| server.client.clone().register(name);
    let users: Vec<Client> = (0..24 * times()).map(|n| register(&format!("u{n}"))).collect();
    let newcomers: Vec<Client> = (0..12).map(|n| register(&format!("new{n}"))).collect();
    let room = room_of_much_state(&users, 240);
    let in_room = |rest: &str| format!("/_matrix/client/v3/rooms/{room}/{rest}");
    let event = last_event(&users[0], &room);
    let filter = "%7B%22room%22%3A%7B%22timeline%22%3A%7B%22limit%22%3A50%7D%7D%7D";
    let paths = [
        in_room("messages?dir=b&limit=100"),
        in_room(&format!("context/{event}?limit=100")),
        format!("{SYNC}?filter={filter}"),
    ];
    for (path, newcomers) in paths.iter().zip(newcomers.chunks(4)) {
        let begun = resident(&server);
        let asked = Instant::now();
        let untaken: Vec<_> =
            users.iter().flat_map(|user| [0, 1].map(|_| ask_and_take_nothing(user, path))).collect();
        let (mut most, mut longest) = (begun, Duration::ZERO);
        for newcomer in newcomers {
            longest = longest.max(others_wait(newcomer));
            most = most.max(resident(&server));
        }
        while asked.elapsed() < Duration::from_secs(3) {
            newcomers[0].get(WHOAMI).ok();
            most = most.max(resident(&server));
        }
        drop(untaken);
        eprintln!("{path}: {begun:.0} MiB before, {most:.0} at most; others waited {longest:?}");
        assert!(most < begun + 112.0, "{path}: {begun:.0} MiB before, {most:.0} at most");
        assert!(longest < Duration::from_secs(3), "{path}: {longest:?}");
    }
}

/// The last event of a room.
fn last_event(client: &Client, room: &str) -> String {
    let page = client.get(&format!("/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=1")).ok();
    page["chunk"][0]["event_id"].as_str().expect("an event").to_owned()
}
