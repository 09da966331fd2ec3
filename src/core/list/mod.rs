//! One user's presence list (L1 to L5): whom they observe and who observes them, in groups.
//!
//! [`Relation`] is the table of one pair of users; [`List`] the role that owns all pairs of one user,
//! bounds them and hands out what is to be sent, stored and shown. Who may see whom is decided
//! elsewhere, from the standing that is kept here. Source: `presence.md`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::time::Instant;

mod denials;
mod name;
mod relation;

pub use denials::Denials;
pub use name::{AclPointer, BadName, GroupName};
pub use relation::{AutoAccept, Effect, Half, Kind, Message, Observed, Observing, Relation, Wish};

/// What a user keeps about one other user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Who of the two observes whom.
    #[serde(flatten)]
    pub relation: Relation,
    /// The groups the user put the contact in (L4).
    pub groups: BTreeSet<GroupName>,
    /// What the client keeps with the entry (L5).
    pub acl: Option<AclPointer>,
    /// How often they were denied, and whether they are heard.
    #[serde(default, skip_serializing_if = "Denials::is_none")]
    pub denials: Denials,
}

impl Contact {
    /// Whether they wait for an answer that the user is to be asked for: they were not denied lately.
    pub fn asks(&self, now: Instant) -> bool {
        self.relation.observed() == Observed::Asked && self.denials.hear(now)
    }
}

/// What follows from an input, in one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The contact changed and is to be stored, before anything else of the same input is done. If there
    /// is none (any longer), it was forgotten.
    Store {
        /// The other user.
        contact: Arc<str>,
    },
    /// Something to send or to show.
    Effect {
        /// The other user.
        contact: Arc<str>,
        /// What it is.
        effect: Effect,
    },
}

/// Why a user cannot be put on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddError {
    /// The list has [`List::MAX_ENTRIES`] already.
    Full,
    /// Nobody observes themselves.
    Oneself,
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(f, "a presence list holds at most {} users", List::MAX_ENTRIES),
            Self::Oneself => f.write_str("a user is not on their own presence list"),
        }
    }
}

impl std::error::Error for AddError {}

/// Why a contact cannot be put into a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupError {
    /// The user is not on the list.
    NotListed,
    /// There are [`List::MAX_GROUPS`] groups already.
    TooMany,
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListed => f.write_str("only users on the presence list can be in its groups"),
            Self::TooMany => write!(f, "a presence list holds at most {} groups", List::MAX_GROUPS),
        }
    }
}

impl std::error::Error for GroupError {}

/// The other user has not asked to observe this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRequest;

impl fmt::Display for NoRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no request of this user to accept")
    }
}

impl std::error::Error for NoRequest {}

/// The presence list of one user.
#[derive(Clone, Debug)]
pub struct List {
    owner: Arc<str>,
    auto: AutoAccept,
    contacts: BTreeMap<Arc<str>, Contact>,
    /// How many of the contacts are on the list.
    listed: usize,
    queue: VecDeque<Output>,
}

impl List {
    /// The users that can be on a list.
    pub const MAX_ENTRIES: usize = 2_000;

    /// The groups that a list can have.
    pub const MAX_GROUPS: usize = 100;

    /// The users that can ask, observe or have observed without being on the list. Beyond it those who are
    /// done with are forgotten, and if there are none, a new request is dropped.
    pub const MAX_OTHERS: usize = 10_000;

    /// The list of `owner` as it was stored.
    pub fn restored(
        owner: Arc<str>,
        auto: AutoAccept,
        contacts: impl IntoIterator<Item = (Arc<str>, Contact)>,
    ) -> Self {
        let contacts = contacts.into_iter().collect();
        let mut list = Self { owner, auto, contacts, listed: 0, queue: VecDeque::new() };
        list.listed = list.entries().count();
        list
    }

    /// Takes over what was stored of a contact; `None`: it was forgotten. Nothing follows from it.
    pub fn restore(&mut self, user: &Arc<str>, stored: Option<Contact>) {
        let listed = |contact: &Contact| usize::from(contact.relation.observing() != Observing::No);
        let after = stored.as_ref().map_or(0, listed);
        let before = match stored {
            Some(contact) => self.contacts.insert(Arc::clone(user), contact),
            None => self.contacts.remove(user),
        };
        self.listed = self.listed + after - before.as_ref().map_or(0, listed);
    }

    /// Takes over whom to accept unasked, as it was stored. Nothing follows from it.
    pub fn restore_auto_accept(&mut self, auto: AutoAccept) {
        self.auto = auto;
    }

    /// What is kept about a user.
    pub fn contact(&self, user: &str) -> Option<&Contact> {
        self.contacts.get(user)
    }

    /// Everybody of whom something is kept, also those who are done with.
    pub fn contacts(&self) -> impl Iterator<Item = (&Arc<str>, &Contact)> {
        self.contacts.iter()
    }

    /// The users on the list, accepted or not (L1).
    pub fn entries(&self) -> impl Iterator<Item = (&Arc<str>, &Contact)> {
        self.contacts.iter().filter(|(_, contact)| contact.relation.observing() != Observing::No)
    }

    /// The users who wait for an answer, and are to be shown (L2).
    pub fn requests(&self, now: Instant) -> impl Iterator<Item = &Arc<str>> {
        self.contacts.iter().filter(move |(_, contact)| contact.asks(now)).map(|(user, _)| user)
    }

    /// The users who were accepted to observe this one.
    pub fn observers(&self) -> impl Iterator<Item = &Arc<str>> {
        self.with_standing(Observed::Yes)
    }

    /// The groups, each with its members (L4).
    pub fn groups(&self) -> BTreeMap<&GroupName, Vec<&Arc<str>>> {
        let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (user, contact) in &self.contacts {
            for group in &contact.groups {
                groups.entry(group).or_default().push(user);
            }
        }
        groups
    }

    /// Whom to accept unasked from here on, and of those who wait and whom the owner `hears`.
    pub fn handle_auto_accept(&mut self, auto: AutoAccept, hears: impl Fn(&str) -> bool) {
        self.auto = auto;
        if auto == AutoAccept::Everybody {
            let waiting = self.with_standing(Observed::Asked).filter(|user| hears(user));
            let waiting: Vec<_> = waiting.cloned().collect();
            for user in waiting {
                self.wish(&user, Wish::Accept);
            }
        }
    }

    /// Puts a user on the list, or on an entry there is another ACL pointer, if one is given.
    pub fn handle_add(&mut self, user: &Arc<str>, acl: Option<AclPointer>) -> Result<(), AddError> {
        if *user == self.owner {
            return Err(AddError::Oneself);
        }
        if !self.is_listed(user) && self.listed >= Self::MAX_ENTRIES {
            return Err(AddError::Full);
        }
        let contact = self.contacts.entry(Arc::clone(user)).or_default();
        if acl.is_some() && contact.acl != acl {
            contact.acl = acl;
            self.queue.push_back(Output::Store { contact: Arc::clone(user) });
        }
        self.wish(user, Wish::Add);
        Ok(())
    }

    /// Takes a user off the list, and out of its groups.
    pub fn handle_remove(&mut self, user: &Arc<str>) {
        if let Some(contact) = self.contacts.get_mut(user) {
            contact.groups.clear();
            contact.acl = None;
            self.wish(user, Wish::Remove);
        }
    }

    /// Lets a user observe who has asked to.
    pub fn handle_accept(&mut self, user: &Arc<str>) -> Result<(), NoRequest> {
        match self.contact(user).map(|contact| contact.relation.observed()) {
            Some(Observed::Asked) => {
                self.wish(user, Wish::Accept);
                if let Some(contact) = self.contacts.get_mut(user) {
                    contact.denials.handle_accepted();
                }
            }
            Some(Observed::Yes) => {}
            Some(Observed::No | Observed::Denied) | None => return Err(NoRequest),
        }
        Ok(())
    }

    /// Denies a request, or revokes what was granted. Whose request is denied is not heard for a while, longer each
    /// time; what was granted once can be asked for again.
    pub fn handle_deny(&mut self, user: &Arc<str>, now: Instant) {
        let Some(contact) = self.contacts.get_mut(user) else { return };
        if contact.relation.observed() == Observed::Asked {
            contact.denials.handle_denied(now);
        }
        self.wish(user, Wish::Deny);
    }

    /// Puts a contact into a group, which there is from then on, or takes it out.
    pub fn handle_group(
        &mut self,
        user: &Arc<str>,
        group: &GroupName,
        membership: Membership,
    ) -> Result<(), GroupError> {
        if !self.is_listed(user) {
            return Err(GroupError::NotListed);
        }
        let groups = self.groups();
        let is_new = membership == Membership::In && !groups.contains_key(group);
        if is_new && groups.len() >= Self::MAX_GROUPS {
            return Err(GroupError::TooMany);
        }
        let contact = self.contacts.get_mut(user).expect("a listed user is a contact");
        let changed = match membership {
            Membership::In => contact.groups.insert(group.clone()),
            Membership::Out => contact.groups.remove(group),
        };
        if changed {
            self.queue.push_back(Output::Store { contact: Arc::clone(user) });
        }
        Ok(())
    }

    /// Takes what a user, or their server for them, says about observing. That it may speak for this user
    /// is for the shell to see to.
    pub fn handle_message(&mut self, from: &Arc<str>, kind: Kind, seq: Option<u64>) {
        if *from == self.owner || !self.make_room(from, kind) {
            return;
        }
        let auto = self.auto;
        self.change(from, |relation| relation.handle_message(kind, seq, auto));
    }

    /// The next of the things that follow from the inputs; to be called until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }

    fn is_listed(&self, user: &str) -> bool {
        self.contact(user).is_some_and(|contact| contact.relation.observing() != Observing::No)
    }

    fn with_standing(&self, standing: Observed) -> impl Iterator<Item = &Arc<str>> {
        self.contacts
            .iter()
            .filter(move |(_, contact)| contact.relation.observed() == standing)
            .map(|(user, _)| user)
    }

    fn wish(&mut self, user: &Arc<str>, wish: Wish) {
        let auto = self.auto;
        if self.contacts.contains_key(user) {
            self.change(user, |relation| relation.handle_wish(wish, auto));
        }
    }

    fn change(&mut self, user: &Arc<str>, input: impl FnOnce(&mut Relation) -> Vec<Effect>) {
        let contact = self.contacts.entry(Arc::clone(user)).or_default();
        let before = contact.relation;
        let effects = input(&mut contact.relation);
        let is_listed = |relation: &Relation| usize::from(relation.observing() != Observing::No);
        self.listed = self.listed + is_listed(&contact.relation) - is_listed(&before);
        if contact.relation != before {
            self.queue.push_back(Output::Store { contact: Arc::clone(user) });
        }
        for effect in effects {
            self.queue.push_back(Output::Effect { contact: Arc::clone(user), effect });
        }
    }

    /// Whether a message of this user can be taken, after forgetting who is done with if need be. Of a
    /// stranger only a request is.
    fn make_room(&mut self, user: &Arc<str>, kind: Kind) -> bool {
        if self.contacts.contains_key(user) {
            return true;
        }
        if kind != Kind::Invite {
            return false;
        }
        if self.contacts.len() - self.listed >= Self::MAX_OTHERS {
            self.forget_who_is_done_with();
        }
        self.contacts.len() - self.listed < Self::MAX_OTHERS
    }

    fn forget_who_is_done_with(&mut self) {
        let queue = &mut self.queue;
        self.contacts.retain(|user, contact| {
            let over = contact.relation.is_over();
            if over {
                queue.push_back(Output::Store { contact: Arc::clone(user) });
            }
            !over
        });
    }
}

/// Whether a contact is in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// It is.
    In,
    /// It is not.
    Out,
}

#[cfg(test)]
mod tests;
