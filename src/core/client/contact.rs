//! One entry of the presence list (L1 to L5): as the server says it, and as an application is given it.

use crate::core::wire::object::{Object, read_elements};
use crate::core::wire::read::Reader;
use crate::core::wire::write::{ToJson, Writer};

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

impl Standing {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Denied => "denied",
        }
    }
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

/// The entries of `GET /presence/list/{userId}`.
pub(super) fn listed(body: &str) -> Option<Vec<Contact>> {
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
pub(super) fn observers(body: &str) -> Option<Vec<Contact>> {
    let body = Object::parse(body)?;
    let each = |field, observer| {
        let users = body.strings(field).into_iter();
        users.map(move |user_id| Contact { user_id, listed: None, observer: Some(observer) })
    };
    Some(each("requests", Observer::Asked).chain(each("observers", Observer::Accepted)).collect())
}
