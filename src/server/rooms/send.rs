//! Sending messages, state and redactions into rooms; each transaction ID is done once.
//!
//! Client-server API, "Sending events to a room" and "Redactions".

use std::{borrow::Cow, sync::Arc};

use ruma::{
    CanonicalJsonValue, EventId, OwnedEventId, OwnedRoomId, RoomId, TransactionId, UserId,
    canonical_json::redact as redacted_form, room_version_rules::RoomVersionRules,
};

use super::{
    append::{canonical, rules},
    content,
    draft::Draft,
    join::{content_of_join, said_of_a_join},
    membership::check_member,
    parts::Rooms,
    power::PowerLevels,
    proposal::Proposal,
    refusal::Refusal,
    relate::check_relation,
    write::{Act, Actor, Performed},
};
use crate::server::{
    session::Session,
    store::{Once, Placed, RoomRow},
};

impl Rooms {
    /// Sends a message event (one without a state key) and answers with its ID and place.
    ///
    /// # Errors
    /// [`Refusal`]: by the room's rules, or for a content that is not canonical JSON.
    pub async fn send_message(
        self: &Arc<Self>,
        actor: impl Into<Actor>,
        room_id: &RoomId,
        kind: &str,
        transaction: &TransactionId,
        json: &str,
    ) -> Result<Placed, Refusal> {
        content::check_length("the event type", kind)?;
        content::check_length("the transaction ID", transaction.as_str())?;
        let draft = Draft::message(kind, content::parse(json)?);
        self.send_once(&actor.into(), room_id, draft, transaction, format!("send/{room_id}/{kind}")).await
    }

    /// Redacts an event and answers with the ID and place of the redaction.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is no such event, and nobody else can have it or the user could not redact it,
    /// [`Refusal::Invalid`] when it is of another room, else as for [`send_message`].
    pub async fn redact(
        self: &Arc<Self>,
        session: &Session,
        room_id: &RoomId,
        target: &EventId,
        transaction: &TransactionId,
        reason: Option<String>,
    ) -> Result<Placed, Refusal> {
        content::check_length("the transaction ID", transaction.as_str())?;
        let mut content = ruma::CanonicalJsonObject::new();
        if let Some(reason) = reason {
            content.insert("reason".to_owned(), CanonicalJsonValue::String(reason));
        }
        let draft = Draft { redacts: Some(target.to_owned()), ..Draft::message("m.room.redaction", content) };
        let endpoint = format!("redact/{room_id}/{target}");
        self.send_once(&session.into(), room_id, draft, transaction, endpoint).await
    }

    /// Sets state and answers with the ID and place of the event. State that is set to what the same user set it to
    /// already stays the event it is.
    ///
    /// # Errors
    /// As for [`send_message`]; [`Refusal::BadAlias`] for an alias that does not lead to the room.
    pub async fn send_state(
        self: &Arc<Self>,
        actor: impl Into<Actor>,
        room_id: &RoomId,
        kind: &str,
        key: &str,
        json: &str,
    ) -> Result<Placed, Refusal> {
        content::check_length("the event type", kind)?;
        content::check_length("the state key", key)?;
        let draft = Draft::state(kind, key, content::parse(json)?);
        let act = Send { room: room_id.to_owned(), draft };
        match self.perform_action(&actor.into(), format!("state/{room_id}/{kind}/{key}"), act).await? {
            Performed::Done(event_id, placed) => self.place_of(event_id, placed).await,
            Performed::DoneBefore(placed) => Ok(placed),
        }
    }

    /// The same ID on the same endpoint by the same device is done once.
    async fn send_once(
        self: &Arc<Self>,
        actor: &Actor,
        room_id: &RoomId,
        draft: Draft,
        transaction: &TransactionId,
        endpoint: String,
    ) -> Result<Placed, Refusal> {
        let Session { user, device } = actor.session().clone();
        let once = Once { user, device, endpoint, transaction: transaction.to_owned() };
        match self.perform_once(actor.sender(), Some(once), Send { room: room_id.to_owned(), draft }).await? {
            Performed::DoneBefore(placed) => Ok(placed),
            Performed::Done(event_id, placed) => self.place_of(event_id, placed).await,
        }
    }

    /// The place of an event, which is new or was there before.
    async fn place_of(&self, event_id: OwnedEventId, new: Vec<Placed>) -> Result<Placed, Refusal> {
        if let Some(placed) = new.into_iter().find(|placed| placed.event_id == event_id) {
            return Ok(placed);
        }
        let event = self.store.event(&event_id).await?;
        let event = event.ok_or_else(|| Refusal::Internal("an event that was sent has no place".into()))?;
        Ok(Placed { event_id, position: event.position })
    }
}

/// An event that a client drafted, with what its type entails.
struct Send {
    room: OwnedRoomId,
    draft: Draft,
}

impl Act for Send {
    type Answer = OwnedEventId;

    fn room(&self) -> Option<OwnedRoomId> {
        Some(self.room.clone())
    }

    async fn carry_out(&self, proposal: &mut Proposal<'_>) -> Result<OwnedEventId, Refusal> {
        let room = proposal.known_room(&self.room).await?;
        if self.draft.state_key.is_some() && proposal.is_joined(&room).await? {
            check_request(proposal, &room, &self.draft).await?;
        }
        place(proposal, &room, self.draft.clone()).await
    }
}

/// What no room takes, whoever asks for it.
async fn check_request(proposal: &Proposal<'_>, room: &RoomRow, draft: &Draft) -> Result<(), Refusal> {
    match draft.kind.as_str() {
        "m.room.create" => Err(Refusal::Invalid("a room is made once".into())),
        "m.room.power_levels" => {
            let powers = PowerLevels::current(proposal, room, &rules(&room.version)?.authorization).await?;
            let users = draft.content.get("users").and_then(CanonicalJsonValue::as_object);
            match powers.above_all().find(|user| users.is_some_and(|users| users.contains_key(user.as_str())))
            {
                Some(user) => Err(Refusal::InvalidParam(
                    format!("users: {user} made the room, and is above every level").into(),
                )),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Appends a client's draft, with what its type entails.
pub(super) async fn place(
    proposal: &mut Proposal<'_>,
    room: &RoomRow,
    mut draft: Draft,
) -> Result<OwnedEventId, Refusal> {
    let rules = rules(&room.version)?;
    if let Some(key) = draft.state_key.clone() {
        let member = match draft.kind.as_str() {
            "m.room.member" => Some(UserId::parse(&key).map_err(|_| no_member())?),
            _ => None,
        };
        if let Some(member) = &member {
            prepare_member(proposal, room, member, &mut draft).await?;
        }
        if let Some(current) = proposal.state(room, &draft.kind, &key).await?
            && current.sent_by() == proposal.author.sender
            && !current.is_redacted()
            && current.json() == canonical(&draft.content)?
            && proposal.is_joined(room).await?
        {
            proposal.stand(current.id());
            return Ok(current.id().to_owned());
        }
        if let Some(member) = &member {
            check_member(proposal, room, member, &draft).await?;
        }
        if draft.kind == "m.room.canonical_alias" {
            check_aliases(proposal, room, &draft).await?;
        }
        if draft.kind == "m.room.tombstone" {
            check_tombstone(room, &draft)?;
        }
        return Ok(proposal.append(room, &draft).await?.id().to_owned());
    }
    let Some(target) = redaction_target(&rules, &mut draft)? else {
        check_relation(proposal, room, &draft).await?;
        return Ok(proposal.append(room, &draft).await?.id().to_owned());
    };
    if !proposal.is_joined(room).await? {
        return Err(Refusal::Forbidden("you are not in this room".into()));
    }
    let powers = PowerLevels::current(proposal, room, &rules.authorization).await?;
    let may_redact_all = powers.of(&proposal.author.sender) >= powers.to_redact();
    let Some(target) = proposal.event(&target).await? else {
        // Others in the room can have it all the same.
        if !may_redact_all || proposal.rooms.members.servers_in(&room.room_id).len() < 2 {
            return Err(Refusal::NotFound("there is no such event in this room".into()));
        }
        let redaction = proposal.append(room, &draft).await?;
        proposal.await_redacted(&target, redaction.id());
        return Ok(redaction.id().to_owned());
    };
    if target.room_id != room.room_id {
        return Err(Refusal::Invalid("the event is of another room".into()));
    }
    if target.sender != proposal.author.sender && !may_redact_all {
        return Err(Refusal::Forbidden("you may not redact the events of others here".into()));
    }
    let redaction = proposal.append(room, &draft).await?;
    let internal = |e: Cow<'static, str>| Refusal::Internal(format!("redacting: {e}"));
    let pdu = serde_json::from_str(&target.pdu).map_err(|e| internal(e.to_string().into()))?;
    let pdu = redacted_form(pdu, &rules.redaction, None).map_err(|e| internal(e.to_string().into()))?;
    proposal.redact(room, &target, canonical(&pdu)?, redaction.id()).await?;
    Ok(redaction.id().to_owned())
}

/// What a redaction redacts; puts it where the room version wants it.
fn redaction_target(rules: &RoomVersionRules, draft: &mut Draft) -> Result<Option<OwnedEventId>, Refusal> {
    if draft.kind != "m.room.redaction" {
        return Ok(None);
    }
    let inside = draft.content.get("redacts").and_then(CanonicalJsonValue::as_str).map(EventId::parse);
    let target = match (draft.redacts.take(), inside) {
        (Some(target), _) | (None, Some(Ok(target))) => target,
        (None, _) => return Err(Refusal::BadJson("a redaction needs `redacts`, an event ID".into())),
    };
    if rules.redaction.content_field_redacts {
        let id = CanonicalJsonValue::String(target.to_string());
        draft.content.insert("redacts".to_owned(), id);
    } else {
        draft.redacts = Some(target.clone());
    }
    Ok(Some(target))
}

/// A member event that a client wrote itself says who it is about (P10), and cannot claim that somebody here
/// vouched for its sender; by which they come in, it is the one that a join makes.
async fn prepare_member(
    proposal: &mut Proposal<'_>,
    room: &RoomRow,
    user: &UserId,
    draft: &mut Draft,
) -> Result<(), Refusal> {
    if proposal.is_joined(room).await? {
        draft.content.remove(content::AUTHORISED_BY);
        return content::add_profile(proposal, user, &mut draft.content).await;
    }
    let joins = draft.content.get("membership").and_then(CanonicalJsonValue::as_str) == Some("join");
    if joins && *user == proposal.author.sender {
        let before = proposal.membership(room, user).await?;
        let own = said_of_a_join(std::mem::take(&mut draft.content))?;
        draft.content = content_of_join(proposal, room, user, before, own).await?;
        return Ok(());
    }
    draft.content.remove(content::AUTHORISED_BY);
    content::add_profile(proposal, user, &mut draft.content).await
}

fn no_member() -> Refusal {
    Refusal::BadJson("the state key of m.room.member is a user ID".into())
}

/// A room is replaced by another one.
fn check_tombstone(room: &RoomRow, draft: &Draft) -> Result<(), Refusal> {
    let replacement = draft.content.get("replacement_room").and_then(CanonicalJsonValue::as_str);
    if replacement == Some(room.room_id.as_str()) {
        return Err(Refusal::Invalid("a room cannot be replaced by itself".into()));
    }
    Ok(())
}

/// Aliases that a room announces must lead to it; those announced before may stay.
async fn check_aliases(proposal: &mut Proposal<'_>, room: &RoomRow, draft: &Draft) -> Result<(), Refusal> {
    let named = |object: &ruma::CanonicalJsonObject| {
        let alternatives =
            object.get("alt_aliases").and_then(CanonicalJsonValue::as_array).unwrap_or_default();
        let all = object.get("alias").into_iter().chain(alternatives);
        all.filter_map(|alias| alias.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let before: Vec<String> = match proposal.state(room, "m.room.canonical_alias", "").await? {
        Some(event) => named(&content::parse(event.json())?),
        None => Vec::new(),
    };
    for alias in named(&draft.content).into_iter().filter(|alias| !before.contains(alias)) {
        let parsed = ruma::RoomAliasId::parse(&alias)
            .map_err(|_| Refusal::InvalidParam(format!("{alias} is not a room alias").into()))?;
        if proposal.alias(&parsed).await?.is_none_or(|found| found.room_id != room.room_id) {
            return Err(Refusal::BadAlias(format!("{alias} does not lead to this room").into()));
        }
    }
    Ok(())
}
