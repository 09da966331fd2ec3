//! How this client stands to the others of its session, such as the tabs of a browser (W3): who has the stream, and how
//! far what it was told has been followed.

use std::time::Duration;

use crate::core::time::Instant;

/// Who has the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Lead {
    /// This client, which shares its session with nobody.
    #[default]
    Alone,
    /// This client, for others too.
    Leading,
    /// Another one, if any.
    Following,
}

/// How a follower stands to the writes of its leader.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Chain {
    /// Not known.
    #[default]
    Broken,
    /// A `/sync` was begun since which everything is heard; these writes wait for its answer.
    CatchingUp(Vec<String>),
    /// At this position of the leader's; `None` where that `/sync` ended, which the next write overlaps at most.
    At(Option<String>),
}

/// The other clients of the session.
#[derive(Debug, Default)]
pub(super) struct Tabs {
    pub(super) lead: Lead,
    pub(super) chain: Chain,
    /// Until then the leader is believed to have the stream.
    pub(super) live_until: Option<Instant>,
    pub(super) believed: Duration,
}

impl Tabs {
    pub(super) fn leads(&self) -> bool {
        self.lead != Lead::Following
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.live_until
    }

    /// A `/sync` begins; whether the leader's writes go on where it ends.
    pub(super) fn begin_to_catch_up(&mut self) -> bool {
        let live = self.live_until.is_some();
        self.chain = if live { Chain::CatchingUp(Vec::new()) } else { Chain::Broken };
        live
    }

    pub(super) fn leave_leader(&mut self) {
        self.live_until = None;
        self.chain = Chain::Broken;
    }
}
