//! O1–O4: the program itself, started as an operator starts it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use pilotlight::server::{Config, log};
use serde_json::{Value, json};

use crate::{
    authority::free_address,
    support::{Client, PASSWORD, TempDir, until},
};

fn pilotlight(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilotlight"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub fn run(args: &[&str]) -> Output {
    pilotlight(args).output().expect("starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("is text")
}

pub fn setting(data: &Path) -> String {
    format!("data_dir={}", data.display())
}

/// `pilotlight serve` on a port that the system chooses.
pub struct Serve {
    pub child: Child,
    pub client: Client,
}

impl Serve {
    pub fn start(data: &Path, more: &[&str]) -> Self {
        let data = setting(data);
        let mut args = vec!["serve", "--set", "listen=127.0.0.1:0", "--set", &data];
        args.extend(more);
        Self::spawn(&mut pilotlight(&args))
    }

    /// The same, allowed so many open files.
    pub fn start_with_files(data: &Path, more: &[&str], files: u32) -> Self {
        let (data, limit) = (setting(data), format!("ulimit -n {files}; exec \"$0\" \"$@\""));
        let mut args = vec!["-c", &limit, env!("CARGO_BIN_EXE_pilotlight")];
        args.extend(["serve", "--set", "listen=127.0.0.1:0", "--set", &data]);
        args.extend(more);
        let mut command = Command::new("sh");
        Self::spawn(command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
        let url = line.strip_prefix("listening on ").expect("says where").trim().to_owned();
        Self { child, client: Client::new(&url) }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kills");
        assert!(status.success());
    }

    /// The exit code and the log.
    pub fn end(mut self, signal: &str) -> (Option<i32>, String) {
        self.signal(signal);
        let mut log = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut log).expect("reads");
        (self.child.wait().expect("ends").code(), log)
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.child.kill().expect("a running child can be killed");
            self.child.wait().expect("ends");
        }
    }
}

#[test]
fn sigterm_ends_the_server_within_five_seconds_and_with_success() {
    let data = TempDir::new();
    for signal in ["-TERM", "-INT"] {
        let server = Serve::start(data.path(), &[]);
        server.client.get("/health");
        let begun = Instant::now();
        let (code, log) = server.end(signal);
        assert_eq!(code, Some(0), "{log}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert!(log.contains("stopped"), "{log}");
    }
}

#[test]
fn a_long_poll_is_answered_when_the_server_is_told_to_end() {
    let (data, metrics) = (TempDir::new(), free_address());
    let server = Serve::start(data.path(), &["--set", &format!("metrics.listen={metrics}")]);
    let alice = server.client.clone().register("alice");
    let sync = alice.get("/_matrix/client/v3/sync?timeout=0").ok();
    let path = format!(
        "/_matrix/client/v3/sync?timeout=30000&since={}",
        sync["next_batch"].as_str().expect("a token")
    );
    let poll = std::thread::spawn(move || alice.get(&path));
    let metrics = Client::new(&format!("http://{metrics}"));
    until("the poll waits", || metrics.get("/metrics").text.contains("\npilotlight_open_polls 1\n"));
    let begun = Instant::now();
    let (code, log) = server.end("-TERM");
    assert_eq!(code, Some(0), "{log}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(!log.contains("still in flight"), "{log}");
    let answer = poll.join().expect("the poll ends");
    assert!(answer.ok()["next_batch"].is_string());
}

#[test]
fn what_was_acknowledged_before_sigkill_is_there_after_it() {
    let data = TempDir::new();
    let server = Serve::start(data.path(), &[]);
    let alice = server.client.clone().register("alice");
    let profile = "/_matrix/client/v3/profile/@alice:localhost/displayname";
    alice.put(profile, json!({ "displayname": "Alice" })).ok();
    let (code, _) = server.end("-KILL");
    assert_eq!(code, None, "killed");

    let socket = data.path().join("control.sock");
    assert!(socket.exists(), "the killed server left its socket");
    let server = Serve::start(data.path(), &[]);
    assert!(run(&["peers", "--set", &setting(data.path())]).status.success(), "the new one has it");
    let again = server.client.clone().with_token(&json!(alice.token));
    assert_eq!(again.get("/_matrix/client/v3/account/whoami").ok()["user_id"], "@alice:localhost");
    assert_eq!(again.get(profile).ok()["displayname"], "Alice");
    server.client.clone().log_in("alice");
}

#[test]
fn a_second_server_on_the_same_data_is_refused_and_a_user_can_be_added_beside_the_first() {
    let data = TempDir::new();
    let server = Serve::start(data.path(), &["--set", "registration=closed"]);
    let second = run(&["serve", "--set", "listen=127.0.0.1:0", "--set", &setting(data.path())]);
    assert_eq!(second.status.code(), Some(3));
    assert!(text(&second.stderr).contains("is in use by another process"));

    let data = setting(data.path());
    let mut add = pilotlight(&["user", "add", "Bob", "--password-stdin", "--set", &data])
        .stdin(Stdio::piped())
        .spawn()
        .expect("starts");
    add.stdin.take().expect("piped").write_all(format!("{PASSWORD}\n").as_bytes()).expect("writes");
    let added = add.wait_with_output().expect("ends");
    assert_eq!(text(&added.stdout), "@bob:localhost can log in\n", "{}", text(&added.stderr));
    server.client.clone().log_in("bob");

    let made_up = run(&["user", "add", "carl", "--set", &data]);
    let password = text(&made_up.stdout).trim().rsplit(' ').next().expect("a password").to_owned();
    let login = json!({ "type": "m.login.password", "user": "carl", "password": password });
    server.client.post("/_matrix/client/v3/login", login).ok();

    let taken = run(&["user", "add", "bob", "--set", &data]);
    assert_eq!(taken.status.code(), Some(1));
    assert!(text(&taken.stderr).contains("there is an account @bob:localhost already"));
}

#[test]
fn the_printed_configuration_is_the_effective_one_and_can_be_read_back() {
    let dir = TempDir::new();
    let first = pilotlight(&["config", "--set", "presence.idle_timeout=2m"])
        .env("PILOTLIGHT_LOG__FORMAT", "json")
        .output()
        .expect("runs");
    let printed = text(&first.stdout);
    assert!(
        printed.contains("\nidle_timeout = \"2m\"\n") && printed.contains("\nformat = \"json\"\n"),
        "{printed}"
    );
    let file = dir.path().join("pilotlight.toml");
    std::fs::write(&file, printed).expect("writes");
    let second = run(&["config", "--config", &file.to_string_lossy()]);
    assert_eq!(printed, text(&second.stdout));
}

#[test]
fn mistakes_end_the_program_with_a_code_and_a_sentence() {
    let dir = TempDir::new();
    let file = dir.path().join("p.toml");
    std::fs::write(&file, "[presence]\nidle_timout = \"3m\"\n").expect("writes");
    let file = file.to_string_lossy();
    let blocked = dir.path().join("file");
    std::fs::write(&blocked, "").expect("writes");
    let blocked = setting(&blocked);
    let data = setting(&dir.path().join("data"));
    let table: &[(&[&str], i32, &str)] = &[
        (
            &["serve", "--config", &file],
            2,
            "p.toml:2: there is no key presence.idle_timout; did you mean presence.idle_timeout?",
        ),
        (&["serve", "--set", "listen=nowhere"], 2, "--set: listen must be an IP address and a port"),
        (&["serve", "--sett", "a=b"], 2, "unexpected argument"),
        (&["dance"], 2, "unrecognized subcommand"),
        (&[], 2, "Usage: pilotlight"),
        (&["serve", "--set", &blocked], 3, "cannot use"),
        (&["serve", "--set", "listen=192.0.2.1:1", "--set", &data], 1, "cannot listen on 192.0.2.1:1"),
        (&["user", "add", "a b", "--set", &data], 1, "a user name has only the letters"),
    ];
    for (args, code, message) in table {
        let output = run(args);
        assert_eq!(output.status.code(), Some(*code), "{args:?}");
        assert!(text(&output.stderr).contains(message), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn help_version_and_completions_are_printed_with_success() {
    let table: &[(&[&str], &str)] = &[
        (&["--help"], "Exit codes:"),
        (&["serve", "--help"], "Needs no configuration"),
        (&["--version"], concat!("pilotlight ", env!("CARGO_PKG_VERSION"))),
        (&["completions", "bash"], "_pilotlight()"),
        (&["completions", "fish"], "complete -c pilotlight"),
    ];
    for (args, expected) in table {
        let output = run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(text(&output.stdout).contains(expected), "{args:?}");
    }
}

#[test]
fn the_log_is_json_when_asked_and_never_has_a_secret_or_a_user() {
    let data = TempDir::new();
    let server = Serve::start(data.path(), &["--set", "log.format=json"]);
    let dora = server.client.clone().register("dora");
    dora.put("/_matrix/client/v3/profile/@dora:localhost/displayname", json!({ "displayname": "Dora" })).ok();
    dora.get("/_matrix/client/v3/account/whoami?access_token=secret_in_query").ok();
    let token = dora.token.clone().expect("logged in");
    dora.post("/_matrix/client/v3/logout", json!({})).ok();
    let (_, log) = server.end("-TERM");
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).expect("one JSON object a line");
        assert!(line["level"].is_string() && line["timestamp"].is_string() && line["message"].is_string());
    }
    assert!(log.contains("serving"));
    for secret in [&token, PASSWORD, "dora", "Dora", "secret_in_query"] {
        assert!(!log.contains(secret), "{log}");
    }
}

/// Where [`panics`] does.
const PANICS_AT: u32 = line!() + 4;

#[inline(never)]
fn panics() {
    panic!("on purpose");
}

#[test]
fn o4_a_panic_is_logged_with_the_lines_that_led_to_it() {
    const INSIDE: &str = "PILOTLIGHT_TEST_PANICS";
    if std::env::var_os(INSIDE).is_some() {
        log::start(Config::default().log);
        return panics();
    }
    let name = "cli::o4_a_panic_is_logged_with_the_lines_that_led_to_it";
    let mut inside = Command::new(std::env::current_exe().expect("is a file"));
    let output = inside.args(["--exact", name, "--nocapture"]).env(INSIDE, "1").output().expect("starts");
    let log = text(&output.stderr);
    let place = format!("tests/integration/cli.rs:{PANICS_AT}");
    assert!(log.contains("on purpose"), "{log}");
    assert!(log.matches(&place).count() >= 2, "as the place, and in the backtrace: {log}");
    assert!(log.contains("cli::panics"), "{log}");
}

#[test]
fn even_the_chattiest_log_has_no_secret() {
    let data = TempDir::new();
    let server = Serve::start(data.path(), &["--set", "log.level=trace"]);
    let eve = server.client.clone().register("eve").log_in("eve");
    let token = eve.token.clone().expect("logged in");
    let (_, log) = server.end("-TERM");
    assert!(log.contains("@eve:localhost"), "users are named at debug");
    for secret in [&token, PASSWORD] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn keys_are_shown_and_replaced_only_while_no_server_runs() {
    let data = TempDir::new();
    let folder = setting(data.path());
    let keys = |what: &str| run(&["keys", what, "--set", &folder]);
    let none = keys("rotate");
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stderr).contains("there is no signing key"), "{}", text(&none.stderr));
    assert!(std::fs::read_dir(data.path()).expect("a folder").next().is_none(), "nothing was made");
    let server = Serve::start(data.path(), &[]);
    assert_eq!(keys("rotate").status.code(), Some(3), "in use");
    let before = keys("show");
    server.end("-TERM");
    let id = text(&before.stdout).split(' ').next().expect("an ID").to_owned();
    assert!(id.starts_with("ed25519:") && text(&before.stdout).ends_with(" signs\n"));
    let after = keys("rotate");
    assert_eq!(after.status.code(), Some(0), "{}", text(&after.stderr));
    assert!(!text(&after.stdout).starts_with(&id));
    let until = format!("\n{id} signed until ");
    let (_, until) = text(&after.stdout).split_once(&until).expect("the former one");
    assert!(until.ends_with(" GMT\n") && until.contains(" 20"), "a date: {until}");
    assert_eq!(keys("show").stdout, after.stdout);
    // The server runs with the new one.
    let server = Serve::start(data.path(), &[]);
    assert_eq!(server.end("-TERM").0, Some(0));
    assert_eq!(keys("show").stdout, after.stdout);
}

#[test]
fn a_server_does_not_start_without_the_key_that_it_has_signed_with() {
    let (data, place) = (TempDir::new(), TempDir::new());
    let (folder, key) = (setting(data.path()), data.path().join("signing.key"));
    let keys = |what: &str| run(&["keys", what, "--set", &folder]);
    assert_eq!(keys("new").status.code(), Some(1));
    assert!(std::fs::read_dir(data.path()).expect("a folder").next().is_none(), "nothing was made");
    // An account that is made before the first start is no reason.
    assert_eq!(run(&["user", "add", "carl", "--set", &folder]).status.code(), Some(0));
    let server = Serve::start(data.path(), &[]);
    let copy = place.path().join("copy");
    assert!(run(&["backup", &copy.display().to_string(), "--set", &folder]).status.success());
    server.end("-TERM");
    let before = keys("show").stdout;
    assert_eq!(keys("new").status.code(), Some(1), "there is one");

    std::fs::remove_file(&key).expect("is there");
    for _ in 0..2 {
        let refused = run(&["serve", "--set", "listen=127.0.0.1:0", "--set", &folder]);
        let why = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(3), "{why}");
        assert!(why.contains("backup") && why.contains("pilotlight keys new"), "{why}");
        assert!(!key.exists(), "no other is made");
    }
    for what in ["show", "rotate"] {
        let refused = keys(what);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains("pilotlight keys new"), "{}", text(&refused.stderr));
    }
    std::fs::copy(copy.join("signing.key"), &key).expect("a backup has the key");
    assert_eq!(Serve::start(data.path(), &[]).end("-TERM").0, Some(0));
    assert_eq!(keys("show").stdout, before);

    std::fs::remove_file(&key).expect("is there");
    let new = keys("new");
    assert_eq!(new.status.code(), Some(0), "{}", text(&new.stderr));
    assert_ne!(new.stdout, before);
    assert_eq!(Serve::start(data.path(), &[]).end("-TERM").0, Some(0));
    assert_eq!(keys("show").stdout, new.stdout);
}

#[test]
fn o3_a_signing_key_without_a_database_is_a_lost_database_and_one_of_ones_own_is_installed_before_the_first_start()
 {
    let (data, own) = (TempDir::new(), TempDir::new());
    Serve::start(data.path(), &[]).end("-TERM");
    assert_eq!(run(&["keys", "rotate", "--set", &setting(data.path())]).status.code(), Some(0));
    let is_key = |name: &str| name.starts_with("signing.key");
    let names = || {
        let entries = std::fs::read_dir(data.path()).expect("a folder");
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
    };
    for name in names().filter(|name| !is_key(name)).collect::<Vec<_>>() {
        std::fs::remove_file(data.path().join(name)).expect("is there");
    }
    let folder = setting(data.path());
    let refused = |what: &[&str]| {
        let refused = run(&[what, &["--set", &folder]].concat());
        let why = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(3), "{why}");
        for words in ["is gone", "restore a backup", "pilotlight keys use FILE"] {
            assert!(why.contains(words), "{words}: {why}");
        }
        assert!(!data.path().join("pilotlight.db").exists(), "no other is made");
    };
    refused(&["serve", "--set", "listen=127.0.0.1:0"]);
    refused(&["user", "add", "ann"]);
    let key = data.path().join("signing.key");
    refused(&["keys", "use", &key.display().to_string()]);
    // The keys of former times alone say it too.
    let given = own.path().join("given");
    std::fs::rename(&key, &given).expect("moves");
    refused(&["serve", "--set", "listen=127.0.0.1:0"]);

    let (new, file) = (own.path().join("new"), given.display().to_string());
    let using = |file: &str| run(&["keys", "use", file, "--set", &setting(&new)]);
    let no_key = own.path().join("no-key");
    std::fs::write(&no_key, "ed25519 a_1").expect("writes");
    for bad in [no_key, own.path().join("nowhere")] {
        assert_eq!(using(&bad.display().to_string()).status.code(), Some(3));
        assert!(!new.exists(), "nothing was made");
    }
    let installed = using(&file);
    assert_eq!(installed.status.code(), Some(0), "{}", text(&installed.stderr));
    assert_eq!(using(&file).status.code(), Some(1), "there is one");
    assert_eq!(Serve::start(&new, &[]).end("-TERM").0, Some(0));
    assert_eq!(run(&["keys", "show", "--set", &setting(&new)]).stdout, installed.stdout);
    let (kept, given) = (std::fs::read(new.join("signing.key")), std::fs::read(given));
    assert_eq!(kept.expect("is there"), given.expect("is there"));
}

#[test]
fn what_is_refused_leaves_no_more_files_than_there_were() {
    let data = TempDir::new();
    Serve::start(data.path(), &[]).end("-TERM");
    let names = || {
        let entries = std::fs::read_dir(data.path()).expect("a folder");
        entries.map(|entry| entry.expect("an entry").file_name()).collect::<std::collections::BTreeSet<_>>()
    };
    let before = names();
    let other = ["--set", "server_name=other.org", "--set", &setting(data.path())];
    for command in [&["serve", "--set", "listen=127.0.0.1:0"][..], &["user", "add", "ann"], &["keys", "new"]]
    {
        let refused = run(&[command, &other].concat());
        assert_eq!(refused.status.code(), Some(3), "{}", text(&refused.stderr));
        assert_eq!(names(), before, "{command:?}");
    }
}

#[test]
fn o3_a_backup_of_a_busy_server_is_one_moment_of_it_and_can_be_served() {
    let (data, place) = (TempDir::new(), TempDir::new());
    let server = Serve::start(data.path(), &["--set", "rate_limits.enabled=false"]);
    let alice = server.client.clone().register("alice");
    let name = |n: u32| json!({ "displayname": format!("Alice {n}") });
    let profile = "/_matrix/client/v3/profile/@alice:localhost/displayname";
    let number = |answer: Value| {
        let name = answer["displayname"].as_str().expect("a name").to_owned();
        name.strip_prefix("Alice ").expect("a number").parse::<u32>().expect("a number")
    };
    alice.put(profile, name(0)).ok();
    let stop = AtomicBool::new(false);
    let (before, after) = std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1.. {
                alice.put(profile, name(n)).ok();
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let before = number(alice.get(profile).ok());
        let to = place.path().join("copy");
        let made = run(&["backup", &to.display().to_string(), "--set", &setting(data.path())]);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
        (before, number(alice.get(profile).ok()))
    });
    let copy = place.path().join("copy");
    let again = run(&["backup", &copy.display().to_string(), "--set", &setting(data.path())]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("already"), "{}", text(&again.stderr));
    server.end("-TERM");

    let keys = |of: &Path| run(&["keys", "show", "--set", &setting(of)]).stdout;
    assert_eq!(keys(&copy), keys(data.path()));
    let restored = Serve::start(&copy, &[]);
    let alice = restored.client.clone().with_token(&json!(alice.token));
    let kept = number(alice.get(profile).ok());
    assert!((before..=after + 1).contains(&kept), "{before} <= {kept} <= {after}");
    restored.client.clone().log_in("alice");
}

#[test]
fn o3_a_backup_of_nothing_or_of_something_damaged_leaves_nothing_behind() {
    let (data, place) = (TempDir::new(), TempDir::new());
    let to = place.path().join("copy");
    let attempt = || run(&["backup", &to.display().to_string(), "--set", &setting(data.path())]);
    assert_eq!(attempt().status.code(), Some(3));
    std::fs::write(data.path().join("pilotlight.db"), b"this is no database, however long it is ".repeat(99))
        .expect("writes");
    let refused = attempt();
    assert_eq!(refused.status.code(), Some(3));
    assert!(text(&refused.stderr).contains("not a database"), "{}", text(&refused.stderr));
    assert!(!to.exists());
}
