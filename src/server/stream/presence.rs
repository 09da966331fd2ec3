//! The presence part of an answer: who changed, whom the reader came to see, and whom they ceased to.

use std::collections::{BTreeMap, BTreeSet};

use ruma::OwnedUserId;

use super::{encounters::Encounters, reader::Reader};
use crate::{
    core::visibility::Share,
    server::{change::position::LivePosition, json::Writer, presence::write_unknown},
};

impl Reader<'_> {
    /// Writes the last state of those whose presence changed and of those whom the reader sees for the
    /// first time; and of those whom they cannot see any longer, once, that nothing is known (L2). A
    /// filter's limit is not applied here: a state that was left out would never be told.
    pub(super) fn write_presence(&self, out: &mut Writer, encounters: Encounters) -> bool {
        let deliveries = &self.app.presence.deliveries;
        let wanted = self.filter.any_presence().then(|| deliveries.since(self.session, self.live_since()));
        let Some(since) = wanted.flatten() else { return false };
        let part = out.open("presence");
        let events = out.open_array("events");
        let me = &self.session.user;
        let mut written = 0;
        if self.filter.presence(me)
            && let Some(own) = self.app.presence.own_event(me, since, self.now)
        {
            out.element_with(|out| own.write(out, self.now));
            written += 1;
        }
        let mut others: BTreeMap<OwnedUserId, _> = BTreeMap::new();
        for (user, event) in self.app.board.changed(since, self.upto.live) {
            others.insert((*user).clone(), event);
        }
        let hidden = self.out_of_sight(&encounters, since);
        let by_list = self.app.contacts.sight_changes(me, since, self.upto.live);
        let by_share =
            self.share_changes(since).filter(|(user, before)| !self.app.might_see(me, user, *before));
        let by_share = by_share.map(|(user, _)| user);
        for user in encounters.met.into_iter().chain(encounters.crossed).chain(by_list).chain(by_share) {
            if let (false, Some(event)) = (others.contains_key(&user), self.app.board.event(&user)) {
                others.insert(user, event);
            }
        }
        for (user, event) in &others {
            if user != me && self.filter.presence(user) && self.app.may_see(me, user) {
                out.element_with(|out| event.write(out, self.now));
                written += 1;
            }
        }
        for user in hidden.iter().filter(|user| self.filter.presence(user)) {
            out.element_with(|out| write_unknown(out, user.as_str()));
            written += 1;
        }
        self.app.metrics.presence_delivered.add(written);
        out.end(events);
        out.end(part)
    }

    /// Those whom the reader could see at the token, and cannot see any longer.
    fn out_of_sight(&self, encounters: &Encounters, since: LivePosition) -> BTreeSet<OwnedUserId> {
        let (me, upto) = (&self.session.user, self.upto.live);
        if self.since.is_none() {
            return BTreeSet::new();
        }
        let contacts = &self.app.contacts;
        let mut lost: BTreeSet<OwnedUserId> = if since == LivePosition::START {
            self.perhaps_seen_before_the_start()
        } else {
            let by_share =
                self.share_changes(since).filter(|(user, before)| self.app.might_see(me, user, *before));
            let by_list = contacts.sight_changes(me, since, upto);
            by_list.into_iter().chain(by_share.map(|(user, _)| user)).collect()
        };
        let by_room = encounters.dimmed.iter();
        lost.extend(by_room.filter(|user| contacts.share_at(user, since) == Share::SharedRooms).cloned());
        lost.retain(|user| user != me && !self.app.may_see(me, user));
        lost
    }

    /// Those who share with others than at the token, and with whom they shared then.
    fn share_changes(&self, since: LivePosition) -> impl Iterator<Item = (OwnedUserId, Share)> {
        let contacts = &self.app.contacts;
        let changed = contacts.share_changes(since, self.upto.live).into_iter();
        changed.map(move |user| {
            let before = contacts.share_at(&user, since);
            (user, before)
        })
    }

    /// What this run of the server knows of changes begins with it. A reader with a token of an earlier one,
    /// or whose device was told nothing for a while, is told again whom they cannot see, of all that they may have seen then.
    fn perhaps_seen_before_the_start(&self) -> BTreeSet<OwnedUserId> {
        let me = &self.session.user;
        let mut users: BTreeSet<OwnedUserId> = self.app.contacts.known_to(me).into_iter().collect();
        self.app.rooms.members.each_room_mate(me, |user| {
            users.insert(user.clone());
        });
        users
    }
}
