//! The parts of the running homeserver.

use std::{sync::Arc, time::Duration};

use ruma::{OwnedServerName, OwnedUserId, ServerName};
use tokio::runtime::Handle;

use super::{
    across::{entering::Entering, heard::Heard, unfilled::Unfilled},
    early_receipts::EarlyReceipts,
};
use crate::{
    core::time::Instant,
    server::{
        accounts::{data::OwnData, guests::Guests, login::Accounts},
        answers::Answers,
        app_service::AppServices,
        change::{feed::Feed, position::Live, wakers::Wakers},
        clock::Clock,
        config::Config,
        contacts::lists::Contacts,
        devices::{asking::Asking, keys::Keys, to_device::Inboxes},
        federation::Federation,
        http::bodies::{Bodies, BodyLimits},
        limits::{Origin, RateLimits},
        media::Media,
        metrics::Metrics,
        presence::{Board, Presence},
        push::Push,
        registration::Registrations,
        rooms::{Rooms, receipts::Receipts, typing::Typing},
        sight::Sight,
        store::Store,
        stream::{self, held::Hub},
    },
};

/// Bodies of users' requests.
const KNOWN: BodyLimits = BodyLimits {
    largest: 1 << 20,
    small: 16 << 10,
    shared: 64 << 20,
    for_one: 8 << 20,
    timeout: Duration::from_secs(60),
};

/// Those of requests without a valid access token: a name and a password do not take much.
const STRANGERS: BodyLimits = BodyLimits { largest: 64 << 10, shared: 8 << 20, for_one: 1 << 20, ..KNOWN };

/// What bodies of clients' requests may take.
#[derive(Debug)]
pub struct ClientBodies {
    /// Of users.
    pub known: Bodies<OwnedUserId>,
    /// Of everybody else.
    pub strangers: Bodies<Origin>,
}

impl Default for ClientBodies {
    /// Nothing is read yet.
    fn default() -> Self {
        Self { known: Bodies::new(KNOWN), strangers: Bodies::new(STRANGERS) }
    }
}

/// The running homeserver. Shared by all connections; lives until the last of them ends.
#[derive(Debug)]
pub struct App {
    /// The effective configuration; does not change while the server runs.
    pub config: Config,
    /// The time.
    pub clock: Clock,
    /// What happens, in order.
    pub feed: Arc<Feed>,
    /// Everything durable.
    pub store: Arc<Store>,
    /// Sessions and password hashing.
    pub accounts: Arc<Accounts>,
    /// What bodies of requests may take.
    pub bodies: ClientBodies,
    /// Who the application services of this server are.
    pub registrations: Arc<Registrations>,
    /// What they are told and asked.
    pub app_services: Arc<AppServices>,
    /// How often somebody may ask.
    pub limits: Arc<RateLimits>,
    /// Where large answers are made.
    pub answers: Arc<Answers>,
    /// What users keep with their account.
    pub own_data: Arc<OwnData>,
    /// Who is a guest.
    pub guests: Arc<Guests>,
    /// Keys for encryption.
    pub keys: Arc<Keys>,
    /// Who is being asked for keys of users of other servers.
    pub asking: Asking,
    /// Files.
    pub media: Arc<Media>,
    /// Who is in which room, and the key that signs their events.
    pub rooms: Arc<Rooms>,
    /// The traffic with other servers; `None`: this server is on its own.
    pub federation: Option<Arc<Federation>>,
    /// Everybody's presence list.
    pub contacts: Arc<Contacts>,
    /// Who comes into which room by another server.
    pub(super) entering: Entering,
    /// Gaps in rooms that nobody could fill a moment ago.
    pub(super) unfilled: Unfilled,
    pub(super) early_receipts: EarlyReceipts,
    /// What other servers said of rooms that are not here.
    pub(super) heard: Heard,
    /// Who sees whom.
    pub sight: Arc<Sight>,
    /// The presence of this server's users.
    pub presence: Arc<Presence>,
    /// What readers are told of everybody's presence.
    pub board: Arc<Board>,
    /// Who is typing where.
    pub typing: Arc<Typing>,
    /// Who has read how far.
    pub receipts: Arc<Receipts>,
    /// Messages from device to device.
    pub inboxes: Arc<Inboxes>,
    /// The held streams.
    pub hub: Arc<Hub>,
    /// What readers read.
    pub stream: Arc<stream::Parts>,
    /// Who is told of events elsewhere.
    pub push: Arc<Push>,
    /// The positions of what lives in memory only.
    pub live: Arc<Live>,
    /// What is counted for the operator.
    pub metrics: Arc<Metrics>,
    /// Who is waiting for something to happen.
    pub wakers: Arc<Wakers>,
    /// Where what nobody waits for is done.
    pub(super) runtime: Handle,
    pub(super) started: Instant,
}

impl App {
    /// The name this server goes by in user and room identifiers.
    pub fn server_name(&self) -> &ServerName {
        let name: &OwnedServerName = &self.config.server_name;
        name
    }

    /// The instant, as the core counts, which never runs backwards.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Milliseconds since the Unix epoch, as the system's clock is set: for what people are told and what is stored.
    pub fn unix_ms(&self) -> u64 {
        self.clock.unix_ms()
    }

    /// How long the server has been running.
    pub fn uptime(&self) -> Duration {
        self.now().since(self.started)
    }

    /// Finishes what is under way and closes the store.
    pub async fn close(&self) {
        self.presence.handle_stop();
        if let Err(e) = self.presence.flush().await {
            tracing::error!(error = %e, "presence could not be written");
        }
        self.hub.stop();
        self.store.close().await;
        self.feed.subscribe(None);
    }
}
