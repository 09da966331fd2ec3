//! What a connection is told in one go, before it has a wire form.

use std::sync::Arc;

use ruma::{OwnedRoomId, OwnedUserId};

use crate::server::{
    change::position::LogPosition,
    event::stored::Membership,
    store::{AccountData, KeyCounts, Receipt},
    stream::news::{DeviceLists, OwnDataNews, PresenceNews, RoomState, StrippedRoom, Timeline, UnreadCounts},
};

/// What is new of one room, for one connection.
#[derive(Debug)]
pub(super) struct RoomNews {
    /// What the reader is in it.
    pub(super) membership: Membership,
    /// That is said: it is new, or all of the room is.
    pub(super) tells_membership: bool,
    /// All that there is: the client forgets what it had.
    pub(super) initial: bool,
    /// The timeline begins before what the client was told of.
    pub(super) expanded: bool,
    pub(super) name: Field,
    pub(super) avatar: Field,
    /// By whom a room without a name is called.
    pub(super) heroes: Option<Vec<Hero>>,
    pub(super) is_dm: Option<bool>,
    pub(super) state: RoomState,
    /// `None`: none was asked for, or there is none to be seen.
    pub(super) timeline: Option<Timeline>,
    /// How many of its last events happened since the client was answered last.
    pub(super) live_events: usize,
    /// Members, and those who are invited.
    pub(super) counts: Option<(usize, usize)>,
    pub(super) unread: Option<UnreadCounts>,
    /// Of a room that the reader is not in.
    pub(super) stripped: Option<StrippedRoom>,
    pub(super) bump: Option<LogPosition>,
}

/// A name or a picture of a room.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Field {
    /// As before.
    Keep,
    /// This.
    Set(String),
    /// None.
    Clear,
}

/// Somebody by whom a room without a name is called.
#[derive(Debug)]
pub(super) struct Hero {
    pub(super) user: OwnedUserId,
    pub(super) displayname: Option<String>,
    pub(super) avatar_url: Option<String>,
}

/// What is told of some rooms, of each of them.
pub(super) type ByRoom<T> = Vec<(OwnedRoomId, Vec<T>)>;

/// What is told beside rooms; `None`: was not asked for.
#[derive(Debug, Default)]
pub(super) struct ExtensionNews {
    /// The messages, and up to where they go.
    pub(super) to_device: Option<(Vec<(LogPosition, String)>, LogPosition)>,
    pub(super) e2ee: Option<(Arc<KeyCounts>, Option<DeviceLists>)>,
    pub(super) account_data: Option<(OwnDataNews, ByRoom<AccountData>)>,
    pub(super) receipts: Option<ByRoom<Receipt>>,
    pub(super) typing: Option<ByRoom<OwnedUserId>>,
    pub(super) presence: Option<PresenceNews>,
}

impl RoomNews {
    /// Of a room that the reader is this in, with nothing said yet.
    pub(super) fn of(membership: Membership, initial: bool) -> Self {
        Self {
            membership,
            tells_membership: initial,
            initial,
            expanded: false,
            name: Field::Keep,
            avatar: Field::Keep,
            heroes: None,
            is_dm: None,
            state: RoomState::default(),
            timeline: None,
            live_events: 0,
            counts: None,
            unread: None,
            stripped: None,
            bump: None,
        }
    }

    /// Whether nothing of it is to be told. How much is unread is told with something else, or when it is different.
    pub(super) fn is_empty(&self) -> bool {
        let Self {
            membership: _,
            tells_membership,
            initial,
            expanded,
            name,
            avatar,
            heroes,
            is_dm,
            state,
            timeline,
            live_events: _,
            counts,
            unread: _,
            stripped,
            bump,
        } = self;
        let is_silent = timeline.as_ref().is_none_or(|t| t.events.is_empty() && !t.limited);
        !(*tells_membership || *initial || *expanded)
            && (*name == Field::Keep && *avatar == Field::Keep && heroes.is_none() && is_dm.is_none())
            && (state.is_empty() && is_silent && counts.is_none() && stripped.is_none() && bump.is_none())
    }
}

impl ExtensionNews {
    /// Whether there is anything that a reader would not want to wait for.
    pub(super) fn has_news(&self) -> bool {
        let Self { to_device, e2ee, account_data, receipts, typing, presence } = self;
        let device_lists = e2ee.as_ref().and_then(|(_, lists)| lists.as_ref());
        to_device.as_ref().is_some_and(|(messages, _)| !messages.is_empty())
            || device_lists.is_some_and(|lists| !lists.is_empty())
            || account_data.as_ref().is_some_and(|(global, rooms)| !(global.is_empty() && rooms.is_empty()))
            || receipts.as_ref().is_some_and(|rooms| !rooms.is_empty())
            || typing.as_ref().is_some_and(|rooms| !rooms.is_empty())
            || presence.as_ref().is_some_and(|presence| !presence.is_empty())
    }
}
