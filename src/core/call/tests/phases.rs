//! The table of phases and causes, whole.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::core::call::phase::{Cause, End, Farewell, Phase};
use crate::core::call::signal::HangupReason;

const PHASES: [Phase; 7] = [
    Phase::Preparing,
    Phase::Calling,
    Phase::Ringing,
    Phase::Answering,
    Phase::Connecting,
    Phase::Connected,
    Phase::Ended(End::HungUp),
];

const USER: Cause = Cause::OtherHungUp(HangupReason::User);

/// A row for each cause, a column for each phase: where the call goes, `-` where it stays, `!` where it hangs up and `x` where it
/// refuses as it ends.
const TABLE: [(Cause, [&str; 7]); 17] = [
    //                     preparing      calling         ringing                answering              connecting             connected              ended
    (Cause::Described, ["calling", "-", "-", "connecting", "-", "-", "-"]),
    (Cause::Answered, ["-", "connecting", "-", "-", "-", "-", "-"]),
    (Cause::Rejected, ["-", "rejected", "-", "-", "-", "-", "-"]),
    (USER, ["-", "rejected", "missed", "missed", "other_hung_up", "other_hung_up", "-"]),
    (
        Cause::OtherSelected,
        [
            "-",
            "-",
            "answered_elsewhere",
            "answered_elsewhere",
            "answered_elsewhere",
            "answered_elsewhere",
            "-",
        ],
    ),
    (Cause::AnsweredElsewhere, ["-", "-", "answered_elsewhere", "answered_elsewhere", "-", "-", "-"]),
    (Cause::DeclinedElsewhere, ["-", "-", "declined_elsewhere", "declined_elsewhere", "-", "-", "-"]),
    (Cause::Accepted, ["-", "-", "answering", "-", "-", "-", "-"]),
    (Cause::HungUp, ["hung_up", "hung_up!", "declinedx", "declinedx", "hung_up!", "hung_up!", "-"]),
    (Cause::Expired, ["no_media", "no_answer!", "missed", "missed", "no_path!", "path_lost!", "-"]),
    (Cause::MediaFailed, ["no_media", "no_media!", "-", "ringing", "failed!", "failed!", "-"]),
    (Cause::PathUp, ["-", "-", "-", "-", "connected", "-", "-"]),
    (Cause::PathGone, ["-", "-", "-", "-", "no_path!", "path_lost!", "-"]),
    (Cause::NotSent, ["not_sent", "not_sent", "not_sent", "not_sent", "not_sent!", "not_sent!", "-"]),
    (Cause::Left, ["left", "left", "left", "left", "left", "left", "-"]),
    (Cause::Replaced, ["replaced", "replaced!", "replaced", "-", "-", "-", "-"]),
    (Cause::Stopped, ["hung_up", "hung_up!", "missed", "missed", "hung_up!", "hung_up!", "-"]),
];

#[test]
fn m14_every_cause_in_every_phase_leads_where_the_table_says() {
    for (cause, row) in TABLE {
        for (phase, expected) in PHASES.into_iter().zip(row) {
            let outcome = match phase.after(cause) {
                None => String::from("-"),
                Some((next, farewell)) => {
                    let word = match next {
                        Phase::Ended(end) => end.as_str(),
                        next => next.as_str(),
                    };
                    let mark = match farewell {
                        Farewell::Silent => "",
                        Farewell::Reject => "x",
                        Farewell::Hangup(_) => "!",
                    };
                    [word, mark].concat()
                }
            };
            assert_eq!(outcome, expected, "{phase:?} {cause:?}");
        }
    }
}

#[test]
fn m14_why_the_other_hung_up_is_told_by_when_they_did() {
    for (reason, before, after) in [
        (HangupReason::User, End::Rejected, End::OtherHungUp),
        (HangupReason::Busy, End::Busy, End::OtherHungUp),
        (HangupReason::MediaFailed, End::OtherNoMedia, End::OtherNoMedia),
        (HangupReason::IceFailed, End::Rejected, End::NoPath),
        (HangupReason::IceTimeout, End::Rejected, End::PathLost),
        (HangupReason::InviteTimeout, End::Rejected, End::Failed),
        (HangupReason::Unknown, End::Rejected, End::Failed),
    ] {
        let cause = Cause::OtherHungUp(reason);
        assert_eq!(Phase::Calling.after(cause), Some((Phase::Ended(before), Farewell::Silent)), "{reason:?}");
        assert_eq!(
            Phase::Connected.after(cause),
            Some((Phase::Ended(after), Farewell::Silent)),
            "{reason:?}"
        );
    }
}
