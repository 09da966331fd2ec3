//! Presence lists on this server (L1 to L7): the core's lists of all users, the disk and the readers.
//!
//! A change of one list that concerns another user of this server is carried over to theirs in the
//! same step, and both are written together; what a user of another server is to be told of it is
//! written with it, and sent until that server has it. Who may see whom and who may invite is decided by the
//! core's rules ([`crate::core::visibility`], [`crate::core::policy`]) from what is kept here.

mod across;
mod change;
mod edu;
mod outbox;
mod remote;
mod sight;
mod strangers;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard};
use ruma::{OwnedUserId, ServerName, UserId};

pub use self::edu::is_list_edu;
use self::{
    outbox::Outbox,
    sight::{Shares, Sight},
    strangers::Strangers,
};
use super::{
    list::Settings,
    store::{Store, StoreError},
};
use crate::core::{
    list::{Contact, List, Observed, Observing},
    policy::Inviter,
    presence::State,
    visibility::Share,
};

/// The lists of all users of this server. Bounded by the bounds of each list.
#[derive(Debug, Default)]
pub struct Contacts {
    users: Mutex<HashMap<OwnedUserId, OfUser>>,
    /// Locked after `users`, when both are.
    shares: Mutex<Shares>,
    /// Locked after `users`, when both are.
    strangers: Mutex<Strangers>,
    outbox: Mutex<Outbox>,
    /// Changes are written one after the other, so that the last one stays.
    writing: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct OfUser {
    list: List,
    settings: Settings,
    sight: Sight,
}

impl OfUser {
    fn new(owner: &UserId, settings: Settings, contacts: Vec<(Arc<str>, Contact)>) -> Self {
        let list = List::restored(Arc::from(owner.as_str()), settings.auto_accept, contacts);
        let sight = Sight::new(list.observers());
        Self { list, settings, sight }
    }
}

impl Contacts {
    /// Reads all lists and settings from the store.
    pub async fn load(store: &Store) -> Result<Self, StoreError> {
        let mut settings: BTreeMap<OwnedUserId, Settings> =
            store.contact_settings().await?.into_iter().collect();
        let mut contacts: BTreeMap<OwnedUserId, Vec<(Arc<str>, Contact)>> =
            settings.keys().map(|owner| (owner.clone(), Vec::new())).collect();
        for (owner, contact, data) in store.contacts().await? {
            contacts.entry(owner).or_default().push((Arc::from(contact.as_str()), data));
        }
        let mut users = HashMap::new();
        let mut strangers = Strangers::default();
        for (owner, contacts) in contacts {
            let of = Arc::from(owner.as_str());
            contacts.iter().for_each(|(user, kept)| strangers.handle_contact(&of, user, Some(kept)));
            let settings = settings.remove(&owner).unwrap_or_default();
            let of_user = OfUser::new(&owner, settings, contacts);
            users.insert(owner, of_user);
        }
        Ok(Self { users: Mutex::new(users), strangers: Mutex::new(strangers), ..Self::default() })
    }

    /// Whether `observed` accepted `observer` on their list, and with whom they share at all.
    pub fn standing(&self, observer: &UserId, observed: &UserId) -> (bool, Share) {
        let users = self.lock();
        let Some(of_user) = users.get(observed) else { return (false, Share::default()) };
        let contact = of_user.list.contact(observer.as_str());
        let accepted = contact.is_some_and(|contact| contact.relation.observed() == Observed::Yes);
        (accepted, of_user.settings.share)
    }

    /// With whom `user` shares their presence.
    pub fn share_of(&self, user: &UserId) -> Share {
        self.lock().get(user).map(|of_user| of_user.settings.share).unwrap_or_default()
    }

    /// Whether `observer` has `observed`, who accepted, on their list.
    pub fn observes(&self, observer: &UserId, observed: &UserId) -> bool {
        let users = self.lock();
        let contact = users.get(observer).and_then(|of_user| of_user.list.contact(observed.as_str()));
        contact.is_some_and(|contact| contact.relation.observing() == Observing::Yes)
    }

    /// Those whom `observed` accepted on their list.
    pub fn observers(&self, observed: &UserId) -> Vec<OwnedUserId> {
        let users = self.lock();
        let observers = users.get(observed).into_iter().flat_map(|of_user| of_user.list.observers());
        observers.filter_map(|user| UserId::parse(&**user).ok()).collect()
    }

    /// Those on the list of `owner` who accepted: whom they can see by it.
    pub fn observed_by(&self, owner: &UserId) -> Vec<OwnedUserId> {
        self.entries(owner)
            .into_iter()
            .filter(|(_, contact)| contact.relation.observing() == Observing::Yes)
            .map(|(user, _)| user)
            .collect()
    }

    /// The list of `owner` (L1).
    pub fn entries(&self, owner: &UserId) -> Vec<(OwnedUserId, Contact)> {
        let users = self.lock();
        let entries = users.get(owner).into_iter().flat_map(|of_user| of_user.list.entries());
        entries.filter_map(|(user, c)| Some((UserId::parse(&**user).ok()?, c.clone()))).collect()
    }

    /// Everybody whom `owner` has, or had, to do with on a list.
    pub fn known_to(&self, owner: &UserId) -> Vec<OwnedUserId> {
        let users = self.lock();
        let known = users.get(owner).into_iter().flat_map(|of_user| of_user.list.contacts());
        known.filter_map(|(user, _)| UserId::parse(&**user).ok()).collect()
    }

    /// Those who wait for an answer of `owner` (L2).
    pub fn requests(&self, owner: &UserId) -> Vec<OwnedUserId> {
        let users = self.lock();
        let requests = users.get(owner).into_iter().flat_map(|of_user| of_user.list.requests());
        requests.filter_map(|user| UserId::parse(&**user).ok()).collect()
    }

    /// The groups of `owner`, each with its members (L4).
    pub fn groups(&self, owner: &UserId) -> BTreeMap<String, Vec<String>> {
        let users = self.lock();
        let Some(of_user) = users.get(owner) else { return BTreeMap::new() };
        let groups = of_user.list.groups().into_iter();
        groups
            .map(|(name, users)| (name.as_str().to_owned(), users.iter().map(ToString::to_string).collect()))
            .collect()
    }

    /// How `owner` shares presence and takes invites.
    pub fn settings(&self, owner: &UserId) -> Settings {
        self.lock().get(owner).map(|of_user| of_user.settings.clone()).unwrap_or_default()
    }

    /// Whether `inviter` may begin a private chat with `target`, who shows the state `shown` (L7).
    pub fn may_invite(&self, inviter: &UserId, target: &UserId, shown: State) -> bool {
        let users = self.lock();
        let Some(of_user) = users.get(target) else { return true };
        let contact = of_user.list.contact(inviter.as_str());
        let listed = contact.is_some_and(|contact| contact.relation.observing() != Observing::No);
        let groups = contact.into_iter().flat_map(|c| &c.groups).map(|group| group.as_str()).collect();
        of_user.settings.invites.may_invite(shown, &Inviter { listed, groups })
    }

    fn shares(&self) -> MutexGuard<'_, Shares> {
        locked(&self.shares)
    }

    /// Takes what is kept of a contact of `owner`, if anything is, to count the strangers.
    fn note_stranger(&self, owner: &UserId, user: &Arc<str>, kept: Option<&Contact>) {
        locked(&self.strangers).handle_contact(&Arc::from(owner.as_str()), user, kept);
    }

    /// Whether there is room for one more who asks `owner`, of `server`.
    fn has_room_for_stranger(&self, owner: &UserId, server: &ServerName) -> bool {
        locked(&self.strangers).has_room(owner.as_str(), server)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OwnedUserId, OfUser>> {
        locked(&self.users)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
