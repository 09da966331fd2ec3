//! How long each part of a call may take.

use std::time::Duration;

/// How long a microphone, which a person is asked for, and an offer may take.
pub(super) const PREPARE: Duration = Duration::from_secs(120);
/// How long one is called: what Matrix recommends at least.
pub(super) const CALL: Duration = Duration::from_secs(90);
/// How long somebody must have to answer, for a call to ring at all.
pub(super) const TIME_TO_ANSWER: Duration = Duration::from_secs(3);
/// How long a connection may take to come about.
pub(super) const CONNECT: Duration = Duration::from_secs(40);
/// How long a connection may be lost.
pub(super) const LOST: Duration = Duration::from_secs(30);
/// After how long the caller makes a lost one anew; it often comes back by itself.
pub(super) const RESTART: Duration = Duration::from_secs(2);
/// After how long who was called does, since the caller has not.
pub(super) const RESTART_BY_CALLEE: Duration = Duration::from_secs(8);
/// How soon it is tried again.
pub(super) const RESTART_AGAIN: Duration = Duration::from_secs(10);
/// How long an offer in a call holds.
pub(super) const NEGOTIATE: Duration = Duration::from_secs(30);
/// For how long candidates are collected after an invitation: until it is answered there is time.
pub(super) const COLLECT_AFTER_INVITE: Duration = Duration::from_secs(2);
/// For how long they are after an answer.
pub(super) const COLLECT_AFTER_ANSWER: Duration = Duration::from_millis(500);
/// For how long what a call had to say at its end is tried.
pub(super) const FAREWELL: Duration = Duration::from_secs(60);
