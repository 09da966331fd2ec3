//! Presence lists across servers: who can be asked, and what other servers say.

use std::sync::Arc;

use ruma::{ServerName, UserId};
use serde_json::value::RawValue;

use super::{
    change::Step,
    edu::{self, ListEdu},
};
use crate::{
    core::list::{Kind, Message},
    server::{
        api::error::{ApiError, ApiResult},
        app::App,
        list::ListMessage,
    },
};

impl App {
    /// The user that a list can have: one of this server that exists, or one of a server that this one
    /// shares presence with.
    ///
    /// # Errors
    /// 404: there is no such user here; 403: this server shares no presence with theirs.
    pub async fn listable(&self, user: &UserId) -> ApiResult<Arc<str>> {
        if user.server_name() == self.server_name() {
            if self.store.profile(user).await?.is_none() {
                return Err(ApiError::not_found("there is no such user on this server"));
            }
        } else if !self.shares_presence_with(user.server_name()) {
            let error = format!("this server shares no presence with {}", user.server_name());
            return Err(ApiError::forbidden(error));
        }
        Ok(Arc::from(user.as_str()))
    }

    /// Whether what is said of presence lists goes to and is taken from another server.
    pub(super) fn shares_presence_with(&self, server: &ServerName) -> bool {
        self.federation.as_ref().is_some_and(|federation| federation.policy.shares_presence_with(server))
    }

    /// Takes what the server `origin` says about presence lists, in EDUs of these types, in one step. It is on
    /// the disk when this returns, and saying it again changes nothing. Answers go through the outbox. What
    /// is not for that server to say changes nothing.
    ///
    /// # Errors
    /// Only when it cannot be stored, so that the server sends it again.
    pub async fn handle_list_edus(
        self: &Arc<Self>,
        origin: &ServerName,
        edus: &[(String, &RawValue)],
    ) -> ApiResult<()> {
        let mut taken = Vec::new();
        for (edu_type, content) in edus {
            match self.check_list_edu(origin, edu_type, content) {
                Ok(edu) => taken.push((self.store.profile(edu.addressee()).await?.is_some(), edu)),
                Err(why) => tracing::debug!(%origin, edu_type, why, "an EDU was refused"),
            }
        }
        let denials = self
            .change_lists(|step| {
                let mut denials = Vec::new();
                for (exists, edu) in taken {
                    let taken = exists && self.take_list_edu(step, origin, &edu)?;
                    if !taken && edu.kind == Kind::Invite {
                        denials.push(denial(edu));
                    }
                }
                Ok(denials)
            })
            .await?;
        denials.iter().for_each(|denial| self.send_denial(denial));
        Ok(())
    }

    /// Reads an EDU; an error says why `origin` may not say that.
    fn check_list_edu(
        &self,
        origin: &ServerName,
        edu_type: &str,
        content: &RawValue,
    ) -> Result<ListEdu, &'static str> {
        let kind = edu::kind_of(edu_type).ok_or("it is not about a presence list")?;
        let edu = ListEdu::parse(kind, content)?;
        if edu.speaker().server_name() != origin || origin == self.server_name() {
            return Err("a server speaks for its own users only");
        }
        if edu.addressee().server_name() != self.server_name() {
            return Err("the other user is not of this server");
        }
        if !self.shares_presence_with(origin) {
            return Err("no presence is shared with that server");
        }
        Ok(edu)
    }

    /// Takes it for a user who exists. `false`: there is no room for one more who asks.
    fn take_list_edu(&self, step: &mut Step<'_>, origin: &ServerName, edu: &ListEdu) -> ApiResult<bool> {
        let (from, owner) = (Arc::from(edu.speaker().as_str()), edu.addressee());
        step.change(owner, |list| {
            if list.contact(&from).is_some() || self.contacts.has_room_for_stranger(owner, origin) {
                list.handle_message(&from, edu.kind, edu.seq);
            }
            Ok(list.contact(&from).is_some())
        })
    }
}

/// The answer to a request that is not kept: as of a user who denies, so that it does not say whether there is
/// such a user.
fn denial(invite: ListEdu) -> ListMessage {
    let message = Message { kind: Kind::Deny, seq: invite.seq.unwrap_or(1) };
    ListMessage { owner: invite.observed, contact: invite.observer, message }
}
