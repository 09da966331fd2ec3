//! Fingerprints of users and of what they show, and the digest of many of them.
//!
//! They find out that two servers differ; they do not protect: a peer that forges one hides only the
//! state of its own users, of which it is the authority anyway. The numbers are part of the wire
//! format: both servers must come to the same ones.

use std::fmt;
use std::str::FromStr;

/// 64 bits that stand for a text (FNV-1a, then the finalizer of SplitMix64).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// The fingerprint of a user whose status is not known to the one who computes it.
    pub const UNKNOWN: Self = Self(0);

    /// The fingerprint of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_parts(&[bytes])
    }

    /// Spread over all bits.
    #[must_use]
    pub(super) const fn mixed(self) -> Self {
        Self(mix(self.0))
    }

    /// The fingerprint of several texts, which differs from that of the texts run together.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for part in parts {
            for &byte in *part {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
            // 0xff never occurs in UTF-8.
            hash = (hash ^ 0xff).wrapping_mul(0x0100_0000_01b3);
        }
        Self(mix(hash))
    }
}

/// The sum of what is known of a set of users: equal where the sets and all statuses are equal.
///
/// Users enter and leave in any order, each at the cost of one addition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest(u64);

impl Digest {
    /// The digest of nobody.
    pub const EMPTY: Self = Self(0);

    /// The digest as a number.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The digest that is this number.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Takes in a user with what they show.
    pub const fn add(&mut self, user: Fingerprint, shown: Fingerprint) {
        self.0 = self.0.wrapping_add(entry(user, shown));
    }

    /// Takes out a user that was added with `shown`.
    pub const fn remove(&mut self, user: Fingerprint, shown: Fingerprint) {
        self.0 = self.0.wrapping_sub(entry(user, shown));
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Digest {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if digits { u64::from_str_radix(text, 16).map(Self).map_err(|_| ()) } else { Err(()) }
    }
}

const fn entry(user: Fingerprint, shown: Fingerprint) -> u64 {
    mix(user.0 ^ mix(shown.0 ^ 0x9e37_79b9_7f4a_7c15))
}

const fn mix(hash: u64) -> u64 {
    let z = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn order_does_not_matter_and_leaving_undoes_entering() {
        let users: Vec<_> = (0u8..5).map(|n| Fingerprint::of(&[n])).collect();
        let shown = Fingerprint::of(b"online");
        let (mut forth, mut back) = (Digest::EMPTY, Digest::EMPTY);
        users.iter().for_each(|&user| forth.add(user, shown));
        users.iter().rev().for_each(|&user| back.add(user, shown));
        assert_eq!(forth, back);
        users.iter().for_each(|&user| forth.remove(user, shown));
        assert_eq!(forth, Digest::EMPTY);
    }

    #[test]
    fn another_status_another_user_and_an_exchange_all_show() {
        let (a, b) = (Fingerprint::of(b"@a:x"), Fingerprint::of(b"@b:x"));
        let (on, off) = (Fingerprint::of(b"online"), Fingerprint::of(b"offline"));
        let digest = |entries: &[(Fingerprint, Fingerprint)]| {
            let mut digest = Digest::EMPTY;
            entries.iter().for_each(|&(user, shown)| digest.add(user, shown));
            digest
        };
        let base = digest(&[(a, on), (b, off)]);
        assert_ne!(base, digest(&[(a, off), (b, on)]), "exchanged");
        assert_ne!(base, digest(&[(a, on), (b, on)]));
        assert_ne!(base, digest(&[(a, on), (b, Fingerprint::UNKNOWN)]));
        assert_ne!(base, digest(&[(a, on)]));
    }

    #[test]
    fn fingerprints_are_those_of_the_wire_format() {
        assert_eq!(Fingerprint::of(b"@alice:example.org").0, 0x2f73_d94c_2bd3_8421);
        assert_ne!(Fingerprint::of_parts(&[b"ab", b"c"]), Fingerprint::of_parts(&[b"a", b"bc"]));
    }

    #[test]
    fn digests_are_those_of_the_wire_format() {
        let mut digest = Digest::EMPTY;
        digest.add(Fingerprint::of(b"@alice:example.org"), Fingerprint::of(b"online"));
        assert_eq!(digest.to_string(), "2358f51b388b4c9f");
    }

    #[test]
    fn digests_are_sixteen_hexadecimal_digits() {
        let mut digest = Digest::EMPTY;
        digest.add(Fingerprint(1), Fingerprint(2));
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for bad in ["", "0", "00000000000000000", "+000000000000000", "g000000000000000"] {
            assert_eq!(bad.parse::<Digest>(), Err(()), "{bad}");
        }
    }
}
