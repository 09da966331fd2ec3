//! What an `m.call.*` event says, read and bounded: what is beyond a bound, or makes no sense, is not there.

use std::time::Duration;

use crate::core::wire::object::Object;

/// The longest description that is passed on, in bytes: more does not fit into an event.
const MAX_SDP: usize = 64 * 1024;
/// The most candidates that are taken of one event.
const MAX_CANDIDATES: usize = 64;
/// The longest candidate, in bytes of JSON.
const MAX_CANDIDATE: usize = 1024;
/// The longest identifier, in bytes (Matrix's opaque identifiers).
const MAX_ID: usize = 255;
/// How long an invitation holds that does not say so.
const USUAL_LIFETIME: Duration = Duration::from_secs(60);
/// How long one rings at most, whatever it says.
const LONGEST_LIFETIME: Duration = Duration::from_secs(300);
/// The longest that is told of streams, in bytes of JSON.
const MAX_STREAMS: usize = 8 * 1024;
/// What streams are described by, as the specification and as older clients call it.
pub(super) const STREAMS: [&str; 2] = ["sdp_stream_metadata", "org.matrix.msc3077.sdp_stream_metadata"];

/// One side of a call: a user, and which of their clients. Of version 0 clients one knows the user only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// The user.
    pub user: String,
    /// Which of their clients.
    pub id: Option<String>,
}

/// What an event of a call says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The call.
    pub call: String,
    /// Who sent it.
    pub from: Party,
    /// What it says.
    pub said: Said,
}

/// What is said about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// `m.call.invite`
    Invite(Invite),
    /// `m.call.answer`
    Answer(Description),
    /// `m.call.candidates`: each a JSON object.
    Candidates(Vec<String>),
    /// `m.call.select_answer`: whose answer, or refusal, counts.
    Select(String),
    /// `m.call.reject`
    Reject,
    /// `m.call.hangup`
    Hangup(HangupReason),
    /// `m.call.negotiate`
    Negotiate {
        /// The new description.
        description: Description,
        /// For how long an offer holds.
        lifetime: Duration,
    },
    /// `m.call.sdp_stream_metadata_changed`: a JSON object.
    Streams(String),
}

/// Somebody calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// What they offer.
    pub offer: Description,
    /// For how long.
    pub lifetime: Duration,
    /// Whom they call, if not everybody in the room.
    pub invitee: Option<String>,
}

/// One side's description of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Offer or answer.
    pub kind: DescriptionKind,
    /// In the Session Description Protocol.
    pub sdp: String,
    /// What is known of its streams, a JSON object.
    pub streams: Option<String>,
}

impl Description {
    /// Whether it has a picture in it.
    pub fn has_video(&self) -> bool {
        self.sdp.lines().any(|line| line.starts_with("m=video"))
    }
}

/// Which half of a negotiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DescriptionKind {
    /// The first.
    Offer,
    /// The second.
    Answer,
}

impl DescriptionKind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
        }
    }
}

/// Why somebody hangs up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangupReason {
    /// They wish to; what says nothing else, too.
    User,
    /// No connection came about.
    IceFailed,
    /// The connection was lost.
    IceTimeout,
    /// Nobody answered.
    InviteTimeout,
    /// No microphone, or no leave to use it.
    MediaFailed,
    /// They are busy.
    Busy,
    /// Something else.
    Unknown,
}

impl HangupReason {
    /// As events have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user_hangup",
            Self::IceFailed => "ice_failed",
            Self::IceTimeout => "ice_timeout",
            Self::InviteTimeout => "invite_timeout",
            Self::MediaFailed => "user_media_failed",
            Self::Busy => "user_busy",
            Self::Unknown => "unknown_error",
        }
    }

    fn read(word: Option<&str>) -> Self {
        match word {
            None | Some("user_hangup") => Self::User,
            Some("ice_failed") => Self::IceFailed,
            Some("ice_timeout") => Self::IceTimeout,
            Some("invite_timeout") => Self::InviteTimeout,
            Some("user_media_failed") => Self::MediaFailed,
            Some("user_busy") => Self::Busy,
            Some(_) => Self::Unknown,
        }
    }
}

impl Signal {
    /// Whether events of this type are about calls.
    pub fn is_of_call(kind: &str) -> bool {
        kind.starts_with("m.call.") || kind == "org.matrix.call.sdp_stream_metadata_changed"
    }

    /// Reads an event of a room; `None` for what says nothing of a call.
    pub fn read(kind: &str, sender: &str, content: &Object<'_>) -> Option<Self> {
        let call = content.string("call_id").filter(|id| is_id(id))?;
        // Older clients have no such ID, and one that they say is not meant.
        let is_old = content.raw("version") == Some("0");
        let id = content.string("party_id").filter(|id| is_id(id) && !is_old);
        let said = match kind {
            "m.call.invite" => Said::Invite(Invite {
                offer: description(content, "offer", DescriptionKind::Offer)?,
                lifetime: lifetime(content),
                invitee: match content.raw("invitee") {
                    None | Some("null") => None,
                    Some(_) => Some(content.string("invitee")?),
                },
            }),
            "m.call.answer" => Said::Answer(description(content, "answer", DescriptionKind::Answer)?),
            "m.call.candidates" => {
                let candidates = content.list("candidates").into_iter().take(MAX_CANDIDATES);
                let fits = |raw: &&str| raw.starts_with('{') && raw.len() <= MAX_CANDIDATE;
                Said::Candidates(candidates.filter(fits).map(str::to_owned).collect())
            }
            "m.call.select_answer" => Said::Select(content.string("selected_party_id")?),
            "m.call.reject" => Said::Reject,
            "m.call.hangup" => Said::Hangup(HangupReason::read(content.text("reason").as_deref())),
            "m.call.negotiate" => {
                let kind = match content.object("description").text("type").as_deref() {
                    Some("offer") => DescriptionKind::Offer,
                    Some("answer") => DescriptionKind::Answer,
                    _ => return None,
                };
                Said::Negotiate {
                    description: description(content, "description", kind)?,
                    lifetime: lifetime(content),
                }
            }
            "m.call.sdp_stream_metadata_changed" | "org.matrix.call.sdp_stream_metadata_changed" => {
                Said::Streams(streams(content)?)
            }
            _ => return None,
        };
        Some(Self { call, from: Party { user: sender.to_owned(), id }, said })
    }
}

/// Whatever type it says it has: that of an invitation's is not looked at.
fn description(content: &Object<'_>, field: &str, kind: DescriptionKind) -> Option<Description> {
    let sdp = content.object(field).string("sdp").filter(|sdp| !sdp.is_empty() && sdp.len() <= MAX_SDP)?;
    Some(Description { kind, sdp, streams: streams(content) })
}

fn streams(content: &Object<'_>) -> Option<String> {
    let raw = STREAMS.iter().find_map(|name| content.raw(name))?;
    (raw.starts_with('{') && raw.len() <= MAX_STREAMS).then(|| raw.to_owned())
}

fn lifetime(content: &Object<'_>) -> Duration {
    // What ended before it began does not hold at all.
    if content.raw("lifetime").is_some_and(|given| given.starts_with('-')) {
        return Duration::ZERO;
    }
    let given = content.integer("lifetime").map(Duration::from_millis);
    given.unwrap_or(USUAL_LIFETIME).min(LONGEST_LIFETIME)
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_ID
}
