//! With which keys the events of servers are verified, and until when each of these keys signed.
//!
//! Source: Matrix server-server API, "Retrieving server keys"; room version 5, "Signing key validity period".

use std::collections::BTreeMap;

use ruma::{
    OwnedServerName, ServerName,
    serde::Base64,
    signatures::{PublicKeyMap, PublicKeySet},
};

use crate::core::time::UnixMillis;

/// Keys that are needed: by server, by the ID of the key, and the latest time at which one has to have signed. In rooms
/// of versions that do not care when a key signed that is the epoch.
pub type NeededKeys = BTreeMap<OwnedServerName, BTreeMap<String, UnixMillis>>;

/// A key, and until when its server signed with it as far as is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EventKey {
    /// Its public half.
    pub public: Base64,
    /// What says that it was signed later is not.
    pub valid_until: UnixMillis,
}

/// Keys of servers, by their IDs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EventKeys {
    of: BTreeMap<OwnedServerName, BTreeMap<String, EventKey>>,
    own: Option<OwnedServerName>,
}

impl EventKeys {
    /// No keys yet, at the server `own`.
    pub fn at(own: &ServerName) -> Self {
        Self { own: Some(own.to_owned()), ..Self::default() }
    }

    /// The server that verifies, if it is known.
    pub fn own(&self) -> Option<&ServerName> {
        self.own.as_deref()
    }

    /// Adds a key, in place of one with the same ID.
    pub fn put(&mut self, server: &ServerName, id: String, key: EventKey) {
        self.of.entry(server.to_owned()).or_default().insert(id, key);
    }

    /// Adds all the keys of another set, in place of those with the same IDs.
    pub fn join(&mut self, other: Self) {
        for (server, keys) in other.of {
            self.of.entry(server).or_default().extend(keys);
        }
        self.own = other.own.or(self.own.take());
    }

    /// Whether the key `id` of `server` is there and signed at the time `at`.
    pub fn has(&self, server: &ServerName, id: &str, at: UnixMillis) -> bool {
        self.of.get(server).and_then(|keys| keys.get(id)).is_some_and(|key| at <= key.valid_until)
    }

    /// The keys of `servers` that signed at the time `at`. Each of the servers has an entry, be it without keys.
    pub fn good_at<'a>(
        &self,
        servers: impl IntoIterator<Item = &'a ServerName>,
        at: UnixMillis,
    ) -> PublicKeyMap {
        let of = |server: &ServerName| -> PublicKeySet {
            let keys = self.of.get(server).into_iter().flatten();
            let good = keys.filter(|(_, key)| at <= key.valid_until);
            good.map(|(id, key)| (id.clone(), key.public.clone())).collect()
        };
        servers.into_iter().map(|server| (server.to_string(), of(server))).collect()
    }

    /// What is still needed of `needed`.
    pub fn lacking(&self, needed: &NeededKeys) -> NeededKeys {
        let mut lacking = needed.clone();
        lacking.retain(|server, keys| {
            keys.retain(|id, at| !self.has(server, id, *at));
            !keys.is_empty()
        });
        lacking
    }
}

impl Extend<(OwnedServerName, String, EventKey)> for EventKeys {
    fn extend<T: IntoIterator<Item = (OwnedServerName, String, EventKey)>>(&mut self, keys: T) {
        keys.into_iter().for_each(|(server, id, key)| self.put(&server, id, key));
    }
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::*;

    #[test]
    fn a_key_is_good_until_it_was_replaced_and_what_is_lacking_is_said() {
        let (here, there) = (server_name!("a.example"), server_name!("b.example"));
        let mut keys = EventKeys::default();
        let key = |until| EventKey { public: Base64::new(vec![1]), valid_until: UnixMillis(until) };
        keys.extend([
            (here.to_owned(), "ed25519:1".to_owned(), key(100)),
            (here.to_owned(), "ed25519:2".to_owned(), key(200)),
        ]);
        let ids = |at| {
            let map = keys.good_at([here, there], UnixMillis(at));
            assert!(map[there.as_str()].is_empty());
            map[here.as_str()].keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(ids(0), ["ed25519:1", "ed25519:2"]);
        assert_eq!(ids(100), ["ed25519:1", "ed25519:2"]);
        assert_eq!(ids(101), ["ed25519:2"]);
        assert!(ids(201).is_empty());
        let need = |id: &str, at| BTreeMap::from([(id.to_owned(), UnixMillis(at))]);
        let needed: NeededKeys = [
            (
                here.to_owned(),
                [need("ed25519:1", 101), need("ed25519:2", 200)].into_iter().flatten().collect(),
            ),
            (there.to_owned(), need("ed25519:1", 0)),
        ]
        .into();
        let lacking: NeededKeys =
            [(here.to_owned(), need("ed25519:1", 101)), (there.to_owned(), need("ed25519:1", 0))].into();
        assert_eq!(keys.lacking(&needed), lacking);
    }
}
