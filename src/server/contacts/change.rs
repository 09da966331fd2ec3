//! Changes of presence lists: through the core, over to the other user's list, to the disk, to readers
//! and other servers.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::MutexGuard;
use ruma::{OwnedUserId, UserId};

use super::{Contacts, OfUser, Sight};
use crate::{
    core::list::{Contact, Effect, Half, List, Observed, Observing, Output},
    server::{
        api::error::{ApiError, ApiResult},
        app::App,
        list::{ListMessage, Settings},
        store::{AccountDataKey, ContactWrite},
    },
};

/// The type of the account data that tells a user's devices that their list, requests or settings changed.
pub const LIST_CHANGED: &str = "org.pilotlight.presence_list";

/// What a change of a list leads to.
#[derive(Debug, Default)]
struct Consequences {
    /// Whose contacts to write.
    rows: BTreeSet<(OwnedUserId, Arc<str>)>,
    /// What to tell other servers: the last message about each half.
    outbox: BTreeMap<(OwnedUserId, OwnedUserId, Half), ListMessage>,
    /// Whose devices are to be told.
    tell: BTreeSet<OwnedUserId>,
    /// Who can see whom from here on, or cannot any longer: observer, observed.
    sight: Vec<(OwnedUserId, OwnedUserId)>,
}

impl App {
    /// Changes the list of `owner`; on the disk, with what follows for others, when this returns.
    ///
    /// # Errors
    /// What `input` refuses with, and 500 when the store fails; then nothing is changed.
    pub async fn change_list(
        self: &Arc<Self>,
        owner: &UserId,
        input: impl FnOnce(&mut List) -> ApiResult<()> + Send,
    ) -> ApiResult<()> {
        self.change_lists(|step| step.change(owner, input)).await
    }

    /// Changes several lists in one step; like [`Self::change_list`] otherwise.
    pub(super) async fn change_lists<T: Send>(
        self: &Arc<Self>,
        input: impl FnOnce(&mut Step<'_>) -> ApiResult<T> + Send,
    ) -> ApiResult<T> {
        let writing = Arc::clone(&self.contacts.writing).lock_owned().await;
        let (result, consequences, write) = {
            let users = self.contacts.lock();
            let mut step = Step { app: self, users, consequences: Consequences::default() };
            let result = input(&mut step);
            let Step { users, consequences, .. } = step;
            let write = write(&users, &consequences);
            (result, consequences, write)
        };
        let result = match result {
            Ok(result) => result,
            Err(e) => {
                self.take_back(&consequences).await;
                return Err(e);
            }
        };
        if write.is_empty() {
            return Ok(result);
        }
        // What has begun is brought to its end, though whoever asked goes away meanwhile.
        let app = Arc::clone(self);
        let finish = async move {
            let done = app.finish(consequences, write).await;
            drop(writing);
            done
        };
        tokio::spawn(finish).await.map_err(ApiError::internal)??;
        Ok(result)
    }

    /// Writes, and tells everybody.
    async fn finish(self: &Arc<Self>, consequences: Consequences, write: ContactWrite) -> ApiResult<()> {
        let outbox = write.outbox.clone();
        if let Err(e) = self.store.put_contacts(write).await {
            self.take_back(&consequences).await;
            return Err(e.into());
        }
        for message in &outbox {
            self.send_list_message(message);
        }
        self.show(consequences).await
    }

    /// Reads what was refused, or could not be written, from the disk again, so that nobody relies on it.
    async fn take_back(&self, consequences: &Consequences) {
        let owners: BTreeSet<&OwnedUserId> = consequences.rows.iter().map(|(owner, _)| owner).collect();
        for owner in owners {
            match self.store.contacts_of(owner).await {
                Ok(stored) => self.contacts.restore(owner, stored),
                Err(e) => tracing::error!(error = %e, "a presence list in memory is ahead of the disk"),
            }
        }
    }

    /// Changes how `owner` shares presence and takes invites; on the disk, with what follows for others, when
    /// this returns.
    ///
    /// # Errors
    /// 500 when the store fails.
    pub async fn change_contact_settings(
        self: &Arc<Self>,
        owner: &UserId,
        settings: Settings,
    ) -> ApiResult<()> {
        let (app, owner) = (Arc::clone(self), owner.to_owned());
        // What has begun is brought to its end, though whoever asked goes away meanwhile.
        let change = async move {
            let auto = settings.auto_accept;
            app.take_settings(&owner, settings).await?;
            app.change_list(&owner, |list| {
                list.handle_auto_accept(auto);
                Ok(())
            })
            .await
        };
        tokio::spawn(change).await.map_err(ApiError::internal)?
    }

    async fn take_settings(self: &Arc<Self>, owner: &OwnedUserId, settings: Settings) -> ApiResult<()> {
        let _writing = self.contacts.writing.lock().await;
        self.store.put_contact_settings(owner.clone(), settings.clone()).await?;
        let after = settings.share;
        let (before, changed) = {
            let mut users = self.contacts.lock();
            let of_owner = of_user(&mut users, owner);
            let changed = of_owner.settings != settings;
            let before = std::mem::replace(&mut of_owner.settings, settings).share;
            if before != after {
                self.contacts.note_share(owner, of_owner, before, &self.live);
            }
            (before, changed)
        };
        if before != after {
            self.refresh_across(owner);
            self.wake_observers_by(owner, before.max(after));
        }
        if changed {
            self.tell_devices([owner.clone()]).await?;
        }
        Ok(())
    }

    /// Tells all devices of these users that their list, requests or settings changed.
    async fn tell_devices(self: &Arc<Self>, users: impl IntoIterator<Item = OwnedUserId>) -> ApiResult<()> {
        let content = format!(r#"{{"changed_ts":{}}}"#, self.unix_ms());
        for user in users.into_iter().filter(|user| user.server_name() == self.server_name()) {
            let key = AccountDataKey { user, room: None, kind: LIST_CHANGED.to_owned() };
            self.own_data.set(key, content.clone()).await?;
        }
        Ok(())
    }

    /// Ends every relation of a user whose account is closed: they observe nobody and nobody observes them.
    ///
    /// # Errors
    /// 500 when the store fails.
    pub async fn close_list(self: &Arc<Self>, owner: &UserId) -> ApiResult<()> {
        self.change_list(owner, |list| {
            let contacts: Vec<Arc<str>> = list.contacts().map(|(user, _)| Arc::clone(user)).collect();
            for contact in contacts {
                list.handle_remove(&contact);
                list.handle_deny(&contact);
            }
            Ok(())
        })
        .await
    }

    /// Tells other servers and the readers of everybody concerned.
    async fn show(self: &Arc<Self>, consequences: Consequences) -> ApiResult<()> {
        for user in &consequences.tell {
            self.refresh_across(user);
        }
        {
            let mut users = self.contacts.lock();
            for (observer, observed) in &consequences.sight {
                of_user(&mut users, observer).sight.note(observed, self.live.advance());
            }
        }
        self.tell_devices(consequences.tell).await?;
        for (observer, _) in &consequences.sight {
            self.wakers.wake(observer);
        }
        Ok(())
    }
}

/// Several lists being changed together.
pub(super) struct Step<'a> {
    app: &'a App,
    users: MutexGuard<'a, HashMap<OwnedUserId, OfUser>>,
    consequences: Consequences,
}

impl Step<'_> {
    /// Changes the list of `owner`, and those that its messages reach.
    ///
    /// # Errors
    /// What `input` refuses with; then the whole step is to be.
    pub(super) fn change<T>(
        &mut self,
        owner: &UserId,
        input: impl FnOnce(&mut List) -> ApiResult<T>,
    ) -> ApiResult<T> {
        let result = input(&mut of_user(&mut self.users, owner).list);
        self.carry_over(owner);
        result
    }

    /// Drains the outputs of the list of `owner`, and of those that its messages reach.
    fn carry_over(&mut self, owner: &UserId) {
        let Self { app, users, consequences } = self;
        let is_ours = |user: &UserId| user.server_name() == app.server_name();
        let mut waiting = VecDeque::from([owner.to_owned()]);
        while let Some(user) = waiting.pop_front() {
            while let Some(output) = of_user(users, &user).list.poll_output() {
                match output {
                    Output::Store { contact } => {
                        let kept = of_user(users, &user).list.contact(&contact);
                        app.contacts.note_stranger(&user, &contact, kept);
                        consequences.rows.insert((user.clone(), contact));
                        consequences.tell.insert(user.clone());
                    }
                    Output::Effect { contact, effect: Effect::Send(message) } => {
                        let Ok(other) = UserId::parse(&*contact) else { continue };
                        if !is_ours(&other) {
                            let key = (user.clone(), other.clone(), message.kind.half());
                            let message = ListMessage { owner: user.clone(), contact: other, message };
                            consequences.outbox.insert(key, message);
                        } else {
                            let list = &mut of_user(users, &other).list;
                            list.handle_message(&Arc::from(user.as_str()), message.kind, Some(message.seq));
                            waiting.push_back(other);
                        }
                    }
                    Output::Effect { contact, effect } => {
                        let sight = &mut of_user(users, &user).sight;
                        consequences.follow(sight, &user, &contact, effect, is_ours);
                    }
                }
            }
        }
    }
}

impl Consequences {
    /// What it means for the sight of users of this server that a relation of `owner` changed. What users of
    /// others see, their servers see to.
    fn follow(
        &mut self,
        sight: &mut Sight,
        owner: &UserId,
        contact: &Arc<str>,
        effect: Effect,
        is_ours: impl Fn(&UserId) -> bool,
    ) {
        let Ok(other) = UserId::parse(&**contact) else { return };
        let is_ours = is_ours(&other);
        match effect {
            Effect::Standing(standing) => {
                if sight.set_observer(contact, standing == Observed::Yes) && is_ours {
                    self.sight.push((other, owner.to_owned()));
                }
            }
            Effect::Listed(Observing::Yes | Observing::Denied | Observing::No) if !is_ours => {
                self.sight.push((owner.to_owned(), other));
            }
            Effect::Listed(_) | Effect::Send(_) => {}
        }
    }
}

fn of_user<'a>(users: &'a mut HashMap<OwnedUserId, OfUser>, user: &UserId) -> &'a mut OfUser {
    users.entry(user.to_owned()).or_insert_with(|| OfUser::new(user, Settings::default(), Vec::new()))
}

/// What to write of the contacts that changed.
fn write(users: &HashMap<OwnedUserId, OfUser>, consequences: &Consequences) -> ContactWrite {
    let mut write = ContactWrite::default();
    for (owner, contact) in &consequences.rows {
        let Ok(user) = UserId::parse(&**contact) else { continue };
        match users.get(owner).and_then(|of_user| of_user.list.contact(contact)) {
            Some(data) => write.contacts.push((owner.clone(), user, data.clone())),
            None => write.forgotten.push((owner.clone(), user)),
        }
    }
    write.outbox = consequences.outbox.values().cloned().collect();
    write
}

impl Contacts {
    /// Puts the list of `owner` back to how it was stored.
    fn restore(&self, owner: &UserId, stored: Vec<(OwnedUserId, Contact)>) {
        let contacts = stored.into_iter().map(|(user, data)| (Arc::from(user.as_str()), data));
        let of = Arc::from(owner.as_str());
        let mut users = self.lock();
        let of_user = of_user(&mut users, owner);
        let list = List::restored(Arc::clone(&of), of_user.settings.auto_accept, contacts);
        of_user.sight.restore(list.observers());
        let before = std::mem::replace(&mut of_user.list, list);
        for (user, _) in before.contacts().chain(of_user.list.contacts()) {
            self.note_stranger(owner, user, of_user.list.contact(user));
        }
    }
}
