//! Who may see whom (L6): the one question that every way out asks.

use std::sync::Arc;

use ruma::{OwnedServerName, ServerName, UserId};

use super::lists::ListTies;
use crate::{
    core::visibility::{self, Share, Ties},
    server::{
        change::{
            feed::Change,
            position::{Live, LivePosition, LogPosition},
        },
        contacts::lists::Contacts,
        list::ListRow,
        rooms::Members,
    },
};

/// Who sees whom, by lists and by rooms.
#[derive(Debug)]
pub struct Sight {
    pub(super) contacts: Arc<Contacts>,
    pub(super) members: Arc<Members>,
    pub(super) server_name: OwnedServerName,
    pub(super) by_list: ListTies,
}

impl Sight {
    /// As it is when the server starts.
    pub fn new(
        contacts: Arc<Contacts>,
        members: Arc<Members>,
        server_name: OwnedServerName,
        live: Arc<Live>,
    ) -> Self {
        let by_list = ListTies::new(contacts.shares(), live);
        Self { contacts, members, server_name, by_list }
    }

    /// Whose presence is this server's own to tell.
    pub fn server_name(&self) -> &ServerName {
        &self.server_name
    }

    /// Whether `observer` may see the presence of `observed`. Of a user of another server: as far as that
    /// server tells, and while they are on the observer's list or share a room. Of two of whom one ignores the other, neither.
    pub fn may_see(&self, observer: &UserId, observed: &UserId) -> bool {
        self.may_see_by(observer, observed, None)
    }

    /// Whether `observer` may see the presence of `observed`, and could all the time since a place in the log and among
    /// what lives: to which a look goes that asks by now. Who came in sight after it is told with the next look, which
    /// finds that, and what became of it; told before, they could be out of sight again by then without a trace.
    pub fn may_see_since(
        &self,
        observer: &UserId,
        observed: &UserId,
        upto: (LogPosition, LivePosition),
    ) -> bool {
        self.may_see(observer, observed)
            && (self.is_settled(upto) || self.could_see_since(observer, observed, upto))
    }

    /// Whether no room ties others than at this place, and nobody shares with others.
    pub fn is_settled(&self, (log, live): (LogPosition, LivePosition)) -> bool {
        self.members.latest() <= log && self.by_list.is_settled(live)
    }

    /// Ties by list are left out of account: whoever's changed is told again, whatever was told.
    fn could_see_since(
        &self,
        observer: &UserId,
        observed: &UserId,
        (log, live): (LogPosition, LivePosition),
    ) -> bool {
        if observer == observed {
            return true;
        }
        if observed.server_name() != self.server_name {
            return self.contacts.observes(observer, observed)
                || self.members.shared_room_since(observer, observed, log).is_some();
        }
        let (accepted, _) = self.contacts.standing(observer, observed);
        let share = self.by_list.shared_since(observed, live);
        let smallest_shared_room = self.members.shared_room_since(observer, observed, log);
        visibility::may_see(Ties { accepted, smallest_shared_room }, share, self.members.limit())
    }

    /// Whether `observer` might see the presence of `observed`, if they shared with `share`.
    pub fn might_see(&self, observer: &UserId, observed: &UserId, share: Share) -> bool {
        self.may_see_by(observer, observed, Some(share))
    }

    /// Runs `each` for everybody who may see `observed`, and for `observed`; for some more than once, and under
    /// a lock: it must be quick.
    pub fn each_observer(&self, observed: &UserId, each: impl FnMut(&UserId)) {
        self.each_observer_by(observed, self.contacts.share_of(observed), each);
    }

    /// The same for everybody who may see `observed` if they share with `share`.
    pub fn each_observer_by(&self, observed: &UserId, share: Share, mut each: impl FnMut(&UserId)) {
        each(observed);
        if share != Share::Nobody {
            for observer in self.contacts.observers(observed) {
                each(&observer);
            }
        }
        if share == Share::SharedRooms {
            self.members.each_room_mate(observed, |user| each(user));
        }
    }

    /// Runs `each` for those who came to see somebody by one of these rows, or ceased to.
    pub fn each_affected(&self, rows: &[ListRow], mut each: impl FnMut(&UserId)) {
        for (observer, _) in rows.iter().filter_map(|row| self.affected(row)) {
            each(observer);
        }
    }

    /// Takes note that a change is about to be followed, by memory of the lists first.
    pub fn expect(&self, change: &Change) {
        if let Change::PresenceSettings { settings, shared_before, .. } = change
            && settings.share != *shared_before
        {
            self.by_list.expect_share();
        }
    }

    /// Takes note of who came to see whom by a list, or ceased to. Memory of the lists has followed already.
    pub fn follow(&self, change: &Change) {
        match change {
            Change::PresenceList { rows, .. } => {
                self.by_list.handle_ties(rows.iter().filter_map(|row| self.affected(row)));
            }
            Change::PresenceSettings { owner, settings, shared_before }
                if settings.share != *shared_before =>
            {
                self.by_list.handle_share(owner, settings.share);
            }
            Change::Ignored { user, before, now } => {
                let others = before.symmetric_difference(now).map(|other| (&**user, &**other));
                self.by_list.handle_ties(others.flat_map(|(user, other)| [(user, other), (other, user)]));
            }
            _ => {}
        }
    }

    /// Who came to see whom by a row, or ceased to: observer, observed. What users of other servers see, their
    /// servers see to; of those of this one the list of the observed counts.
    fn affected<'a>(&self, row: &'a ListRow) -> Option<(&'a UserId, &'a UserId)> {
        if row.contact.server_name() == self.server_name {
            row.changes_observer().then_some((&*row.contact, &*row.owner))
        } else {
            row.changes_observed().then_some((&*row.owner, &*row.contact))
        }
    }

    fn may_see_by(&self, observer: &UserId, observed: &UserId, share: Option<Share>) -> bool {
        if self.contacts.are_apart(observer, observed) {
            return false;
        }
        if observed.server_name() != self.server_name {
            let by_room = || self.members.shared_room(observer, observed);
            return self.contacts.observes(observer, observed)
                || by_room().is_some_and(|size| self.members.limit().counts(size));
        }
        if observer == observed {
            return true;
        }
        let (accepted, share_now) = self.contacts.standing(observer, observed);
        let share = share.unwrap_or(share_now);
        let by_room = share == Share::SharedRooms && !accepted;
        let smallest_shared_room = by_room.then(|| self.members.shared_room(observer, observed)).flatten();
        visibility::may_see(Ties { accepted, smallest_shared_room }, share, self.members.limit())
    }
}
