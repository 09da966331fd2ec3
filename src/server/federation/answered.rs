//! Each transaction of another server has its effect once: the last answers, by server and ID.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use ruma::{OwnedServerName, ServerName};

/// Servers whose answers are remembered; past that the memory starts anew.
const MAX_SERVERS: usize = 1_000;

/// The transactions that were answered, by the server that sent them.
#[derive(Debug, Default)]
pub struct Answered {
    servers: Mutex<HashMap<OwnedServerName, Arc<Turn>>>,
}

/// Held while a transaction of one server is worked on: the next one waits. The last answers, by ID.
pub type Turn = tokio::sync::Mutex<VecDeque<(String, Option<Arc<str>>)>>;

impl Answered {
    /// The turn of one server, and what it was answered last.
    pub fn of(&self, server: &ServerName) -> Arc<Turn> {
        let mut servers = self.servers.lock();
        if let Some(turn) = servers.get(server) {
            return Arc::clone(turn);
        }
        if servers.len() >= MAX_SERVERS {
            servers.clear();
        }
        Arc::clone(servers.entry(server.to_owned()).or_default())
    }
}
