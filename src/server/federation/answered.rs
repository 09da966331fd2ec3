//! Each transaction of another server has its effect once: the last answers, by server and ID.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use ruma::{OwnedServerName, ServerName};

/// Servers whose answers are remembered; past that the memory starts anew, but for those that wait for one.
const MAX_SERVERS: usize = 1_000;

/// Answers that are remembered of one server, which sends one transaction after the other.
const REMEMBERED: usize = 8;

/// The transactions that were answered, by the server that sent them.
#[derive(Debug, Default)]
pub struct Answered {
    servers: Mutex<BTreeMap<OwnedServerName, Arc<Turn>>>,
}

/// Held while a transaction of one server is worked on: the next one waits.
pub type Turn = tokio::sync::Mutex<Answers>;

/// The last answers to one server, by the ID of the transaction.
#[derive(Debug, Default)]
pub struct Answers(VecDeque<(String, Option<Arc<str>>)>);

impl Answers {
    /// The answer to a transaction that was answered not long ago; `Some(None)`: it was, and the answer is to be made
    /// again.
    pub fn find(&self, id: &str) -> Option<Option<Arc<str>>> {
        self.0.iter().find(|(known, _)| known == id).map(|(_, answer)| answer.clone())
    }

    /// Remembers an answer, and forgets the oldest if there are too many.
    pub fn remember(&mut self, id: String, answer: Option<Arc<str>>) {
        self.0.push_back((id, answer));
        while self.0.len() > REMEMBERED {
            self.0.pop_front();
        }
    }
}

impl Answered {
    /// The turn of one server, and what it was answered last.
    pub fn of(&self, server: &ServerName) -> Arc<Turn> {
        let mut servers = self.servers.lock();
        if let Some(turn) = servers.get(server) {
            return Arc::clone(turn);
        }
        if servers.len() >= MAX_SERVERS {
            // A turn that is being taken stays: two transactions of one server are never worked on at once.
            servers.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        Arc::clone(servers.entry(server.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_eight_answers_to_a_server_are_remembered_and_no_more() {
        let mut answers = Answers::default();
        for id in 0..1_000_usize {
            answers.remember(id.to_string(), Some(id.to_string().into()));
            assert!(answers.0.len() <= REMEMBERED, "{}", answers.0.len());
            let first = (id + 1).saturating_sub(REMEMBERED);
            let known: Vec<_> =
                (0..=id).rev().take(20).map(|id| answers.find(&id.to_string()).is_some()).collect();
            let expected: Vec<_> = (0..=id).rev().take(20).map(|id| id >= first).collect();
            assert_eq!(known, expected);
        }
        assert_eq!(answers.find("999"), Some(Some("999".into())));
        answers.remember("x".to_owned(), None);
        assert_eq!(answers.find("x"), Some(None), "answered, and not remembered whole");
    }

    #[test]
    fn the_memory_of_too_many_servers_starts_anew_but_a_turn_that_is_taken_stays_one() {
        let answered = Answered::default();
        let name = |n: usize| OwnedServerName::try_from(format!("s{n}")).expect("a name");
        let taken = answered.of(&name(0));
        for n in 1..=MAX_SERVERS {
            answered.of(&name(n));
            assert!(answered.servers.lock().len() <= MAX_SERVERS);
        }
        assert!(Arc::ptr_eq(&taken, &answered.of(&name(0))));
        assert!(answered.servers.lock().len() < 10);
    }
}
