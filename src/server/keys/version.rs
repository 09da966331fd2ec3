//! The names that keys go by.

/// Whether `word` can stand after the algorithm in a key's ID.
pub(super) fn is_version(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
