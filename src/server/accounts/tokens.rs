//! What a client shows to be let in, and for what it gets the next.

use std::time::Duration;

use ruma::OwnedDeviceId;

use crate::server::session::Token;

/// A device that just logged in.
#[derive(Clone, Debug)]
pub struct LoggedIn {
    /// The device.
    pub device: OwnedDeviceId,
    /// Its tokens; from here on only the client knows them.
    pub tokens: Tokens,
}

/// What a client shows, and for what it gets the next.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The access token.
    pub access: Token,
    /// The refresh token, and how long the access token is good; `None`: until the device logs out.
    pub refresh: Option<(Token, Duration)>,
}

impl Tokens {
    /// How long the access token is good, in milliseconds; `None`: until the device logs out.
    pub fn expires_in_ms(&self) -> Option<u64> {
        self.refresh.as_ref().map(|(_, lifetime)| u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX))
    }
}

/// How long the access token of a client is good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lasting {
    /// Until its device logs out.
    Long,
    /// For a while: its client knows how to get the next.
    Short,
}
