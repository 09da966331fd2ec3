//! Keys with the signatures that came after them, which are kept apart.

use serde_json::{Map, Value, json};

use super::{device_keys::KeySignature, error::StoreError};

/// The public part of a cross-signing key, which is what it goes by.
pub fn public_part(key: &str) -> Option<String> {
    let key: Value = serde_json::from_str(key).ok()?;
    key.get("keys")?.as_object()?.values().next()?.as_str().map(ToOwned::to_owned)
}

/// The key that is called `id`, with those of `signatures` that are on it.
///
/// # Errors
/// [`StoreError::Corrupt`] when it is no JSON object.
pub fn with_signatures(
    key: &str,
    id: &str,
    signatures: &[KeySignature],
) -> Result<Map<String, Value>, StoreError> {
    let mut key: Map<String, Value> = serde_json::from_str(key)
        .map_err(|e| StoreError::Corrupt(format!("a key that is no object: {e}")))?;
    for s in signatures.iter().filter(|s| s.key == id) {
        let all = key.entry("signatures").or_insert_with(|| json!({}));
        let of_signer =
            all.as_object_mut().map(|all| all.entry(s.signer.as_str()).or_insert_with(|| json!({})));
        if let Some(of_signer) = of_signer.and_then(Value::as_object_mut) {
            of_signer.insert(s.signer_key.clone(), s.signature.clone().into());
        }
    }
    Ok(key)
}
