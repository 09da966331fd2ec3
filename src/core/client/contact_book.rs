//! Everybody on the presence list or asking to observe, and what differs when it is read again (W4).

use super::contact::{Contact, listed, observers};
use super::pending::Half;

/// The most people remembered; beyond it new ones are not taken in. Above what this server keeps for a user.
const MAX_CONTACTS: usize = 16_384;

/// Everybody whom the list has to do with, and how fresh that is.
#[derive(Debug, Default)]
pub struct ContactBook {
    /// By user ID.
    contacts: Vec<Contact>,
    /// The server has lists.
    pub(super) supported: bool,
    /// Something changed since the last reading began.
    pub(super) due: bool,
    /// A reading failed in a way that may pass; it is tried again with the next sync.
    pub(super) failed: bool,
    /// How many halves are being read.
    pub(super) awaited: u8,
}

impl ContactBook {
    /// Everybody, by user ID.
    pub fn all(&self) -> &[Contact] {
        &self.contacts
    }

    /// What the list says of somebody.
    pub(super) fn of(&self, user: &str) -> Option<&Contact> {
        let at = self.contacts.binary_search_by(|known| known.user_id.as_str().cmp(user));
        at.ok().map(|at| &self.contacts[at])
    }

    /// The groups that somebody is in.
    pub fn groups_of(&self, user: &str) -> &[String] {
        let listed = self.of(user).and_then(|contact| contact.listed.as_ref());
        listed.map_or(&[], |listed| &listed.groups)
    }

    /// The list changed on the server.
    pub(super) fn handle_changed(&mut self) {
        self.due = self.supported;
    }

    /// Replaces one half by what the server says; answers who changed and who is gone.
    pub(super) fn replace(&mut self, half: Half, body: &str) -> Option<(Vec<Contact>, Vec<String>)> {
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
