//! One room's timeline: what the stream has placed, then the echoes that await their place.
//!
//! Bound: [`MAX_PLACED`] placed items. Beyond it, whole stretches leave at the old end as new events
//! come, so that scrolling back always meets the oldest one held without a hole.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::item::TimelineItem;
use super::relations::Relations;
use crate::core::action::queue::Action;
use crate::core::wire::event::Event;
use crate::core::wire::write::{ToJson, Writer};

/// The most placed items held for one room.
pub const MAX_PLACED: usize = 2_000;

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
    /// The own user.
    me: String,
    placed: VecDeque<Arc<TimelineItem>>,
    /// The position of the first placed item; falls as older ones are put in front.
    first: i64,
    /// Positions by event ID.
    positions: BTreeMap<Arc<str>, i64>,
    stretches: VecDeque<Stretch>,
    echoes: Vec<Arc<TimelineItem>>,
    /// How far others have read, by position.
    read_to: Option<i64>,
    relations: Relations,
    ops: Vec<TimelineOp>,
}

impl Timeline {
    /// An empty one, as `me` sees it.
    pub fn new(me: &str) -> Self {
        Self { me: me.to_owned(), ..Self::default() }
    }

    /// All items, oldest first, the echoes last.
    pub fn items(&self) -> impl DoubleEndedIterator<Item = &Arc<TimelineItem>> {
        self.placed.iter().chain(&self.echoes)
    }

    /// The newest placed item.
    pub fn last_placed(&self) -> Option<&Arc<TimelineItem>> {
        self.placed.back()
    }

    /// The newest of what was said, and not of what became of that or of the room; if there is none, the newest of all.
    pub(super) fn last_said(&self) -> Option<&Arc<TimelineItem>> {
        self.items().rev().find(|item| item.is_said()).or_else(|| self.items().next_back())
    }

    /// From where to scroll back; `None` when the beginning of the room is held, or nothing is.
    pub fn back_token(&self) -> Option<&str> {
        self.stretches.front()?.token.as_deref()
    }

    /// Whether the event is held.
    pub fn contains(&self, event_id: &str) -> bool {
        self.positions.contains_key(event_id)
    }

    /// The item of an event that is placed.
    pub(super) fn item(&self, event_id: &str) -> Option<&TimelineItem> {
        self.placed.get(self.index(event_id)?).map(|item| &**item)
    }

    /// Whether an event is held and comes after another one, where that is held too.
    pub fn leads(&self, event_id: &str, other: &Option<String>) -> bool {
        let other = other.as_ref().and_then(|other| self.positions.get(&**other));
        self.positions.get(event_id).is_some_and(|at| other.is_none_or(|other| at > other))
    }

    /// What awaits its place.
    pub(super) fn echoes(&self) -> impl Iterator<Item = &TimelineItem> {
        self.echoes.iter().map(|item| &**item)
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
        self.relations = Relations::default();
        for echo in &self.echoes {
            self.relations.insert(echo);
        }
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
        let Some(mut item) = TimelineItem::from_event(event, key).map(Arc::new) else { return };
        let target = self.relations.insert(&item);
        self.relations.insert_bundled(item.event_id.as_ref().unwrap_or(&item.key), event);
        self.relations.apply(&mut item, &self.me);
        self.positions.extend(item.event_id.clone().map(|id| (id, self.first + self.placed.len() as i64)));
        self.placed.push_back(item.clone());
        match self.stretches.back_mut() {
            Some(stretch) => stretch.len += 1,
            None => self.stretches.push_back(Stretch { token: None, len: 1 }),
        }
        self.show_placed(item, echo);
        self.refresh(target);
    }

    /// Shows what was placed, in the stead of the echo at `echo`.
    fn show_placed(&mut self, item: Arc<TimelineItem>, echo: Option<usize>) {
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

    /// Shows anew what something relates to, and what that relates to.
    fn refresh(&mut self, target: Option<Arc<str>>) {
        self.refresh_to(target, 1);
    }

    fn refresh_to(&mut self, target: Option<Arc<str>>, depth: u8) {
        let Some(target) = target else { return };
        let is_target = |echo: &&mut Arc<TimelineItem>| echo.event_id.as_deref() == Some(&*target);
        let item = match self.index(&target) {
            Some(at) => self.placed.get_mut(at),
            None => self.echoes.iter_mut().find(is_target),
        };
        let mut key = target.clone();
        if let Some(item) = item {
            key = item.key.clone();
            if self.relations.apply(item, &self.me) {
                self.ops.push(TimelineOp::Update { item: item.clone() });
            }
        }
        // Taking a reaction back is about the reaction, which is about a message.
        let next = self.relations.target_of(&key).filter(|next| *next != target);
        if depth > 0 {
            self.refresh_to(next, depth - 1);
        }
    }

    /// Puts older events in front, given newest first; `token` leads further back.
    pub fn handle_older<'a>(&mut self, events: impl Iterator<Item = Event<'a>>, token: Option<&str>) {
        let mut len = 0;
        let mut targets = Vec::new();
        for event in events {
            let Some(item) = TimelineItem::from_event(&event, None).map(Arc::new) else { continue };
            let Some(id) = item.event_id.clone() else { continue };
            if self.contains(&id) {
                continue;
            }
            targets.extend(self.relations.insert(&item));
            self.relations.insert_bundled(&id, &event);
            self.first -= 1;
            self.positions.insert(id, self.first);
            self.placed.push_front(item);
            len += 1;
        }
        self.stretches.push_front(Stretch { token: token.map(ToOwned::to_owned), len });
        self.show_older(len);
        for target in targets {
            self.refresh(Some(target));
        }
    }

    /// Shows the first `len` items, which are new.
    fn show_older(&mut self, len: usize) {
        let new = self.placed.iter_mut().take(len);
        let items: Vec<_> = new
            .map(|item| {
                self.relations.apply(item, &self.me);
                item.clone()
            })
            .collect();
        if !items.is_empty() {
            self.ops.push(TimelineOp::Prepend { items });
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

    /// Somebody else has read what comes after all that is here.
    pub(super) fn handle_all_read(&mut self, me: &str) {
        let last = self.first + self.placed.len() as i64 - 1;
        if self.read_to.is_none_or(|known| known < last) {
            self.read_to = Some(last);
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
        let mut item = Arc::new(TimelineItem::from_action(action, sender));
        let target = self.relations.insert(&item);
        self.relations.apply(&mut item, &self.me);
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
        self.refresh(target);
    }

    /// Takes an echo away.
    pub fn remove_echo(&mut self, id: u64) {
        if let Some(at) = self.echoes.iter().position(|echo| echo.action_id == Some(id)) {
            let echo = self.echoes.remove(at);
            let target = self.relations.remove(&echo.key);
            self.ops.push(TimelineOp::Remove { key: echo.key.clone() });
            self.refresh(target);
        }
    }

    /// Takes the content of an event away, as Matrix prescribes for its type; and what it made of another, whose ID this
    /// answers where there may be an earlier edit of it, which is not known here.
    pub fn redact(&mut self, event_id: &str) -> Option<Arc<str>> {
        // It may have come with what it edits.
        let is_last_known = self.relations.is_bundled(event_id);
        let mut target = self.relations.remove_event(event_id);
        let unsure = target.clone().filter(|_| is_last_known);
        if let Some(item) = self.index(event_id).and_then(|at| self.placed.get_mut(at)) {
            Arc::make_mut(item).redact();
            target = self.relations.insert(item).or(target);
            self.relations.apply(item, &self.me);
            self.ops.push(TimelineOp::Update { item: item.clone() });
        }
        self.refresh(target);
        unsure
    }

    /// Learns the edit that comes with an event, which is here already.
    pub(super) fn note_bundled(&mut self, event: &Event<'_>) {
        let item = event.event_id.as_deref().and_then(|id| self.placed.get(self.index(id)?));
        if let Some(id) = item.and_then(|item| item.event_id.clone()) {
            self.relations.insert_bundled(&id, event);
            self.refresh(Some(id));
        }
    }

    /// Learns what something says of what is here, which is itself shown elsewhere.
    pub(super) fn note(&mut self, item: &TimelineItem) {
        let target = self.relations.insert(item);
        self.refresh(target);
    }

    /// The opposite, by the item's key.
    pub(super) fn unnote(&mut self, key: &str) {
        let target = self.relations.remove(key);
        self.refresh(target);
    }

    /// What is here is shown from the beginning.
    pub(super) fn begin_anew(&mut self) {
        self.ops.clear();
        self.ops.push(TimelineOp::Reset { items: self.items().cloned().collect() });
    }

    /// Puts in front what leads here without a hole.
    pub(super) fn join(&mut self, older: Self) {
        let mut items: Vec<_> = older.placed.into();
        let mut total = 0;
        for mut stretch in older.stretches.into_iter().rev() {
            let new = items.split_off(items.len().saturating_sub(stretch.len));
            stretch.len = 0;
            for item in new.into_iter().rev() {
                let Some(id) = item.event_id.clone().filter(|id| !self.contains(id)) else { continue };
                self.relations.insert(&item);
                self.first -= 1;
                self.positions.insert(id, self.first);
                self.placed.push_front(item);
                stretch.len += 1;
            }
            total += stretch.len;
            self.stretches.push_front(stretch);
        }
        self.relations.absorb(older.relations);
        self.show_older(total);
    }

    /// Where an event is among those that are placed.
    fn index(&self, event_id: &str) -> Option<usize> {
        usize::try_from(self.positions.get(event_id)? - self.first).ok()
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
                self.relations.forget(&item);
                self.ops.push(TimelineOp::Remove { key: item.key.clone() });
            }
            self.stretches.pop_front();
        }
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
