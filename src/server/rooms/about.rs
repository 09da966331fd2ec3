//! What somebody sees of a room on its screen, in a few words (M6).

use std::collections::BTreeSet;

use ruma::{OwnedRoomAliasId, OwnedUserId, RoomId, UserId};
use serde_json::Value;

use super::{append::rules, parts::Rooms, power::PowerLevels, refusal::Refusal};
use crate::server::{
    event::stored::Membership,
    store::{Entry, Kinds},
};

/// Members that are named, at most.
pub const MAX_MEMBERS: usize = 500;

/// What a room is called, what it is about, and who is there.
#[derive(Debug)]
pub struct About {
    /// The names under which it is found.
    pub aliases: Vec<OwnedRoomAliasId>,
    /// What it is called, if it is.
    pub name: Option<String>,
    /// What it is about, if that was said.
    pub topic: Option<String>,
    /// Those who are joined: the reader, and others in the order of their IDs.
    pub members: Vec<Member>,
    /// There are more of them.
    pub has_more_members: bool,
}

/// Somebody who is in a room.
#[derive(Debug)]
pub struct Member {
    /// Who.
    pub user: OwnedUserId,
    /// What they are called there.
    pub displayname: Option<String>,
    /// What they look like there, an `mxc:` URL.
    pub avatar_url: Option<String>,
    /// Their power level; `None`: a creator of the room, who is above every level.
    pub power_level: Option<i64>,
}

impl Rooms {
    /// What `reader`, who is in the room, sees of it.
    ///
    /// # Errors
    /// [`Refusal::Store`]; [`Refusal::NotFound`] when there is no such room.
    pub async fn about(&self, reader: &UserId, room: &RoomId) -> Result<About, Refusal> {
        let row = self.store.room(room).await?;
        let row = row.ok_or_else(|| Refusal::NotFound("this server knows no such room".into()))?;
        let powers = PowerLevels::stored(&self.store, &row, &rules(&row.version)?.authorization).await?;
        let mut shown = self.members.joined(room);
        // Whoever reads is among them, however many there are.
        shown.sort_by(|a, b| (a != reader, a).cmp(&(b != reader, b)));
        let has_more_members = shown.len() > MAX_MEMBERS;
        shown.truncate(MAX_MEMBERS);
        let named: BTreeSet<&str> = shown.iter().map(|user| user.as_str()).collect();
        let keep = |entry: Entry<'_>| named.contains(entry.key);
        let mut list = self.store.current_state(room, Kinds::Members, keep).await?;
        let mut members = Vec::new();
        while !list.is_empty() {
            for event in self.store.next_page(&mut list).await? {
                let Some((user, Membership::Join)) = event.membership() else { continue };
                let Ok(user) = UserId::parse(user) else { continue };
                let content: Value = event.content_as().unwrap_or_default();
                let said = |key: &str| content[key].as_str().map(str::to_owned);
                members.push(Member {
                    displayname: said("displayname"),
                    avatar_url: said("avatar_url"),
                    power_level: powers.level(&user),
                    user,
                });
            }
        }
        members.sort_by(|a, b| (a.user != reader, &a.user).cmp(&(b.user != reader, &b.user)));
        Ok(About {
            aliases: self.store.aliases(room).await?,
            name: self.said(room, "m.room.name", "name").await?,
            topic: self.said(room, "m.room.topic", "topic").await?,
            members,
            has_more_members,
        })
    }

    /// A text of the room's state.
    async fn said(&self, room: &RoomId, kind: &str, key: &str) -> Result<Option<String>, Refusal> {
        let event = self.store.state_event(room, kind, "").await?;
        let content: Value = event.and_then(|event| event.content_as()).unwrap_or_default();
        Ok(content[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned))
    }
}
