//! Leading the clients of one session, and being led: one has the stream and hands the others what it was told, as it
//! was told.
//!
//! Who follows takes its state from a `/sync` of its own and goes on with the writes of the one that leads. Each names the
//! position before it: what was missed is noticed, and asked for by another `/sync`. Where the leader has no stream, or
//! nothing is heard of it, each follows the server by itself. Bound: [`MAX_WAITING_BYTES`].

use std::time::Duration;

use super::held::{MARGIN, Phase};
use super::output::Output;
use super::pending::Awaited;
use super::role::Client;
use super::tabs::{Chain, Lead};
use crate::core::time::{Instant, millis};

/// The most bytes of writes that wait for the answer of the `/sync` before them; beyond it they are asked for again.
const MAX_WAITING_BYTES: usize = 4 << 20;
/// For how long a leader is believed to be there, if it says nothing else.
const BELIEVED: Duration = Duration::from_secs(35);

impl Client {
    /// Whether this client leads those of its session. One that never hears of it is alone, and leads.
    pub fn handle_lead(&mut self, now: Instant, leads: bool) {
        let led = self.tabs.leads();
        self.tabs.lead = if leads { Lead::Leading } else { Lead::Following };
        self.tabs.leave_leader();
        let stream = self.held.phase != Phase::Closed;
        let changes = if leads { !led && self.may_stream(now) } else { stream };
        if changes {
            self.follow_anew(now);
        }
        self.ask_for_leader();
        self.settle(now);
    }

    /// Who leads, and has the stream, shall say so.
    pub(super) fn ask_for_leader(&mut self) {
        if !self.tabs.leads() && self.is_running() {
            self.tell_all("ask");
        }
    }

    /// Another client of this session tells something.
    pub fn handle_tab(&mut self, now: Instant, message: &str) {
        let (kind, rest) = message.split_once('\n').unwrap_or((message, ""));
        match kind {
            "active" => self.handle_activity_elsewhere(now),
            "ask" if self.held.is_live() => self.tell_live(),
            "live" if !self.tabs.leads() => {
                self.tabs.believed = rest.parse().map_or(BELIEVED, Duration::from_millis);
                self.hear_leader(now);
                if matches!(self.tabs.chain, Chain::At(_)) {
                    self.handle_nothing_new(now);
                }
            }
            "write" if !self.tabs.leads() => self.handle_told(now, rest),
            "away" if !self.tabs.leads() => self.lose_leader(now),
            _ => (),
        }
        self.settle(now);
    }

    /// The leader has the stream: what it is told from here on is heard.
    fn hear_leader(&mut self, now: Instant) {
        let was_live = self.tabs.live_until.replace(now + self.tabs.believed).is_some();
        if !was_live {
            self.follow_anew(now);
        } else if matches!(self.tabs.chain, Chain::At(_)) {
            self.expect_answer(now, self.tabs.believed);
        }
    }

    fn handle_told(&mut self, now: Instant, told: &str) {
        if self.tabs.live_until.is_none() {
            return;
        }
        self.hear_leader(now);
        match &mut self.tabs.chain {
            Chain::Broken => (),
            Chain::CatchingUp(waiting) => {
                let held: usize = waiting.iter().map(String::len).sum();
                if held + told.len() > MAX_WAITING_BYTES {
                    self.tabs.chain = Chain::Broken;
                } else {
                    waiting.push(told.to_owned());
                }
            }
            Chain::At(_) => {
                if !self.apply_told(now, told) {
                    self.follow(now);
                    if let Chain::CatchingUp(waiting) = &mut self.tabs.chain {
                        waiting.push(told.to_owned());
                    }
                }
            }
        }
    }

    /// Applies a write that goes on from here; whether it does.
    fn apply_told(&mut self, now: Instant, told: &str) -> bool {
        let mut parts = told.splitn(3, '\n');
        let (Some(before), Some(id), Some(text)) = (parts.next(), parts.next(), parts.next()) else {
            return false;
        };
        let goes_on =
            matches!(&self.tabs.chain, Chain::At(at) if at.as_deref().is_none_or(|at| at == before));
        if !goes_on || id.is_empty() || self.handle_write(now, Some(before), id, text).is_err() {
            return false;
        }
        self.tabs.chain = Chain::At(Some(id.to_owned()));
        true
    }

    /// A `/sync` has ended well; whether the leader tells what comes after it.
    pub(super) fn is_caught_up(&mut self, now: Instant) -> bool {
        let Chain::CatchingUp(waiting) = std::mem::take(&mut self.tabs.chain) else { return false };
        self.tabs.chain = Chain::At(None);
        let caught_up = waiting.iter().all(|told| self.apply_told(now, told));
        self.expect_answer(now, self.tabs.believed);
        caught_up
    }

    pub(super) fn handle_tabs_timeout(&mut self, now: Instant) {
        if self.tabs.live_until.is_some_and(|until| until <= now) {
            self.lose_leader(now);
        }
    }

    /// The leader has no stream: this client follows the server by itself.
    fn lose_leader(&mut self, now: Instant) {
        let told = matches!(self.tabs.chain, Chain::At(_));
        self.tabs.leave_leader();
        if told {
            self.follow_anew(now);
        }
    }

    /// Goes on another way, unless it is being waited until the server is back.
    fn follow_anew(&mut self, now: Instant) {
        let asks = self.pending.iter().any(|pending| matches!(pending.awaited, Awaited::Versions));
        if self.is_running() && !asks && self.sync.resume_at.is_none() {
            self.give_up_sync();
            self.follow(now);
        }
    }

    pub(super) fn handle_activity_elsewhere(&mut self, now: Instant) {
        self.idle.timer.handle_activity(now);
        self.follow_timer(now);
    }

    /// The user is at this client, and so at the device.
    pub(super) fn tell_activity(&mut self) {
        self.tell_all("active");
    }

    pub(super) fn tell_live(&mut self) {
        if self.tabs.leads() {
            let believed = millis(self.held.heartbeat + MARGIN);
            self.tell(["live\n", &believed.to_string()].concat());
        }
    }

    pub(super) fn tell_away(&mut self) {
        self.tell(String::from("away"));
    }

    /// What the stream has told, from a position that others can be at.
    pub(super) fn tell_write(&mut self, before: Option<&str>, id: &str, text: &str) {
        match before {
            Some(before) => self.tell(["write\n", before, "\n", id, "\n", text].concat()),
            // It has begun anew, which nobody else can follow.
            None => {
                self.tell_away();
                self.tell_live();
            }
        }
    }

    fn tell(&mut self, message: String) {
        if self.tabs.lead == Lead::Leading {
            self.outputs.push_back(Output::Tell(message));
        }
    }

    fn tell_all(&mut self, message: &str) {
        if self.tabs.lead != Lead::Alone {
            self.outputs.push_back(Output::Tell(message.to_owned()));
        }
    }
}
