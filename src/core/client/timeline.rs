//! One room's timeline: what the stream has placed, then the echoes that await their place.
//!
//! Bound: [`MAX_PLACED`] placed items. Beyond it, whole stretches leave at the old end as new events
//! come, so that scrolling back always meets the oldest one held without a hole.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::redact::redact_content;
use crate::core::action::echo::EchoState;
use crate::core::action::queue::Action;
use crate::core::wire::event::Event;
use crate::core::wire::write::{ToJson, Writer};

/// The most placed items held for one room.
pub const MAX_PLACED: usize = 2_000;

/// One line of a timeline.
#[derive(Clone, Debug)]
pub struct TimelineItem {
    /// The same over the whole life of an echo.
    pub key: Arc<str>,
    /// The event's ID, once known.
    pub event_id: Option<Arc<str>>,
    /// The action's ID, on the device that sent it.
    pub action_id: Option<u64>,
    /// The event type.
    pub kind: String,
    /// Set on state events.
    pub state_key: Option<String>,
    /// Who sent it.
    pub sender: String,
    /// The content, a JSON object.
    pub content: Arc<str>,
    /// The content that a state event replaced, a JSON object.
    pub prev_content: Option<Arc<str>>,
    /// Milliseconds since the epoch.
    pub ts: u64,
    /// Where its echo stands; `Placed` for everything that came by the stream.
    pub echo: EchoState,
    /// What went wrong last.
    pub error: Option<String>,
    /// Its content was taken away.
    pub redacted: bool,
    /// The own user sent it, and a receipt of somebody else's covers it.
    pub read: bool,
}

/// One edit. Applied in order they turn the previous timeline into the present one.
#[derive(Clone, Debug)]
pub enum TimelineOp {
    /// Add at the end, or before the item whose key is `before`.
    Append {
        /// The item.
        item: Arc<TimelineItem>,
        /// An echo that stays behind it.
        before: Option<Arc<str>>,
    },
    /// Add in front, oldest first.
    Prepend {
        /// The items.
        items: Vec<Arc<TimelineItem>>,
    },
    /// Replace the item of the same key, where it stands.
    Update {
        /// The item.
        item: Arc<TimelineItem>,
    },
    /// Take an item away.
    Remove {
        /// Its key.
        key: Arc<str>,
    },
    /// Forget all and start with these.
    Reset {
        /// The items.
        items: Vec<Arc<TimelineItem>>,
    },
}

/// A stretch of placed items that came together.
#[derive(Debug)]
struct Stretch {
    /// From where to scroll back past its first item; `None` at the beginning of the room.
    token: Option<String>,
    len: usize,
}

/// One room's timeline.
#[derive(Debug, Default)]
pub struct Timeline {
    placed: VecDeque<Arc<TimelineItem>>,
    /// The position of the first placed item; falls as older ones are put in front.
    first: i64,
    /// Positions by event ID.
    positions: BTreeMap<Arc<str>, i64>,
    stretches: VecDeque<Stretch>,
    echoes: Vec<Arc<TimelineItem>>,
    /// How far others have read, by position.
    read_to: Option<i64>,
    ops: Vec<TimelineOp>,
}

impl TimelineItem {
    fn from_event(event: &Event<'_>, key: Option<Arc<str>>) -> Option<Self> {
        let event_id: Arc<str> = Arc::from(&**event.event_id.as_ref()?);
        Some(Self {
            key: key.unwrap_or_else(|| event_id.clone()),
            event_id: Some(event_id),
            action_id: event.action_id,
            kind: event.kind.to_string(),
            state_key: event.state_key.as_ref().map(|key| key.to_string()),
            sender: event.sender.to_string(),
            content: Arc::from(event.content),
            prev_content: event.prev_content.map(Arc::from),
            ts: event.origin_server_ts.unwrap_or(0),
            echo: EchoState::Placed,
            error: None,
            redacted: event.redacted,
            read: false,
        })
    }

    fn from_action(action: &Action, sender: &str) -> Self {
        Self {
            key: Arc::from(echo_key(action.id.0)),
            event_id: action.event_id.as_deref().map(Arc::from),
            action_id: Some(action.id.0),
            kind: action.kind.clone(),
            state_key: None,
            sender: sender.to_owned(),
            content: action.content.clone(),
            prev_content: None,
            ts: action.at.0,
            echo: action.state,
            error: action.error.clone(),
            redacted: false,
            read: false,
        }
    }
}

impl Timeline {
    /// All items, oldest first, the echoes last.
    pub fn items(&self) -> impl DoubleEndedIterator<Item = &Arc<TimelineItem>> {
        self.placed.iter().chain(&self.echoes)
    }

    /// The newest placed item.
    pub fn last_placed(&self) -> Option<&Arc<TimelineItem>> {
        self.placed.back()
    }

    /// From where to scroll back; `None` when the beginning of the room is held, or nothing is.
    pub fn back_token(&self) -> Option<&str> {
        self.stretches.front()?.token.as_deref()
    }

    /// Whether the event is held.
    pub fn contains(&self, event_id: &str) -> bool {
        self.positions.contains_key(event_id)
    }

    /// The edits since the last call.
    pub fn take_ops(&mut self) -> Vec<TimelineOp> {
        std::mem::take(&mut self.ops)
    }

    /// The stream jumped, or begins: drops what was placed. The echoes stay.
    pub fn handle_gap(&mut self) {
        self.placed.clear();
        self.positions.clear();
        self.stretches.clear();
        self.first = 0;
        self.read_to = None;
        self.ops.clear();
        self.ops.push(TimelineOp::Reset { items: self.echoes.clone() });
    }

    /// A new stretch of the stream begins; `token` leads back past its first event.
    pub fn handle_stretch(&mut self, token: Option<&str>) {
        match self.stretches.back_mut() {
            Some(last) if token.is_none() || last.len == 0 => {
                if last.len == 0 && token.is_some() {
                    last.token = token.map(ToOwned::to_owned);
                }
            }
            _ => self.stretches.push_back(Stretch { token: token.map(ToOwned::to_owned), len: 0 }),
        }
        self.trim();
    }

    /// Appends an event of the stream; an echo of that action becomes it, under the same key. An event
    /// that is held already is not shown twice.
    pub fn handle_event(&mut self, event: &Event<'_>, echo_of: Option<u64>) {
        let Some(event_id) = &event.event_id else { return };
        if self.contains(event_id) {
            return;
        }
        let echo = echo_of.and_then(|id| self.echoes.iter().position(|item| item.action_id == Some(id)));
        let key = echo.map(|at| self.echoes[at].key.clone());
        let Some(item) = TimelineItem::from_event(event, key).map(Arc::new) else { return };
        self.positions.extend(item.event_id.clone().map(|id| (id, self.first + self.placed.len() as i64)));
        self.placed.push_back(item.clone());
        match self.stretches.back_mut() {
            Some(stretch) => stretch.len += 1,
            None => self.stretches.push_back(Stretch { token: None, len: 1 }),
        }
        if let Some(at) = echo {
            self.echoes.remove(at);
            if at == 0 {
                return self.ops.push(TimelineOp::Update { item });
            }
            self.ops.push(TimelineOp::Remove { key: item.key.clone() });
        }
        match self.ops.last_mut() {
            Some(TimelineOp::Reset { items }) => {
                let end = items.len() - self.echoes.len();
                items.insert(end, item);
            }
            _ => self.ops.push(TimelineOp::Append { item, before: self.first_echo_key() }),
        }
    }

    /// Puts older events in front, given newest first; `token` leads further back.
    pub fn handle_older<'a>(&mut self, events: impl Iterator<Item = Event<'a>>, token: Option<&str>) {
        let mut items = VecDeque::new();
        for event in events {
            let Some(item) = TimelineItem::from_event(&event, None).map(Arc::new) else { continue };
            let Some(id) = item.event_id.clone() else { continue };
            if self.contains(&id) {
                continue;
            }
            self.first -= 1;
            self.positions.insert(id, self.first);
            self.placed.push_front(item.clone());
            items.push_front(item);
        }
        self.stretches.push_front(Stretch { token: token.map(ToOwned::to_owned), len: items.len() });
        if !items.is_empty() {
            self.ops.push(TimelineOp::Prepend { items: items.into() });
        }
    }

    /// Somebody else has read up to an event: what the own user said up to there is read. Nothing for an event
    /// that is not held.
    pub fn handle_read(&mut self, event_id: &str, me: &str) {
        let Some(&position) = self.positions.get(event_id) else { return };
        if self.read_to.is_none_or(|known| known < position) {
            self.read_to = Some(position);
            self.show_read(me);
        }
    }

    /// Shows as read what lies before the furthest receipt, and is not shown so.
    pub fn show_read(&mut self, me: &str) {
        let Some(read_to) = self.read_to else { return };
        let count = usize::try_from(read_to - self.first + 1).unwrap_or(0);
        for item in self.placed.iter_mut().take(count).filter(|item| !item.read && item.sender == me) {
            Arc::make_mut(item).read = true;
            self.ops.push(TimelineOp::Update { item: item.clone() });
        }
    }

    /// Shows an action, or shows it as it is after a change. Echoes stand in ID order.
    pub fn handle_action(&mut self, action: &Action, sender: &str) {
        let item = Arc::new(TimelineItem::from_action(action, sender));
        match self.echoes.binary_search_by_key(&item.action_id, |echo| echo.action_id) {
            Ok(at) => {
                self.echoes[at] = item.clone();
                self.ops.push(TimelineOp::Update { item });
            }
            Err(at) => {
                let before = self.echoes.get(at).map(|echo| echo.key.clone());
                self.echoes.insert(at, item.clone());
                self.ops.push(TimelineOp::Append { item, before });
            }
        }
    }

    /// Takes an echo away.
    pub fn remove_echo(&mut self, id: u64) {
        if let Some(at) = self.echoes.iter().position(|echo| echo.action_id == Some(id)) {
            let echo = self.echoes.remove(at);
            self.ops.push(TimelineOp::Remove { key: echo.key.clone() });
        }
    }

    /// Takes the content of an event away, as Matrix prescribes for its type.
    pub fn redact(&mut self, event_id: &str) {
        let Some(position) = self.positions.get(event_id) else { return };
        let Some(item) = usize::try_from(position - self.first).ok().and_then(|at| self.placed.get_mut(at))
        else {
            return;
        };
        let redacted = Arc::make_mut(item);
        redacted.content = redact_content(&redacted.kind, &redacted.content);
        redacted.prev_content = None;
        redacted.redacted = true;
        self.ops.push(TimelineOp::Update { item: item.clone() });
    }

    fn first_echo_key(&self) -> Option<Arc<str>> {
        self.echoes.first().map(|echo| echo.key.clone())
    }

    fn trim(&mut self) {
        while let Some(oldest) = self.stretches.front()
            && self.stretches.len() > 1
            && self.placed.len() > MAX_PLACED
        {
            for _ in 0..oldest.len {
                let Some(item) = self.placed.pop_front() else { break };
                self.first += 1;
                if let Some(id) = &item.event_id {
                    self.positions.remove(id);
                }
                self.ops.push(TimelineOp::Remove { key: item.key.clone() });
            }
            self.stretches.pop_front();
        }
    }
}

/// The key of an echo; no event ID begins like this.
fn echo_key(action_id: u64) -> String {
    let mut key = String::from("~");
    key.push_str(&action_id.to_string());
    key
}

impl ToJson for TimelineItem {
    fn write(&self, writer: &mut Writer) {
        writer.object(|fields| {
            fields.text("key", &self.key);
            fields.optional("eventId", self.event_id.as_deref());
            if let Some(id) = self.action_id {
                fields.integer("actionId", id);
            }
            fields.text("type", &self.kind);
            fields.optional("stateKey", self.state_key.as_deref());
            fields.text("sender", &self.sender);
            fields.raw("content", &self.content);
            if let Some(content) = &self.prev_content {
                fields.raw("prevContent", content);
            }
            fields.integer("ts", self.ts);
            fields.text("echo", self.echo.as_str());
            fields.optional("error", self.error.as_deref());
            if self.redacted {
                fields.flag("redacted", true);
            }
            if self.read {
                fields.flag("read", true);
            }
        });
    }
}

impl ToJson for TimelineOp {
    fn write(&self, writer: &mut Writer) {
        writer.object(|fields| match self {
            Self::Append { item, before } => {
                fields.text("op", "append");
                fields.value("item", item);
                fields.optional("before", before.as_deref());
            }
            Self::Prepend { items } => {
                fields.text("op", "prepend");
                fields.value("items", items);
            }
            Self::Update { item } => {
                fields.text("op", "update");
                fields.value("item", item);
            }
            Self::Remove { key } => {
                fields.text("op", "remove");
                fields.text("key", key);
            }
            Self::Reset { items } => {
                fields.text("op", "reset");
                fields.value("items", items);
            }
        });
    }
}
