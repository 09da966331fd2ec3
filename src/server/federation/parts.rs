//! The parts with which this server speaks to others.

use std::{sync::Arc, time::Duration};

use ruma::ServerName;

use super::{
    addresses::Allowed,
    answered::Answered,
    client::Client,
    deliver::{Delivery, TransactionIds},
    fetch::Fetch,
    keyring::Keyring,
    lines::Lines,
    list_outbox::ListOutbox,
    presence::Presence,
    queue::Queue,
    resolve::Resolver,
    tls::{self, TlsError},
};
use crate::server::{
    change::feed::Feed,
    clock::Clock,
    config::{Config, servers::Policy},
    http::{
        Connections,
        bodies::{Bodies, BodyLimits},
    },
    keys::Signer,
    limits::Origin,
    metrics::Metrics,
    store::Store,
};

/// What is read of requests before anything is proven. The largest is a full transaction of 50 events and 100 EDUs; a
/// small one, a full transaction of presence.
const BODIES: BodyLimits = BodyLimits {
    largest: 10 << 20,
    small: 64 << 10,
    shared: 64 << 20,
    for_one: 24 << 20,
    timeout: Duration::from_secs(30),
};

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
    pub policy: Arc<Policy>,
    /// What waits to be sent to other servers.
    pub queue: Arc<Queue>,
    /// Presence towards other servers.
    pub presence: Arc<Presence>,
    /// What other servers are to be told of presence lists.
    pub lists: Arc<ListOutbox>,
    /// The transactions that were answered.
    pub answered: Answered,
    /// What bodies of requests may take.
    pub bodies: Bodies<Origin>,
    delivery: Arc<Delivery>,
    clock: Clock,
}

impl Federation {
    /// Puts the parts together; no connection is made yet. `epoch` is greater after each start.
    ///
    /// # Errors
    /// [`TlsError`] when a file of `federation.trusted_ca` cannot be used.
    pub fn new(
        config: &Config,
        epoch: u64,
        signer: Arc<Signer>,
        store: Arc<Store>,
        clock: Clock,
        feed: Arc<Feed>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, TlsError> {
        let tls = tls::client_config(&config.federation.trusted_ca)?;
        let allowed = Allowed(config.federation.allow_addresses.clone());
        let lines = Lines::new(Connections::allowed().out);
        let resolver = Arc::new(Resolver::new(Fetch::new(Arc::clone(&tls), lines.clone()), allowed));
        let client = Client::new(Arc::clone(&resolver), tls, signer, lines);
        let policy = Arc::new(Policy::new(&config.federation));
        let engine = config.presence.engine();
        let queue = Arc::new(Queue::new(rand::random(), engine.backoff));
        let presence = Arc::new(Presence::new(
            &config.server_name,
            epoch,
            engine,
            config.presence.offline_grace,
            (clock.clone(), feed),
            (Arc::clone(&policy), Arc::clone(&queue)),
        ));
        let lists = ListOutbox::new(Arc::clone(&store), Arc::clone(&queue), Arc::clone(&policy));
        let lists = Arc::new(lists);
        let delivery = Delivery {
            own: config.server_name.clone(),
            clock: clock.clone(),
            client: client.clone(),
            policy: Arc::clone(&policy),
            queue: Arc::clone(&queue),
            presence: Arc::clone(&presence),
            lists: Arc::clone(&lists),
            metrics,
            ids: TransactionIds::new(epoch),
        };
        Ok(Self {
            keyring: Keyring::new(client.clone(), store, clock.clone()),
            client,
            resolver,
            policy,
            queue,
            presence,
            lists,
            answered: Answered::default(),
            bodies: Bodies::new(BODIES),
            delivery: Arc::new(delivery),
            clock,
        })
    }

    /// A request came that proved to be from `peer`: it lives.
    pub fn handle_life_sign(&self, peer: &ServerName) {
        self.queue.handle_traffic(self.clock.now(), peer);
        self.presence.handle_traffic(peer);
    }

    /// Runs the timers of presence, and sends what is queued, with what earlier runs of the server left of lists,
    /// until the task is dropped.
    pub async fn run(&self) {
        if let Err(error) = self.lists.resume().await {
            tracing::error!(%error, "messages about presence lists cannot be read");
        }
        tokio::join!(self.presence.run(), self.presence.run_profiles(&self.client), self.delivery.run());
    }

    /// Before the end: sends what waits for servers that can be reached, within a second.
    pub async fn send_rest(&self) {
        self.presence.handle_flush();
        self.delivery.settle().await;
    }
}
