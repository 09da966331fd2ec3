//! Changes of presence lists: through the core on copies, over to the other user's list, and to the disk in one
//! write with what devices and other servers are to be told of it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use ruma::{OwnedServerName, OwnedUserId, UserId};

use super::{lists::Contacts, refusal::Refusal, strangers::is_stranger};
use crate::{
    core::{
        list::{Contact, Effect, Half, Kind, List, Observed, Output},
        time::Instant,
    },
    server::{
        finish::finish,
        list::{ListMessage, ListRow, Settings},
        store::{AccountDataKey, ContactWrite, SettingsWrite},
    },
};

/// The type of the account data that tells a user's devices that their list, requests or settings changed.
pub const LIST_CHANGED: &str = "org.pilotlight.presence_list";

impl Contacts {
    /// Changes the list of `owner`; on the disk, with what follows for others, when this returns.
    ///
    /// # Errors
    /// What `input` refuses with, and [`Refusal::Store`]; then nothing is changed.
    pub async fn change(
        &self,
        owner: &UserId,
        input: impl FnOnce(&mut List) -> Result<(), Refusal> + Send,
    ) -> Result<(), Refusal> {
        self.change_together(|step| step.change(owner, input)).await
    }

    /// Changes several lists in one step; like [`Self::change`] otherwise.
    ///
    /// # Errors
    /// As for [`Self::change`].
    pub async fn change_together<T: Send>(
        &self,
        input: impl FnOnce(&mut Step<'_>) -> Result<T, Refusal> + Send,
    ) -> Result<T, Refusal> {
        let writing = Arc::clone(&self.writing).lock_owned().await;
        let (result, write) = {
            let mut step = Step::new(self);
            let result = input(&mut step)?;
            (result, step.into_write())
        };
        if !write.is_empty() {
            let store = Arc::clone(&self.store);
            finish(async move {
                let written = store.put_contacts(write).await;
                drop(writing);
                written.map_err(Refusal::from)
            })
            .await?;
        }
        Ok(result)
    }

    /// Changes how `owner` shares presence and takes invites; on the disk, with what follows for others, when
    /// this returns.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails; then nothing is changed.
    pub async fn change_settings(&self, owner: &UserId, settings: Settings) -> Result<(), Refusal> {
        let ignored = self.ignored_by(owner);
        let hears = |user: &str| <&UserId>::try_from(user).is_ok_and(|user| !ignored.contains(user));
        self.change_together(|step| {
            let auto = settings.auto_accept;
            step.settings = Some((owner.to_owned(), settings));
            step.change(owner, |list| {
                list.handle_auto_accept(auto, hears);
                Ok(())
            })
        })
        .await
    }

    /// Ends every relation of a user whose account is closed: they observe nobody and nobody observes them.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails; then nothing is changed.
    pub async fn close(&self, owner: &UserId) -> Result<(), Refusal> {
        let now = self.clock.now();
        self.change(owner, |list| {
            let contacts: Vec<Arc<str>> = list.contacts().map(|(user, _)| Arc::clone(user)).collect();
            for contact in contacts {
                list.handle_remove(&contact);
                list.handle_deny(&contact, now);
            }
            Ok(())
        })
        .await
    }
}

/// Several lists being changed together: copies of those that the step reaches, until they are written.
#[derive(Debug)]
pub struct Step<'a> {
    contacts: &'a Contacts,
    lists: BTreeMap<OwnedUserId, List>,
    /// What of the copies may be different: owner, contact.
    touched: BTreeSet<(OwnedUserId, Arc<str>)>,
    /// What to tell other servers: the last message about each half.
    outbox: BTreeMap<(OwnedUserId, OwnedUserId, Half), ListMessage>,
    settings: Option<(OwnedUserId, Settings)>,
    /// Who asks for the first time in this step: whom, and from which server.
    strangers: Vec<(OwnedUserId, OwnedServerName)>,
}

impl<'a> Step<'a> {
    fn new(contacts: &'a Contacts) -> Self {
        Self {
            contacts,
            lists: BTreeMap::new(),
            touched: BTreeSet::new(),
            outbox: BTreeMap::new(),
            settings: None,
            strangers: Vec::new(),
        }
    }

    /// Changes the list of `owner`, and those that its messages reach.
    ///
    /// # Errors
    /// What `input` refuses with; then the whole step is to be given up.
    pub fn change<T>(
        &mut self,
        owner: &UserId,
        input: impl FnOnce(&mut List) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let result = input(self.list(owner))?;
        self.carry_over(owner);
        Ok(result)
    }

    /// Takes what `from`, of another server, says about observing to `owner`, or their server for them. That it
    /// may is for the caller to see to. `false`: nothing is kept of them, as there is no room for one more who
    /// asks, or they said something else. Who is ignored asks in vain, and is not answered.
    pub fn handle_message(&mut self, owner: &UserId, from: &UserId, kind: Kind, seq: Option<u64>) -> bool {
        if kind == Kind::Invite && self.contacts.ignores(owner, from) {
            return true;
        }
        let (user, server) = (Arc::from(from.as_str()), from.server_name());
        let is_known = self.list(owner).contact(&user).is_some();
        if !is_known && !self.contacts.has_room_for_stranger(owner, server, &self.strangers) {
            return false;
        }
        self.list(owner).handle_message(&user, kind, seq);
        self.carry_over(owner);
        let kept = self.list(owner).contact(&user).map(is_stranger);
        if !is_known && kept == Some(true) {
            self.strangers.push((owner.to_owned(), server.to_owned()));
        }
        kept.is_some()
    }

    fn list(&mut self, owner: &UserId) -> &mut List {
        self.lists.entry(owner.to_owned()).or_insert_with(|| self.contacts.list(owner))
    }

    /// Drains the outputs of the list of `owner`, and of those that its messages reach.
    fn carry_over(&mut self, owner: &UserId) {
        let mut waiting = VecDeque::from([owner.to_owned()]);
        while let Some(user) = waiting.pop_front() {
            while let Some(output) = self.list(&user).poll_output() {
                match output {
                    Output::Store { contact } => {
                        self.touched.insert((user.clone(), contact));
                    }
                    Output::Effect { contact, effect: Effect::Send(message) } => {
                        let Ok(other) = UserId::parse(&*contact) else { continue };
                        if message.kind == Kind::Invite && self.contacts.ignores(&other, &user) {
                            continue;
                        }
                        if other.server_name() == self.contacts.server_name {
                            let from = Arc::from(user.as_str());
                            self.list(&other).handle_message(&from, message.kind, Some(message.seq));
                            waiting.push_back(other);
                        } else {
                            let key = (user.clone(), other.clone(), message.kind.half());
                            let message = ListMessage { owner: user.clone(), contact: other, message };
                            self.outbox.insert(key, message);
                        }
                    }
                    // What it means for the sight of others stands in the row, see `ListRow`.
                    Output::Effect { effect: Effect::Listed(_) | Effect::Standing(_), .. } => {}
                }
            }
        }
    }

    /// What is to be written of it; the devices of everybody whose list or settings are different are told.
    fn into_write(self) -> ContactWrite {
        let Self { contacts, lists, touched, outbox, settings, .. } = self;
        let mut write = ContactWrite { outbox: outbox.into_values().collect(), ..ContactWrite::default() };
        let (mut told, now) = (BTreeSet::new(), contacts.clock.now());
        for (owner, user) in touched {
            let Ok(contact) = UserId::parse(&*user) else { continue };
            let kept = lists.get(&owner).and_then(|list| list.contact(&user)).cloned();
            let stored = contacts.contact(&owner, &user);
            if kept != stored {
                if shown(kept.as_ref(), now) != shown(stored.as_ref(), now) {
                    told.insert(owner.clone());
                }
                let before = stored.map(|Contact { relation, .. }| relation).unwrap_or_default();
                write.rows.push(ListRow { owner, contact, before, kept });
            }
        }
        if let Some((owner, settings)) = settings {
            let before = contacts.settings(&owner);
            if settings != before {
                told.insert(owner.clone());
                write.settings = Some(SettingsWrite { owner, settings, shared_before: before.share });
            }
        }
        let content = format!(r#"{{"changed_ts":{}}}"#, contacts.clock.unix_ms());
        let key = |user| AccountDataKey { user, room: None, kind: LIST_CHANGED.to_owned() };
        write.account_data = told.into_iter().map(|user| (key(user), content.clone())).collect();
        write
    }
}

/// What the owner's devices can be shown of a contact: a request that is not heard is nothing to tell of.
fn shown(contact: Option<&Contact>, now: Instant) -> Option<impl PartialEq + '_> {
    let contact = contact?;
    let relation = &contact.relation;
    let is_observer = relation.observed() == Observed::Yes;
    Some((relation.observing(), is_observer, contact.asks(now), &contact.groups, &contact.acl))
}

#[cfg(test)]
mod tests;
