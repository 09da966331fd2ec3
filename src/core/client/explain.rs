//! Why somebody is shown as they are: what the client knows that decides it, the weightiest first.

use super::contact::Standing;
use super::output::Connection;
use super::presence::{Known, Source};
use super::role::Client;
use crate::core::presence::{Choice, State};
use crate::core::time::{Instant, millis};
use crate::core::wire::write::{ToJson, Writer};

/// What is shown of a user, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whom it is about.
    pub user_id: String,
    /// What is shown; unknown of one who was never heard of.
    pub shown: State,
    /// Why, the weightiest first.
    pub reasons: Vec<Reason>,
}

/// One reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What it is.
    pub cause: Cause,
    /// Since when it is so, as far as this client knows: milliseconds since the epoch.
    pub since: Option<u64>,
}

/// What decides what is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The session has ended.
    LoggedOut,
    /// The client is not started, or was stopped.
    Stopped,
    /// The first answer has not come.
    Connecting,
    /// The stream broke off, longer ago than the grace.
    ConnectionLost,
    /// It broke off, and what was told is believed.
    Interrupted,
    /// The own user's choice.
    Chosen(Choice),
    /// Nobody is at this device, which shows through the choice.
    IdleHere,
    /// The server does not know of the choice yet.
    NotTold,
    /// The server says so.
    ServerSaid(State),
    /// A stream that began anew had nothing of them in it.
    NotMentioned,
    /// Nobody is at any of their devices.
    Idle,
    /// They were there last.
    LastActive,
    /// Nothing was ever told of them.
    NeverHeard,
    /// More users than are remembered.
    TooMany,
    /// The own user ignores them.
    Ignored,
    /// They have not answered the request.
    ListPending,
    /// They denied it.
    ListDenied,
    /// Neither a room nor the list.
    NothingShared,
}

impl Cause {
    /// The word for it, which does not change.
    pub const fn code(self) -> &'static str {
        match self {
            Self::LoggedOut => "logged_out",
            Self::Stopped => "stopped",
            Self::Connecting => "connecting",
            Self::ConnectionLost => "connection_lost",
            Self::Interrupted => "interrupted",
            Self::Chosen(_) => "chosen",
            Self::IdleHere => "idle_here",
            Self::NotTold => "not_told",
            Self::ServerSaid(_) => "server_said",
            Self::NotMentioned => "not_mentioned",
            Self::Idle => "idle",
            Self::LastActive => "last_active",
            Self::NeverHeard => "never_heard",
            Self::TooMany => "too_many",
            Self::Ignored => "ignored",
            Self::ListPending => "list_pending",
            Self::ListDenied => "list_denied",
            Self::NothingShared => "nothing_shared",
        }
    }

    /// It in English, for who looks into a fault.
    pub fn text(self) -> String {
        let words = match self {
            Self::LoggedOut => "the session has ended",
            Self::Stopped => "the client is stopped",
            Self::Connecting => "the homeserver has not told anything yet",
            Self::ConnectionLost => "the connection to the homeserver is lost",
            Self::Interrupted => "the connection is interrupted; what was told is believed for a while",
            Self::Chosen(choice) => return ["the user chose ", choice.as_str()].concat(),
            Self::IdleHere => "nobody has been active at this device",
            Self::NotTold => "the homeserver has not been told of the choice yet",
            Self::ServerSaid(State::Unknown) => {
                "the homeserver says that it is unknown, or not for this user"
            }
            Self::ServerSaid(state) => return ["the homeserver says ", state.as_str()].concat(),
            Self::NotMentioned => "the homeserver told everything anew, and nothing of them",
            Self::Idle => "nobody has been active at any of their devices",
            Self::LastActive => "they were last active then",
            Self::NeverHeard => "the homeserver has told nothing of them",
            Self::TooMany => "as many users are known as are remembered",
            Self::Ignored => "they are ignored",
            Self::ListPending => "they have not answered whether their presence may be seen",
            Self::ListDenied => "they do not let their presence be seen",
            Self::NothingShared => {
                "no room is shared with them, as far as is known, nor are they on the presence list"
            }
        };
        words.to_owned()
    }
}

impl Client {
    /// Why a user is shown as they are.
    pub fn explain(&self, user: &str, now: Instant) -> Explanation {
        let mut reasons = Vec::new();
        let (known, lost) = (self.book.known(user), self.book.is_lost());
        if let Some(interruption) = self.interruption() {
            reasons.push(interruption);
        }
        let shown = match user == self.user_id {
            true => {
                self.explain_me(now, &mut reasons);
                self.me.state_to_show(lost)
            }
            false => self.presence_of(user).map_or(State::Unknown, |presence| presence.state),
        };
        // While nobody tells of changes that alone decides.
        if !lost {
            match known {
                Some(known) => explain_known(known, &mut reasons),
                None if self.book.is_full() => reasons.push(Cause::TooMany.into()),
                None => reasons.push(Cause::NeverHeard.into()),
            }
            if shown == State::Unknown {
                self.explain_out_of_sight(user, &mut reasons);
            }
        }
        Explanation { user_id: user.to_owned(), shown, reasons }
    }

    /// What the connection has to do with it.
    fn interruption(&self) -> Option<Reason> {
        let since = |at: Instant| Some(at.to_unix().0);
        let cause = match self.connection {
            Connection::LoggedOut => Cause::LoggedOut,
            Connection::Stopped => Cause::Stopped,
            Connection::Connecting => Cause::Connecting,
            Connection::Online | Connection::Offline => {
                let cause = if self.book.is_lost() { Cause::ConnectionLost } else { Cause::Interrupted };
                let at = self.sync.broken_at?;
                return Some(Reason { cause, since: since(at) });
            }
        };
        Some(Reason { cause, since: since(self.connection_since) })
    }

    fn explain_me(&self, now: Instant, reasons: &mut Vec<Reason>) {
        if self.me.idle && self.me.state_to_show(false) != self.me.state.state() {
            let since = now.to_unix().0.saturating_sub(millis(self.idle.timer.idle_for(now)));
            reasons.push(Reason { cause: Cause::IdleHere, since: Some(since) });
        }
        reasons.push(Cause::Chosen(self.me.state).into());
        if self.choice.is_open() {
            reasons.push(Cause::NotTold.into());
        }
    }

    /// Why the server may not say more.
    fn explain_out_of_sight(&self, user: &str, reasons: &mut Vec<Reason>) {
        if self.ignored.iter().any(|ignored| ignored == user) {
            reasons.push(Cause::Ignored.into());
        }
        let listed = self.contacts.of(user).and_then(|contact| contact.listed.as_ref());
        match listed.map(|listed| listed.standing) {
            Some(Standing::Pending) => reasons.push(Cause::ListPending.into()),
            Some(Standing::Denied) => reasons.push(Cause::ListDenied.into()),
            Some(Standing::Accepted) => (),
            None if self.rooms.values().any(|room| room.has_joined(user)) => (),
            None => reasons.push(Cause::NothingShared.into()),
        }
    }
}

fn explain_known(known: &Known, reasons: &mut Vec<Reason>) {
    let presence = &known.presence;
    let cause = match known.by {
        Source::Said => Cause::ServerSaid(presence.state),
        Source::Missing => Cause::NotMentioned,
    };
    reasons.push(Reason { cause, since: Some(known.since.0) });
    if presence.idle_since.is_some() {
        reasons.push(Reason { cause: Cause::Idle, since: presence.idle_since });
    } else if presence.last_active_at.is_some() && !presence.currently_active {
        reasons.push(Reason { cause: Cause::LastActive, since: presence.last_active_at });
    }
}

impl From<Cause> for Reason {
    fn from(cause: Cause) -> Self {
        Self { cause, since: None }
    }
}

impl ToJson for Explanation {
    fn write(&self, writer: &mut Writer) {
        writer.object(|fields| {
            fields.text("userId", &self.user_id);
            fields.text("shown", self.shown.as_str());
            fields.value("reasons", &self.reasons);
        });
    }
}

impl ToJson for Reason {
    fn write(&self, writer: &mut Writer) {
        writer.object(|fields| {
            fields.text("code", self.cause.code());
            fields.text("text", &self.cause.text());
            if let Some(since) = self.since {
                fields.integer("since", since);
            }
        });
    }
}
