//! Rooms that a command has created or joined, and that the stream has not brought yet.

use std::collections::VecDeque;

/// The most rooms that are remembered as entered before the stream has brought them; older ones are forgotten.
const MAX_ENTERED: usize = 64;

/// What is sent into these rooms waits until the stream has brought them: only then is it known whether they are
/// encrypted.
#[derive(Debug, Default)]
pub(super) struct Entered(VecDeque<String>);

impl Entered {
    pub(super) fn awaits(&self, room: &str) -> bool {
        self.0.iter().any(|known| known == room)
    }

    pub(super) fn handle_answer(&mut self, room: &str) {
        self.handle_streamed(room);
        self.0.push_back(room.to_owned());
        if self.0.len() > MAX_ENTERED {
            self.0.pop_front();
        }
    }

    pub(super) fn handle_streamed(&mut self, room: &str) {
        self.0.retain(|known| known != room);
    }
}
