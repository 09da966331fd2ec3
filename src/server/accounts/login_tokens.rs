//! Tokens by which somebody who is logged in lets another device of theirs in: each once, and soon.
//!
//! Client-server API, "Token-based user login". They are kept in memory: who began before a restart begins anew.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;

use crate::{
    core::time::Instant,
    server::{
        session::{Token, TokenHash},
        store::Proof,
    },
};

/// How long one is good, in milliseconds: as the specification has it at most.
pub const LIFETIME_MS: u64 = 120_000;
const LIFETIME: Duration = Duration::from_millis(LIFETIME_MS);

/// Tokens that are good, of all users and of one; one more ends the oldest of that user, or of all.
const MOST: usize = 10_000;
const MOST_OF_ONE: usize = 10;

/// The tokens that are good. No `Debug`: what a user proved carries a hash.
#[derive(Default)]
pub struct LoginTokens(Mutex<BTreeMap<TokenHash, Given>>);

struct Given {
    proof: Proof,
    until: Instant,
}

impl LoginTokens {
    /// A token for the user who proved to be it.
    pub fn give(&self, now: Instant, proof: Proof) -> Token {
        let token = Token::random();
        let mut given = self.0.lock();
        given.retain(|_, one| one.until > now);
        let user = proof.user.clone();
        let oldest = |own: bool| {
            let some = given.iter().filter(|(_, one)| !own || one.proof.user == user);
            let (count, oldest) = some.fold((0, None), |(count, oldest), (hash, one)| {
                let is_older = oldest.is_none_or(|(until, _)| one.until < until);
                (count + 1, if is_older { Some((one.until, *hash)) } else { oldest })
            });
            let most = if own { MOST_OF_ONE } else { MOST };
            oldest.map(|(_, hash)| hash).filter(|_| count >= most)
        };
        if let Some(hash) = oldest(true).or_else(|| oldest(false)) {
            given.remove(&hash);
        }
        given.insert(TokenHash::of(token.as_str()), Given { proof, until: now + LIFETIME });
        token
    }

    /// Takes a token: what the user proved who asked for it; `None`: it is nobody's, or nobody's any longer.
    pub fn take(&self, now: Instant, token: &str) -> Option<Proof> {
        let given = self.0.lock().remove(&TokenHash::of(token))?;
        (given.until > now).then_some(given.proof)
    }
}

impl std::fmt::Debug for LoginTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginTokens").field("given", &self.0.lock().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    fn proof() -> Proof {
        Proof { user: user_id!("@a:x").to_owned(), password_hash: None }
    }

    #[test]
    fn a_token_is_good_once_and_for_two_minutes() {
        let tokens = LoginTokens::default();
        let now = Instant::ZERO + Duration::from_secs(1);
        let (first, second) = (tokens.give(now, proof()), tokens.give(now, proof()));
        assert!(tokens.take(now, "pltl_another").is_none());
        assert!(tokens.take(now + LIFETIME - Duration::from_millis(1), first.as_str()).is_some());
        assert!(tokens.take(now, first.as_str()).is_none(), "it was used");
        assert!(tokens.take(now + LIFETIME, second.as_str()).is_none(), "it has ended");
    }

    #[test]
    fn one_user_has_a_few_and_the_oldest_ends() {
        let tokens = LoginTokens::default();
        let at = |n: usize| Instant::ZERO + Duration::from_secs(n as u64);
        let given: Vec<Token> = (0..=MOST_OF_ONE).map(|n| tokens.give(at(n), proof())).collect();
        assert_eq!(tokens.0.lock().len(), MOST_OF_ONE);
        assert!(tokens.take(at(20), given[0].as_str()).is_none());
        assert!(tokens.take(at(20), given[1].as_str()).is_some());
    }
}
