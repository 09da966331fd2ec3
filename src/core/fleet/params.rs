//! What is simulated.

use std::fmt;
use std::time::Duration;

use crate::core::federation::Config;
use crate::core::time::Instant;

/// The parameters of a simulation; the same ones give the same run.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    /// How many homeservers there are.
    pub servers: u32,
    /// How many users each has.
    pub users: u32,
    /// How many contacts a user has on other servers, about; all mutual.
    pub contacts: u32,
    /// Among how many other servers the contacts of a server's users are spread; even, unless the number of servers is.
    pub peers: u32,
    /// How often a user changes their presence while online, on average. Independent of each other.
    pub changes_per_hour: f64,
    /// How long a user is online each day, starting around nine o'clock; 24: always.
    pub online_hours: f64,
    /// The time that is simulated, from midnight.
    pub duration: Duration,
    /// How often two servers exchange something else, such as an event of a room; `None`: never.
    pub room_traffic: Option<Duration>,
    /// Over which time those come, after midnight, who are always online.
    pub arrivals: Duration,
    /// What goes wrong.
    pub faults: Faults,
    /// The times and bounds of the engines.
    pub config: Config,
    /// The seed of everything random.
    pub seed: u64,
}

/// What goes wrong with the first server. Its first peer is the second server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// It loses power, and returns.
    pub outage: Option<Span>,
    /// It and its first peer do not reach each other.
    pub cut: Option<Span>,
    /// It does not reach its first peer, which reaches it.
    pub one_way_cut: Option<Span>,
    /// When it restarts, and has forgotten all but its lists.
    pub restarts: Vec<Duration>,
    /// How many of a thousand acknowledgements are lost, everywhere.
    pub lost_acknowledgements: u64,
}

/// From when to when, after midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The beginning.
    pub begins: Duration,
    /// The end.
    pub ends: Duration,
}

impl Faults {
    /// Whether anything goes wrong.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    /// Refuses what means nothing in a run that takes this long.
    fn check(&self, duration: Duration) -> Result<(), BadParams> {
        let Self { outage, cut, one_way_cut, restarts, lost_acknowledgements } = self;
        let spans = || [outage, cut, one_way_cut].into_iter().flatten();
        if spans().any(|span| span.begins >= span.ends) || *lost_acknowledgements > 1_000 {
            return Err(BadParams::Faults);
        }
        if spans().any(|span| span.ends > duration) || restarts.iter().any(|&at| at >= duration) {
            return Err(BadParams::LateFault);
        }
        let is_dead = |at: &Duration| outage.is_some_and(|span| (span.begins..span.ends).contains(at));
        if restarts.iter().any(is_dead) { Err(BadParams::DeadRestart) } else { Ok(()) }
    }
}

impl Span {
    /// Whether `at` is in it.
    pub(super) fn holds(&self, at: Instant) -> bool {
        (Instant::ZERO + self.begins..Instant::ZERO + self.ends).contains(&at)
    }
}

impl Default for Params {
    /// A working day of a thousand servers, with a change a minute from each user who is online.
    fn default() -> Self {
        Self {
            servers: 1_000,
            users: 100,
            contacts: 40,
            peers: 4,
            changes_per_hour: 60.0,
            online_hours: 8.0,
            duration: Duration::from_secs(24 * 3_600),
            room_traffic: None,
            arrivals: Duration::from_secs(60),
            faults: Faults::default(),
            config: Config::default(),
            seed: 1,
        }
    }
}

/// Parameters that mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadParams {
    /// Fewer than two servers, or no users.
    Empty,
    /// More users in all than 100 million.
    TooMany,
    /// The number of peers is zero, not below the number of servers, or odd as that is.
    Peers,
    /// A fault ends before it begins, or more acknowledgements are lost than there are.
    Faults,
    /// A fault begins or ends after the end of the run, so that not all of it happens.
    LateFault,
    /// A server without power is to restart.
    DeadRestart,
    /// The rate of changes, or the hours of a day online, are no number or out of range.
    Times,
    /// The simulated time is too short for anything to happen, or too long to end.
    Duration,
    /// Changes are collected for a time that no server allows.
    Window,
}

impl fmt::Display for BadParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "there must be at least two servers, and users",
            Self::TooMany => "there are more than 100 million users",
            Self::Peers => {
                "the number of peers must be above zero, below the number of servers, and even unless that is"
            }
            Self::Faults => {
                "a fault must begin before it ends, and lose no more than a thousand of a thousand"
            }
            Self::LateFault => "a fault must begin and end within the simulated hours",
            Self::DeadRestart => "the first server cannot restart during its outage",
            Self::Times => {
                "the changes an hour must be a number from 0 to 3600, and the hours online a day one from 0.1 to 24"
            }
            Self::Duration => "the simulated time must be from one minute to 8760 hours, which is a year",
            Self::Window => "changes must be collected for one second to 60",
        })
    }
}

impl std::error::Error for BadParams {}

const MINUTE: Duration = Duration::from_secs(60);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

impl Params {
    /// Refuses parameters that mean nothing.
    pub fn check(&self) -> Result<(), BadParams> {
        if self.servers < 2 || self.users == 0 {
            return Err(BadParams::Empty);
        }
        if u64::from(self.servers) * u64::from(self.users) > 100_000_000 {
            return Err(BadParams::TooMany);
        }
        // Around a ring there is one server at the greatest distance where their number is even, else two.
        let halves = self.peers.is_multiple_of(2) || self.servers.is_multiple_of(2);
        if self.peers == 0 || !halves || self.peers >= self.servers {
            return Err(BadParams::Peers);
        }
        if !(0.0..=3_600.0).contains(&self.changes_per_hour) || !(0.1..=24.0).contains(&self.online_hours) {
            return Err(BadParams::Times);
        }
        if !(MINUTE..=YEAR).contains(&self.duration) {
            return Err(BadParams::Duration);
        }
        // Who collects nothing speaks at once, which nobody may while messages to them are put by.
        if !(Duration::from_secs(1)..=MINUTE).contains(&self.config.batch_window) {
            return Err(BadParams::Window);
        }
        self.faults.check(self.duration)
    }
}
