//! The rooms of spaces that are not here, and the directories of other servers.

use std::{sync::Arc, time::Duration};

use ruma::{OwnedRoomId, OwnedServerName, RoomId, ServerName, directory::PublicRoomsChunk};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::candidates::refusal;
use crate::server::{
    app::parts::App,
    federation::{Federation, client::Answer},
    rooms::{InSpace, Refusal, Space, Spaces, Summary},
};

/// Servers that are asked for one room, at most.
const MAX_ASKED: usize = 3;

/// How long all servers together may take for one request of a user.
const PATIENCE: Duration = Duration::from_secs(20);

/// Other servers, for one request.
#[derive(Debug)]
pub struct Looking<'a> {
    app: &'a App,
    until: Instant,
}

impl App {
    /// Other servers, for somebody who looks for rooms.
    pub fn looking(&self) -> Looking<'_> {
        Looking { app: self, until: Instant::now() + PATIENCE }
    }

    /// A page of another server's directory, as it says it; `wanted` as the specification has it.
    ///
    /// # Errors
    /// [`Refusal::Unreachable`] when it cannot be asked.
    pub async fn directory_of(&self, server: &ServerName, wanted: &Value) -> Result<Answer, Refusal> {
        let Some(federation) = &self.federation else {
            return Err(Refusal::NotFound(
                "the directories of other servers cannot be reached from here".into(),
            ));
        };
        federation.public_rooms(server, wanted).await.map_err(|e| refusal(server, &e))
    }
}

impl Spaces for Looking<'_> {
    async fn look(&self, room: &RoomId, via: &[OwnedServerName], suggested_only: bool) -> Option<Arc<Space>> {
        let federation = self.app.federation.as_ref()?;
        if let Some(heard) = self.app.heard.find(room, suggested_only) {
            return Some(heard);
        }
        let own = self.app.server_name();
        for server in via.iter().filter(|server| *server != own).take(MAX_ASKED) {
            match timeout_at(self.until, ask(federation, server, room, suggested_only)).await {
                Ok(Some(space)) => {
                    let space = Arc::new(space);
                    self.app.heard.keep(room, suggested_only, &space);
                    return Some(space);
                }
                Ok(None) => {}
                Err(_) => return None,
            }
        }
        None
    }
}

/// What a server says.
#[derive(Deserialize)]
struct Said {
    room: SaidRoom,
    #[serde(default)]
    children: Vec<Value>,
    #[serde(default)]
    inaccessible_children: Vec<OwnedRoomId>,
}

#[derive(Deserialize)]
struct SaidRoom {
    #[serde(flatten)]
    listed: PublicRoomsChunk,
    #[serde(default)]
    room_version: Option<String>,
    #[serde(default, rename = "im.nheko.summary.room_version")]
    unstable_room_version: Option<String>,
    #[serde(default)]
    encryption: Option<String>,
    #[serde(default, rename = "im.nheko.summary.encryption")]
    unstable_encryption: Option<String>,
    #[serde(default)]
    allowed_room_ids: Vec<OwnedRoomId>,
    #[serde(default)]
    children_state: Vec<Value>,
}

impl From<SaidRoom> for InSpace {
    fn from(said: SaidRoom) -> Self {
        let version = said.room_version.or(said.unstable_room_version).unwrap_or_else(|| "1".to_owned());
        let encryption = said.encryption.or(said.unstable_encryption);
        let (listed, allowed, children_state) = (said.listed, said.allowed_room_ids, said.children_state);
        let summary = Summary { listed, version, encryption, allowed, membership: None };
        Self { summary, children: children_state }
    }
}

async fn ask(
    federation: &Federation,
    server: &ServerName,
    room: &RoomId,
    suggested_only: bool,
) -> Option<Space> {
    let said: Said = match federation.hierarchy(server, room, suggested_only).await {
        Ok(said) => said,
        Err(error) => {
            tracing::debug!(%room, %server, %error, "a server does not tell of a room");
            return None;
        }
    };
    // What is no room is left out.
    let children =
        said.children.into_iter().filter_map(|child| serde_json::from_value::<SaidRoom>(child).ok());
    Some(Space {
        room: said.room.into(),
        children: children.map(|child| InSpace::from(child).summary).collect(),
        inaccessible: said.inaccessible_children,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_room_is_understood_by_the_names_of_today_the_older_ones_and_both() {
        let listed = json!({ "room_id": "!r:x", "num_joined_members": 1, "world_readable": false,
            "guest_can_join": false, "join_rule": "public" });
        let names = [
            ("room_version", "encryption"),
            ("im.nheko.summary.room_version", "im.nheko.summary.encryption"),
        ];
        for used in [&names[..1], &names[1..], &names[..]] {
            let mut room = listed.clone();
            for (version, encryption) in used {
                room[*version] = "11".into();
                room[*encryption] = "m.megolm.v1.aes-sha2".into();
            }
            let said: SaidRoom = serde_json::from_value(room).expect("a room");
            let InSpace { summary, .. } = said.into();
            assert_eq!(
                (summary.version.as_str(), summary.encryption.as_deref()),
                ("11", Some("m.megolm.v1.aes-sha2"))
            );
        }
    }
}
