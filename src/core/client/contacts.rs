//! The presence list as this client knows it (L1 to L4): who is on it, who asks, who may see the user.
//!
//! The server keeps it, and tells by account data that it changed; then both its halves are read again, and
//! what differs from before is told (W4). Only this project's server has such lists; on others the calls
//! fail with `UNSUPPORTED`.

use super::answers::Awaited;
use super::follow_up::Then;
use super::output::{Change, Failure, Output, Ticket};
use super::{Client, Dialect};
use crate::core::time::Instant;
use crate::core::wire::path::path;
use crate::core::wire::read::{Object, Reader, read_elements};
use crate::core::wire::write::{self, ToJson, Writer};

/// The most people remembered; beyond it new ones are not taken in. Above what this server keeps for a user.
const MAX_CONTACTS: usize = 16_384;
/// The type of the account data that tells of a change.
pub(super) const LIST_CHANGED: &str = "org.pilotlight.presence_list";
const V3: &str = "/_matrix/client/v3";
const OURS: &str = "/_matrix/client/unstable/org.pilotlight/presence";

/// Somebody whom the list has to do with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// Who.
    pub user_id: String,
    /// How they are on the list, if they are.
    pub listed: Option<Listed>,
    /// What they may see of the user, or ask to.
    pub observer: Option<Observer>,
}

/// An entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What they answered.
    pub standing: Standing,
    /// The groups they are in (L4).
    pub groups: Vec<String>,
    /// What is kept with the entry (L5).
    pub acl: Option<String>,
}

/// What somebody on the list answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing so far.
    Pending,
    /// Yes.
    Accepted,
    /// No, or no more.
    Denied,
}

/// Somebody else's wish to see the user's presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observer {
    /// Waits for an answer.
    Asked,
    /// Was accepted.
    Accepted,
}

/// What to answer to somebody who asks, or was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// They may see the user's presence.
    Accept,
    /// They may not.
    Deny,
    /// They may no more.
    Revoke,
}

/// Whether somebody is to be in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In it.
    Inside,
    /// Not in it.
    Outside,
}

/// Whether a device is told of others' presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is: the default.
    Started,
    /// It is not.
    Stopped,
}

/// The two answers that make up the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Listed,
    Observers,
}

/// Everybody whom the list has to do with, and how fresh that is.
#[derive(Debug, Default)]
pub struct ContactBook {
    /// By user ID.
    contacts: Vec<Contact>,
    /// The server has lists.
    pub(super) supported: bool,
    /// Something changed since the last reading began.
    due: bool,
    /// A reading failed in a way that may pass; it is tried again with the next sync.
    failed: bool,
    /// How many halves are being read.
    awaited: u8,
}

impl ContactBook {
    /// Everybody, by user ID.
    pub fn all(&self) -> &[Contact] {
        &self.contacts
    }

    /// The groups that somebody is in.
    pub fn groups_of(&self, user: &str) -> &[String] {
        let at = self.contacts.binary_search_by(|known| known.user_id.as_str().cmp(user));
        let listed = at.ok().and_then(|at| self.contacts[at].listed.as_ref());
        listed.map_or(&[], |listed| &listed.groups)
    }

    /// The list changed on the server.
    pub(super) fn handle_changed(&mut self) {
        self.due = self.supported;
    }

    /// Replaces one half by what the server says; answers who changed and who is gone.
    fn replace(&mut self, half: Half, body: &str) -> Option<(Vec<Contact>, Vec<String>)> {
        let said = match half {
            Half::Listed => listed(body)?,
            Half::Observers => observers(body)?,
        };
        let mut next = self.contacts.clone();
        for contact in &mut next {
            match half {
                Half::Listed => contact.listed = None,
                Half::Observers => contact.observer = None,
            }
        }
        for new in said {
            let at = next.binary_search_by(|known| known.user_id.cmp(&new.user_id));
            match at {
                Ok(at) if half == Half::Listed => next[at].listed = new.listed,
                Ok(at) => next[at].observer = new.observer,
                Err(at) if next.len() < MAX_CONTACTS => next.insert(at, new),
                Err(_) => (),
            }
        }
        next.retain(|contact| contact.listed.is_some() || contact.observer.is_some());
        let before = std::mem::replace(&mut self.contacts, next);
        let find = |list: &[Contact], user: &str| list.binary_search_by(|one| one.user_id.as_str().cmp(user));
        let differs = |now: &&Contact| find(&before, &now.user_id).is_ok_and(|at| before[at] == **now);
        let changed = self.contacts.iter().filter(|now| !differs(now)).cloned().collect();
        let gone = before.iter().filter(|was| find(&self.contacts, &was.user_id).is_err());
        let gone = gone.map(|was| was.user_id.clone()).collect();
        Some((changed, gone))
    }
}

impl Client {
    /// Whether the server keeps presence lists; `None` before it has said so.
    pub fn has_presence_list(&self) -> Option<bool> {
        match self.dialect {
            Dialect::Unknown => None,
            Dialect::Pilotlight | Dialect::Stock => Some(self.contacts.supported),
        }
    }

    /// Everybody whom the presence list has to do with.
    pub fn contacts(&self) -> &[Contact] {
        self.contacts.all()
    }

    /// Puts a user on the list, which asks them; a pointer is kept with the entry (L5).
    pub fn add_contact(&mut self, now: Instant, user: &str, acl: Option<&str>) -> Ticket {
        let entry = match acl {
            None => user.to_json(),
            Some(acl) => write::object(|entry| {
                entry.text("user_id", user);
                entry.text("acl", acl);
            }),
        };
        self.change_list(now, "invite", &entry)
    }

    /// Takes a user off the list, and out of its groups.
    pub fn drop_contact(&mut self, now: Instant, user: &str) -> Ticket {
        self.change_list(now, "drop", &user.to_json())
    }

    /// Answers somebody who asks, or takes back what was granted.
    pub fn answer_request(&mut self, now: Instant, user: &str, answer: Answer) -> Ticket {
        let word = match answer {
            Answer::Accept => "accept",
            Answer::Deny => "deny",
            Answer::Revoke => "revoke",
        };
        let body = write::object(|body| body.text("answer", word));
        let path = path(OURS, &["requests", &self.user_id, user]);
        self.list_command(now, Then::Done, "POST", path, Some(body))
    }

    /// Puts somebody of the list into a group, or out of it.
    pub fn place_in_group(&mut self, now: Instant, user: &str, group: &str, placement: Placement) -> Ticket {
        let path = path(OURS, &["groups", &self.user_id, group, "members", user]);
        let (method, body) = match placement {
            Placement::Inside => ("PUT", Some(String::from("{}"))),
            Placement::Outside => ("DELETE", None),
        };
        self.list_command(now, Then::Done, method, path, body)
    }

    /// A new room with everybody of a group; answers with its ID.
    pub fn invite_group(&mut self, now: Instant, group: &str, name: Option<&str>) -> Ticket {
        let body = write::object(|body| body.optional("name", name));
        let path = path(OURS, &["groups", &self.user_id, group, "invite"]);
        self.list_command(now, Then::Room { direct_with: Vec::new() }, "POST", path, Some(body))
    }

    /// With whom presence is shared and who may begin a private chat (L6, L7); answers with all of it.
    pub fn privacy(&mut self, now: Instant) -> Ticket {
        let path = path(OURS, &["settings", &self.user_id]);
        self.list_command(now, Then::Privacy, "GET", path, None)
    }

    /// Sets all of it, as [`privacy`](Self::privacy) answers it; what is absent gets its default.
    pub fn set_privacy(&mut self, now: Instant, privacy: &Object<'_>) -> Ticket {
        let body = renamed(privacy, ["share", "autoAccept", "invites"], ["share", "auto_accept", "invites"]);
        let path = path(OURS, &["settings", &self.user_id]);
        self.list_command(now, Then::Done, "PUT", path, Some(body))
    }

    /// Stops or starts what this device is told of others' presence (L8); what was missed comes at the start.
    pub fn deliver_presence(&mut self, now: Instant, delivery: Delivery) -> Ticket {
        let enabled = if delivery == Delivery::Started { "true" } else { "false" };
        let body = write::object(|body| body.raw("enabled", enabled));
        let path = path(OURS, &[&self.user_id, "delivery"]);
        self.list_command(now, Then::Done, "PUT", path, Some(body))
    }

    /// Reads the list again if it changed.
    pub(super) fn read_contacts(&mut self, now: Instant) {
        if !self.contacts.due || self.contacts.awaited > 0 {
            return;
        }
        self.contacts.due = false;
        self.contacts.awaited = 2;
        let list = path(V3, &["presence", "list", &self.user_id]);
        self.request(now, Awaited::Contacts(Half::Listed), "GET", list, None);
        let requests = path(OURS, &["requests", &self.user_id]);
        self.request(now, Awaited::Contacts(Half::Observers), "GET", requests, None);
    }

    /// A sync has come: what failed may succeed now.
    pub(super) fn retry_contacts(&mut self, now: Instant) {
        self.contacts.due |= std::mem::take(&mut self.contacts.failed);
        self.read_contacts(now);
    }

    pub(super) fn end_contacts(&mut self, half: Half, outcome: Result<&str, Failure>) {
        self.contacts.awaited -= 1;
        match outcome {
            Ok(body) => {
                let Some((changed, removed)) = self.contacts.replace(half, body) else { return };
                if !changed.is_empty() || !removed.is_empty() {
                    self.outputs.push_back(Output::Changed(Change::Contacts { changed, removed }));
                }
            }
            Err(failure) => self.contacts.failed |= failure.is_transient(),
        }
    }

    fn change_list(&mut self, now: Instant, change: &str, entry: &str) -> Ticket {
        let body = write::object(|body| body.raw(change, &["[", entry, "]"].concat()));
        let path = path(V3, &["presence", "list", &self.user_id]);
        self.list_command(now, Then::Done, "POST", path, Some(body))
    }

    fn list_command(
        &mut self,
        now: Instant,
        then: Then,
        method: &'static str,
        path: String,
        body: Option<String>,
    ) -> Ticket {
        if self.has_presence_list() == Some(false) {
            let unsupported = Failure::local("UNSUPPORTED", "this homeserver keeps no presence lists");
            return self.answer_at_once(Err(unsupported));
        }
        self.command(now, then, method, path, body)
    }
}

/// The settings in the application's words.
pub(super) fn privacy_of(body: &str) -> String {
    let body = Object::parse_or_empty(body);
    renamed(&body, ["share", "auto_accept", "invites"], ["share", "autoAccept", "invites"])
}

fn renamed(object: &Object<'_>, from: [&str; 3], to: [&str; 3]) -> String {
    write::object(|fields| {
        for (from, to) in from.into_iter().zip(to) {
            if let Some(json) = object.raw(from) {
                fields.raw(to, json);
            }
        }
    })
}

/// The entries of `GET /presence/list/{userId}`.
fn listed(body: &str) -> Option<Vec<Contact>> {
    let entries = read_elements(&mut Reader::new(body)).ok().filter(|_| body.starts_with('['))?;
    let entries = entries.into_iter().filter_map(|entry| {
        let entry = Object::parse(entry)?;
        let kept = entry.object("org.pilotlight.list");
        let standing = match &*kept.text("state")? {
            "accepted" => Standing::Accepted,
            "denied" => Standing::Denied,
            _ => Standing::Pending,
        };
        let listed = Listed { standing, groups: kept.strings("groups"), acl: kept.string("acl") };
        Some(Contact { user_id: entry.string("sender")?, listed: Some(listed), observer: None })
    });
    Some(entries.collect())
}

/// Who asks and who was accepted, from `GET …/requests/{userId}`.
fn observers(body: &str) -> Option<Vec<Contact>> {
    let body = Object::parse(body)?;
    let each = |field, observer| {
        let users = body.strings(field).into_iter();
        users.map(move |user_id| Contact { user_id, listed: None, observer: Some(observer) })
    };
    Some(each("requests", Observer::Asked).chain(each("observers", Observer::Accepted)).collect())
}

impl ToJson for Contact {
    fn write(&self, writer: &mut Writer) {
        writer.object(|fields| {
            fields.text("userId", &self.user_id);
            if let Some(listed) = &self.listed {
                fields.text("listed", listed.standing.as_str());
                fields.optional("acl", listed.acl.as_deref());
            }
            fields.value("groups", self.listed.as_ref().map_or(&[][..], |listed| &listed.groups));
            let observer = self.observer.map(|observer| match observer {
                Observer::Asked => "asked",
                Observer::Accepted => "accepted",
            });
            fields.optional("observer", observer);
        });
    }
}

impl Standing {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Denied => "denied",
        }
    }
}
