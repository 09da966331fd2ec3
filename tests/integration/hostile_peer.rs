//! Another server that lies, repeats itself, exaggerates and dawdles, over real TLS against the program
//! itself: it is refused, nothing of it is kept, and others are served meanwhile.

use std::{
    collections::BTreeMap,
    io::Write,
    time::{Duration, Instant},
};

use ruma::OwnedServerName;
use rusqlite::{Connection, OpenFlags, types::Value as Cell};
use serde_json::{Value, json};

use super::{
    authority::{Authority, free_address},
    cli::Serve,
    peer::{Peer, Request},
    support::{Answer, Client, TempDir},
};

/// The program with two users, a peer that behaves and one that does not; both peers' keys are known.
pub struct Scene {
    server: Serve,
    pub name: OwnedServerName,
    data: TempDir,
    pub alice: Client,
    pub bob: Client,
    pub mallory: Peer,
    pub honest: Peer,
    ca: Authority,
}

impl Scene {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With further settings of the attacked server.
    pub fn start_with(more: &[&str]) -> Self {
        let ca = Authority::new();
        let data = TempDir::new();
        let free = free_address();
        let name: OwnedServerName = format!("localhost:{}", free.port()).try_into().expect("a name");
        let settings = [
            format!("server_name={name}"),
            format!("federation.listen={free}"),
            format!("federation.tls_certificate={}", ca.file("cert.pem").display()),
            format!("federation.tls_private_key={}", ca.file("key.pem").display()),
            format!("federation.trusted_ca={}", ca.file("ca.pem").display()),
            "federation.allow_addresses=127.0.0.0/8,::1/128".to_owned(),
            "presence.batch_window=100ms".to_owned(),
        ];
        let settings = settings.iter().map(String::as_str).chain(more.iter().copied());
        let settings: Vec<_> = settings.flat_map(|setting| ["--set", setting]).collect();
        let server = Serve::start(data.path(), &settings);
        let alice = server.client.clone().register("alice");
        let bob = server.client.clone().register("bob");
        let [mallory, honest] = [(); 2].map(|()| Peer::start(&ca, Duration::ZERO));
        let scene = Self { server, name, data, alice, bob, mallory, honest, ca };
        for peer in [&scene.mallory, &scene.honest] {
            peer.send(&scene.name, &scene.profile_query(peer)).ok();
        }
        scene
    }

    /// One more peer.
    pub fn another(&self) -> Peer {
        Peer::start(&self.ca, Duration::ZERO)
    }

    /// A request that is answered with 200.
    pub fn profile_query(&self, peer: &Peer) -> Request {
        let user = self.alice.user.replace(':', "%3A").replace('@', "%40");
        let path = format!("/_matrix/federation/v1/query/profile?user_id={user}");
        peer.signed(&self.name, "GET", &path, b"")
    }

    /// A transaction of the hostile peer.
    pub fn transaction(&self, id: &str, edus: &[Value]) -> Request {
        self.mallory.transaction(&self.name, id, edus)
    }

    pub fn send(&self, request: &Request) -> Answer {
        self.mallory.send(&self.name, request)
    }

    /// Every row of every table, but for other servers' keys and the count of all commits, theirs too.
    pub fn rows(&self) -> BTreeMap<String, Vec<String>> {
        let file = self.data.path().join("pilotlight.db");
        let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("opens");
        let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let mut tables = database.prepare(names).expect("SQL");
        let tables = tables.query_map([], |row| row.get::<_, String>(0)).expect("names");
        let tables = tables
            .map(|name| name.expect("a name"))
            .filter(|name| name != "log" && !name.starts_with("server_key"));
        tables.map(|name| (name.clone(), table_rows(&database, &name))).collect()
    }

    /// The process of the program.
    pub fn pid(&self) -> u32 {
        self.server.child.id()
    }

    /// The memory that the program has, in KiB.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.child.id()));
        let status = status.expect("Linux tells");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("has memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

fn table_rows(database: &Connection, table: &str) -> Vec<String> {
    let mut statement = database.prepare(&format!("SELECT * FROM \"{table}\"")).expect("SQL");
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        (0..columns).map(|column| row.get::<_, Cell>(column).map(|cell| format!("{cell:?}"))).collect()
    });
    let rows: Result<Vec<Vec<String>>, _> = rows.expect("rows").collect();
    let mut rows: Vec<_> = rows.expect("rows").into_iter().map(|cells| cells.join("|")).collect();
    rows.sort();
    rows
}

pub fn edu(kind: &str, content: Value) -> Value {
    json!({ "edu_type": kind, "content": content })
}

/// What a request is refused with.
type Refusal = (u16, &'static str);

const TOO_LARGE: Refusal = (413, "M_TOO_LARGE");
const BAD_JSON: Refusal = (400, "M_BAD_JSON");

/// Requests that do not prove where they come from.
fn unproven(scene: &Scene) -> Vec<(&'static str, Request)> {
    let Scene { mallory, honest, name, .. } = scene;
    let good = scene.transaction("unproven", &[edu("m.presence", json!({ "push": [] }))]);
    let with = |header: String| Request { headers: vec![("authorization", header)], ..good.clone() };
    let said_by = |peer: &Peer, origin, destination| with(peer.authorization(origin, destination, &good));
    let header = good.headers[0].1.clone();
    let elsewhere: OwnedServerName = "elsewhere.example".try_into().expect("a name");
    let private: OwnedServerName = "10.0.0.1:8448".try_into().expect("a name");
    let quoted = |origin: &str| header.replace(mallory.name.as_str(), origin);
    vec![
        ("unsigned", Request { headers: Vec::new(), ..good.clone() }),
        ("another scheme", with("Bearer abc".to_owned())),
        ("no header at all", with("X-Matrix".to_owned())),
        ("a forged signature", said_by(honest, &mallory.name, name)),
        ("another server's name", said_by(mallory, &honest.name, name)),
        ("our own name", said_by(mallory, name, name)),
        ("a key that its server does not have", with(header.replace("ed25519:1", "ed25519:2"))),
        ("another kind of key", with(header.replace("ed25519:1", "rsa:1"))),
        ("a server that is not there", said_by(mallory, "localhost:1".try_into().expect("a name"), name)),
        ("a server at an address that is not dialled", said_by(mallory, &private, name)),
        ("a name that is none", with(quoted("not a name!"))),
        ("signed for another server", said_by(mallory, &mallory.name, &elsewhere)),
        ("another path", Request { path: good.path.replace("unproven", "other"), ..good.clone() }),
        ("a body that was changed", Request { body: b"{\"edus\":[]}".to_vec(), ..good.clone() }),
        ("a body that is not JSON", Request { body: b"{\"edus\":".to_vec(), ..good.clone() }),
        ("a body of brackets", Request { body: vec![b'['; 1 << 20], ..good.clone() }),
    ]
}

/// Requests of a server that proved itself, for something it may not send.
fn not_allowed(scene: &Scene) -> Vec<(&'static str, Request, Refusal)> {
    let Scene { mallory, honest, name, .. } = scene;
    let put = |body: &Value| {
        mallory.signed(name, "PUT", "/_matrix/federation/v1/send/bad", body.to_string().as_bytes())
    };
    let many = |pdus: usize, edus: usize| {
        let edus = vec![edu("m.presence", json!({ "push": [] })); edus];
        put(&json!({ "origin": mallory.name, "pdus": vec![json!({}); pdus], "edus": edus }))
    };
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    // To the byte: of what is longer the server would leave something unread, and its answer could be lost.
    let most = (10 << 20) - json!({ "origin": mallory.name, "x": "" }).to_string().len();
    let padding = "x".repeat(most + 1);
    let long = "t".repeat(256);
    vec![
        ("another origin inside", put(&json!({ "origin": honest.name, "edus": [] })), (403, "M_FORBIDDEN")),
        ("101 EDUs", many(0, 101), BAD_JSON),
        ("51 PDUs", many(51, 0), BAD_JSON),
        ("10 MiB and one byte", put(&json!({ "origin": mallory.name, "x": padding })), TOO_LARGE),
        ("an ID of 256 bytes", scene.transaction(&long, &[]), (400, "M_INVALID_PARAM")),
        ("no origin", put(&json!({ "edus": [] })), BAD_JSON),
        ("an origin that is no name", put(&json!({ "origin": "no name!", "edus": [] })), BAD_JSON),
        ("a list in place of an object", put(&json!([mallory.name, [], []])), BAD_JSON),
        ("EDUs that are no list", put(&json!({ "origin": mallory.name, "edus": {} })), BAD_JSON),
        (
            "100 lists in each other",
            put(&json!({ "origin": mallory.name, "edus": deep, "pdus": 1 })),
            BAD_JSON,
        ),
    ]
}

#[test]
fn what_is_not_proven_or_not_allowed_is_refused_and_leaves_no_trace() {
    let scene = Scene::start();
    let before = scene.rows();
    for (what, request) in unproven(&scene) {
        let answer = scene.send(&request);
        assert_eq!((answer.status, answer.body["errcode"].as_str()), (401, Some("M_UNAUTHORIZED")), "{what}");
    }
    for (what, request, refusal) in not_allowed(&scene) {
        let answer = scene.send(&request);
        let given = (answer.status, answer.body["errcode"].as_str().unwrap_or_default());
        assert_eq!(given, refusal, "{what}: {}", answer.text);
    }
    // Beyond what the HTTP library reads of a head there is no one to form a Matrix error; and the end of a
    // connection on which more is coming can overtake the answer.
    let mut heavy = scene.profile_query(&scene.mallory);
    heavy.headers.push(("x-padding", "x".repeat(9_000)));
    let answer = Peer::try_exchange(&mut scene.mallory.connect(&scene.name), &scene.name, &heavy);
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 431));
    assert_eq!(scene.rows(), before);
    scene.mallory.send(&scene.name, &scene.profile_query(&scene.mallory)).ok();
    let (code, log) = scene.server.end("-TERM");
    assert_eq!(code, Some(0));
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "strangers do not fill the log: {log}");
}

#[test]
fn the_first_requests_of_a_server_may_come_all_at_once() {
    let ca = Authority::new();
    let (name, server) = ca.trusting_server();
    server.register("alice");
    let slow = Peer::start(&ca, Duration::from_millis(300));
    let path = format!("/_matrix/federation/v1/query/profile?user_id=%40alice%3A{}", name.host());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let answer = slow.send(&name, &slow.signed(&name, "GET", &path, b""));
                assert_eq!(answer.status, 404, "the signature is good: {}", answer.text);
            });
        }
    });
    let asked = slow.heard().iter().filter(|heard| heard.path == "/_matrix/key/v2/server").count();
    assert_eq!(asked, 1);
}

/// Connections that the hostile peer holds at once.
const HELD: usize = 150;

/// What they may cost, all together.
const HELD_KIB: u64 = 32 << 10;

#[test]
fn dawdlers_cost_little_and_nobody_waits_for_them() {
    let scene = Scene::start();
    let before = scene.memory_kib();
    let body = json!({ "origin": scene.mallory.name, "x": "x".repeat(9 << 20) }).to_string();
    let large = scene.mallory.signed(&scene.name, "PUT", "/_matrix/federation/v1/send/slow", body.as_bytes());
    let mut held = Vec::new();
    for n in 0..HELD {
        let mut stream = scene.mallory.connect(&scene.name);
        let head = large.head(&scene.name);
        // A third stops in the head, a third at the body's first bytes, a third just within what is free.
        let part = match n % 3 {
            0 => head[..head.len() / 2].to_vec(),
            1 => [&head, &large.body[..10]].concat(),
            _ => [&head, &large.body[..60_000]].concat(),
        };
        stream.write_all(&part).and_then(|()| stream.flush()).expect("is taken");
        held.push(stream);
    }
    let begun = Instant::now();
    for _ in 0..5 {
        scene.honest.send(&scene.name, &scene.profile_query(&scene.honest)).ok();
        scene.alice.get("/_matrix/client/v3/account/whoami").ok();
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let grown = scene.memory_kib().saturating_sub(before);
    assert!(grown < HELD_KIB, "{grown} KiB for {HELD} connections");
    drop(held);
    scene.send(&scene.profile_query(&scene.mallory)).ok();
}

/// Transactions that the hostile peer sends one after the other, each with polls for users of its choice.
const FLOOD: usize = 1_000;

/// What they may leave behind.
const FLOOD_KIB: u64 = 24 << 10;

#[test]
fn thousands_of_transactions_and_polls_leave_little_behind() {
    let scene = Scene::start_with(&["rate_limits.enabled=false"]);
    let (rows, memory) = (scene.rows(), scene.memory_kib());
    let mut stream = scene.mallory.connect(&scene.name);
    for n in 0..FLOOD {
        let users: Vec<_> = (0..10).map(|user| format!("@{n}-{user}:{}", scene.name)).collect();
        let edus = [
            edu("m.presence", json!({ "push": [], "poll": users })),
            edu("org.example.unknown", json!({ "users": users })),
        ];
        Peer::exchange(&mut stream, &scene.name, &scene.transaction(&format!("{n}"), &edus)).ok();
    }
    scene.honest.send(&scene.name, &scene.profile_query(&scene.honest)).ok();
    let grown = scene.memory_kib().saturating_sub(memory);
    assert!(grown < FLOOD_KIB, "{grown} KiB after {FLOOD} transactions");
    let heard = scene.mallory.heard();
    assert!(heard.iter().all(|heard| heard.body.is_null()), "who may see nobody is told nothing: {heard:?}");
    assert_eq!(scene.rows(), rows);
}

#[test]
fn o5_a_server_that_asks_too_often_is_told_when_to_come_again_and_no_other_is() {
    let scene = Scene::start_with(&["rate_limits.server_per_second=1", "rate_limits.server_burst=10"]);
    let ask = |peer: &Peer| peer.send(&scene.name, &scene.profile_query(peer));
    let answers: Vec<_> = (0..20).map(|_| ask(&scene.mallory)).collect();
    let (taken, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert!((1..15).contains(&taken.len()), "{}", taken.len());
    for answer in refused {
        let error = answer.refused(429, "M_LIMIT_EXCEEDED");
        assert!(error["retry_after_ms"].as_u64().is_some_and(|ms| ms <= 1_000), "{error}");
    }
    ask(&scene.honest).ok();
}

#[test]
fn o5_what_proves_to_be_nobody_counts_for_its_address_and_what_proves_itself_does_not() {
    let scene = Scene::start_with(&["rate_limits.address_per_second=1", "rate_limits.address_burst=20"]);
    for _ in 0..40 {
        scene.honest.send(&scene.name, &scene.profile_query(&scene.honest)).ok();
    }
    // Signed for another path.
    let mut forged = scene.profile_query(&scene.mallory);
    forged.path.push_str("&field=displayname");
    let statuses: Vec<_> = (0..40).map(|_| scene.mallory.send(&scene.name, &forged).status).collect();
    assert_eq!(statuses[0], 401);
    assert_eq!(statuses[39], 429, "{statuses:?}");
}
