//! What users have one application service asked at this moment: so much, and so much for one user.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use ruma::{OwnedUserId, UserId};

/// Questions that wait or are asked, of all users and of one.
const MOST: usize = 128;
const MOST_OF_ONE: usize = 16;

/// Who has how many questions. Bounded by [`MOST`].
#[derive(Clone, Debug, Default)]
pub(super) struct Questions(Arc<Mutex<BTreeMap<OwnedUserId, usize>>>);

/// One question, until dropped.
#[derive(Debug)]
pub(super) struct Question {
    of: Questions,
    who: OwnedUserId,
}

impl Questions {
    /// Room for a question of `who`; `None`: there is none.
    pub(super) fn begin(&self, who: &UserId) -> Option<Question> {
        let mut all = self.0.lock();
        let own = all.get(who).copied().unwrap_or_default();
        if own >= MOST_OF_ONE || all.values().sum::<usize>() >= MOST {
            return None;
        }
        all.insert(who.to_owned(), own + 1);
        Some(Question { of: self.clone(), who: who.to_owned() })
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let mut all = self.of.0.lock();
        match all.get_mut(&self.who) {
            Some(own) if *own > 1 => *own -= 1,
            Some(_) | None => drop(all.remove(&self.who)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_has_so_much_asked_and_all_have_no_more_than_a_bound() {
        let questions = Questions::default();
        let of = |n: usize| {
            let who = OwnedUserId::try_from(format!("@u{n}:x")).expect("an ID");
            std::iter::from_fn(|| questions.begin(&who)).collect::<Vec<_>>()
        };
        let all: Vec<_> = (0..20).map(of).collect();
        let counts: Vec<_> = all.iter().map(Vec::len).filter(|count| *count > 0).collect();
        assert_eq!(counts, [MOST_OF_ONE; MOST / MOST_OF_ONE]);
        drop(all);
        assert!(questions.0.lock().is_empty());
        assert_eq!(of(21).len(), MOST_OF_ONE);
    }
}
