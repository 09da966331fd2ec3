//! Talking to other homeservers: finding them, proving who we are, and knowing who they are.
//!
//! Source: Matrix server-server API. What travels is decided elsewhere: rooms by `rooms`, presence
//! by the engine in the core; here are names, TLS, keys and signatures.

pub mod addresses;
pub mod answered;
pub mod body;
pub mod check;
pub mod client;
mod connect;
pub mod deliver;
pub mod fetch;
pub mod keyring;
pub mod presence;
pub mod profile;
pub mod queue;
pub mod resolve;
pub mod tls;

use std::sync::Arc;

pub use self::tls::TlsError;
use self::{
    addresses::Allowed, answered::Answered, body::Bodies, client::Client, deliver::TransactionIds,
    fetch::Fetch, keyring::Keyring, presence::Presence, queue::Queue, resolve::Resolver,
};
pub use super::api::federation::signed::Signed;
use super::{
    config::{Config, servers::Policy},
    keys::Signer,
};

/// How we introduce ourselves to other servers.
const USER_AGENT: &str = concat!("pilotlight/", env!("CARGO_PKG_VERSION"));

/// The parts with which this server speaks to others.
#[derive(Debug)]
pub struct Federation {
    /// Sends signed requests.
    pub client: Client,
    /// Knows other servers' keys.
    pub keyring: Keyring,
    /// Finds other servers.
    pub resolver: Arc<Resolver>,
    /// Whom this server speaks with.
    pub policy: Policy,
    /// What waits to be sent to other servers.
    pub queue: Queue,
    /// Presence towards other servers.
    pub presence: Presence,
    transaction_ids: TransactionIds,
    /// The transactions that were answered.
    pub answered: Answered,
    /// What bodies of requests may take.
    pub bodies: Bodies,
}

impl Federation {
    /// Puts the parts together; no connection is made yet. `epoch` is greater after each start.
    ///
    /// # Errors
    /// [`TlsError`] when a file of `federation.trusted_ca` cannot be used.
    pub fn new(config: &Config, signer: Arc<Signer>, epoch: u64) -> Result<Self, TlsError> {
        let tls = tls::client_config(&config.federation.trusted_ca)?;
        let allowed = Allowed(config.federation.allow_addresses.clone());
        let resolver = Arc::new(Resolver::new(Fetch::new(Arc::clone(&tls)), allowed));
        let client = Client::new(Arc::clone(&resolver), tls, signer);
        let policy = Policy::new(&config.federation);
        let engine = config.presence.engine();
        Ok(Self {
            keyring: Keyring::new(client.clone()),
            client,
            resolver,
            policy,
            queue: Queue::new(rand::random(), engine.backoff),
            presence: Presence::new(&config.server_name, epoch, engine, config.presence.offline_grace),
            transaction_ids: TransactionIds::new(epoch),
            answered: Answered::default(),
            bodies: Bodies::new(),
        })
    }
}
