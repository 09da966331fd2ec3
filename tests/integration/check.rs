//! O2: `pilotlight check` against real servers over TLS, and against each thing that can be wrong.

use std::{
    io::{Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
};

use serde_json::Value;

use super::{
    authority::{Authority, free_address},
    support::TempDir,
};

/// Runs `pilotlight check` with the authority's settings; the exit code and what it printed.
fn check(trusted: &Authority, server: &str, more: &[&str]) -> (Option<i32>, String) {
    let ca = format!("federation.trusted_ca={}", trusted.file("ca.pem").display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilotlight"));
    command.args(["check", server, "--set", &ca, "--set", "federation.allow_addresses=127.0.0.0/8,::1/128"]);
    let output = command.args(more).stdin(Stdio::null()).output().expect("starts");
    let text = String::from_utf8(output.stdout).expect("is text");
    (output.status.code(), text + &String::from_utf8_lossy(&output.stderr))
}

/// The first words of each line.
fn steps(text: &str) -> Vec<(&str, &str)> {
    text.lines().filter_map(|line| line.split_once(' ').map(|(a, b)| (a, b.trim_start()))).collect()
}

#[track_caller]
fn fails_at(step: &str, why: &str, (code, text): (Option<i32>, String)) {
    let failed: Vec<_> = steps(&text).into_iter().filter(|(outcome, _)| *outcome == "FAILED").collect();
    assert!(!failed.is_empty() && failed.iter().all(|(_, rest)| rest.starts_with(step)), "{text}");
    assert!(failed.iter().any(|(_, rest)| rest.contains(why)), "{text}");
    assert!(text.contains("cannot speak with"), "{text}");
    assert_eq!(code, Some(1), "{text}");
}

#[test]
fn o2_a_good_server_passes_every_step_and_its_version_and_key_are_shown() {
    let ca = Authority::new();
    let (name, server) = ca.trusting_server();
    let (code, text) = check(&ca, name.as_str(), &[]);
    assert_eq!(code, Some(0), "{text}");
    let version = format!("Pilotlight {}", env!("CARGO_PKG_VERSION"));
    for expected in
        ["TLSv1_3", "a valid certificate for localhost", &version, &server.app().rooms.signer.key_id()]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(text.ends_with(&format!("localhost can speak with {name}\n")), "{text}");
    let (code, json) = check(&ca, name.as_str(), &["--json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((code, &json["ok"], json["server"].as_str()), (Some(0), &true.into(), Some(name.as_str())));
    let done: Vec<_> = json["steps"].as_array().expect("steps").iter().map(|step| &step["step"]).collect();
    assert!(done.ends_with(&[&"version".into(), &"keys".into()]), "{json}");
}

#[test]
fn o2_a_signed_question_is_answered_while_the_asking_server_runs_and_refused_when_it_does_not() {
    let ca = Authority::new();
    let (name, _server) = ca.trusting_server();
    let (own_name, own) = ca.trusting_server();
    let ours =
        |own_data: &str, own_name: &str| [format!("data_dir={own_data}"), format!("server_name={own_name}")];
    let [data, own_set] = ours(&own.data_dir().display().to_string(), own_name.as_str());
    let signed = ["--signed", "--set", &data, "--set", &own_set];
    let (code, text) = check(&ca, name.as_str(), &signed);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("accepted: that server can fetch the keys of this one"), "{text}");
    // The same key under a name where nobody answers.
    let [_, elsewhere] = ours("", &format!("localhost:{}", free_address().port()));
    fails_at(
        "signature",
        "is this server running",
        check(&ca, name.as_str(), &["--signed", "--set", &data, "--set", &elsewhere]),
    );
    let empty = TempDir::new();
    let empty = format!("data_dir={}", empty.path().display());
    let (code, text) = check(&ca, name.as_str(), &["--signed", "--set", &empty]);
    assert!(code == Some(1) && text.contains("there is no signing key"), "{text}");
}

#[test]
fn o2_a_strangers_certificate_and_one_for_another_name_are_told_apart() {
    let (ca, stranger) = (Authority::new(), Authority::new());
    let (name, _server) = ca.trusting_server();
    // Authorities of the same name with different keys.
    fails_at("tls", "invalid peer certificate: BadSignature", check(&stranger, name.as_str(), &[]));
    let by_address = name.as_str().replace("localhost", "127.0.0.1");
    fails_at("tls", "not valid for name \"127.0.0.1\"", check(&ca, &by_address, &[]));
}

#[test]
fn o2_nothing_listening_no_address_and_a_forbidden_address_are_told_apart() {
    let ca = Authority::new();
    let dead = format!("localhost:{}", free_address().port());
    fails_at("tls", "refused", check(&ca, &dead, &[]));
    fails_at("addresses", "no address", check(&ca, "nowhere.invalid:8448", &[]));
    let strict = ["--set", "federation.allow_addresses="];
    fails_at("addresses", "federation.allow_addresses", check(&ca, &dead, &strict));
}

#[test]
fn o2_a_port_that_answers_without_tls_is_told_so() {
    let ca = Authority::new();
    for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-OpenSSH_9.6\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let name = format!("127.0.0.1:{}", listener.local_addr().expect("an address").port());
        let answers = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("is asked");
            let mut hello = [0; 64];
            stream.read_exact(&mut hello).expect("is asked something");
            stream.write_all(answer.as_bytes()).expect("answers");
            stream
        });
        fails_at("tls", "there is no TLS at this port", check(&ca, &name, &[]));
        drop(answers.join());
    }
}

#[test]
fn o2_what_answers_but_is_no_server_of_that_name_fails_at_its_keys() {
    let ca = Authority::new();
    // It answers at its port, and says that it is somebody else.
    let (name, _server) = ca.server(&ca.file("ca.pem"), |config| {
        config.server_name = "somebody.example".try_into().expect("a name");
    });
    fails_at("keys", "another server's", check(&ca, name.as_str(), &[]));
}

#[test]
fn o2_what_the_configuration_forbids_is_said_and_a_name_that_is_none_is_refused() {
    let ca = Authority::new();
    let (name, _server) = ca.trusting_server();
    let (code, text) = check(&ca, name.as_str(), &["--set", "federation.presence_deny_servers=localhost"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("shares no presence"), "{text}");
    let (_, text) = check(&ca, name.as_str(), &["--set", "federation.deny_servers=localhost"]);
    assert!(text.contains("forbids"), "{text}");
    assert_eq!(check(&ca, "not a name", &[]).0, Some(2));
}
