//! All calls of one client.

use std::collections::VecDeque;
use std::fmt;

use super::early::Early;
use super::id::fresh;
use super::one::{Call, Path};
use super::output::{Delivery, Direction, Output, Token, View};
use super::phase::{Cause, Phase};
use super::signal::Description;
#[cfg(test)]
use super::signal::Party;
use crate::core::rng::Rng;
use crate::core::time::Instant;

/// Whether an invitation may ring, which others decide: by the room, the sender, the own user's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is made heard.
    Rings,
    /// It can be taken, and is not made heard.
    Muted,
    /// It is as if nobody called.
    Ignored,
}

/// Why a call was not begun or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is one already.
    Busy,
    /// There is no such call, or it is not one that could be.
    NoSuchCall,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "you are in another call",
            Self::NoSuchCall => "there is no such call",
        })
    }
}

impl std::error::Error for Refused {}

/// The calls of one client of a user's.
#[derive(Debug)]
pub struct Calls {
    pub(super) me: String,
    /// Those that are not over, and those that have something left to say.
    pub(super) calls: Vec<Call>,
    pub(super) early: Early,
    pub(super) outputs: VecDeque<Output>,
    rng: Rng,
    last_token: u64,
    in_call: bool,
}

impl Calls {
    /// None yet; `seed` is where identifiers come from.
    pub fn new(me: &str, seed: u64) -> Self {
        Self {
            me: me.to_owned(),
            calls: Vec::new(),
            early: Early::default(),
            outputs: VecDeque::new(),
            rng: Rng::new(seed),
            last_token: 0,
            in_call: false,
        }
    }

    /// Those that are not over.
    pub fn views(&self) -> impl Iterator<Item = View> {
        self.calls.iter().filter(|call| !call.phase.is_ended()).map(Call::view)
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.calls.iter().filter_map(Call::poll_timeout).min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        for call in &mut self.calls {
            call.handle_timeout(now, &mut self.outputs);
        }
        self.handle_settled(now);
    }

    /// The events that came together are all told: what came of them is shown, and what is to be said is sent.
    pub fn handle_settled(&mut self, now: Instant) {
        self.resolve_glare(now);
        self.keep_last_of_callers(now);
        for call in &mut self.calls {
            if call.phase.is_ended() {
                self.early.end(&call.room, &call.id);
            }
            call.transmit(now, &mut self.last_token, &mut self.outputs);
            // What began and ended among those events was never there.
            if std::mem::take(&mut call.changed) && (call.shown || !call.phase.is_ended()) {
                call.shown = true;
                self.outputs.push_back(Output::Show(call.view()));
            }
        }
        self.calls.retain(|call| !call.is_over());
        let in_call =
            self.calls.iter().any(|call| matches!(call.phase, Phase::Connecting | Phase::Connected));
        if in_call != self.in_call {
            self.in_call = in_call;
            self.outputs.push_back(Output::InCall(in_call));
        }
    }

    /// Calls somebody in a room; `invitee` is whom, unless anybody there may answer. Who is calling from there at this moment is
    /// answered instead. Answers the call's ID.
    pub fn place(
        &mut self,
        now: Instant,
        room: &str,
        invitee: Option<&str>,
        video: bool,
    ) -> Result<String, Refused> {
        if self.calls.iter().any(|call| call.phase.is_live()) {
            return Err(Refused::Busy);
        }
        let own_party = self.fresh_id();
        let id = self.fresh_id();
        let mut call = Call::new(id.clone(), room, Direction::Outgoing, own_party, Phase::Preparing);
        call.invitee = invitee.map(str::to_owned);
        call.video = video;
        call.deadline = Some(now + super::timing::PREPARE);
        call.begin_offer(&mut self.outputs);
        self.calls.push(call);
        // Who calls from there at this moment is answered.
        self.resolve_glare(now);
        let answered = self.calls.last().and_then(|call| call.replaced_by.clone());
        self.handle_settled(now);
        Ok(answered.unwrap_or(id))
    }

    /// The user takes a call. Another one that they are in ends.
    pub fn accept(&mut self, now: Instant, id: &str, video: bool) -> Result<(), Refused> {
        let at = self.find(id)?;
        if self.calls[at].phase != Phase::Ringing {
            return Err(Refused::NoSuchCall);
        }
        for call in self.calls.iter_mut().filter(|call| call.phase.is_live()) {
            call.step(now, Cause::HungUp, &mut self.outputs);
        }
        self.calls[at].accept(now, video, None, &mut self.outputs);
        self.handle_settled(now);
        Ok(())
    }

    /// The user does not want a call, or no longer.
    pub fn hang_up(&mut self, now: Instant, id: &str) -> Result<(), Refused> {
        self.befall(now, id, Cause::HungUp)
    }

    /// Microphone, camera or connection failed in the page.
    pub fn handle_media_failed(&mut self, now: Instant, id: &str) -> Result<(), Refused> {
        self.befall(now, id, Cause::MediaFailed)
    }

    /// The page's own description of a call.
    pub fn handle_described(&mut self, now: Instant, id: &str, own: &Description) -> Result<(), Refused> {
        self.with(now, id, |call, out| call.handle_described(now, own, out))
    }

    /// The page begins to describe a change of a call; whether it may.
    pub fn begin_change(&mut self, now: Instant, id: &str) -> Result<bool, Refused> {
        self.with(now, id, |call, _| call.begin_change(now))
    }

    /// A candidate of the page's, a JSON object; `None` after the last.
    pub fn handle_candidate(
        &mut self,
        now: Instant,
        id: &str,
        candidate: Option<&str>,
    ) -> Result<(), Refused> {
        self.with(now, id, |call, _| call.handle_candidate(now, candidate))
    }

    /// What the page says of a call's connection.
    pub fn handle_path(&mut self, now: Instant, id: &str, path: Path) -> Result<(), Refused> {
        self.with(now, id, |call, out| call.handle_path(now, path, out))
    }

    /// What the page says of the streams that it sends, a JSON object.
    pub fn handle_streams(&mut self, now: Instant, id: &str, told: &str) -> Result<(), Refused> {
        self.with(now, id, |call, _| call.handle_streams(told))
    }

    /// What became of an event that was to be sent.
    pub fn handle_sent(&mut self, now: Instant, token: Token, delivery: Delivery) {
        if let Some(call) = self.calls.iter_mut().find(|call| call.outbox.knows(token)) {
            call.handle_sent(now, delivery, &mut self.outputs);
            self.handle_settled(now);
        }
    }

    /// The page, or the session, ends: every call does, and the other is told at once, as far as that is possible.
    pub fn stop(&mut self, now: Instant) {
        for call in &mut self.calls {
            let is_known = matches!(call.phase, Phase::Calling | Phase::Connecting | Phase::Connected);
            if is_known && let Some(letter) = call.farewell(&mut self.last_token) {
                self.outputs.push_back(Output::Send(letter));
            }
            call.step(now, Cause::Stopped, &mut self.outputs);
            call.outbox = super::outbox::Outbox::default();
        }
        self.handle_settled(now);
    }

    /// Of each call that is not over: who one is in it, who the other is, and where it stands.
    #[cfg(test)]
    pub(super) fn parties(&self) -> Vec<(String, Party, Option<Party>, Phase)> {
        let of = |call: &Call| {
            let me = Party { user: self.me.clone(), id: Some(call.own_party.clone()) };
            (call.id.clone(), me, call.partner.clone(), call.phase)
        };
        self.calls.iter().filter(|call| !call.phase.is_ended()).map(of).collect()
    }

    pub(super) fn fresh_id(&mut self) -> String {
        fresh(&mut self.rng)
    }

    fn befall(&mut self, now: Instant, id: &str, cause: Cause) -> Result<(), Refused> {
        self.with(now, id, |call, out| call.step(now, cause, out)).map(|_| ())
    }

    fn with<T>(
        &mut self,
        now: Instant,
        id: &str,
        change: impl FnOnce(&mut Call, &mut VecDeque<Output>) -> T,
    ) -> Result<T, Refused> {
        let at = self.find(id)?;
        let answer = change(&mut self.calls[at], &mut self.outputs);
        self.handle_settled(now);
        Ok(answer)
    }

    fn find(&self, id: &str) -> Result<usize, Refused> {
        let known = |call: &Call| call.name == id && !call.phase.is_ended();
        self.calls.iter().position(known).ok_or(Refused::NoSuchCall)
    }
}
