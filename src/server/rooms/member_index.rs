//! Who is in which room, by room and by user: the maps, and how they change.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName, UserId};

use crate::server::{change::position::LogPosition, event::stored::Membership};

/// Bounded by the number of members that are joined, invited or knocking.
#[derive(Debug)]
pub(super) struct Index {
    /// The name of this server.
    own: OwnedServerName,
    pub(super) users: HashMap<OwnedUserId, OfUser>,
    pub(super) rooms: HashMap<OwnedRoomId, Present>,
    /// How many are joined to each room, by its number.
    pub(super) sizes: Vec<usize>,
    /// Numbers of rooms that are gone.
    pub(super) free: Vec<u32>,
}

#[derive(Debug, Default)]
pub(super) struct OfUser {
    /// The rooms that the user is joined to, invited to or knocking at.
    pub(super) all: BTreeMap<OwnedRoomId, Standing>,
    /// The numbers of those that the user is joined to, in order: so that what two users share is found by
    /// comparing numbers, for every presence change that is or is not delivered.
    pub(super) joined: Vec<u32>,
    /// By whom the user is invited, for each room that they are invited to.
    pub(super) invited_by: BTreeMap<OwnedRoomId, OwnedUserId>,
}

/// What somebody is in a room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) is: Membership,
    /// Where in the log that was said last.
    pub(super) said_at: LogPosition,
    /// Where in the log they became it; in an earlier run of the server: not after that.
    pub(super) since: LogPosition,
}

#[derive(Debug)]
pub(super) struct Present {
    /// Stands for the room as long as it is here.
    pub(super) number: u32,
    pub(super) joined: BTreeSet<OwnedUserId>,
    /// Those of them who are of this server: each event is told to them, and most of a large room may be of others.
    pub(super) ours: BTreeSet<OwnedUserId>,
    /// The servers of those who are joined, and of how many each is. Replaced as a whole where somebody holds it.
    pub(super) servers: Arc<BTreeMap<OwnedServerName, usize>>,
    pub(super) invited: usize,
    /// Where in the log the room grew beyond the limit, or shrank to it, the last time and the time before;
    /// 0: not in this run.
    pub(super) crossed: [LogPosition; 2],
}

impl Index {
    pub(super) fn new(own: &ServerName) -> Self {
        let (users, rooms) = (HashMap::new(), HashMap::new());
        Self { own: own.to_owned(), users, rooms, sizes: Vec::new(), free: Vec::new() }
    }

    pub(super) fn size(&self, room: &RoomId) -> usize {
        self.rooms.get(room).map_or(0, |p| p.joined.len())
    }

    pub(super) fn joined_by(&self, user: &UserId) -> impl Iterator<Item = &OwnedRoomId> {
        let rooms = self.users.get(user).into_iter().flat_map(|of_user| &of_user.all);
        rooms.filter(|(_, standing)| standing.is == Membership::Join).map(|(room, _)| room)
    }

    /// The numbers of the rooms that both are joined to.
    pub(super) fn shared(&self, a: &UserId, b: &UserId) -> impl Iterator<Item = u32> {
        let joined = |user| self.users.get(user).map_or(&[][..], |of_user| &of_user.joined[..]);
        let (mut of_a, mut of_b) = (joined(a), joined(b));
        std::iter::from_fn(move || {
            while let ([first_a, rest_a @ ..], [first_b, rest_b @ ..]) = (of_a, of_b) {
                if first_a <= first_b {
                    of_a = rest_a;
                }
                if first_b <= first_a {
                    of_b = rest_b;
                }
                if first_a == first_b {
                    return Some(*first_a);
                }
            }
            None
        })
    }

    pub(super) fn set(
        &mut self,
        user: &UserId,
        room: &RoomId,
        (membership, said_at): (Membership, LogPosition),
        by: &UserId,
    ) {
        let Self { own, users, rooms, sizes, free } = self;
        let present = rooms.entry(room.to_owned()).or_insert_with(|| Present::new(sizes, free));
        let of_user = users.entry(user.to_owned()).or_default();
        let before = match membership {
            Membership::Invite | Membership::Join | Membership::Knock => {
                let before = of_user.all.get(room).copied();
                let since =
                    before.filter(|before| before.is == membership).map_or(said_at, |before| before.since);
                of_user.all.insert(room.to_owned(), Standing { is: membership, said_at, since });
                before
            }
            Membership::Leave | Membership::Ban => of_user.all.remove(room),
        };
        let before = before.map(|standing| standing.is);
        if before == Some(Membership::Invite) {
            present.invited -= 1;
            of_user.invited_by.remove(room);
        }
        if membership == Membership::Invite {
            present.invited += 1;
            of_user.invited_by.insert(room.to_owned(), by.to_owned());
        }
        match (of_user.joined.binary_search(&present.number), membership == Membership::Join) {
            (Err(at), true) => {
                of_user.joined.insert(at, present.number);
                present.joined.insert(user.to_owned());
                if user.server_name() == own {
                    present.ours.insert(user.to_owned());
                }
                present.count_server(user.server_name(), |count| count + 1);
            }
            (Ok(at), false) => {
                of_user.joined.remove(at);
                present.joined.remove(user);
                present.ours.remove(user);
                present.count_server(user.server_name(), |count| count.saturating_sub(1));
            }
            (Ok(_), true) | (Err(_), false) => {}
        }
        sizes[present.number as usize] = present.joined.len();
        if of_user.all.is_empty() {
            users.remove(user);
        }
        if present.joined.is_empty() && present.invited == 0 {
            free.push(present.number);
            rooms.remove(room);
        }
    }
}

impl Present {
    /// A room without members, with a number that no other has.
    fn new(sizes: &mut Vec<usize>, free: &mut Vec<u32>) -> Self {
        let number = free.pop().unwrap_or_else(|| {
            sizes.push(0);
            u32::try_from(sizes.len() - 1).expect("fewer than 2^32 rooms")
        });
        let (joined, ours, servers) = (BTreeSet::new(), BTreeSet::new(), Arc::default());
        Self { number, joined, ours, servers, invited: 0, crossed: [LogPosition::START; 2] }
    }

    fn count_server(&mut self, server: &ServerName, change: impl FnOnce(usize) -> usize) {
        let servers = Arc::make_mut(&mut self.servers);
        let count = change(servers.get(server).copied().unwrap_or_default());
        if count == 0 {
            servers.remove(server);
        } else {
            servers.insert(server.to_owned(), count);
        }
    }
}
