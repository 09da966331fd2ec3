//! Presence lists across servers: who can be on one, and what other servers say.

use std::sync::Arc;

use ruma::{ServerName, UserId};
use serde_json::value::RawValue;

use super::parts::App;
use crate::{
    core::list::Kind,
    server::{
        contacts::{change::Step, refusal::Refusal},
        federation::list_edu::{Between, ListEdu},
    },
};

impl App {
    /// The user that a list can have: one of this server that exists, or one of a server that this one
    /// shares presence with.
    ///
    /// # Errors
    /// [`Refusal::NoSuchUser`] here; [`Refusal::NotShared`] there.
    pub async fn listable(&self, user: &UserId) -> Result<Arc<str>, Refusal> {
        let server = user.server_name();
        if server == self.server_name() {
            if self.store.profile(user).await?.is_none() {
                return Err(Refusal::NoSuchUser);
            }
        } else if !self.federation.as_ref().is_some_and(|f| f.policy.shares_presence_with(server)) {
            return Err(Refusal::NotShared(server.to_owned()));
        }
        Ok(Arc::from(user.as_str()))
    }

    /// Takes what the server `origin` says about presence lists, in EDUs of these types, in one step. It is on
    /// the disk when this returns, and saying it again changes nothing. Answers go through the outbox. What
    /// is not for that server to say changes nothing.
    ///
    /// # Errors
    /// Only when it cannot be stored, so that the server sends it again.
    pub async fn handle_list_edus(
        &self,
        origin: &ServerName,
        edus: &[(String, &RawValue)],
    ) -> Result<(), Refusal> {
        let Some(federation) = &self.federation else { return Ok(()) };
        let between = Between { origin, own: self.server_name(), policy: &federation.policy };
        let mut judged = Vec::new();
        for (edu_type, content) in edus {
            match ListEdu::judged(edu_type, content, between) {
                Ok(edu) => judged.push((self.store.profile(edu.addressee()).await?.is_some(), edu)),
                Err(why) => tracing::debug!(%origin, edu_type, why, "an EDU was refused"),
            }
        }
        let handle = |step: &mut Step<'_>| {
            let mut denials = Vec::new();
            for (exists, edu) in judged {
                let kept = exists && step.handle_message(edu.addressee(), edu.speaker(), edu.kind, edu.seq);
                if !kept && edu.kind == Kind::Invite {
                    denials.push(edu.into_denial());
                }
            }
            Ok(denials)
        };
        let denials = self.contacts.change_together(handle).await?;
        denials.iter().for_each(|denial| federation.lists.send_denial(denial));
        Ok(())
    }
}
