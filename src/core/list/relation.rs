//! What one user keeps about one other: whether they observe them, and are observed by them (L2, L3).
//!
//! Two halves, each shared with the other user's server, which keeps the opposite one. An observer's
//! requests are numbered; an answer names the request that it answers. So each half only ever
//! moves up an order, the request's number first, then within one request
//!
//! * at the observer: asked, dropped; at the observed: asked, accepted, denied;
//!
//! and both servers end up with the same, however messages are lost, repeated or overtaken, as long as
//! [`Relation::claims`] is sent again some time. A denial is final for its request and so is a drop:
//! to try again is a new request.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// Whether this user observes the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observing {
    /// Not on the list.
    #[default]
    No,
    /// On the list; the other has not answered.
    Asked,
    /// On the list, and accepted.
    Yes,
    /// On the list; the other has denied, or revoked what they granted.
    Denied,
}

/// Whether the other observes this user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed {
    /// They have not asked, or withdrew.
    #[default]
    No,
    /// They wait for an answer.
    Asked,
    /// They were accepted.
    Yes,
    /// They were denied, or what was granted them was revoked.
    Denied,
}

/// What the two servers say to each other of an observer and an observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `m.presence_invite`: the observer asks.
    Invite,
    /// The observer does not, or does no longer, want to observe.
    Drop,
    /// `m.presence_accept`: the observed grants it.
    Accept,
    /// `m.presence_deny`: the observed does not grant it, or no longer.
    Deny,
}

/// One of the two halves of a relation; each is one server's to decide. A later message about a half
/// makes those before it needless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Half {
    /// What the observer says: [`Kind::Invite`], [`Kind::Drop`].
    Asking,
    /// What the observed says: [`Kind::Accept`], [`Kind::Deny`].
    Answering,
}

impl Kind {
    /// Which half of a relation such a message is about.
    pub const fn half(self) -> Half {
        match self {
            Self::Invite | Self::Drop => Half::Asking,
            Self::Accept | Self::Deny => Half::Answering,
        }
    }
}

/// A message of one [`Kind`] about the request with one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Message {
    /// What it says.
    pub kind: Kind,
    /// The observer's number of the request.
    pub seq: u64,
}

/// What the user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Observe the other.
    Add,
    /// Observe them no longer.
    Remove,
    /// Let the other observe.
    Accept,
    /// Do not let them, or no longer.
    Deny,
}

/// Which requests to observe this user are accepted without asking the user (L3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoAccept {
    /// Those of whom this user observes already.
    #[default]
    Reverse,
    /// All: the user's own choice.
    Everybody,
}

/// What follows from an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// The other's server is to be told.
    Send(Message),
    /// The user's own view of the other changed: asked, accepted, denied or off the list.
    Listed(Observing),
    /// The other's standing with this user changed: a request to show or to take away, updates to start
    /// or (if it is not `Yes`) to stop at once.
    Standing(Observed),
}

/// Both halves, with the numbers of their last requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    observing: Observing,
    asked: u64,
    observed: Observed,
    heard: u64,
}

impl Relation {
    /// Whether this user observes the other.
    pub const fn observing(&self) -> Observing {
        self.observing
    }

    /// Whether the other observes this user.
    pub const fn observed(&self) -> Observed {
        self.observed
    }

    /// Whether there is nothing between the two, but numbers to tell late messages by.
    pub const fn is_over(&self) -> bool {
        matches!(self.observing, Observing::No) && matches!(self.observed, Observed::No | Observed::Denied)
    }

    /// What to send again in case it was lost: all that the other server has to know.
    pub fn claims(&self) -> impl Iterator<Item = Message> {
        let asks = match (self.observing, self.asked) {
            (Observing::No, 0) | (Observing::Denied, _) => None,
            (Observing::No, _) => Some(Kind::Drop),
            (Observing::Asked | Observing::Yes, _) => Some(Kind::Invite),
        };
        let answers = match self.observed {
            Observed::No | Observed::Asked => None,
            Observed::Yes => Some(Kind::Accept),
            Observed::Denied => Some(Kind::Deny),
        };
        let (asked, heard) = (self.asked, self.heard);
        asks.map(|kind| Message { kind, seq: asked })
            .into_iter()
            .chain(answers.map(|kind| Message { kind, seq: heard }))
    }

    /// Takes a wish of the user. What is so already changes nothing.
    pub fn handle_wish(&mut self, wish: Wish, auto: AutoAccept) -> Vec<Effect> {
        let before = *self;
        let message = match (wish, self.observing, self.observed) {
            (Wish::Add, Observing::No | Observing::Denied, _) => {
                self.observing = Observing::Asked;
                self.asked = self.asked.saturating_add(1);
                Some(self.asking(Kind::Invite))
            }
            (Wish::Add, Observing::Asked | Observing::Yes, _) => None,
            (Wish::Remove, Observing::Asked | Observing::Yes, _) => {
                self.observing = Observing::No;
                Some(self.asking(Kind::Drop))
            }
            (Wish::Remove, Observing::No | Observing::Denied, _) => {
                self.observing = Observing::No;
                None
            }
            (Wish::Accept, _, Observed::Asked) => {
                self.observed = Observed::Yes;
                Some(self.answering(Kind::Accept))
            }
            (Wish::Accept, _, Observed::No | Observed::Yes | Observed::Denied) => None,
            (Wish::Deny, _, Observed::Asked | Observed::Yes) => {
                self.observed = Observed::Denied;
                Some(self.answering(Kind::Deny))
            }
            (Wish::Deny, _, Observed::No | Observed::Denied) => None,
        };
        self.effects(before, message, auto)
    }

    /// Takes a message of the other's server. Without a number it is taken to be about the last request,
    /// an invitation after the end of the last one to be a new request.
    pub fn handle_message(&mut self, kind: Kind, seq: Option<u64>, auto: AutoAccept) -> Vec<Effect> {
        let before = *self;
        let message = match kind {
            Kind::Invite | Kind::Drop => self.handle_request(kind, seq),
            Kind::Accept | Kind::Deny => self.handle_answer(kind, seq.unwrap_or(self.asked)),
        };
        self.effects(before, message, auto)
    }

    /// The observed's half of the table.
    fn handle_request(&mut self, kind: Kind, seq: Option<u64>) -> Option<Message> {
        let over = matches!(self.observed, Observed::No | Observed::Denied);
        let seq = seq.unwrap_or(match kind {
            Kind::Invite if over => self.heard.saturating_add(1),
            _ => self.heard,
        });
        match (kind, seq.cmp(&self.heard), self.observed) {
            (Kind::Invite, Ordering::Greater, _) => {
                (self.observed, self.heard) = (Observed::Asked, seq);
                None
            }
            // The answer was lost, or the asker lost count.
            (Kind::Invite, _, Observed::Yes) => Some(self.answering(Kind::Accept)),
            (Kind::Invite, _, Observed::Denied) => Some(self.answering(Kind::Deny)),
            (Kind::Invite, Ordering::Less, Observed::No) => Some(self.answering(Kind::Deny)),
            (Kind::Invite, Ordering::Less | Ordering::Equal, Observed::Asked) => None,
            (Kind::Invite, Ordering::Equal, Observed::No) => None,
            (Kind::Drop, Ordering::Less, _) => None,
            (Kind::Drop, Ordering::Equal, Observed::Denied) => None,
            (Kind::Drop, Ordering::Equal | Ordering::Greater, _) => {
                (self.observed, self.heard) = (Observed::No, seq);
                None
            }
            (Kind::Accept | Kind::Deny, ..) => unreachable!("an answer, not a request"),
        }
    }

    /// The observer's half of the table.
    fn handle_answer(&mut self, kind: Kind, seq: u64) -> Option<Message> {
        match (kind, seq.cmp(&self.asked), self.observing) {
            (_, Ordering::Less, Observing::Asked | Observing::Yes | Observing::Denied) => None,
            (Kind::Accept, Ordering::Less, Observing::No) => Some(self.asking(Kind::Drop)),
            (Kind::Deny, Ordering::Less, Observing::No) => None,
            // The number is greater where this side lost count; then the other side's holds.
            (Kind::Accept, _, Observing::No) => {
                self.asked = seq;
                Some(self.asking(Kind::Drop))
            }
            (Kind::Accept, Ordering::Equal, Observing::Denied) => None,
            (Kind::Accept, Ordering::Equal | Ordering::Greater, _) => {
                (self.observing, self.asked) = (Observing::Yes, seq);
                None
            }
            (Kind::Deny, _, Observing::No) => {
                self.asked = seq;
                None
            }
            (Kind::Deny, Ordering::Equal | Ordering::Greater, _) => {
                (self.observing, self.asked) = (Observing::Denied, seq);
                None
            }
            (Kind::Invite | Kind::Drop, ..) => unreachable!("a request, not an answer"),
        }
    }

    /// Accepts by itself where it may, and lists what is different from before.
    fn effects(&mut self, before: Self, message: Option<Message>, auto: AutoAccept) -> Vec<Effect> {
        let mut effects: Vec<Effect> = message.map(Effect::Send).into_iter().collect();
        let reverse = self.observing == Observing::Yes || auto == AutoAccept::Everybody;
        if self.observed == Observed::Asked && reverse {
            self.observed = Observed::Yes;
            effects.push(Effect::Send(self.answering(Kind::Accept)));
        }
        if self.observing != before.observing {
            effects.push(Effect::Listed(self.observing));
        }
        // A new request is news though the state be the same: the former one ended in between.
        let asked_anew = self.heard != before.heard && self.observed != Observed::No;
        if self.observed != before.observed || asked_anew {
            effects.push(Effect::Standing(self.observed));
        }
        effects
    }

    const fn asking(&self, kind: Kind) -> Message {
        Message { kind, seq: self.asked }
    }

    const fn answering(&self, kind: Kind) -> Message {
        Message { kind, seq: self.heard }
    }
}

#[cfg(test)]
mod tests;
