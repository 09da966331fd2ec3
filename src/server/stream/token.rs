//! What a client gives back to go on from where it is.

use crate::server::change::position::{LivePosition, LogPosition, TimelinePosition};
use std::{fmt, str::FromStr};

/// Where a reader is. Opaque to clients.
///
/// Its first letter says which form it has: `p{log}_{live}`, or `p{log}_{live}_{to_device}` while messages for the
/// reader's device wait; where presence is [`Behind`], `.{log}_{live}` or `.{log}~{filter}` follows. What lives has one
/// position here because one process stamps it. Where several do, the second part becomes a list of their positions: so
/// nobody outside sees the fields, and a token is not `Copy`.
///
/// Of who was told all of everything there is a brief form too, for streams that have one in every write:
/// `q{log}.{live}` in the digits of base64url. Either stands where the other may.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Token {
    log: LogPosition,
    live: LivePosition,
    to_device: LogPosition,
    behind: Option<Behind>,
    /// It was in its brief form: with what the reader was told up to it they may not have been told how much they have
    /// not read.
    is_brief: bool,
}

/// How far a reader was told of presence who was not told of everybody's as far as of everything else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Behind {
    /// Of everybody's up to here, and of nobody's since then. Both the start: of nobody's ever.
    Nobodys(LogPosition, LivePosition),
    /// Of everybody's up to this position of the log, and since then of some. Where one filter alone chose them, its
    /// mark: those were told as far as everything else. Else 0.
    Somebodys(LogPosition, u32),
}

/// A place in a room's timeline, between pages of events: `t{timeline}`. A client may also give a [`Token`], which
/// means the place after everything that its stream has told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PageToken(pub TimelinePosition);

/// Where a client is on a connection of sliding sync: `w{answer}_{token}`. It stands for one answer, of which the server
/// remembers what it told; for pages it means what its [`Token`] means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pos {
    /// Which of all answers since the server's start it came with.
    pub answer: u64,
    /// Up to where that told.
    pub token: Token,
}

/// Not a token of this server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotAToken;

impl Token {
    /// Of a reader who was told everything durable up to `log`, and everything that lives up to `live`.
    pub const fn new(log: LogPosition, live: LivePosition) -> Self {
        Self { log, live, to_device: log, behind: None, is_brief: false }
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

    /// The same for a reader for whom there was nothing up to `log` and `live`, and who has all messages for their
    /// device.
    #[must_use]
    pub const fn moved_to(self, log: LogPosition, live: LivePosition) -> Self {
        Self { log, live, to_device: log, is_brief: false, ..self }
    }

    /// The same for a reader who was not told of everybody's presence.
    #[must_use]
    pub const fn with_presence(self, behind: Option<Behind>) -> Self {
        Self { behind, ..self }
    }

    /// The same for a reader who may have forgotten what lives: they are told all of it again, and who is not to be seen
    /// any longer.
    #[must_use]
    pub fn lives_anew(&self) -> Self {
        let behind = self.behind.map(|behind| match behind {
            Behind::Nobodys(log, _) => Behind::Nobodys(log, LivePosition::START),
            Behind::Somebodys(log, _) => Behind::Somebodys(log, 0),
        });
        Self::at(self.log).with_presence(behind)
    }

    /// The position in the durable log.
    pub const fn log(&self) -> LogPosition {
        self.log
    }

    /// Whether a log that ends at `log` has everything that this was given out for.
    pub fn is_reached(&self, log: LogPosition) -> bool {
        self.log <= log && self.to_device <= log && self.behind.is_none_or(|behind| behind.log() <= log)
    }

    /// The position among what lives in memory only.
    pub const fn live(&self) -> LivePosition {
        self.live
    }

    /// The position of the last message for the device that was told; that in the log, when there were no more.
    pub const fn to_device(&self) -> LogPosition {
        self.to_device
    }

    /// Whether a stream gave it out, and the reader may not know how much they have not read of what came right before.
    pub const fn is_brief(&self) -> bool {
        self.is_brief
    }

    /// How far presence was told; `None`: everybody's, as far as everything else.
    pub const fn behind(&self) -> Option<Behind> {
        self.behind
    }
}

/// The digits of the brief form, by their value; none is escaped in JSON or in a URL.
const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz-";

/// A token in its brief form, if it has one.
#[derive(Clone, Copy, Debug)]
pub struct Brief<'a>(pub &'a Token);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(token) = self;
        if token.behind.is_some() || token.to_device != token.log {
            return token.fmt(f);
        }
        f.write_str("q")?;
        write_digits(f, token.log.get())?;
        f.write_str(".")?;
        write_digits(f, token.live.get())
    }
}

fn write_digits(f: &mut fmt::Formatter<'_>, mut number: u64) -> fmt::Result {
    let (mut digits, mut first) = ([0; 11], 11);
    loop {
        first -= 1;
        digits[first] = DIGITS[(number & 63) as usize];
        number >>= 6;
        if number == 0 {
            break;
        }
    }
    f.write_str(std::str::from_utf8(&digits[first..]).map_err(|_| fmt::Error)?)
}

/// What follows a `q`.
fn brief(s: &str) -> Result<Token, NotAToken> {
    let (log, live) = s.split_once('.').ok_or(NotAToken)?;
    let token = Token::new(LogPosition::new(digits(log)?), LivePosition::new(digits(live)?));
    Ok(Token { is_brief: true, ..token })
}

/// As for [`number`], in digits of 6 bits.
fn digits(s: &str) -> Result<u64, NotAToken> {
    if s.is_empty() || s.len() > 1 && s.starts_with('0') {
        return Err(NotAToken);
    }
    s.bytes().try_fold(0_u64, |number, byte| {
        let digit = DIGITS.iter().position(|digit| *digit == byte).ok_or(NotAToken)? as u64;
        let number = number.checked_mul(64).and_then(|n| n.checked_add(digit)).ok_or(NotAToken)?;
        i64::try_from(number).map(|_| number).map_err(|_| NotAToken)
    })
}

impl Behind {
    const fn log(self) -> LogPosition {
        match self {
            Self::Nobodys(log, _) | Self::Somebodys(log, _) => log,
        }
    }
}

/// Without any character that JSON or a URL would escape.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}_{}", self.log, self.live)?;
        if self.to_device != self.log {
            write!(f, "_{}", self.to_device)?;
        }
        match self.behind {
            None => Ok(()),
            Some(Behind::Nobodys(log, live)) => write!(f, ".{log}_{live}"),
            Some(Behind::Somebodys(log, mark)) => write!(f, ".{log}~{mark}"),
        }
    }
}

impl FromStr for Token {
    type Err = NotAToken;

    fn from_str(s: &str) -> Result<Self, NotAToken> {
        let mut characters = s.chars();
        match characters.next() {
            Some('p') => one_process(characters.as_str()),
            Some('q') => brief(characters.as_str()),
            _ => Err(NotAToken),
        }
    }
}

/// What follows a `p`.
fn one_process(s: &str) -> Result<Token, NotAToken> {
    let (s, behind) = match s.split_once('.') {
        Some((s, presence)) => (s, Some(behind(presence)?)),
        None => (s, None),
    };
    let (log, live) = s.split_once('_').ok_or(NotAToken)?;
    let (live, to_device) = match live.split_once('_') {
        // Left out where it says nothing.
        Some((_, to_device)) if to_device == log => return Err(NotAToken),
        Some(both) => both,
        None => (live, log),
    };
    let token = Token::new(LogPosition::new(number(log)?), LivePosition::new(number(live)?));
    Ok(token.with_to_device(LogPosition::new(number(to_device)?)).with_presence(behind))
}

/// What follows a dot.
fn behind(s: &str) -> Result<Behind, NotAToken> {
    if let Some((log, mark)) = s.split_once('~') {
        let mark = u32::try_from(number(mark)?).map_err(|_| NotAToken)?;
        return Ok(Behind::Somebodys(LogPosition::new(number(log)?), mark));
    }
    let (log, live) = s.split_once('_').ok_or(NotAToken)?;
    Ok(Behind::Nobodys(LogPosition::new(number(log)?), LivePosition::new(number(live)?)))
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}_{}", self.answer, self.token)
    }
}

impl FromStr for Pos {
    type Err = NotAToken;

    fn from_str(s: &str) -> Result<Self, NotAToken> {
        let (answer, token) = s.strip_prefix('w').and_then(|s| s.split_once('_')).ok_or(NotAToken)?;
        if !token.starts_with('p') {
            return Err(NotAToken);
        }
        Ok(Self { answer: number(answer)?, token: token.parse()? })
    }
}

impl fmt::Display for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

impl FromStr for PageToken {
    type Err = NotAToken;

    fn from_str(s: &str) -> Result<Self, NotAToken> {
        let Some(digits) = s.strip_prefix('t') else {
            if s.starts_with('w') {
                return s.parse().map(|pos: Pos| Self(TimelinePosition::live(pos.token.log())));
            }
            return s.parse().map(|token: Token| Self(TimelinePosition::live(token.log())));
        };
        let place: i64 = digits.parse().map_err(|_| NotAToken)?;
        // One place is written in one way: without plus or leading zeros.
        if place.to_string() == digits { Ok(Self(TimelinePosition::new(place))) } else { Err(NotAToken) }
    }
}

/// A position of the log, in digits.
pub(super) fn log_position(s: &str) -> Result<LogPosition, NotAToken> {
    number(s).map(LogPosition::new)
}

/// Digits only: no sign, no space, and no zero in front, as one place is written in one way. The log is SQLite's: 63 bits.
fn number(s: &str) -> Result<u64, NotAToken> {
    let padded = s.len() > 1 && s.starts_with('0');
    if padded || !s.bytes().all(|b| b.is_ascii_digit()) {
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
        let without = Behind::Nobodys(LogPosition::new(3), LivePosition::new(5));
        let some = Behind::Somebodys(LogPosition::new(3), u32::MAX);
        for (token, presence, written) in [
            (&token, without, "p17_1763000000000000.3_5"),
            (&behind, without, "p17_1763000000000000_9.3_5"),
            (&behind, some, "p17_1763000000000000_9.3~4294967295"),
        ] {
            let token = token.clone().with_presence(Some(presence));
            assert_eq!((token.to_string().as_str(), token.behind()), (written, Some(presence)));
            assert_eq!(written.parse(), Ok(token));
        }
    }

    #[test]
    fn a_token_of_who_was_told_everything_has_a_brief_form() {
        let token = |log, live| Token::new(LogPosition::new(log), LivePosition::new(live));
        let max = i64::MAX.cast_unsigned();
        for (log, live) in [(0, 0), (63, 64), (4095, 4096), (17, 1_763_000_000_000_000), (max, max)] {
            let token = token(log, live);
            assert_eq!(Brief(&token).to_string().parse(), Ok(Token { is_brief: true, ..token }));
        }
        assert_eq!(Brief(&token(64, 1_763_000_000_000_000)).to_string(), "q10.6Gs1hkJ00");
        for long in ["p17_1763000000000000_9", "p17_1.3_5", "p17_1.3~5"] {
            assert_eq!(Brief(&long.parse().expect("is a token")).to_string(), long);
        }
    }

    #[test]
    fn a_token_is_of_this_log_when_all_of_it_is() {
        for (token, reached) in [
            ("p7_1", true),
            ("p8_1", false),
            ("p7_1_8", false),
            ("p7_1.7_9", true),
            ("p7_1.8_1", false),
            ("p7_1.8~1", false),
        ] {
            let token: Token = token.parse().expect("is a token");
            assert_eq!(token.is_reached(LogPosition::new(7)), reached, "{token}");
        }
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
            "q",
            "q1",
            "q.1",
            "q1.",
            "q01.1",
            "q1.1.1",
            "q1.1~",
            "q1.a a",
            "q1.zzzzzzzzzzzz",
            "q7zzzzzzzzzz.--------------",
            "ü1_1",
            "p1_1_",
            "p1_1_1_1",
            "p1_1_1",
            "p01_1",
            "p1_00",
            "p2_1_01",
            "p1_1-2",
            "p1_1 ",
            "p99999999999999999999_1",
            "p1_18446744073709551615",
            "p1_1.",
            "p1_1.1",
            "p1_1.1_",
            "p1_1._1",
            "p1_1.01_1",
            "p1_1.1~",
            "p1_1.1~4294967296",
            "p1_1.1~01",
            "p1_1.1~1_1",
            "p1_1.1_1.1_1",
            "p1.1_1",
        ] {
            assert_eq!(garbage.parse::<Token>(), Err(NotAToken), "{garbage}");
            assert_eq!(garbage.parse::<PageToken>(), Err(NotAToken), "{garbage}");
        }
        for garbage in ["t", "t+1", "t-", "t01", "t-0", "t1_1", "t 1", "t9223372036854775808"] {
            assert_eq!(garbage.parse::<PageToken>(), Err(NotAToken), "{garbage}");
        }
    }

    #[test]
    fn a_page_begins_where_a_page_ended_or_after_what_a_stream_has_told() {
        for place in [i64::MIN, -1, 0, 1, i64::MAX] {
            let token = PageToken(TimelinePosition::new(place));
            assert_eq!(token.to_string().parse(), Ok(token));
        }
        let after = PageToken(TimelinePosition::live(LogPosition::new(17)));
        assert_eq!("p17_1763000000000000".parse(), Ok(after));
        assert_eq!("p17_0_9".parse(), Ok(after));
        assert_eq!("p17_0_9.3~7".parse(), Ok(after));
    }
}
