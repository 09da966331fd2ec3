//! From the end of a request to what it was for.

use serde::Deserialize;

use super::commands::Then;
use super::output::{Connection, Failure, Output, RequestId, Ticket};
use super::room::MemberList;
use super::{Client, Dialect};
use crate::core::action::ids::ActionId;
use crate::core::presence::{Choice, State};
use crate::core::time::Instant;
use crate::core::wire::event::{Event, parse_each};
use crate::core::wire::presence::PresenceContent;
use crate::core::wire::sync::MembersBody;

/// What a request under way is for.
#[derive(Debug)]
pub(super) enum Awaited {
    /// `/versions`: which dialect to speak.
    Versions,
    /// `/sync`, counted from one.
    Sync(u64),
    /// The own profile.
    Profile,
    /// The own presence.
    OwnStatus,
    /// A room's whole member list.
    Members(String),
    /// An action of the queue.
    Action(ActionId),
    /// Idleness begun (`true`) or ended.
    IdleReport(bool),
    /// A notice that may get lost.
    Notice,
    /// A command of the application.
    Command(Ticket, Then),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VersionsBody {
    unstable_features: UnstableFeatures,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UnstableFeatures {
    #[serde(rename = "org.pilotlight.presence")]
    presence: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ProfileBody {
    displayname: Option<String>,
    avatar_url: Option<String>,
}

impl Client {
    /// A request was answered; `retry_after_ms` comes from the `Retry-After` header.
    pub fn handle_response(
        &mut self,
        now: Instant,
        id: RequestId,
        status: u16,
        retry_after_ms: Option<u64>,
        body: &[u8],
    ) {
        let Some(pending) = self.pending.remove(&id) else { return };
        let outcome = if (200..300).contains(&status) {
            Ok(body)
        } else {
            Err(Failure::of_answer(status, retry_after_ms, body))
        };
        self.conclude(now, pending.awaited, outcome);
        self.settle(now);
    }

    /// A request got no answer: `NETWORK` when it was lost on the way.
    pub fn handle_failure(&mut self, now: Instant, id: RequestId, code: &str, message: &str) {
        let Some(pending) = self.pending.remove(&id) else { return };
        self.conclude(now, pending.awaited, Err(Failure::local(code, message)));
        self.settle(now);
    }

    fn conclude(&mut self, now: Instant, awaited: Awaited, outcome: Result<&[u8], Failure>) {
        if let Err(failure) = &outcome
            && failure.status == Some(401)
            && failure.code == "M_UNKNOWN_TOKEN"
        {
            self.end_session(now, awaited, failure.clone());
            return;
        }
        match awaited {
            Awaited::Versions => self.conclude_versions(now, outcome),
            Awaited::Sync(number) => self.conclude_sync(now, number, outcome),
            Awaited::Profile => self.conclude_profile(outcome),
            Awaited::OwnStatus => {
                if let Ok(content) = outcome.and_then(parse) {
                    self.handle_own_presence(&content);
                }
            }
            Awaited::Members(room_id) => self.conclude_members(&room_id, outcome),
            Awaited::Action(id) => self.conclude_action(now, id, outcome),
            Awaited::IdleReport(idle) => self.conclude_idle_report(now, idle, outcome.map(|_| ())),
            Awaited::Notice => (),
            Awaited::Command(ticket, then) => self.conclude_command(now, ticket, then, outcome),
        }
    }

    /// The end of a request that the client gave up itself.
    pub(super) fn end_abandoned(&mut self, now: Instant, awaited: Awaited, why: &Failure) {
        match awaited {
            Awaited::Action(id) => self.interrupt_action(id, &why.message, now),
            Awaited::IdleReport(idle) => self.conclude_idle_report(now, idle, Err(why.clone())),
            Awaited::Command(ticket, _) => {
                self.outputs.push_back(Output::Answer { ticket, result: Err(why.clone()) });
            }
            Awaited::Members(room_id) => self.conclude_members(&room_id, Err(why.clone())),
            Awaited::Versions
            | Awaited::Sync(_)
            | Awaited::Profile
            | Awaited::OwnStatus
            | Awaited::Notice => (),
        }
    }

    fn end_session(&mut self, now: Instant, awaited: Awaited, why: Failure) {
        self.end_abandoned(now, awaited, &why);
        self.abandon(now);
        self.show_connection(Connection::LoggedOut, Some(why));
    }

    fn conclude_versions(&mut self, now: Instant, outcome: Result<&[u8], Failure>) {
        // An answer of an unexpected shape is that of a server without our extensions.
        let body = match outcome {
            Ok(body) => serde_json::from_slice::<VersionsBody>(body).unwrap_or_default(),
            Err(failure) if failure.is_transient() => return self.delay_sync(now, failure),
            Err(_) => VersionsBody::default(),
        };
        self.dialect = if body.unstable_features.presence { Dialect::Pilotlight } else { Dialect::Stock };
        self.ask_who_i_am(now);
        self.begin_sync(now);
    }

    fn conclude_profile(&mut self, outcome: Result<&[u8], Failure>) {
        if let Ok(profile) = outcome.and_then(parse::<ProfileBody>) {
            self.me.display_name = profile.displayname;
            self.me.avatar_url = profile.avatar_url;
        }
    }

    fn conclude_members(&mut self, room_id: &str, outcome: Result<&[u8], Failure>) {
        let Some(room) = self.rooms.get_mut(room_id) else { return };
        match outcome.and_then(parse::<MembersBody<'_>>) {
            Ok(body) => {
                for event in parse_each::<Event<'_>>(&body.chunk) {
                    room.handle_listed_member(&event, &self.user_id);
                }
                room.member_list = MemberList::Loaded;
            }
            Err(_) => room.member_list = MemberList::Unwanted,
        }
        self.touched.insert(room_id.to_owned());
    }

    /// What a server says of the own user: words, name, and, where it tells it, the choice.
    pub(super) fn handle_own_presence(&mut self, content: &PresenceContent<'_>) {
        self.me.status_msg =
            content.status_msg.as_deref().filter(|words| !words.is_empty()).map(str::to_owned);
        if let Some(name) = content.displayname.as_deref() {
            self.me.display_name = Some(name.to_owned());
        }
        if let Some(url) = content.avatar_url.as_deref() {
            self.me.avatar_url = Some(url.to_owned());
        }
        let state = content.extended.as_ref().and_then(|extended| extended.state.parse::<State>().ok());
        // Unavailable and offline are also what idleness and absence make of a choice.
        match state {
            Some(State::FreeForChat) => self.me.state = Choice::FreeForChat,
            Some(State::Online) => self.me.state = Choice::Online,
            Some(State::Busy) => self.me.state = Choice::Busy,
            Some(State::Hidden) => self.me.state = Choice::Hidden,
            Some(State::Unavailable | State::Offline | State::Unknown) | None => (),
        }
    }
}

/// Reads an answer as `T`.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(body)
        .map_err(|_| Failure::local("BAD_ANSWER", "the server's answer is not understood"))
}
