//! O2: what an operator sees of a running server: Prometheus' page, and `pilotlight peers`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::OpenOptions,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use http::Method;
use pilotlight::server::{federation::client::RequestError, keys::Signer};
use ruma::ServerName;
use serde_json::{Value, json};

use super::{
    authority::{Authority, free_address},
    contacts::{add, answer, requests, standing},
    driven::Time,
    presence::TICK,
    support::{Client, TempDir, TestServer, until},
    watching::{GRACE, PROMISE, Pair, WINDOW},
};

/// The values on the page by name and labels; every line is understood.
fn metrics(at: SocketAddr) -> BTreeMap<String, f64> {
    let answer = Client::new(&format!("http://{at}")).get("/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let (mut values, mut told) = (BTreeMap::new(), BTreeSet::new());
    for line in answer.text.lines() {
        if let Some(comment) = line.strip_prefix("# TYPE ") {
            let (name, kind) = comment.split_once(' ').expect("a name and a kind");
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(told.insert(name.to_owned()), "twice: {line}");
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            assert!(told.contains(name.split('{').next().expect("a name")), "{line}");
            let value = value.parse().expect("a number");
            assert!(values.insert(name.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    values
}

fn peers(data: &Path, more: &[&str]) -> Output {
    let data = format!("data_dir={}", data.display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilotlight"));
    command.args(["peers", "--set", &data]).args(more).stdin(Stdio::null()).output().expect("starts")
}

fn peers_json(data: &Path) -> Value {
    let output = peers(data, &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Both have the other on their list, and a poll open.
fn acquaint(alice: &Client, bob: &Client) {
    add(alice, bob);
    until("Bob is asked", || requests(bob) == json!([alice.user]));
    answer(bob, alice, "accept");
    until("Bob accepted", || standing(alice, bob) == "accepted");
    add(bob, alice);
    until("Alice accepted", || standing(bob, alice) == "accepted");
}

#[test]
fn o2_requests_polls_and_presence_are_counted_and_nobody_is_named() {
    let at = free_address();
    let server = TestServer::start_with(|config| config.metrics.listen = Some(at));
    let zoe = server.register("zoe");
    let since = zoe.get("/_matrix/client/v3/sync").ok()["next_batch"].as_str().expect("a token").to_owned();
    let before = metrics(at);
    assert_eq!(before["pilotlight_open_polls"], 0.0);
    let poll = {
        let zoe = zoe.clone();
        std::thread::spawn(move || {
            zoe.get(&format!("/_matrix/client/v3/sync?timeout=20000&since={since}")).ok()
        })
    };
    until("the poll waits", || metrics(at)["pilotlight_open_polls"] == 1.0);
    let status = format!("/_matrix/client/v3/presence/{}/status", zoe.user);
    zoe.put(&status, json!({ "presence": "busy" })).ok();
    poll.join().expect("is answered");
    zoe.get("/_matrix/client/v3/rooms/!nowhere:localhost/state");
    let after = metrics(at);
    let grown = |name: &str| after[name] - before.get(name).copied().unwrap_or_default();
    assert_eq!(after["pilotlight_open_polls"], 0.0);
    assert_eq!(grown(r#"pilotlight_http_requests_total{class="presence",status="2xx"}"#), 1.0);
    assert_eq!(grown(r#"pilotlight_http_requests_total{class="sync",status="2xx"}"#), 1.0);
    assert_eq!(grown(r#"pilotlight_http_requests_total{class="rooms",status="4xx"}"#), 1.0);
    assert!(grown("pilotlight_presence_changes_total") >= 1.0);
    assert!(grown("pilotlight_presence_delivered_total") >= 1.0);
    assert!(after["process_resident_memory_bytes"] > 1e6);
    assert!(after["process_cpu_seconds_total"] > 0.0);
    assert!(!after.keys().any(|name| name.contains("zoe") || name.contains("localhost")), "{after:?}");
    assert!(!after.keys().any(|name| name.contains("federation")), "it is on its own");
    assert_eq!(Client::new(&format!("http://{at}")).get("/").status, 404);
    assert_ne!(
        server.anonymous().get("/metrics").headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
}

#[test]
fn o2_what_goes_between_servers_is_counted_and_each_peer_is_shown() {
    let (ca, time) = (Authority::new(), Time::new());
    let at = free_address();
    let (a_name, a) = ca.driven(&time, |config| config.metrics.listen = Some(at));
    let (b_name, b) = ca.driven(&time, |_| {});
    assert_eq!(peers_json(a.data_dir()), json!({ "server_name": a_name, "federates": true, "peers": [] }));
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    acquaint(&alice, &bob);
    // Polls that end at once leave their users reading for the time of grace.
    for client in [&alice, &bob] {
        client.get("/_matrix/client/v3/sync").ok();
    }
    time.pass_until("each knows the other's user", GRACE, || {
        [&a, &b].iter().all(|server| peers_json(server.data_dir())["peers"][0]["held"] == 1)
    });
    let all = peers_json(a.data_dir());
    let peer = &all["peers"][0];
    assert_eq!(all["peers"].as_array().map(Vec::len), Some(1));
    assert_eq!((peer["server"].as_str(), &peer["speech"]), (Some(b_name.as_str()), &json!("pilotlight")));
    assert_eq!((&peer["given"], &peer["asked"], &peer["failures"]), (&json!(1), &json!(1), &json!(0)));
    // When it is the peer's turn to remind: a minute and 10 to 70 % of one more.
    assert!(peer["short_watchdog_s"].as_u64().is_some_and(|s| s <= 102), "{peer}");
    assert!(peer["long_watchdog_s"].as_u64().is_some_and(|s| s > 2_000 && s <= 3_600), "{peer}");
    assert!(peer["alive_s"].as_u64().is_some_and(|s| s <= 20) && peer["sent"].as_u64() > Some(0), "{peer}");

    let values = metrics(at);
    for direction in ["in", "out"] {
        let value =
            |what: &str| values[&format!("pilotlight_federation_{what}_total{{direction=\"{direction}\"}}")];
        assert!(value("transactions") >= 1.0 && value("edus") >= value("transactions"), "{values:?}");
        assert!(value("bytes") > 100.0, "{values:?}");
    }
    assert_eq!(values[r#"pilotlight_presence_peers{speech="pilotlight"}"#], 1.0);
    assert_eq!(values[r#"pilotlight_presence_promises{state="held"}"#], 1.0);
    assert!(values[r#"pilotlight_http_requests_total{class="transaction",status="2xx"}"#] >= 1.0);

    // A change that waits for the end of the batch, and then a peer that is gone.
    drop(b);
    alice
        .put(&format!("/_matrix/client/v3/presence/{}/status", alice.user), json!({ "presence": "busy" }))
        .ok();
    time.pass(WINDOW - TICK);
    assert_eq!(metrics(at)["pilotlight_federation_failures_total"], 0.0);
    time.pass(TICK);
    assert_eq!(metrics(at)["pilotlight_federation_failures_total"], 1.0);
    let output = peers(a.data_dir(), &[]);
    let table = String::from_utf8(output.stdout).expect("text");
    let row = table.lines().nth(1).expect("a row");
    assert!(table.starts_with("SERVER") && row.starts_with(b_name.as_str()), "{table}");
    assert!(row.contains("failed, next in ") && row.contains("refused"), "{table}");
    assert_eq!(metrics(at)[r#"pilotlight_federation_destinations{state="failing"}"#], 1.0);
}

#[test]
fn o2_a_server_that_is_alone_or_not_there_is_told_apart_and_only_its_user_may_ask() {
    let server = TestServer::start();
    let output = peers(server.data_dir(), &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("on its own"));
    let socket = server.data_dir().join("control.sock");
    let mode = std::fs::metadata(&socket).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let empty = TempDir::new();
    let output = peers(empty.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no server runs on"));
    std::os::unix::net::UnixListener::bind(empty.path().join("control.sock")).expect("binds");
    assert_eq!(peers(empty.path(), &[]).status.code(), Some(1), "a socket without a server");
    drop(server);
    assert!(!socket.exists());
}

#[test]
fn o2_watching_goes_on_until_the_server_ends() {
    let server = TestServer::start();
    let data = format!("data_dir={}", server.data_dir().display());
    let mut watch = Command::new(env!("CARGO_BIN_EXE_pilotlight"))
        .args(["peers", "--watch", "--json", "--set", &data])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("piped")).lines();
    for _ in 0..2 {
        let line = lines.next().expect("a line").expect("text");
        let all: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(all["federates"], false);
    }
    drop(server);
    assert_eq!(watch.wait().expect("ends").code(), Some(1));
}

#[test]
fn o2_what_waits_for_the_end_of_a_batch_is_sent_before_the_end() {
    let Pair { ca: _ca, time, a, b, .. } = Pair::new();
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    acquaint(&alice, &bob);
    let status = |of: &Client| format!("/_matrix/client/v3/presence/{}/status", of.user);
    let seen = || bob.get(&status(&alice)).ok()["org.pilotlight.presence"]["state"].clone();
    for client in [&alice, &bob] {
        client.get("/_matrix/client/v3/sync").ok();
    }
    time.pass(WINDOW);
    assert_eq!(seen(), "online");
    alice.put(&status(&alice), json!({ "presence": "busy" })).ok();
    time.settle();
    assert_eq!(seen(), "online", "the window is open");
    drop(a);
    assert_eq!(seen(), "busy");
}

#[test]
fn o2_sigterm_ends_the_server_within_five_seconds_whatever_a_peer_and_a_client_do() {
    let ca = Authority::new();
    let (data, own, never_answers) = (TempDir::new(), free_address(), free_address());
    let silent = TcpListener::bind(never_answers).expect("a listener");
    let settings = [
        format!("data_dir={}", data.path().display()),
        "listen=127.0.0.1:0".to_owned(),
        format!("server_name=localhost:{}", own.port()),
        format!("federation.listen={own}"),
        format!("federation.tls_certificate={}", ca.file("cert.pem").display()),
        format!("federation.tls_private_key={}", ca.file("key.pem").display()),
        "federation.allow_addresses=127.0.0.0/8,::1/128".to_owned(),
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilotlight"));
    command.arg("serve").args(settings.iter().flat_map(|setting| ["--set", setting]));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
    let address = line.trim().strip_prefix("listening on http://").expect("says where").to_owned();
    let alice = Client::new(&format!("http://{address}")).register("alice");
    let list = format!("/_matrix/client/v3/presence/list/{}", alice.user);
    alice.post(&list, json!({ "invite": [format!("@x:localhost:{}", never_answers.port())] })).ok();
    // A transaction that is never answered, half a request, and half a handshake.
    let transaction = silent.accept().expect("the server sends");
    let mut half = TcpStream::connect(&address).expect("connects");
    half.write_all(b"POST /_matrix/client/v3/login HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
        .expect("writes");
    let mut handshake = TcpStream::connect(own).expect("connects");
    handshake.write_all(&[22, 3, 1]).expect("writes");
    let begun = Instant::now();
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kills");
    assert!(status.success());
    assert_eq!(child.wait().expect("ends").code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop((transaction, half, handshake));
}

#[test]
fn o2_presence_can_be_switched_off_for_one_server() {
    let Pair { ca: _ca, time, a_name, a, b, .. } = Pair::new();
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    acquaint(&alice, &bob);
    let seen = |by: &Client, of: &str| {
        by.get("/_matrix/client/v3/sync").ok();
        by.get(&format!("/_matrix/client/v3/presence/{of}/status")).ok()["org.pilotlight.presence"]["state"]
            .clone()
    };
    let both = || [seen(&alice, &bob.user), seen(&bob, &alice.user)];
    both();
    time.pass(WINDOW);
    assert_eq!(both(), ["online", "online"]);
    let mut config = b.app().config.clone();
    config.federation.presence_deny_servers = vec![a_name];
    let b = b.restart_with(|new| *new = config);
    let bob = b.log_in("bob");
    // Bob's server acknowledges what it is told, which counts, but not for longer than two promises.
    let took = time.pass_until("Alice's server does not know any longer", PROMISE * 2, || {
        assert_ne!(seen(&bob, &alice.user), "online", "it asks no more");
        seen(&alice, &bob.user) == "unknown"
    });
    assert!(took > PROMISE, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn o2_after_a_rotation_requests_are_signed_with_the_new_key_and_the_former_is_published() {
    let ca = Authority::new();
    let ((a_name, a), (b_name, b)) = (ca.trusting_server(), ca.trusting_server());
    async fn ask(from: &TestServer, to: &ServerName, path: &str) -> Result<Value, RequestError> {
        let federation = from.app().federation.as_ref().expect("federates");
        let answer = federation.client.request(to, Method::GET, path, None).await?;
        Ok(serde_json::from_str(answer.get()).expect("JSON"))
    }
    let signed = format!("/_matrix/federation/v1/query/profile?user_id=%40x%3A{}", b_name.host());
    let is_known = |answer: Result<Value, RequestError>| match answer {
        Err(RequestError::Status(status, _)) => status == 404,
        other => panic!("the user does not exist: {other:?}"),
    };
    assert!(is_known(ask(&a, &b_name, &signed).await));
    let former = a.app().rooms.signer.key_id();
    let (data, config) = (a.data_dir().to_owned(), a.app().config.clone());
    let a = tokio::task::block_in_place(|| {
        a.restart_with(|new| {
            let key = Signer::existing(&data, &a_name).expect("can be read").expect("is there");
            key.rotate(&data, 1_700_000_000_000).expect("is replaced");
            *new = config;
        })
    });
    let config = b.app().config.clone();
    // The other server asked for the keys a moment ago: only a start makes it ask again within the minute.
    let b = tokio::task::block_in_place(|| b.restart_with(|new| *new = config));
    assert!(is_known(ask(&a, &b_name, &signed).await));
    let keys = ask(&b, &a_name, "/_matrix/key/v2/server").await.expect("an answer");
    assert!(keys["verify_keys"].get(&former).is_none(), "{keys}");
    assert_eq!(keys["old_verify_keys"][&former]["expired_ts"], 1_700_000_000_000_u64, "{keys}");
}

#[test]
fn o3_a_server_serves_though_it_cannot_say_so() {
    let full = || OpenOptions::new().write(true).open("/dev/full").expect("a device that is full");
    let closed = || std::io::pipe().expect("a pipe").1;
    let both: [(Stdio, Stdio); 3] =
        [(full().into(), full().into()), (closed().into(), closed().into()), (full().into(), Stdio::piped())];
    for (out, err) in both {
        let (data, address) = (TempDir::new(), free_address());
        let settings = [format!("data_dir={}", data.path().display()), format!("listen={address}")];
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilotlight"));
        command.arg("serve").args(settings.iter().flat_map(|setting| ["--set", setting]));
        let mut child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().expect("starts");
        until("it answers", || {
            assert_eq!(child.try_wait().expect("can be asked"), None, "it goes on");
            TcpStream::connect(address).is_ok()
        });
        Client::new(&format!("http://{address}")).register("alice");
        let stopped = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kills");
        assert!(stopped.success());
        assert_eq!(child.wait().expect("ends").code(), Some(0));
        let mut log = String::new();
        if let Some(mut err) = child.stderr.take() {
            err.read_to_string(&mut log).expect("reads");
            assert!(
                log.contains("cannot say on standard output") && log.contains(&address.to_string()),
                "{log}"
            );
        }
    }
}

#[test]
fn what_is_asked_for_and_cannot_be_printed_is_a_failure() {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("a device that is full");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilotlight"));
    let output = command.arg("config").stdout(full).stderr(Stdio::piped()).output().expect("starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(!output.stderr.is_empty());
}
