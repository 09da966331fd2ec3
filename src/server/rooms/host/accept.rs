//! A user of another server comes into a room by this one, leaves it, or knocks.

use std::sync::Arc;

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedRoomId, OwnedUserId, RoomId, ServerName, UserId,
};

use super::reads::StateAt;
use crate::server::{
    event::stored::Membership,
    rooms::{
        append::{canonical, rules},
        content::AUTHORISED_BY,
        entrance::Entrance,
        join::{Admission, admission},
        parts::Rooms,
        proposal::Proposal,
        receive::{Elsewhere, Outcome, check::read},
        refusal::Refusal,
        write::{Act, Performed},
    },
    store::{RoomRow, Side},
};

/// A user of another server who came in, or left.
#[derive(Debug)]
pub struct Entered {
    /// The event, with the signatures of both servers where both are needed.
    pub event: String,
    /// The room before it.
    pub before: StateAt,
}

impl Rooms {
    /// Takes the member event by which a user of `server` comes into a room, leaves it, or knocks.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]: this server is not in the room. [`Refusal::BadJson`], [`Refusal::InvalidParam`]: it is not
    /// such an event. [`Refusal::UnableToAuthorise`], [`Refusal::UnableToGrant`]; [`Refusal::Forbidden`] by its
    /// signatures, or by the room's rules.
    pub async fn accept<E: Elsewhere>(
        self: &Arc<Self>,
        elsewhere: &Arc<E>,
        server: &ServerName,
        (room, id): (&RoomId, &EventId),
        entrance: Entrance,
        text: &str,
    ) -> Result<Entered, Refusal> {
        let row = self.open_to(server, room).await?;
        let rules = rules(&row.version)?;
        let mut object: CanonicalJsonObject =
            serde_json::from_str(text).map_err(|e| Refusal::BadJson(e.to_string().into()))?;
        object.remove("unsigned");
        let user = user_of(&object, entrance)?;
        if user.server_name() != server {
            return Err(Refusal::Forbidden("the user is not of your server".into()));
        }
        if entrance == Entrance::Join {
            self.vouch(&row, &user, &mut object).await?;
        }
        let text = canonical(&object)?;
        let unproven = read(&rules, room, &text).map_err(|flaw| Refusal::BadJson(flaw.to_string().into()))?;
        if unproven.event_id() != id {
            return Err(Refusal::InvalidParam("the path names another event".into()));
        }
        let keys = self.keys(&**elsewhere, unproven.needs(&rules)).await;
        let checked =
            unproven.prove(&rules, &keys).map_err(|flaw| Refusal::Forbidden(flaw.to_string().into()))?;
        let event = checked.json().to_owned();
        match self.receive_one(room, checked).await? {
            Outcome::Known | Outcome::Accepted => {}
            Outcome::SoftFailed(why) | Outcome::Rejected(why) | Outcome::Refused(why) => {
                return Err(Refusal::Forbidden(why.into()));
            }
            Outcome::Missing(_) => {
                return Err(Refusal::Forbidden("the event names others than the template did".into()));
            }
        }
        // A knock is shown the room as it is: who sends an old one again knocks no longer.
        if entrance == Entrance::Knock && self.members.membership(&user, room) != Some(Membership::Knock) {
            return Err(Refusal::Forbidden("the user does not knock any longer".into()));
        }
        let before = self.store.state_ids(id, Side::Before).await?;
        let before = before.ok_or_else(|| Refusal::Internal("an event without a state before it".into()))?;
        let before = match entrance {
            Entrance::Join => self.with_auth_chain(before).await?,
            Entrance::Leave | Entrance::Knock => StateAt::default(),
        };
        Ok(Entered { event, before })
    }

    /// Signs a join that names a user of this server as the one who lets the other in, if they may.
    async fn vouch(
        self: &Arc<Self>,
        room: &RoomRow,
        user: &UserId,
        object: &mut CanonicalJsonObject,
    ) -> Result<(), Refusal> {
        let content = object.get("content").and_then(CanonicalJsonValue::as_object);
        let named = content.and_then(|content| content.get(AUTHORISED_BY));
        let Some(named) = named.and_then(CanonicalJsonValue::as_str) else { return Ok(()) };
        let named = UserId::parse(named)
            .map_err(|_| Refusal::BadJson(format!("{AUTHORISED_BY} is no user ID").into()))?;
        let rules = rules(&room.version)?;
        if !rules.signatures.check_join_authorised_via_users_server {
            return Ok(());
        }
        if named.server_name() != self.server_name {
            return Err(Refusal::Forbidden("who is to let the user in is not of this server".into()));
        }
        let act = Vouch { room: room.clone() };
        match self.perform_once(user.to_owned(), None, act).await? {
            Performed::Done((), _) => {}
            Performed::DoneBefore(_) => return Err(Refusal::Internal("vouched for before".into())),
        }
        self.signer.sign_event(object, &rules.redaction).map_err(|e| Refusal::BadJson(e.to_string().into()))
    }
}

/// Whom a member event is about, if it is one by which somebody does this themselves.
fn user_of(object: &CanonicalJsonObject, entrance: Entrance) -> Result<OwnedUserId, Refusal> {
    let text = |object: &CanonicalJsonObject, key: &str| {
        object.get(key).and_then(CanonicalJsonValue::as_str).map(str::to_owned)
    };
    let content = object.get("content").and_then(CanonicalJsonValue::as_object);
    let membership = content.and_then(|content| text(content, "membership"));
    let wrong = |what: &'static str| Err(Refusal::BadJson(what.into()));
    if text(object, "type").as_deref() != Some("m.room.member") {
        return wrong("this is no m.room.member event");
    }
    if membership.as_deref() != Some(entrance.membership().as_str()) {
        return wrong("the membership is not what this endpoint is for");
    }
    let (Some(sender), Some(key)) = (text(object, "sender"), text(object, "state_key")) else {
        return wrong("sender and state_key are needed");
    };
    if sender != key {
        return wrong("sender and state_key differ");
    }
    UserId::parse(sender).map_err(|_| Refusal::BadJson("the sender is no user ID".into()))
}

/// Looks whether somebody of this server may let a user in; changes nothing.
struct Vouch {
    room: RoomRow,
}

impl Act for Vouch {
    type Answer = ();

    fn room(&self) -> Option<OwnedRoomId> {
        Some(self.room.room_id.clone())
    }

    async fn carry_out(&self, proposal: &mut Proposal<'_>) -> Result<(), Refusal> {
        let room = proposal.known_room(&self.room.room_id).await?;
        let user = proposal.author.sender.clone();
        if matches!(proposal.membership(&room, &user).await?, Some(Membership::Join | Membership::Invite)) {
            return Ok(());
        }
        let rules = rules(&room.version)?.authorization;
        match admission(proposal, &room, &rules, &user).await? {
            Admission::Unrestricted | Admission::By(_) => Ok(()),
            Admission::No => {
                Err(Refusal::Forbidden("the user is in none of the rooms that let them in".into()))
            }
        }
    }
}
