//! What happens in a room, in its live timeline and in the stretch of its past that somebody looks at.

use std::sync::Arc;

use super::item::{TimelineItem, echo_key};
use super::room::Room;
use super::timeline::TimelineOp;
use crate::core::action::queue::Action;
use crate::core::wire::event::Event;

impl Room {
    /// An event of the stream; it may be about one of the past.
    pub(super) fn place(&mut self, event: &Event<'_>, echo_of: Option<u64>) {
        self.timeline.handle_event(event, echo_of);
        if let Some(past) = &mut self.past {
            let key = echo_of.map(|id| echo_key(id).into());
            if let Some(item) = TimelineItem::from_event(event, key) {
                past.timeline.note(&item);
            }
        }
    }

    /// The item of an event that is placed, live or in the past.
    pub(super) fn item(&self, event_id: &str) -> Option<&TimelineItem> {
        let past = || self.past.as_ref().and_then(|past| past.timeline.item(event_id));
        self.timeline.item(event_id).or_else(past)
    }

    /// Shows an action, or shows it as it is after a change.
    pub(super) fn show_action(&mut self, action: &Action, me: &str) {
        self.timeline.handle_action(action, me);
        if let Some(past) = &mut self.past {
            past.timeline.note(&TimelineItem::from_action(action, me));
        }
    }

    /// Takes an echo away.
    pub(super) fn remove_echo(&mut self, id: u64) {
        self.timeline.remove_echo(id);
        if let Some(past) = &mut self.past {
            past.timeline.unnote(&echo_key(id));
        }
    }

    /// An event's content was taken away; what it edited, where that is to be asked for anew.
    pub(super) fn redact(&mut self, event_id: &str) -> Option<Arc<str>> {
        let live = self.timeline.redact(event_id);
        let past = self.past.as_mut().and_then(|past| past.timeline.redact(event_id));
        live.or(past)
    }

    /// An event as the server tells of it, with the edit that stands.
    pub(super) fn note_bundled(&mut self, event: &Event<'_>) {
        self.timeline.note_bundled(event);
        if let Some(past) = &mut self.past {
            past.timeline.note_bundled(event);
        }
    }

    /// Nobody looks at the past any more.
    pub(super) fn leave_past(&mut self) {
        if self.past.take().is_some() {
            self.past_ops.push(TimelineOp::Reset { items: Vec::new() });
        }
    }

    /// The edits to the past since the last call.
    pub(super) fn take_past_ops(&mut self) -> Vec<TimelineOp> {
        let mut ops = std::mem::take(&mut self.past_ops);
        if let Some(past) = &mut self.past {
            ops.extend(past.timeline.take_ops());
        }
        ops
    }
}
