//! What a stream was told last of what comes along with other news, so that it is told again only when it differs.

use std::{collections::VecDeque, sync::Arc};

use ruma::{OwnedRoomId, RoomId};

use crate::server::{store::KeyCounts, stream::news::UnreadCounts};

/// Rooms of which is kept how much the reader was told to be unread; of those before them it is told again.
const MAX_ROOMS: usize = 32;

/// What a stream was told last.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// How many keys the device has left.
    keys: Option<Arc<KeyCounts>>,
    /// How much is unread, the room told last at the end.
    unread: VecDeque<(OwnedRoomId, UnreadCounts)>,
}

impl Told {
    /// Takes note that the device is told of its keys; whether it is news.
    pub(super) fn keys(&mut self, left: &Arc<KeyCounts>) -> bool {
        let is_news = self.keys.as_ref().is_none_or(|told| told != left);
        if is_news {
            self.keys = Some(Arc::clone(left));
        }
        is_news
    }

    /// Takes note that the reader is told how much is unread in `room`; whether it is news.
    pub(super) fn unread(&mut self, room: &RoomId, unread: UnreadCounts) -> bool {
        let known = self.unread.iter().position(|(of, _)| of == room);
        let told = known.and_then(|at| self.unread.remove(at));
        let room = told.as_ref().map_or_else(|| room.to_owned(), |(room, _)| room.clone());
        if self.unread.len() >= MAX_ROOMS {
            self.unread.pop_front();
        }
        self.unread.push_back((room, unread));
        told.is_none_or(|(_, told)| told != unread)
    }

    /// The reader has read in `room`: their client may have taken note of that already, so the next count is news.
    pub(super) fn read(&mut self, room: &RoomId) {
        self.unread.retain(|(of, _)| of != room);
    }

    /// The reader was told all that there is, elsewhere than here.
    pub(super) fn all(&mut self) {
        // Keys are among the rest of the answer, where there are any.
        self.keys.get_or_insert_default();
        self.unread.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unread_is_news_when_it_differs_from_what_was_told_last() {
        let mut told = Told::default();
        let room = |n: usize| RoomId::parse(format!("!{n}:x")).expect("a room ID");
        let counts = |notifications| UnreadCounts { notifications, highlights: 0 };
        let mut news = |n, count| told.unread(&room(n), counts(count));
        assert_eq!(
            [(1, 2), (1, 2), (1, 3), (2, 3), (1, 3)].map(|(n, c)| news(n, c)),
            [true, false, true, true, false]
        );
        (10..10 + MAX_ROOMS).for_each(|n| assert!(news(n, 0)));
        assert!(news(1, 3), "forgotten");
        told.read(&room(1));
        assert!(told.unread(&room(1), counts(3)), "what came while they read counts anew");
        told.all();
        assert!(told.unread(&room(1), counts(3)));
        assert!(told.unread.len() <= MAX_ROOMS);
    }
}
