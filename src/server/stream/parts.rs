//! What readers read: handles of the parts that know what is new.

use std::sync::Arc;

use super::{
    filters::Filters, in_flight::InFlight, lazy::LazyMembers, sliding::memory::Sliding, unread::Unread,
};
use crate::server::{
    accounts::{data::OwnData, login::Accounts},
    answers::Answers,
    change::{position::Live, wakers::Wakers},
    clock::Clock,
    contacts::lists::Contacts,
    devices::{keys::Keys, to_device::Inboxes},
    federation::Federation,
    metrics::Metrics,
    presence::{Board, Presence},
    rooms::{Members, Rooms, receipts::Receipts, typing::Typing},
    sight::Sight,
    store::Store,
};

/// The parts that readers ask. Only the reader and who waits for it name them: what is read of each is a function
/// with plain arguments.
#[derive(Debug)]
pub struct Parts {
    /// The time.
    pub clock: Clock,
    /// Everything durable.
    pub store: Arc<Store>,
    /// The positions of what lives in memory only.
    pub live: Arc<Live>,
    /// Who is waiting for something to happen.
    pub wakers: Arc<Wakers>,
    /// Who is logged in.
    pub accounts: Arc<Accounts>,
    /// What users keep with their account.
    pub own_data: Arc<OwnData>,
    /// Keys for encryption.
    pub keys: Arc<Keys>,
    /// Messages from device to device.
    pub inboxes: Arc<Inboxes>,
    /// The rooms.
    pub rooms: Arc<Rooms>,
    /// Who is in which room.
    pub members: Arc<Members>,
    /// The presence of this server's users.
    pub presence: Arc<Presence>,
    /// Everybody's last presence.
    pub board: Arc<Board>,
    /// The traffic with other servers, if there is any.
    pub federation: Option<Arc<Federation>>,
    /// Whom users ignore.
    pub contacts: Arc<Contacts>,
    /// Who sees whom.
    pub sight: Arc<Sight>,
    /// Who is typing where.
    pub typing: Arc<Typing>,
    /// Who has read how far.
    pub receipts: Arc<Receipts>,
    /// How much of each room its members have not read.
    pub unread: Arc<Unread>,
    /// Which members lazy clients know.
    pub lazy_members: Arc<LazyMembers>,
    /// What devices send at this moment.
    pub in_flight: Arc<InFlight>,
    /// Where connections of sliding sync are.
    pub sliding: Arc<Sliding>,
    /// Filters in use.
    pub filters: Arc<Filters>,
    /// Where large answers are made.
    pub answers: Arc<Answers>,
    /// What is counted for the operator.
    pub metrics: Arc<Metrics>,
}
