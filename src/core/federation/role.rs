//! Presence between homeservers with names and JSON around it: what a homeserver's shell drives.

use std::fmt;

use super::config::Config;
use super::edu::Edu;
use super::engine::{Engine, Outcome, Output, PeerView, Permission, Refused, Room};
use super::names::{BadUserId, Names, split};
use super::peer::Speech;
use super::status::{Server, Status, User};
use super::wire::{BadEdu, decode, encode, encode_brief};
use crate::core::time::Instant;

/// An [`Engine`] that speaks of users and servers by name, and of messages as JSON.
#[derive(Clone, Debug)]
pub struct Federation {
    names: Names,
    own: Server,
    /// Servers that have a name here only because they sent something, and the most there may be.
    strangers: usize,
    max_strangers: usize,
    engine: Engine,
}

/// What a [`Federation`] wants done or known.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Send an EDU `m.presence` with this content; then report [`Federation::handle_outcome`].
    Send {
        /// To which server.
        destination: String,
        /// The number to report.
        seq: u64,
        /// The content of the EDU, as JSON.
        content: String,
        /// The same for a URL, if it is nothing but a reminder to a server that reads this form.
        brief: Option<String>,
    },
    /// What is known of a remote user changed; `None`: unknown.
    RemoteChanged {
        /// Who.
        user_id: String,
        /// What they show.
        status: Option<Status>,
    },
}

/// Why a message was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// It cannot be read.
    Bad(BadEdu),
    /// It says what its sender may not.
    Refused(Refused),
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad(cause) => cause.fmt(f),
            Self::Refused(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for Rejected {}

impl Federation {
    /// The presence of the homeserver `own_name`; see [`Engine::new`].
    pub fn new(own_name: &str, epoch: u64, seed: u64, config: Config) -> Self {
        let mut names = Names::default();
        let own = names.server(own_name);
        Self {
            names,
            own,
            strangers: 0,
            max_strangers: config.max_strangers,
            engine: Engine::new(own, epoch, seed, config),
        }
    }

    /// See [`Engine::handle_interest_added`].
    pub fn handle_interest_added(
        &mut self,
        now: Instant,
        observer: &str,
        observed: &str,
    ) -> Result<(), BadUserId> {
        let (observer, observed) = (self.names.user(observer)?, self.names.user(observed)?);
        self.engine.handle_interest_added(now, observer, observed);
        Ok(())
    }

    /// See [`Engine::handle_interest_removed`].
    pub fn handle_interest_removed(
        &mut self,
        now: Instant,
        observer: &str,
        observed: &str,
    ) -> Result<(), BadUserId> {
        let (observer, observed) = (self.names.user(observer)?, self.names.user(observed)?);
        self.engine.handle_interest_removed(now, observer, observed);
        Ok(())
    }

    /// See [`Engine::handle_client_attached`].
    pub fn handle_client_attached(&mut self, now: Instant, observer: &str) -> Result<(), BadUserId> {
        let observer = self.names.user(observer)?;
        self.engine.handle_client_attached(now, observer);
        Ok(())
    }

    /// See [`Engine::handle_client_detached`].
    pub fn handle_client_detached(&mut self, now: Instant, observer: &str) -> Result<(), BadUserId> {
        let observer = self.names.user(observer)?;
        self.engine.handle_client_detached(now, observer);
        Ok(())
    }

    /// See [`Engine::handle_local_change`].
    pub fn handle_local_change(&mut self, now: Instant, user: &str, status: Status) -> Result<(), BadUserId> {
        let user = self.names.user(user)?;
        self.engine.handle_local_change(now, user, status);
        Ok(())
    }

    /// See [`Engine::handle_permission`].
    pub fn handle_permission(
        &mut self,
        now: Instant,
        peer: &str,
        observed: &str,
        permission: Permission,
    ) -> Result<(), BadUserId> {
        let (peer, observed) = (self.names.server(peer), self.names.user(observed)?);
        self.engine.handle_permission(now, peer, observed, permission);
        Ok(())
    }

    /// See [`Engine::handle_room`]; what is no user ID is passed over.
    pub fn handle_room<'a>(&mut self, now: Instant, room: Room, users: impl IntoIterator<Item = &'a str>) {
        let users: Vec<_> = users.into_iter().filter_map(|user| self.names.user(user).ok()).collect();
        self.engine.handle_room(now, room, users);
    }

    /// See [`Engine::handle_room_entered`].
    pub fn handle_room_entered(&mut self, now: Instant, room: Room, user: &str) -> Result<(), BadUserId> {
        let user = self.names.user(user)?;
        self.engine.handle_room_entered(now, room, user);
        Ok(())
    }

    /// See [`Engine::handle_room_left`].
    pub fn handle_room_left(&mut self, now: Instant, room: Room, user: &str) {
        if let Some(user) = self.find(user) {
            self.engine.handle_room_left(now, room, user);
        }
    }

    /// See [`Engine::handle_reserve`].
    pub fn handle_reserve(&mut self, now: Instant, user: &str, is_reserved: bool) -> Result<(), BadUserId> {
        let user = self.names.user(user)?;
        self.engine.handle_reserve(now, user, is_reserved);
        Ok(())
    }

    /// The users of this server who are in a room that ties its members.
    pub fn locals_in(&self, room: Room) -> Vec<String> {
        self.engine.locals_in(room).into_iter().map(|user| self.names.user_id(user)).collect()
    }

    /// See [`Engine::is_tied_by_room`].
    pub fn is_tied_by_room(&self, user: &str) -> bool {
        self.find(user).is_some_and(|user| self.engine.is_tied_by_room(user))
    }

    /// See [`Engine::handle_enquiries`]; IDs of users who are not known here are passed over.
    pub fn handle_enquiries<'a>(
        &mut self,
        now: Instant,
        users: impl IntoIterator<Item = &'a str>,
    ) -> Vec<(String, Instant)> {
        let users: Vec<_> = users.into_iter().filter_map(|user_id| self.find(user_id)).collect();
        let awaited = self.engine.handle_enquiries(now, users).into_iter();
        awaited.map(|(user, since)| (self.names.user_id(user), since)).collect()
    }

    /// See [`Engine::is_awaited`].
    pub fn is_awaited(&self, user_id: &str) -> bool {
        self.find(user_id).is_some_and(|user| self.engine.is_awaited(user))
    }

    /// An EDU `m.presence` came from `peer`, which has proved to be that server.
    pub fn handle_edu(&mut self, now: Instant, peer: &str, content: &str) -> Result<(), Rejected> {
        let peer = match self.names.find_server(peer) {
            Some(peer) => peer,
            None if self.strangers < self.max_strangers => {
                self.strangers += 1;
                self.names.server(peer)
            }
            None => return Err(Rejected::Refused(Refused::Unrelated)),
        };
        let edu = decode(&self.names, peer, self.own, content).map_err(Rejected::Bad)?;
        self.engine.handle_edu(now, peer, edu).map_err(Rejected::Refused)
    }

    /// A reminder that came in the brief form is from `peer`, which has proved to be that server; it names
    /// nobody.
    pub fn handle_reminder(&mut self, now: Instant, peer: &str, edu: Edu) -> Result<(), Rejected> {
        let peer = self.names.find_server(peer).ok_or(Rejected::Refused(Refused::Unrelated))?;
        self.engine.handle_edu(now, peer, edu).map_err(Rejected::Refused)
    }

    /// See [`Engine::handle_traffic`].
    pub fn handle_traffic(&mut self, now: Instant, peer: &str) {
        if let Some(peer) = self.names.find_server(peer) {
            self.engine.handle_traffic(now, peer);
        }
    }

    /// See [`Engine::handle_acknowledged`].
    pub fn handle_acknowledged(&mut self, now: Instant, peer: &str) {
        if let Some(peer) = self.names.find_server(peer) {
            self.engine.handle_acknowledged(now, peer);
        }
    }

    /// See [`Engine::handle_outcome`].
    pub fn handle_outcome(&mut self, now: Instant, destination: &str, seq: u64, outcome: Outcome) {
        if let Some(peer) = self.names.find_server(destination) {
            self.engine.handle_outcome(now, peer, seq, outcome);
        }
    }

    /// See [`Engine::handle_flush`].
    pub fn handle_flush(&mut self, now: Instant) {
        self.engine.handle_flush(now);
    }

    /// What a remote user shows, as far as is known.
    pub fn status_of(&self, user_id: &str) -> Option<Status> {
        self.engine.status_of(self.find(user_id)?)
    }

    /// The handle of a user, if they have one.
    fn find(&self, user_id: &str) -> Option<User> {
        let (localpart, server) = split(user_id).ok()?;
        self.names.find(self.names.find_server(server)?, localpart)
    }

    /// How it stands with every peer, by name; see [`Engine::peers`].
    pub fn peers(&self) -> impl Iterator<Item = (&str, PeerView)> {
        self.engine.peers().into_iter().map(|view| (self.names.server_name(view.server), view))
    }

    /// Takes the next output.
    pub fn poll_output(&mut self) -> Option<Event> {
        Some(match self.engine.poll_output()? {
            Output::Send(delivery) => Event::Send {
                destination: self.names.server_name(delivery.peer).to_owned(),
                seq: delivery.seq,
                content: encode(&self.names, &delivery.edu, delivery.speech),
                brief: encode_brief(&delivery.edu).filter(|_| delivery.speech == Speech::Extended),
            },
            Output::RemoteChanged { user, status } => {
                Event::RemoteChanged { user_id: self.names.user_id(user), status }
            }
        })
    }

    /// See [`Engine::poll_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.engine.poll_timeout()
    }

    /// See [`Engine::handle_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        self.engine.handle_timeout(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Availability;
    use super::super::wire::decode_brief;
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const ALICE: &str = "@alice:a.example";
    const BOB: &str = "@bob:b.example";
    const NAMES: [&str; 2] = ["a.example", "b.example"];

    /// Two servers that hear each other at once, by name and in JSON.
    struct Pair {
        roles: [Federation; 2],
        now: Instant,
        /// Who sent what: from which of the two, as JSON, and for a URL.
        sent: Vec<(usize, String, Option<String>)>,
        /// What the first was told of users of the second.
        told: Vec<(String, Option<Availability>)>,
    }

    impl Pair {
        /// Alice has Bob on her list, who lets her see him; both are there.
        fn new() -> Self {
            let role = |n: usize| Federation::new(NAMES[n], n as u64 + 1, n as u64, Config::default());
            let now = Instant::from_millis(1_000_000);
            let mut pair = Self { roles: [role(0), role(1)], now, sent: Vec::new(), told: Vec::new() };
            pair.roles[0].handle_interest_added(now, ALICE, BOB).expect("IDs");
            pair.roles[1].handle_permission(now, NAMES[0], BOB, Permission::Allowed).expect("an ID");
            pair.change(Availability::Online);
            pair.roles[0].handle_client_attached(now, ALICE).expect("an ID");
            pair.pass(30);
            pair
        }

        fn change(&mut self, availability: Availability) {
            self.roles[1].handle_local_change(self.now, BOB, availability.into()).expect("an ID");
            self.deliver();
        }

        fn seen(&self) -> Option<Availability> {
            self.roles[0].status_of(BOB).map(|status| status.shown.availability)
        }

        fn deliver(&mut self) {
            let mut found = true;
            while found {
                found = false;
                for from in [0, 1] {
                    while let Some(event) = self.roles[from].poll_output() {
                        found = true;
                        self.take(from, event);
                    }
                }
            }
        }

        fn take(&mut self, from: usize, event: Event) {
            let (now, to) = (self.now, 1 - from);
            match event {
                Event::Send { destination, seq, content, brief } => {
                    assert_eq!(destination, NAMES[to]);
                    let heard = match &brief {
                        Some(brief) => {
                            let edu = decode_brief(brief).expect("its own");
                            self.roles[to].handle_reminder(now, NAMES[from], edu)
                        }
                        None => self.roles[to].handle_edu(now, NAMES[from], &content),
                    };
                    assert_eq!(heard, Ok(()), "{content}");
                    self.sent.push((from, content, brief));
                    self.roles[from].handle_outcome(now, NAMES[to], seq, Outcome::Delivered);
                }
                Event::RemoteChanged { user_id, status } => {
                    self.told.push((user_id, status.map(|status| status.shown.availability)));
                }
            }
        }

        /// Lets seconds pass, with all timeouts on the way.
        fn pass(&mut self, seconds: u64) {
            let end = self.now + Duration::from_secs(seconds);
            self.deliver();
            while let Some(wake) =
                self.roles.iter().filter_map(Federation::poll_timeout).min().filter(|&wake| wake <= end)
            {
                assert!(wake >= self.now, "a deadline that has passed wakes nobody again");
                self.now = wake;
                self.roles.iter_mut().for_each(|role| role.handle_timeout(wake));
                self.deliver();
            }
            self.now = end;
        }
    }

    #[test]
    fn what_changes_is_seen_at_the_end_of_the_window_or_at_once_when_that_is_asked_for() {
        let mut pair = Pair::new();
        assert_eq!(pair.seen(), Some(Availability::Online));
        assert_eq!(pair.told, [(BOB.to_owned(), Some(Availability::Online))]);
        pair.change(Availability::Busy);
        assert_eq!(pair.seen(), Some(Availability::Online), "the window is open");
        let now = pair.now;
        pair.roles[1].handle_flush(now);
        pair.deliver();
        assert_eq!(pair.seen(), Some(Availability::Busy));
        pair.pass(2 * 3_600);
        let told = |availability| (BOB.to_owned(), Some(availability));
        assert_eq!(pair.told, [told(Availability::Online), told(Availability::Busy)], "each change once");
    }

    #[test]
    fn a_permission_that_is_taken_back_takes_the_status_with_it() {
        let mut pair = Pair::new();
        let now = pair.now;
        pair.roles[1].handle_permission(now, NAMES[0], BOB, Permission::Denied).expect("an ID");
        pair.pass(20);
        assert_ne!(pair.seen(), Some(Availability::Online));
        pair.sent.clear();
        pair.change(Availability::Busy);
        pair.pass(20);
        assert!(!pair.sent.iter().any(|(_, content, _)| content.contains("bob")), "{:?}", pair.sent);
    }

    #[test]
    fn who_has_no_client_or_no_interest_is_sent_nothing() {
        for leave in [
            |role: &mut Federation, now| role.handle_client_detached(now, ALICE),
            |role: &mut Federation, now| role.handle_interest_removed(now, ALICE, BOB),
        ] {
            let mut pair = Pair::new();
            let now = pair.now;
            leave(&mut pair.roles[0], now).expect("IDs");
            pair.pass(30);
            assert_eq!(pair.seen(), None);
            pair.sent.clear();
            pair.change(Availability::Busy);
            pair.pass(30);
            assert_eq!(pair.sent, []);
        }
    }

    #[test]
    fn a_reminder_has_the_brief_form_and_nothing_else_has() {
        let mut pair = Pair::new();
        pair.pass(600);
        let (brief, other): (Vec<_>, Vec<_>) = pair.sent.iter().partition(|(_, _, brief)| brief.is_some());
        assert!((8..=12).contains(&brief.len()), "{} reminders in ten minutes", brief.len());
        assert!(other.iter().all(|(_, content, _)| content.contains("bob")), "{other:?}");
    }

    #[test]
    fn servers_that_hear_of_each_other_anyway_need_no_reminders() {
        let mut pair = Pair::new();
        pair.sent.clear();
        for _ in 0..20 {
            let now = pair.now;
            pair.roles[0].handle_traffic(now, NAMES[1]);
            pair.roles[1].handle_traffic(now, NAMES[0]);
            pair.pass(30);
        }
        assert_eq!(pair.sent, []);
        pair.roles[0].handle_traffic(pair.now, "nobody.example");
        assert!(pair.roles[0].names.find_server("nobody.example").is_none());
    }

    #[test]
    fn strangers_are_given_names_up_to_a_bound_and_without_them_nothing_is_due() {
        let config = Config { max_strangers: 2, ..Config::default() };
        let mut role = Federation::new("a.example", 1, 1, config);
        let now = Instant::from_millis(1_000_000);
        assert_eq!(role.poll_timeout(), None);
        for (n, named) in [(0, true), (1, true), (2, false), (3, false)] {
            let name = format!("s{n}.example");
            let poll = r#"{"poll":["@alice:a.example"],"org.pilotlight":{"at":[1,1]}}"#;
            let outcome = role.handle_edu(now, &name, poll);
            assert_eq!(outcome.is_ok(), named, "{name}: {outcome:?}");
            assert_eq!(role.names.find_server(&name).is_some(), named, "{name}");
        }
        let again = role.handle_edu(now, "s0.example", r#"{"org.pilotlight":{"at":[1,2]}}"#);
        assert_eq!(again, Ok(()), "who has a name keeps it");
    }

    #[test]
    fn a_refusal_says_why() {
        let too_large = Rejected::Bad(BadEdu::TooLarge(7));
        assert_eq!(too_large.to_string(), BadEdu::TooLarge(7).to_string());
        assert!(BadEdu::TooLarge(7).to_string().contains("7 bytes"));
        assert_eq!(Rejected::Refused(Refused::Unrelated).to_string(), Refused::Unrelated.to_string());
    }
}
