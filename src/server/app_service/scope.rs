//! What concerns an application service: by the rooms that it is told of, and by who and what an event is about.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};

use crate::server::{
    event::stored::{Membership, StoredEvent},
    registration::Registration,
};

/// What one application service is told of, as of a place in the log.
///
/// Bounded by the rooms that its users are in, and those in its namespaces.
#[derive(Debug)]
pub(super) struct Scope {
    registration: Arc<Registration>,
    /// Its users in each room that any of them is joined to.
    joined: BTreeMap<OwnedRoomId, BTreeSet<OwnedUserId>>,
    /// The rooms of which it knows that it is told of them.
    known: BTreeSet<OwnedRoomId>,
}

/// What an event is to an application service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Concern {
    /// Nothing.
    None,
    /// It is told.
    Told,
    /// It is told, and from here on of the whole room.
    Begins,
    /// It is told, and then no more of the room.
    Ends,
}

impl Scope {
    /// Of an application service that knows of these rooms that it is told of them, whose users are not in any.
    pub(super) fn new(registration: Arc<Registration>, known: BTreeSet<OwnedRoomId>) -> Self {
        Self { registration, joined: BTreeMap::new(), known }
    }

    /// Takes in that a user is or is not in a room, without telling.
    pub(super) fn set(&mut self, room: &RoomId, user: &UserId, is_joined: bool) {
        if !self.registration.has_user(user) {
            return;
        }
        if is_joined {
            self.joined.entry(room.to_owned()).or_default().insert(user.to_owned());
        } else if let Some(users) = self.joined.get_mut(room) {
            users.remove(user);
            if users.is_empty() {
                self.joined.remove(room);
            }
        }
    }

    /// Rooms with its users in them.
    pub(super) fn rooms(&self) -> impl Iterator<Item = &OwnedRoomId> {
        self.joined.keys()
    }

    /// Its users in a room.
    pub(super) fn users_in(&self, room: &RoomId) -> impl Iterator<Item = &OwnedUserId> {
        self.joined.get(room).into_iter().flatten()
    }

    /// Whether it is told of the room, which has an alias of its own or has not.
    pub(super) fn has(&self, room: &RoomId, has_alias: bool) -> bool {
        has_alias || self.joined.contains_key(room) || self.registration.has_room(room)
    }

    /// Whether it knows that it is told of the room.
    pub(super) fn knows(&self, room: &RoomId) -> bool {
        self.known.contains(room)
    }

    /// What the next event of the log is to it.
    pub(super) fn take(&mut self, event: &StoredEvent, has_alias: bool) -> Concern {
        let room = &event.room_id;
        let had = self.has(room, has_alias);
        let mut is_about = self.registration.has_user(&event.sender);
        if let Some((user, membership)) = event.membership()
            && let Ok(user) = <&UserId>::try_from(user)
        {
            is_about |= self.registration.has_user(user);
            self.set(room, user, membership == Membership::Join);
        }
        let has = self.has(room, has_alias);
        if has && self.known.insert(room.clone()) {
            Concern::Begins
        } else if !has && self.known.remove(room) {
            Concern::Ends
        } else if had || has || is_about {
            Concern::Told
        } else {
            Concern::None
        }
    }

    /// The rooms of which it does not know that it is told of them (it does from here on), and those of which it wrongly
    /// does, out of those that it is told of.
    pub(super) fn settle(&mut self, told_of: BTreeSet<OwnedRoomId>) -> (Vec<OwnedRoomId>, Vec<OwnedRoomId>) {
        let began = told_of.difference(&self.known).cloned().collect();
        let ended = self.known.difference(&told_of).cloned().collect();
        self.known = told_of;
        (began, ended)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ruma::{room_id, server_name};

    use super::*;
    use crate::server::{
        change::position::{LogPosition, TimelinePosition},
        event::stored::Columns,
        registration::parse,
    };

    fn registration(rooms: &str) -> Arc<Registration> {
        let text = format!(
            "id: irc\nurl: null\nas_token: a\nhs_token: b\nsender_localpart: bot\nnamespaces:\n  \
             users: [{{exclusive: true, regex: '@_irc_'}}]\n  rooms: [{rooms}]\n"
        );
        Arc::new(parse(Path::new("irc.yaml"), &text, server_name!("x")).expect("is a registration"))
    }

    fn event(sender: &str, member: Option<(&str, &str)>) -> StoredEvent {
        let content = member.map_or_else(String::new, |(_, is)| format!(r#""membership":"{is}""#));
        StoredEvent::from(Columns {
            position: LogPosition::new(1),
            timeline: TimelinePosition::new(1),
            event_id: ruma::event_id!("$e").to_owned(),
            room_id: room_id!("!r:x").to_owned(),
            kind: if member.is_some() { "m.room.member" } else { "m.room.message" }.into(),
            state_key: member.map(|(user, _)| user.to_owned()),
            sender: sender.try_into().expect("a user"),
            origin_server_ts: 0,
            depth: 1,
            pdu: format!(r#"{{"content":{{{content}}}}}"#).into(),
            replaces: None,
            redacted_because: None,
            transaction: None,
            ours: false,
            unasked: false,
            hidden: false,
            lacks: false,
        })
    }

    #[test]
    fn what_concerns_an_application_service_goes_by_its_users_and_rooms() {
        use Concern::{Begins, Ends, None as Nothing, Told};
        let member = |by: &str, who: &'static str, is: &'static str| event(by, Some((who, is)));
        let say = |by: &str| event(by, None);
        let (a, b, ghost, other) = ("@a:x", "@b:x", "@_irc_g:x", "@_irc_h:x");
        let steps = [
            (say(a), false, Nothing),
            (member(a, a, "join"), false, Nothing),
            // Invites to its users, before any is in the room.
            (member(a, ghost, "invite"), false, Told),
            (say(a), false, Nothing),
            (member(ghost, ghost, "join"), false, Begins),
            (say(a), false, Told),
            (member(a, b, "invite"), false, Told),
            (member("@bot:x", "@bot:x", "join"), false, Told),
            (member(ghost, ghost, "leave"), false, Told),
            (say(b), false, Told),
            (member(a, "@bot:x", "ban"), false, Ends),
            (say(b), false, Nothing),
            // Who only looks like one of its users.
            (member("@_irc_g:elsewhere", "@_irc_g:elsewhere", "join"), false, Nothing),
            // It got an alias, which it had not before.
            (say(b), true, Begins),
            (say(b), true, Told),
            (say(b), false, Ends),
            (member(a, other, "invite"), false, Told),
            (member(other, other, "leave"), false, Told),
        ];
        let mut scope = Scope::new(registration(""), BTreeSet::new());
        for (n, (event, has_alias, concern)) in steps.into_iter().enumerate() {
            assert_eq!(scope.take(&event, has_alias), concern, "step {n}");
        }
        let mut all = Scope::new(registration("{exclusive: false, regex: '!r'}"), BTreeSet::new());
        assert_eq!(all.take(&say(a), false), Begins);
        assert_eq!(all.take(&say(a), false), Told);
        assert_eq!(all.take(&member(ghost, ghost, "join"), false), Told);
        assert_eq!(all.take(&member(ghost, ghost, "leave"), false), Told);
    }

    #[test]
    fn rooms_that_came_and_went_without_an_event_are_noticed() {
        let (old, kept, new) = (room_id!("!o:x"), room_id!("!k:x"), room_id!("!n:x"));
        let of = |rooms: &[&RoomId]| rooms.iter().map(|room| (*room).to_owned()).collect::<BTreeSet<_>>();
        let mut scope = Scope::new(registration(""), of(&[old, kept]));
        assert_eq!(scope.settle(of(&[kept, new])), (vec![new.to_owned()], vec![old.to_owned()]));
        assert_eq!(scope.settle(of(&[kept, new])), (vec![], vec![]));
        assert!(scope.knows(new) && !scope.knows(old));
    }
}
