//! What later events make of earlier ones: edits, reactions, and the own user's redactions under way.
//!
//! Whatever the order in which a relation and its target become known, the target shows the same: each
//! relation is kept under its target's ID, and the target is computed anew from all of them. Bound: one
//! relation for each item of the timeline, and the one edit that a server bundles with an event.

use std::sync::Arc;

use super::item::{Change, ChangeKind, Doing, MAX_NAMED, OwnReaction, Reaction, TimelineItem, new_content};
use crate::core::action::echo::EchoState;
use crate::core::wire::event::Event;
use crate::core::wire::object::Object;
use crate::core::wire::write;

/// Reactions longer than this are none: they are words, and words are messages.
const MAX_REACTION_BYTES: usize = 256;

/// All relations that are known: those of one target together, in the order of their time.
#[derive(Debug, Default)]
pub(super) struct Relations(Vec<Relation>);

/// One event or echo that is about another event.
#[derive(Debug)]
struct Relation {
    /// The ID of the event that it is about.
    target: Arc<str>,
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

/// What is said of the other event.
#[derive(Debug)]
pub(super) enum About {
    /// The content to show instead.
    Edit(Arc<str>),
    /// The reaction.
    Reaction(String),
    /// Its content is to be taken away.
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
        Some(self.add(Relation {
            target: Arc::from(target),
            key: item.key.clone(),
            event_id: item.event_id.clone(),
            sender: item.sender.clone(),
            kind: item.kind.clone(),
            ts: item.ts,
            about,
            doing,
            bundled: false,
        }))
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
        let known = self.0.iter().any(|one| one.event_id.as_ref() == Some(&key));
        if named != **target || edit.redacted || edit.state_key.is_some() || known {
            return;
        }
        self.add(Relation {
            target: target.clone(),
            event_id: Some(key.clone()),
            key,
            sender: edit.sender.to_string(),
            kind: edit.kind.to_string(),
            ts: edit.origin_server_ts.unwrap_or(0),
            about: About::Edit(content),
            doing: None,
            bundled: true,
        });
    }

    fn add(&mut self, relation: Relation) -> Arc<str> {
        let target = relation.target.clone();
        let at = self.0.partition_point(|known| known.place() < relation.place());
        self.0.insert(at, relation);
        target
    }

    /// Forgets a relation, by its key; the ID of what it was about.
    pub(super) fn remove(&mut self, key: &str) -> Option<Arc<str>> {
        self.remove_at(self.0.iter().position(|one| *one.key == *key))
    }

    /// Whether an event is an edit that came with its target: those before it did not.
    pub(super) fn is_bundled(&self, event_id: &str) -> bool {
        self.0.iter().any(|one| one.bundled && *one.key == *event_id)
    }

    /// Forgets what an event says, by the event's ID; the ID of what it was about.
    pub(super) fn remove_event(&mut self, event_id: &str) -> Option<Arc<str>> {
        self.remove_at(self.0.iter().position(|one| one.event_id.as_deref() == Some(event_id)))
    }

    fn remove_at(&mut self, at: Option<usize>) -> Option<Arc<str>> {
        at.map(|at| self.0.remove(at).target)
    }

    /// An item leaves the timeline: what came with it, and what it said of others, goes.
    pub(super) fn forget(&mut self, item: &TimelineItem) {
        self.0.retain(|one| {
            one.key != item.key && !(one.bundled && Some(&one.target) == item.event_id.as_ref())
        });
    }

    /// Takes over what came with the items of another timeline.
    pub(super) fn absorb(&mut self, other: Self) {
        for relation in other.0 {
            if relation.bundled && !self.0.iter().any(|known| known.event_id == relation.event_id) {
                self.add(relation);
            }
        }
    }

    /// What the item with this key is about.
    pub(super) fn target_of(&self, key: &str) -> Option<Arc<str>> {
        self.0.iter().find(|one| *one.key == *key).map(|one| one.target.clone())
    }

    /// Those about one event.
    fn of(&self, target: Option<&Arc<str>>) -> &[Relation] {
        let Some(target) = target else { return &[] };
        let start = self.0.partition_point(|one| one.target < *target);
        let end = self.0.partition_point(|one| one.target <= *target);
        &self.0[start..end]
    }

    /// Shows in an item what relates to it; whether there is or was anything.
    pub(super) fn apply(&self, item: &mut Arc<TimelineItem>, me: &str) -> bool {
        let relations = self.of(item.event_id.as_ref());
        if relations.is_empty()
            && item.edited.is_none()
            && item.reactions.is_empty()
            && item.pending.is_none()
        {
            return false;
        }
        let edit = latest_edit(relations, item);
        let content = edit.map_or_else(|| item.original.clone(), |(_, new)| edited(&item.original, new));
        let edited = edit.map(|(relation, _)| relation.ts);
        let reactions = if item.redacted { Vec::new() } else { self.reactions(relations, me) };
        let pending = pending(relations, edit.map(|(relation, _)| relation)).filter(|_| !item.redacted);
        let shown = Arc::make_mut(item);
        shown.content = content;
        shown.edited = edited;
        shown.reactions = reactions;
        shown.pending = pending;
        true
    }

    fn reactions(&self, relations: &[Relation], me: &str) -> Vec<Reaction> {
        let mut all: Vec<Reaction> = Vec::new();
        for relation in relations {
            let About::Reaction(key) = &relation.about else { continue };
            let at = all.iter().position(|known| known.key == *key).unwrap_or_else(|| {
                all.push(Reaction { key: key.clone(), count: 0, senders: Vec::new(), mine: None });
                all.len() - 1
            });
            let reaction = &mut all[at];
            let removal = self.removal_of(relation);
            let leaves = removal.is_some_and(|doing| doing.echo != EchoState::Failed);
            if !leaves && !reaction.senders.contains(&relation.sender) {
                reaction.senders.push(relation.sender.clone());
            }
            if relation.sender == me && reaction.mine.is_none() {
                reaction.mine = Some(OwnReaction {
                    event_id: relation.event_id.clone(),
                    action: removal.or(relation.doing.as_ref()).cloned(),
                    removing: removal.is_some(),
                });
            }
        }
        for reaction in &mut all {
            reaction.count = reaction.senders.len() as u64;
            reaction.senders.truncate(MAX_NAMED);
        }
        all
    }

    /// The redaction under way of what a relation says.
    fn removal_of(&self, relation: &Relation) -> Option<&Doing> {
        let about_it = self.of(relation.event_id.as_ref());
        about_it.iter().find(|one| matches!(one.about, About::Redaction)).and_then(|one| one.doing.as_ref())
    }
}

impl Relation {
    /// Its place in the order.
    fn place(&self) -> (&str, u64, bool, &str) {
        (&self.target, self.ts, self.doing.is_some(), &self.key)
    }
}

/// What an event of this type and content is about, and how.
pub(super) fn about(kind: &str, content: &str) -> Option<(String, About)> {
    let content = Object::parse_or_empty(content);
    if kind == "m.room.redaction" {
        return Some((content.string("redacts")?, About::Redaction));
    }
    let relation = content.object("m.relates_to");
    let target = relation.string("event_id")?;
    match relation.text("rel_type").as_deref() {
        Some("m.replace") => {
            let new = new_content(&content)?;
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
    if item.redacted || item.state_key.is_some() || item.edits.is_some() {
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
