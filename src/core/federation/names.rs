//! The handles of servers and users, and back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::digest::Fingerprint;
use super::status::{Server, User};

/// The longest user ID that Matrix allows, in bytes.
const MAX_USER_ID: usize = 255;

/// Gives handles to names, for as long as it lives.
///
/// Only what this server's own lists, rooms and accounts name gets a handle; what peers say is only
/// looked up.
#[derive(Clone, Debug, Default)]
pub struct Names {
    servers: Vec<Known>,
    server_of: BTreeMap<Arc<str>, Server>,
    users: Vec<(Arc<str>, Server)>,
}

#[derive(Clone, Debug)]
struct Known {
    name: Arc<str>,
    users: BTreeMap<Arc<str>, User>,
}

/// This is no user ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadUserId {
    /// It does not have the form `@localpart:server`.
    Form,
    /// It has more than 255 bytes.
    Length(usize),
}

impl fmt::Display for BadUserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("not of the form @localpart:server"),
            Self::Length(bytes) => write!(f, "{bytes} bytes are too many for a user ID"),
        }
    }
}

impl std::error::Error for BadUserId {}

/// The localpart and the server name of a user ID.
pub(super) fn split(user_id: &str) -> Result<(&str, &str), BadUserId> {
    if user_id.len() > MAX_USER_ID {
        return Err(BadUserId::Length(user_id.len()));
    }
    let (localpart, server) =
        user_id.strip_prefix('@').and_then(|id| id.split_once(':')).ok_or(BadUserId::Form)?;
    if server.is_empty() { Err(BadUserId::Form) } else { Ok((localpart, server)) }
}

impl Names {
    /// The handle of a server, given to it if it has none.
    pub fn server(&mut self, name: &str) -> Server {
        if let Some(&server) = self.server_of.get(name) {
            return server;
        }
        let server = Server(u32::try_from(self.servers.len()).expect("fewer servers than 2^32"));
        let name: Arc<str> = name.into();
        self.servers.push(Known { name: name.clone(), users: BTreeMap::new() });
        self.server_of.insert(name, server);
        server
    }

    /// The handle of a user, given to them if they have none.
    pub fn user(&mut self, user_id: &str) -> Result<User, BadUserId> {
        let (localpart, server_name) = split(user_id)?;
        let server = self.server(server_name);
        if let Some(user) = self.find(server, localpart) {
            return Ok(user);
        }
        let index = u32::try_from(self.users.len()).expect("fewer users than 2^32");
        let user = User { index, server, fingerprint: Fingerprint::of(user_id.as_bytes()) };
        let localpart: Arc<str> = localpart.into();
        self.users.push((localpart.clone(), server));
        self.servers[server.0 as usize].users.insert(localpart, user);
        Ok(user)
    }

    /// The handle of a server, if it has one.
    pub fn find_server(&self, name: &str) -> Option<Server> {
        self.server_of.get(name).copied()
    }

    /// The handle of a user, if they have one.
    pub fn find(&self, server: Server, localpart: &str) -> Option<User> {
        self.servers[server.0 as usize].users.get(localpart).copied()
    }

    /// The name of a server.
    pub fn server_name(&self, server: Server) -> &str {
        &self.servers[server.0 as usize].name
    }

    /// The localpart of a user.
    pub fn localpart(&self, user: User) -> &str {
        &self.users[user.index as usize].0
    }

    /// The full ID of a user.
    pub fn user_id(&self, user: User) -> String {
        format!("@{}:{}", self.localpart(user), self.server_name(user.server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_name_keeps_its_handle_and_gives_it_back() {
        let mut names = Names::default();
        let alice = names.user("@alice:example.org:8448").expect("an ID");
        let other = names.user("@alice:example.com").expect("an ID");
        assert_ne!(alice.index, other.index);
        assert_eq!(names.user("@alice:example.org:8448"), Ok(alice));
        assert_eq!(names.user_id(alice), "@alice:example.org:8448");
        assert_eq!(names.find_server("example.org:8448"), Some(alice.server));
        assert_eq!(names.find(other.server, "bob"), None);
    }

    #[test]
    fn what_is_no_user_id_is_refused() {
        let mut names = Names::default();
        for bad in ["", "alice", "@alice", "alice:x", "@alice:", "#alice:x"] {
            assert_eq!(names.user(bad), Err(BadUserId::Form), "{bad}");
        }
        assert!(names.user(&format!("@{}:x", "a".repeat(252))).is_ok(), "255 bytes are allowed");
        assert_eq!(names.user(&format!("@{}:x", "a".repeat(253))), Err(BadUserId::Length(256)));
    }
}
