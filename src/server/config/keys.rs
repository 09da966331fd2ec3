//! Every key of the configuration, in the order in which it is shown.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use ruma::{OwnedServerName, RoomVersionId, ServerName};

use super::{
    duration,
    key::{Key, Shown},
    media, running,
    settings::{Registration, Secret},
    turn,
};

/// Every key, in the order in which it is shown.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    MAIN.iter().chain(media::KEYS).chain(turn::KEYS).chain(running::KEYS)
}

/// The key of this name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name)
}

/// The keys that take lists, for which a file has an array.
pub(super) const LISTS: [&str; 11] = [
    "application_services",
    "trusted_proxies",
    "federation.trusted_ca",
    "federation.allow_addresses",
    "federation.allow_servers",
    "federation.deny_servers",
    "federation.presence_allow_servers",
    "federation.presence_deny_servers",
    "federation.trusted_key_servers",
    "push.allow_addresses",
    "turn.uris",
];

fn path(value: &str) -> Option<PathBuf> {
    (!value.is_empty()).then(|| PathBuf::from(value))
}

fn show_path(path: Option<&Path>) -> Shown {
    path.map_or(Shown::Unset, |path| Shown::Text(path.to_string_lossy().into_owned()))
}

/// The parts of `value` between commas; none when it is empty.
fn list<T>(value: &str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    if value.is_empty() {
        return Some(Vec::new());
    }
    value.split(',').map(|part| read(part.trim())).collect()
}

/// The shortest and longest idle timeout.
const IDLE_TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(300);

/// How long an access token is good that comes with a refresh token.
const ACCESS_TOKEN_LIFETIME: RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(7 * 86_400);

/// The longest grace before a user is offline.
const LONGEST_GRACE: Duration = Duration::from_secs(3600);

/// For how long changes may be collected; below the 10 seconds of the source document for tests.
const BATCH_WINDOW: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// How long another server may be silent; what is promised to it holds twice as long.
const SHORT_WATCHDOG: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

/// How long another server may go without a reminder.
const LONG_WATCHDOG: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

fn within(range: RangeInclusive<Duration>, text: &str) -> Option<Duration> {
    duration::parse(text).filter(|duration| range.contains(duration))
}

fn servers(text: &str) -> Option<Vec<OwnedServerName>> {
    list(text, |name| ServerName::parse(name).ok())
}

fn show_servers(names: &[OwnedServerName]) -> Shown {
    Shown::List(names.iter().map(ToString::to_string).collect())
}

/// The keys of what the server does.
const MAIN: &[Key] = &[
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
        set: |c, v| path(v).map(|path| c.data_dir = path),
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
        name: "trusted_proxies",
        help: "Networks of reverse proxies, which are believed when they say in X-Forwarded-For for whom a request is.\nA proxy in another container or on another machine belongs here.",
        allowed: "networks, such as 10.0.0.0/8 or ::1/128",
        set: |c, v| list(v, |v| v.parse().ok()).map(|networks| c.trusted_proxies = networks),
        show: |c| Shown::List(c.trusted_proxies.iter().map(ToString::to_string).collect()),
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
        name: "min_password_length",
        help: "How many characters a new password has at least. The web client asks for 8 in any case.",
        allowed: "a whole number from 1 to 128",
        set: |c, v| {
            let length: u32 = v.parse().ok()?;
            (1..=128).contains(&length).then(|| c.min_password_length = length)
        },
        show: |c| Shown::Bare(c.min_password_length.to_string()),
    },
    Key {
        name: "access_token_lifetime",
        help: "How long the access token is good of a client that knows how to get the next one (it says so when it\nlogs in). That of others is good until they log out.",
        allowed: "a duration from 10s to 168h, such as 5m",
        set: |c, v| within(ACCESS_TOKEN_LIFETIME, v).map(|d| c.access_token_lifetime = d),
        show: |c| Shown::Text(duration::show(c.access_token_lifetime)),
    },
    Key {
        name: "application_services",
        help: "Registration files of application services: bridges and bots that may act as users of theirs. Read when the\nserver starts; relative to where that is.",
        allowed: "paths of YAML files",
        set: |c, v| list(v, path).map(|paths| c.application_services = paths),
        show: |c| {
            Shown::List(
                c.application_services.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
            )
        },
    },
    Key {
        name: "guests",
        help: "Whether anybody may come in without an account of their own, as a guest: into rooms that let guests in,\nand of rooms on other servers into those that somebody else of this server is in. Who is not seen for 30 days is gone.",
        allowed: "true or false",
        set: |c, v| v.parse().ok().map(|guests| c.guests = guests),
        show: |c| Shown::Bare(c.guests.to_string()),
    },
    Key {
        name: "rooms.default_version",
        help: "The version of rooms that are created without naming one. Clients can ask for 3 to 12.",
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
        set: |c, v| within(IDLE_TIMEOUT, v).map(|d| c.presence.idle_timeout = d),
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
        name: "presence.batch_window",
        help: "How long changes are collected before one message takes them to another server. Longer: fewer\nmessages, later news; 10s to 60s are sensible, less is for tests.",
        allowed: "a duration from 100ms to 60s, such as 10s",
        set: |c, v| within(BATCH_WINDOW, v).map(|d| c.presence.batch_window = d),
        show: |c| Shown::Text(duration::show(c.presence.batch_window)),
    },
    Key {
        name: "presence.short_watchdog",
        help: "After this long without a word of another server it is reminded and asked. What it was told holds\ntwice as long: then it shows our users as unknown.",
        allowed: "a duration from 1s to 10m, such as 1m, and no longer than presence.long_watchdog",
        set: |c, v| within(SHORT_WATCHDOG, v).map(|d| c.presence.short_watchdog = d),
        show: |c| Shown::Text(duration::show(c.presence.short_watchdog)),
    },
    Key {
        name: "presence.long_watchdog",
        help: "After this long without a reminder of another server, however much else it says, it is reminded\nand asked.",
        allowed: "a duration from 1s to 24h, such as 1h",
        set: |c, v| within(LONG_WATCHDOG, v).map(|d| c.presence.long_watchdog = d),
        show: |c| Shown::Text(duration::show(c.presence.long_watchdog)),
    },
    Key {
        name: "presence.restart_grace",
        help: "How long after a restart of the server users stay what they were before it: the time that their\nclients have to come back.",
        allowed: "a duration up to 1h, such as 1m",
        set: |c, v| duration::parse(v).filter(|d| *d <= LONGEST_GRACE).map(|d| c.presence.restart_grace = d),
        show: |c| Shown::Text(duration::show(c.presence.restart_grace)),
    },
    Key {
        name: "presence.max_room_members",
        help: "A room with more members than this does not show them each other's presence; lists do as\nbefore. 0: every room does.",
        allowed: "a whole number from 0 to 1000000",
        set: |c, v| v.parse().ok().filter(|n| *n <= 1_000_000).map(|n| c.presence.max_room_members = n),
        show: |c| Shown::Bare(c.presence.max_room_members.to_string()),
    },
    Key {
        name: "federation.listen",
        help: "Where other servers are answered, over TLS. Without it this server is on its own.",
        allowed: "an IP address and a port, such as [::]:8448",
        set: |c, v| v.parse().ok().map(|address| c.federation.listen = Some(address)),
        show: |c| c.federation.listen.map_or(Shown::Unset, |address| Shown::Text(address.to_string())),
    },
    Key {
        name: "federation.tls_certificate",
        help: "The certificate chain shown to other servers, for the name by which they reach this one.",
        allowed: "the path of a PEM file",
        set: |c, v| path(v).map(|path| c.federation.tls_certificate = Some(path)),
        show: |c| show_path(c.federation.tls_certificate.as_deref()),
    },
    Key {
        name: "federation.tls_private_key",
        help: "The private key of that certificate.",
        allowed: "the path of a PEM file",
        set: |c, v| path(v).map(|path| c.federation.tls_private_key = Some(path)),
        show: |c| show_path(c.federation.tls_private_key.as_deref()),
    },
    Key {
        name: "federation.trusted_ca",
        help: "Certification authorities that are trusted beside those of the system: for other servers, push gateways and\napplication services.",
        allowed: "paths of PEM files",
        set: |c, v| list(v, path).map(|paths| c.federation.trusted_ca = paths),
        show: |c| {
            Shown::List(
                c.federation.trusted_ca.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
            )
        },
    },
    Key {
        name: "federation.allow_addresses",
        help: "Networks in which other servers may be, though they are private or loopback.",
        allowed: "networks, such as 10.0.0.0/8 or ::1/128",
        set: |c, v| list(v, |v| v.parse().ok()).map(|networks| c.federation.allow_addresses = networks),
        show: |c| Shown::List(c.federation.allow_addresses.iter().map(ToString::to_string).collect()),
    },
    Key {
        name: "federation.allow_servers",
        help: "Only these servers are spoken with. A name without a port stands for every port.",
        allowed: "server names",
        set: |c, v| servers(v).map(|names| c.federation.allow_servers = Some(names)),
        show: |c| c.federation.allow_servers.as_deref().map_or(Shown::Unset, show_servers),
    },
    Key {
        name: "federation.deny_servers",
        help: "These servers are never spoken with.",
        allowed: "server names",
        set: |c, v| servers(v).map(|names| c.federation.deny_servers = names),
        show: |c| show_servers(&c.federation.deny_servers),
    },
    Key {
        name: "federation.presence_allow_servers",
        help: "Presence goes to and is taken from these servers only, of those that are spoken with at all.",
        allowed: "server names",
        set: |c, v| servers(v).map(|names| c.federation.presence_allow_servers = Some(names)),
        show: |c| c.federation.presence_allow_servers.as_deref().map_or(Shown::Unset, show_servers),
    },
    Key {
        name: "federation.presence_deny_servers",
        help: "No presence goes to or is taken from these servers: neither statuses nor presence lists.",
        allowed: "server names",
        set: |c, v| servers(v).map(|names| c.federation.presence_deny_servers = names),
        show: |c| show_servers(&c.federation.presence_deny_servers),
    },
    Key {
        name: "federation.trusted_key_servers",
        help: "Servers that are believed what they say of the signing keys of others which cannot be asked themselves: so\nthat rooms can be joined in which servers took part that are gone. They could make keys up.",
        allowed: "server names",
        set: |c, v| servers(v).map(|names| c.federation.trusted_key_servers = names),
        show: |c| show_servers(&c.federation.trusted_key_servers),
    },
    Key {
        name: "push.allow_addresses",
        help: "Networks in which push gateways may be, though they are private or loopback. Users name them.",
        allowed: "networks, such as 10.0.0.0/8 or ::1/128",
        set: |c, v| list(v, |v| v.parse().ok()).map(|networks| c.push.allow_addresses = networks),
        show: |c| Shown::List(c.push.allow_addresses.iter().map(ToString::to_string).collect()),
    },
    Key {
        name: "metrics.listen",
        help: "Where Prometheus is answered (GET /metrics), over plain HTTP and to everybody who can reach it: keep\nit on loopback or in a private network. Without it nowhere.",
        allowed: "an IP address and a port, such as 127.0.0.1:9108",
        set: |c, v| v.parse().ok().map(|address| c.metrics.listen = Some(address)),
        show: |c| c.metrics.listen.map_or(Shown::Unset, |address| Shown::Text(address.to_string())),
    },
];
