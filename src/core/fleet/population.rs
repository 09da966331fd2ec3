//! Who there is, and who has whom as a contact.

use super::params::Params;
use crate::core::federation::{Asked, Delivery, Fingerprint, Server, User};
use crate::core::rng::Rng;

/// All users, by number: those of server 0 first.
#[derive(Clone, Debug)]
pub(super) struct Population {
    servers: u32,
    users_per_server: u32,
    peers: u32,
    /// The contacts of each user, in order, without repetition.
    pub(super) contacts: Vec<Box<[u32]>>,
    /// On how many servers each user has contacts.
    pub(super) reach: Vec<u32>,
}

impl Population {
    /// Every server has its peers at the same distances around a ring, so that they are mutual; each user
    /// picks half of their contacts at random there, and is picked for about as many.
    pub(super) fn new(params: &Params, rng: &mut Rng) -> Self {
        let (servers, users) = (u64::from(params.servers), u64::from(params.users));
        let steps = steps(servers, u64::from(params.peers));
        // There are no more people within reach.
        let contacts_each = u64::from(params.contacts).min(steps.len() as u64 * users);
        let mut contacts: Vec<Vec<u32>> =
            vec![Vec::new(); usize::try_from(servers * users).expect("checked")];
        for user in 0..servers * users {
            for _ in 0..contacts_each.div_ceil(2) {
                let step = steps[usize::try_from(rng.range(0..steps.len() as u64)).expect("small")];
                let other = (user / users + step) % servers * users + rng.range(0..users);
                let (one, other) =
                    (u32::try_from(user).expect("checked"), u32::try_from(other).expect("checked"));
                contacts[one as usize].push(other);
                contacts[other as usize].push(one);
            }
        }
        let contacts: Vec<Box<[u32]>> = contacts.into_iter().map(unique).collect();
        let server_of = |user: &u32| user / params.users;
        let reach = contacts.iter().map(|contacts| {
            let homes = unique(contacts.iter().map(server_of).collect());
            u32::try_from(homes.len()).expect("fewer servers than 2^32")
        });
        Self {
            servers: params.servers,
            users_per_server: params.users,
            peers: params.peers,
            reach: reach.collect(),
            contacts,
        }
    }

    /// The user with this number, as the engine of `server`, their own or a peer's, knows them.
    pub(super) fn user(&self, server: u32, index: u32) -> User {
        let home = self.server_of(index);
        User {
            index: self.first_handle(server, home) + index % self.users_per_server,
            server: Server(home),
            fingerprint: Fingerprint::of(&index.to_le_bytes()),
        }
    }

    /// The handle that the engine of `server` has for the first user of `home`: each engine counts its own
    /// users first, then those of the peers around it.
    const fn first_handle(&self, server: u32, home: u32) -> u32 {
        let distance = (home + self.servers - server) % self.servers;
        let near = self.peers / 2;
        let place = if distance <= near {
            distance
        } else if self.peers % 2 == 1 && distance * 2 == self.servers {
            near + 1
        } else {
            self.peers + 1 + distance - self.servers
        };
        place * self.users_per_server
    }

    /// Puts the handles of the receiver in place of those of the sender.
    pub(super) fn translate(&self, delivery: &mut Delivery, from: u32) {
        let first = self.first_handle(delivery.peer.0, from);
        let edu = &mut delivery.edu;
        let local = |user: &User| user.index % self.users_per_server;
        for push in edu.push.iter_mut().chain(&mut edu.told) {
            push.user.index = first + local(&push.user);
        }
        for user in &mut edu.withdrawn {
            user.index = first + local(user);
        }
        for asked in edu.poll.iter_mut().chain(&mut edu.unpoll).chain(&mut edu.once) {
            if let Asked::Known(user) = asked {
                user.index = local(user);
            }
        }
    }

    const fn server_of(&self, user: u32) -> u32 {
        user / self.users_per_server
    }

    /// The users of a server.
    pub(super) const fn users_of(&self, server: u32) -> std::ops::Range<u32> {
        server * self.users_per_server..(server + 1) * self.users_per_server
    }
}

/// How far around a ring the peers of a server stand: half of them on either side, and one opposite if they are odd.
fn steps(servers: u64, peers: u64) -> Vec<u64> {
    let sides = (1..=peers / 2).flat_map(|distance| [distance, servers - distance]);
    sides.chain((peers % 2 == 1).then_some(servers / 2)).collect()
}

fn unique(mut numbers: Vec<u32>) -> Box<[u32]> {
    numbers.sort_unstable();
    numbers.dedup();
    numbers.into()
}
