//! How a call goes on: its phases, what can befall it, and the table of both.

use super::signal::HangupReason;

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The own user calls: microphone and offer are being made ready.
    Preparing,
    /// They are called, and have not answered.
    Calling,
    /// Somebody calls the own user.
    Ringing,
    /// The own user answers: microphone and answer are being made ready.
    Answering,
    /// Answered; the connection is being made.
    Connecting,
    /// They hear each other.
    Connected,
    /// Over.
    Ended(End),
}

/// Why a call is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The own user hung up.
    HungUp,
    /// The other hung up.
    OtherHungUp,
    /// The own user does not want it.
    Declined,
    /// The other does not want it.
    Rejected,
    /// The other is busy.
    Busy,
    /// Nobody answered in time.
    NoAnswer,
    /// The caller gave up, or the time to answer passed.
    Missed,
    /// Another client of the own user has it, or the caller took somebody else's answer.
    AnsweredElsewhere,
    /// The own user declined it on another client.
    DeclinedElsewhere,
    /// No microphone here, or no leave to use it.
    NoMedia,
    /// None at the other.
    OtherNoMedia,
    /// No connection came about.
    NoPath,
    /// The connection was lost.
    PathLost,
    /// Another call took its place: both called each other.
    Replaced,
    /// The server did not take what had to be said.
    NotSent,
    /// One of both left the room.
    Left,
    /// Anything else.
    Failed,
}

impl End {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HungUp => "hung_up",
            Self::OtherHungUp => "other_hung_up",
            Self::Declined => "declined",
            Self::Rejected => "rejected",
            Self::Busy => "busy",
            Self::NoAnswer => "no_answer",
            Self::Missed => "missed",
            Self::AnsweredElsewhere => "answered_elsewhere",
            Self::DeclinedElsewhere => "declined_elsewhere",
            Self::NoMedia => "no_media",
            Self::OtherNoMedia => "other_no_media",
            Self::NoPath => "no_path",
            Self::PathLost => "path_lost",
            Self::Replaced => "replaced",
            Self::NotSent => "not_sent",
            Self::Left => "left",
            Self::Failed => "failed",
        }
    }
}

/// What befalls a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The own description is ready to be told.
    Described,
    /// Who was called answers.
    Answered,
    /// Who was called does not want it.
    Rejected,
    /// The other hangs up.
    OtherHungUp(HangupReason),
    /// The caller took somebody else's answer.
    OtherSelected,
    /// Another client of the own user answers.
    AnsweredElsewhere,
    /// Another client of the own user declines.
    DeclinedElsewhere,
    /// The own user takes the call.
    Accepted,
    /// The own user does not want it, or hangs up.
    HungUp,
    /// Time is up for what the phase waits for.
    Expired,
    /// Microphone, camera or the page's connection failed.
    MediaFailed,
    /// The connection stands.
    PathUp,
    /// It is lost for good.
    PathGone,
    /// The server refuses what has to be said.
    NotSent,
    /// One of both is in the room no more.
    Left,
    /// Another call takes its place.
    Replaced,
    /// The session, or the page, ends.
    Stopped,
}

/// What is to be said when a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// Nothing: the other knows, or nobody may hear of it.
    Silent,
    /// `m.call.reject`
    Reject,
    /// `m.call.hangup`
    Hangup(HangupReason),
}

impl Phase {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Calling => "calling",
            Self::Ringing => "ringing",
            Self::Answering => "answering",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Ended(_) => "ended",
        }
    }

    /// Whether it is over.
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Ended(_))
    }

    /// Whether it takes the microphone: of such calls there is one at most.
    pub const fn is_live(self) -> bool {
        !matches!(self, Self::Ringing | Self::Ended(_))
    }

    /// Where a call goes from here, and what it says to the other as it ends; `None` where nothing changes.
    pub fn after(self, cause: Cause) -> Option<(Self, Farewell)> {
        use Cause as C;
        use Farewell::{Hangup, Reject, Silent};
        use HangupReason as R;
        let on = |phase| Some((phase, Silent));
        let end = |end, farewell| Some((Self::Ended(end), farewell));
        match (self, cause) {
            (Self::Ended(_), _) => None,

            (Self::Preparing, C::Described) => on(Self::Calling),
            (Self::Calling, C::Answered) => on(Self::Connecting),
            (Self::Ringing, C::Accepted) => on(Self::Answering),
            (Self::Answering, C::Described) => on(Self::Connecting),
            // Another try, perhaps without a camera, or another client of the user's.
            (Self::Answering, C::MediaFailed) => on(Self::Ringing),
            (Self::Connecting, C::PathUp) => on(Self::Connected),

            (Self::Preparing, C::HungUp | C::Stopped) => end(End::HungUp, Silent),
            (Self::Ringing | Self::Answering, C::HungUp) => end(End::Declined, Reject),
            // Others of the user's clients go on ringing.
            (Self::Ringing | Self::Answering, C::Stopped) => end(End::Missed, Silent),
            (Self::Calling | Self::Connecting | Self::Connected, C::HungUp | C::Stopped) => {
                end(End::HungUp, Hangup(R::User))
            }

            (Self::Preparing, C::Expired | C::MediaFailed) => end(End::NoMedia, Silent),
            (Self::Calling, C::Expired) => end(End::NoAnswer, Hangup(R::InviteTimeout)),
            (Self::Calling, C::MediaFailed) => end(End::NoMedia, Hangup(R::MediaFailed)),
            (Self::Ringing | Self::Answering, C::Expired) => end(End::Missed, Silent),
            (Self::Connecting, C::Expired | C::PathGone) => end(End::NoPath, Hangup(R::IceFailed)),
            (Self::Connected, C::Expired | C::PathGone) => end(End::PathLost, Hangup(R::IceTimeout)),
            (Self::Connecting | Self::Connected, C::MediaFailed) => end(End::Failed, Hangup(R::Unknown)),

            (Self::Calling, C::Rejected) => end(End::Rejected, Silent),
            (Self::Calling, C::OtherHungUp(reason)) => end(hung_up_before_answering(reason), Silent),
            (Self::Ringing | Self::Answering, C::OtherHungUp(_)) => end(End::Missed, Silent),
            (Self::Connecting | Self::Connected, C::OtherHungUp(reason)) => {
                end(hung_up_after_answering(reason), Silent)
            }
            (Self::Ringing | Self::Answering, C::AnsweredElsewhere) => end(End::AnsweredElsewhere, Silent),
            (Self::Ringing | Self::Answering, C::DeclinedElsewhere) => end(End::DeclinedElsewhere, Silent),
            (Self::Ringing | Self::Answering | Self::Connecting | Self::Connected, C::OtherSelected) => {
                end(End::AnsweredElsewhere, Silent)
            }

            (Self::Connecting | Self::Connected, C::NotSent) => end(End::NotSent, Hangup(R::Unknown)),
            (_, C::NotSent) => end(End::NotSent, Silent),
            (_, C::Left) => end(End::Left, Silent),
            (Self::Calling, C::Replaced) => end(End::Replaced, Hangup(R::User)),
            (Self::Preparing | Self::Ringing, C::Replaced) => end(End::Replaced, Silent),

            // Twice, late, or of another phase: what a peer says out of turn changes nothing.
            (
                _,
                C::Described
                | C::Answered
                | C::Rejected
                | C::Accepted
                | C::PathUp
                | C::PathGone
                | C::Replaced,
            ) => None,
            (Self::Ringing, C::MediaFailed) => None,
            (Self::Preparing, C::OtherHungUp(_)) => None,
            (Self::Preparing | Self::Calling, C::OtherSelected) => None,
            (_, C::AnsweredElsewhere | C::DeclinedElsewhere) => None,
        }
    }
}

/// How clients of version 0 refuse.
fn hung_up_before_answering(reason: HangupReason) -> End {
    match reason {
        HangupReason::Busy => End::Busy,
        HangupReason::MediaFailed => End::OtherNoMedia,
        HangupReason::User
        | HangupReason::IceFailed
        | HangupReason::IceTimeout
        | HangupReason::InviteTimeout
        | HangupReason::Unknown => End::Rejected,
    }
}

fn hung_up_after_answering(reason: HangupReason) -> End {
    match reason {
        HangupReason::User | HangupReason::Busy => End::OtherHungUp,
        HangupReason::IceFailed => End::NoPath,
        HangupReason::IceTimeout => End::PathLost,
        HangupReason::MediaFailed => End::OtherNoMedia,
        HangupReason::InviteTimeout | HangupReason::Unknown => End::Failed,
    }
}
