//! One call: what the other says of it, what the page says of its connection, and what the user wishes.

use std::collections::VecDeque;

use super::outbox::Outbox;
use super::output::{Delivery, Direction, Letter, Media, Output, Token, View};
use super::phase::{Cause, Farewell, Phase};
use super::signal::{Description, DescriptionKind, HangupReason, Party};
use super::timing;
use super::write;
use crate::core::time::Instant;

/// The most candidates of the other's that wait for their description.
const MOST_HELD: usize = 128;

/// Whether the connection is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// It is.
    Up,
    /// It is not; it may come back by itself.
    Lost,
    /// It is not, and does not come back by itself.
    Failed,
}

/// A connection that is looked for.
#[derive(Debug)]
struct Search {
    gives_up: Instant,
    restart_at: Instant,
}

/// A call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: String,
    /// What the page calls it: its ID, but for one whose ID another room's call has.
    pub(super) name: String,
    pub(super) room: String,
    pub(super) direction: Direction,
    /// What this client is called in it.
    pub(super) own_party: String,
    /// Whom the own user calls.
    pub(super) invitee: Option<String>,
    /// Who is at the other end: the caller, or whose answer was taken.
    pub(super) partner: Option<Party>,
    pub(super) phase: Phase,
    pub(super) video: bool,
    pub(super) rings: bool,
    /// What the caller offers, until it is taken.
    pub(super) offer: Option<Description>,
    pub(super) replaced_by: Option<String>,
    /// Something to show has changed.
    pub(super) changed: bool,
    /// It was shown: its end is shown too.
    pub(super) shown: bool,
    /// When time is up for what the phase waits for.
    pub(super) deadline: Option<Instant>,
    pub(super) outbox: Outbox,
    /// The page has something of it.
    in_media: bool,
    /// The page has the other's description.
    described: bool,
    /// Candidates that came before it, and whose.
    held: Vec<(Party, String)>,
    /// Until when an offer of the own user's waits for its answer.
    offering: Option<Instant>,
    search: Option<Search>,
    connected_at: Option<Instant>,
}

impl Call {
    pub(super) fn new(id: String, room: &str, direction: Direction, own_party: String, phase: Phase) -> Self {
        Self {
            name: id.clone(),
            id,
            room: room.to_owned(),
            direction,
            own_party,
            invitee: None,
            partner: None,
            phase,
            video: false,
            rings: false,
            offer: None,
            replaced_by: None,
            changed: true,
            shown: false,
            deadline: None,
            outbox: Outbox::default(),
            in_media: false,
            described: false,
            held: Vec::new(),
            offering: None,
            search: None,
            connected_at: None,
        }
    }

    pub(super) fn view(&self) -> View {
        View {
            call: self.name.clone(),
            room: self.room.clone(),
            direction: self.direction,
            user: self.partner.as_ref().map(|partner| partner.user.clone()).or_else(|| self.invitee.clone()),
            video: self.video,
            phase: self.phase,
            rings: self.rings,
            reconnecting: self.phase == Phase::Connected && self.search.is_some(),
            can_change: self.can_change(),
            connected_at: self.connected_at,
            replaced_by: self.replaced_by.clone(),
        }
    }

    /// Whether both know how to change a call that goes on.
    fn can_change(&self) -> bool {
        let knows = self.partner.as_ref().is_some_and(|partner| partner.id.is_some());
        knows && matches!(self.phase, Phase::Connecting | Phase::Connected)
    }

    /// Whether it rings here, and this user calls.
    pub(super) fn rings_of(&self, caller: &str) -> bool {
        self.phase == Phase::Ringing && self.partner.as_ref().is_some_and(|partner| partner.user == caller)
    }

    pub(super) fn is_partner(&self, from: &Party) -> bool {
        self.partner.as_ref() == Some(from)
    }

    /// Lets something befall the call.
    pub(super) fn step(&mut self, now: Instant, cause: Cause, out: &mut VecDeque<Output>) -> bool {
        let Some((phase, farewell)) = self.phase.after(cause) else { return false };
        let before = std::mem::replace(&mut self.phase, phase);
        self.changed = true;
        match phase {
            Phase::Preparing => self.deadline = Some(now + timing::PREPARE),
            Phase::Calling => self.deadline = Some(now + timing::CALL),
            Phase::Connecting => self.deadline = Some(now + timing::CONNECT),
            Phase::Connected => {
                self.deadline = None;
                self.connected_at = Some(now);
            }
            // What was told to hold so long goes on holding.
            Phase::Ringing | Phase::Answering => (),
            Phase::Ended(_) => self.end(now, before, farewell),
        }
        if self.in_media && matches!(phase, Phase::Ringing | Phase::Ended(_)) {
            self.in_media = false;
            self.described = false;
            self.media(Media::Close, out);
        }
        true
    }

    fn end(&mut self, now: Instant, before: Phase, farewell: Farewell) {
        self.deadline = Some(now + timing::FAREWELL);
        self.offer = None;
        self.offering = None;
        self.search = None;
        self.held.clear();
        match farewell {
            // Whoever was chosen, or refused, is told so.
            Farewell::Silent if matches!(before, Phase::Calling) => (),
            Farewell::Silent => self.outbox.drop_rest(),
            Farewell::Reject => {
                // Clients of version 0 know no refusal.
                let is_old = self.partner.as_ref().is_some_and(|partner| partner.id.is_none());
                match is_old {
                    true => self.outbox.push("m.call.hangup", write::hangup(self.head(), HangupReason::User)),
                    false => self.outbox.push("m.call.reject", write::reject(self.head())),
                }
            }
            Farewell::Hangup(reason) => {
                let is_known = self.outbox.is_begun();
                self.outbox.drop_rest();
                // An invitation that nobody has got needs no end.
                if is_known {
                    self.outbox.push("m.call.hangup", write::hangup(self.head(), reason));
                }
            }
        }
    }

    pub(super) fn media(&self, media: Media, out: &mut VecDeque<Output>) {
        out.push_back(Output::Media { call: self.name.clone(), media });
    }

    /// Has the page get microphone and camera.
    pub(super) fn begin_offer(&mut self, out: &mut VecDeque<Output>) {
        self.in_media = true;
        self.media(Media::Offer { video: self.video }, out);
    }

    /// The user takes the call; `instead_of`: the call that it replaces.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        video: bool,
        instead_of: Option<String>,
        out: &mut VecDeque<Output>,
    ) {
        let Some(offer) = self.offer.clone().filter(|_| self.step(now, Cause::Accepted, out)) else { return };
        self.in_media = true;
        self.media(Media::Answer { video, offer, instead_of }, out);
        self.handle_described_other(out);
    }

    /// The page has, or is about to have, the other's description: what was held back follows.
    fn handle_described_other(&mut self, out: &mut VecDeque<Output>) {
        self.described = true;
        let held = match self.direction {
            // It may be taken once more, after a refused microphone.
            Direction::Incoming => self.held.clone(),
            Direction::Outgoing => std::mem::take(&mut self.held),
        };
        let of_partner = held.into_iter().filter(|(from, _)| self.is_partner(from));
        let candidates: Vec<String> = of_partner.map(|(_, candidate)| candidate).collect();
        if !candidates.is_empty() {
            self.media(Media::Candidates(candidates), out);
        }
    }

    /// The other, or who may become it, has candidates.
    pub(super) fn handle_candidates(
        &mut self,
        from: &Party,
        candidates: Vec<String>,
        out: &mut VecDeque<Output>,
    ) {
        if self.described && self.is_partner(from) && !candidates.is_empty() {
            self.media(Media::Candidates(candidates.clone()), out);
        }
        if !matches!(self.phase, Phase::Connecting | Phase::Connected) {
            let room = MOST_HELD.saturating_sub(self.held.len());
            self.held.extend(candidates.into_iter().take(room).map(|candidate| (from.clone(), candidate)));
        }
    }

    /// Whose answer, or refusal, counts, and is told so.
    pub(super) fn choose(&mut self, partner: Party) {
        if let Some(id) = &partner.id {
            let content = write::select(self.head(), id);
            self.outbox.push("m.call.select_answer", content);
        }
        self.partner = Some(partner);
    }

    /// Somebody who was called answers.
    pub(super) fn handle_answer(
        &mut self,
        now: Instant,
        from: Party,
        answer: Description,
        out: &mut VecDeque<Output>,
    ) {
        self.choose(from);
        self.step(now, Cause::Answered, out);
        self.media(Media::Remote(answer), out);
        self.handle_described_other(out);
    }

    /// The other changes the call, or answers a change.
    pub(super) fn handle_negotiate(&mut self, description: Description, out: &mut VecDeque<Output>) {
        if !self.can_change() {
            return;
        }
        match description.kind {
            // Who calls insists on their own offer; who was called gives way.
            DescriptionKind::Offer if self.offering.is_some() && self.direction == Direction::Outgoing => {
                return;
            }
            DescriptionKind::Answer if self.offering.is_none() => return,
            DescriptionKind::Offer | DescriptionKind::Answer => (),
        }
        self.offering = None;
        self.media(Media::Remote(description), out);
    }

    /// The page begins to describe a change; whether it may.
    pub(super) fn begin_change(&mut self, now: Instant) -> bool {
        let may = self.can_change() && self.offering.is_none();
        if may {
            self.offering = Some(now + timing::NEGOTIATE);
        }
        may
    }

    /// The page's own description: an invitation, an answer, or a change.
    pub(super) fn handle_described(&mut self, now: Instant, own: &Description, out: &mut VecDeque<Output>) {
        let (kind, content) = match (self.phase, own.kind) {
            (Phase::Preparing, DescriptionKind::Offer) => {
                ("m.call.invite", write::invite(self.head(), self.invitee.as_deref(), own))
            }
            (Phase::Answering, DescriptionKind::Answer) => ("m.call.answer", write::answer(self.head(), own)),
            (Phase::Connecting | Phase::Connected, DescriptionKind::Offer) if self.offering.is_some() => {
                ("m.call.negotiate", write::negotiate(self.head(), own))
            }
            (Phase::Connecting | Phase::Connected, DescriptionKind::Answer) if self.can_change() => {
                ("m.call.negotiate", write::negotiate(self.head(), own))
            }
            _ => return,
        };
        self.outbox.begin_candidates();
        self.outbox.push(kind, content);
        self.step(now, Cause::Described, out);
    }

    /// A candidate of the page's; `None` after the last.
    pub(super) fn handle_candidate(&mut self, now: Instant, candidate: Option<&str>) {
        let wait = match self.phase {
            Phase::Calling => timing::COLLECT_AFTER_INVITE,
            Phase::Connecting | Phase::Connected => timing::COLLECT_AFTER_ANSWER,
            Phase::Preparing | Phase::Ringing | Phase::Answering | Phase::Ended(_) => return,
        };
        match candidate {
            Some(candidate) => self.outbox.collect(candidate, now, wait),
            None => self.outbox.end_candidates(now),
        }
    }

    /// What the page says of the connection.
    pub(super) fn handle_path(&mut self, now: Instant, path: Path, out: &mut VecDeque<Output>) {
        if !matches!(self.phase, Phase::Connecting | Phase::Connected) {
            return;
        }
        let restart = match self.direction {
            Direction::Outgoing => timing::RESTART,
            Direction::Incoming => timing::RESTART_BY_CALLEE,
        };
        let was_lost = self.search.is_some();
        match (path, &mut self.search) {
            (Path::Up, search) => {
                *search = None;
                self.step(now, Cause::PathUp, out);
            }
            (Path::Lost, Some(_)) => (),
            (Path::Failed, Some(search)) if self.direction == Direction::Outgoing => {
                search.restart_at = search.restart_at.min(now);
            }
            (Path::Failed, Some(_)) => (),
            (Path::Lost | Path::Failed, search) => {
                let at_once = path == Path::Failed && self.direction == Direction::Outgoing;
                let restart_at = if at_once { now } else { now + restart };
                *search = Some(Search { gives_up: now + timing::LOST, restart_at });
            }
        }
        self.changed |= was_lost != self.search.is_some();
    }

    /// What the page says of the streams that it sends, a JSON object.
    pub(super) fn handle_streams(&mut self, told: &str) {
        if matches!(self.phase, Phase::Connecting | Phase::Connected) {
            let content = write::streams_changed(self.head(), told);
            self.outbox.push("m.call.sdp_stream_metadata_changed", content);
        }
    }

    pub(super) fn handle_sent(&mut self, now: Instant, delivery: Delivery, out: &mut VecDeque<Output>) {
        let ended = self.outbox.handle_sent(now, delivery);
        if delivery == Delivery::Refused
            && matches!(ended, Some("m.call.invite" | "m.call.answer"))
            && self.step(now, Cause::NotSent, out)
        {
            self.outbox.drop_rest();
        }
    }

    /// What is to be sent at once, however far the rest has come: the page goes.
    pub(super) fn farewell(&mut self, next_token: &mut u64) -> Option<Letter> {
        let kind = "m.call.hangup";
        *next_token += 1;
        let content = write::hangup(self.head(), HangupReason::User);
        Some(self.letter(Token(*next_token), kind, content))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.deadline.filter(|_| !self.phase.is_ended() || !self.outbox.is_empty());
        let search = self.search.as_ref().map(|search| match self.may_restart() {
            true => search.gives_up.min(search.restart_at),
            false => search.gives_up,
        });
        [deadline, search, self.offering, self.outbox.poll_timeout()].into_iter().flatten().min()
    }

    fn may_restart(&self) -> bool {
        self.can_change() && self.offering.is_none()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut VecDeque<Output>) {
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            match self.phase.is_ended() {
                true => self.outbox = Outbox::default(),
                false => {
                    self.step(now, Cause::Expired, out);
                }
            }
        }
        if self.offering.is_some_and(|at| at <= now) {
            self.offering = None;
            self.media(Media::Rollback, out);
        }
        let may_restart = self.may_restart();
        let Some(search) = &mut self.search else { return };
        if search.gives_up <= now {
            self.step(now, Cause::PathGone, out);
        } else if search.restart_at <= now && may_restart {
            search.restart_at = now + timing::RESTART_AGAIN;
            self.media(Media::Restart, out);
        }
    }

    /// Hands over what is to be sent.
    pub(super) fn transmit(&mut self, now: Instant, next_token: &mut u64, out: &mut VecDeque<Output>) {
        while let Some(due) = self.outbox.take_candidates(now) {
            let content = write::candidates(self.head(), &due);
            self.outbox.push("m.call.candidates", content);
        }
        let next = self
            .outbox
            .poll(now, next_token)
            .map(|(token, first)| (token, first.kind, first.content.clone()));
        if let Some((token, kind, content)) = next {
            out.push_back(Output::Send(self.letter(token, kind, content)));
        }
    }

    fn head(&self) -> write::Head<'_> {
        write::Head { call: &self.id, party: &self.own_party }
    }

    fn letter(&self, token: Token, kind: &'static str, content: String) -> Letter {
        let transaction = ["call.", &self.own_party, ".", &token.0.to_string()].concat();
        Letter { token, room: self.room.clone(), kind, content, transaction }
    }

    /// Whether nothing is left to do for it.
    pub(super) fn is_over(&self) -> bool {
        self.phase.is_ended() && self.outbox.is_empty() && !self.changed
    }
}
