//! Reading a list or a status without a stream open: who is not known is asked for, once, and waited for a moment (L8).

use std::time::Duration;

use ruma::{OwnedUserId, UserId};

use super::presence::{Inner, Presence};
use crate::core::time::Instant;

/// How long whoever reads waits for the answers of other servers. A first connection to a server, whose keys have to be
/// asked for as well, takes some of it; whoever is not told by then is unknown.
const PATIENCE: Duration = Duration::from_secs(2);

impl Presence {
    /// Somebody reads what `users` of other servers show, whom they may see. Returns when all of them are known that will be
    /// soon.
    ///
    /// No stream is opened by it and no promise asked for: what is told holds for one short watchdog. A server is asked
    /// for a user once in that time, however many read.
    pub async fn enquire(&self, users: impl Iterator<Item = OwnedUserId>) {
        let mut taken = self.taken.subscribe();
        let awaited = self.input(|inner, now| inner.enquire(users, now));
        let told = async {
            while !awaited.iter().all(|user| self.is_told(user)) {
                if taken.changed().await.is_err() {
                    break;
                }
            }
        };
        // Of real time, like all that a peer may take: it is the network that is waited for.
        if tokio::time::timeout(PATIENCE, told).await.is_err() {
            tracing::debug!("not everybody who was asked for is known");
        }
    }

    fn is_told(&self, user: &UserId) -> bool {
        let inner = self.lock();
        !inner.role.is_awaited(user.as_str()) && !inner.profiles.is_held(user)
    }
}

impl Inner {
    /// Asks for those of `users` of whom nothing is known; answers for whom to wait.
    fn enquire(&mut self, users: impl Iterator<Item = OwnedUserId>, now: Instant) -> Vec<OwnedUserId> {
        let users: Vec<_> = users.collect();
        let awaited = self.role.handle_enquiries(now, users.iter().map(|user| user.as_str()));
        let is_fresh = |since| now.since(since) < PATIENCE;
        let fresh = awaited.into_iter().filter(|(_, since)| is_fresh(*since));
        fresh.filter_map(|(user, _)| UserId::parse(user).ok()).collect()
    }
}
