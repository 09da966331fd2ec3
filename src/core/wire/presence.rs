//! `m.presence` as `/sync` carries it and as `GET /presence/{userId}/status` answers it.

use serde::Deserialize;

use super::text::Text;

/// One `m.presence` event.
#[derive(Debug, Deserialize)]
pub struct PresenceEvent<'a> {
    /// Whose presence.
    #[serde(borrow)]
    pub sender: Text<'a>,
    /// The presence.
    #[serde(borrow)]
    pub content: PresenceContent<'a>,
}

/// The content of `m.presence`, Matrix's own fields and ours.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PresenceContent<'a> {
    /// `online`, `unavailable` or `offline`.
    #[serde(borrow)]
    pub presence: Text<'a>,
    /// The user's own words; absent means none.
    #[serde(borrow)]
    pub status_msg: Option<Text<'a>>,
    /// The display name, on servers that send it along (P10).
    #[serde(borrow)]
    pub displayname: Option<Text<'a>>,
    /// The avatar, likewise.
    #[serde(borrow)]
    pub avatar_url: Option<Text<'a>>,
    /// Milliseconds since the user was last active.
    pub last_active_ago: Option<u64>,
    /// Active right now, as Matrix defines it.
    pub currently_active: Option<bool>,
    /// The full state beside Matrix's three (P11).
    #[serde(borrow, rename = "org.pilotlight.presence")]
    pub extended: Option<ExtendedPresence<'a>>,
}

/// `org.pilotlight.presence`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ExtendedPresence<'a> {
    /// One of the seven words of P1.
    #[serde(borrow)]
    pub state: Text<'a>,
    /// `web`, `mobile`, … (P7).
    #[serde(borrow)]
    pub device_type: Option<Text<'a>>,
}
