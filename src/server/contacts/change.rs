//! Changes of presence lists: through the core, over to the other user's list, to the disk, to readers.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use ruma::{OwnedUserId, UserId};

use super::{Contacts, OfUser, Settings};
use crate::{
    core::list::{Effect, List, Observed, Output},
    server::{
        app::App,
        http::{ApiError, ApiResult},
        store::{AccountDataKey, ContactRow},
    },
};

/// The type of the account data that tells a user's devices that their list or requests changed.
pub const LIST_CHANGED: &str = "org.pilotlight.presence_list";

/// What a change of a list leads to.
#[derive(Debug, Default)]
struct Consequences {
    /// What to write.
    rows: BTreeSet<(OwnedUserId, Arc<str>)>,
    /// Whose devices are to be told.
    tell: BTreeSet<OwnedUserId>,
    /// Who can see whom from here on, or cannot any longer: observer, observed.
    sight: Vec<(OwnedUserId, OwnedUserId)>,
}

impl App {
    /// Changes the list of `owner`; on the disk, with what follows for others, when this returns.
    ///
    /// # Errors
    /// What `input` refuses with, and 500 when the store fails.
    pub async fn change_list(
        self: &Arc<Self>,
        owner: &UserId,
        input: impl FnOnce(&mut List) -> ApiResult<()> + Send,
    ) -> ApiResult<()> {
        let _writing = self.contacts.writing.lock().await;
        let (consequences, rows) = {
            let mut users = self.contacts.lock();
            let of_owner = of_user(&mut users, owner);
            input(&mut of_owner.list)?;
            let consequences = self.carry_over(&mut users, owner);
            let rows = rows(&users, &consequences);
            (consequences, rows)
        };
        self.store.put_contacts(rows).await?;
        self.show(consequences).await
    }

    /// Changes how `owner` shares presence and takes invites.
    pub async fn change_contact_settings(
        self: &Arc<Self>,
        owner: &UserId,
        settings: Settings,
    ) -> ApiResult<()> {
        let auto = settings.auto_accept;
        {
            let _writing = self.contacts.writing.lock().await;
            self.store.put_contact_settings(owner.to_owned(), settings.clone()).await?;
            let after = settings.share;
            let before = {
                let mut users = self.contacts.lock();
                let of_owner = of_user(&mut users, owner);
                let before = std::mem::replace(&mut of_owner.settings, settings).share;
                if before != after {
                    self.contacts.note_share(owner, of_owner, before, &self.live);
                }
                before
            };
            if before != after {
                self.wake_observers_by(owner, before.max(after));
            }
        }
        self.change_list(owner, |list| {
            list.handle_auto_accept(auto);
            Ok(())
        })
        .await
    }

    /// Drains the outputs of the list of `owner`, and of those that its messages reach.
    fn carry_over(&self, users: &mut HashMap<OwnedUserId, OfUser>, owner: &UserId) -> Consequences {
        let mut consequences = Consequences::default();
        let mut waiting = VecDeque::from([owner.to_owned()]);
        while let Some(user) = waiting.pop_front() {
            while let Some(output) = of_user(users, &user).list.poll_output() {
                match output {
                    Output::Store { contact } => {
                        consequences.rows.insert((user.clone(), contact));
                        consequences.tell.insert(user.clone());
                    }
                    Output::Effect { contact, effect: Effect::Send(message) } => {
                        let Ok(other) = UserId::parse(&*contact) else { continue };
                        if other.server_name() == self.server_name() {
                            let list = &mut of_user(users, &other).list;
                            list.handle_message(&Arc::from(user.as_str()), message.kind, Some(message.seq));
                            waiting.push_back(other);
                        }
                    }
                    Output::Effect { contact, effect: Effect::Standing(standing) } => {
                        let sight = &mut of_user(users, &user).sight;
                        if sight.set_observer(&contact, standing == Observed::Yes)
                            && let Ok(observer) = UserId::parse(&*contact)
                        {
                            consequences.sight.push((observer, user.clone()));
                        }
                    }
                    Output::Effect { effect: Effect::Listed(_), .. } => {}
                }
            }
        }
        consequences
    }

    /// Tells the readers of everybody concerned.
    async fn show(self: &Arc<Self>, consequences: Consequences) -> ApiResult<()> {
        {
            let mut users = self.contacts.lock();
            for (observer, observed) in &consequences.sight {
                of_user(&mut users, observer).sight.note(observed, self.live.advance());
            }
        }
        let content = format!(r#"{{"changed_ts":{}}}"#, self.unix_ms());
        for user in consequences.tell.into_iter().filter(|user| user.server_name() == self.server_name()) {
            let key = AccountDataKey { user, room: None, kind: LIST_CHANGED.to_owned() };
            self.set_account_data(key, content.clone()).await?;
        }
        for (observer, _) in &consequences.sight {
            self.wakers.wake(observer);
        }
        Ok(())
    }

    /// The user that a list can have: one of this server, as others cannot be asked yet.
    ///
    /// # Errors
    /// 404: there is no such user here.
    pub fn listable(&self, user: &UserId) -> ApiResult<Arc<str>> {
        if user.server_name() != self.server_name() || self.store.profile(user)?.is_none() {
            return Err(ApiError::not_found("there is no such user on this server"));
        }
        Ok(Arc::from(user.as_str()))
    }
}

fn of_user<'a>(users: &'a mut HashMap<OwnedUserId, OfUser>, user: &UserId) -> &'a mut OfUser {
    users.entry(user.to_owned()).or_insert_with(|| OfUser::new(user, Settings::default(), Vec::new()))
}

fn rows(users: &HashMap<OwnedUserId, OfUser>, consequences: &Consequences) -> Vec<ContactRow> {
    let changed = consequences.rows.iter();
    let kept = changed.filter_map(|(owner, contact)| {
        let data = users.get(owner)?.list.contact(contact)?.clone();
        Some((owner.clone(), UserId::parse(&**contact).ok()?, data))
    });
    kept.collect()
}

impl Contacts {
    /// Forgets what only lives in memory of a user who is gone for good.
    pub fn forget(&self, user: &UserId) {
        self.lock().remove(user);
    }
}
