//! A room moves on to a new version: a new room that takes the place of the old.
//!
//! Client-server API, "POST /rooms/{roomId}/upgrade". One write: both rooms change, or none.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, RoomVersionId,
    UserId, room_version_rules::AuthorizationRules,
};
use serde::Deserialize;

use super::{
    append::rules,
    bounds::VERSIONS,
    content,
    create::{Plan, PowerLevelsFrom, Preset},
    draft::Draft,
    parts::Rooms,
    power::{Power, PowerLevels},
    proposal::Proposal,
    refusal::Refusal,
    send::place,
    write::Act,
};
use crate::server::{event::stored::Membership, session::Session, store::RoomRow};

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

/// Those whose bans a new room takes over at most: who was banned last.
pub const MAX_BANS_TAKEN_OVER: usize = 2_000;

impl Rooms {
    /// Replaces a room with a new one of another version and answers with its ID. From version 12 on,
    /// `additional_creators` made it together with the session's user.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for somebody who may not send `m.room.tombstone`,
    /// [`Refusal::UnsupportedVersion`].
    pub async fn upgrade(
        self: &Arc<Self>,
        session: &Session,
        room_id: &RoomId,
        version: RoomVersionId,
        additional_creators: Vec<OwnedUserId>,
    ) -> Result<OwnedRoomId, Refusal> {
        if !VERSIONS.contains(&version) {
            return Err(Refusal::UnsupportedVersion);
        }
        let room = room_id.to_owned();
        self.perform(session, Upgrade { room, version, additional_creators }).await
    }

    /// The room that `room` replaced, if both say so.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails.
    pub async fn replaced_by(&self, room: &RoomId) -> Result<Option<OwnedRoomId>, Refusal> {
        #[derive(Deserialize)]
        struct Predecessor {
            room_id: OwnedRoomId,
        }
        #[derive(Deserialize)]
        struct Create {
            predecessor: Predecessor,
        }
        #[derive(Deserialize)]
        struct Tombstone {
            replacement_room: OwnedRoomId,
        }
        let create = self.store.state_event(room, "m.room.create", "").await?;
        let Some(Create { predecessor }) = create.and_then(|event| event.content_as()) else {
            return Ok(None);
        };
        let tombstone = self.store.state_event(&predecessor.room_id, "m.room.tombstone", "").await?;
        let tombstone: Option<Tombstone> = tombstone.and_then(|event| event.content_as());
        let is_it = tombstone.is_some_and(|tombstone| tombstone.replacement_room == room);
        Ok(is_it.then_some(predecessor.room_id))
    }
}

impl Rooms {
    /// What this server's directory has of the room that `room` replaced leads to `room`: the first of this server came
    /// in, and the upgrade was made elsewhere.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails.
    pub async fn follow_upgrade(self: &Arc<Self>, user: &UserId, room: &RoomId) -> Result<(), Refusal> {
        let Some(old) = self.replaced_by(room).await? else { return Ok(()) };
        let act = FollowUpgrade { old, new: room.to_owned() };
        self.perform_once(user.to_owned(), None, act).await.map(drop)
    }
}

struct FollowUpgrade {
    old: OwnedRoomId,
    new: OwnedRoomId,
}

impl Act for FollowUpgrade {
    type Answer = ();

    fn room(&self) -> Option<OwnedRoomId> {
        Some(self.old.clone())
    }

    async fn carry_out(&self, proposal: &mut Proposal<'_>) -> Result<(), Refusal> {
        let old = proposal.known_room(&self.old).await?;
        let Some(new) = proposal.rooms.store.room(&self.new).await? else { return Ok(()) };
        proposal.move_aliases(&old, &new).await?;
        if old.listed {
            proposal.set_listed(&old, false);
            proposal.set_listed(&new, true);
        }
        Ok(())
    }
}

struct Upgrade {
    room: OwnedRoomId,
    version: RoomVersionId,
    additional_creators: Vec<OwnedUserId>,
}

impl Act for Upgrade {
    type Answer = OwnedRoomId;

    fn room(&self) -> Option<OwnedRoomId> {
        Some(self.room.clone())
    }

    async fn carry_out(&self, proposal: &mut Proposal<'_>) -> Result<OwnedRoomId, Refusal> {
        let old = proposal.known_room(&self.room).await?;
        let powers = PowerLevels::current(proposal, &old, &rules(&old.version)?.authorization).await?;
        let sender = proposal.author.sender.clone();
        if !proposal.is_joined(&old).await? || powers.of(&sender) < powers.to_set("m.room.tombstone") {
            return Err(Refusal::Forbidden("you may not upgrade this room".into()));
        }
        let rules = rules(&self.version)?.authorization;
        let mut creators = BTreeSet::from([sender.clone()]);
        if rules.additional_room_creators {
            creators.extend(self.additional_creators.iter().cloned());
        }
        let levels = levels(proposal, &old, &powers, &creators, &rules).await?;
        let mut plan = plan(proposal, &old, self.version.clone(), &creators, levels.first).await?;
        let room_id = RoomId::new_v1(sender.server_name());
        let new = if rules.room_create_event_id_as_room_id {
            // The ID of the new room is that of its first event, which so cannot name the last of the old.
            let new = plan.make(proposal, room_id).await?;
            bury(proposal, &old, &new.room_id).await?;
            new
        } else {
            let tombstone = bury(proposal, &old, &room_id).await?;
            if let Some(predecessor) = plan.creation_content.get_mut("predecessor")
                && let CanonicalJsonValue::Object(predecessor) = predecessor
            {
                predecessor.insert("event_id".to_owned(), text(tombstone.as_str()));
            }
            plan.make(proposal, room_id).await?
        };
        furnish(proposal, &old, &new).await?;
        if let Some(last) = levels.last {
            place(proposal, &new, Draft::state("m.room.power_levels", "", last)).await?;
        }
        proposal.set_listed(&old, false);
        silence(proposal, &old).await?;
        Ok(new.room_id)
    }
}

/// Says in the old room which one takes its place.
async fn bury(proposal: &mut Proposal<'_>, old: &RoomRow, new: &RoomId) -> Result<OwnedEventId, Refusal> {
    let tombstone = CanonicalJsonObject::from_iter([
        ("body".to_owned(), text("This room has been replaced")),
        ("replacement_room".to_owned(), text(new.as_str())),
    ]);
    place(proposal, old, Draft::state("m.room.tombstone", "", tombstone)).await
}

/// Takes over aliases, bans, and what is in a space.
async fn furnish(proposal: &mut Proposal<'_>, old: &RoomRow, new: &RoomRow) -> Result<(), Refusal> {
    proposal.move_aliases(old, new).await?;
    if let Some(alias) = proposal.state(old, "m.room.canonical_alias", "").await? {
        let content = content::parse(alias.json())?;
        place(proposal, new, Draft::state("m.room.canonical_alias", "", content)).await?;
    }
    for child in proposal.state_of_type(old, "m.space.child").await? {
        let content = content::parse(child.content().get())?;
        if let Some(key) = child.state_key.as_deref().filter(|_| content.contains_key("via")) {
            proposal.append(new, &Draft::state("m.space.child", key, content)).await?;
        }
    }
    for user in proposal.rooms.store.banned(&old.room_id, MAX_BANS_TAKEN_OVER).await? {
        let Some(ban) = proposal.state(old, "m.room.member", user.as_str()).await? else { continue };
        if ban.membership() == Some(Membership::Ban) {
            let content = content::parse(ban.json())?;
            proposal.append(new, &Draft::state("m.room.member", user.as_str(), content)).await?;
        }
    }
    Ok(())
}

async fn plan(
    proposal: &Proposal<'_>,
    old: &RoomRow,
    version: RoomVersionId,
    creators: &BTreeSet<OwnedUserId>,
    powers: CanonicalJsonObject,
) -> Result<Plan, Refusal> {
    let mut creation = current(proposal, old, "m.room.create").await?.unwrap_or_default();
    for key in ["creator", "room_version", "additional_creators", "predecessor"] {
        creation.remove(key);
    }
    let others = creators.iter().filter(|user| **user != proposal.author.sender);
    let others: Vec<CanonicalJsonValue> = others.map(|user| text(user.as_str())).collect();
    if !others.is_empty() {
        creation.insert("additional_creators".to_owned(), others.into());
    }
    let predecessor = CanonicalJsonObject::from_iter([("room_id".to_owned(), text(old.room_id.as_str()))]);
    creation.insert("predecessor".to_owned(), predecessor.into());
    let mut initial_state = Vec::new();
    for kind in TAKEN_OVER {
        let content = current(proposal, old, kind).await?;
        initial_state.extend(content.map(|content| Draft::state(kind, "", content)));
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
        at_once: Vec::new(),
        is_direct: false,
    })
}

/// The power levels of a new room: those that it is furnished with, and those after that if they are others.
struct Levels {
    first: CanonicalJsonObject,
    last: Option<CanonicalJsonObject>,
}

/// As they are in the old room. Who may only just upgrade it cannot set all of its state: they get what that takes
/// until it is done.
async fn levels(
    proposal: &Proposal<'_>,
    old: &RoomRow,
    powers: &PowerLevels,
    creators: &BTreeSet<OwnedUserId>,
    rules: &AuthorizationRules,
) -> Result<Levels, Refusal> {
    let mut content = current(proposal, old, "m.room.power_levels").await?.unwrap_or_default();
    let highest = highest(&content);
    let number = |n: i64| CanonicalJsonValue::Integer(ruma::Int::try_from(n).unwrap_or(ruma::Int::MAX));
    let users = content.entry("users".to_owned()).or_insert_with(|| CanonicalJsonObject::new().into());
    let CanonicalJsonValue::Object(users) = users else {
        return Err(Refusal::Forbidden("the power levels of this room cannot be understood".into()));
    };
    for creator in powers.above_all().filter(|creator| !creators.contains(*creator)) {
        users.insert(creator.to_string(), number(highest.max(100)));
    }
    if rules.explicitly_privilege_room_creators {
        users.retain(|user, _| !creators.iter().any(|creator| creator == user));
        return Ok(Levels { first: content, last: None });
    }
    let sender = proposal.author.sender.as_str();
    if powers.of(&proposal.author.sender) == Power::Creator {
        users.insert(sender.to_owned(), number(highest.max(100)));
    }
    let before = users.get(sender).cloned();
    users.insert(sender.to_owned(), number(highest.saturating_add(1).max(100)));
    let first = content.clone();
    if let Some(CanonicalJsonValue::Object(users)) = content.get_mut("users") {
        match before {
            Some(level) => users.insert(sender.to_owned(), level),
            None => users.remove(sender),
        };
    }
    Ok(Levels { first, last: Some(content) })
}

/// The highest level that power levels name.
fn highest(content: &CanonicalJsonObject) -> i64 {
    let levels = content.values().flat_map(|value| match value {
        CanonicalJsonValue::Integer(level) => vec![i64::from(*level)],
        CanonicalJsonValue::Object(named) => named
            .values()
            .filter_map(
                |level| if let CanonicalJsonValue::Integer(n) = level { Some(i64::from(*n)) } else { None },
            )
            .collect(),
        _ => Vec::new(),
    });
    levels.max().unwrap_or(0)
}

/// The content of the current state event of a type without a key.
async fn current(
    proposal: &Proposal<'_>,
    room: &RoomRow,
    kind: &str,
) -> Result<Option<CanonicalJsonObject>, Refusal> {
    proposal.state(room, kind, "").await?.map(|event| content::parse(event.json())).transpose()
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
