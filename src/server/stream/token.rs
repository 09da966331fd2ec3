//! Positions: the counter of what is live, and the token that a client gives back.

use crate::server::change::position::{LivePosition, LogPosition};
use std::{fmt, str::FromStr};

/// Where a reader is: `p{log}_{live}`, or `p{log}_{live}_{to_device}` while messages for its device wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Token {
    /// The position in the durable log.
    pub log: LogPosition,
    /// The position among the live things, see [`Live`].
    pub live: LivePosition,
    /// The position of the last message for the device that was told; `log`, when there were no more.
    pub to_device: LogPosition,
}

/// Not a token of this server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotAToken;

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}_{}", self.log, self.live)?;
        if self.to_device == self.log { Ok(()) } else { write!(f, "_{}", self.to_device) }
    }
}

impl FromStr for Token {
    type Err = NotAToken;

    fn from_str(s: &str) -> Result<Self, NotAToken> {
        let (log, live) = s.strip_prefix('p').and_then(|s| s.split_once('_')).ok_or(NotAToken)?;
        let (live, to_device) = live.split_once('_').unwrap_or((live, log));
        Ok(Self {
            log: LogPosition::new(number(log)?),
            live: LivePosition::new(number(live)?),
            to_device: LogPosition::new(number(to_device)?),
        })
    }
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
        let token = Token {
            log: LogPosition::new(17),
            live: LivePosition::new(1_763_000_000_000_000),
            to_device: LogPosition::new(17),
        };
        assert_eq!(token.to_string(), "p17_1763000000000000");
        assert_eq!(token.to_string().parse(), Ok(token));
        let behind = Token { to_device: LogPosition::new(9), ..token };
        assert_eq!(behind.to_string().parse(), Ok(behind));
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
            "p1_1_",
            "p1_1_1_1",
            "p1_1 ",
            "p99999999999999999999_1",
            "p1_18446744073709551615",
        ] {
            assert_eq!(garbage.parse::<Token>(), Err(NotAToken), "{garbage}");
        }
    }
}
