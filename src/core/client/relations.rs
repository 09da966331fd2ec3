//! What later events make of earlier ones: edits, reactions, and the own user's redactions under way.
//!
//! Whatever the order in which a relation and its target become known, the target shows the same: each
//! relation is kept under its target's ID, and the target is computed anew from all of them. Bound: one
//! relation for each item of the timeline, and the one edit that a server bundles with an event.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::item::{Change, ChangeKind, Doing, MAX_NAMED, OwnReaction, Reaction, TimelineItem};
use crate::core::action::echo::EchoState;
use crate::core::wire::event::Event;
use crate::core::wire::object::Object;
use crate::core::wire::write;

/// Reactions longer than this are none: they are words, and words are messages.
const MAX_REACTION_BYTES: usize = 256;

/// All relations that are known, by what they relate to.
#[derive(Debug, Default)]
pub(super) struct Relations {
    by_target: BTreeMap<Arc<str>, Vec<Relation>>,
    /// The target of each relation, by the relation's key.
    targets: BTreeMap<Arc<str>, Arc<str>>,
}

/// One event or echo that is about another event.
#[derive(Debug)]
struct Relation {
    /// That of its item.
    key: Arc<str>,
    event_id: Option<Arc<str>>,
    sender: String,
    kind: String,
    ts: u64,
    about: About,
    /// Absent once the stream has placed it.
    doing: Option<Doing>,
    /// It came with its target, and goes with it.
    bundled: bool,
}

#[derive(Debug)]
enum About {
    /// The content to show instead.
    Edit(Arc<str>),
    /// The reaction.
    Reaction(String),
    Redaction,
}

impl Relations {
    /// Learns of an item what it says of another; the ID of that one.
    pub(super) fn insert(&mut self, item: &TimelineItem) -> Option<Arc<str>> {
        let gone = self.remove(&item.key);
        if item.redacted || item.state_key.is_some() {
            return gone;
        }
        let Some((target, about)) = about(&item.kind, &item.original) else { return gone };
        if let Some(id) = &item.event_id {
            self.remove_event(id);
        }
        let doing = item.action_id.filter(|_| item.echo != EchoState::Placed);
        let doing = doing.map(|id| Doing { id, echo: item.echo, error: item.error.clone() });
        Some(self.add(
            Arc::from(target),
            Relation {
                key: item.key.clone(),
                event_id: item.event_id.clone(),
                sender: item.sender.clone(),
                kind: item.kind.clone(),
                ts: item.ts,
                about,
                doing,
                bundled: false,
            },
        ))
    }

    /// Learns of the edit that a server sends along with an event.
    pub(super) fn insert_bundled(&mut self, target: &Arc<str>, event: &Event<'_>) {
        let Some(edit) = event.bundled_edit.and_then(Event::parse) else { return };
        let (Some(id), Some((named, About::Edit(content)))) =
            (&edit.event_id, about(&edit.kind, edit.content))
        else {
            return;
        };
        let key: Arc<str> = Arc::from(&**id);
        if named != **target || edit.redacted || edit.state_key.is_some() || self.targets.contains_key(&key) {
            return;
        }
        self.add(
            target.clone(),
            Relation {
                event_id: Some(key.clone()),
                key,
                sender: edit.sender.to_string(),
                kind: edit.kind.to_string(),
                ts: edit.origin_server_ts.unwrap_or(0),
                about: About::Edit(content),
                doing: None,
                bundled: true,
            },
        );
    }

    fn add(&mut self, target: Arc<str>, relation: Relation) -> Arc<str> {
        self.targets.insert(relation.key.clone(), target.clone());
        self.by_target.entry(target.clone()).or_default().push(relation);
        target
    }

    /// Forgets a relation, by its key; the ID of what it was about.
    pub(super) fn remove(&mut self, key: &str) -> Option<Arc<str>> {
        let target = self.targets.remove(key)?;
        if let Some(relations) = self.by_target.get_mut(&target) {
            relations.retain(|relation| *relation.key != *key);
            if relations.is_empty() {
                self.by_target.remove(&target);
            }
        }
        Some(target)
    }

    /// An item leaves the timeline: what came with it, and what it said of others, goes.
    pub(super) fn forget(&mut self, item: &TimelineItem) {
        self.remove(&item.key);
        let Some(relations) = item.event_id.as_ref().and_then(|id| self.by_target.get(id)) else { return };
        let bundled: Vec<_> =
            relations.iter().filter(|relation| relation.bundled).map(|one| one.key.clone()).collect();
        for key in bundled {
            self.remove(&key);
        }
    }

    /// Forgets what an event says, by the event's ID; the ID of what it was about.
    pub(super) fn remove_event(&mut self, event_id: &str) -> Option<Arc<str>> {
        let all = self.by_target.values().flatten();
        let key =
            all.filter(|one| one.event_id.as_deref() == Some(event_id)).map(|one| one.key.clone()).next()?;
        self.remove(&key)
    }

    /// Takes over what came with the items of another timeline.
    pub(super) fn absorb(&mut self, other: Self) {
        for (target, relations) in other.by_target {
            for relation in relations {
                if relation.bundled && !self.targets.contains_key(&relation.key) {
                    self.add(target.clone(), relation);
                }
            }
        }
    }

    /// What the item with this key is about.
    pub(super) fn target_of(&self, key: &str) -> Option<Arc<str>> {
        self.targets.get(key).cloned()
    }

    /// Shows in an item what relates to it; whether that changed anything.
    pub(super) fn apply(&self, item: &mut Arc<TimelineItem>, me: &str) -> bool {
        let about_it = item.event_id.as_ref().and_then(|id| self.by_target.get(id));
        let none = about_it.is_none();
        if none && item.edited.is_none() && item.reactions.is_empty() && item.pending.is_none() {
            return false;
        }
        let relations = about_it.map(Vec::as_slice).unwrap_or_default();
        let edit = latest_edit(relations, item);
        let content = edit.map_or_else(|| item.original.clone(), |(_, new)| edited(&item.original, new));
        let edited = edit.map(|(relation, _)| relation.ts);
        let reactions = if item.redacted { Vec::new() } else { self.reactions(relations, me) };
        let pending = pending(relations, edit.map(|(relation, _)| relation)).filter(|_| !item.redacted);
        let same = *content == *item.content
            && edited == item.edited
            && reactions == item.reactions
            && pending == item.pending;
        if !same {
            let shown = Arc::make_mut(item);
            (shown.content, shown.edited, shown.reactions, shown.pending) =
                (content, edited, reactions, pending);
        }
        !same
    }

    fn reactions(&self, relations: &[Relation], me: &str) -> Vec<Reaction> {
        let mut by_key: BTreeMap<&str, (u64, BTreeSet<(u64, &str)>, Option<OwnReaction>)> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut sorted: Vec<_> = relations.iter().collect();
        sorted.sort_by_key(|relation| (relation.ts, relation.doing.is_some(), &relation.key));
        for relation in sorted {
            let About::Reaction(key) = &relation.about else { continue };
            let removal = self.removal_of(relation);
            let entry = by_key.entry(key).or_insert((relation.ts, BTreeSet::new(), None));
            let leaves = removal.is_some_and(|doing| doing.echo != EchoState::Failed);
            if !leaves && seen.insert((key, &relation.sender)) {
                entry.1.insert((relation.ts, &relation.sender));
            }
            if relation.sender == me && entry.2.is_none() {
                entry.2 = Some(OwnReaction {
                    event_id: relation.event_id.clone(),
                    action: removal.or(relation.doing.as_ref()).cloned(),
                    removing: removal.is_some(),
                });
            }
        }
        let mut all: Vec<_> = by_key.into_iter().collect();
        all.sort_by_key(|(key, (first, ..))| (*first, *key));
        all.into_iter()
            .map(|(key, (_, senders, mine))| Reaction {
                key: key.to_owned(),
                count: senders.len() as u64,
                senders: senders.iter().take(MAX_NAMED).map(|(_, user)| (*user).to_owned()).collect(),
                mine,
            })
            .collect()
    }

    /// The redaction under way of what a relation says.
    fn removal_of(&self, relation: &Relation) -> Option<&Doing> {
        let about_it = self.by_target.get(relation.event_id.as_ref()?)?;
        about_it.iter().find(|one| matches!(one.about, About::Redaction)).and_then(|one| one.doing.as_ref())
    }
}

/// What an event of this type and content is about, and how.
fn about(kind: &str, content: &str) -> Option<(String, About)> {
    if !content.contains("m.relates_to") && kind != "m.room.redaction" {
        return None;
    }
    let content = Object::parse_or_empty(content);
    if kind == "m.room.redaction" {
        return Some((content.string("redacts")?, About::Redaction));
    }
    let relation = content.object("m.relates_to");
    let target = relation.string("event_id")?;
    match relation.text("rel_type").as_deref() {
        Some("m.replace") => {
            let new = content.raw("m.new_content").filter(|raw| raw.starts_with('{'))?;
            Some((target, About::Edit(Arc::from(new))))
        }
        Some("m.annotation") if kind == "m.reaction" => {
            let key =
                relation.string("key").filter(|key| !key.is_empty() && key.len() <= MAX_REACTION_BYTES)?;
            Some((target, About::Reaction(key)))
        }
        _ => None,
    }
}

/// The edit to show: by the same sender, of the same type, the latest; what is not placed is later than all that is.
fn latest_edit<'a>(relations: &'a [Relation], item: &TimelineItem) -> Option<(&'a Relation, &'a str)> {
    if item.redacted
        || item.state_key.is_some()
        || matches!(about(&item.kind, &item.original), Some((_, About::Edit(_))))
    {
        return None;
    }
    let edits = relations.iter().filter_map(|relation| match &relation.about {
        About::Edit(content) if relation.sender == item.sender && relation.kind == item.kind => {
            Some((relation, &**content))
        }
        _ => None,
    });
    edits.max_by_key(|(relation, _)| {
        (relation.doing.as_ref().map(|doing| doing.id), relation.ts, relation.event_id.clone())
    })
}

/// The new content, related to what the original is related to.
fn edited(original: &str, new: &str) -> Arc<str> {
    let (original, new) = (Object::parse_or_empty(original), Object::parse_or_empty(new));
    Arc::from(write::object(|fields| {
        for (name, value) in new.fields().filter(|(name, _)| *name != "m.relates_to") {
            fields.raw(name, value);
        }
        if let Some(relation) = original.raw("m.relates_to") {
            fields.raw("m.relates_to", relation);
        }
    }))
}

/// The own user's last act upon an event that the stream has not placed.
fn pending(relations: &[Relation], edit: Option<&Relation>) -> Option<Change> {
    let redaction = relations.iter().filter(|relation| matches!(relation.about, About::Redaction));
    let redaction = redaction.filter_map(|relation| relation.doing.as_ref()).max_by_key(|doing| doing.id);
    let redaction = redaction.map(|doing| (ChangeKind::Redaction, doing));
    let edit = edit.and_then(|relation| relation.doing.as_ref()).map(|doing| (ChangeKind::Edit, doing));
    redaction.or(edit).map(|(what, doing)| Change { what, doing: doing.clone() })
}
