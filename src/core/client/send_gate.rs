//! What may be sent into a room: nothing into one that the user is not in, and no plain text into an encrypted
//! one, which this client cannot write for.

use super::item::Reaction;
use super::output::Failure;
use super::relations::{About, about};
use super::role::Client;
use super::room::Membership;
use crate::core::action::echo::EchoState;
use crate::core::action::ids::ActionId;

/// The code of a refusal to send plain text.
pub const ENCRYPTED_ROOM: &str = "ENCRYPTED_ROOM";
/// The code of a refusal to send into a room that the user is not known to be in.
pub const NOT_IN_ROOM: &str = "NOT_IN_ROOM";
/// The code of a refusal to say something of an event that it cannot be said of.
pub const BAD_TARGET: &str = "BAD_TARGET";
/// The code of a refusal to react in the same way twice: that of Matrix.
pub const DUPLICATE_ANNOTATION: &str = "M_DUPLICATE_ANNOTATION";
/// The types that go into an encrypted room as they are: what is encrypted already, and what Matrix leaves in
/// the clear.
const SENT_IN_THE_CLEAR: [&str; 3] = ["m.room.encrypted", "m.reaction", "m.room.redaction"];

fn is_sent_in_the_clear(kind: &str) -> bool {
    SENT_IN_THE_CLEAR.contains(&kind)
}

impl Client {
    /// Whether an event may be sent, or why not.
    pub(super) fn may_send(&self, room: &str, kind: &str) -> Result<(), Failure> {
        if self.session_over {
            return Err(session_over());
        }
        if self.entered.awaits(room) {
            return Ok(());
        }
        match self.rooms.get(room) {
            Some(known) if known.membership != Membership::Join => {
                Err(Failure::local(NOT_IN_ROOM, "you are not in this room"))
            }
            Some(known) if known.encrypted && !is_sent_in_the_clear(kind) => Err(plain_text()),
            Some(_) => Ok(()),
            None => Err(Failure::local(NOT_IN_ROOM, "this client knows of no such room")),
        }
    }

    /// Whether an edit or a reaction may be made of the event that it is about, as far as that is held.
    pub(super) fn may_relate(&self, room: &str, kind: &str, content: &str) -> Result<(), Failure> {
        let Some((target, about)) = about(kind, content) else { return Ok(()) };
        let Some(item) = self.rooms.get(room).and_then(|room| room.item(&target)) else { return Ok(()) };
        let refused = |why| Err(Failure::local(BAD_TARGET, why));
        match about {
            About::Redaction => Ok(()),
            About::Edit(_) | About::Reaction(_) if item.redacted => refused("the event was deleted"),
            About::Edit(_) if item.sender != self.user_id => refused("only its sender can edit a message"),
            About::Edit(_) if item.state_key.is_some() => refused("a state event cannot be edited"),
            About::Edit(_) if item.edits.is_some() => {
                refused("an edit cannot be edited, but the message can")
            }
            About::Edit(_) if item.kind != kind => refused("an edit is of the same type as what it edits"),
            About::Edit(_) => Ok(()),
            About::Reaction(key) => match item.reactions.iter().find(|known| known.key == key) {
                Some(Reaction { mine: Some(mine), .. }) if !mine.removing => {
                    Err(Failure::local(DUPLICATE_ANNOTATION, "you have reacted so already"))
                }
                _ => Ok(()),
            },
        }
    }

    /// The same for a request that an application makes by itself.
    pub(super) fn may_request(&self, method: &str, path: &str) -> Result<(), Failure> {
        let path = path.split('?').next().unwrap_or_default();
        let mut parts = path.split('/').filter(|part| !part.is_empty()).skip_while(|part| *part != "rooms");
        let (_, Some(room), Some("send"), Some(kind)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Ok(());
        };
        let is_encrypted = self.rooms.values().any(|known| known.encrypted && is_encoded(room, &known.id));
        let clear = SENT_IN_THE_CLEAR.iter().any(|known| is_encoded(kind, known));
        if method == "PUT" && is_encrypted && !clear { Err(plain_text()) } else { Ok(()) }
    }

    /// What waits in a room that has been encrypted meanwhile fails, for the user to decide.
    pub(super) fn refuse_plain_text(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let encrypted = self.rooms.values().filter(|room| room.encrypted);
        let waiting = encrypted
            .flat_map(|room| self.queue.room(&room.id))
            .filter(|action| action.state == EchoState::Queued && !is_sent_in_the_clear(&action.kind));
        let refused: Vec<ActionId> = waiting.map(|action| action.id).collect();
        let Failure { code, message, .. } = plain_text();
        for id in refused {
            self.fail_action(id, &[&*code, ": ", &*message].concat());
        }
    }
}

/// Nothing is done for a session that has ended, nor kept of it.
pub(super) fn session_over() -> Failure {
    Failure::local("LOGGED_OUT", "the session has ended")
}

fn plain_text() -> Failure {
    Failure::local(ENCRYPTED_ROOM, "the room is encrypted, and this client sends plain text only")
}

/// Whether a part of a path is this text, percent-encoded in any of its ways.
fn is_encoded(part: &str, text: &str) -> bool {
    let mut rest = part.as_bytes();
    for &byte in text.as_bytes() {
        let (first, len) = match *rest {
            [b'%', high, low, ..] => {
                let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
                (digit(high) << 4 | digit(low), 3)
            }
            [first, ..] => (first, 1),
            [] => return false,
        };
        if first != byte {
            return false;
        }
        rest = &rest[len..];
    }
    rest.is_empty()
}
