//! Whom this server speaks with, as its operator decided.

use ruma::{OwnedServerName, ServerName};

/// The operator's lists of servers. A name stands for itself with any port.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    allow: Option<Vec<OwnedServerName>>,
    deny: Vec<OwnedServerName>,
}

impl Policy {
    /// Only the servers in `allow`, if given, and none in `deny`.
    pub fn new(allow: Option<Vec<OwnedServerName>>, deny: Vec<OwnedServerName>) -> Self {
        Self { allow, deny }
    }

    /// Whether requests go to and are taken from `server`.
    pub fn speaks_with(&self, server: &ServerName) -> bool {
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
            let policy = Policy::new(allow.as_deref().map(list), list(&deny));
            assert_eq!(policy.speaks_with(server.try_into().unwrap()), speaks, "{allow:?} {deny:?} {server}");
        }
    }
}
