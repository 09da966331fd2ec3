//! What a client gives back to go on from where it is.

use crate::server::change::position::{LivePosition, LogPosition};
use std::{fmt, str::FromStr};

/// Where a reader is. Opaque to clients.
///
/// Its first letter says which form it has: `p{log}_{live}`, or `p{log}_{live}_{to_device}` while messages for the
/// reader's device wait. What lives has one position here because one process stamps it. Where several do, the
/// second part becomes a list of their positions: so nobody outside sees the fields, and a token is not `Copy`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Token {
    log: LogPosition,
    live: LivePosition,
    to_device: LogPosition,
}

/// Not a token of this server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotAToken;

impl Token {
    /// Of a reader who was told everything durable up to `log`, and everything that lives up to `live`.
    pub const fn new(log: LogPosition, live: LivePosition) -> Self {
        Self { log, live, to_device: log }
    }

    /// Of a place in the log; a reader who goes on from it is told everything that lives.
    pub const fn at(log: LogPosition) -> Self {
        Self::new(log, LivePosition::START)
    }

    /// The same for a reader who was told the messages for their device up to `position` only.
    #[must_use]
    pub const fn with_to_device(self, position: LogPosition) -> Self {
        Self { to_device: position, ..self }
    }

    /// The position in the durable log.
    pub const fn log(&self) -> LogPosition {
        self.log
    }

    /// The position among what lives in memory only.
    pub const fn live(&self) -> LivePosition {
        self.live
    }

    /// The position of the last message for the device that was told; that in the log, when there were no more.
    pub const fn to_device(&self) -> LogPosition {
        self.to_device
    }
}

/// Without any character that JSON or a URL would escape.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}_{}", self.log, self.live)?;
        if self.to_device == self.log { Ok(()) } else { write!(f, "_{}", self.to_device) }
    }
}

impl FromStr for Token {
    type Err = NotAToken;

    fn from_str(s: &str) -> Result<Self, NotAToken> {
        let mut characters = s.chars();
        match characters.next() {
            Some('p') => one_process(characters.as_str()),
            _ => Err(NotAToken),
        }
    }
}

/// What follows a `p`.
fn one_process(s: &str) -> Result<Token, NotAToken> {
    let (log, live) = s.split_once('_').ok_or(NotAToken)?;
    let (live, to_device) = live.split_once('_').unwrap_or((live, log));
    let token = Token::new(LogPosition::new(number(log)?), LivePosition::new(number(live)?));
    Ok(token.with_to_device(LogPosition::new(number(to_device)?)))
}

/// Digits only: no sign, no space. The log is SQLite's: 63 bits.
fn number(s: &str) -> Result<u64, NotAToken> {
    if !s.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NotAToken);
    }
    s.parse().ok().filter(|&n| i64::try_from(n).is_ok()).ok_or(NotAToken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let token = Token::new(LogPosition::new(17), LivePosition::new(1_763_000_000_000_000));
        assert_eq!(token.to_string(), "p17_1763000000000000");
        assert_eq!(token.to_string().parse(), Ok(token.clone()));
        let behind = token.clone().with_to_device(LogPosition::new(9));
        assert_eq!(behind.to_string(), "p17_1763000000000000_9");
        assert_eq!(behind.to_string().parse(), Ok(behind.clone()));
        assert_eq!((behind.log(), behind.live()), (token.log(), token.live()));
        assert_eq!((behind.to_device(), token.to_device()), (LogPosition::new(9), token.log()));
    }

    #[test]
    fn a_place_in_the_log_is_before_everything_that_lives() {
        assert_eq!(Token::at(LogPosition::new(5)).to_string(), "p5_0");
    }

    #[test]
    fn garbage_is_not_a_token() {
        for garbage in [
            "",
            "p",
            "p1",
            "p_",
            "p1_",
            "p_1",
            "p-1_1",
            "p+1_1",
            "s1_1",
            "q1_1",
            "ü1_1",
            "p1_1_",
            "p1_1_1_1",
            "p1_1-2",
            "p1_1 ",
            "p99999999999999999999_1",
            "p1_18446744073709551615",
        ] {
            assert_eq!(garbage.parse::<Token>(), Err(NotAToken), "{garbage}");
        }
    }
}
