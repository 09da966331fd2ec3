//! The send queue between the timelines and the network.

use std::sync::Arc;

use super::backoff;
use super::item::TimelineItem;
use super::output::{Change, Failure, Output};
use super::pending::{Awaited, Pending};
use super::redaction::{REDACTION, redacted_by, request_of};
use super::role::Client;
use super::send_gate::DUPLICATE_ANNOTATION;
use super::stored::{ACTION_KEY, CHOICE_KEY, LAST_ID_KEY, WISH_KEY, action_key, parse_stored, stored_json};
use crate::core::action::echo::EchoState;
use crate::core::action::ids::ActionId;
use crate::core::action::queue::{Action, Moved, PushError};
use crate::core::presence::Choice;
use crate::core::time::Instant;
use crate::core::wire::object::Object;

impl Client {
    /// Sends an event. The echo is in the timeline when this returns; its ID is the action's.
    pub fn send(&mut self, now: Instant, room: &str, kind: &str, content: &str) -> Result<ActionId, Failure> {
        if Object::parse(content).is_none() {
            return Err(Failure::local("BAD_CONTENT", "the content is no JSON object"));
        }
        self.may_send(room, kind)?;
        self.may_relate(room, kind, content)?;
        let id = self.allocate_action_id()?;
        let content = Arc::from(content);
        let action = self.queue.push(id, room, kind, content, now.to_unix()).map_err(refusal)?;
        let stored = stored_json(&action.to_stored(&self.device_id));
        if let Some(known) = self.rooms.get_mut(room) {
            known.show_action(action, &self.user_id);
            self.touch(room);
        }
        self.outputs.push_back(Output::Store { key: action_key(id), value: Some(stored) });
        // A message alone does not end what others see of the typing.
        if !matches!(kind, REDACTION | "m.reaction") {
            self.set_typing(now, room, false);
        }
        self.settle(now);
        Ok(id)
    }

    /// How many actions the server is not known to have.
    pub fn waiting(&self) -> usize {
        self.queue.unsent()
    }

    /// The same, with those that only storage knows of, by their keys: other tabs'.
    pub fn waiting_with<'a>(&self, stored: impl Iterator<Item = &'a str>) -> usize {
        let ids = stored.filter_map(|key| key.strip_prefix(ACTION_KEY)?.parse().ok());
        self.waiting() + ids.filter(|&id| !self.queue.knows(ActionId(id))).count()
    }

    /// Tries a failed action again, or one that waits for its next attempt at once.
    pub fn retry(&mut self, now: Instant, id: ActionId) {
        if let Moved::To(action) = self.queue.retry(id) {
            self.store_action(&action);
            self.show_action(&action);
        }
        self.settle(now);
    }

    /// Takes an action back that the server has not confirmed. If the server has it all the same, the
    /// stream shows it like any event.
    pub fn cancel(&mut self, now: Instant, id: ActionId) {
        if let Moved::Out(_, action) = self.queue.cancel(id) {
            self.drop_echo(&action);
            let flies =
                |pending: &Pending| matches!(pending.awaited, Awaited::Action(flying) if flying == id);
            if let Some(at) = self.pending.iter().position(flies) {
                let pending = self.pending.remove(at);
                self.outputs.push_back(Output::Cancel(pending.id));
            }
        }
        self.settle(now);
    }

    /// Takes back what an earlier run left in storage; to be called before the start. Anything that is
    /// not understood is left alone.
    pub fn handle_stored(&mut self, key: &str, value: &str) {
        if key == LAST_ID_KEY {
            if let Ok(last) = value.parse() {
                self.action_ids.observe(last);
            }
        } else if key == CHOICE_KEY {
            if !self.choice.is_open() {
                self.me.state = value.parse::<Choice>().unwrap_or_default();
            }
        } else if key == WISH_KEY {
            self.restore_choice(value);
        } else if key.starts_with(ACTION_KEY)
            && let Some(stored) = parse_stored(value)
            && let Some(action) = self.queue.restore(stored, &self.device_id)
        {
            self.action_ids.observe(action.id.0);
        }
    }

    pub(super) fn allocate_action_id(&mut self) -> Result<ActionId, Failure> {
        let id = self.action_ids.allocate();
        let id = id.ok_or_else(|| Failure::local("QUEUE_FULL", "all action IDs are used up"))?;
        self.outputs.push_back(Output::Store { key: LAST_ID_KEY.to_owned(), value: Some(id.to_string()) });
        Ok(id)
    }

    /// Hands what may go to the network. Only while the stream is there, which says what a room has become:
    /// nothing is sent in plain text into one that was encrypted meanwhile.
    pub(super) fn transmit_actions(&mut self, now: Instant) {
        self.refuse_plain_text();
        while self.is_online()
            && let Some(action) = self
                .queue
                .poll_transmit(now, |room| self.rooms.contains_key(room) && !self.entered.awaits(room))
        {
            let id = action.id;
            let (path, body) = request_of(action);
            let shown = action.clone();
            self.show_action(&shown);
            self.request(now, Awaited::Action(id), "PUT", path, Some(body));
        }
    }

    pub(super) fn conclude_action(&mut self, now: Instant, id: ActionId, outcome: Result<&str, Failure>) {
        let event_id = outcome.and_then(|body| {
            Object::parse_or_empty(body).text("event_id").ok_or_else(Failure::not_understood)
        });
        match event_id {
            Ok(event_id) => {
                let moved = self.queue.handle_answered(id, &event_id, self.sync.begun());
                if let Moved::To(action) = moved {
                    self.handle_sent(id, &action);
                    self.end_redaction(id, Ok(()));
                }
            }
            Err(failure) if failure.is_transient() => {
                let attempts = self.queue.attempts(id);
                let delay = backoff::delay(attempts + 1, failure.retry_after(), &mut self.rng);
                self.interrupt_action(id, &failure.message, now + delay);
            }
            Err(failure) => {
                let error = [&*failure.code, ": ", &*failure.message].concat();
                self.fail_action(id, &error);
                if matches!(self.queue.action(id), Some(action) if leaves_when_refused(action, &failure)) {
                    self.drop_refused(id);
                }
                self.end_redaction(id, Err(failure));
            }
        }
    }

    /// Takes a refused action back by itself, and says why.
    fn drop_refused(&mut self, id: ActionId) {
        if let Moved::Out(_, action) = self.queue.cancel(id) {
            self.drop_echo(&action);
            let item = Arc::new(TimelineItem::from_action(&action, &self.user_id));
            self.outputs.push_back(Output::Changed(Change::Refused { room_id: action.room, item }));
        }
    }

    pub(super) fn fail_action(&mut self, id: ActionId, error: &str) {
        if let Moved::To(action) = self.queue.handle_refused(id, error) {
            self.store_action(&action);
            self.show_action(&action);
        }
    }

    /// The server has the action. Usually its place follows; the stream may have shown it already,
    /// without saying whose action it is.
    fn handle_sent(&mut self, id: ActionId, action: &Action) {
        self.forget_stored(action);
        let event_id = action.event_id.as_deref().unwrap_or_default();
        let placed = self.rooms.get(&action.room).is_some_and(|room| match redacted_by(action) {
            // The stream shows a redaction by what it took away.
            Some(target) => room.timeline.item(&target).is_some_and(|item| item.redacted),
            None => room.timeline.contains(event_id),
        });
        if placed {
            if let Moved::Out(_, action) = self.queue.handle_streamed(id) {
                self.drop_echo(&action);
            }
        } else {
            self.show_action(action);
        }
    }

    pub(super) fn interrupt_action(&mut self, id: ActionId, error: &str, resume_at: Instant) {
        let moved = self.queue.handle_interrupted(id, error, resume_at);
        self.show_moved(moved);
    }

    pub(super) fn drop_echo(&mut self, action: &Action) {
        self.forget_stored(action);
        if let Some(room) = self.rooms.get_mut(&action.room) {
            room.remove_echo(action.id.0);
            self.touch(&action.room);
        }
    }

    fn store_action(&mut self, action: &Action) {
        let stored = stored_json(&action.to_stored(&self.device_id));
        self.outputs.push_back(Output::Store { key: action_key(action.id), value: Some(stored) });
    }

    pub(super) fn forget_stored(&mut self, action: &Action) {
        self.outputs.push_back(Output::Store { key: action_key(action.id), value: None });
    }

    fn show_moved(&mut self, moved: Moved) {
        if let Moved::To(action) = moved {
            self.show_action(&action);
        }
    }

    fn show_action(&mut self, action: &Action) {
        if let Some(room) = self.rooms.get_mut(&action.room) {
            room.show_action(action, &self.user_id);
            self.touch(&action.room);
        }
    }
}

/// Whether nothing is left to try or to lose once the server has refused it: a deletion, or a reaction that stands already.
fn leaves_when_refused(action: &Action, why: &Failure) -> bool {
    action.state == EchoState::Failed && (action.kind == REDACTION || why.code == DUPLICATE_ANNOTATION)
}

fn refusal(error: PushError) -> Failure {
    match error {
        PushError::Full => Failure::local("QUEUE_FULL", "too many messages wait to be sent"),
        PushError::TooLarge => Failure::local("TOO_LARGE", "the message is too large"),
    }
}
