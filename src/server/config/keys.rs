//! Every key of the configuration, in the order in which it is shown.

use std::{path::PathBuf, time::Duration};

use ruma::{RoomVersionId, ServerName};

use super::{Config, LogFormat, Registration, Secret, duration};

/// One key.
pub(super) struct Key {
    /// `key`, or `section.key`.
    pub(super) name: &'static str,
    /// What it does, for the operator.
    pub(super) help: &'static str,
    /// What it may be; completes "must be …".
    pub(super) allowed: &'static str,
    /// Reads a value; `None`: it is not allowed.
    pub(super) set: fn(&mut Config, &str) -> Option<()>,
    /// The value in effect.
    pub(super) show: fn(&Config) -> Shown,
}

/// A value as it stands in a TOML file.
pub(super) enum Shown {
    /// In quotes.
    Text(String),
    /// As it is: a number, `true` or `false`.
    Bare(String),
    /// No value.
    Unset,
}

/// The key of this name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The shortest and longest idle timeout.
const IDLE_TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(300);

/// The longest grace before a user is offline.
const LONGEST_GRACE: Duration = Duration::from_secs(3600);

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "server_name",
        help: "The name in user and room identifiers, as in @alice:NAME.\nOnce there are users it cannot be changed.",
        allowed: "a server name, such as example.org or localhost:8448",
        set: |c, v| ServerName::parse(v).ok().map(|name| c.server_name = name),
        show: |c| Shown::Text(c.server_name.to_string()),
    },
    Key {
        name: "data_dir",
        help: "Where the database and the signing keys are kept. Relative to where the server is started.",
        allowed: "the path of a folder",
        set: |c, v| (!v.is_empty()).then(|| c.data_dir = PathBuf::from(v)),
        show: |c| Shown::Text(c.data_dir.to_string_lossy().into_owned()),
    },
    Key {
        name: "listen",
        help: "Where the client API and the web client are served, over plain HTTP. With port 0 the system\nchooses one; the address is the first line that the server prints.",
        allowed: "an IP address and a port, such as 127.0.0.1:8008 or [::]:8008",
        set: |c, v| v.parse().ok().map(|address| c.listen = address),
        show: |c| Shown::Text(c.listen.to_string()),
    },
    Key {
        name: "public_url",
        help: "Where clients reach this server, when that is not `listen`: told at /.well-known/matrix/client.",
        allowed: "a URL with http:// or https:// and without a path, such as https://chat.example.org",
        set: |c, v| {
            let rest = v.strip_prefix("https://").or_else(|| v.strip_prefix("http://"))?;
            ServerName::parse(rest).ok().map(|_| c.public_url = Some(v.to_owned()))
        },
        show: |c| c.public_url.clone().map_or(Shown::Unset, Shown::Text),
    },
    Key {
        name: "registration",
        help: "Who may create an account: anybody (open), who knows registration_token (token), or nobody\n(closed: use `pilotlight user add`). When not given: open on a loopback address, else closed.",
        allowed: "open, token or closed",
        set: |c, v| {
            c.registration = match v {
                "open" => Registration::Open,
                "token" => Registration::Token,
                "closed" => Registration::Closed,
                _ => return None,
            };
            Some(())
        },
        show: |c| {
            Shown::Text(
                match c.registration {
                    Registration::Open => "open",
                    Registration::Token => "token",
                    Registration::Closed => "closed",
                }
                .into(),
            )
        },
    },
    Key {
        name: "registration_token",
        help: "What a new user must know when registration is \"token\".",
        allowed: "1 to 64 of the characters A-Z a-z 0-9 . _ ~ -",
        set: |c, v| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._~-".contains(&b);
            let valid = !v.is_empty() && v.len() <= 64 && v.bytes().all(allowed);
            valid.then(|| c.registration_token = Some(Secret::new(v)))
        },
        show: |c| c.registration_token.as_ref().map_or(Shown::Unset, |t| Shown::Text(t.as_str().into())),
    },
    Key {
        name: "rooms.default_version",
        help: "The version of rooms that are created without naming one.",
        allowed: "10, 11 or 12",
        set: |c, v| {
            c.rooms.default_version = match v {
                "10" => RoomVersionId::V10,
                "11" => RoomVersionId::V11,
                "12" => RoomVersionId::V12,
                _ => return None,
            };
            Some(())
        },
        show: |c| Shown::Text(c.rooms.default_version.to_string()),
    },
    Key {
        name: "presence.idle_timeout",
        help: "After this long without activity a device that does not report for itself is idle.",
        allowed: "a duration from 1m to 5m, such as 3m or 90s",
        set: |c, v| {
            duration::parse(v).filter(|d| IDLE_TIMEOUT.contains(d)).map(|d| c.presence.idle_timeout = d)
        },
        show: |c| Shown::Text(duration::show(c.presence.idle_timeout)),
    },
    Key {
        name: "presence.offline_grace",
        help: "How long a user stays what they were after their last device went: a reload, a tunnel, a\nrestarted router are not shown to others.",
        allowed: "a duration up to 1h, such as 30s",
        set: |c, v| duration::parse(v).filter(|d| *d <= LONGEST_GRACE).map(|d| c.presence.offline_grace = d),
        show: |c| Shown::Text(duration::show(c.presence.offline_grace)),
    },
    Key {
        name: "rate_limits.enabled",
        help: "Whether requests are limited per user and per address; docs/LIMITS.md has the figures.",
        allowed: "true or false",
        set: |c, v| v.parse().ok().map(|enabled| c.rate_limits.enabled = enabled),
        show: |c| Shown::Bare(c.rate_limits.enabled.to_string()),
    },
    Key {
        name: "log.format",
        help: "How a line of the log looks: for a person (human) or one JSON object a line (json).",
        allowed: "human or json",
        set: |c, v| {
            c.log.format = match v {
                "human" => LogFormat::Human,
                "json" => LogFormat::Json,
                _ => return None,
            };
            Some(())
        },
        show: |c| {
            Shown::Text(
                match c.log.format {
                    LogFormat::Human => "human",
                    LogFormat::Json => "json",
                }
                .into(),
            )
        },
    },
    Key {
        name: "log.level",
        help: "The least important thing that is logged. User identifiers are logged at debug and below only;\npasswords, tokens and messages never.",
        allowed: "error, warn, info, debug or trace",
        set: |c, v| {
            let known = ["error", "warn", "info", "debug", "trace"].contains(&v);
            known.then_some(v)?.parse().ok().map(|level| c.log.level = level)
        },
        show: |c| Shown::Text(c.log.level.to_string().to_lowercase()),
    },
];
