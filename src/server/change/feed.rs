//! The one feed: what happened, in order, to whoever keeps something in memory or wakes somebody.
//!
//! What is durable is published by the store's writer, in the order of the log, once it is on the disk. What
//! lives in memory only is published where it happens; it is recorded, by whoever published it or by who follows, before
//! anybody is told. Who hears of what is said in one place, by the one [`Subscriber`] that the server is put together with.

use std::{collections::BTreeSet, fmt, sync::Arc};

use parking_lot::RwLock;
use ruma::{OwnedDeviceId, OwnedRoomId, OwnedServerName, OwnedUserId};

use super::position::{Live, LivePosition, LogPosition};
use crate::{
    core::{federation::Status, presence, visibility::Share},
    server::{
        event::{
            receipt::Receipt,
            stored::{Membership, StoredEvent},
        },
        list::{ListMessage, ListRow, Settings},
        profile::Profile,
        session::{Session, TokenHash},
    },
};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Change {
    /// An event got its place at the end of a room.
    Appended(Arc<StoredEvent>),
    /// An event that came late got its place in a room's timeline, between those that were there.
    Inserted(Arc<StoredEvent>),
    /// A room's current state came to have something else than what was appended: forks met, or a user of this server
    /// came into the room by another server.
    Resolved(Arc<Resolved>),
    /// An event reads differently: it was redacted, or follows one that was.
    Rewritten(Arc<StoredEvent>),
    /// A user has read so far in a room.
    Receipt {
        /// How far, and whether others may see it.
        receipt: Arc<Receipt>,
        /// Of the receipt.
        position: LogPosition,
    },
    /// A message waits for a device.
    ToDevice {
        /// Whose device.
        user: OwnedUserId,
        /// The device.
        device: OwnedDeviceId,
        /// Of the message.
        position: LogPosition,
        /// How much room it takes.
        weight: u32,
    },
    /// Messages for a device went for those of other servers.
    ToDeviceDropped {
        /// Whose device.
        user: OwnedUserId,
        /// The device.
        device: OwnedDeviceId,
        /// How much room they took.
        weight: u32,
    },
    /// A device has the messages that waited for it.
    ToDeviceTaken {
        /// Whose device.
        user: OwnedUserId,
        /// The device.
        device: OwnedDeviceId,
        /// Of the last of them.
        upto: LogPosition,
        /// How much room they took.
        weight: u32,
    },
    /// A message waits for devices of another server's users.
    ToDeviceAcross {
        /// Which server.
        server: OwnedServerName,
    },
    /// A user took a room that they left off their lists.
    Forgotten {
        /// Who.
        user: OwnedUserId,
    },
    /// A user's own data changed.
    AccountData {
        /// Whose.
        user: OwnedUserId,
        /// Of the piece.
        position: LogPosition,
    },
    /// A user ignores others than before.
    Ignored {
        /// Who.
        user: OwnedUserId,
        /// Whom until now.
        before: BTreeSet<OwnedUserId>,
        /// Whom from here on.
        now: BTreeSet<OwnedUserId>,
    },
    /// Others have to look at a user's devices or keys again.
    DeviceList {
        /// Whose.
        user: OwnedUserId,
        /// Of the change.
        position: LogPosition,
    },
    /// A user has to look at keys again of which others see the same as before.
    OwnKeyView {
        /// Who.
        user: OwnedUserId,
        /// Of the change.
        position: LogPosition,
    },
    /// A device has more or fewer keys left than before.
    KeysLeft {
        /// Whose device.
        user: OwnedUserId,
        /// The device.
        device: OwnedDeviceId,
    },
    /// Access tokens are not valid any longer, and devices are gone.
    SessionsEnded {
        /// Whose.
        user: OwnedUserId,
        /// The tokens.
        tokens: Vec<TokenHash>,
        /// The devices that are gone with all that was theirs.
        devices: Vec<OwnedDeviceId>,
        /// The user has no device left.
        none_left: bool,
    },
    /// A user's name and picture were set.
    Profile {
        /// Whose.
        user: OwnedUserId,
        /// What they are.
        profile: Profile,
    },
    /// What users of this server keep of others on their presence lists is different, in one step (L1 to L5).
    PresenceList {
        /// Of each pair what is different.
        rows: Vec<ListRow>,
        /// What other servers are to be told of it.
        outbox: Vec<ListMessage>,
    },
    /// A user shares presence or takes invites in another way (L6, L7).
    PresenceSettings {
        /// Who.
        owner: OwnedUserId,
        /// How, from here on.
        settings: Settings,
        /// With whom they shared until now.
        shared_before: Share,
    },
    /// A device wants to be told of presence, or not any longer (L8).
    PresenceDelivery {
        /// The device.
        session: Session,
        /// Whether it wants to be.
        wanted: bool,
    },
    /// A user of this server may show something else than before.
    Presence {
        /// Who.
        user: Arc<OwnedUserId>,
        /// To whom it shows.
        change: presence::Change,
        /// Of the change. Two of one user may be told in any order: the later position counts.
        position: LivePosition,
        /// What other servers may see of the user since then.
        status: Status,
    },
    /// A user of this server wants to look offline from here on: nothing they do may show (P4).
    Hidden {
        /// Who.
        user: OwnedUserId,
    },
    /// A user is to be told of events elsewhere than before.
    Pushers {
        /// Who.
        user: OwnedUserId,
    },
    /// Something else is known of what a user of another server shows.
    RemotePresence {
        /// Who.
        user: OwnedUserId,
        /// What they show; `None`: it is not known.
        status: Option<Status>,
        /// What they are called and look like, as far as is known.
        profile: Arc<Profile>,
        /// Counts up from 1. Two of one user may be told in any order: the greater one counts.
        order: u64,
        /// The users of this server who observe them.
        observers: Vec<OwnedUserId>,
    },
    /// Somebody began to type in a room, or ceased to.
    Typing {
        /// The room.
        room: OwnedRoomId,
    },
}

/// What a room's current state came to have beside what was appended.
#[derive(Debug)]
pub struct Resolved {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The last position at which it did.
    pub position: LogPosition,
    /// What members are from here on.
    pub members: Vec<MemberIs>,
}

/// What somebody is in a room.
#[derive(Clone, Debug)]
pub struct MemberIs {
    /// Who.
    pub user: OwnedUserId,
    /// What.
    pub membership: Membership,
    /// Who sent the event that says so.
    pub by: OwnedUserId,
    /// Since this position of the log.
    pub position: LogPosition,
}

/// Hears of every change.
pub trait Subscriber: fmt::Debug + Send + Sync {
    /// Brings what is held in memory up to date. What is durable is on the disk, and nobody can see its position
    /// yet. Called in the order of the log, on the writer's thread: it must be quick, and must not wait for
    /// anything but short locks. What only lives is followed where it is published, in any order.
    fn follow(&self, change: &Change);

    /// Everything up to these changes can be read: wakes whoever waits for them, and hands them on.
    fn tell(&self, changes: &[Change]);
}

/// The feed of one server.
#[derive(Debug, Default)]
pub struct Feed {
    subscriber: RwLock<Option<Arc<dyn Subscriber>>>,
    live: Arc<Live>,
}

impl Feed {
    /// Of a server in which positions of what only lives come from `live`.
    pub fn new(live: Arc<Live>) -> Self {
        Self { live, ..Self::default() }
    }

    /// Where the positions of what only lives come from.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Who hears of every change from here on; `None`: nobody, the server is taken apart.
    pub fn subscribe(&self, subscriber: Option<Arc<dyn Subscriber>>) {
        *self.subscriber.write() = subscriber;
    }

    /// See [`Subscriber::follow`].
    pub fn follow(&self, change: &Change) {
        if let Some(subscriber) = self.subscriber() {
            subscriber.follow(change);
        }
    }

    /// See [`Subscriber::tell`].
    pub fn tell(&self, changes: &[Change]) {
        if let Some(subscriber) = self.subscriber() {
            subscriber.tell(changes);
        }
    }

    fn subscriber(&self) -> Option<Arc<dyn Subscriber>> {
        self.subscriber.read().clone()
    }
}
