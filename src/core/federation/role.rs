//! Presence between homeservers with names and JSON around it: what a homeserver's shell drives.

use std::fmt;

use super::config::Config;
use super::edu::Edu;
use super::engine::{Engine, Outcome, Output, PeerView, Permission, Refused};
use super::names::{BadUserId, Names};
use super::peer::Speech;
use super::status::{Server, Status};
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
        let (localpart, server) = super::names::split(user_id).ok()?;
        let user = self.names.find(self.names.find_server(server)?, localpart)?;
        self.engine.status_of(user)
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
