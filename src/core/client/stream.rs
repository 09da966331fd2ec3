//! The held stream: `/sync` that does not end, where the server has it and nothing on the way holds it back.
//!
//! What comes up to an `id` is applied as the answer of `/sync` that says the same, so the position is one, and either
//! way goes on where the other ended.

use super::backoff;
use super::held::{HELLO_WITHIN, LOST_EARLY, MARGIN, Phase, QUIET};
use super::output::{Failure, Output, RequestId};
use super::pending::{Awaited, Pending};
use super::role::Client;
use super::sync::FIRST_TIMEOUT;
use crate::core::time::Instant;
use crate::core::wire::event_stream::{BadStream, Piece, frames};
use crate::core::wire::object::Object;
use crate::core::wire::sync::SyncBody;

const STREAM_PATH: &str = "/_matrix/client/unstable/org.pilotlight/stream";

impl Client {
    /// Whether this client is to have the stream: where several share it, one has it for all.
    pub(super) fn may_stream(&self, now: Instant) -> bool {
        self.tabs.leads() && self.held.is_open_to(now)
    }

    pub(super) fn begin_stream(&mut self, now: Instant) {
        self.sync.begun += 1;
        self.held.begin();
        let mut path = String::from(STREAM_PATH);
        self.push_position(&mut path);
        self.expect_answer(now, HELLO_WITHIN);
        self.request_within(HELLO_WITHIN, now, Awaited::Stream, "GET", path, None);
    }

    /// Bytes of the stream have come; none with the head of the answer.
    pub fn handle_chunk(&mut self, now: Instant, id: RequestId, chunk: &[u8]) {
        let of_it = |pending: &Pending| pending.id == id && matches!(pending.awaited, Awaited::Stream);
        if !self.pending.iter().any(of_it) {
            return;
        }
        if self.held.phase == Phase::Asked {
            self.held.phase = Phase::Open;
            self.expect_chunk(now);
        }
        if self.take_chunk(now, chunk).is_err() {
            self.end_stream(now, Failure::not_understood());
        } else if !chunk.is_empty() && self.held.is_live() {
            self.expect_chunk(now);
        }
        self.settle(now);
    }

    fn take_chunk(&mut self, now: Instant, chunk: &[u8]) -> Result<(), BadStream> {
        self.held.events.handle_chunk(chunk)?;
        while let Some(piece) = self.held.events.poll_piece()? {
            match piece {
                Piece::Hello(data) => self.handle_hello(now, &data),
                // What was told before a comment was told whole: it says as much as an empty answer.
                Piece::Comment if self.held.is_live() && self.held.events.is_between_writes() => {
                    self.handle_nothing_new(now);
                }
                Piece::Comment => (),
                Piece::Write { id, text } => {
                    let before = self.sync.since.clone();
                    self.handle_write(now, before.as_deref(), &id, &text)?;
                    self.held.tell();
                    self.tell_write(before.as_deref(), &id, &text);
                }
                Piece::End(data) => {
                    self.handle_end(now, &Object::parse_or_empty(&data));
                    break;
                }
            }
        }
        Ok(())
    }

    fn handle_hello(&mut self, now: Instant, data: &str) {
        if self.held.is_live() {
            return;
        }
        self.held.greet(Object::parse_or_empty(data).integer("heartbeat_ms"));
        if self.sync.since.is_some() {
            self.held.quiet_at = Some(now + QUIET);
        }
        self.tell_live();
    }

    /// Applies a write of the stream that begins where this client is.
    pub(super) fn handle_write(
        &mut self,
        now: Instant,
        before: Option<&str>,
        id: &str,
        text: &str,
    ) -> Result<(), BadStream> {
        let frames = frames(text);
        let body = SyncBody::of_write(&frames, before, id).map_err(|_| BadStream)?;
        self.take_news(now, self.sync.begun(), &body);
        self.sync.begun += 1;
        Ok(())
    }

    /// Everything up to where this client is has been told.
    pub(super) fn handle_nothing_new(&mut self, now: Instant) {
        let Some(since) = self.sync.since.clone() else { return };
        self.take_news(now, self.sync.begun(), &SyncBody { next_batch: since.into(), ..SyncBody::default() });
        self.sync.begun += 1;
        if self.held.is_live() {
            self.held.tell();
            self.tell_live();
        }
    }

    pub(super) fn handle_stream_timeout(&mut self, now: Instant) {
        if self.held.quiet_at.is_some_and(|at| at <= now) {
            self.held.quiet_at = None;
            if self.held.events.is_between_writes() {
                self.handle_nothing_new(now);
                self.expect_chunk(now);
            }
        }
    }

    /// By when the next bytes have to come.
    fn expect_chunk(&mut self, now: Instant) {
        let within = match self.held.phase {
            Phase::Closed | Phase::Asked | Phase::Open => HELLO_WITHIN,
            Phase::Greeted if self.sync.since.is_none() => FIRST_TIMEOUT,
            Phase::Greeted | Phase::Following => self.held.heartbeat + MARGIN,
        };
        let stream = self.pending.iter_mut().find(|pending| matches!(pending.awaited, Awaited::Stream));
        if let Some(pending) = stream {
            pending.deadline = now + within;
        }
        if self.held.phase == Phase::Following {
            self.expect_answer(now, self.held.heartbeat);
        }
    }

    /// The server says why it ends the stream.
    fn handle_end(&mut self, now: Instant, data: &Object<'_>) {
        let reason = data.string("reason").unwrap_or_default();
        let message =
            data.string("error").unwrap_or_else(|| ["the server ended the stream: ", &reason].concat());
        let code = data.string("errcode");
        // A reason with a code is for good: as if the request had been refused with it. So is that this device has too many.
        let status = match code.as_deref() {
            Some("M_UNKNOWN_TOKEN") => Some(401),
            None if reason != "replaced" => None,
            Some(_) | None => Some(403),
        };
        let failure = Failure {
            status,
            retry_after_ms: data.integer("retry_after_ms"),
            ..Failure::local(&code.unwrap_or_else(|| String::from("NETWORK")), &message)
        };
        self.end_stream(now, failure);
    }

    /// Ends the stream from here.
    fn end_stream(&mut self, now: Instant, failure: Failure) {
        let stream = |pending: &Pending| matches!(pending.awaited, Awaited::Stream);
        if let Some(at) = self.pending.iter().position(stream) {
            let pending = self.pending.remove(at);
            self.outputs.push_back(Output::Cancel(pending.id));
            self.conclude(now, pending.awaited, Err(failure));
        }
    }

    /// Nothing more comes by the stream, if there is one.
    pub(super) fn close_stream(&mut self) {
        if self.held.close() != Phase::Closed {
            self.tell_away();
        }
    }

    pub(super) fn conclude_stream(&mut self, now: Instant, outcome: Result<&str, Failure>) {
        let phase = self.held.close();
        self.tell_away();
        // An answer that has an end is not from the stream.
        let failure = outcome.err().unwrap_or_else(Failure::not_understood);
        // A server that is away, or asks to wait, is so for `/sync` as well.
        let early = match phase {
            Phase::Closed | Phase::Following => false,
            Phase::Asked => failure.status.is_some_and(|status| status != 429),
            Phase::Open | Phase::Greeted => true,
        };
        self.held.lost_early += u32::from(early);
        let held_back = match phase {
            _ if !failure.is_transient() => true,
            Phase::Asked | Phase::Open if failure.code == "TIMEOUT" => true,
            Phase::Closed | Phase::Asked | Phase::Open | Phase::Greeted => self.held.lost_early >= LOST_EARLY,
            Phase::Following => false,
        };
        if held_back {
            self.held.hold_back(now, &mut self.rng);
            self.interrupt(now);
            self.follow(now);
        } else if phase == Phase::Following && failure.retry_after().is_none() {
            // Connections end, of old age as well: whether the server is there is what the next attempt says.
            self.interrupt(now);
            self.sync.resume_at = Some(now + backoff::soon(&mut self.rng));
        } else {
            self.delay_sync(now, failure);
        }
    }

    /// The stream broke off, which is shown to nobody as long as the next attempt has not failed.
    fn interrupt(&mut self, now: Instant) {
        self.note_interruption(now);
        self.sync.failures = self.sync.failures.max(1);
    }
}
