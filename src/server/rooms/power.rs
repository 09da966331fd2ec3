//! Power levels, for the questions that the authorisation rules leave to the server.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedUserId, UserId, room_version_rules::AuthorizationRules};
use serde::Deserialize;

use super::{proposal::Proposal, refusal::Refusal};
use crate::server::store::{RoomRow, Store};

/// A user's power. Creators of rooms of version 12 are above every number.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Power {
    /// As the power levels event says.
    Level(i64),
    /// More than any level.
    Creator,
}

/// Who may do what in a room, by its current state.
#[derive(Debug)]
pub(super) struct PowerLevels {
    content: Option<Content>,
    /// Above every level; in rooms before version 12 only when there is no power levels event.
    creators: BTreeSet<OwnedUserId>,
    creators_are_above_all: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Content {
    users: BTreeMap<OwnedUserId, i64>,
    users_default: i64,
    events: BTreeMap<String, i64>,
    events_default: i64,
    state_default: Option<i64>,
    redact: Option<i64>,
    invite: i64,
}

#[derive(Deserialize)]
struct Create {
    #[serde(default)]
    additional_creators: Vec<OwnedUserId>,
}

impl PowerLevels {
    /// The power levels of a room as an act finds it.
    pub(super) async fn current(
        proposal: &Proposal<'_>,
        room: &RoomRow,
        rules: &AuthorizationRules,
    ) -> Result<Self, Refusal> {
        let content = match proposal.state(room, "m.room.power_levels", "").await? {
            Some(event) => Some(event.content_as().ok_or_else(|| {
                Refusal::Forbidden("the power levels of this room cannot be understood".into())
            })?),
            None => None,
        };
        let create = proposal
            .state(room, "m.room.create", "")
            .await?
            .ok_or_else(|| Refusal::Internal("a room without m.room.create".into()))?;
        let mut creators = BTreeSet::from([create.sent_by().to_owned()]);
        if rules.additional_room_creators
            && let Some(Create { additional_creators }) = create.content_as()
        {
            creators.extend(additional_creators);
        }
        Ok(Self { content, creators, creators_are_above_all: rules.explicitly_privilege_room_creators })
    }

    /// The power levels of a room as they are on the disk.
    pub(super) async fn stored(
        store: &Store,
        room: &RoomRow,
        rules: &AuthorizationRules,
    ) -> Result<Self, Refusal> {
        let content = store.state_event(&room.room_id, "m.room.power_levels", "").await?;
        let create = store.state_event(&room.room_id, "m.room.create", "").await?;
        let create = create.ok_or_else(|| Refusal::Internal("a room without m.room.create".into()))?;
        let mut creators = BTreeSet::from([create.sender.clone()]);
        if rules.additional_room_creators
            && let Some(Create { additional_creators }) = create.content_as()
        {
            creators.extend(additional_creators);
        }
        Ok(Self {
            content: content.and_then(|event| event.content_as()),
            creators,
            creators_are_above_all: rules.explicitly_privilege_room_creators,
        })
    }

    /// The level of a user; `None`: they are above every level.
    pub(super) fn level(&self, user: &UserId) -> Option<i64> {
        match self.of(user) {
            Power::Level(level) => Some(level),
            Power::Creator => None,
        }
    }

    /// The power of a user.
    pub(super) fn of(&self, user: &UserId) -> Power {
        let creator = self.creators.contains(user);
        match &self.content {
            _ if creator && self.creators_are_above_all => Power::Creator,
            Some(content) => Power::Level(*content.users.get(user).unwrap_or(&content.users_default)),
            None => Power::Level(if creator { 100 } else { 0 }),
        }
    }

    /// Those who are above every level, whatever the power levels say.
    pub(super) fn above_all(&self) -> impl Iterator<Item = &UserId> {
        self.creators.iter().filter(|_| self.creators_are_above_all).map(|user| &**user)
    }

    /// What it takes to redact the events of others.
    pub(super) fn to_redact(&self) -> Power {
        Power::Level(self.content.as_ref().and_then(|c| c.redact).unwrap_or(50))
    }

    /// What it takes to invite.
    pub(super) fn to_invite(&self) -> Power {
        Power::Level(self.content.as_ref().map_or(0, |c| c.invite))
    }

    /// What it takes to send a state event of this type.
    pub(super) fn to_set(&self, kind: &str) -> Power {
        Power::Level(
            self.content
                .as_ref()
                .map_or(0, |c| c.events.get(kind).copied().unwrap_or_else(|| c.state_default.unwrap_or(50))),
        )
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;
    use serde_json::json;

    use super::*;

    fn levels(content: Option<serde_json::Value>, above_all: bool) -> PowerLevels {
        PowerLevels {
            content: content.map(|c| serde_json::from_value(c).expect("power levels")),
            creators: BTreeSet::from([user_id!("@creator:x").to_owned()]),
            creators_are_above_all: above_all,
        }
    }

    #[test]
    fn power_comes_from_the_event_the_defaults_or_having_made_the_room() {
        let content = json!({ "users": { "@mod:x": 60 }, "users_default": 5, "redact": 55 });
        let (creator, moderator, other) = (user_id!("@creator:x"), user_id!("@mod:x"), user_id!("@other:x"));
        let rows = [
            (None, false, creator, Power::Level(100)),
            (None, false, other, Power::Level(0)),
            (None, true, creator, Power::Creator),
            (Some(content.clone()), false, creator, Power::Level(5)),
            (Some(content.clone()), true, creator, Power::Creator),
            (Some(content.clone()), true, moderator, Power::Level(60)),
            (Some(content.clone()), true, other, Power::Level(5)),
        ];
        for (content, above_all, user, expected) in rows {
            assert_eq!(levels(content.clone(), above_all).of(user), expected, "{user} {content:?}");
        }
        let with = levels(Some(content), true);
        assert_eq!((with.to_redact(), with.to_invite()), (Power::Level(55), Power::Level(0)));
        assert_eq!(with.to_set("m.room.name"), Power::Level(50));
        assert_eq!(levels(None, true).to_redact(), Power::Level(50));
        assert!(Power::Creator > Power::Level(i64::MAX));
    }
}
