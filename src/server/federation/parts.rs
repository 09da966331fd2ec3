//! The parts with which this server speaks to others.

use std::{sync::Arc, time::Duration};

use ruma::ServerName;

use super::{
    answered::Answered,
    away::Away,
    client::Client,
    deliver::{Delivery, TransactionIds},
    device_outbox::DeviceOutbox,
    keyring::Keyring,
    list_outbox::ListOutbox,
    outbox::Outbox,
    presence::Presence,
    queue::Queue,
    resolve::Resolver,
    room_edus::RoomEdus,
};
use crate::{
    core::time::Instant,
    server::{
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
        outgoing::{
            addresses::Allowed,
            lines::Lines,
            shares::Shares,
            tls::{TlsError, Trust},
        },
        store::Store,
    },
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

/// Bytes that all answers with states and auth chains have on the disk together, and those of one server: the largest of them.
const ON_DISK: usize = 1 << 30;
const ON_DISK_OF_ONE: usize = 256 << 20;

/// The same of answers to joins; and how many large ones are looked at together.
const JOINS: usize = 2 << 30;
const JOINS_OF_ONE: usize = 1 << 30;
const LARGE_JOINS: usize = 2;

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
    /// What rooms have other servers told.
    pub outbox: Arc<Outbox>,
    /// What they are told of rooms beside events.
    pub room_edus: RoomEdus,
    /// What other servers are to be told of presence lists.
    pub lists: Arc<ListOutbox>,
    /// What other servers are to be told of devices, and messages for theirs.
    pub devices: Arc<DeviceOutbox>,
    /// Servers that could not be reached a moment ago.
    pub away: Away,
    /// The transactions that were answered.
    pub answered: Answered,
    /// What bodies of requests may take.
    pub bodies: Bodies<Origin>,
    /// What answers may take that are too large for memory.
    pub(super) on_disk: Shares,
    /// What answers to joins may take.
    pub(super) joins: Shares,
    /// Places for large ones.
    pub large_joins: tokio::sync::Semaphore,
    delivery: Arc<Delivery>,
    clock: Clock,
}

impl Federation {
    /// Puts the parts together; no connection is made yet. `epoch` is greater after each start; whom `trust`
    /// names may vouch for other servers.
    ///
    /// # Errors
    /// [`TlsError`] when there can be no TLS.
    pub fn new(
        config: &Config,
        epoch: u64,
        (signer, trust): (Arc<Signer>, &Trust),
        store: Arc<Store>,
        clock: Clock,
        feed: Arc<Feed>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, TlsError> {
        let tls = trust.client_config()?;
        let allowed = Allowed(config.federation.allow_addresses.clone());
        let lines = Lines::new(Connections::allowed().out);
        let resolver = Arc::new(Resolver::new(Arc::clone(&tls), lines.clone(), allowed));
        let client = Client::new(Arc::clone(&resolver), tls, Arc::clone(&signer), lines);
        let policy = Arc::new(Policy::new(&config.federation));
        let engine = config.presence.engine();
        let queue = Arc::new(Queue::new(&config.server_name, rand::random(), engine.backoff));
        let presence = Arc::new(Presence::new(
            &config.server_name,
            epoch,
            engine,
            config.presence.offline_grace,
            (clock.clone(), feed),
            (Arc::clone(&policy), Arc::clone(&queue)),
        ));
        let outbox = Arc::new(Outbox::new(
            &config.server_name,
            clock.clone(),
            Arc::clone(&store),
            Arc::clone(&queue),
            Arc::clone(&policy),
        ));
        let lists = ListOutbox::new(Arc::clone(&store), Arc::clone(&queue), Arc::clone(&policy));
        let lists = Arc::new(lists);
        let devices = DeviceOutbox::new(Arc::clone(&store), Arc::clone(&queue), Arc::clone(&policy));
        let devices = Arc::new(devices);
        let delivery = Delivery {
            own: config.server_name.clone(),
            clock: clock.clone(),
            client: client.clone(),
            policy: Arc::clone(&policy),
            queue: Arc::clone(&queue),
            presence: Arc::clone(&presence),
            outbox: Arc::clone(&outbox),
            lists: Arc::clone(&lists),
            devices: Arc::clone(&devices),
            metrics,
            ids: TransactionIds::new(epoch),
        };
        Ok(Self {
            keyring: Keyring::new(
                (client.clone(), signer),
                store,
                clock.clone(),
                Arc::clone(&policy),
                config.federation.trusted_key_servers.clone(),
            ),
            client,
            resolver,
            room_edus: RoomEdus::new(
                &config.server_name,
                clock.clone(),
                Arc::clone(&queue),
                Arc::clone(&policy),
            ),
            policy,
            queue,
            presence,
            outbox,
            lists,
            devices,
            away: Away::default(),
            answered: Answered::default(),
            bodies: Bodies::new(BODIES),
            on_disk: Shares::new(ON_DISK, ON_DISK_OF_ONE),
            joins: Shares::new(JOINS, JOINS_OF_ONE),
            large_joins: tokio::sync::Semaphore::new(LARGE_JOINS),
            delivery: Arc::new(delivery),
            clock,
        })
    }

    /// A request came that proved to be from `peer`: it lives.
    pub fn handle_life_sign(&self, peer: &ServerName) {
        self.queue.handle_traffic(self.clock.now(), peer);
        self.presence.handle_traffic(peer);
        self.away.handle_traffic(peer);
    }

    /// The instant, as the core counts.
    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Runs the timers of presence, and sends what is queued, with what earlier runs of the server left of lists,
    /// until the task is dropped.
    pub async fn run(&self) {
        if let Err(error) = self.lists.resume().await {
            tracing::error!(%error, "messages about presence lists cannot be read");
        }
        tokio::join!(
            self.presence.run(),
            self.presence.run_profiles(&self.client),
            self.outbox.run(),
            self.delivery.run()
        );
    }

    /// Before the end: sends what waits for servers that can be reached, within a second.
    pub async fn send_rest(&self) {
        self.presence.handle_flush();
        self.delivery.settle().await;
        self.outbox.note().await;
    }
}
