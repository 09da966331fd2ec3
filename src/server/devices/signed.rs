//! Who has signed a key: what cross-signing says of devices and users, looked at before it is handed on.
//!
//! Matrix client-server API, "Cross-signing".

use std::collections::BTreeMap;

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, UserId,
    serde::{Base64, base64::Standard},
    signatures::{PublicKeyMap, verify_json},
};
use serde::Deserialize;
use serde_json::Value;

use super::key_form::{BadKey, Object, Signatures};

/// Signatures by one user on one key, at most; and the bytes of one, with its name.
const MOST: usize = 8;
const LONGEST: usize = 1024;

/// A key that a user may sign with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SigningKey {
    /// How it is named in signatures: `ed25519:…`.
    pub name: String,
    /// Its public part.
    pub public: String,
}

impl SigningKey {
    /// A cross-signing key, which goes by its public part.
    pub fn cross_signing(public: &str) -> Self {
        Self { name: format!("ed25519:{public}"), public: public.to_owned() }
    }
}

/// A cross-signing key of `user` for `usage`; its public part, which is its name. `master`: the public part of the key
/// that must have signed it; `None`: it is that key.
///
/// # Errors
/// [`BadKey`] when it is another's or of another usage, is no ed25519 key, or is not signed.
pub fn cross_signing_key(
    user: &UserId,
    usage: &str,
    key: &Value,
    master: Option<&str>,
) -> Result<String, BadKey> {
    let other = || BadKey::Value(format!("this is not a {usage} key of this user"));
    let object = key.as_object().ok_or_else(other)?;
    let usages = object.get("usage").and_then(Value::as_array);
    let is_own = object.get("user_id").and_then(Value::as_str) == Some(user.as_str());
    if !is_own || !usages.is_some_and(|usages| usages.iter().any(|u| u == usage)) {
        return Err(other());
    }
    let public = object.get("keys").and_then(public_part).ok_or_else(|| {
        BadKey::Value(format!("a {usage} key has one key, ed25519:PUBLIC with the value PUBLIC"))
    })?;
    if let Some(signatures) = object.get("signatures") {
        Signatures::deserialize(signatures)
            .map_err(|e| BadKey::Form(format!("signatures of the {usage} key: {e}")))?;
    }
    match master {
        Some(master) if !is_signed(object, user, master) => {
            Err(BadKey::Signature(format!("the {usage} key is not signed by the master key")))
        }
        Some(_) | None => Ok(public.to_owned()),
    }
}

/// The one key in `keys`, if it is named after its public part.
fn public_part(keys: &Value) -> Option<&str> {
    let mut keys = keys.as_object()?.iter();
    let (name, public) = keys.next().filter(|_| keys.next().is_none())?;
    let public = public.as_str()?;
    let bytes = Base64::<Standard>::parse(public).ok()?;
    (name.strip_prefix("ed25519:") == Some(public) && bytes.as_bytes().len() == 32).then_some(public)
}

/// Whether `user` has signed `object` with the cross-signing key `public`.
fn is_signed(object: &Object, user: &UserId, public: &str) -> bool {
    signature(object, user, &SigningKey::cross_signing(public)).is_some_and(|(_, fits)| fits)
}

/// What `user` has signed `object` with, of the keys that they may sign it with; pairs of the key's name and the
/// signature. `stored`: what is known under the name that the object was sent for.
///
/// # Errors
/// [`BadKey`] when the object is another than the stored one, or there is no signature, or one that does not fit.
pub fn new_signatures(
    object: &Object,
    stored: &Object,
    user: &UserId,
    by: &[SigningKey],
) -> Result<Vec<(String, String)>, BadKey> {
    if !without_signatures(object).eq(without_signatures(stored)) {
        return Err(BadKey::Value("this is not the key that is known by this name".to_owned()));
    }
    let none = || BadKey::Signature("it has no signature that its user could make".to_owned());
    let mut found = Vec::new();
    for key in by {
        match signature(object, user, key) {
            None => {}
            Some((signature, true)) if key.name.len() + signature.len() <= LONGEST => {
                found.push((key.name.clone(), signature.to_owned()));
            }
            Some(_) => {
                return Err(BadKey::Signature(format!("the signature with {} does not fit", key.name)));
            }
        }
    }
    if found.is_empty() || found.len() > MOST { Err(none()) } else { Ok(found) }
}

/// The parts that are signed.
fn without_signatures(object: &Object) -> impl Iterator<Item = (&String, &Value)> {
    object.iter().filter(|(name, _)| !matches!(name.as_str(), "signatures" | "unsigned"))
}

/// The signature of `user` with `key`, if there is one, and whether it fits.
fn signature<'a>(object: &'a Object, user: &UserId, key: &SigningKey) -> Option<(&'a str, bool)> {
    let signature = object.get("signatures")?.get(user.as_str())?.get(&key.name)?.as_str()?;
    Some((signature, fits(object, user, key, signature).is_some()))
}

fn fits(object: &Object, user: &UserId, key: &SigningKey, signature: &str) -> Option<()> {
    let alone = Value::from_iter([(user.as_str(), Value::from_iter([(key.name.as_str(), signature)]))]);
    let mut plain: CanonicalJsonObject = BTreeMap::new();
    for (name, value) in without_signatures(object) {
        plain.insert(name.clone(), CanonicalJsonValue::try_from(value.clone()).ok()?);
    }
    plain.insert("signatures".to_owned(), CanonicalJsonValue::try_from(alone).ok()?);
    let public = Base64::<Standard>::parse(&key.public).ok()?;
    let keys = PublicKeyMap::from([(user.to_string(), BTreeMap::from([(key.name.clone(), public)]))]);
    verify_json(&keys, &plain).ok()
}

#[cfg(test)]
mod tests {
    use ruma::{
        signatures::{Ed25519KeyPair, sign_json},
        user_id,
    };
    use serde_json::json;

    use super::*;

    struct Pair(Ed25519KeyPair, String);

    fn pair() -> Pair {
        let der = Ed25519KeyPair::generate();
        let unnamed = Ed25519KeyPair::from_der(&der, "1".to_owned()).expect("a key");
        let public = Base64::<Standard, _>::new(unnamed.public_key()).encode();
        Pair(Ed25519KeyPair::from_der(&der, public.clone()).expect("a key"), public)
    }

    fn signed(object: Value, user: &UserId, by: &[&Pair]) -> Value {
        let mut object: CanonicalJsonObject = serde_json::from_value(object).expect("an object");
        for pair in by {
            sign_json(user.as_str(), &pair.0, &mut object).expect("can be signed");
        }
        serde_json::to_value(object).expect("is JSON")
    }

    fn key(user: &UserId, usage: &str, of: &Pair) -> Value {
        json!({ "user_id": user, "usage": [usage], "keys": { (format!("ed25519:{}", of.1)): of.1 } })
    }

    #[test]
    fn cross_signing_keys_are_of_their_user_and_usage_and_signed_by_the_master_key() {
        let (user, other) = (user_id!("@a:x"), user_id!("@b:x"));
        let (master, own, stranger) = (pair(), pair(), pair());
        let m = master.1.as_str();
        let good = || signed(key(user, "self_signing", &own), user, &[&master]);
        let check = |key: &Value| cross_signing_key(user, "self_signing", key, Some(m));
        assert_eq!(check(&good()).as_deref(), Ok(own.1.as_str()));
        assert!(
            check(&signed(key(user, "self_signing", &own), user, &[&own, &master])).is_ok(),
            "and by itself"
        );
        assert_eq!(cross_signing_key(user, "master", &key(user, "master", &master), None).as_deref(), Ok(m));
        let changed = |change: fn(&mut Value)| {
            let mut key = good();
            change(&mut key);
            key
        };
        let unsigned = [
            key(user, "self_signing", &own),
            signed(key(user, "self_signing", &own), user, &[&stranger]),
            signed(key(user, "self_signing", &own), other, &[&master]),
            changed(|key| key["more"] = json!("said later")),
            changed(|key| key["signatures"] = json!({ "@a:x": {} })),
        ];
        for key in unsigned {
            assert!(matches!(check(&key), Err(BadKey::Signature(_))), "{key}");
        }
        let wrong = [
            json!(null),
            json!("key"),
            signed(key(other, "self_signing", &own), user, &[&master]),
            signed(key(user, "user_signing", &own), user, &[&master]),
            changed(|key| key["usage"] = json!("self_signing")),
            changed(|key| key["keys"] = json!({})),
            changed(|key| key["keys"] = json!({ "ed25519:x": "x" })),
            changed(|key| key["keys"]["ed25519:second"] = json!("second")),
            changed(|key| key["keys"] = json!({ "curve25519:x": "x" })),
        ];
        for key in wrong {
            assert!(matches!(check(&key), Err(BadKey::Value(_))), "{key}");
        }
        let table = [json!([]), json!({ "@a:x": "s" }), json!({ "@a:x": { "ed25519:x": 1 } })];
        for signatures in table {
            let mut key = good();
            key["signatures"] = signatures;
            assert!(matches!(check(&key), Err(BadKey::Form(_))), "{key}");
        }
    }

    #[test]
    fn a_signature_is_taken_on_the_very_key_by_who_may_sign_it_and_if_it_fits() {
        let user = user_id!("@a:x");
        let (own, stranger) = (pair(), pair());
        let by = [SigningKey::cross_signing(&own.1)];
        let stored = json!({ "user_id": user, "device_id": "D", "keys": {}, "unsigned": { "n": 1 } });
        let take = |sent: &Value| {
            let object = |value: &Value| value.as_object().expect("an object").clone();
            new_signatures(&object(sent), &object(&stored), user, &by)
        };
        let good = signed(stored.clone(), user, &[&own, &stranger]);
        let taken = take(&good).expect("is signed");
        assert_eq!(taken.len(), 1, "only what was asked for: {taken:?}");
        assert_eq!(taken[0].0, by[0].name);
        assert!(matches!(take(&stored), Err(BadKey::Signature(_))), "not signed");
        assert!(matches!(take(&signed(stored.clone(), user, &[&stranger])), Err(BadKey::Signature(_))));
        let mut other = signed(stored.clone(), user, &[&own]);
        other["device_id"] = json!("E");
        assert!(matches!(take(&other), Err(BadKey::Value(_))), "another key");
        let mut forged = good;
        forged["signatures"]["@a:x"][&by[0].name] = json!("c2lnbmF0dXJl");
        assert!(matches!(take(&forged), Err(BadKey::Signature(_))));
    }
}
