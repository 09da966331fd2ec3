//! Whatever changes between two looks, and however often: a reader shows whom they may see, as they are, and nobody else.
//!
//! A look ends at a position, and asks whom the reader may see when it is there: other things have happened by then.

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
    /// How often each had changed what they show.
    users: BTreeMap<OwnedUserId, usize>,
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
    /// Where each changed what they show the last time, and how often they did.
    board: BTreeMap<OwnedUserId, (LivePosition, usize)>,
    shown: Shown,
    /// Earlier ones, to which a client can return.
    kept: Vec<Shown>,
}

impl History {
    fn new(world: World) -> Self {
        let shown = Shown { users: BTreeMap::new(), log: 0, live: world.live.position() };
        let mut history = Self {
            world,
            events: Default::default(),
            log: 0,
            ignored: BTreeMap::new(),
            board: BTreeMap::new(),
            shown,
            kept: Vec::new(),
        };
        (1..USERS.len()).for_each(|who| history.acts(who));
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

    /// `who` shows something else.
    fn acts(&mut self, who: usize) {
        let position = self.world.live.advance();
        let entry = self.board.entry(user(USERS[who])).or_default();
        *entry = (position, entry.1 + 1);
    }

    /// As the stream does for each room.
    fn note(&self, room: usize, upto: u64, encounters: &mut Encounters) {
        let id = <&RoomId>::try_from(ROOMS[room]).expect("a room");
        let (sight, reader) = (&self.world.sight, user(READER));
        let (was, is) = (self.is_in(room, READER, self.shown.log), self.is_in(room, READER, upto));
        if !was && is {
            sight.entered(id, encounters);
        }
        let within = |after: u64| {
            let events = self.events[room].iter();
            events.filter(move |event| (after + 1..=upto).contains(&event.position.get()))
        };
        if !was {
            return;
        }
        let since = LogPosition::new(self.shown.log);
        if !is {
            let left = self.state(room, upto)[reader.as_str()].position;
            let state: Vec<_> = self.state(room, left.before().get()).into_values().cloned().collect();
            return sight.left(id, &state, since, encounters);
        }
        let events: Vec<_> = within(self.shown.log).cloned().collect();
        let mut newcomers = Newcomers::new();
        sight.stayed((&reader, id), &events, since, &mut newcomers, encounters);
        sight.crossed(id, since, &newcomers, encounters);
    }

    /// A look up to there, whatever has happened since.
    fn look_up_to(&mut self, log: u64, live: LivePosition) {
        let (reader, since) = (user(READER), self.shown.live);
        let mut encounters = Encounters::default();
        (0..2).for_each(|room| self.note(room, log, &mut encounters));
        let sight = &self.world.sight;
        let upto = (LogPosition::new(log), live);
        let Sighted { came, mut went } = sight.since(&reader, &encounters, Some(since), upto);
        let later = self.events.iter().flatten().filter(|event| event.position.get() > log);
        let later: Vec<_> = later.cloned().collect();
        let stretch = (LogPosition::new(self.shown.log), LogPosition::new(log));
        went.extend(sight.parted_later(&reader, &later, since, stretch));
        let changed = self.board.iter().filter(|(_, (at, _))| *at > since && *at <= live);
        let told = changed.map(|(user, _)| user.clone()).chain(came);
        for user in told.filter(|user| sight.may_see_since(&reader, user, upto)) {
            let (_, version) = self.board[&user];
            self.shown.users.insert(user, version);
        }
        self.shown.users.retain(|user, _| !went.contains(user));
        (self.shown.log, self.shown.live) = (log, live);
    }

    fn look(&mut self) {
        self.look_up_to(self.log, self.world.live.position());
        let (reader, seen) = (user(READER), self.board.iter());
        let seen: BTreeMap<_, _> = seen
            .filter(|(user, _)| self.world.sight.may_see(&reader, user))
            .map(|(user, (_, version))| (user.clone(), *version))
            .collect();
        assert_eq!(self.shown.users, seen, "shown, and to be seen");
    }

    /// A look that was on its way when the last things happened.
    fn looks_late(&mut self, log: usize, live: usize) {
        let log = self.log.saturating_sub(log as u64).max(self.shown.log);
        let live = self.world.live.position().get().saturating_sub(live as u64);
        self.look_up_to(log, LivePosition::new(live).max(self.shown.live));
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
            18 | 19 => self.looks_late(who, other),
            20 => self.acts(someone),
            _ => {
                if !self.kept.is_empty() {
                    self.shown = self.kept[who % self.kept.len()].clone();
                }
            }
        }
    }
}

#[test]
fn l2_who_left_and_came_back_between_two_looks_sees_again_whom_a_look_in_between_took_away() {
    let cases: [&[(usize, usize, usize)]; 2] =
        [&[(12, 0, 0), (18, 1, 0), (9, 0, 2)], &[(12, 0, 0), (18, 1, 0), (9, 0, 2), (0, 0, 0)]];
    for steps in cases {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut history = History::new(runtime.block_on(World::new("came-back", RoomLimit::None)));
        steps.iter().for_each(|step| history.step(*step));
        history.look();
    }
}

proptest! {
    // Each has a store of its own.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn l2_l6_a_reader_shows_whom_they_may_see_however_often_it_changed_meanwhile(
        limit in prop::sample::select(vec![RoomLimit::None, RoomLimit::Members(2), RoomLimit::Members(3)]),
        steps in prop::collection::vec((0..22_usize, 0..5_usize, 0..6_usize), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut history = History::new(runtime.block_on(World::new("histories", limit)));
        steps.into_iter().for_each(|step| history.step(step));
        history.look();
    }
}
