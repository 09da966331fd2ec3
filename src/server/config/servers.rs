//! Whom this server speaks with, as its operator decided.

use ruma::{OwnedServerName, ServerName};

use super::settings::Federation;

/// The operator's lists of servers. A name stands for itself with any port.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    all: Lists,
    presence: Lists,
}

/// Only these, if given, and never those.
#[derive(Clone, Debug, Default)]
struct Lists {
    allow: Option<Vec<OwnedServerName>>,
    deny: Vec<OwnedServerName>,
}

impl Policy {
    /// The lists in the configuration.
    pub fn new(config: &Federation) -> Self {
        Self {
            all: Lists { allow: config.allow_servers.clone(), deny: config.deny_servers.clone() },
            presence: Lists {
                allow: config.presence_allow_servers.clone(),
                deny: config.presence_deny_servers.clone(),
            },
        }
    }

    /// Whether requests go to and are taken from `server`.
    pub fn speaks_with(&self, server: &ServerName) -> bool {
        self.all.admit(server)
    }

    /// Whether presence, statuses as well as lists, goes to and is taken from `server`.
    pub fn shares_presence_with(&self, server: &ServerName) -> bool {
        self.all.admit(server) && self.presence.admit(server)
    }
}

impl Lists {
    fn admit(&self, server: &ServerName) -> bool {
        let names = |list: &[OwnedServerName]| list.iter().any(|name| covers(name, server));
        !names(&self.deny) && self.allow.as_ref().is_none_or(|allow| names(allow))
    }
}

/// Whether an entry of a list is about `server`: the same name, or the same host when the entry has no port.
fn covers(entry: &ServerName, server: &ServerName) -> bool {
    entry.host().eq_ignore_ascii_case(server.host())
        && (entry.port().is_none() || entry.port() == server.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<OwnedServerName> {
        names.iter().map(|name| (*name).try_into().unwrap()).collect()
    }

    #[test]
    fn deny_beats_allow_and_a_name_without_port_stands_for_every_port() {
        for (allow, deny, server, speaks) in [
            (None, vec![], "a.example", true),
            (None, vec!["a.example"], "a.example", false),
            (None, vec!["a.example"], "A.example:8449", false),
            (None, vec!["a.example:8449"], "a.example", true),
            (Some(vec!["a.example"]), vec![], "a.example", true),
            (Some(vec!["a.example"]), vec![], "b.example", false),
            (Some(vec![]), vec![], "b.example", false),
            (Some(vec!["a.example"]), vec!["a.example"], "a.example", false),
        ] {
            let lists = (allow.as_deref().map(list), list(&deny));
            let server = server.try_into().unwrap();
            let policy = Policy::new(&Federation {
                allow_servers: lists.0.clone(),
                deny_servers: lists.1.clone(),
                ..Federation::default()
            });
            assert_eq!(policy.speaks_with(server), speaks, "{allow:?} {deny:?} {server}");
            assert_eq!(policy.shares_presence_with(server), speaks, "{allow:?} {deny:?} {server}");
            let policy = Policy::new(&Federation {
                presence_allow_servers: lists.0,
                presence_deny_servers: lists.1,
                ..Federation::default()
            });
            assert!(policy.speaks_with(server));
            assert_eq!(policy.shares_presence_with(server), speaks, "{allow:?} {deny:?} {server}");
        }
    }
}
