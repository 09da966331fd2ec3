//! Rooms: Matrix rooms from the first event, with hashes, signatures and the authorisation rules.
//!
//! Every change is one write ([`write`]): inside it, drafts become PDUs, are checked and appended; when
//! it is on the disk, memory ([`Members`], the log's tail) follows, and the readers it concerns are woken.
//! Nothing here knows SQL or HTTP. Client-server API, "Rooms", "Events"; server-server API, "PDUs".

mod access;
mod act;
mod append;
mod content;
mod create;
mod directory;
mod members;
mod pdu;
mod power;
mod read;
pub mod receipts;
mod refusal;
mod send;
pub mod typing;
mod upgrade;

use std::sync::Arc;

pub use self::{
    access::{Access, access, may_see_event, visible_events},
    act::{ban, forget, handle_profile_change, invite, join, kick, knock, leave, leave_everything, unban},
    create::create,
    directory::{
        DirectoryPage, MAX_LISTED, add_alias, public_rooms, remove_alias, set_listed, visible_aliases,
    },
    members::Members,
    read::{
        Context, MAX_PAGE, Page, Wanted, context, event, event_at_time, members, messages, relations,
        senders_of, state, state_at, state_event,
    },
    refusal::Refusal,
    send::{Action, Sent, redact, send_message, send_state},
    upgrade::upgrade,
};
use super::{
    app::App,
    keys::Signer,
    store::{OpenError, RoomWrite, Store, StoreError},
};

/// Bytes of a PDU as canonical JSON, at most (server-server API, "Size limits").
pub const MAX_PDU_BYTES: usize = 65_535;

/// Bytes of an identifier, an event type, a state key or a transaction ID, at most.
pub const MAX_ID_BYTES: usize = 255;

/// Users that one `createRoom` can invite.
pub const MAX_INVITES: usize = 100;

/// State events that one `createRoom` can bring along.
pub const MAX_INITIAL_STATE: usize = 100;

/// The room versions that rooms can be made in.
pub const VERSIONS: [ruma::RoomVersionId; 3] =
    [ruma::RoomVersionId::V10, ruma::RoomVersionId::V11, ruma::RoomVersionId::V12];

/// What the running server holds of its rooms beside the store.
#[derive(Debug)]
pub struct Rooms {
    /// Who is in which room, exact after every commit.
    pub members: Arc<Members>,
    /// Signs this server's events.
    pub signer: Arc<Signer>,
}

impl Rooms {
    /// Reads the signing key and who is in which room.
    ///
    /// # Errors
    /// [`OpenError`] when either cannot be read.
    pub async fn open(config: &super::Config, store: &Store) -> Result<Self, OpenError> {
        let signer = Arc::new(Signer::open(&config.data_dir, &config.server_name)?);
        let members = Members::load(store, config.presence.room_limit())
            .await
            .map_err(|e: StoreError| OpenError::Damaged(config.data_dir.clone(), e.to_string()))?;
        Ok(Self { members: Arc::new(members), signer })
    }
}

/// Runs `job` as one write to rooms. Once begun it is finished even if the caller goes away.
async fn write<T: Send + 'static>(
    app: &Arc<App>,
    job: impl FnOnce(&RoomWrite<'_>, &App) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let in_job = Arc::clone(app);
    app.store.write_rooms(move |write| job(write, &in_job)).await
}
