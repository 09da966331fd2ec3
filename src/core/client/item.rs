//! One line of a timeline, as an application sees it: an event or an echo, with what was made of it since.

use std::sync::Arc;

use super::redact::redact_content;
use crate::core::action::echo::EchoState;
use crate::core::action::queue::Action;
use crate::core::wire::event::Event;
use crate::core::wire::object::Object;
use crate::core::wire::write::{Fields, ToJson, Writer};

/// How many of those who reacted are named.
pub const MAX_NAMED: usize = 20;

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
    /// The content, a JSON object: that of the latest edit, where there is one.
    pub content: Arc<str>,
    /// The content without any edit.
    pub(super) original: Arc<str>,
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
    /// The event that it answers.
    pub reply_to: Option<String>,
    /// The event that it is an edit of, and is shown in; kept when its content is taken away.
    pub edits: Option<String>,
    /// When the edit that is shown was made, in milliseconds since the epoch.
    pub edited: Option<u64>,
    /// Who reacted to it, by the reaction, those that came first in front.
    pub reactions: Vec<Reaction>,
    /// The own user's edit or redaction of it that the stream has not placed.
    pub pending: Option<Change>,
}

/// All reactions of one kind to an event.
#[derive(Clone, Debug)]
pub struct Reaction {
    /// Mostly an emoji.
    pub key: String,
    /// How many users.
    pub count: u64,
    /// Who they are, the first [`MAX_NAMED`] of them.
    pub senders: Vec<String>,
    /// The own user's.
    pub mine: Option<OwnReaction>,
}

/// The own user's reaction, and where its echo stands, or that of taking it back.
#[derive(Clone, Debug)]
pub struct OwnReaction {
    /// The event's ID, once known: what to redact.
    pub event_id: Option<Arc<str>>,
    /// The action under way.
    pub action: Option<Doing>,
    /// That action takes the reaction back.
    pub removing: bool,
}

/// An action that the stream has not placed.
#[derive(Clone, Debug)]
pub struct Doing {
    /// Its ID.
    pub id: u64,
    /// Where it stands.
    pub echo: EchoState,
    /// What went wrong last.
    pub error: Option<String>,
}

/// What the own user is about to do to an event.
#[derive(Clone, Debug)]
pub struct Change {
    /// What it is.
    pub what: ChangeKind,
    /// Where it stands.
    pub doing: Doing,
}

/// What can be done to an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Its content is replaced.
    Edit,
    /// Its content is taken away.
    Redaction,
}

impl ChangeKind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Edit => "edit",
            Self::Redaction => "redaction",
        }
    }
}

impl TimelineItem {
    /// The item of an event, which has an ID; `key` is that of the echo that it was.
    pub(super) fn from_event(event: &Event<'_>, key: Option<Arc<str>>) -> Option<Self> {
        let event_id: Arc<str> = Arc::from(&**event.event_id.as_ref()?);
        let content: Arc<str> = Arc::from(event.content);
        let Named { reply_to, edits } = named(&content);
        let edited = || event.edited.as_ref().filter(|_| event.redacted).map(|id| id.to_string());
        Some(Self {
            key: key.unwrap_or_else(|| event_id.clone()),
            event_id: Some(event_id),
            action_id: event.action_id,
            kind: event.kind.to_string(),
            state_key: event.state_key.as_ref().map(|key| key.to_string()),
            sender: event.sender.to_string(),
            reply_to,
            edits: edits.or_else(edited).filter(|_| event.state_key.is_none()),
            original: content.clone(),
            content,
            prev_content: event.prev_content.map(Arc::from),
            ts: event.origin_server_ts.unwrap_or(0),
            echo: EchoState::Placed,
            error: None,
            redacted: event.redacted,
            read: false,
            edited: None,
            reactions: Vec::new(),
            pending: None,
        })
    }

    /// The echo of an action.
    pub(super) fn from_action(action: &Action, sender: &str) -> Self {
        let Named { reply_to, edits } = named(&action.content);
        Self {
            key: Arc::from(echo_key(action.id.0)),
            event_id: action.event_id.as_deref().map(Arc::from),
            action_id: Some(action.id.0),
            kind: action.kind.clone(),
            state_key: None,
            sender: sender.to_owned(),
            content: action.content.clone(),
            original: action.content.clone(),
            prev_content: None,
            ts: action.at.0,
            echo: action.state,
            error: action.error.clone(),
            redacted: false,
            read: false,
            reply_to,
            edits,
            edited: None,
            reactions: Vec::new(),
            pending: None,
        }
    }

    /// Whether it says something itself, and nothing of the room or of another event.
    pub(super) fn is_said(&self) -> bool {
        let is_about_another =
            self.edits.is_some() || matches!(&*self.kind, "m.room.redaction" | "m.reaction");
        self.state_key.is_none() && !is_about_another
    }

    /// Takes its content away, as Matrix prescribes for its type.
    pub(super) fn redact(&mut self) {
        self.original = redact_content(&self.kind, &self.original);
        self.content = self.original.clone();
        self.prev_content = None;
        self.reply_to = None;
        self.redacted = true;
    }
}

/// The events that a content names as those that it is about.
struct Named {
    /// What it answers: the event that it names, or, said in a thread, the thread's beginning.
    reply_to: Option<String>,
    /// What it is an edit of.
    edits: Option<String>,
}

fn named(content: &str) -> Named {
    let content = Object::parse_or_empty(content);
    let relation = content.object("m.relates_to");
    let answered = relation.object("m.in_reply_to").string("event_id");
    let target = || relation.string("event_id");
    match relation.text("rel_type").as_deref() {
        Some("m.thread") if answered.is_none() || relation.flag("is_falling_back") => {
            Named { reply_to: target(), edits: None }
        }
        Some("m.replace") if new_content(&content).is_some() => Named { reply_to: answered, edits: target() },
        _ => Named { reply_to: answered, edits: None },
    }
}

/// What the content of an edit says that the edited event's is from then on.
pub(super) fn new_content<'a>(content: &Object<'a>) -> Option<&'a str> {
    content.raw("m.new_content").filter(|raw| raw.starts_with('{'))
}

/// The key of an echo; no event ID begins like this.
pub(super) fn echo_key(action_id: u64) -> String {
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
            fields.optional("replyTo", self.reply_to.as_deref());
            fields.optional("edits", self.edits.as_deref());
            if let Some(ts) = self.edited {
                fields.integer("edited", ts);
            }
            if !self.reactions.is_empty() {
                fields.value("reactions", &self.reactions);
            }
            if let Some(pending) = &self.pending {
                fields.value("pending", pending);
            }
        });
    }
}

impl ToJson for Reaction {
    fn write(&self, writer: &mut Writer) {
        writer.object(|fields| {
            fields.text("key", &self.key);
            fields.integer("count", self.count);
            fields.value("senders", &self.senders);
            if let Some(mine) = &self.mine {
                fields.value("mine", mine);
            }
        });
    }
}

impl ToJson for OwnReaction {
    fn write(&self, writer: &mut Writer) {
        writer.object(|fields| {
            fields.optional("eventId", self.event_id.as_deref());
            write_doing(fields, self.action.as_ref());
            if self.removing {
                fields.flag("removing", true);
            }
        });
    }
}

impl ToJson for Change {
    fn write(&self, writer: &mut Writer) {
        writer.object(|fields| {
            fields.text("type", self.what.as_str());
            write_doing(fields, Some(&self.doing));
        });
    }
}

fn write_doing(fields: &mut Fields<'_>, doing: Option<&Doing>) {
    if let Some(doing) = doing {
        fields.integer("actionId", doing.id);
        fields.optional("error", doing.error.as_deref());
    }
    fields.text("echo", doing.map_or(EchoState::Placed, |doing| doing.echo).as_str());
}
