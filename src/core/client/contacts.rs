//! The presence list as this client knows it (L1 to L4): who is on it, who asks, who may see the user.
//!
//! The server keeps it, and tells by account data that it changed; then both its halves are read again, and
//! what differs from before is told (W4). Only this project's server has such lists; on others the calls
//! fail with `UNSUPPORTED`.

use super::contact::Contact;
use super::output::{Change, Failure, Output, Ticket};
use super::pending::{Awaited, Half, Then};
use super::privacy;
use super::role::{Client, Dialect};
use crate::core::time::Instant;
use crate::core::wire::object::Object;
use crate::core::wire::path::path;
use crate::core::wire::write::{self, ToJson};

/// The type of the account data that tells of a change.
pub(super) const LIST_CHANGED: &str = "org.pilotlight.presence_list";
const V3: &str = "/_matrix/client/v3";
const OURS: &str = "/_matrix/client/unstable/org.pilotlight/presence";

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
        let body = privacy::for_wire(privacy);
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
