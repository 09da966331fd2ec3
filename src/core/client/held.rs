//! Where the held stream stands: how far it has come, and whether something on the way holds it back.

use std::time::Duration;

use crate::core::rng::Rng;
use crate::core::time::Instant;
use crate::core::wire::event_stream::EventStream;

/// How long the head of the answer may take, and `hello` after it.
pub(super) const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// How much later than it said a server may be heard.
pub(super) const MARGIN: Duration = Duration::from_secs(10);
/// A stream that goes on from a position, and says nothing for so long after `hello`, has nothing to tell.
pub(super) const QUIET: Duration = Duration::from_millis(300);
/// How often a server is heard that does not say.
const HEARTBEAT: Duration = Duration::from_secs(25);
/// For how long `/sync` is used when the stream was held back; doubled each time it is held back again.
const HELD_BACK_FOR: Duration = Duration::from_secs(5 * 60);
/// The most doublings.
const MAX_DOUBLINGS: u32 = 4;
/// Streams in a row that end before they have told anything: something on the way does not let them through.
pub(super) const LOST_EARLY: u32 = 2;

/// How far a stream has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is none.
    #[default]
    Closed,
    /// Nothing has come.
    Asked,
    /// The head of the answer has come.
    Open,
    /// The server has said `hello`.
    Greeted,
    /// Everything up to a position was told.
    Following,
}

/// The held stream.
#[derive(Debug)]
pub(super) struct HeldStream {
    /// The server has one.
    pub(super) announced: bool,
    pub(super) phase: Phase,
    pub(super) events: EventStream,
    /// How often the server is heard at least.
    pub(super) heartbeat: Duration,
    /// When a stream that goes on counts as having told all, if it says nothing before.
    pub(super) quiet_at: Option<Instant>,
    /// How many in a row ended before they had told anything.
    pub(super) lost_early: u32,
    held_back_until: Option<Instant>,
    held_back: u32,
}

impl Default for HeldStream {
    fn default() -> Self {
        Self {
            announced: false,
            phase: Phase::Closed,
            events: EventStream::default(),
            heartbeat: HEARTBEAT,
            quiet_at: None,
            lost_early: 0,
            held_back_until: None,
            held_back: 0,
        }
    }
}

impl HeldStream {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.quiet_at
    }

    /// Whether there is one to be asked for.
    pub(super) fn is_open_to(&self, now: Instant) -> bool {
        self.announced && self.held_back_until.is_none_or(|until| until <= now)
    }

    /// Whether what is new is told by it.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Greeted | Phase::Following)
    }

    /// It is asked for.
    pub(super) fn begin(&mut self) {
        self.close();
        self.phase = Phase::Asked;
    }

    /// It has ended; how far it had come.
    pub(super) fn close(&mut self) -> Phase {
        self.events = EventStream::default();
        self.quiet_at = None;
        std::mem::take(&mut self.phase)
    }

    /// The server has said how often it is heard.
    pub(super) fn greet(&mut self, heartbeat_ms: Option<u64>) {
        let told = heartbeat_ms.map(|ms| Duration::from_millis(ms.clamp(1_000, 600_000)));
        self.heartbeat = told.unwrap_or(HEARTBEAT);
        self.phase = Phase::Greeted;
    }

    /// It has told everything up to a position: nothing holds it back.
    pub(super) fn tell(&mut self) {
        self.phase = Phase::Following;
        self.quiet_at = None;
        self.lost_early = 0;
        self.held_back = 0;
    }

    /// `/sync` is not answered either: it was not something that is only in the way of the stream.
    pub(super) fn try_again(&mut self) {
        self.held_back_until = None;
    }

    /// Something on the way holds it back: it is asked for again some minutes later.
    pub(super) fn hold_back(&mut self, now: Instant, rng: &mut Rng) {
        let lasts = HELD_BACK_FOR * (1 << self.held_back.min(MAX_DOUBLINGS));
        self.held_back = self.held_back.saturating_add(1);
        self.held_back_until = Some(now + rng.jitter(lasts, 0.2));
        self.lost_early = 0;
    }
}
