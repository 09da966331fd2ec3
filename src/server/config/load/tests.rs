//! What is read, what is refused, and what beats what.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::server::config::render;

fn from_file(text: &str) -> Result<Config, ConfigError> {
    load_text(Path::new("p.toml"), text)
}

fn from_flags(flags: &[&str]) -> Result<Config, ConfigError> {
    load(&Sources { flags: flags.iter().map(|flag| (*flag).to_owned()).collect(), ..Sources::default() })
}

#[test]
fn lists_are_arrays_in_a_file_and_have_commas_elsewhere() {
    let networks = |sources: &Sources| load(sources).map(|c| c.federation.allow_addresses);
    let expected: Vec<ipnet::IpNet> =
        ["127.0.0.0/8", "::1/128"].iter().map(|n| n.parse().expect("a network")).collect();
    let flags = |value: &str| Sources {
        flags: vec![format!("federation.allow_addresses={value}")],
        ..Sources::default()
    };
    assert_eq!(networks(&flags("127.0.0.0/8, ::1/128")).expect("is understood"), expected);
    assert!(networks(&flags("")).expect("is understood").is_empty());
    assert!(networks(&flags("127.0.0.0/8,")).is_err());
    for (array, understood) in [
        (r#"["127.0.0.0/8", "::1/128"]"#, true),
        (r#"["127.0.0.0/8,::1/128"]"#, false),
        ("[1]", false),
        ("[\"\"]", false),
        ("1.5", false),
        ("{ a = 1 }", false),
        (r#"[["::1/128"]]"#, false),
    ] {
        let mut loader = Loader::default();
        let read = loader.file(Path::new("c.toml"), &format!("[federation]\nallow_addresses = {array}\n"));
        assert_eq!(read.is_ok(), understood, "{array}");
        assert_eq!(loader.config.federation.allow_addresses == expected, understood, "{array}");
    }
}

#[test]
fn a_mistyped_section_is_told_with_its_line_and_the_one_that_was_meant() {
    for (text, told) in [
        (
            "\n[presnce]\nidle_timeout = \"2m\"\n",
            "p.toml:2: there is no section [presnce]; did you mean [presence]?",
        ),
        (
            "[metric]\nlisten = \"127.0.0.1:1\"\n",
            "p.toml:1: there is no section [metric]; did you mean [metrics]?",
        ),
        ("[storage]\n", "p.toml:1: there is no section [storage]; `pilotlight config` lists them all"),
        (
            "metric.listen = \"127.0.0.1:1\"\n",
            "p.toml:1: there is no section [metric]; did you mean [metrics]?",
        ),
    ] {
        assert_eq!(from_file(text).expect_err(text).to_string(), told);
    }
    let told = from_flags(&["metric.listen=127.0.0.1:1"]).expect_err("no key").to_string();
    assert_eq!(told, "--set: there is no key metric.listen; did you mean metrics.listen?");
}

#[test]
fn nothing_given_runs_on_loopback() {
    let config = from_flags(&[]).expect("loads");
    assert_eq!(config, Config::default());
    assert!(config.listen.ip().is_loopback());
    assert_eq!(config.registration, Registration::Open);
}

#[test]
fn registration_is_closed_off_loopback_unless_it_is_opened() {
    let table: &[(&[&str], Registration)] = &[
        (&["listen=0.0.0.0:80"], Registration::Closed),
        (&["listen=[::1]:80"], Registration::Open),
        (&["listen=0.0.0.0:80", "registration=open"], Registration::Open),
        (&["registration=closed"], Registration::Closed),
        (&["registration=token", "registration_token=x"], Registration::Token),
    ];
    for (flags, expected) in table {
        assert_eq!(from_flags(flags).expect("loads").registration, *expected, "{flags:?}");
    }
    let error = from_flags(&["registration=token"]).expect_err("no token").to_string();
    assert!(error.contains("registration_token"), "{error}");
}

#[test]
fn flags_beat_the_environment_which_beats_the_file() {
    let dir = std::env::temp_dir().join(format!("pilotlight-config-{}", std::process::id()));
    std::fs::write(
        &dir,
        "server_name = \"file\"\n[presence]\nidle_timeout = \"60s\"\noffline_grace = \"1s\"\n",
    )
    .expect("writes");
    let mut sources = Sources { file: Some(dir.clone()), ..Sources::default() };
    let mut seen = Vec::new();
    let mut look = |sources: &Sources| {
        let config = load(sources).expect("loads");
        seen.push((config.server_name.to_string(), config.presence.idle_timeout.as_secs()));
    };
    look(&sources);
    sources.environment = vec![
        ("PILOTLIGHT_PRESENCE__IDLE_TIMEOUT".into(), "2m".into()),
        ("PILOTLIGHT_SERVER_NAME".into(), "environment".into()),
        ("PILOTLIGHT_BIN".into(), "/somewhere".into()),
        ("PATH".into(), "/bin".into()),
    ];
    look(&sources);
    sources.flags = vec!["server_name=flag".into(), "server_name=last.flag".into()];
    look(&sources);
    std::fs::remove_file(dir).expect("removes");
    let expected = [("file", 60), ("environment", 120), ("last.flag", 120)];
    assert_eq!(seen, expected.map(|(name, secs)| (name.to_owned(), secs)));
}

#[test]
fn a_mistake_in_a_file_is_named_with_line_key_and_what_is_allowed() {
    let table = [
        ("server_name = \"a b\"", "p.toml:1: server_name must be a server name, such as example.org"),
        ("\n\nserver_nam = \"a\"", "p.toml:3: there is no key server_nam; did you mean server_name?"),
        (
            "[presence]\n\nidle_timeout = \"10m\"",
            "p.toml:3: presence.idle_timeout must be a duration from 1m to 5m",
        ),
        ("[presence]\nidle_timeout = 180", "p.toml:2: presence.idle_timeout must be a duration"),
        (
            "idle_timeout = \"3m\"",
            "p.toml:1: there is no key idle_timeout; did you mean presence.idle_timeout?",
        ),
        ("[presence]\noffline_grace = \"-1s\"", "p.toml:2: presence.offline_grace must be"),
        ("[presence]\noffline_grace = \"61m\"", "p.toml:2: presence.offline_grace must be"),
        ("[zzz]\nx = 1", "p.toml:1: there is no section [zzz]; `pilotlight config` lists them all"),
        ("presence = 3", "p.toml:1: there is no key presence"),
        ("[rooms.default_version]\nx = 1", "p.toml:1: rooms.default_version must be 10, 11 or 12"),
        ("[rooms]\ndefault_version = 9", "p.toml:2: rooms.default_version must be 10, 11 or 12"),
        ("[rate_limits]\nenabled = \"yes\"", "p.toml:2: rate_limits.enabled must be true or false"),
        ("[rate_limits]\nenabled = [true]", "p.toml:2: rate_limits.enabled must be true or false"),
        ("[rate_limits]\nuser_burst = 0", "p.toml:2: rate_limits.user_burst must be a whole number from 1"),
        ("[rate_limits]\nuser_burst = -1", "p.toml:2: rate_limits.user_burst must be a whole number from 1"),
        ("listen = \"localhost\"", "p.toml:1: listen must be an IP address and a port"),
        ("data_dir = \"\"", "p.toml:1: data_dir must be the path of a folder"),
        ("public_url = \"example.org\"", "p.toml:1: public_url must be a URL with http:// or https://"),
        ("public_url = \"https://example.org/x\"", "p.toml:1: public_url must be a URL"),
        ("presence.batch_window = \"61s\"", "p.toml:1: presence.batch_window must be a duration from 100ms"),
        ("presence.short_watchdog = \"0s\"", "p.toml:1: presence.short_watchdog must be a duration from 1s"),
        ("presence.long_watchdog = \"25h\"", "p.toml:1: presence.long_watchdog must be a duration from 1s"),
        (
            "[federation]\npresence_deny_servers = [\"a b\"]",
            "p.toml:2: federation.presence_deny_servers must be server names",
        ),
        ("registration = true", "p.toml:1: registration must be open, token or closed"),
        ("log.level = \"loud\"", "p.toml:1: log.level must be error, warn, info, debug or trace"),
        ("server_name = \"a\"\nserver_name = \"b\"", "p.toml:2: "),
        ("x = [", "p.toml:1: "),
    ];
    for (text, expected) in table {
        let error = from_file(text).expect_err(text).to_string();
        assert!(error.starts_with(expected), "{text:?} gives {error:?}");
    }
}

#[test]
fn a_mistake_elsewhere_is_named_with_its_place() {
    let variable = |name: &str, value: &str| {
        let environment = vec![(name.to_owned(), value.to_owned())];
        load(&Sources { environment, ..Sources::default() }).expect_err(name).to_string()
    };
    assert_eq!(
        variable("PILOTLIGHT_LISTEN", "80"),
        "environment variable PILOTLIGHT_LISTEN: listen must be an IP address and a port, such as 127.0.0.1:8008 or [::]:8008"
    );
    assert!(
        variable("PILOTLIGHT_PRESENCE_IDLE_TIMEOUT", "2m").contains("did you mean presence.idle_timeout?")
    );
    assert!(from_flags(&["listen"]).expect_err("no =").to_string().contains("key=value"));
    assert_eq!(
        from_flags(&["log.format=xml"]).expect_err("value").to_string(),
        "--set: log.format must be human or json"
    );
    let missing = Sources { file: Some("/nonexistent/p.toml".into()), ..Sources::default() };
    assert!(load(&missing).expect_err("no file").to_string().starts_with("cannot read /nonexistent/p.toml"));
}

#[test]
fn a_refused_secret_is_not_repeated() {
    let error = from_flags(&["registration_token=open sesame!"]).expect_err("a blank").to_string();
    assert!(!error.contains("sesame"), "{error}");
}

fn servers() -> impl Strategy<Value = Vec<ruma::OwnedServerName>> {
    prop::collection::vec(
        "[a-z]{1,9}(:[1-9][0-9]{0,3})?".prop_map(|name| name.try_into().expect("a name")),
        0..3,
    )
}

fn any_config() -> impl Strategy<Value = Config> {
    let texts = (
        "[a-z]{1,9}(\\.[a-z]{1,9}){0,2}(:[1-9][0-9]{0,3})?",
        "[^\\x00]{1,20}",
        any::<(std::net::IpAddr, u16)>(),
        prop::sample::select(vec![Registration::Open, Registration::Closed, Registration::Token]),
        prop::option::of("[A-Za-z0-9._~-]{1,64}"),
        prop::option::of("https?://[a-z]{1,9}(\\.[a-z]{1,9}){0,2}(:[1-9][0-9]{0,3})?"),
    );
    let rest = (
        prop::sample::select(vec!["10", "11", "12"]),
        60_000..=300_000_u64,
        0..=3_600_000_u64,
        (100..=60_000_u64, 1_000..=600_000_u64, 0..=3_600_000_u64),
        (prop::option::of(servers()), servers()),
        any::<bool>(),
        prop::sample::select(vec!["error", "warn", "info", "debug", "trace"]),
        any::<bool>(),
        1..=1_000_000_u32,
    );
    (texts, rest).prop_map(|((name, dir, listen, registration, token, url), rest)| {
        let (version, idle, grace, (batch, short, longer), (only, never), limits, level, json, rate) = rest;
        let mut config = Config::default();
        config.server_name = name.try_into().expect("a server name");
        config.data_dir = PathBuf::from(dir);
        config.public_url = url;
        config.listen = listen.into();
        config.registration_token = token.map(crate::server::config::Secret::new);
        config.registration = match (registration, &config.registration_token) {
            (Registration::Token, None) => Registration::Closed,
            (registration, _) => registration,
        };
        config.rooms.default_version = version.try_into().expect("a room version");
        config.presence.idle_timeout = Duration::from_millis(idle);
        config.presence.offline_grace = Duration::from_millis(grace);
        config.presence.batch_window = Duration::from_millis(batch);
        config.presence.short_watchdog = Duration::from_millis(short);
        config.presence.long_watchdog = Duration::from_millis(short + longer);
        config.federation.presence_allow_servers = only;
        config.federation.presence_deny_servers = never;
        config.metrics.listen = json.then_some(listen.into());
        config.rate_limits.enabled = limits;
        config.rate_limits.user_burst = rate;
        config.rate_limits.login_per_minute = rate;
        config.log.level = level.parse().expect("a level");
        if json {
            config.log.format = crate::server::config::LogFormat::Json;
        }
        config
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(config in any_config()) {
        prop_assert_eq!(from_file(&render(&config)).expect("reads its own output"), config);
    }

    #[test]
    fn no_file_makes_it_panic(text in ".*") {
        if let Err(e) = from_file(&text) {
            prop_assert!(e.to_string().starts_with("p.toml:"), "{e}");
        }
    }
}

#[test]
fn the_short_watchdog_is_no_longer_than_the_long_one() {
    let error =
        from_flags(&["presence.short_watchdog=2m", "presence.long_watchdog=1m"]).expect_err("refused");
    assert!(error.to_string().contains("must not be longer than presence.long_watchdog"), "{error}");
    let config = from_flags(&["presence.short_watchdog=1s", "presence.long_watchdog=1s"]).expect("loads");
    assert_eq!(config.presence.short_watchdog, config.presence.long_watchdog);
}

#[test]
fn a_turn_server_needs_a_secret_or_a_name_with_a_password_and_not_both() {
    let uris = "turn.uris=turn:turn.example.org:3478?transport=udp, turns:turn.example.org";
    for (flags, understood) in [
        (&[][..], true),
        (&[uris, "turn.shared_secret=north"], true),
        (&[uris, "turn.username=all", "turn.password=open sesame"], true),
        (&[uris], false),
        (&[uris, "turn.username=all"], false),
        (&[uris, "turn.password=open sesame"], false),
        (&[uris, "turn.shared_secret=north", "turn.username=all", "turn.password=open sesame"], false),
        (&[uris, "turn.shared_secret=north", "turn.shared_secret_file=/dev/null"], false),
        (&[uris, "turn.shared_secret_file=/dev/null"], false),
        (&[uris, "turn.shared_secret_file=/nowhere/at/all"], false),
        (&[uris, "turn.shared_secret="], false),
        (&["turn.uris=http://turn.example.org"], false),
        (&["turn.uris=turn:"], false),
        (&["turn.uris=turn:a b"], false),
        (&[uris, "turn.shared_secret=north", "turn.user_lifetime=1s"], false),
        (&[uris, "turn.shared_secret=north", "turn.user_lifetime=24h"], true),
    ] {
        assert_eq!(from_flags(flags).is_ok(), understood, "{flags:?}");
    }
}

#[test]
fn a_shared_secret_that_a_file_holds_is_used_and_not_shown() {
    let path = std::env::temp_dir().join(format!("pilotlight-turn-{}", std::process::id()));
    std::fs::write(&path, "north\n").expect("a file can be written");
    let named = format!("turn.shared_secret_file={}", path.display());
    let read = from_flags(&["turn.uris=turn:turn.example.org", &named]);
    std::fs::remove_file(&path).expect("and removed");
    let config = read.expect("is understood");
    assert_eq!(config.turn.shared_secret.as_ref().map(|secret| secret.as_str()), Some("north"));
    let shown = render(&config);
    assert!(!shown.contains("north") && shown.contains("#shared_secret ="), "{shown}");
    assert_eq!(from_file(&shown).expect("reads back").turn.uris, ["turn:turn.example.org"]);
}
