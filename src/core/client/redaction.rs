//! Taking an event's content away: an action of the queue like any other, but for its path. It is kept over
//! reloads, tried again, refused or taken back like a message; the event says meanwhile that it is about to go.

use super::output::{Failure, Output, Ticket};
use super::pending::Ended;
use super::role::Client;
use crate::core::action::ids::ActionId;
use crate::core::action::queue::Action;
use crate::core::time::Instant;
use crate::core::wire::object::Object;
use crate::core::wire::path::{path, push_query};
use crate::core::wire::write;

/// The type of a redaction.
pub(super) const REDACTION: &str = "m.room.redaction";

impl Client {
    /// Takes an event's content away; answers when the server has done so, or refused.
    pub fn redact(&mut self, now: Instant, room: &str, event_id: &str, reason: Option<&str>) -> Ticket {
        let content = write::object(|content| {
            content.text("redacts", event_id);
            content.optional("reason", reason);
        });
        match self.send(now, room, REDACTION, &content) {
            Ok(id) => {
                let ticket = self.next_ticket();
                self.redactions.push((id, ticket));
                ticket
            }
            Err(failure) => self.answer_at_once(Err(failure)),
        }
    }

    /// A redaction has ended; nothing for any other action.
    pub(super) fn end_redaction(&mut self, id: ActionId, result: Result<(), Failure>) {
        if let Some(at) = self.redactions.iter().position(|(known, _)| *known == id) {
            let (_, ticket) = self.redactions.remove(at);
            self.outputs.push_back(Output::Answer { ticket, result: result.map(|()| String::new()) });
        }
    }

    /// Those that left the queue without an end, or all of them: nobody hears more of them here.
    pub(super) fn end_redactions(&mut self, which: Ended) {
        let ended = |id: ActionId| which == Ended::All || !self.queue.knows(id);
        let gone: Vec<_> = self.redactions.iter().map(|(id, _)| *id).filter(|id| ended(*id)).collect();
        for id in gone {
            self.end_redaction(id, Err(Failure::local("STOPPED", "it was not waited for any longer")));
        }
    }
}

/// Where an action is sent to, and the body.
pub(super) fn request_of(action: &Action) -> (String, String) {
    let v3 = "/_matrix/client/v3";
    let txn = action.id.to_string();
    let (mut path, body) = match redacted_by(action) {
        Some(target) => {
            let reason = Object::parse_or_empty(&action.content).string("reason");
            let body = write::object(|body| body.optional("reason", reason.as_deref()));
            (path(v3, &["rooms", &action.room, "redact", &target, &txn]), body)
        }
        None => {
            let path = path(v3, &["rooms", &action.room, "send", &action.kind, &txn]);
            (path, action.content.to_string())
        }
    };
    if let Some(after) = action.after {
        push_query(&mut path, "org.pilotlight.after", &after.to_string());
    }
    (path, body)
}

/// The event whose content an action takes away.
pub(super) fn redacted_by(action: &Action) -> Option<String> {
    let is_redaction = action.kind == REDACTION;
    is_redaction.then(|| Object::parse_or_empty(&action.content).string("redacts")).flatten()
}
