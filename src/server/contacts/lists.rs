//! The lists of all users as they are on the disk, and what is asked of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard};
use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};

use super::strangers::Strangers;
use crate::{
    core::{
        list::{Contact, List, Observed, Observing},
        policy::{Admit, Listing},
        presence::Choice,
        visibility::Share,
    },
    server::{
        change::feed::Change,
        clock::Clock,
        list::{ListRow, Settings},
        store::{Store, StoreError},
    },
};

/// The lists of all users of this server. Bounded by the bounds of each list.
#[derive(Debug)]
pub struct Contacts {
    pub(super) store: Arc<Store>,
    pub(super) clock: Clock,
    pub(super) server_name: OwnedServerName,
    inner: Mutex<Inner>,
    /// Held from the copying of lists until memory has followed what was made of them.
    pub(super) writing: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Inner {
    users: HashMap<OwnedUserId, OfUser>,
    /// Whom users ignore: those of their account data, bounded by its size.
    ignored: HashMap<OwnedUserId, Arc<BTreeSet<OwnedUserId>>>,
    strangers: Strangers,
}

#[derive(Debug)]
struct OfUser {
    list: List,
    settings: Settings,
}

impl Contacts {
    /// Reads all lists and settings from the store.
    pub async fn load(
        store: Arc<Store>,
        clock: Clock,
        server_name: OwnedServerName,
    ) -> Result<Self, StoreError> {
        let mut inner = Inner::default();
        for (owner, settings) in store.contact_settings().await? {
            inner.of_user(&owner).replace_settings(settings);
        }
        for (owner, contact, kept) in store.contacts().await? {
            inner.keep(&owner, &contact, Some(kept));
        }
        inner.ignored.extend(store.ignored_users().await?.into_iter().map(|(user, of)| (user, Arc::new(of))));
        Ok(Self { store, clock, server_name, inner: Mutex::new(inner), writing: Arc::default() })
    }

    /// Takes over what was written.
    pub fn follow(&self, change: &Change) {
        match change {
            Change::PresenceList { rows, .. } => {
                let mut inner = self.lock();
                for ListRow { owner, contact, kept, .. } in rows {
                    inner.keep(owner, contact, kept.clone());
                }
            }
            Change::PresenceSettings { owner, settings, .. } => {
                self.lock().of_user(owner).replace_settings(settings.clone());
            }
            Change::Ignored { user, now, .. } => {
                let mut inner = self.lock();
                if now.is_empty() {
                    inner.ignored.remove(user);
                } else {
                    inner.ignored.insert(user.clone(), Arc::new(now.clone()));
                }
            }
            _ => {}
        }
    }

    /// The users who have a list, or had one.
    pub fn owners(&self) -> BTreeSet<OwnedUserId> {
        #[expect(clippy::disallowed_methods, reason = "collected in order")]
        self.lock().users.keys().cloned().collect()
    }

    /// Whether `observed` accepted `observer` on their list, and with whom they share at all.
    pub fn standing(&self, observer: &UserId, observed: &UserId) -> (bool, Share) {
        let inner = self.lock();
        let Some(of_user) = inner.users.get(observed) else { return (false, Share::default()) };
        let contact = of_user.list.contact(observer.as_str());
        let accepted = contact.is_some_and(|contact| contact.relation.observed() == Observed::Yes);
        (accepted, of_user.settings.share)
    }

    /// With whom `user` shares their presence.
    pub fn share_of(&self, user: &UserId) -> Share {
        self.lock().users.get(user).map(|of_user| of_user.settings.share).unwrap_or_default()
    }

    /// With whom users share their presence, where it is not the default.
    pub fn shares(&self) -> BTreeMap<OwnedUserId, Share> {
        let inner = self.lock();
        #[expect(clippy::disallowed_methods, reason = "collected in order")]
        let shares = inner.users.iter().map(|(user, of_user)| (user.clone(), of_user.settings.share));
        shares.filter(|(_, share)| *share != Share::default()).collect()
    }

    /// Whether `observer` has `observed`, who accepted, on their list.
    pub fn observes(&self, observer: &UserId, observed: &UserId) -> bool {
        let inner = self.lock();
        let contact = inner.users.get(observer).and_then(|of_user| of_user.list.contact(observed.as_str()));
        contact.is_some_and(|contact| contact.relation.observing() == Observing::Yes)
    }

    /// Those whom `observed` accepted on their list.
    pub fn observers(&self, observed: &UserId) -> Vec<OwnedUserId> {
        let inner = self.lock();
        let observers = inner.users.get(observed).into_iter().flat_map(|of_user| of_user.list.observers());
        observers.filter_map(|user| UserId::parse(&**user).ok()).collect()
    }

    /// Those on the list of `owner` who accepted: whom they can see by it.
    pub fn observed_by(&self, owner: &UserId) -> Vec<OwnedUserId> {
        let inner = self.lock();
        let entries = inner.users.get(owner).into_iter().flat_map(|of_user| of_user.list.entries());
        let accepted = entries.filter(|(_, contact)| contact.relation.observing() == Observing::Yes);
        accepted.filter_map(|(user, _)| UserId::parse(&**user).ok()).collect()
    }

    /// The list of `owner` (L1).
    pub fn entries(&self, owner: &UserId) -> Vec<(OwnedUserId, Contact)> {
        let inner = self.lock();
        let entries = inner.users.get(owner).into_iter().flat_map(|of_user| of_user.list.entries());
        entries.filter_map(|(user, c)| Some((UserId::parse(&**user).ok()?, c.clone()))).collect()
    }

    /// Everybody whom `owner` has, or had, to do with on a list.
    pub fn known_to(&self, owner: &UserId) -> Vec<OwnedUserId> {
        let inner = self.lock();
        let known = inner.users.get(owner).into_iter().flat_map(|of_user| of_user.list.contacts());
        known.filter_map(|(user, _)| UserId::parse(&**user).ok()).collect()
    }

    /// How many these are.
    pub fn count_known_to(&self, owner: &UserId) -> usize {
        self.lock().users.get(owner).map_or(0, |of_user| of_user.list.contacts().count())
    }

    /// Those who wait for an answer of `owner` (L2), but for whom the owner ignores or does not hear again yet.
    pub fn requests(&self, owner: &UserId) -> Vec<OwnedUserId> {
        let now = self.clock.now();
        let inner = self.lock();
        let requests = inner.users.get(owner).into_iter().flat_map(|of_user| of_user.list.requests(now));
        let requests = requests.filter_map(|user| UserId::parse(&**user).ok());
        requests.filter(|user| !inner.ignores(owner, user)).collect()
    }

    /// Whether `user` ignores `other`.
    pub fn ignores(&self, user: &UserId, other: &UserId) -> bool {
        self.lock().ignores(user, other)
    }

    /// Whether one of two users ignores the other: then neither is told of the other's presence.
    pub fn are_apart(&self, one: &UserId, other: &UserId) -> bool {
        let inner = self.lock();
        inner.ignores(one, other) || inner.ignores(other, one)
    }

    /// Whom `user` ignores.
    pub fn ignored_by(&self, user: &UserId) -> Arc<BTreeSet<OwnedUserId>> {
        self.lock().ignored.get(user).cloned().unwrap_or_default()
    }

    /// The groups of `owner`, each with its members (L4).
    pub fn groups(&self, owner: &UserId) -> BTreeMap<String, Vec<String>> {
        let inner = self.lock();
        let Some(of_user) = inner.users.get(owner) else { return BTreeMap::new() };
        let groups = of_user.list.groups().into_iter();
        groups
            .map(|(name, users)| (name.as_str().to_owned(), users.iter().map(ToString::to_string).collect()))
            .collect()
    }

    /// How `owner` shares presence and takes invites.
    pub fn settings(&self, owner: &UserId) -> Settings {
        self.lock().users.get(owner).map(|of_user| of_user.settings.clone()).unwrap_or_default()
    }

    /// Whether `owner` has `user` on their list, and not only as somebody who asked.
    pub fn has_on_list(&self, owner: &UserId, user: &UserId) -> bool {
        let inner = self.lock();
        let contact = inner.users.get(owner).and_then(|of_user| of_user.list.contact(user.as_str()));
        contact.is_some_and(|contact| contact.relation.observing() != Observing::No)
    }

    /// Whether `inviter` may begin a private chat with `target`, whose choice of state is `chosen` (L7).
    pub fn may_invite(&self, inviter: &UserId, target: &UserId, chosen: Choice) -> bool {
        let inner = self.lock();
        let Some(of_user) = inner.users.get(target) else { return true };
        of_user.settings.invites.may_invite(chosen, &of_user.listing(inviter))
    }

    /// Whether `owner` means `user` by this word.
    pub fn admits(&self, owner: &UserId, admit: &Admit, user: &UserId) -> bool {
        let inner = self.lock();
        match inner.users.get(owner) {
            Some(of_user) => admit.admits(&of_user.listing(user)),
            None => admit.admits(&Listing::default()),
        }
    }

    /// A copy of the list of `owner`.
    pub(super) fn list(&self, owner: &UserId) -> List {
        self.lock().users.get(owner).map_or_else(|| OfUser::new(owner).list, |of_user| of_user.list.clone())
    }

    /// What is kept about `user` by `owner`, if anything is.
    pub(super) fn contact(&self, owner: &UserId, user: &str) -> Option<Contact> {
        self.lock().users.get(owner)?.list.contact(user).cloned()
    }

    /// Whether there is room for one more who asks `owner`, of `server`, beside those of `more`, who asked in
    /// the step that is under way.
    pub(super) fn has_room_for_stranger(
        &self,
        owner: &UserId,
        server: &ServerName,
        more: &[(OwnedUserId, OwnedServerName)],
    ) -> bool {
        self.lock().strangers.has_room(owner, server, more)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Inner {
    fn ignores(&self, user: &UserId, other: &UserId) -> bool {
        self.ignored.get(user).is_some_and(|ignored| ignored.contains(other))
    }

    fn of_user(&mut self, owner: &UserId) -> &mut OfUser {
        if !self.users.contains_key(owner) {
            self.users.insert(owner.to_owned(), OfUser::new(owner));
        }
        self.users.get_mut(owner).expect("was inserted above")
    }

    fn keep(&mut self, owner: &UserId, contact: &UserId, kept: Option<Contact>) {
        let user = Arc::from(contact.as_str());
        self.strangers.handle_contact(&Arc::from(owner.as_str()), &user, kept.as_ref());
        self.of_user(owner).list.restore(&user, kept);
    }
}

impl OfUser {
    fn new(owner: &UserId) -> Self {
        let settings = Settings::default();
        let list = List::restored(Arc::from(owner.as_str()), settings.auto_accept, []);
        Self { list, settings }
    }

    /// What the list says of `user`.
    fn listing(&self, user: &UserId) -> Listing<'_> {
        let contact = self.list.contact(user.as_str());
        let listed = contact.is_some_and(|contact| contact.relation.observing() != Observing::No);
        let groups = contact.into_iter().flat_map(|c| &c.groups).map(|group| group.as_str()).collect();
        Listing { listed, groups }
    }

    fn replace_settings(&mut self, settings: Settings) {
        self.list.restore_auto_accept(settings.auto_accept);
        self.settings = settings;
    }
}
