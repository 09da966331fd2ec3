//! Who there is, and who has whom as a contact.

use super::params::Params;
use crate::core::federation::{Fingerprint, Server, User};
use crate::core::rng::Rng;

/// All users, by number: those of server 0 first.
#[derive(Clone, Debug)]
pub(super) struct Population {
    users_per_server: u32,
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
        let distances: Vec<u64> = (1..=u64::from(params.peers) / 2).collect();
        let mut contacts: Vec<Vec<u32>> =
            vec![Vec::new(); usize::try_from(servers * users).expect("checked")];
        for user in 0..servers * users {
            for _ in 0..params.contacts.div_ceil(2) {
                let distance =
                    distances[usize::try_from(rng.range(0..distances.len() as u64)).expect("small")];
                let step = if rng.chance(1, 2) { distance } else { servers - distance };
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
        Self { users_per_server: params.users, reach: reach.collect(), contacts }
    }

    /// The user with this number, as engines know them.
    pub(super) fn user(&self, index: u32) -> User {
        let fingerprint = Fingerprint::of(&index.to_le_bytes());
        User { index, server: Server(self.server_of(index)), fingerprint }
    }

    pub(super) const fn server_of(&self, user: u32) -> u32 {
        user / self.users_per_server
    }

    /// The users of a server.
    pub(super) const fn users_of(&self, server: u32) -> std::ops::Range<u32> {
        server * self.users_per_server..(server + 1) * self.users_per_server
    }
}

fn unique(mut numbers: Vec<u32>) -> Box<[u32]> {
    numbers.sort_unstable();
    numbers.dedup();
    numbers.into()
}
