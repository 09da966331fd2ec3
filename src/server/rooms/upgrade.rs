//! A room moves on to a new version: a new room that takes the place of the old.
//!
//! Client-server API, "POST /rooms/{roomId}/upgrade". One write: both rooms change, or none.

use std::sync::Arc;

use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedRoomId, RoomId, RoomVersionId, UserId};

use super::{
    append::{Author, Draft, rules},
    bounds::VERSIONS,
    content,
    create::{Plan, PowerLevelsFrom, Preset},
    power::PowerLevels,
    refusal::Refusal,
    send::{known_room, place},
    write::Rooms,
};
use crate::server::{
    session::Session,
    store::{RoomRow, RoomWrite},
};

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
        let (session, room_id) = (session.clone(), room_id.to_owned());
        self.write(move |write, rooms| {
            let author = Author {
                signer: &rooms.signer,
                sender: &session.user,
                now_ms: rooms.clock.unix_ms(),
                transaction: None,
            };
            let old = known_room(write, &room_id)?;
            let new = plan(write, &old, version, author.sender)?.carry_out(write, author)?;
            let tombstone = CanonicalJsonObject::from_iter([
                ("body".to_owned(), text("This room has been replaced")),
                ("replacement_room".to_owned(), text(new.room_id.as_str())),
            ]);
            place(write, author, &old, Draft::state("m.room.tombstone", "", tombstone))?;
            write.move_aliases(&old, &new)?;
            if let Some(alias) = write.state(&old, "m.room.canonical_alias", "")? {
                let content = content::parse(alias.content().get())?;
                place(write, author, &new, Draft::state("m.room.canonical_alias", "", content))?;
            }
            write.set_listed(&old, false)?;
            silence(write, author, &old)?;
            Ok(new.room_id)
        })
        .await
    }
}

fn plan(
    write: &RoomWrite<'_>,
    old: &RoomRow,
    version: RoomVersionId,
    creator: &UserId,
) -> Result<Plan, Refusal> {
    let state = |kind: &str| -> Result<Option<CanonicalJsonObject>, Refusal> {
        write.state(old, kind, "")?.map(|event| content::parse(event.content().get())).transpose()
    };
    let mut creation = state("m.room.create")?.unwrap_or_default();
    for key in ["creator", "room_version", "additional_creators", "predecessor"] {
        creation.remove(key);
    }
    let mut predecessor =
        CanonicalJsonObject::from_iter([("room_id".to_owned(), text(old.room_id.as_str()))]);
    if let Some(last) = write.extremities(old)?.first() {
        predecessor.insert("event_id".to_owned(), text(last.event_id.as_str()));
    }
    creation.insert("predecessor".to_owned(), predecessor.into());
    let rules = rules(&version)?.authorization;
    let mut powers = state("m.room.power_levels")?.unwrap_or_default();
    if let Some(CanonicalJsonValue::Object(users)) = powers.get_mut("users") {
        if rules.explicitly_privilege_room_creators {
            users.remove(creator.as_str());
        } else {
            users.insert(creator.to_string(), CanonicalJsonValue::Integer(100.into()));
        }
    }
    let mut initial_state = Vec::new();
    for kind in TAKEN_OVER {
        initial_state.extend(state(kind)?.map(|content| Draft::state(kind, "", content)));
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
fn silence(write: &RoomWrite<'_>, author: Author<'_>, old: &RoomRow) -> Result<(), Refusal> {
    let Some(current) = write.state(old, "m.room.power_levels", "")? else { return Ok(()) };
    let powers = PowerLevels::current(write, old, &rules(&old.version)?.authorization)?;
    if powers.of(author.sender) < powers.to_set("m.room.power_levels") {
        return Ok(());
    }
    let mut content = content::parse(current.content().get())?;
    let level = |content: &CanonicalJsonObject, key: &str| match content.get(key) {
        Some(CanonicalJsonValue::Integer(level)) => i64::from(*level),
        _ => 0,
    };
    let above = level(&content, "users_default").saturating_add(1).max(50);
    for key in ["events_default", "invite"] {
        let raised = ruma::Int::try_from(above.max(level(&content, key))).unwrap_or(ruma::Int::MAX);
        content.insert(key.to_owned(), CanonicalJsonValue::Integer(raised));
    }
    match place(write, author, old, Draft::state("m.room.power_levels", "", content)) {
        Ok(_) | Err(Refusal::Forbidden(_)) => Ok(()),
        Err(e) => Err(e),
    }
}

fn text(text: &str) -> CanonicalJsonValue {
    CanonicalJsonValue::String(text.to_owned())
}
