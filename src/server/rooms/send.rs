//! Sending messages, state and redactions into rooms; each transaction ID is done once.
//!
//! Client-server API, "Sending events to a room" and "Redactions".

use std::{borrow::Cow, sync::Arc};

use ruma::{
    CanonicalJsonValue, DeviceId, EventId, OwnedEventId, OwnedRoomId, OwnedTransactionId, RoomId,
    TransactionId, UserId, canonical_json::redact as redacted_form, room_version_rules::RoomVersionRules,
};

use super::{
    act::check_invitable,
    append::{Author, Draft, append, canonical, rules},
    content,
    power::PowerLevels,
    refusal::Refusal,
    write::Rooms,
};
use crate::server::{
    change::position::LogPosition,
    event::stored::{Membership, StoredEvent},
    session::Session,
    store::{RoomRow, RoomWrite},
};

/// Makes a request repeatable: the same ID on the same endpoint by the same device is done once.
#[derive(Clone, Debug)]
pub struct Action {
    /// The client's transaction ID.
    pub transaction: OwnedTransactionId,
    /// The kind of request and the rest of its path.
    pub endpoint: String,
}

/// An event that was sent, and its place in the log (M12).
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its ID.
    pub event_id: OwnedEventId,
    /// Its position.
    pub position: LogPosition,
}

impl Rooms {
    /// Sends a message event (one without a state key) and answers with its ID and place.
    ///
    /// # Errors
    /// [`Refusal`]: by the room's rules, or for a content that is not canonical JSON.
    pub async fn send_message(
        self: &Arc<Self>,
        session: &Session,
        room_id: &RoomId,
        kind: &str,
        transaction: &TransactionId,
        json: &str,
    ) -> Result<Sent, Refusal> {
        content::check_length("the event type", kind)?;
        content::check_length("the transaction ID", transaction.as_str())?;
        let draft =
            Draft { kind: kind.to_owned(), state_key: None, content: content::parse(json)?, redacts: None };
        let endpoint = format!("send/{room_id}/{kind}");
        let action = Action { transaction: transaction.to_owned(), endpoint };
        self.send(session, room_id, draft, Some(action)).await
    }

    /// Redacts an event and answers with the ID of the redaction.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is no such event in the room, else as for [`send_message`].
    pub async fn redact(
        self: &Arc<Self>,
        session: &Session,
        room_id: &RoomId,
        target: &EventId,
        transaction: &TransactionId,
        reason: Option<String>,
    ) -> Result<OwnedEventId, Refusal> {
        content::check_length("the transaction ID", transaction.as_str())?;
        let mut content = ruma::CanonicalJsonObject::new();
        if let Some(reason) = reason {
            content.insert("reason".to_owned(), CanonicalJsonValue::String(reason));
        }
        let draft = Draft {
            kind: "m.room.redaction".to_owned(),
            state_key: None,
            content,
            redacts: Some(target.to_owned()),
        };
        let endpoint = format!("redact/{room_id}/{target}");
        let action = Action { transaction: transaction.to_owned(), endpoint };
        Ok(self.send(session, room_id, draft, Some(action)).await?.event_id)
    }

    /// Sets state and answers with the ID of the event. State that is set to what the same user set it to
    /// already stays the event it is.
    ///
    /// # Errors
    /// As for [`send_message`]; [`Refusal::BadAlias`] for an alias that does not lead to the room.
    pub async fn send_state(
        self: &Arc<Self>,
        session: &Session,
        room_id: &RoomId,
        kind: &str,
        key: &str,
        json: &str,
    ) -> Result<OwnedEventId, Refusal> {
        content::check_length("the event type", kind)?;
        content::check_length("the state key", key)?;
        let draft = Draft::state(kind, key, content::parse(json)?);
        Ok(self.send(session, room_id, draft, None).await?.event_id)
    }

    async fn send(
        self: &Arc<Self>,
        session: &Session,
        room_id: &RoomId,
        draft: Draft,
        action: Option<Action>,
    ) -> Result<Sent, Refusal> {
        let (session, room_id): (Session, OwnedRoomId) = (session.clone(), room_id.to_owned());
        self.write(move |write, rooms| {
            let device: (_, &DeviceId) = (&*session.user, &session.device);
            if let Some(action) = &action
                && let Some(event_id) = write.transaction(device, &action.endpoint, &action.transaction)?
            {
                let position = sent(write, &event_id)?.position;
                return Ok(Sent { event_id, position });
            }
            let author = Author {
                signer: &rooms.signer,
                sender: &session.user,
                now_ms: rooms.clock.unix_ms(),
                transaction: action.as_ref().map(|action| (&*session.device, &*action.transaction)),
            };
            let room = known_room(write, &room_id)?;
            let event_id = place(write, author, &room, draft)?;
            let event = sent(write, &event_id)?;
            if let Some(action) = &action {
                write.remember_transaction(device, &action.endpoint, &action.transaction, &event)?;
            }
            Ok(Sent { event_id, position: event.position })
        })
        .await
    }
}

fn sent(write: &RoomWrite<'_>, event_id: &EventId) -> Result<Arc<StoredEvent>, Refusal> {
    write.event(event_id)?.ok_or_else(|| Refusal::Internal("an event that was sent is not there".into()))
}

/// A room, to somebody who acts in it. Rooms that do not exist and rooms one is not in look the same.
pub(super) fn known_room(write: &RoomWrite<'_>, room_id: &RoomId) -> Result<RoomRow, Refusal> {
    write.room(room_id)?.ok_or_else(|| Refusal::Forbidden("you are not in this room".into()))
}

/// Appends a client's draft, with what its type entails.
pub(super) fn place(
    write: &RoomWrite<'_>,
    author: Author<'_>,
    room: &RoomRow,
    mut draft: Draft,
) -> Result<OwnedEventId, Refusal> {
    let rules = rules(&room.version)?;
    if let Some(key) = draft.state_key.clone() {
        if draft.kind == "m.room.member" {
            prepare_member(write, author, room, &key, &mut draft)?;
        }
        if let Some(current) = write.state(room, &draft.kind, &key)?
            && current.sender == author.sender
            && current.redacted_because.is_none()
            && current.content().get() == canonical(&draft.content)?
            && is_joined(write, author, room)?
        {
            return Ok(current.event_id.clone());
        }
        if draft.kind == "m.room.canonical_alias" {
            check_aliases(write, room, &draft)?;
        }
        return Ok(append(write, author, room, &draft)?.event_id.clone());
    }
    let Some(target) = redaction_target(&rules, &mut draft)? else {
        return Ok(append(write, author, room, &draft)?.event_id.clone());
    };
    if !is_joined(write, author, room)? {
        return Err(Refusal::Forbidden("you are not in this room".into()));
    }
    let target = write
        .event(&target)?
        .filter(|event| event.room_id == room.room_id)
        .ok_or_else(|| Refusal::NotFound("there is no such event in this room".into()))?;
    let powers = PowerLevels::current(write, room, &rules.authorization)?;
    if target.sender != author.sender && powers.of(author.sender) < powers.to_redact() {
        return Err(Refusal::Forbidden("you may not redact the events of others here".into()));
    }
    let redaction = append(write, author, room, &draft)?;
    apply_redaction(write, &rules, &target, &redaction)?;
    Ok(redaction.event_id.clone())
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

fn apply_redaction(
    write: &RoomWrite<'_>,
    rules: &RoomVersionRules,
    target: &StoredEvent,
    redaction: &StoredEvent,
) -> Result<(), Refusal> {
    let internal = |e: Cow<'static, str>| Refusal::Internal(format!("redacting: {e}"));
    let pdu = serde_json::from_str(&target.pdu).map_err(|e| internal(e.to_string().into()))?;
    let pdu = redacted_form(pdu, &rules.redaction, None).map_err(|e| internal(e.to_string().into()))?;
    write.redact(&target.event_id, &canonical(&pdu)?, &redaction.event_id)?;
    Ok(())
}

fn is_joined(write: &RoomWrite<'_>, author: Author<'_>, room: &RoomRow) -> Result<bool, Refusal> {
    Ok(write.membership(room, author.sender)? == Some(Membership::Join))
}

/// A member event that a client wrote itself says who it is about (P10), invites only whom
/// [`Rooms::invite`] would, and cannot claim that somebody here vouched for its sender.
fn prepare_member(
    write: &RoomWrite<'_>,
    author: Author<'_>,
    room: &RoomRow,
    key: &str,
    draft: &mut Draft,
) -> Result<(), Refusal> {
    let user = UserId::parse(key)
        .map_err(|_| Refusal::BadJson("the state key of m.room.member is a user ID".into()))?;
    if draft.content.get("membership").and_then(CanonicalJsonValue::as_str) == Some("invite") {
        check_invitable(write, author, &user)?;
    }
    if !is_joined(write, author, room)? {
        draft.content.remove("join_authorised_via_users_server");
    }
    content::add_profile(write, &user, &mut draft.content)
}

/// Aliases that a room announces must lead to it; those announced before may stay.
fn check_aliases(write: &RoomWrite<'_>, room: &RoomRow, draft: &Draft) -> Result<(), Refusal> {
    let named = |object: &ruma::CanonicalJsonObject| {
        let alternatives =
            object.get("alt_aliases").and_then(CanonicalJsonValue::as_array).unwrap_or_default();
        let all = object.get("alias").into_iter().chain(alternatives);
        all.filter_map(|alias| alias.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let before: Vec<String> = match write.state(room, "m.room.canonical_alias", "")? {
        Some(event) => named(&content::parse(event.content().get())?),
        None => Vec::new(),
    };
    for alias in named(&draft.content).into_iter().filter(|alias| !before.contains(alias)) {
        let parsed = ruma::RoomAliasId::parse(&alias)
            .map_err(|_| Refusal::InvalidParam(format!("{alias} is not a room alias").into()))?;
        if write.alias(&parsed)?.is_none_or(|found| found.room_id != room.room_id) {
            return Err(Refusal::BadAlias(format!("{alias} does not lead to this room").into()));
        }
    }
    Ok(())
}
