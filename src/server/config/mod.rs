//! The configuration: defaults that run, then a TOML file, then the environment, then flags.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use ruma::{OwnedServerName, RoomVersionId, owned_server_name};

/// The effective configuration of one homeserver.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name in user and room identifiers. Default: `localhost`.
    pub server_name: OwnedServerName,
    /// Where the database and the signing keys are kept. Default: `./data`.
    pub data_dir: PathBuf,
    /// Where the client API and the web client are served, over plain HTTP. Default: `127.0.0.1:8008`.
    pub listen: SocketAddr,
    /// Who may create accounts. Default: open when `listen` is a loopback address, else closed.
    pub registration: Registration,
    /// Settings of rooms.
    pub rooms: Rooms,
}

/// Who may create accounts through the client API.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Registration {
    /// Anybody.
    Open,
    /// Whoever knows a registration token.
    Token,
    /// Nobody: the operator adds users on the command line.
    Closed,
}

/// Settings of rooms.
#[derive(Clone, Debug)]
pub struct Rooms {
    /// The version of rooms created without naming one: 10, 11 or 12. Default: 12.
    pub default_version: RoomVersionId,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server_name: owned_server_name!("localhost"),
            data_dir: PathBuf::from("data"),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8008)),
            registration: Registration::Open,
            rooms: Rooms { default_version: RoomVersionId::V12 },
        }
    }
}
