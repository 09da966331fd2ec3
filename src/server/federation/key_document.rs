//! What a server publishes of its keys: read, bounded, and proven by its own signature.

use std::{collections::BTreeMap, time::Duration};

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, ServerName,
    api::federation::discovery::{OldVerifyKey, ServerSigningKeys},
    serde::Base64,
    signatures::{PublicKeySet, verify_json},
};

use super::key_error::KeyError;
use crate::{
    core::time::{UnixMillis, millis},
    server::{keys::EventKey, store::PublishedKeys},
};

/// Keys are taken for valid this long at most, whatever their server says.
const LONGEST_VALIDITY: Duration = Duration::from_secs(7 * 24 * 3600);

/// Keys in one answer that are read at most.
const MAX_KEYS: usize = 32;

/// Keys that were replaced, in one answer: those that were replaced last are read.
const MAX_OLD_KEYS: usize = 64;

/// The longest document that is kept for others, in bytes.
const LONGEST_KEPT: usize = 16 << 10;

/// What a server says of its keys.
#[derive(Debug)]
pub(in crate::server) struct KeyDocument {
    /// Whose keys.
    pub server: OwnedServerName,
    /// Those that it signs with.
    pub keys: PublicKeySet,
    /// Those that it signed with, and until when.
    pub old: Vec<(String, EventKey)>,
    /// Until when those in use hold, by its own word.
    pub valid_until: UnixMillis,
}

impl KeyDocument {
    /// What `answer` says, if it is about the keys of `server` and signed with them.
    ///
    /// # Errors
    /// [`KeyError::Unproven`] says what is wrong with it.
    pub fn verified(server: &ServerName, answer: &str) -> Result<Self, KeyError> {
        let said: ServerSigningKeys = serde_json::from_str(answer).map_err(|e| unproven(&e))?;
        if said.server_name != server {
            return Err(unproven(&"the keys are another server's"));
        }
        if said.verify_keys.is_empty() || said.verify_keys.len() > MAX_KEYS {
            return Err(unproven(&"no keys, or too many"));
        }
        let keys: PublicKeySet =
            said.verify_keys.into_iter().map(|(id, key)| (id.to_string(), key.key)).collect();
        // Notaries sign too; what counts here is the server's own signature.
        let object = signed_by(server, answer)?;
        verify_json(&BTreeMap::from([(server.to_string(), keys.clone())]), &object)
            .map_err(|e| unproven(&e))?;
        let read = |OldVerifyKey { expired_ts, key, .. }| {
            let public = Base64::new(Base64::as_bytes(&key).to_vec());
            EventKey { public, valid_until: UnixMillis(expired_ts.get().into()) }
        };
        let old = said.old_verify_keys.into_iter().map(|(id, key)| (id.to_string(), read(key)));
        let mut old: Vec<_> = old.filter(|(id, _)| !keys.contains_key(id)).collect();
        old.sort_by_key(|(_, key)| std::cmp::Reverse(key.valid_until));
        old.truncate(MAX_OLD_KEYS);
        let valid_until = UnixMillis(said.valid_until_ts.get().into());
        Ok(Self { server: said.server_name, keys, old, valid_until })
    }

    /// The keys with which its events are signed, as far as is believed at `now`.
    pub fn event_keys(&self, now: UnixMillis) -> impl Iterator<Item = (String, EventKey)> {
        let longest = longest(now);
        let valid_until = self.valid_until.min(longest);
        let current = self.keys.iter().map(move |(id, public)| {
            let public = Base64::new(public.as_bytes().to_vec());
            (id.clone(), EventKey { public, valid_until })
        });
        let old = self.old.iter().map(move |(id, key)| {
            let valid_until = key.valid_until.min(longest);
            (id.clone(), EventKey { valid_until, ..key.clone() })
        });
        current.chain(old)
    }

    /// What of it is kept, when it was said `now` by `answer`.
    pub fn to_keep(&self, now: UnixMillis, answer: &str) -> PublishedKeys {
        let row = |(id, key): (&String, &Base64)| (id.clone(), key.as_bytes().to_vec());
        let longest = longest(now);
        let old = self.old.iter().map(|(id, key)| (row((id, &key.public)), key.valid_until.min(longest)));
        PublishedKeys {
            current: self.keys.iter().map(row).collect(),
            old: old.collect(),
            valid_until: self.valid_until.min(longest),
            document: (answer.len() <= LONGEST_KEPT).then(|| answer.to_owned()),
            fetched: now,
        }
    }
}

/// The document with the signatures of `signer` only.
pub(super) fn signed_by(signer: &ServerName, document: &str) -> Result<CanonicalJsonObject, KeyError> {
    let mut object: CanonicalJsonObject = serde_json::from_str(document).map_err(|e| unproven(&e))?;
    if let Some(CanonicalJsonValue::Object(signatures)) = object.get_mut("signatures") {
        signatures.retain(|name, _| name == signer.as_str());
        if signatures.is_empty() {
            return Err(unproven(&format_args!("the keys are not signed by {signer}")));
        }
    }
    Ok(object)
}

pub(super) fn unproven(e: &dyn std::fmt::Display) -> KeyError {
    KeyError::Unproven(e.to_string())
}

fn longest(now: UnixMillis) -> UnixMillis {
    UnixMillis(now.0.saturating_add(millis(LONGEST_VALIDITY)))
}

#[cfg(test)]
mod tests {
    use ruma::{
        server_name,
        signatures::{Ed25519KeyPair, sign_json},
    };
    use serde_json::{Value, json};

    use super::*;

    fn document(name: &str, signer: &str, old: Value) -> String {
        let key = Ed25519KeyPair::from_der(&Ed25519KeyPair::generate(), "1".to_owned()).unwrap();
        let public = Base64::<ruma::serde::base64::Standard>::new(key.public_key().to_vec()).encode();
        let mut object: CanonicalJsonObject = serde_json::from_value(json!({
            "server_name": name,
            "verify_keys": { "ed25519:1": { "key": public } },
            "old_verify_keys": old,
            "valid_until_ts": 1_700_000_000_000_u64,
        }))
        .unwrap();
        sign_json(signer, &key, &mut object).unwrap();
        serde_json::to_string(&object).unwrap()
    }

    #[test]
    fn keys_that_sign_themselves_are_taken() {
        let answer = document("a.example", "a.example", json!({}));
        let said = KeyDocument::verified(server_name!("a.example"), &answer).unwrap();
        assert_eq!(said.keys.keys().collect::<Vec<_>>(), ["ed25519:1"]);
        assert_eq!(said.valid_until, UnixMillis(1_700_000_000_000));
    }

    #[test]
    fn keys_of_another_name_signer_or_content_are_refused() {
        let server = server_name!("a.example");
        let tampered =
            document("a.example", "a.example", json!({})).replace("1700000000000", "1800000000000");
        for bad in [
            document("b.example", "a.example", json!({})),
            document("a.example", "b.example", json!({})),
            tampered,
            "{}".to_owned(),
        ] {
            let read = KeyDocument::verified(server, &bad);
            assert!(matches!(read, Err(KeyError::Unproven(_))), "{bad}");
        }
    }

    #[test]
    fn a_key_that_was_replaced_verifies_events_until_then_and_no_requests() {
        let key =
            |until: u64| json!({ "key": "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI", "expired_ts": until });
        let old = json!({ "ed25519:0": key(1_000), "ed25519:1": key(2_000), "ed25519:late": key(1 << 52) });
        let answer = document("a.example", "a.example", old);
        let said = KeyDocument::verified(server_name!("a.example"), &answer).unwrap();
        let now = UnixMillis(1_600_000_000_000);
        let until: BTreeMap<_, _> = said.event_keys(now).map(|(id, key)| (id, key.valid_until)).collect();
        let expected = [
            ("ed25519:0".to_owned(), UnixMillis(1_000)),
            // In use: what is said of it as an old one does not count.
            ("ed25519:1".to_owned(), longest(now)),
            ("ed25519:late".to_owned(), longest(now)),
        ];
        assert_eq!(until, expected.into());
        assert!(!said.keys.contains_key("ed25519:0"));
    }

    #[test]
    fn of_too_many_keys_that_were_replaced_the_last_are_read() {
        let key = |until: usize| json!({ "key": "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI", "expired_ts": until });
        let old: serde_json::Map<_, _> = (0..100).map(|n| (format!("ed25519:o{n}"), key(n))).collect();
        let answer = document("a.example", "a.example", old.into());
        let said = KeyDocument::verified(server_name!("a.example"), &answer).unwrap();
        assert_eq!(said.old.len(), MAX_OLD_KEYS);
        assert!(said.old.iter().all(|(_, key)| key.valid_until >= UnixMillis(36)));
    }
}
