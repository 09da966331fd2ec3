//! Of which rooms a device has the answer to its join, and up to where that told it of them (M6).

use std::{fmt, str::FromStr};

use ruma::{OwnedRoomId, RoomId};

use super::token::{NotAToken, log_position};
use crate::server::change::position::LogPosition;

/// Up to where a device was told of a room by the answer to a join: `j{log}_{room}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entered {
    /// The room.
    pub room: OwnedRoomId,
    /// Up to here.
    pub upto: LogPosition,
}

impl fmt::Display for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "j{}_{}", self.upto, self.room)
    }
}

impl FromStr for Entered {
    type Err = NotAToken;

    fn from_str(s: &str) -> Result<Self, NotAToken> {
        let (log, room) = s.strip_prefix('j').and_then(|s| s.split_once('_')).ok_or(NotAToken)?;
        let room = RoomId::parse(room).map_err(|_| NotAToken)?;
        Ok(Self { room, upto: log_position(log)? })
    }
}

#[cfg(test)]
mod tests {
    use ruma::room_id;

    use super::*;

    #[test]
    fn a_place_in_a_room_is_read_as_it_was_written() {
        for room in [room_id!("!r_x:localhost").to_owned(), room_id!("!hash").to_owned()] {
            let entered = Entered { room, upto: LogPosition::new(17) };
            assert_eq!(entered.to_string().parse(), Ok(entered));
        }
        for garbage in
            ["", "j", "j1", "j1_", "j_!r:x", "j01_!r:x", "j-1_!r:x", "p1_!r:x", "j1_r:x", "j1_#r:x"]
        {
            assert_eq!(garbage.parse::<Entered>(), Err(NotAToken), "{garbage}");
        }
    }
}
