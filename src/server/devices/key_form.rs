//! What keys must look like to be kept: whole, named as they are to be, and of the device or user that uploads them.
//!
//! A device signs its own keys, and only whoever talks with it can judge that: of those signatures only that they are
//! there is looked at. How cross-signing keys hang together is looked at in `signed`.
//! Matrix client-server API, "Key management".

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::server::session::Session;

/// The longest name of a key, in bytes.
const MAX_NAME: usize = 255;

/// A JSON object.
pub type Object = Map<String, Value>;

/// Signatures: by user, by the name of the key.
pub type Signatures = BTreeMap<String, BTreeMap<String, String>>;

/// Why a key is not taken.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadKey {
    /// Something is missing, or of another type.
    #[error("{0}")]
    Form(String),
    /// Something has a value that it cannot have.
    #[error("{0}")]
    Value(String),
    /// A signature does not fit.
    #[error("{0}")]
    Signature(String),
    /// There is something else of this name.
    #[error("{0}")]
    InUse(String),
}

#[derive(Deserialize)]
struct DeviceKeys {
    user_id: String,
    device_id: String,
    algorithms: Vec<String>,
    keys: BTreeMap<String, String>,
    signatures: Signatures,
}

#[derive(Deserialize)]
struct SignedKey {
    key: String,
    #[serde(default, rename = "fallback")]
    _fallback: Option<bool>,
    signatures: Signatures,
}

/// The keys of a device, as it signed them.
///
/// # Errors
/// [`BadKey`] when a part is missing or empty, or of another device.
pub fn device_keys(by: &Session, keys: &Object) -> Result<(), BadKey> {
    let DeviceKeys { user_id, device_id, algorithms, keys, signatures } = parse("device_keys", keys)?;
    if user_id != by.user.as_str() || device_id != by.device.as_str() {
        return Err(BadKey::Value("device_keys are of another user or device".to_owned()));
    }
    if algorithms.is_empty() || algorithms.iter().any(String::is_empty) {
        return Err(BadKey::Value("device_keys name no algorithm".to_owned()));
    }
    if keys.is_empty() || keys.iter().any(|(name, key)| !is_of_device(name, by) || key.is_empty()) {
        let why = format!("keys of device_keys are there, and named algorithm:{}", by.device);
        return Err(BadKey::Value(why));
    }
    let by_itself = signatures_of(by, &signatures).filter(|(name, _)| keys.contains_key(*name));
    if by_itself.count() == 0 {
        return Err(BadKey::Value("device_keys are not signed with one of them".to_owned()));
    }
    Ok(())
}

/// A key that is handed out: a one-time key, or a fallback key.
///
/// # Errors
/// [`BadKey`] when it is not named `algorithm:id`, is not what its algorithm has for a key, or is not signed by its
/// device though it has to be.
pub fn claimable_key(by: &Session, name: &str, key: &Value) -> Result<(), BadKey> {
    let bad = |why: &str| Err(BadKey::Value(format!("{name:?} {why}")));
    let algorithm = match name.split_once(':') {
        Some((algorithm, id)) if !algorithm.is_empty() && !id.is_empty() && !id.contains(':') => algorithm,
        _ => return bad("is not named algorithm:id"),
    };
    if name.len() > MAX_NAME {
        return Err(BadKey::Value(format!("a key has a name of at most {MAX_NAME} bytes")));
    }
    match key {
        // Signed ones are objects; those of this algorithm are not.
        Value::String(_) if algorithm.starts_with("signed_") => bad("is not signed"),
        Value::String(key) if key.is_empty() => bad("is empty"),
        Value::String(_) => Ok(()),
        _ if algorithm == "curve25519" => Err(BadKey::Form(format!("{name:?} is not a string"))),
        Value::Object(object) => {
            let SignedKey { key, signatures, .. } = parse(name, object)?;
            match (key.is_empty(), signatures_of(by, &signatures).next()) {
                (true, _) => bad("is empty"),
                (false, None) => bad("is not signed by this device"),
                (false, Some(_)) => Ok(()),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            Err(BadKey::Form(format!("{name:?} is neither a string nor an object")))
        }
    }
}

/// Fallback keys: as [`claimable_key`], and one for each algorithm.
///
/// # Errors
/// [`BadKey`], as there.
pub fn fallback_keys(by: &Session, keys: &BTreeMap<String, Value>) -> Result<(), BadKey> {
    let mut algorithms = BTreeSet::new();
    for (name, key) in keys {
        claimable_key(by, name, key)?;
        if !algorithms.insert(name.split_once(':').map(|(algorithm, _)| algorithm)) {
            return Err(BadKey::Value("there is one fallback key for each algorithm".to_owned()));
        }
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(what: &str, object: &Object) -> Result<T, BadKey> {
    let value = Value::Object(object.clone());
    serde_json::from_value(value).map_err(|e| BadKey::Form(format!("{what}: {e}")))
}

fn is_of_device(name: &str, by: &Session) -> bool {
    name.split_once(':').is_some_and(|(algorithm, id)| !algorithm.is_empty() && id == by.device.as_str())
}

/// What the device itself has signed with.
fn signatures_of<'a>(
    by: &'a Session,
    signatures: &'a Signatures,
) -> impl Iterator<Item = (&'a String, &'a String)> {
    let own = signatures.get(by.user.as_str()).into_iter().flatten();
    own.filter(|(name, signature)| is_of_device(name, by) && !signature.is_empty())
}

#[cfg(test)]
mod tests {
    use ruma::user_id;
    use serde_json::json;

    use super::*;

    fn session() -> Session {
        Session { user: user_id!("@a:x").to_owned(), device: "D".into() }
    }

    fn good_device_keys() -> Value {
        json!({
            "user_id": "@a:x", "device_id": "D", "algorithms": ["m.olm"],
            "keys": { "ed25519:D": "k", "curve25519:D": "c" },
            "signatures": { "@a:x": { "ed25519:D": "s" }, "@b:x": { "ed25519:E": "t" } },
        })
    }

    /// `good` with `value` at the place that `pointer` names; without that place if there is no value.
    fn with(mut good: Value, pointer: &str, value: Option<Value>) -> Value {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        let parent = good.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
        match value {
            Some(value) => drop(parent.insert(name.to_owned(), value)),
            None => drop(parent.remove(name).expect("was there")),
        }
        good
    }

    fn fault(result: Result<(), BadKey>) -> &'static str {
        match result {
            Ok(()) => "taken",
            Err(BadKey::Form(_)) => "form",
            Err(BadKey::Value(_)) => "value",
            Err(BadKey::Signature(_)) => "signature",
            Err(BadKey::InUse(_)) => "in use",
        }
    }

    #[test]
    fn device_keys_are_whole_and_of_the_device_that_uploads_them() {
        let table = [
            ("/user_id", Some(json!("@a:x")), "taken"),
            ("/more", Some(json!({ "of": "it" })), "taken"),
            ("/user_id", None, "form"),
            ("/user_id", Some(json!("@b:x")), "value"),
            ("/user_id", Some(json!(1)), "form"),
            ("/device_id", None, "form"),
            ("/device_id", Some(json!("E")), "value"),
            ("/algorithms", None, "form"),
            ("/algorithms", Some(json!([])), "value"),
            ("/algorithms", Some(json!([""])), "value"),
            ("/algorithms", Some(json!([1])), "form"),
            ("/algorithms", Some(json!("m.olm")), "form"),
            ("/keys", None, "form"),
            ("/keys", Some(json!({})), "value"),
            ("/keys", Some(json!([])), "form"),
            ("/keys/ed25519:D", Some(json!("")), "value"),
            ("/keys/ed25519:D", Some(json!(1)), "form"),
            ("/keys/ed25519:E", Some(json!("k")), "value"),
            ("/keys/ed25519", Some(json!("k")), "value"),
            ("/keys/:D", Some(json!("k")), "value"),
            ("/signatures", None, "form"),
            ("/signatures", Some(json!({})), "value"),
            ("/signatures", Some(json!([])), "form"),
            ("/signatures/@a:x", Some(json!({})), "value"),
            ("/signatures/@a:x", None, "value"),
            ("/signatures/@a:x", Some(json!("s")), "form"),
            ("/signatures/@a:x", Some(json!({ "ed25519:E": "s" })), "value"),
            ("/signatures/@a:x/ed25519:D", Some(json!("")), "value"),
            ("/signatures/@b:x", Some(json!({ "ed25519:E": 1 })), "form"),
            ("/keys/ed25519:D", None, "value"),
        ];
        for (place, value, expected) in table {
            let keys = with(good_device_keys(), place, value.clone());
            let result = device_keys(&session(), keys.as_object().expect("an object"));
            assert_eq!(fault(result), expected, "{place} {value:?}");
        }
    }

    #[test]
    fn keys_that_are_handed_out_are_named_and_signed_as_their_algorithm_has_it() {
        let signed = || json!({ "key": "k", "signatures": { "@a:x": { "ed25519:D": "s" } } });
        let (long, other) =
            (format!("curve25519:{}", "x".repeat(300)), json!({ "@b:x": { "ed25519:D": "s" } }));
        let table = [
            ("curve25519:A", json!("k"), "taken"),
            ("signed_curve25519:A", signed(), "taken"),
            ("signed_curve25519:A", with(signed(), "/fallback", Some(json!(true))), "taken"),
            ("org.example:A", json!("k"), "taken"),
            ("org.example:A", signed(), "taken"),
            ("curve25519", json!("k"), "value"),
            ("curve25519:", json!("k"), "value"),
            (":A", json!("k"), "value"),
            ("curve25519:A:B", json!("k"), "value"),
            (long.as_str(), json!("k"), "value"),
            ("curve25519:A", json!(""), "value"),
            ("curve25519:A", json!(5), "form"),
            ("curve25519:A", json!(null), "form"),
            ("curve25519:A", signed(), "form"),
            ("signed_curve25519:A", json!("k"), "value"),
            ("signed_curve25519:A", json!(["k"]), "form"),
            ("signed_curve25519:A", json!({}), "form"),
            ("signed_curve25519:A", with(signed(), "/key", None), "form"),
            ("signed_curve25519:A", with(signed(), "/key", Some(json!(1))), "form"),
            ("signed_curve25519:A", with(signed(), "/key", Some(json!(""))), "value"),
            ("signed_curve25519:A", with(signed(), "/fallback", Some(json!("yes"))), "form"),
            ("signed_curve25519:A", with(signed(), "/signatures", None), "form"),
            ("signed_curve25519:A", with(signed(), "/signatures", Some(json!({}))), "value"),
            ("signed_curve25519:A", with(signed(), "/signatures", Some(other)), "value"),
            (
                "signed_curve25519:A",
                with(signed(), "/signatures/@a:x", Some(json!({ "ed25519:E": "s" }))),
                "value",
            ),
            ("signed_curve25519:A", with(signed(), "/signatures/@a:x/ed25519:D", Some(json!(1))), "form"),
        ];
        for (name, key, expected) in table {
            assert_eq!(fault(claimable_key(&session(), name, &key)), expected, "{name} {key}");
            let all = BTreeMap::from([(name.to_owned(), key)]);
            assert_eq!(fault(fallback_keys(&session(), &all)), expected, "as a fallback key: {all:?}");
        }
        let two = ["signed_curve25519:A", "signed_curve25519:B"].map(|name| (name.to_owned(), signed()));
        assert_eq!(fault(fallback_keys(&session(), &two.into())), "value", "two of one algorithm");
    }
}
