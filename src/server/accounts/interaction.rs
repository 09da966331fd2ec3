//! User-interactive sessions: what a client asked for, from its first request until it has shown who it is, and
//! for a while after that.
//!
//! A session holds for what it was begun for and for nothing else, and is kept in memory only: what a client shows
//! comes with the request that it allows, so one that is forgotten costs the client one more challenge.
//! Matrix client-server API, "User-Interactive Authentication API".

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use http::Method;
use parking_lot::Mutex;
use ruma::OwnedDeviceId;
use serde::Deserialize;

use super::tokens::LoggedIn;
use crate::{
    core::time::Instant,
    server::{
        session::{Token, TokenHash},
        store::Proof,
    },
};

/// How long a client may take from its first request to its last.
const LIFETIME: Duration = Duration::from_secs(3600);

/// How long the answer to a client that has shown who it is can be asked for again: for one that did not get it.
const PASSED: Duration = Duration::from_secs(600);

/// Sessions at most; one more ends the oldest.
const MOST: usize = 10_000;

/// What a session was begun for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Operation {
    /// The request's method.
    pub method: Method,
    /// The request's path.
    pub path: String,
    /// The access token that it is asked with, so whose request it is; `None`: of nobody who is known.
    pub token: Option<TokenHash>,
    /// The SHA-256 of the request's parameters. `None`: they may be left out later, and are remembered.
    pub parameters: Option<[u8; 32]>,
}

/// The account that somebody asked for, and the device to log in with it. No `Debug`: it carries a password.
#[derive(Clone, Default, Deserialize, Eq, PartialEq)]
pub struct Wanted {
    /// How it is asked for, where that is not by a flow.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The name; `None`: any.
    pub username: Option<String>,
    /// What application services called the name before 2018.
    pub user: Option<String>,
    /// The password; `None`: nobody is to log in with one.
    pub password: Option<String>,
    /// The device's identifier; `None`: any.
    pub device_id: Option<OwnedDeviceId>,
    /// The device's name.
    pub initial_device_display_name: Option<String>,
    /// Whether no device is to be logged in. Default: no.
    pub inhibit_login: Option<bool>,
    /// The access token of a guest, whose account it is to be from here on.
    pub guest_access_token: Option<String>,
    /// Whether its access token may end after a while. Default: no.
    pub refresh_token: Option<bool>,
}

/// The account that was made. No `Debug`: it carries a hash.
#[derive(Clone)]
pub struct Registered {
    /// Whose it is, with the password that it began with: with another one the answer is not given again.
    pub proof: Proof,
    /// The device that was logged in, with its tokens: for a client that did not get the answer.
    pub login: Option<LoggedIn>,
}

/// How far a client has come.
#[derive(Clone)]
pub enum Progress {
    /// It has shown nothing yet.
    Begun,
    /// It has shown who it is, by this: what it is allowed for that ends with the password.
    Passed(Proof),
    /// It has shown what it had to, and got an account.
    Registered(Registered),
}

/// What is known of a session.
#[derive(Clone)]
pub struct Known {
    /// What was asked for, where it is remembered.
    pub wanted: Wanted,
    /// How far its client has come.
    pub progress: Progress,
}

/// The session is of another operation, of another user, or of other parameters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Changed;

/// The sessions under way.
#[derive(Default)]
pub struct Interactions(Mutex<Table>);

#[derive(Default)]
struct Table {
    sessions: HashMap<String, Entry>,
    /// Their names, from the oldest to the newest.
    order: VecDeque<String>,
}

struct Entry {
    operation: Operation,
    known: Known,
    until: Instant,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Interactions {
    /// Begins a session; its name is for the client, and nobody can guess it.
    pub fn begin(&self, now: Instant, operation: Operation, wanted: Wanted) -> String {
        let name = Token::random().as_str().trim_start_matches(Token::PREFIX).to_owned();
        let mut table = self.0.lock();
        if table.order.len() >= MOST
            && let Some(oldest) = table.order.pop_front()
        {
            table.sessions.remove(&oldest);
        }
        let known = Known { wanted, progress: Progress::Begun };
        let entry = Entry { operation, known, until: now + LIFETIME, turn: Arc::default() };
        table.sessions.insert(name.clone(), entry);
        table.order.push_back(name.clone());
        name
    }

    /// What is known of a session; `None`: there is none of this name, or not any longer.
    ///
    /// # Errors
    /// [`Changed`] when it was begun for something else.
    pub fn find(&self, now: Instant, name: &str, operation: &Operation) -> Result<Option<Known>, Changed> {
        match self.0.lock().sessions.get(name).filter(|entry| now < entry.until) {
            None => Ok(None),
            Some(entry) if entry.operation == *operation => Ok(Some(entry.known.clone())),
            Some(_) => Err(Changed),
        }
    }

    /// The turn of a session: who holds it is the only one who finishes it.
    pub fn turn(&self, name: &str) -> Option<Arc<tokio::sync::Mutex<()>>> {
        self.0.lock().sessions.get(name).map(|entry| Arc::clone(&entry.turn))
    }

    /// Remembers what is wanted by now.
    pub fn remember(&self, name: &str, wanted: Wanted) {
        if let Some(entry) = self.0.lock().sessions.get_mut(name) {
            entry.known.wanted = wanted;
        }
    }

    /// Its client has come so far. From here on what was asked for is not needed.
    pub fn advance(&self, now: Instant, name: &str, progress: Progress) {
        if let Some(entry) = self.0.lock().sessions.get_mut(name) {
            entry.known = Known { wanted: Wanted::default(), progress };
            entry.until = now + PASSED;
        }
    }
}

impl Wanted {
    /// What is asked for here, and what was asked for before where nothing is said here.
    #[must_use]
    pub fn or(self, before: Self) -> Self {
        Self {
            kind: self.kind.or(before.kind),
            user: self.user.or(before.user),
            username: self.username.or(before.username),
            password: self.password.or(before.password),
            device_id: self.device_id.or(before.device_id),
            initial_device_display_name: self
                .initial_device_display_name
                .or(before.initial_device_display_name),
            inhibit_login: self.inhibit_login.or(before.inhibit_login),
            guest_access_token: self.guest_access_token.or(before.guest_access_token),
            refresh_token: self.refresh_token.or(before.refresh_token),
        }
    }
}

impl std::fmt::Debug for Interactions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interactions").field("sessions", &self.0.lock().order.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_millis(1_000_000);

    fn operation(path: &str) -> Operation {
        Operation { method: Method::POST, path: path.to_owned(), token: None, parameters: None }
    }

    fn named(name: &str) -> Wanted {
        Wanted { username: Some(name.to_owned()), ..Wanted::default() }
    }

    #[test]
    fn a_session_holds_for_what_it_was_begun_for_and_no_longer_than_it_should() {
        let all = Interactions::default();
        let name = all.begin(NOW, operation("/a"), named("x"));
        assert_eq!(all.find(NOW, &name, &operation("/b")).err(), Some(Changed));
        assert!(all.find(NOW, "another", &operation("/a")).is_ok_and(|known| known.is_none()));
        let wanted = |at| all.find(at, &name, &operation("/a")).expect("the same").map(|k| k.wanted.username);
        assert_eq!(wanted(NOW + LIFETIME - Duration::from_millis(1)), Some(Some("x".to_owned())));
        assert_eq!(wanted(NOW + LIFETIME), None);
        let proof = Proof { user: ruma::user_id!("@x:x").to_owned(), password_hash: None };
        all.advance(NOW, &name, Progress::Passed(proof));
        assert_eq!(wanted(NOW + PASSED - Duration::from_millis(1)), Some(None), "no password is kept");
        assert_eq!(wanted(NOW + PASSED), None);
    }

    #[test]
    fn one_session_too_many_ends_the_oldest() {
        let all = Interactions::default();
        let names: Vec<_> = (0..=MOST).map(|_| all.begin(NOW, operation("/a"), Wanted::default())).collect();
        let is_known = |name: &str| all.find(NOW, name, &operation("/a")).expect("the same").is_some();
        assert!(!is_known(&names[0]) && is_known(&names[1]) && is_known(&names[MOST]));
        let table = all.0.lock();
        assert_eq!((table.sessions.len(), table.order.len()), (MOST, MOST));
    }
}
