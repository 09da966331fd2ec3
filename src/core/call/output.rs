//! What follows from an input: events to send, what a page's connection is to do, and what there is to show.

use std::time::Duration;

use super::phase::Phase;
use super::signal::Description;
use crate::core::time::Instant;
use crate::core::wire::write::{Fields, ToJson, Writer};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send an event into a room, and say what became of it.
    Send(Letter),
    /// Do this to the connection of a call.
    Media {
        /// The call.
        call: String,
        /// What to do.
        media: Media,
    },
    /// A call as it is.
    Show(View),
    /// The user is in a call that was answered, or is no longer.
    InCall(bool),
}

/// An event to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// By which its end is told.
    pub token: Token,
    /// The room.
    pub room: String,
    /// Its type.
    pub kind: &'static str,
    /// Its content.
    pub content: String,
    /// By which a server knows a repetition.
    pub transaction: String,
}

/// Which event that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(pub u64);

/// What became of an event that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The server has it.
    Sent,
    /// The server does not take it.
    Refused,
    /// It may have it; to be sent again after this time.
    Lost(Duration),
}

/// What a page's connection is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Media {
    /// Get the microphone, and the camera for a call with a picture; describe an offer.
    Offer {
        /// With a picture.
        video: bool,
    },
    /// Get them, take the offer, and describe an answer.
    Answer {
        /// With a picture.
        video: bool,
        /// The offer.
        offer: Description,
        /// The call whose microphone and camera are to be used further.
        instead_of: Option<String>,
    },
    /// Take the other's description; of an offer, describe an answer.
    Remote(Description),
    /// Take the other's candidates, JSON objects.
    Candidates(Vec<String>),
    /// What the other says of their streams, a JSON object.
    Streams(String),
    /// Describe an offer of a connection that is made anew.
    Restart,
    /// Take back the offer that nobody answered.
    Rollback,
    /// End it.
    Close,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The own user.
    Outgoing,
    /// The other.
    Incoming,
}

/// A call as an application shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its ID.
    pub call: String,
    /// The room.
    pub room: String,
    /// Who calls.
    pub direction: Direction,
    /// The other user, as far as one knows.
    pub user: Option<String>,
    /// With a picture, by its first offer.
    pub video: bool,
    /// Where it stands.
    pub phase: Phase,
    /// Whether to make it heard (P13).
    pub rings: bool,
    /// The connection is lost, and is being looked for.
    pub reconnecting: bool,
    /// The other's client takes changes within a call.
    pub can_change: bool,
    /// Since when they hear each other.
    pub connected_at: Option<Instant>,
    /// The call that took its place.
    pub replaced_by: Option<String>,
}

impl ToJson for View {
    fn write(&self, writer: &mut Writer) {
        writer.object(|fields| {
            fields.text("callId", &self.call);
            fields.text("roomId", &self.room);
            fields.text(
                "direction",
                match self.direction {
                    Direction::Outgoing => "outgoing",
                    Direction::Incoming => "incoming",
                },
            );
            fields.optional("userId", self.user.as_deref());
            fields.flag("video", self.video);
            fields.text("state", self.phase.as_str());
            if let Phase::Ended(end) = self.phase {
                fields.text("reason", end.as_str());
            }
            fields.flag("rings", self.rings);
            fields.flag("reconnecting", self.reconnecting);
            fields.flag("canChange", self.can_change);
            if let Some(at) = self.connected_at {
                fields.integer("connectedAt", at.to_unix().0);
            }
            fields.optional("replacedBy", self.replaced_by.as_deref());
        });
    }
}

impl Media {
    /// It as JSON, for the page's script.
    pub fn to_json(&self, call: &str) -> String {
        let mut writer = Writer::default();
        writer.object(|fields| {
            fields.text("callId", call);
            match self {
                Self::Offer { video } => {
                    fields.text("op", "offer");
                    fields.flag("video", *video);
                }
                Self::Answer { video, offer, instead_of } => {
                    fields.text("op", "answer");
                    fields.flag("video", *video);
                    fields.optional("insteadOf", instead_of.as_deref());
                    describe(fields, offer);
                }
                Self::Remote(description) => {
                    fields.text("op", "remote");
                    describe(fields, description);
                }
                Self::Candidates(candidates) => {
                    fields.text("op", "candidates");
                    fields.raw("candidates", &["[", &candidates.join(","), "]"].concat());
                }
                Self::Streams(streams) => {
                    fields.text("op", "streams");
                    fields.raw("streams", streams);
                }
                Self::Restart => fields.text("op", "restart"),
                Self::Rollback => fields.text("op", "rollback"),
                Self::Close => fields.text("op", "close"),
            }
        });
        writer.into_text()
    }
}

fn describe(fields: &mut Fields<'_>, description: &Description) {
    fields.text("type", description.kind.as_str());
    fields.text("sdp", &description.sdp);
    if let Some(streams) = &description.streams {
        fields.raw("streams", streams);
    }
}
