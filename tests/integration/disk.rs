//! O3: what a full disk, a failing one and a damaged file do to the program itself.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use super::{
    cli::{Serve, run, setting},
    contacts::{add, list_path, requests, standing},
    hostile_peer::{Scene, edu},
    support::{Answer, Client, PASSWORD, TempDir, until},
};

/// How long the answers to all of them may take, whatever the disk does.
const SOON: Duration = Duration::from_secs(20);

/// A disk that can be filled.
enum Disk {
    /// A small file system of its own; a file in it takes what is left.
    Small(PathBuf),
    /// The system lets the program write no file beyond its length.
    Limited(u32),
}

impl Disk {
    fn fill(&self) {
        match self {
            Self::Small(mount) => {
                let filler = mount.join("filler");
                while fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(&filler)
                    .and_then(|mut file| std::io::Write::write_all(&mut file, &[1; 4096]))
                    .is_ok()
                {}
            }
            Self::Limited(pid) => limit(*pid, Some(4096)),
        }
    }

    fn empty(&self) {
        match self {
            Self::Small(mount) => fs::remove_file(mount.join("filler")).expect("is there"),
            Self::Limited(pid) => limit(*pid, None),
        }
    }
}

fn limit(pid: u32, bytes: Option<u64>) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process");
    let former = prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes, maximum: None });
    former.expect("a process of ours can be limited");
}

/// A small file system; `None` where this process may not mount one.
struct Mount(TempDir);

impl Mount {
    fn new() -> Option<Self> {
        let folder = TempDir::new();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8m", "pilotlight-test"]).arg(folder.path());
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        mounted.then_some(Self(folder))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("cannot unmount {}", self.0.path().display());
        }
    }
}

/// Everything that a client can have written, each as what it is and the answer; `n` makes each one new.
fn writes(alice: &Client, bob: &Client, room: &str, n: u32) -> Vec<(&'static str, Answer)> {
    let (user, device) = (&alice.user, &alice.device);
    let put = |path: String, body: Value| alice.put(&format!("/_matrix/client/v3/{path}"), body);
    let post = |path: &str, body: Value| alice.post(&format!("/_matrix/client/v3/{path}"), body);
    let (text, message) = (n.to_string(), json!({ "msgtype": "m.text", "body": "x" }));
    let inbox = json!({ "messages": { (&bob.user): { (&bob.device): { "n": n } } } });
    let identifier = json!({ "type": "m.id.user", "user": user });
    let login = json!({ "type": "m.login.password", "password": PASSWORD, "identifier": identifier });
    let auth = json!({ "type": "m.login.dummy" });
    let new = json!({ "username": format!("new{n}"), "password": PASSWORD, "auth": auth });
    let key = json!({ "one_time_keys": { (format!("curve25519:A{n}")): "x".repeat(43) } });
    let status = json!({ "presence": "busy", "status_msg": text });
    let filter = json!({ "room": { "timeline": { "limit": n } } });
    vec![
        ("presence", put(format!("presence/{user}/status"), status)),
        ("device message", put(format!("sendToDevice/m.test/t{n}"), inbox)),
        ("registration", post("register", new)),
        ("login", post("login", login)),
        ("message", put(format!("rooms/{room}/send/m.room.message/m{n}"), message)),
        ("state", put(format!("rooms/{room}/state/m.room.topic"), json!({ "topic": text }))),
        ("room", post("createRoom", json!({ "name": text }))),
        ("account data", put(format!("user/{user}/account_data/org.test"), json!({ "n": n }))),
        ("name", put(format!("profile/{user}/displayname"), json!({ "displayname": text }))),
        ("device", put(format!("devices/{device}"), json!({ "display_name": text }))),
        ("filter", post(&format!("user/{user}/filter"), filter)),
        ("keys", post("keys/upload", key)),
    ]
}

/// Fills and empties the disk of a program that is being used.
fn suffers(server: &Serve, disk: &Disk) {
    let (alice, bob) = (server.client.clone().register("alice"), server.client.clone().register("bob"));
    let room = alice.post("/_matrix/client/v3/createRoom", json!({})).ok()["room_id"].clone();
    let room = room.as_str().expect("a room").replace('!', "%21").replace(':', "%3A");
    let mut n = 0;
    let mut all = || {
        n += 1;
        writes(&alice, &bob, &room, n)
    };
    for _ in 0..2 {
        for (what, answer) in all() {
            assert_eq!(answer.status, 200, "{what}: {}", answer.text);
        }
        add(&alice, &bob);
        disk.fill();
        // What still fits may succeed.
        until("nothing can be written", || {
            let begun = Instant::now();
            let answers = all();
            assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
            answers.iter().all(|(_, answer)| answer.status == 500)
        });
        for (what, answer) in all() {
            assert_eq!(answer.status, 500, "{what}: {}", answer.text);
        }
        assert_eq!(alice.post(&list_path(&alice), json!({ "drop": [bob.user] })).status, 500);
        assert_eq!(standing(&alice, &bob), "pending", "and nothing was changed");
        alice.get("/_matrix/client/v3/account/whoami").ok();
        alice.get("/_matrix/client/v3/sync").ok();
        disk.empty();
        let status = format!("/_matrix/client/v3/presence/{}/status", alice.user);
        until("it can be written", || alice.put(&status, json!({ "presence": "online" })).status == 200);
    }
    for (what, answer) in all() {
        assert_eq!(answer.status, 200, "{what}: {}", answer.text);
    }
    alice.post(&list_path(&alice), json!({ "drop": [bob.user] })).ok();
}

/// Each time that the disk is full the log says so once, and then ever more seldom.
fn is_thinned_out(log: &str) {
    let errors: Vec<_> = log.lines().filter(|line| line.contains("ERROR") || line.contains("WARN")).collect();
    assert!((2..=16).contains(&errors.len()), "{} lines: {errors:#?}", errors.len());
    assert!(!log.contains("commit failed: database"), "a cause is told once: {log}");
}

const UNLIMITED: [&str; 2] = ["--set", "rate_limits.enabled=false"];

#[test]
fn o3_a_full_disk_answers_every_write_with_an_error_and_all_works_again_when_there_is_room() {
    let Some(mount) = Mount::new() else {
        eprintln!("skipped: this process may not mount a small file system");
        return;
    };
    let data = mount.0.path().join("data");
    let server = Serve::start(&data, &UNLIMITED);
    suffers(&server, &Disk::Small(mount.0.path().to_owned()));
    let (code, log) = server.end("-TERM");
    assert_eq!(code, Some(0), "{log}");
    is_thinned_out(&log);
    let server = Serve::start(&data, &[]);
    server.client.clone().log_in("alice");
    server.end("-TERM");
}

#[test]
fn o3_a_server_starts_on_a_full_disk_and_lets_read_or_says_that_the_disk_is_full() {
    let Some(mount) = Mount::new() else {
        eprintln!("skipped: this process may not mount a small file system");
        return;
    };
    let (data, disk) = (mount.0.path().join("data"), Disk::Small(mount.0.path().to_owned()));
    let server = Serve::start(&data, &UNLIMITED);
    let alice = server.client.clone().register("alice");
    let name = format!("/_matrix/client/v3/profile/{}/displayname", alice.user);
    alice.put(&name, json!({ "displayname": "Alice" })).ok();
    disk.fill();
    let (user, device) = (json!({ "type": "m.id.user", "user": "alice" }), alice.device.clone());
    let login =
        json!({ "type": "m.login.password", "password": PASSWORD, "identifier": user, "device_id": device });
    // What a killed server left is written over.
    let mut server = server;
    for _ in 0..2 {
        server.end("-KILL");
        disk.fill();
        server = Serve::start(&data, &UNLIMITED);
        let alice = server.client.clone().with_token(&json!(alice.token));
        assert_eq!(alice.get(&name).ok()["displayname"], "Alice");
        alice.get("/_matrix/client/v3/sync").ok();
        until("nothing can be written", || {
            alice.put(&name, json!({ "displayname": "x".repeat(200) })).status == 500
                && alice.post("/_matrix/client/v3/login", login.clone()).status == 500
        });
    }
    server.end("-TERM");
    // After a clean stop there is one file, and what SQLite puts beside it needs room.
    disk.fill();
    let refused = run(&["serve", "--set", "listen=127.0.0.1:0", "--set", &setting(&data)]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("the disk is full") && !said.contains("damaged"), "{said}");
    disk.empty();
    let server = Serve::start(&data, &UNLIMITED);
    server.client.post("/_matrix/client/v3/login", login).ok();
    server.end("-TERM");
}

/// Nobody goes offline by themselves, and no rate is limited.
const PATIENT: [&str; 6] = [
    "--set",
    "rate_limits.enabled=false",
    "--set",
    "presence.offline_grace=10m",
    "--set",
    "presence.restart_grace=10m",
];

/// Alice and Bob, who see each other.
fn two_in_a_room(server: &Serve) -> (Client, Client) {
    let (alice, bob) = (server.client.clone().register("alice"), server.client.clone().register("bob"));
    let room = alice.post("/_matrix/client/v3/createRoom", json!({ "preset": "public_chat" })).ok();
    bob.post(&format!("/_matrix/client/v3/join/{}", room["room_id"].as_str().expect("an ID")), json!({}))
        .ok();
    (alice, bob)
}

#[test]
fn o3_a_choice_of_presence_that_the_disk_does_not_take_is_an_error_and_changes_nothing_the_first_time_too() {
    let data = TempDir::new();
    let server = Serve::start(data.path(), &PATIENT);
    let disk = Disk::Limited(server.child.id());
    let (alice, bob) = two_in_a_room(&server);
    let path = format!("/_matrix/client/v3/presence/{}/status", alice.user);
    let choose =
        |state: &str, message: &str| alice.put(&path, json!({ "presence": state, "status_msg": message }));
    // As others see it, and as the user does.
    let seen = |by: &Client| {
        let content = by.get(&path).ok();
        let state = content["org.pilotlight.presence"]["state"].clone();
        (if state.is_null() { content["presence"].clone() } else { state }, content["status_msg"].clone())
    };
    alice.get("/_matrix/client/v3/sync").ok();
    let mut before = [seen(&alice), seen(&bob)];
    for kept in ["kept", "kept too"] {
        disk.fill();
        for (state, message) in [("busy", "one"), ("hidden", "two"), ("online", "three"), ("busy", "four")] {
            choose(state, message).refused(500, "M_UNKNOWN");
            assert_eq!([seen(&alice), seen(&bob)], before, "{state}");
        }
        disk.empty();
        until("it can be written", || choose("busy", kept).status == 200);
        before = [seen(&alice), seen(&bob)];
        assert_eq!(before, [(json!("busy"), json!(kept)), (json!("busy"), json!(kept))]);
    }
    disk.fill();
    choose("hidden", "lost").refused(500, "M_UNKNOWN");
    server.end("-KILL");
    let server = Serve::start(data.path(), &PATIENT);
    let after = |by: &Client| Client { base: server.client.base.clone(), ..by.clone() };
    assert_eq!([seen(&after(&alice)), seen(&after(&bob))], before, "what was shown is what was stored");
}

#[test]
fn o3_attendance_goes_on_on_a_full_disk_is_answered_so_and_is_written_when_there_is_room() {
    let data = TempDir::new();
    let server = Serve::start(data.path(), &PATIENT);
    let disk = Disk::Limited(server.child.id());
    let (alice, bob) = two_in_a_room(&server);
    let stock = server.client.clone().log_in("alice");
    let device = format!("/_matrix/client/unstable/org.pilotlight/presence/{}/device", alice.user);
    let status = |of: &Client| format!("/_matrix/client/v3/presence/{}/status", of.user);
    let seen = |by: &Client| by.get(&status(&alice)).ok()["presence"].clone();
    alice.get("/_matrix/client/v3/sync").ok();
    alice.put(&device, json!({ "idle_ms": 0 })).ok();
    disk.fill();
    until("nothing can be written", || {
        bob.put(&status(&bob), json!({ "presence": "busy", "status_msg": "x" })).status == 500
    });
    for (idle, state) in [(60_000, "unavailable"), (0, "online"), (70_000, "unavailable")] {
        alice.put(&device, json!({ "idle_ms": idle })).ok();
        assert_eq!(seen(&bob), state);
    }
    // That a device begins to use these words has to be kept: it is refused, and shows nothing.
    stock.put(&device, json!({ "idle_ms": 0 })).refused(500, "M_UNKNOWN");
    assert_eq!(seen(&bob), "unavailable");
    for presence in ["online", "unavailable"] {
        let before = seen(&bob);
        if stock.put(&status(&alice), json!({ "presence": presence })).status == 500 {
            assert_eq!(seen(&bob), before, "what is refused has changed nothing");
        } else {
            assert_eq!(seen(&bob), presence);
        }
    }
    alice.put(&device, json!({ "idle_ms": 70_000 })).ok();
    disk.empty();
    // Written with what waited before it.
    until("it can be written", || {
        bob.put(&status(&bob), json!({ "presence": "busy", "status_msg": "y" })).status == 200
    });
    let (_, log) = server.end("-KILL");
    let lines = log.lines().filter(|line| line.contains("ERROR")).count();
    assert!((1..=6).contains(&lines), "a line for the first failure, and then ever fewer: {log}");
    assert!(log.contains("the disk takes what is to be written again"), "{log}");
    assert!(!log.contains("commit failed: database"), "a cause is told once: {log}");
    let server = Serve::start(data.path(), &PATIENT);
    let after = |by: &Client| Client { base: server.client.base.clone(), ..by.clone() };
    after(&alice).get("/_matrix/client/v3/sync").ok();
    assert_eq!(seen(&after(&bob)), "unavailable");
}

#[test]
fn o3_a_disk_that_fails_answers_every_write_with_an_error_and_all_works_again_when_it_is_mended() {
    let data = TempDir::new();
    let server = Serve::start(data.path(), &UNLIMITED);
    suffers(&server, &Disk::Limited(server.child.id()));
    let (code, log) = server.end("-TERM");
    assert_eq!(code, Some(0), "{log}");
    is_thinned_out(&log);
    let server = Serve::start(data.path(), &[]);
    server.client.clone().log_in("alice");
    server.end("-TERM");
}

#[test]
fn o3_what_another_server_says_of_lists_while_the_disk_is_full_is_taken_when_it_says_it_again() {
    let scene = Scene::start();
    let disk = Disk::Limited(scene.pid());
    let stranger = format!("@x:{}", scene.mallory.name);
    let asks = json!({ "observer_user": stranger, "observed_user": scene.alice.user });
    let asks = scene.transaction("one", &[edu("m.presence_invite", asks)]);
    disk.fill();
    assert_eq!(scene.send(&asks).status, 500);
    disk.empty();
    scene.send(&asks).ok();
    assert_eq!(requests(&scene.alice), json!([stranger]));
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("is there").permissions().mode() & 0o777
}

/// The files in a folder with their modes; what the owner runs, such as a socket, too.
fn modes(folder: &Path) -> BTreeMap<String, u32> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), mode(&entry.path()))).collect()
}

#[test]
fn o3_every_file_is_its_owners_only_also_in_a_folder_that_was_there_and_others_can_enter() {
    let data = TempDir::new();
    fs::set_permissions(data.path(), fs::Permissions::from_mode(0o755)).expect("is ours");
    let server = Serve::start(data.path(), &[]);
    server.client.clone().register("alice");
    let all = modes(data.path());
    for name in ["pilotlight.db", "pilotlight.db-wal", "pilotlight.db-mark", "pilotlight.lock", "signing.key"]
    {
        assert!(all.contains_key(name), "{name}: {all:?}");
    }
    assert!(all.values().all(|mode| *mode == 0o600), "{all:?}");
    let copy = data.path().join("copy");
    let made = run(&["backup", &copy.display().to_string(), "--set", &setting(data.path())]);
    assert!(made.status.success());
    assert!(modes(&copy).values().all(|mode| *mode == 0o600), "{:?}", modes(&copy));
    assert_eq!(mode(&copy), 0o700);
    let (_, log) = server.end("-KILL");
    assert!(log.contains("others can enter this folder") && log.contains("chmod 700"), "{log}");

    // As an earlier version, or a careless copy, leaves them.
    for (name, _) in modes(data.path()).into_iter().filter(|(name, _)| name != "copy") {
        fs::set_permissions(data.path().join(name), fs::Permissions::from_mode(0o644)).expect("is ours");
    }
    fs::set_permissions(data.path(), fs::Permissions::from_mode(0o700)).expect("is ours");
    let server = Serve::start(data.path(), &[]);
    let mut all = modes(data.path());
    all.remove("copy");
    assert!(all.values().all(|mode| *mode == 0o600), "{all:?}");
    let (_, log) = server.end("-TERM");
    assert!(log.contains("others could read this file") && !log.contains("can enter"), "{log}");
}

#[test]
fn o3_what_lost_data_is_refused_with_a_code_and_what_to_do() {
    let data = TempDir::new();
    let server = Serve::start(data.path(), &[]);
    let alice = server.client.clone().register("alice");
    let name = format!("/_matrix/client/v3/profile/{}/displayname", alice.user);
    for n in 0..20 {
        alice.put(&name, json!({ "displayname": n.to_string() })).ok();
    }
    server.end("-KILL");
    let (database, log) = (data.path().join("pilotlight.db"), data.path().join("pilotlight.db-wal"));
    let refused = |what: &str| {
        let end = run(&["serve", "--set", "listen=127.0.0.1:0", "--set", &setting(data.path())]);
        assert_eq!(end.status.code(), Some(3), "{what}");
        let said = String::from_utf8_lossy(&end.stderr).into_owned();
        assert!(said.contains(what) && said.contains("restore a backup"), "{said}");
    };
    let whole = fs::read(&log).expect("a killed server leaves its log");
    let mut damaged = whole.clone();
    damaged[whole.len() / 2..][..64].fill(0xa5);
    fs::write(&log, &damaged).expect("writes");
    refused("lacks writes that were acknowledged");
    assert_eq!(fs::read(&log).expect("is there"), damaged, "is left alone");
    fs::write(&log, &whole[..whole.len() / 2]).expect("writes");
    refused("lacks writes that were acknowledged");
    fs::write(&log, &whole).expect("writes");
    let server = Serve::start(data.path(), &[]);
    assert_eq!(server.client.get(&name).ok()["displayname"], "19");
    server.end("-TERM");
    assert!(!log.exists(), "a clean stop leaves one file");

    let whole = fs::read(&database).expect("is there");
    let mut damaged = whole.clone();
    damaged[whole.len() / 2..][..64].fill(0xa5);
    fs::write(&database, &damaged).expect("writes");
    refused("is damaged");
    fs::write(&database, "").expect("writes");
    refused("is empty");
    assert_eq!(fs::metadata(&database).expect("is there").len(), 0, "is left alone");
    fs::remove_file(&database).expect("can be removed");
    refused("is gone");
}
