//! Users of this server and rooms that are not here: they are invited there, knock, or are something there no longer.
//!
//! Of such a room nothing is known but what they are in it, and what it shows of itself.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, OwnedUserId, RoomId, RoomVersionId, UserId,
};
use serde_json::value::RawValue;

use super::draft::Ready;
use crate::server::{
    event::stored::Membership,
    json::is_too_deep,
    rooms::{
        append::{Built, rules},
        parts::Rooms,
        receive::check::Checked,
        refusal::Refusal,
        turns::Turn,
    },
    store::{NotCommitted, RoomChange, RoomCommit},
};

/// Bytes that a room shows of itself to somebody who is not in it, at most. What is beyond that is left out.
const MAX_SHOWN: usize = 64 << 10;

impl Rooms {
    /// Who invited `user` to `room`, if they are invited.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails.
    pub async fn inviter(&self, room: &RoomId, user: &UserId) -> Result<Option<OwnedUserId>, Refusal> {
        if self.members.membership(user, room) != Some(Membership::Invite) {
            return Ok(None);
        }
        let member = self.store.state_event(room, "m.room.member", user.as_str()).await?;
        Ok(member.map(|member| member.sender.clone()))
    }

    /// The servers of those who stand in what a room that is not here showed `user` of itself, each once.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails.
    pub async fn servers_shown(
        &self,
        room: &RoomId,
        user: &UserId,
    ) -> Result<BTreeSet<OwnedServerName>, Refusal> {
        #[derive(serde::Deserialize)]
        struct Shown {
            sender: OwnedUserId,
        }
        let row = self.store.memberships(user).await?.into_iter().find(|row| row.room_id == room);
        let shown = row.and_then(|row| row.invite_state);
        let shown: Vec<Shown> = shown.and_then(|shown| serde_json::from_str(&shown).ok()).unwrap_or_default();
        Ok(shown.into_iter().map(|shown| shown.sender.server_name().to_owned()).collect())
    }

    /// Notes what a user of this server is from here on in a room that this server is not in; `shown` is what the room
    /// shows of itself to who is invited or knocks.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails.
    pub(in crate::server::rooms) async fn note_outside(
        &self,
        _turn: &Turn,
        (room, version): (&RoomId, &RoomVersionId),
        event: &Checked,
        shown: &[Box<RawValue>],
    ) -> Result<(), Refusal> {
        let mut row = event.row(&room.to_owned(), false, None);
        if let Some((membership, invite_state)) = &mut row.membership
            && matches!(membership, Membership::Invite | Membership::Knock)
        {
            *invite_state = Some(stripped(shown)?);
        }
        let commit = RoomCommit {
            changes: vec![RoomChange::Outside { version: version.clone(), event: Box::new(row) }],
            now_ms: self.clock.unix_ms(),
            ..RoomCommit::default()
        };
        match self.store.commit_rooms(commit).await?.await {
            Ok(_) => Ok(()),
            Err(NotCommitted::Store(e)) => Err(e.into()),
            Err(e) => Err(Refusal::Internal(format!("a room that is not here: {e:?}"))),
        }
    }

    /// Notes what `user` became in a room that is not here by an event that another server took.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails.
    pub async fn went(
        self: &Arc<Self>,
        room: &RoomId,
        ready: &Ready,
        shown: &[Box<RawValue>],
    ) -> Result<(), Refusal> {
        let turn = self.turns.wait(room).await;
        // The room came here meanwhile, and the event comes with it.
        if self.takes_part(room) {
            return Ok(());
        }
        let event = ready.checked()?;
        self.note_outside(&turn, (room, &ready.version), &event, shown).await
    }

    /// Lets `user` be out of a room that is not here, though nobody of it was told: they decline its invite, or take a
    /// knock back, and nobody there answers.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`]: they are neither invited nor knock.
    pub async fn leave_unheard(
        self: &Arc<Self>,
        room: &RoomId,
        user: &UserId,
        reason: Option<String>,
    ) -> Result<(), Refusal> {
        let member = self.store.state_event(room, "m.room.member", user.as_str()).await?;
        let version = self.store.version_of(room).await?;
        let known = member.zip(version);
        let (member, version) = known.ok_or_else(|| Refusal::Forbidden("you are not in this room".into()))?;
        let text = |text: &str| CanonicalJsonValue::String(text.to_owned());
        let mut content = CanonicalJsonObject::from([("membership".to_owned(), text("leave"))]);
        content.extend(reason.map(|reason| ("reason".to_owned(), text(&reason))));
        let now = ruma::Int::try_from(self.clock.unix_ms()).unwrap_or(ruma::Int::MAX);
        let depth = ruma::Int::try_from(member.depth.saturating_add(1)).unwrap_or(ruma::Int::MAX);
        let follows = vec![text(member.event_id.as_str())];
        let object = CanonicalJsonObject::from([
            ("auth_events".to_owned(), CanonicalJsonValue::Array(follows.clone())),
            ("content".to_owned(), content.into()),
            ("depth".to_owned(), CanonicalJsonValue::Integer(depth)),
            ("origin_server_ts".to_owned(), CanonicalJsonValue::Integer(now)),
            ("prev_events".to_owned(), CanonicalJsonValue::Array(follows)),
            ("room_id".to_owned(), text(room.as_str())),
            ("sender".to_owned(), text(user.as_str())),
            ("state_key".to_owned(), text(user.as_str())),
            ("type".to_owned(), text("m.room.member")),
        ]);
        let built = Built::new(&self.signer, &rules(&version)?, object)?;
        let ready = Ready { version, event_id: built.event_id, json: built.json };
        self.went(room, &ready, &[]).await
    }
}

/// State as clients are shown it who are not in the room: no more of each event than what stripped state has.
fn stripped(shown: &[Box<RawValue>]) -> Result<String, Refusal> {
    #[derive(serde::Deserialize, serde::Serialize)]
    struct Stripped {
        #[serde(rename = "type")]
        kind: String,
        state_key: String,
        sender: OwnedUserId,
        content: serde_json::Map<String, serde_json::Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        origin_server_ts: Option<u64>,
    }
    let (mut bytes, mut events) = (0, Vec::new());
    for event in shown {
        if bytes + event.get().len() > MAX_SHOWN || is_too_deep(event.get()) {
            continue;
        }
        bytes += event.get().len();
        // What is none of these is left out.
        if let Ok(mut event) = serde_json::from_str::<Stripped>(event.get()) {
            event.origin_server_ts = event.origin_server_ts.filter(|_| event.kind == "m.room.create");
            events.push(event);
        }
    }
    serde_json::to_string(&events).map_err(|e| Refusal::Internal(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_room_shows_of_itself_is_stripped_and_bounded() {
        let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        let name = r#"{"type":"m.room.name","state_key":"","sender":"@a:x","content":{"name":"n"},"unsigned":{},"origin_server_ts":2}"#;
        let create = r#"{"type":"m.room.create","state_key":"","sender":"@a:x","content":{},"origin_server_ts":1,"depth":1}"#;
        let large = format!(
            r#"{{"type":"m.room.topic","state_key":"","sender":"@a:x","content":{{"topic":"{}"}}}}"#,
            "x".repeat(MAX_SHOWN)
        );
        let deep = format!(
            r#"{{"type":"m","state_key":"","sender":"@a:x","content":{{"a":{}{}}}}}"#,
            "[".repeat(100),
            "]".repeat(100)
        );
        let bad =
            [&deep, r#"{"type":1}"#, "null", r#"{"type":"m","state_key":"","sender":"nobody","content":{}}"#];
        let mut shown: Vec<_> = bad.into_iter().map(raw).collect();
        shown.push(raw(&large));
        shown.extend([raw(name), raw(create)]);
        assert_eq!(
            stripped(&shown).unwrap(),
            concat!(
                r#"[{"type":"m.room.name","state_key":"","sender":"@a:x","content":{"name":"n"}},"#,
                r#"{"type":"m.room.create","state_key":"","sender":"@a:x","content":{},"origin_server_ts":1}]"#
            )
        );
    }
}
