//! The one combined message of presence between servers, with handles for names (F1).

use std::time::Duration;

use super::digest::{Digest, Fingerprint};
use super::status::{Shown, User};

/// The version of the form that this server reads: 2 has `once`, `told` and `profiles`, and profiles in
/// digests. Who says none reads 1.
pub const VERSION: u32 = 2;

/// The content of an `m.presence` EDU; [`super::encode`] and [`super::decode`] are its JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edu {
    /// Who says this, and how manieth message to this peer it is; `None` from a stock server.
    pub link: Option<Link>,
    /// Up to which version the sender reads this form, where it says so; see [`VERSION`].
    pub version: Option<u32>,
    /// The sender does not know what the receiver understands, and wants to be told.
    pub hello: bool,
    /// Statuses, each an implicit promise to push the user's changes from here on.
    pub push: Vec<Push>,
    /// Users whose statuses are taken back: not known to the receiver from here on.
    pub withdrawn: Vec<User>,
    /// Users whose statuses are wanted, at once and from here on.
    pub poll: Vec<Asked>,
    /// Whether `poll` begins a list of all users that are wanted, in place of what was polled before.
    pub poll_all: bool,
    /// Users whose statuses are wanted once, now; no promise is asked for.
    pub once: Vec<Asked>,
    /// Statuses that were asked for once: how it is now, and no promise.
    pub told: Vec<Push>,
    /// Users whose statuses are wanted no longer.
    pub unpoll: Vec<Asked>,
    /// Whether this is a reminder, and what it lets the receiver compare (F5).
    pub reminder: Option<Reminder>,
}

impl Edu {
    /// How many users are named.
    pub const fn users(&self) -> usize {
        self.push.len()
            + self.withdrawn.len()
            + self.poll.len()
            + self.once.len()
            + self.told.len()
            + self.unpoll.len()
    }
}

/// Where in the talk of one server to another a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// A number that is greater after each start of the sender.
    pub epoch: u64,
    /// Counts the sender's messages to this peer, from 1.
    pub seq: u64,
    /// How long the statuses hold without a sign of life from the sender (F6); `None`: the default.
    pub promise: Option<Duration>,
}

/// One user's status on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The user, of the sender's server.
    pub user: User,
    /// What they show; with the mark of their profile where the message tells it.
    pub shown: Shown,
    /// Whether it does: else the profile is as it was.
    pub tells_profile: bool,
    /// The time since their last pro-active event: relative, so that clocks need not agree.
    pub last_active_ago: Option<Duration>,
    /// The time since an offline user was last seen, or since nobody has been at any device of another one.
    pub away_ago: Option<Duration>,
}

/// A user named in a poll: one whom the receiver knows, or the fingerprint of another ID.
///
/// IDs that a peer makes up thus get no handle, and cost eight bytes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A user with a handle.
    Known(User),
    /// Nobody known, so far.
    Stranger(Fingerprint),
}

/// Says "this is how it stands between us" in two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reminder {
    /// What the receiver should hold of the sender's users, after this message.
    pub mine: Digest,
    /// What the sender wants and holds of the receiver's users: the repeated poll.
    pub yours: Digest,
    /// The last message of the receiver that came in: its epoch and number.
    pub seen: Option<(u64, u64)>,
    /// Whether the sender wants a reminder back even if all is well.
    pub answer: bool,
}

impl Push {
    /// Says of `user` no more than that they are not to be seen.
    pub(super) fn offline(user: User) -> Self {
        Self { user, shown: Shown::default(), tells_profile: false, last_active_ago: None, away_ago: None }
    }
}
