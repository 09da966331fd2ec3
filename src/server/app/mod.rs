//! What every request handler can reach: configuration, store, clock and the domain modules.

pub mod error;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ruma::{OwnedServerName, RoomId, ServerName};

use super::{
    accounts::{AccountDataPositions, Accounts},
    app::error::ServeError,
    change::{position::Live, wakers::Wakers},
    config::Config,
    contacts::Contacts,
    devices::{keys::DeviceKeyCounts, to_device::ToDevice},
    federation::Federation,
    limits::RateLimits,
    metrics::Metrics,
    presence::Presence,
    rooms::{Rooms, receipts::Receipts, typing::Typing},
    store::{Access, OpenError, Store, StoreError},
    stream::{Filters, LazyMembers, Unread},
};
use crate::server::clock::unix_ms;

/// The running homeserver. Shared by all connections; lives until the last of them ends.
#[derive(Debug)]
pub struct App {
    /// The effective configuration; does not change while the server runs.
    pub config: Config,
    /// Everything durable.
    pub store: Store,
    /// Sessions and password hashing.
    pub accounts: Accounts,
    /// How often somebody may ask.
    pub limits: RateLimits,
    /// Whose account data changed when.
    pub account_data: AccountDataPositions,
    /// How many keys for encryption devices have left.
    pub device_keys: DeviceKeyCounts,
    /// Who is in which room, and the key that signs their events.
    pub rooms: Rooms,
    /// The traffic with other servers; `None`: this server is on its own.
    pub federation: Option<Federation>,
    /// Everybody's presence list.
    pub contacts: Contacts,
    /// Everybody's presence.
    pub presence: Presence,
    /// Who is typing where.
    pub typing: Typing,
    /// Who has read how far.
    pub receipts: Receipts,
    /// Messages from device to device.
    pub to_device: ToDevice,
    /// How much of each room its members have not read.
    pub unread: Unread,
    /// Which members lazy clients know.
    pub lazy_members: LazyMembers,
    /// Filters in use.
    pub filters: Filters,
    /// The positions of what lives in memory only.
    pub live: Live,
    /// What is counted for the operator.
    pub metrics: Metrics,
    /// Who is waiting for something to happen.
    pub wakers: Wakers,
    started: Instant,
    started_unix_ms: u64,
}

impl App {
    /// Opens the store and puts the parts together.
    ///
    /// # Errors
    /// [`ServeError::Store`] when the database is in use, damaged, newer than this binary, or not accessible;
    /// [`ServeError::Tls`] when a certificate file cannot be used.
    pub async fn open(config: Config) -> Result<Arc<Self>, ServeError> {
        let store = Store::open(&config.data_dir, &config.server_name, Access::Sole)?;
        let damaged = |e: StoreError| OpenError::Damaged(config.data_dir.clone(), e.to_string());
        let account_data = AccountDataPositions::load(&store).await.map_err(damaged)?;
        let rooms = Rooms::open(&config, &store).await?;
        let limits = RateLimits::new(config.rate_limits);
        let started_unix_ms = unix_ms();
        let federation = match config.federation.listen {
            Some(_) => {
                let epoch = store.next_epoch(started_unix_ms).await.map_err(damaged)?;
                Some(Federation::new(&config, Arc::clone(&rooms.signer), epoch)?)
            }
            None => None,
        };
        let live = Live::new(started_unix_ms * 1000);
        let now = crate::core::time::Instant::from_millis(started_unix_ms);
        let presence = Presence::load(&store, &config.presence, &live, now).await.map_err(damaged)?;
        let contacts = Contacts::load(&store).await.map_err(damaged)?;
        let receipts = Receipts::load(&store).await.map_err(damaged)?;
        let to_device = ToDevice::load(&store).await.map_err(damaged)?;
        let app = Arc::new(Self {
            config,
            store,
            federation,
            accounts: Accounts::default(),
            limits,
            account_data,
            device_keys: DeviceKeyCounts::default(),
            rooms,
            contacts,
            presence,
            typing: Typing::default(),
            receipts,
            to_device,
            unread: Unread::default(),
            lazy_members: LazyMembers::default(),
            filters: Filters::default(),
            live,
            metrics: Metrics::default(),
            wakers: Wakers::default(),
            started: Instant::now(),
            started_unix_ms,
        });
        app.load_presence_across();
        Ok(app)
    }

    /// The name this server goes by in user and room identifiers.
    pub fn server_name(&self) -> &ServerName {
        let name: &OwnedServerName = &self.config.server_name;
        name
    }

    /// Milliseconds since the Unix epoch, that never run backwards while the server runs.
    pub fn unix_ms(&self) -> u64 {
        self.started_unix_ms + u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// How long the server has been running.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Wakes everybody of this server who is in `room`.
    pub fn wake_room(&self, room: &RoomId) {
        self.rooms.members.each_joined(room, |user| self.wakers.wake(user));
    }

    /// Finishes what is under way and closes the store.
    pub async fn close(&self) {
        if let Err(e) = self.presence.flush(&self.store).await {
            tracing::error!(error = %e, "presence could not be written");
        }
        self.store.close().await;
    }
}
