//! What another server's user would have to send to come into a room, to leave it, or to knock: all but the signature.

use std::sync::Arc;

use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedRoomId, RoomId, RoomVersionId, ServerName, UserId};

use crate::server::{
    event::stored::Membership,
    rooms::{
        append::rules,
        content::AUTHORISED_BY,
        draft::Draft,
        entrance::Entrance,
        join::{Admission, admission},
        parts::Rooms,
        proposal::Proposal,
        refusal::Refusal,
        write::{Act, Performed},
    },
};

/// A member event without hash and signature.
#[derive(Debug)]
pub struct Template {
    /// The version of its room.
    pub version: RoomVersionId,
    /// The event.
    pub event: CanonicalJsonObject,
}

impl Rooms {
    /// What `user` of `server` has to sign. `versions` are those that the server has rooms of; empty: all.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::IncompatibleVersion`], [`Refusal::UnableToAuthorise`],
    /// [`Refusal::UnableToGrant`], [`Refusal::Forbidden`].
    pub async fn template_for(
        self: &Arc<Self>,
        server: &ServerName,
        (room, user): (&RoomId, &UserId),
        entrance: Entrance,
        versions: &[String],
    ) -> Result<Template, Refusal> {
        if user.server_name() != server {
            return Err(Refusal::Forbidden("the user is not of your server".into()));
        }
        let row = self.open_to(server, room).await?;
        if !versions.is_empty() && !versions.iter().any(|version| version == row.version.as_str()) {
            return Err(Refusal::IncompatibleVersion(row.version));
        }
        let act = Draw { room: room.to_owned(), entrance };
        match self.perform_once(user.to_owned(), None, act).await? {
            Performed::Done(event, _) => Ok(Template { version: row.version, event }),
            Performed::DoneBefore(_) => Err(Refusal::Internal("a template was made before".into())),
        }
    }
}

/// Draws a template as its user would act; changes nothing.
struct Draw {
    room: OwnedRoomId,
    entrance: Entrance,
}

impl Act for Draw {
    type Answer = CanonicalJsonObject;

    fn room(&self) -> Option<OwnedRoomId> {
        Some(self.room.clone())
    }

    async fn carry_out(&self, proposal: &mut Proposal<'_>) -> Result<CanonicalJsonObject, Refusal> {
        let room = proposal.known_room(&self.room).await?;
        let user = proposal.author.sender.clone();
        let text = |text: &str| CanonicalJsonValue::String(text.to_owned());
        let word = text(self.entrance.membership().as_str());
        let mut content = CanonicalJsonObject::from_iter([("membership".to_owned(), word)]);
        if self.entrance == Entrance::Join
            && !matches!(
                proposal.membership(&room, &user).await?,
                Some(Membership::Join | Membership::Invite)
            )
        {
            let rules = rules(&room.version)?.authorization;
            if let Admission::By(authoriser) = admission(proposal, &room, &rules, &user).await? {
                content.insert(AUTHORISED_BY.to_owned(), text(authoriser.as_str()));
            }
        }
        let draft = Draft::state("m.room.member", user.as_str(), content);
        let mut event = proposal.template(&room, &draft).await?;
        event.insert("origin".to_owned(), text(proposal.rooms.server_name.as_str()));
        Ok(event)
    }
}
