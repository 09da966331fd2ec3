//! Identifiers of calls and of parties: long enough never to be the same, and no secrets.

use crate::core::rng::Rng;

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const LENGTH: usize = 16;

/// A new one.
pub(super) fn fresh(rng: &mut Rng) -> String {
    let mut letter = || LETTERS[rng.range(0..LETTERS.len() as u64) as usize];
    (0..LENGTH).map(|_| char::from(letter())).collect()
}
