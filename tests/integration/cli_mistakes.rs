//! O1: mistakes on the command line, in files and folders: one clear line, and the code that scripts look at.

use crate::{
    cli::{Serve, run, setting},
    support::TempDir,
};

/// What every command says that reads the configuration.
const SETTINGS: [&[&str]; 8] = [
    &["serve", "--set", "listen=127.0.0.1:0"],
    &["config"],
    &["user", "add", "ann"],
    &["check", "localhost:1"],
    &["peers"],
    &["backup", "copy"],
    &["keys", "show"],
    &["keys", "rotate"],
];

/// Runs it; the one line that it says after `pilotlight: `.
fn refusal(args: &[&str], code: i32) -> String {
    let output = run(args);
    let said = String::from_utf8(output.stderr).expect("is text");
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{args:?}: {said}");
    let line = said.lines().last().expect("says why").to_owned();
    assert_eq!(said.matches("pilotlight: ").count(), 1, "{args:?}: {said}");
    line
}

#[test]
fn a_configuration_that_cannot_be_used_is_refused_by_every_command_in_one_line() {
    let place = TempDir::new();
    let file = |name: &str, content: &[u8]| {
        let path = place.path().join(name);
        std::fs::write(&path, content).expect("writes");
        path.display().to_string()
    };
    let (section, syntax) = (file("section.toml", b"[presnce]\nx = 1\n"), file("syntax.toml", b"\na = [\n"));
    let (bytes, value) = (file("bytes.toml", b"\xff\xfe"), file("value.toml", b"[log]\nlevel = 7\n"));
    let (folder, missing) =
        (place.path().display().to_string(), place.path().join("none").display().to_string());
    let table: [(&[&str], &str); 13] = [
        (&["--config", &section], "section.toml:1: there is no section [presnce]; did you mean [presence]?"),
        (&["--config", &syntax], "syntax.toml:"),
        (&["--config", &bytes], "cannot read"),
        (&["--config", &value], "value.toml:2: log.level must be"),
        (&["--config", &folder], "cannot read"),
        (&["--config", &missing], "cannot read"),
        (&["--set", "presnce.idle_timeout=1m"], "did you mean presence.idle_timeout?"),
        (&["--set", "presnce.x=1"], "there is no section [presnce]; did you mean [presence]?"),
        (&["--set", "metric.listen=[::1]:1"], "did you mean metrics.listen?"),
        (&["--set", "database.url=x"], "there is no key database.url; `pilotlight config` lists them all"),
        (&["--set", "nonsense"], "--set takes key=value"),
        (&["--set", "="], "there is no key"),
        (&["--set", "server_name=a b"], "server_name must be"),
    ];
    for command in SETTINGS {
        for (more, expected) in table {
            let line = refusal(&[command, more].concat(), 2);
            assert!(line.contains(expected), "{command:?} {more:?}: {line}");
        }
    }
    assert!(!std::path::Path::new("copy").exists(), "nothing was made");
}

#[test]
fn a_folder_that_cannot_be_used_is_named_with_why() {
    let place = TempDir::new();
    let (file, new) = (place.path().join("file"), place.path().join("new"));
    std::fs::write(&file, "").expect("writes");
    let (file, new) = (setting(&file), setting(&new));
    let nowhere = setting(std::path::Path::new("/proc/nowhere"));
    let to = place.path().join("to").display().to_string();
    let table: [(&[&str], &str, i32, &str); 15] = [
        (&["serve", "--set", "listen=127.0.0.1:0"], &file, 3, "it is a file, not a folder"),
        (&["serve", "--set", "listen=127.0.0.1:0"], &nowhere, 3, "cannot use /proc/nowhere"),
        (&["user", "add", "ann"], &file, 3, "it is a file, not a folder"),
        (&["user", "add", "ann"], &nowhere, 3, "cannot use /proc/nowhere"),
        (&["peers"], &file, 1, "control.sock"),
        (&["peers"], &new, 1, "no server runs on"),
        (&["backup", &to], &file, 3, "there is no such file"),
        (&["backup", &to], &new, 3, "there is no such file"),
        (&["keys", "show"], &file, 3, "signing.key"),
        (&["keys", "show"], &new, 1, "there is no signing key"),
        (&["keys", "rotate"], &new, 1, "there is no signing key"),
        (&["keys", "new"], &file, 1, "there is no server's data"),
        (&["keys", "new"], &new, 1, "there is no server's data"),
        (&["check", "localhost:1", "--signed"], &new, 1, "there is no signing key"),
        (&["keys", "use", "/nowhere"], &new, 3, "cannot use /nowhere"),
    ];
    for (command, data, code, expected) in table {
        let line = refusal(&[command, &["--set", data]].concat(), code);
        assert!(line.contains(expected), "{command:?} {data}: {line}");
    }
    assert_eq!(std::fs::read_dir(place.path()).expect("a folder").count(), 1, "nothing was made");
}

#[test]
fn words_that_are_missing_unknown_or_too_many_are_told_with_how_it_is_used() {
    let table: [&[&str]; 16] = [
        &["user"],
        &["user", "add"],
        &["user", "drop"],
        &["user", "add", "a", "b"],
        &["check"],
        &["check", "a b"],
        &["backup"],
        &["backup", "a", "b"],
        &["keys"],
        &["keys", "dance"],
        &["completions"],
        &["completions", "nosh"],
        &["simulate", "--hours", "x"],
        &["serve", "now"],
        &["peers", "--nope"],
        &["config", "--set"],
    ];
    for args in table {
        let output = run(args);
        let said = String::from_utf8(output.stderr).expect("is text");
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains("Usage: pilotlight") || said.contains("--help"), "{args:?}: {said}");
        assert!(output.stdout.is_empty() && !said.contains("panicked"), "{args:?}: {said}");
    }
}

#[test]
fn o3_a_backup_without_the_signing_key_says_so_and_is_served_with_it_only() {
    let (data, place) = (TempDir::new(), TempDir::new());
    let key = data.path().join("signing.key");
    // Of an account that is made before the first start there is no key to lose.
    assert!(run(&["user", "add", "ann", "--set", &setting(data.path())]).status.success());
    let early = place.path().join("early").display().to_string();
    assert!(run(&["backup", &early, "--set", &setting(data.path())]).status.success());
    Serve::start(data.path(), &[]).end("-TERM");
    let kept = std::fs::read(&key).expect("is there");
    std::fs::remove_file(&key).expect("is there");
    let to = place.path().join("copy");
    let line = refusal(&["backup", &to.display().to_string(), "--set", &setting(data.path())], 3);
    for expected in ["signing.key", "it is gone", "pilotlight keys new", "has the database alone"] {
        assert!(line.contains(expected), "{line}");
    }
    assert!(to.join("pilotlight.db").exists(), "what there is, is copied");
    let line = refusal(&["serve", "--set", "listen=127.0.0.1:0", "--set", &setting(&to)], 3);
    assert!(line.contains("put it back from a backup") && line.contains("pilotlight keys new"), "{line}");
    std::fs::write(to.join("signing.key"), kept).expect("writes");
    assert_eq!(Serve::start(&to, &[]).end("-TERM").0, Some(0));
}
