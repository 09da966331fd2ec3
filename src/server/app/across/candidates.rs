//! By which servers somebody may come into a room, and what becomes of it if they refuse.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use ruma::{OwnedServerName, RoomId, ServerName, UserId};

use super::peers::Peers;
use crate::server::{
    app::parts::App,
    federation::client::{Complaint, RequestError},
    rooms::Refusal,
};

/// Servers that are asked for one act, at most.
const MAX_ASKED: usize = 10;

/// How long they may take together before no further one is asked.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Characters of what another server says that users are told.
const MAX_SAID: usize = 300;

/// Bytes of what another server calls an error that users are told.
const MAX_ERRCODE: usize = 64;

impl App {
    /// Other servers, for rooms to ask.
    ///
    /// # Errors
    /// [`Refusal::Unreachable`]: this server is on its own.
    pub(super) fn peers_or_refuse(&self) -> Result<Arc<Peers>, Refusal> {
        self.peers().ok_or_else(|| Refusal::Unreachable("this server speaks with no other".into()))
    }

    /// The servers by which a room can be reached, the likeliest first: those that are named, those that are in it, that of
    /// who invited the user, and the one that the room was made on.
    pub(super) async fn candidates(
        &self,
        room: &RoomId,
        user: &UserId,
        named: &[OwnedServerName],
    ) -> Result<Vec<OwnedServerName>, Refusal> {
        let mut candidates = named.to_vec();
        candidates.extend(self.rooms.servers_to_join_by(room, MAX_ASKED));
        candidates.extend(self.rooms.inviter(room, user).await?.map(|by| by.server_name().to_owned()));
        candidates.extend(room.server_name().map(ToOwned::to_owned));
        let mut found: Vec<OwnedServerName> = Vec::new();
        for candidate in candidates {
            if candidate != self.server_name() && !found.contains(&candidate) {
                found.push(candidate);
            }
        }
        found.truncate(MAX_ASKED);
        Ok(found)
    }
}

/// What the servers that were asked refused, so far.
#[derive(Debug, Default)]
pub(super) struct Refused(Option<Refusal>);

impl Refused {
    /// Takes the refusal of one more. That a user may not come in counts more than that a server cannot say, and that
    /// more than that one cannot be reached.
    pub(super) fn note(&mut self, refusal: Refusal) {
        if self.0.as_ref().is_none_or(|known| weight(&refusal) > weight(known)) {
            self.0 = Some(refusal);
        }
    }

    /// What the user is told.
    pub(super) fn into_refusal(self) -> Refusal {
        self.0.unwrap_or_else(|| {
            Refusal::NotFound(
                "this server knows no such room, and nobody said by which server it can be reached".into(),
            )
        })
    }
}

/// What no other server changes.
const FINAL: u8 = 6;

fn weight(refusal: &Refusal) -> u8 {
    match refusal {
        Refusal::Forbidden(_) => 5,
        Refusal::IncompatibleVersion(_) | Refusal::UnsupportedVersion | Refusal::Elsewhere { .. } => 4,
        Refusal::UnableToAuthorise | Refusal::UnableToGrant => 3,
        Refusal::NotFound(_) => 2,
        Refusal::Unreachable(_) => 1,
        Refusal::NoGuests(_)
        | Refusal::Unwanted
        | Refusal::InvitesBlocked
        | Refusal::TooLarge(_)
        | Refusal::BadJson(_)
        | Refusal::InvalidParam(_)
        | Refusal::InvalidState(_)
        | Refusal::AliasTaken
        | Refusal::Invalid(_)
        | Refusal::DuplicateAnnotation
        | Refusal::BadAlias(_)
        | Refusal::Crowded(_)
        | Refusal::LoggedOut
        | Refusal::Store(_)
        | Refusal::Internal(_) => FINAL,
    }
}

/// Whether it is no use to ask others: it is this server that refuses.
pub(super) fn is_final(refusal: &Refusal) -> bool {
    weight(refusal) == FINAL
}

/// What a server's answer means for the user.
pub(super) fn refusal(server: &ServerName, error: &RequestError) -> Refusal {
    let words = said(&error.to_string());
    match error {
        RequestError::Refused => {
            return Refusal::Forbidden(format!("this server does not federate with {server}").into());
        }
        RequestError::Resolve(_) | RequestError::Network(_) => {
            return Refusal::Unreachable(format!("{server} cannot be reached: {words}").into());
        }
        RequestError::Status(..) | RequestError::Answer(_) => {}
    }
    let unreachable = || Refusal::Unreachable(format!("{server}: {words}").into());
    let Some(Complaint { status, errcode, error, room_version }) = error.complaint() else {
        return unreachable();
    };
    let words = said(&error);
    match errcode.as_str() {
        "M_FORBIDDEN" => Refusal::Forbidden(words.into()),
        "M_NOT_FOUND" => Refusal::NotFound(words.into()),
        "M_UNABLE_TO_AUTHORISE_JOIN" => Refusal::UnableToAuthorise,
        "M_UNABLE_TO_GRANT_JOIN" => Refusal::UnableToGrant,
        "M_INCOMPATIBLE_ROOM_VERSION" => room_version
            .and_then(|version| version.try_into().ok())
            .map_or(Refusal::UnsupportedVersion, Refusal::IncompatibleVersion),
        _ if status == StatusCode::BAD_REQUEST && is_of_the_request(&errcode) => {
            Refusal::Elsewhere { errcode, why: words }
        }
        _ => unreachable(),
    }
}

/// Whether what another server calls an error can be told to a client: a word as Matrix has them, and none that a client
/// takes for one of its own server about its session.
fn is_of_the_request(errcode: &str) -> bool {
    const OF_THE_SESSION: [&str; 8] = [
        "M_UNKNOWN_TOKEN",
        "M_MISSING_TOKEN",
        "M_USER_DEACTIVATED",
        "M_USER_LOCKED",
        "M_USER_SUSPENDED",
        "M_CONSENT_NOT_GIVEN",
        "M_LIMIT_EXCEEDED",
        "M_UNRECOGNIZED",
    ];
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b"_.".contains(&b);
    errcode.len() <= MAX_ERRCODE && errcode.bytes().all(is_word) && !OF_THE_SESSION.contains(&errcode)
}

/// What a stranger said, on one line.
fn said(text: &str) -> String {
    text.chars().take(MAX_SAID).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
