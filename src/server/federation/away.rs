//! Servers that could not be reached a moment ago: whoever waits for an answer is not kept waiting for them again.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use ruma::{OwnedServerName, ServerName};

use crate::core::time::Instant;

/// How long a server that could not be reached is not asked, unless it is heard of.
const PAUSE: Duration = Duration::from_secs(30);

/// Servers that are remembered; beyond them those whose pause is over are forgotten, and then all.
const REMEMBERED: usize = 10_000;

/// Servers that could not be reached, and when.
#[derive(Debug, Default)]
pub struct Away(Mutex<HashMap<OwnedServerName, Instant>>);

impl Away {
    /// A server could not be reached.
    pub fn handle_failure(&self, server: &ServerName, now: Instant) {
        let mut away = self.0.lock();
        if away.len() >= REMEMBERED {
            away.retain(|_, at| now.since(*at) < PAUSE);
            if away.len() >= REMEMBERED {
                away.clear();
            }
        }
        away.insert(server.to_owned(), now);
    }

    /// Something came from a server.
    pub fn handle_traffic(&self, server: &ServerName) {
        self.0.lock().remove(server);
    }

    /// Whether a server could not be reached a moment ago.
    pub fn has(&self, server: &ServerName, now: Instant) -> bool {
        self.0.lock().get(server).is_some_and(|at| now.since(*at) < PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::*;

    #[test]
    fn a_server_is_away_for_half_a_minute_or_until_it_is_heard_of() {
        let (away, server) = (Away::default(), server_name!("b.example"));
        let at = |seconds: u64| Instant::from_millis(seconds * 1_000);
        assert!(!away.has(server, at(0)));
        away.handle_failure(server, at(0));
        assert!(away.has(server, at(29)) && !away.has(server, at(30)));
        away.handle_failure(server, at(40));
        away.handle_traffic(server);
        assert!(!away.has(server, at(41)));
    }

    #[test]
    fn no_more_servers_are_remembered_than_the_bound() {
        let away = Away::default();
        for n in 0..=REMEMBERED {
            let name = OwnedServerName::try_from(format!("s{n}")).expect("a name");
            away.handle_failure(&name, Instant::from_millis(n as u64));
            assert!(away.0.lock().len() <= REMEMBERED);
        }
    }
}
