//! Both call each other at the same time: which of the two calls it is to be.

use super::output::Direction;
use super::phase::{Cause, Phase};
use super::role::Calls;
use crate::core::time::Instant;

/// What becomes of two calls in one room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Winner {
    Theirs,
    Ours,
}

impl Calls {
    /// Takes a call that has come in while the same person is being called, or lets it be, by Matrix's rule: who has not sent their
    /// invitation takes the other's; else the call with the lesser ID wins.
    pub(super) fn resolve_glare(&mut self, now: Instant) {
        let Some(ours) =
            self.calls.iter().position(|call| matches!(call.phase, Phase::Preparing | Phase::Calling))
        else {
            return;
        };
        let out = &self.calls[ours];
        let collides = |at: usize| {
            let incoming = &self.calls[at];
            let caller = incoming.partner.as_ref().map(|partner| &partner.user);
            incoming.direction == Direction::Incoming
                && incoming.phase == Phase::Ringing
                && incoming.room == out.room
                && out.invitee.as_ref().is_none_or(|invitee| caller == Some(invitee))
        };
        let Some(theirs) = (0..self.calls.len()).find(|&at| collides(at)) else { return };
        let winner = match out.phase {
            Phase::Preparing => Winner::Theirs,
            _ if self.calls[theirs].id < out.id => Winner::Theirs,
            _ => Winner::Ours,
        };
        match winner {
            Winner::Ours => {
                let replaced_by = out.name.clone();
                self.calls[theirs].replaced_by = Some(replaced_by);
                self.calls[theirs].step(now, Cause::Replaced, &mut self.outputs);
            }
            Winner::Theirs => {
                let (instead_of, video) = (out.name.clone(), out.video);
                // The page hands microphone and camera on before it ends what had them.
                self.calls[theirs].accept(now, video, Some(instead_of), &mut self.outputs);
                self.calls[ours].replaced_by = Some(self.calls[theirs].name.clone());
                self.calls[ours].step(now, Cause::Replaced, &mut self.outputs);
            }
        }
    }
}
