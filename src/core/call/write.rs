//! The contents of the events that are sent.

use super::signal::{Description, HangupReason, STREAMS};
use super::timing::{CALL, NEGOTIATE};
use crate::core::time::millis;
use crate::core::wire::write::{Fields, object};

/// Of which call, and who says it.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) call: &'a str,
    pub(super) party: &'a str,
}

fn content(head: Head<'_>, more: &mut dyn FnMut(&mut Fields<'_>)) -> String {
    object(|fields| {
        fields.text("call_id", head.call);
        fields.text("party_id", head.party);
        fields.text("version", "1");
        more(fields);
    })
}

fn describe(fields: &mut Fields<'_>, name: &str, description: &Description) {
    let both = object(|fields| {
        fields.text("type", description.kind.as_str());
        fields.text("sdp", &description.sdp);
    });
    fields.raw(name, &both);
    if let Some(told) = &description.streams {
        streams(fields, told);
    }
}

/// By both names, since there are clients that know only one.
fn streams(fields: &mut Fields<'_>, told: &str) {
    for name in STREAMS {
        fields.raw(name, told);
    }
}

pub(super) fn invite(head: Head<'_>, invitee: Option<&str>, offer: &Description) -> String {
    content(head, &mut |fields| {
        fields.integer("lifetime", millis(CALL));
        fields.optional("invitee", invitee);
        describe(fields, "offer", offer);
    })
}

pub(super) fn answer(head: Head<'_>, answer: &Description) -> String {
    content(head, &mut |fields| describe(fields, "answer", answer))
}

pub(super) fn negotiate(head: Head<'_>, description: &Description) -> String {
    content(head, &mut |fields| {
        fields.integer("lifetime", millis(NEGOTIATE));
        describe(fields, "description", description);
    })
}

pub(super) fn candidates(head: Head<'_>, candidates: &str) -> String {
    content(head, &mut |fields| fields.raw("candidates", candidates))
}

pub(super) fn select(head: Head<'_>, party: &str) -> String {
    content(head, &mut |fields| fields.text("selected_party_id", party))
}

pub(super) fn streams_changed(head: Head<'_>, told: &str) -> String {
    content(head, &mut |fields| streams(fields, told))
}

pub(super) fn reject(head: Head<'_>) -> String {
    content(head, &mut |_| ())
}

pub(super) fn hangup(head: Head<'_>, reason: HangupReason) -> String {
    content(head, &mut |fields| fields.text("reason", reason.as_str()))
}
