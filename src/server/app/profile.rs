//! Profiles with all their fields: who may read which (L5), and those two that are a part of presence.
//!
//! A field is read by whom its owner lets read it, everybody if they said nothing. `m.status` and `m.call` (MSC4426) are
//! read by who sees the user's presence: the first is the status message, in other words.

use std::{collections::BTreeMap, sync::Arc};

use ruma::{ServerName, UserId};
use serde_json::{Map, Value};

use super::parts::App;
use crate::{
    core::{
        policy::Admit,
        presence::{State, StatusMsg},
    },
    server::{
        finish::{Interrupted, finish},
        presence,
        profile::{
            Profile,
            field::FieldName,
            status::{self, BadStatus, IN_A_CALL},
        },
        session::Session,
        store::{ProfileFields, PutFieldError, StoreError},
    },
};

/// Who reads a profile.
#[derive(Clone, Copy, Debug)]
pub enum Reader<'a> {
    /// Somebody who did not say who they are.
    Nobody,
    /// A user of this server, or of the server that says so.
    User(&'a UserId),
    /// Some user of another server, which does not say who.
    Server(&'a ServerName),
}

/// Why a field is not kept.
#[derive(Debug)]
pub enum FieldRefusal {
    /// The value is none that this field can have.
    Bad(BadStatus),
    /// The profile would be too large.
    TooLarge,
    /// There is no such account (any longer).
    NoSuchUser,
    /// The status message was not taken.
    Presence(presence::Refusal),
    /// The store failed.
    Store(StoreError),
    /// It was interrupted.
    Interrupted(Interrupted),
}

impl App {
    /// The profile of a user of this server, with those further fields that `reader` may read; `None`: there is no
    /// such user.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub async fn profile(
        &self,
        user: &UserId,
        reader: Reader<'_>,
    ) -> Result<Option<(Profile, BTreeMap<String, Value>)>, StoreError> {
        let Some((profile, fields)) = self.store.whole_profile(user).await? else { return Ok(None) };
        let ProfileFields { mut values, readers } = fields;
        let is_own = matches!(reader, Reader::User(reader) if reader == user);
        self.put_presence_in(user, &mut values, is_own);
        if !is_own {
            let sees_presence = self.sees_presence(reader, user);
            values.retain(|name, _| {
                let is_let = readers.get(name).is_none_or(|readers| self.is_let(user, readers, reader));
                is_let && (sees_presence || !FieldName::is_of_presence(name))
            });
        }
        Ok(Some((profile, values)))
    }

    /// Makes the two fields that are a part of presence what is seen of it, by the user's own devices or by others.
    fn put_presence_in(&self, user: &UserId, values: &mut BTreeMap<String, Value>, is_own: bool) {
        let (state, said) = self.presence.words(user, is_own);
        if state == State::Offline && !is_own {
            // Who is not there is in no call; and who hides must not be seen to be.
            values.remove(FieldName::CALL);
        }
        let kept = values.remove(FieldName::STATUS);
        let status = status::of_message(said.as_deref(), kept, values.contains_key(FieldName::CALL));
        values.extend(status.map(|value| (FieldName::STATUS.to_owned(), value)));
    }

    fn is_let(&self, owner: &UserId, readers: &Admit, reader: Reader<'_>) -> bool {
        match reader {
            Reader::User(reader) => self.contacts.admits(owner, readers, reader),
            Reader::Nobody | Reader::Server(_) => *readers == Admit::Everybody,
        }
    }

    fn sees_presence(&self, reader: Reader<'_>, user: &UserId) -> bool {
        match reader {
            Reader::Nobody => false,
            Reader::User(reader) => self.sight.may_see(reader, user),
            Reader::Server(server) => self.sight.across(user).servers.contains(server),
        }
    }

    /// Keeps a further field of the session's user; a status becomes their status message. Once begun it is brought to
    /// its end even if the caller goes away.
    ///
    /// # Errors
    /// [`FieldRefusal`]; but for its last three kinds nothing is changed then.
    pub async fn put_profile_field(
        self: &Arc<Self>,
        session: &Session,
        name: FieldName,
        value: Value,
    ) -> Result<(), FieldRefusal> {
        let message = match name.as_str() {
            FieldName::STATUS => match status::message(&value)? {
                None => return self.remove_profile_field(session, name).await,
                Some(words) => StatusMsg::Set(words),
            },
            FieldName::CALL if value.is_null() => return self.remove_profile_field(session, name).await,
            FieldName::CALL => {
                status::check_call(&value)?;
                match self.own_message(&session.user) {
                    Some(_) => StatusMsg::Keep,
                    None => StatusMsg::Set(IN_A_CALL.to_owned()),
                }
            }
            _ => StatusMsg::Keep,
        };
        let (app, session) = (Arc::clone(self), session.clone());
        finish(async move {
            app.store.put_profile_field(session.user.clone(), name, value).await?;
            app.say(&session, message).await
        })
        .await
    }

    /// Takes a further field of the session's user away; with a status, their status message. As for
    /// [`Self::put_profile_field`].
    ///
    /// # Errors
    /// As there.
    pub async fn remove_profile_field(
        self: &Arc<Self>,
        session: &Session,
        name: FieldName,
    ) -> Result<(), FieldRefusal> {
        let message = match name.as_str() {
            FieldName::STATUS => StatusMsg::Clear,
            FieldName::CALL if self.own_message(&session.user).as_deref() == Some(IN_A_CALL) => {
                StatusMsg::Clear
            }
            _ => StatusMsg::Keep,
        };
        let (app, session) = (Arc::clone(self), session.clone());
        finish(async move {
            app.store.remove_profile_field(session.user.clone(), name).await?;
            app.say(&session, message).await
        })
        .await
    }

    fn own_message(&self, user: &UserId) -> Option<Arc<str>> {
        self.presence.words(user, true).1
    }

    async fn say(&self, session: &Session, message: StatusMsg) -> Result<(), FieldRefusal> {
        if !message.is_keep() {
            self.presence.handle_message(session, message).await?;
        }
        Ok(())
    }
}

/// A profile as it is answered: a field that clients call by several names stands under each.
pub fn as_json(profile: Profile, fields: BTreeMap<String, Value>) -> Map<String, Value> {
    let mut body = Map::new();
    body.extend(profile.displayname.map(|name| ("displayname".to_owned(), name.into())));
    body.extend(profile.avatar_url.map(|url| ("avatar_url".to_owned(), url.into())));
    for (name, value) in fields {
        match FieldName::new(&name) {
            Ok(known) => body.extend(known.names().map(|name| (name.to_owned(), value.clone()))),
            Err(_) => body.extend([(name, value)]),
        }
    }
    body
}

impl From<BadStatus> for FieldRefusal {
    fn from(e: BadStatus) -> Self {
        Self::Bad(e)
    }
}

impl From<PutFieldError> for FieldRefusal {
    fn from(e: PutFieldError) -> Self {
        match e {
            PutFieldError::TooLarge => Self::TooLarge,
            PutFieldError::NoSuchUser => Self::NoSuchUser,
            PutFieldError::Store(e) => Self::Store(e),
        }
    }
}

impl From<presence::Refusal> for FieldRefusal {
    fn from(refusal: presence::Refusal) -> Self {
        Self::Presence(refusal)
    }
}

impl From<StoreError> for FieldRefusal {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<Interrupted> for FieldRefusal {
    fn from(e: Interrupted) -> Self {
        Self::Interrupted(e)
    }
}
