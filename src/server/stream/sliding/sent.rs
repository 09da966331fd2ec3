//! What a connection was sent of one room.

use std::sync::Arc;

use super::request::Config;
use crate::server::{change::position::LogPosition, event::stored::Membership, stream::news::UnreadCounts};

/// Members of a room that a connection is remembered to know; beyond it those told last, others are told again.
pub(super) const MAX_MEMBERS: usize = 100;

/// How far a connection was told of something in a room.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Upto {
    /// Not at all.
    #[default]
    Never,
    /// Up to here, when the room left the client's windows.
    Behind(LogPosition),
    /// As far as the connection.
    Live,
}

/// What a connection was sent of one room.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Sent {
    /// How far it was told of the room itself.
    pub(super) room: Upto,
    /// What the reader was in it.
    pub(super) is: Membership,
    /// Where in the log the event stands that made it so, for who is not joined.
    pub(super) since: LogPosition,
    /// What it was asked for the room last.
    pub(super) config: Arc<Config>,
    /// How many of the latest events the client has, without a hole.
    pub(super) has: Has,
    /// The stamp by which it sorts.
    pub(super) bump: LogPosition,
    pub(super) is_dm: bool,
    pub(super) unread: UnreadCounts,
    /// Members whom it knows, by their marks, those told last at the end.
    pub(super) members: Vec<u64>,
    pub(super) account_data: Upto,
    pub(super) receipts: Upto,
    pub(super) typing: Upto,
    /// The client shows that somebody types.
    pub(super) shows_typing: bool,
}

/// How many of the latest events of a room a client has.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Has {
    /// So many.
    Last(u32),
    /// All that there are for it.
    All,
}

impl Has {
    /// After a timeline of so many events: the first of the room that the client is told, or all that it has (`anew`); limited
    /// or not.
    pub(super) fn after(self, told: usize, limited: bool, anew: bool) -> Self {
        let told = u32::try_from(told).unwrap_or(u32::MAX);
        match (self, limited, anew) {
            (_, true, _) => Self::Last(told),
            (_, false, true) | (Self::All, false, false) => Self::All,
            (Self::Last(had), false, false) => Self::Last(had.saturating_add(told)),
        }
    }

    /// Whether the client has the last `limit` ones.
    pub(super) fn covers(self, limit: usize) -> bool {
        match self {
            Self::All => true,
            Self::Last(count) => count as usize >= limit,
        }
    }
}

impl Upto {
    /// From where on it is told, on a connection that was told everything else up to `live`; `None`: from the beginning.
    pub(super) fn since(self, live: LogPosition) -> Option<LogPosition> {
        match self {
            Self::Never => None,
            Self::Behind(since) => Some(since),
            Self::Live => Some(live),
        }
    }

    /// The same for a room that nothing is told of any longer, on a connection that was told up to `live`.
    pub(super) fn left_at(self, live: LogPosition) -> Self {
        if self == Self::Live { Self::Behind(live) } else { self }
    }
}

impl Sent {
    /// Whether the client was told that the reader is not in the room.
    pub(super) fn is_out(&self) -> bool {
        matches!(self.is, Membership::Leave | Membership::Ban)
    }

    /// Whether all of it is told as far as it ever will be, while the room is in none of the client's windows.
    pub(super) fn is_behind(&self) -> bool {
        let all = [self.room, self.account_data, self.receipts, self.typing];
        !all.contains(&Upto::Live)
    }

    /// The room is in none of the client's windows, on a connection that was told up to `live`.
    pub(super) fn leave(&mut self, live: LogPosition) {
        for upto in [&mut self.room, &mut self.account_data, &mut self.receipts, &mut self.typing] {
            *upto = upto.left_at(live);
        }
    }

    /// Takes note of members whom the client is told of.
    pub(super) fn note_members(&mut self, marks: impl IntoIterator<Item = u64>) {
        for mark in marks {
            self.members.retain(|known| *known != mark);
            self.members.push(mark);
        }
        let surplus = self.members.len().saturating_sub(MAX_MEMBERS);
        self.members.drain(..surplus);
        self.members.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_how_many_of_the_latest_events_a_client_has() {
        use Has::{All, Last};
        for (had, told, limited, anew, has) in [
            (Last(0), 3, true, true, Last(3)),
            (Last(0), 3, false, true, All),
            (Last(3), 2, false, false, Last(5)),
            (Last(3), 2, true, false, Last(2)),
            (All, 2, false, false, All),
            (All, 2, true, false, Last(2)),
        ] {
            assert_eq!(had.after(told, limited, anew), has, "{had:?} {told} {limited} {anew}");
        }
        assert!(All.covers(100) && Last(3).covers(3) && !Last(3).covers(4));
    }
}
