//! Whatever changes between two looks, and however often: a reader shows whom they may see, and nobody else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;
use ruma::{OwnedUserId, RoomId};

use super::{
    rooms::{Encounters, Newcomers},
    since::Sighted,
    tests::{World, member_of, observer, user},
};
use crate::{
    core::{
        list::Relation,
        visibility::{RoomLimit, Share},
    },
    server::{
        change::{
            feed::Change,
            position::{LivePosition, LogPosition},
        },
        event::stored::{Membership, StoredEvent},
    },
};
const USERS: [&str; 5] = ["alice", "bob", "carol", "dave", "eve"];
const ROOMS: [&str; 2] = ["!r:x", "!s:x"];
/// Whoever reads.
const READER: &str = USERS[0];

/// What a client shows, and its token.
#[derive(Clone)]
struct Shown {
    users: BTreeSet<OwnedUserId>,
    log: u64,
    live: LivePosition,
}

/// What happened, and the client that looks at it.
struct History {
    world: World,
    /// Of each room, in order.
    events: [Vec<Arc<StoredEvent>>; 2],
    log: u64,
    ignored: BTreeMap<usize, BTreeSet<OwnedUserId>>,
    shown: Shown,
    /// Earlier ones, to which a client can return.
    kept: Vec<Shown>,
}

impl History {
    fn new(world: World) -> Self {
        let shown = Shown { users: BTreeSet::new(), log: 0, live: world.live.position() };
        let mut history = Self {
            world,
            events: Default::default(),
            log: 0,
            ignored: BTreeMap::new(),
            shown,
            kept: Vec::new(),
        };
        // All but the last in the first room, two of them in the second.
        (0..3).for_each(|who| history.moves(0, who, "join"));
        (0..2).for_each(|who| history.moves(1, who, "join"));
        history.look();
        history
    }

    fn state(&self, room: usize, upto: u64) -> BTreeMap<&str, &Arc<StoredEvent>> {
        let events = self.events[room].iter().filter(|event| event.position.get() <= upto);
        events.filter_map(|event| Some((event.membership()?.0, event))).collect()
    }

    fn is_in(&self, room: usize, who: &str, upto: u64) -> bool {
        let state = self.state(room, upto);
        state
            .get(user(who).as_str())
            .and_then(|event| event.membership())
            .is_some_and(|(_, membership)| membership == Membership::Join)
    }

    /// Who is asked in was not there, or is put out first; who joins again says another name; else nothing happens where
    /// it is so already.
    fn moves(&mut self, room: usize, who: usize, membership: &str) {
        let name = USERS[who];
        if membership == "invite" && self.is_in(room, name, self.log) {
            self.moves(room, who, "leave");
        }
        let before = {
            let state = self.state(room, self.log);
            state.get(user(name).as_str()).and_then(|event| event.membership()).map(|(_, is)| is.as_str())
        };
        if membership != "join" && before.unwrap_or("leave") == membership {
            return;
        }
        self.log += 1;
        let event = member_of(ROOMS[room], self.log, name, membership, before);
        self.world.happens(&event);
        self.events[room].push(event);
    }

    fn ignores(&mut self, who: usize, other: usize) {
        let before = self.ignored.get(&who).cloned().unwrap_or_default();
        let mut now = before.clone();
        if !now.remove(&user(USERS[other])) {
            now.insert(user(USERS[other]));
        }
        self.ignored.insert(who, now.clone());
        self.world.changes(&Change::Ignored { user: user(USERS[who]), before, now });
    }

    /// As the stream does for each room.
    fn note(&self, room: usize, encounters: &mut Encounters) {
        let (id, since) =
            (<&RoomId>::try_from(ROOMS[room]).expect("a room"), LogPosition::new(self.shown.log));
        let sight = &self.world.sight;
        let (was, is) = (self.is_in(room, READER, self.shown.log), self.is_in(room, READER, self.log));
        if !was && is {
            sight.entered(id, encounters);
        }
        if !was {
            return;
        }
        if !is {
            let left = self.state(room, self.log)[user(READER).as_str()].position;
            let state: Vec<_> = self.state(room, left.before().get()).into_values().cloned().collect();
            sight.left(id, &state, since, encounters);
            return;
        }
        let events: Vec<_> =
            self.events[room].iter().filter(|event| event.position > since).cloned().collect();
        let mut newcomers = Newcomers::new();
        sight.stayed(id, &events, since, &mut newcomers, encounters);
        sight.crossed(id, since, &newcomers, encounters);
    }

    fn look(&mut self) {
        let mut encounters = Encounters::default();
        (0..2).for_each(|room| self.note(room, &mut encounters));
        let live = self.world.live.position();
        let reader = user(READER);
        let Sighted { came, went } =
            self.world.sight.since(&reader, &encounters, Some(self.shown.live), live);
        self.shown.users.extend(came);
        self.shown.users.retain(|user| !went.contains(user));
        (self.shown.log, self.shown.live) = (self.log, live);
        let seen = USERS[1..].iter().map(|name| user(name));
        let seen: BTreeSet<_> = seen.filter(|user| self.world.sight.may_see(&reader, user)).collect();
        assert_eq!(self.shown.users, seen, "shown, and to be seen");
    }

    fn step(&mut self, (what, who, other): (usize, usize, usize)) {
        let someone = 1 + who % (USERS.len() - 1);
        match what {
            0..5 => {
                let share = [Share::Nobody, Share::List, Share::SharedRooms][other % 3];
                if self.world.contacts.share_of(&user(USERS[someone])) != share {
                    self.world.shares(USERS[someone], share);
                }
            }
            5 => self.world.row(USERS[someone], READER, observer()),
            6 => self.world.row(USERS[someone], READER, Relation::default()),
            7 => self.ignores(0, someone),
            8 => self.ignores(someone, 0),
            9..12 => self.moves(other % 2, who, "join"),
            12..15 => self.moves(other % 2, who, "leave"),
            15 => self.look(),
            16 => self.moves(other % 2, who, "invite"),
            17 => self.kept.push(self.shown.clone()),
            _ => {
                if !self.kept.is_empty() {
                    self.shown = self.kept[who % self.kept.len()].clone();
                }
            }
        }
    }
}

proptest! {
    // Each has a store of its own.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn l2_l6_a_reader_shows_whom_they_may_see_however_often_it_changed_meanwhile(
        limit in prop::sample::select(vec![RoomLimit::None, RoomLimit::Members(2), RoomLimit::Members(3)]),
        steps in prop::collection::vec((0..19_usize, 0..5_usize, 0..6_usize), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut history = History::new(runtime.block_on(World::new("histories", limit)));
        steps.into_iter().for_each(|step| history.step(step));
        history.look();
    }
}
