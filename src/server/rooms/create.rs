//! Making rooms: the first events, in the order that the specification gives them.
//!
//! Client-server API, "POST createRoom". All of it is one write: a room is made whole or not at all.

use std::sync::Arc;

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomAliasId, RoomId,
    RoomVersionId, ServerName, UserId,
    api::client::room::{
        Visibility,
        create_room::v3::{Request, RoomPreset},
    },
    room_version_rules::AuthorizationRules,
};
use serde::Deserialize;
use serde_json::json;

use super::{
    append::rules,
    bounds::{MAX_INITIAL_STATE, MAX_INVITES, VERSIONS},
    content,
    draft::Draft,
    invite::invite_in,
    parts::Rooms,
    proposal::Proposal,
    refusal::Refusal,
    send::place,
    write::{Act, Actor, Performed},
};
use crate::server::{event::stored::Membership, store::RoomRow};

/// The kind of request that makes a room.
const CREATE: &str = "createRoom";

impl Rooms {
    /// Makes a room as `request` describes it, with its sender in it.
    ///
    /// # Errors
    /// [`Refusal`]: an alias that is taken, a version that is not known, a state that the rules refuse, more
    /// invites or initial state than allowed, somebody who takes no invite of its sender.
    pub async fn create(
        self: &Arc<Self>,
        actor: impl Into<Actor>,
        request: Request,
    ) -> Result<OwnedRoomId, Refusal> {
        self.create_to_invite(&actor.into(), request, |_| true).await.map(|(room, _)| room)
    }

    /// The same; of those who are to be invited only whom to invite `at_once`. The others have what the room gives to who is
    /// invited with it, and are named in the answer if the room was made just now, to be invited by whoever asked.
    ///
    /// # Errors
    /// As for [`Self::create`].
    pub async fn create_to_invite(
        self: &Arc<Self>,
        actor: &Actor,
        request: Request,
        at_once: impl Fn(&UserId) -> bool,
    ) -> Result<(OwnedRoomId, Vec<OwnedUserId>), Refusal> {
        if let Some(room) = self.room_of_done(actor, CREATE).await? {
            return Ok((room, Vec::new()));
        }
        let user = &actor.session().user;
        self.check_can_join(&self.coming.lock(), user)?;
        let mut plan = Plan::new(self, user, request)?;
        let (at_once, later) = plan.invite.iter().cloned().partition(|user| at_once(user));
        plan.at_once = at_once;
        match self.perform_action(actor, CREATE.to_owned(), plan).await? {
            Performed::Done(room, _) => Ok((room, later)),
            Performed::DoneBefore(placed) => Ok((self.room_of(&placed).await?, Vec::new())),
        }
    }
}

/// A request for a room, checked as far as it can be without looking at the store.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) version: RoomVersionId,
    pub(super) creation_content: CanonicalJsonObject,
    pub(super) listed: bool,
    pub(super) alias: Option<OwnedRoomAliasId>,
    pub(super) preset: Preset,
    pub(super) power_levels: PowerLevelsFrom,
    pub(super) initial_state: Vec<Draft>,
    pub(super) name: Option<String>,
    pub(super) topic: Option<String>,
    /// Who is invited to it.
    pub(super) invite: Vec<OwnedUserId>,
    /// Those of them who are invited with the first events.
    pub(super) at_once: Vec<OwnedUserId>,
    pub(super) is_direct: bool,
}

/// Where the first power levels come from.
#[derive(Debug)]
pub(super) enum PowerLevelsFrom {
    /// The preset's, with these keys put over them.
    Preset(CanonicalJsonObject),
    /// These, as they are: a room that takes another's place.
    Given(CanonicalJsonObject),
}

/// A convenient set of first rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Preset {
    Private,
    TrustedPrivate,
    Public,
}

impl Plan {
    fn new(rooms: &Rooms, creator: &UserId, request: Request) -> Result<Self, Refusal> {
        let version = request.room_version.unwrap_or_else(|| rooms.default_version.clone());
        if !VERSIONS.contains(&version) {
            return Err(Refusal::UnsupportedVersion);
        }
        if !request.invite_3pid.is_empty() {
            return Err(Refusal::Forbidden("this server cannot invite by e-mail or phone number".into()));
        }
        if request.invite.len() > MAX_INVITES {
            return Err(Refusal::InvalidParam(format!("at most {MAX_INVITES} invites at once").into()));
        }
        if request.initial_state.len() > MAX_INITIAL_STATE {
            return Err(Refusal::InvalidParam(format!("at most {MAX_INITIAL_STATE} state events").into()));
        }
        let listed = request.visibility == Visibility::Public;
        let preset = match request.preset {
            Some(RoomPreset::PrivateChat) => Preset::Private,
            Some(RoomPreset::TrustedPrivateChat) => Preset::TrustedPrivate,
            Some(RoomPreset::PublicChat) => Preset::Public,
            None if listed => Preset::Public,
            None => Preset::Private,
            Some(other) => {
                return Err(Refusal::InvalidParam(format!("there is no preset {other}").into()));
            }
        };
        let object = |raw: Option<&serde_json::value::RawValue>| {
            raw.map_or_else(|| Ok(CanonicalJsonObject::new()), |raw| content::parse(raw.get()))
        };
        let overrides = object(request.power_level_content_override.as_ref().map(|raw| raw.json()))?;
        let mut invite = request.invite;
        invite.retain(|user| user != creator);
        invite.sort();
        invite.dedup();
        let initial_state =
            request.initial_state.iter().map(|raw| initial(raw.json().get())).collect::<Result<_, _>>()?;
        Ok(Self {
            version,
            creation_content: object(request.creation_content.as_ref().map(|raw| raw.json()))?,
            listed,
            alias: request.room_alias_name.map(|name| alias(&name, &rooms.server_name)).transpose()?,
            preset,
            power_levels: PowerLevelsFrom::Preset(overrides),
            initial_state,
            name: request.name,
            topic: request.topic,
            at_once: Vec::new(),
            invite,
            is_direct: request.is_direct,
        })
    }

    /// Makes the room, with its first events. Before version 12 its ID is `room_id`.
    pub(super) async fn make(
        &self,
        proposal: &mut Proposal<'_>,
        room_id: OwnedRoomId,
    ) -> Result<RoomRow, Refusal> {
        let rules = rules(&self.version)?.authorization;
        let sender = proposal.author.sender.clone();
        let create = self.create_content(&sender, &rules);
        let draft = Draft::state("m.room.create", "", create);
        let room = proposal.append_create(&self.version, room_id, self.listed, draft).await?;
        if let Some(alias) = &self.alias {
            if proposal.alias(alias).await?.is_some() {
                return Err(Refusal::AliasTaken);
            }
            proposal.add_alias(alias, &room);
        }
        let join = content::member(proposal, &sender, Membership::Join, None).await?;
        for draft in self.first_state(&sender, join, &rules) {
            let kind = draft.kind.clone();
            place(proposal, &room, draft).await.map_err(|refusal| initial_refusal(refusal, &kind))?;
        }
        for user in &self.at_once {
            invite_in(proposal, &room, user, None, self.is_direct).await?;
        }
        Ok(room)
    }

    /// The state after the first event, in the order that the specification gives it.
    fn first_state(
        &self,
        creator: &UserId,
        join: CanonicalJsonObject,
        rules: &AuthorizationRules,
    ) -> Vec<Draft> {
        let mut drafts = vec![
            Draft::state("m.room.member", creator.as_str(), join),
            Draft::state("m.room.power_levels", "", self.power_levels(creator, rules)),
        ];
        let mut put = |kind: &str, content| drafts.push(Draft::state(kind, "", content));
        if let Some(alias) = &self.alias {
            put("m.room.canonical_alias", one("alias", alias.as_str()));
        }
        for (kind, content) in self.preset.state() {
            if !self.initial_state.iter().any(|d| d.kind == kind && d.state_key.as_deref() == Some("")) {
                put(kind, content);
            }
        }
        drafts.extend(self.initial_state.iter().cloned());
        let mut put = |kind: &str, content| drafts.push(Draft::state(kind, "", content));
        if let Some(name) = &self.name {
            put("m.room.name", one("name", name));
        }
        if let Some(topic) = &self.topic {
            put("m.room.topic", topic_content(topic));
        }
        drafts
    }

    fn create_content(&self, creator: &UserId, rules: &AuthorizationRules) -> CanonicalJsonObject {
        let mut content = self.creation_content.clone();
        content.remove("creator");
        content.insert("room_version".to_owned(), text(self.version.as_str()));
        if !rules.use_room_create_sender {
            content.insert("creator".to_owned(), text(creator.as_str()));
        }
        if rules.additional_room_creators && self.preset == Preset::TrustedPrivate && !self.invite.is_empty()
        {
            let mut creators = match content.remove("additional_creators") {
                Some(CanonicalJsonValue::Array(creators)) => creators,
                _ => Vec::new(),
            };
            creators.extend(self.invite.iter().map(|user| text(user.as_str())));
            creators.dedup();
            content.insert("additional_creators".to_owned(), creators.into());
        }
        content
    }

    fn power_levels(&self, creator: &UserId, rules: &AuthorizationRules) -> CanonicalJsonObject {
        let overrides = match &self.power_levels {
            PowerLevelsFrom::Given(content) => return content.clone(),
            PowerLevelsFrom::Preset(overrides) => overrides,
        };
        let mut users = CanonicalJsonObject::new();
        // From version 12 on, creators are above all levels and must not be in the list.
        if !rules.explicitly_privilege_room_creators {
            users.insert(creator.to_string(), number(100));
            if self.preset == Preset::TrustedPrivate {
                users.extend(self.invite.iter().map(|user| (user.to_string(), number(100))));
            }
        }
        let tombstone = if rules.explicitly_privilege_room_creators { 150 } else { 100 };
        let events = [
            ("m.room.avatar", 50),
            ("m.room.canonical_alias", 50),
            ("m.room.encryption", 100),
            ("m.room.history_visibility", 100),
            ("m.room.name", 50),
            ("m.room.power_levels", 100),
            ("m.room.server_acl", 100),
            ("m.room.tombstone", tombstone),
        ];
        let events = events.map(|(kind, level)| (kind.to_owned(), number(level)));
        let levels = [
            ("ban", 50),
            ("events_default", 0),
            ("invite", if self.preset == Preset::Public { 50 } else { 0 }),
            ("kick", 50),
            ("redact", 50),
            ("state_default", 50),
            ("users_default", 0),
        ];
        let mut content = CanonicalJsonObject::from_iter(levels.map(|(key, l)| (key.to_owned(), number(l))));
        content.insert("events".to_owned(), CanonicalJsonObject::from_iter(events).into());
        content.insert("users".to_owned(), users.into());
        content.extend(overrides.clone());
        content
    }
}

impl Act for Plan {
    type Answer = OwnedRoomId;

    fn room(&self) -> Option<OwnedRoomId> {
        None
    }

    async fn carry_out(&self, proposal: &mut Proposal<'_>) -> Result<OwnedRoomId, Refusal> {
        let room_id = RoomId::new_v1(proposal.author.sender.server_name());
        self.make(proposal, room_id).await.map(|room| room.room_id)
    }
}

impl Preset {
    /// The state that the preset stands for (client-server API, table of `preset`). That guests are forbidden is so
    /// without a word.
    fn state(self) -> impl Iterator<Item = (&'static str, CanonicalJsonObject)> {
        let (join_rule, guests) = match self {
            Self::Private | Self::TrustedPrivate => ("invite", Some("can_join")),
            Self::Public => ("public", None),
        };
        let rules = [
            ("m.room.join_rules", one("join_rule", join_rule)),
            ("m.room.history_visibility", one("history_visibility", "shared")),
        ];
        let guests = guests.map(|guests| ("m.room.guest_access", one("guest_access", guests)));
        rules.into_iter().chain(guests)
    }
}

/// The whole alias for its local part.
///
/// # Errors
/// [`Refusal::InvalidParam`] when that is not an alias.
pub(super) fn alias(localpart: &str, server: &ServerName) -> Result<OwnedRoomAliasId, Refusal> {
    let alias = RoomAliasId::parse(format!("#{localpart}:{server}"));
    let alias = alias
        .ok()
        .filter(|alias| alias.alias() == localpart)
        .ok_or_else(|| Refusal::InvalidParam("this cannot be the local part of an alias".into()))?;
    content::check_alias(&alias)?;
    Ok(alias)
}

/// One of `initial_state`.
fn initial(json: &str) -> Result<Draft, Refusal> {
    #[derive(Deserialize)]
    struct Initial<'a> {
        #[serde(rename = "type")]
        kind: String,
        #[serde(default)]
        state_key: String,
        #[serde(borrow)]
        content: &'a serde_json::value::RawValue,
    }
    let initial: Initial<'_> =
        serde_json::from_str(json).map_err(|e| Refusal::BadJson(format!("initial_state: {e}").into()))?;
    content::check_length("the event type", &initial.kind)?;
    content::check_length("the state key", &initial.state_key)?;
    Ok(Draft::state(&initial.kind, &initial.state_key, content::parse(initial.content.get())?))
}

/// What the rules refuse among a room's first events is a mistake in the request, not of its sender.
fn initial_refusal(refusal: Refusal, kind: &str) -> Refusal {
    match refusal {
        Refusal::Forbidden(why) => Refusal::InvalidState(format!("{kind}: {why}").into()),
        other => other,
    }
}

/// `m.topic` beside `topic`, as version 1.15 has it.
fn topic_content(topic: &str) -> CanonicalJsonObject {
    let content = json!({ "topic": topic, "m.topic": { "m.text": [{ "body": topic }] } });
    match CanonicalJsonValue::try_from(content) {
        Ok(CanonicalJsonValue::Object(object)) => object,
        _ => one("topic", topic),
    }
}

fn one(key: &str, value: &str) -> CanonicalJsonObject {
    CanonicalJsonObject::from_iter([(key.to_owned(), text(value))])
}

fn text(text: &str) -> CanonicalJsonValue {
    CanonicalJsonValue::String(text.to_owned())
}

fn number(n: i32) -> CanonicalJsonValue {
    CanonicalJsonValue::Integer(n.into())
}
