//! The effective configuration, with its defaults.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use ruma::{OwnedServerName, RoomVersionId, owned_server_name};

use crate::core::visibility::RoomLimit;

/// The effective configuration of one homeserver.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// The name in user and room identifiers. Default: `localhost`.
    pub server_name: OwnedServerName,
    /// Where the database and the signing keys are kept. Default: `./data`.
    pub data_dir: PathBuf,
    /// Where the client API and the web client are served, over plain HTTP. Default: `127.0.0.1:8008`.
    pub listen: SocketAddr,
    /// Where clients reach this server, for `/.well-known/matrix/client`. Default: not told.
    pub public_url: Option<String>,
    /// The networks of proxies, which are believed when they say in `X-Forwarded-For` for whom a request is. Default:
    /// loopback.
    pub trusted_proxies: Vec<IpNet>,
    /// Who may create accounts. Default: open when `listen` is a loopback address, else closed.
    pub registration: Registration,
    /// What a new user must know when `registration` is `token`. Default: none.
    pub registration_token: Option<Secret>,
    /// How many characters a new password has at least. Default: 1.
    pub min_password_length: u32,
    /// How long an access token is good that comes with a refresh token. Default: 5 minutes.
    pub access_token_lifetime: Duration,
    /// Registration files of application services. Default: none.
    pub application_services: Vec<PathBuf>,
    /// Whether anybody may come in as a guest. Default: no.
    pub guests: bool,
    /// Settings of rooms.
    pub rooms: Rooms,
    /// Settings of presence.
    pub presence: Presence,
    /// Settings of the traffic with other servers.
    pub federation: Federation,
    /// Settings of push notifications.
    pub push: Push,
    /// Settings of uploaded files.
    pub media: Media,
    /// The TURN server that clients are told of.
    pub turn: Turn,
    /// Settings of what is told to Prometheus.
    pub metrics: Metrics,
    /// Settings of connections.
    pub connections: Connections,
    /// Settings of rate limits.
    pub rate_limits: RateLimits,
    /// Settings of the log.
    pub log: Log,
}

/// Who may create accounts through the client API.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Registration {
    /// Anybody.
    Open,
    /// Whoever knows the registration token.
    Token,
    /// Nobody: the operator adds users on the command line.
    Closed,
}

/// Settings of rooms.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rooms {
    /// The version of rooms created without naming one: 10, 11 or 12. Default: 12.
    pub default_version: RoomVersionId,
}

/// Settings of presence.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Presence {
    /// After this long without activity a device that does not report for itself is idle: 1 to 5 minutes.
    /// Default: 3 minutes.
    pub idle_timeout: Duration,
    /// How long a user stays what they were after their last device went. Default: 30 seconds.
    pub offline_grace: Duration,
    /// How long users seen connected before a restart of the server are still seen so after it. Default: 1 minute.
    pub restart_grace: Duration,
    /// A room with more members than this does not make them visible to each other; 0: every room does.
    /// Default: 0.
    pub max_room_members: u32,
    /// How long changes are collected before one message takes them to another server. Default: 10 seconds.
    pub batch_window: Duration,
    /// Silence of another server after which it is reminded and asked. Default: 1 minute.
    pub short_watchdog: Duration,
    /// Time without a reminder of another server after which it is reminded and asked. Default: 1 hour.
    pub long_watchdog: Duration,
}

impl Presence {
    /// Up to which size a room makes its members visible to each other.
    pub fn room_limit(&self) -> RoomLimit {
        match self.max_room_members {
            0 => RoomLimit::None,
            most => RoomLimit::Members(usize::try_from(most).unwrap_or(usize::MAX)),
        }
    }
}

/// Settings of the traffic with other servers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Federation {
    /// Where other servers are answered, over TLS. Default: nowhere, and then none is asked either.
    pub listen: Option<SocketAddr>,
    /// PEM file: the certificate chain shown to other servers.
    pub tls_certificate: Option<PathBuf>,
    /// PEM file: the key of the first certificate in `tls_certificate`.
    pub tls_private_key: Option<PathBuf>,
    /// PEM files: certification authorities that are trusted beside the system's.
    pub trusted_ca: Vec<PathBuf>,
    /// Networks that may be dialled though they are private or loopback.
    pub allow_addresses: Vec<IpNet>,
    /// Only these servers are spoken with. Default: `None`, all.
    pub allow_servers: Option<Vec<OwnedServerName>>,
    /// These servers are never spoken with.
    pub deny_servers: Vec<OwnedServerName>,
    /// Presence is shared with these servers only. Default: `None`, all that are spoken with.
    pub presence_allow_servers: Option<Vec<OwnedServerName>>,
    /// Presence is never shared with these servers.
    pub presence_deny_servers: Vec<OwnedServerName>,
    /// Servers that are believed what they say of the keys of others. Default: none.
    pub trusted_key_servers: Vec<OwnedServerName>,
}

/// Settings of push notifications.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Push {
    /// Networks of push gateways that may be dialled though they are private or loopback.
    pub allow_addresses: Vec<IpNet>,
}

/// Settings of uploaded files. All sizes in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Media {
    /// The largest file; 0: nothing can be uploaded. Default: 100 MiB.
    pub max_upload_size: u64,
    /// What one user's files may have together; 0: no limit. Default: 10 GiB.
    pub user_quota: u64,
    /// What all users' files may have together; 0: no limit. Default: 0.
    pub quota: u64,
    /// What is kept of other servers' files. Default: 1 GiB.
    pub remote_cache: u64,
    /// What is kept of thumbnails. Default: 1 GiB.
    pub thumbnail_cache: u64,
    /// What files leave free of the disk. Default: 256 MiB.
    pub keep_free: u64,
}

/// What clients are told of a TURN server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Turn {
    /// Where it is. Default: nowhere, and then clients are told of none.
    pub uris: Vec<String>,
    /// What it shares with this server, to know credentials that were given out here (coturn's `static-auth-secret`).
    pub shared_secret: Option<Secret>,
    /// The file that the shared secret was read from.
    pub shared_secret_file: Option<PathBuf>,
    /// For how long credentials made of the secret hold, and after how long the others are asked for again. Default: 1 hour.
    pub user_lifetime: Duration,
    /// The name that everybody uses, where there is no secret.
    pub username: Option<String>,
    /// The password to that name.
    pub password: Option<Secret>,
}

/// Settings of what is told to Prometheus.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Metrics {
    /// Where `GET /metrics` is answered, over plain HTTP. Default: nowhere.
    pub listen: Option<SocketAddr>,
}

/// Settings of connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Connections {
    /// Connections from one address at once, at each listener. Default: 1000.
    pub per_address: u32,
}

/// Settings of rate limits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RateLimits {
    /// Whether requests are limited at all. Default: yes.
    pub enabled: bool,
    /// Requests of one user, a second, in the long run. Default: 50.
    pub user_per_second: u32,
    /// Requests of one user, at once. Default: 500.
    pub user_burst: u32,
    /// What one user says of their presence, a second, in the long run. Default: 10.
    pub presence_per_second: u32,
    /// What one user says of their presence, at once. Default: 50.
    pub presence_burst: u32,
    /// Requests without an account from one address, a second, in the long run. Default: 20.
    pub address_per_second: u32,
    /// Requests without an account from one address, at once. Default: 500.
    pub address_burst: u32,
    /// Requests of one other server, a second, in the long run. Default: 50.
    pub server_per_second: u32,
    /// Requests of one other server, at once. Default: 500.
    pub server_burst: u32,
    /// Wrong passwords for one account from one address, a minute, in the long run. Default: 10.
    pub login_per_minute: u32,
    /// Wrong passwords for one account from one address, at once. Default: 20.
    pub login_burst: u32,
}

/// Settings of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Log {
    /// How a line looks. Default: human.
    pub format: LogFormat,
    /// The least important thing that is logged. Default: info.
    pub level: tracing::Level,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// For a person.
    Human,
    /// One JSON object a line.
    Json,
}

/// A word that must not get into logs: its `Debug` form shows nothing.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret word.
    pub fn new(word: impl Into<String>) -> Self {
        Self(word.into())
    }

    /// The word itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server_name: owned_server_name!("localhost"),
            data_dir: PathBuf::from("data"),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8008)),
            public_url: None,
            trusted_proxies: vec![
                IpNet::from(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
                IpNet::from(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
            ],
            registration: Registration::Open,
            registration_token: None,
            min_password_length: 1,
            access_token_lifetime: Duration::from_secs(300),
            guests: false,
            application_services: Vec::new(),
            rooms: Rooms { default_version: RoomVersionId::V12 },
            presence: Presence::default(),
            federation: Federation::default(),
            push: Push::default(),
            media: Media::default(),
            turn: Turn::default(),
            metrics: Metrics::default(),
            connections: Connections { per_address: 1000 },
            rate_limits: RateLimits::default(),
            log: Log::default(),
        }
    }
}

impl Default for Presence {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(180),
            offline_grace: Duration::from_secs(30),
            restart_grace: Duration::from_secs(60),
            max_room_members: 0,
            batch_window: Duration::from_secs(10),
            short_watchdog: Duration::from_secs(60),
            long_watchdog: Duration::from_secs(3600),
        }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            max_upload_size: 100 << 20,
            user_quota: 10 << 30,
            quota: 0,
            remote_cache: 1 << 30,
            thumbnail_cache: 1 << 30,
            keep_free: 256 << 20,
        }
    }
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            uris: Vec::new(),
            shared_secret: None,
            shared_secret_file: None,
            user_lifetime: Duration::from_secs(3600),
            username: None,
            password: None,
        }
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            enabled: true,
            user_per_second: 50,
            user_burst: 500,
            presence_per_second: 10,
            presence_burst: 50,
            address_per_second: 20,
            address_burst: 500,
            server_per_second: 50,
            server_burst: 500,
            login_per_minute: 10,
            login_burst: 20,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Human, level: tracing::Level::INFO }
    }
}
