//! What is said in rooms: to which call it belongs, and who may say it.

use std::time::Duration;

use super::one::Call;
use super::output::Direction;
use super::phase::{Cause, Phase};
use super::role::{Admission, Calls};
use super::signal::{DescriptionKind, HangupReason, Invite, Party, Said, Signal};
use super::timing::TIME_TO_ANSWER;
use crate::core::time::Instant;

/// The most calls that ring at once; those that ring where nobody hears them are counted apart, or they would keep out
/// those that somebody waits for.
const MOST_RINGING: usize = 4;

impl Calls {
    /// An event of a room, as old as its server says. What it changes is shown by [`handle_settled`](Self::handle_settled).
    pub fn handle_event(
        &mut self,
        now: Instant,
        room: &str,
        signal: Signal,
        age: Duration,
        admission: Admission,
    ) {
        // Somebody may give a call of another room the same name.
        if let Some(at) = self.calls.iter().position(|call| call.id == signal.call && call.room == room) {
            self.hear(now, at, signal, age);
            return;
        }
        match signal.said {
            Said::Invite(invite) => {
                self.handle_invite(now, room, signal.call, signal.from, invite, age, admission);
            }
            _ => self.early.keep(now, room, signal, age),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one event, apart")]
    fn handle_invite(
        &mut self,
        now: Instant,
        room: &str,
        id: String,
        from: Party,
        invite: Invite,
        age: Duration,
        admission: Admission,
    ) {
        let is_meant = match &invite.invitee {
            Some(invitee) => *invitee == self.me,
            None => from.user != self.me,
        };
        let left = invite.lifetime.saturating_sub(age);
        let comes_too_late = left < TIME_TO_ANSWER || self.early.is_over(room, &id);
        let is_wanted = is_meant && !comes_too_late && admission != Admission::Ignored;
        if !is_wanted || !self.make_room(&from.user, admission == Admission::Rings) {
            self.early.end(room, &id);
            return;
        }
        let heard = self.early.take(now, room, &id);
        let own_party = self.fresh_id();
        let mut call = Call::new(id, room, Direction::Incoming, own_party, Phase::Ringing);
        if self.calls.iter().any(|other| other.name == call.name) {
            call.name = self.fresh_id();
        }
        call.partner = Some(from);
        call.video = invite.offer.has_video();
        call.rings = admission == Admission::Rings;
        call.offer = Some(invite.offer);
        call.deadline = Some(now + left);
        self.calls.push(call);
        let at = self.calls.len() - 1;
        for signal in heard {
            self.hear(now, at, signal, age);
        }
    }

    /// Whether one more call of `caller` can ring. Whoever calls again means the last of their calls, so that no one keeps
    /// others out.
    fn make_room(&mut self, caller: &str, rings: bool) -> bool {
        let is_new = |call: &Call| !call.shown && call.rings_of(caller);
        // Which of those that come together is meant, the events after them say: some are kept until then.
        while self.calls.iter().filter(|call| is_new(call)).count() >= MOST_RINGING {
            let Some(at) = self.calls.iter().position(is_new) else { break };
            let call = self.calls.remove(at);
            self.early.end(&call.room, &call.id);
        }
        let alike = |call: &&Call| call.phase == Phase::Ringing && call.rings == rings;
        let others = self.calls.iter().filter(alike).filter(|call| !call.rings_of(caller));
        others.count() < MOST_RINGING
    }

    /// Ends all calls of one caller that ring but the last.
    pub(super) fn keep_last_of_callers(&mut self, now: Instant) {
        for at in 0..self.calls.len() {
            let (earlier, later) = self.calls.split_at_mut(at + 1);
            let call = &mut earlier[at];
            let Some(caller) = call.partner.as_ref().map(|partner| partner.user.clone()) else { continue };
            if call.rings_of(&caller) && later.iter().any(|later| later.rings_of(&caller)) {
                call.step(now, Cause::OtherHungUp(HangupReason::User), &mut self.outputs);
            }
        }
    }

    /// What is said of a call that one knows.
    fn hear(&mut self, now: Instant, at: usize, signal: Signal, age: Duration) {
        let me = self.me.as_str();
        let (call, out) = (&mut self.calls[at], &mut self.outputs);
        let Signal { from, said, .. } = signal;
        let is_mine = from.user == me;
        // What this client said itself.
        if is_mine && from.id.as_ref() == Some(&call.own_party) || call.phase.is_ended() {
            return;
        }
        let is_partner = call.is_partner(&from);
        let is_awaited = call.direction == Direction::Outgoing
            && call.phase == Phase::Calling
            && match &call.invitee {
                Some(invitee) => from.user == *invitee,
                None => !is_mine,
            };
        // Another client of the own user, who is called.
        let is_other_of_mine = call.direction == Direction::Incoming && is_mine && !is_partner;
        match said {
            // A repetition, or somebody who takes the call's name in vain.
            Said::Invite(_) => (),
            Said::Answer(answer) if is_awaited => call.handle_answer(now, from, answer, out),
            Said::Answer(_) if is_other_of_mine => {
                call.step(now, Cause::AnsweredElsewhere, out);
            }
            Said::Answer(_) => (),
            Said::Candidates(candidates) if is_partner || is_awaited => {
                call.handle_candidates(&from, candidates, out);
            }
            Said::Candidates(_) => (),
            Said::Select(party) => {
                let by_caller = is_partner && call.direction == Direction::Incoming;
                if by_caller && party != call.own_party {
                    call.step(now, Cause::OtherSelected, out);
                }
            }
            Said::Reject if is_awaited => {
                call.choose(from);
                call.step(now, Cause::Rejected, out);
            }
            Said::Reject if is_other_of_mine => {
                call.step(now, Cause::DeclinedElsewhere, out);
            }
            Said::Reject => (),
            Said::Hangup(reason) if is_partner || is_awaited && refuses(&from, reason) => {
                call.step(now, Cause::OtherHungUp(reason), out);
            }
            Said::Hangup(_) if is_other_of_mine && from.id.is_none() => {
                call.step(now, Cause::DeclinedElsewhere, out);
            }
            Said::Hangup(_) => (),
            Said::Negotiate { description, lifetime } => {
                let holds = description.kind == DescriptionKind::Answer || age < lifetime;
                if is_partner && holds {
                    call.handle_negotiate(description, out);
                }
            }
            Said::Streams(told) if is_partner => call.media(super::output::Media::Streams(told), out),
            Said::Streams(_) => (),
        }
    }

    /// Somebody is in a room no more; it may be the own user.
    pub fn handle_left(&mut self, now: Instant, room: &str, user: &str) {
        let me = self.me.as_str();
        for call in self.calls.iter_mut().filter(|call| call.room == room) {
            let of_partner = call.partner.as_ref().is_some_and(|partner| partner.user == user);
            if user == me || of_partner || call.invitee.as_deref() == Some(user) {
                call.step(now, Cause::Left, &mut self.outputs);
            }
        }
    }
}

/// Whether hanging up means to refuse: clients of version 0 do so, and bridges to where somebody can be engaged.
fn refuses(from: &Party, reason: HangupReason) -> bool {
    from.id.is_none() || reason == HangupReason::Busy
}
