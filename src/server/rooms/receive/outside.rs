//! Events of rooms that are not here: a user of this server is not invited there any longer, or may not knock.

use std::sync::Arc;

use ruma::{OwnedEventId, RoomId, ServerName, UserId};

use super::{check::read, elsewhere::Elsewhere};
use crate::server::{
    event::stored::Membership,
    rooms::{append::rules, parts::Rooms, refusal::Refusal},
};

impl Rooms {
    /// Takes the event by which an invite of a user of this server is taken back by who invited them, or their knock is
    /// refused, in a room that is not here. `None`: it is nothing of that kind, and changes nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn receive_outside<E: Elsewhere>(
        &self,
        elsewhere: &Arc<E>,
        origin: &ServerName,
        room: &RoomId,
        text: &str,
    ) -> Result<Option<OwnedEventId>, Refusal> {
        let Some(version) = self.store.version_of(room).await? else { return Ok(None) };
        let rules = rules(&version)?;
        let Ok(event) = read(&rules, room, text) else { return Ok(None) };
        let Some((kind, key)) = event.pdu.state_key_pair() else { return Ok(None) };
        let out = matches!(event.pdu.membership(), Some(Membership::Leave | Membership::Ban));
        let Ok(user) = UserId::parse(key) else { return Ok(None) };
        let by = event.pdu.sent_by().to_owned();
        if kind != "m.room.member" || !out || user.server_name() != self.server_name || by == user {
            return Ok(None);
        }
        // Of the room's state nothing is known: who invited somebody is believed, and of who refuses a knock their server.
        let is_theirs = match self.members.membership(&user, room) {
            Some(Membership::Invite) => self.inviter(room, &user).await?.as_ref() == Some(&by),
            Some(Membership::Knock) => by.server_name() == origin,
            _ => false,
        };
        if !is_theirs {
            return Ok(None);
        }
        let keys = self.keys(&**elsewhere, event.needs(&rules)).await;
        let Ok(event) = event.prove(&rules, &keys) else { return Ok(None) };
        let turn = self.turns.wait(room).await;
        if self.takes_part(room) {
            return Ok(None);
        }
        self.note_outside(&turn, (room, &version), &event, &[]).await?;
        Ok(Some(event.event_id().to_owned()))
    }
}
