//! From where on a reader is told of presence, which may be behind everything else: who wants none for a while, or only
//! that of some, is told what they missed as soon as they want it.

use super::{
    filter::Whose,
    token::{Behind, Token},
};
use crate::server::change::position::{Live, LivePosition, LogPosition};

/// What of presence one look tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct PresenceLook {
    /// From where on; `None`: the reader wants none.
    pub(super) from: Option<From>,
    /// How far presence is told after the look, where that is not as far as everything else.
    pub(super) behind: Option<Behind>,
}

/// From where on presence is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct From {
    /// Up to where the reader was told. The start: by an earlier run of the server, or of some only, so that all is
    /// told again; `None`: nothing yet.
    pub(super) told: Option<LivePosition>,
    /// From where on the log counts, where that is earlier than for everything else.
    pub(super) log: Option<Earlier>,
}

/// An earlier place in the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Earlier {
    /// Since then nothing was told.
    Nobodys(LogPosition),
    /// Since then some were told, of whom the reader may have parted again.
    Somebodys(LogPosition),
}

impl Earlier {
    /// The place itself.
    pub(super) const fn since(self) -> LogPosition {
        match self {
            Self::Nobodys(since) | Self::Somebodys(since) => since,
        }
    }
}

impl PresenceLook {
    /// Of a reader who is told nothing of it.
    pub(super) const NONE: Self = Self { from: None, behind: None };

    /// Of a reader who wants `whose` presence and is at `since`; `None`: at the beginning, or, if the reader `goes_on`,
    /// at a place of another database.
    pub(super) fn new(whose: Whose, since: Option<&Token>, goes_on: bool, live: &Live) -> Self {
        let known = |at: LivePosition| if live.knows(at) { at } else { LivePosition::START };
        let behind = since.and_then(Token::behind);
        let from = match behind {
            Some(Behind::Nobodys(LogPosition::START, LivePosition::START)) => From { told: None, log: None },
            Some(Behind::Nobodys(log, at)) => {
                From { told: Some(known(at)), log: Some(Earlier::Nobodys(log)) }
            }
            Some(Behind::Somebodys(log, mark)) if whose != Whose::Somebodys(mark) => {
                From { told: Some(LivePosition::START), log: Some(Earlier::Somebodys(log)) }
            }
            None | Some(Behind::Somebodys(..)) => {
                let at = since.map_or(LivePosition::START, |since| known(since.live()));
                From { told: goes_on.then_some(at), log: None }
            }
        };
        let stands = behind.unwrap_or(match since {
            Some(since) => Behind::Nobodys(since.log(), since.live()),
            None if goes_on => Behind::Somebodys(LogPosition::START, 0),
            None => Behind::Nobodys(LogPosition::START, LivePosition::START),
        });
        match (whose, stands) {
            (Whose::Everybodys, _) => Self { from: Some(from), behind: None },
            (Whose::Somebodys(mark), Behind::Nobodys(log, _) | Behind::Somebodys(log, _)) => {
                Self { from: Some(from), behind: Some(Behind::Somebodys(log, mark)) }
            }
            (Whose::Nobodys, Behind::Somebodys(log, _)) => {
                Self { from: None, behind: Some(Behind::Somebodys(log, 0)) }
            }
            (Whose::Nobodys, Behind::Nobodys(..)) => Self { from: None, behind: Some(stands) },
        }
    }

    /// Of a reader at `since` who is told of it with a later answer.
    pub(super) fn later(since: &Token) -> Self {
        let behind = match since.behind() {
            None => Behind::Nobodys(since.log(), since.live()),
            Some(Behind::Nobodys(log, live)) => Behind::Nobodys(log, live),
            // What some were told meanwhile is not known any longer then.
            Some(Behind::Somebodys(log, _)) => Behind::Somebodys(log, 0),
        };
        Self { from: None, behind: Some(behind) }
    }

    /// Whether presence is told from an earlier place on than everything else, which is told since `live`.
    pub(super) fn catches_up(&self, live: LivePosition) -> bool {
        self.from.is_some_and(|from| from.log.is_some() || from.told.unwrap_or_default() < live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From where the reader of a run that began at 100 is told, and what follows the dot of the next token.
    fn look(whose: Whose, since: Option<&str>, goes_on: bool) -> (Option<From>, String) {
        let live = Live::new(100);
        (0..9).for_each(|_| {
            live.advance();
        });
        let since: Option<Token> = since.map(|since| since.parse().expect("is a token"));
        let PresenceLook { from, behind } = PresenceLook::new(whose, since.as_ref(), goes_on, &live);
        let next = Token::at(LogPosition::new(1)).with_presence(behind).to_string();
        (from, next.split_once('.').map_or_else(String::new, |(_, behind)| behind.to_owned()))
    }

    #[test]
    fn l8_presence_is_told_from_where_the_reader_was_told_last() {
        let told = |live: u64, log| Some(From { told: Some(LivePosition::new(live)), log });
        let first = Some(From { told: None, log: None });
        let nobodys = Some(Earlier::Nobodys(LogPosition::new(5)));
        let somebodys = |log| Some(Earlier::Somebodys(LogPosition::new(log)));
        let (all, none, some) = (Whose::Everybodys, Whose::Nobodys, Whose::Somebodys(7));
        for (since, goes_on, whose, from, behind) in [
            (None, false, all, first, ""),
            (None, false, none, None, "0_0"),
            (None, false, some, first, "0~7"),
            // Of another database.
            (None, true, all, told(0, None), ""),
            (None, true, none, None, "0~0"),
            (None, true, some, told(0, None), "0~7"),
            (Some("p9_105"), true, all, told(105, None), ""),
            (Some("p9_99"), true, all, told(0, None), ""),
            (Some("p9_105"), true, none, None, "9_105"),
            (Some("p9_105"), true, some, told(105, None), "9~7"),
            (Some("p9_105.0_0"), true, all, first, ""),
            (Some("p9_105.0_0"), true, none, None, "0_0"),
            (Some("p9_105.5_103"), true, all, told(103, nobodys), ""),
            (Some("p9_105.5_99"), true, all, told(0, nobodys), ""),
            (Some("p9_105.5_103"), true, none, None, "5_103"),
            (Some("p9_105.5_103"), true, some, told(103, nobodys), "5~7"),
            (Some("p9_105.5~7"), true, some, told(105, None), "5~7"),
            (Some("p9_99.5~7"), true, some, told(0, None), "5~7"),
            (Some("p9_105.5~8"), true, some, told(0, somebodys(5)), "5~7"),
            (Some("p9_105.5~7"), true, all, told(0, somebodys(5)), ""),
            (Some("p9_105.5~7"), true, none, None, "5~0"),
            (Some("p9_105.0~0"), true, some, told(0, somebodys(0)), "0~7"),
        ] {
            assert_eq!(
                look(whose, since, goes_on),
                (from, behind.to_owned()),
                "{since:?} {goes_on} {whose:?}"
            );
        }
    }
}
