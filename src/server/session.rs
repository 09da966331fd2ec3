//! Access tokens, and who a request is from.

use std::fmt;

use ruma::{
    OwnedDeviceId, OwnedUserId,
    serde::{Base64, base64::UrlSafe},
};
use sha2::{Digest, Sha256};

/// Who sends the request: the user and device that the access token belongs to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Session {
    /// The user.
    pub user: OwnedUserId,
    /// The user's device.
    pub device: OwnedDeviceId,
}

/// What stands in the place of the device where an application service acts as a user without one. No device can be
/// called so.
const NO_DEVICE: &str = "org.pilotlight.no_device";

impl Session {
    /// Of a user as whom an application service acts, without a device. It is the same for each of its requests: what a
    /// device does once, and is for others, this is too.
    pub fn without_device(user: OwnedUserId) -> Self {
        Self { user, device: NO_DEVICE.into() }
    }

    /// Whether there is a device.
    pub fn has_device(&self) -> bool {
        self.device != *NO_DEVICE
    }

    /// Whether a device may be called so.
    pub fn may_be_device(id: &str) -> bool {
        id != NO_DEVICE
    }
}

/// An access token: 256 random bits. Its `Debug` form shows nothing.
#[derive(Clone, Eq, PartialEq)]
pub struct Token(String);

/// The SHA-256 of an access token: all that is kept of it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TokenHash(pub [u8; 32]);

impl Token {
    /// What every token begins with: lets secret scanners find tokens that were published by mistake.
    pub const PREFIX: &str = "pltl_";

    /// A token that nobody has yet.
    pub fn random() -> Self {
        Self(format!("{}{}", Self::PREFIX, Base64::<UrlSafe, _>::new(rand::random::<[u8; 32]>()).encode()))
    }

    /// The token itself, for the one answer that carries it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl TokenHash {
    /// The hash of a token as a client sends it.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

/// A device identifier for a client that brings none: ten capital letters.
pub fn random_device_id() -> OwnedDeviceId {
    let letters: String = (0..10).map(|_| char::from(rand::random_range(b'A'..=b'Z'))).collect();
    letters.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_do_not_show_in_debug_output() {
        let (a, b) = (Token::random(), Token::random());
        assert_ne!(a, b);
        assert_eq!(a.as_str().len(), Token::PREFIX.len() + 43);
        assert!(!format!("{a:?}").contains(&a.as_str()[Token::PREFIX.len()..]));
    }
}
