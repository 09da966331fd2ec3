//! A room moves on to a new version: a new room that takes the place of the old.
//!
//! Client-server API, "POST /rooms/{roomId}/upgrade". One write: both rooms change, or none.

use std::sync::Arc;

use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedRoomId, RoomId, RoomVersionId};

use super::{
    append::rules,
    bounds::VERSIONS,
    content,
    create::{Plan, PowerLevelsFrom, Preset},
    draft::Draft,
    parts::Rooms,
    power::PowerLevels,
    proposal::Proposal,
    refusal::Refusal,
    send::place,
    write::Act,
};
use crate::server::{session::Session, store::RoomRow};

/// The state that a new room takes over from the old, beside power levels and aliases.
const TAKEN_OVER: [&str; 8] = [
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.server_acl",
    "m.room.encryption",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
];

impl Rooms {
    /// Replaces a room with a new one of another version and answers with its ID.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for somebody who may not send `m.room.tombstone`,
    /// [`Refusal::UnsupportedVersion`].
    pub async fn upgrade(
        self: &Arc<Self>,
        session: &Session,
        room_id: &RoomId,
        version: RoomVersionId,
    ) -> Result<OwnedRoomId, Refusal> {
        if !VERSIONS.contains(&version) {
            return Err(Refusal::UnsupportedVersion);
        }
        self.perform(session, Upgrade { room: room_id.to_owned(), version }).await
    }
}

struct Upgrade {
    room: OwnedRoomId,
    version: RoomVersionId,
}

impl Act for Upgrade {
    type Answer = OwnedRoomId;

    fn room(&self) -> Option<OwnedRoomId> {
        Some(self.room.clone())
    }

    async fn carry_out(&self, proposal: &mut Proposal<'_>) -> Result<OwnedRoomId, Refusal> {
        let old = proposal.known_room(&self.room).await?;
        let new = plan(proposal, &old, self.version.clone()).await?.make(proposal).await?;
        let tombstone = CanonicalJsonObject::from_iter([
            ("body".to_owned(), text("This room has been replaced")),
            ("replacement_room".to_owned(), text(new.room_id.as_str())),
        ]);
        place(proposal, &old, Draft::state("m.room.tombstone", "", tombstone)).await?;
        proposal.move_aliases(&old, &new).await?;
        if let Some(alias) = proposal.state(&old, "m.room.canonical_alias", "").await? {
            let content = content::parse(alias.json())?;
            place(proposal, &new, Draft::state("m.room.canonical_alias", "", content)).await?;
        }
        proposal.set_listed(&old, false);
        silence(proposal, &old).await?;
        Ok(new.room_id)
    }
}

async fn plan(proposal: &Proposal<'_>, old: &RoomRow, version: RoomVersionId) -> Result<Plan, Refusal> {
    let state = async |kind: &'static str| -> Result<Option<CanonicalJsonObject>, Refusal> {
        proposal.state(old, kind, "").await?.map(|event| content::parse(event.json())).transpose()
    };
    let creator = &proposal.author.sender;
    let mut creation = state("m.room.create").await?.unwrap_or_default();
    for key in ["creator", "room_version", "additional_creators", "predecessor"] {
        creation.remove(key);
    }
    let mut predecessor =
        CanonicalJsonObject::from_iter([("room_id".to_owned(), text(old.room_id.as_str()))]);
    if let Some(last) = proposal.extremities(old).first() {
        predecessor.insert("event_id".to_owned(), text(last.event_id.as_str()));
    }
    creation.insert("predecessor".to_owned(), predecessor.into());
    let rules = rules(&version)?.authorization;
    let mut powers = state("m.room.power_levels").await?.unwrap_or_default();
    if let Some(CanonicalJsonValue::Object(users)) = powers.get_mut("users") {
        if rules.explicitly_privilege_room_creators {
            users.remove(creator.as_str());
        } else {
            users.insert(creator.to_string(), CanonicalJsonValue::Integer(100.into()));
        }
    }
    let mut initial_state = Vec::new();
    for kind in TAKEN_OVER {
        initial_state.extend(state(kind).await?.map(|content| Draft::state(kind, "", content)));
    }
    Ok(Plan {
        version,
        creation_content: creation,
        listed: old.listed,
        alias: None,
        preset: Preset::Private,
        power_levels: PowerLevelsFrom::Given(powers),
        initial_state,
        name: None,
        topic: None,
        invite: Vec::new(),
        is_direct: false,
    })
}

/// Raises what it takes to speak in the old room, where the user may do that.
async fn silence(proposal: &mut Proposal<'_>, old: &RoomRow) -> Result<(), Refusal> {
    let Some(current) = proposal.state(old, "m.room.power_levels", "").await? else { return Ok(()) };
    let powers = PowerLevels::current(proposal, old, &rules(&old.version)?.authorization).await?;
    if powers.of(&proposal.author.sender) < powers.to_set("m.room.power_levels") {
        return Ok(());
    }
    let mut content = content::parse(current.json())?;
    let level = |content: &CanonicalJsonObject, key: &str| match content.get(key) {
        Some(CanonicalJsonValue::Integer(level)) => i64::from(*level),
        _ => 0,
    };
    let above = level(&content, "users_default").saturating_add(1).max(50);
    for key in ["events_default", "invite"] {
        let raised = ruma::Int::try_from(above.max(level(&content, key))).unwrap_or(ruma::Int::MAX);
        content.insert(key.to_owned(), CanonicalJsonValue::Integer(raised));
    }
    match place(proposal, old, Draft::state("m.room.power_levels", "", content)).await {
        Ok(_) | Err(Refusal::Forbidden(_)) => Ok(()),
        Err(e) => Err(e),
    }
}

fn text(text: &str) -> CanonicalJsonValue {
    CanonicalJsonValue::String(text.to_owned())
}
