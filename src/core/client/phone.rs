//! Calls: what rooms say of them goes to `core::call`, what that wishes to say goes to rooms, and a page's script drives the
//! connection in between.

use std::fmt;
use std::time::Duration;

use super::call::{Arguments, BadCall};
use super::output::{Change, Failure, Output};
use super::pending::Awaited;
use super::role::Client;
use super::room::Membership;
use crate::core::call::one::Path;
use crate::core::call::output::{Delivery, Letter, Output as CallOutput, Token, View};
use crate::core::call::role::{Admission, Refused};
use crate::core::call::signal::{Description, DescriptionKind, Signal};
use crate::core::notify::{Sender, Subject};
use crate::core::time::Instant;
use crate::core::wire::event::Event;
use crate::core::wire::object::{Object, elements};
use crate::core::wire::path::path;
use crate::core::wire::write::ToJson;

/// How long the sending of an event of a call may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);
/// After how long it is tried again, if the server does not say.
const SEND_AGAIN: Duration = Duration::from_secs(2);
/// The longest that the server is granted: a call does not last for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Why something could not be done to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PhoneError {
    /// It was asked for wrongly.
    Bad(BadCall),
    /// It cannot be done.
    Failed(Failure),
}

impl fmt::Display for PhoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad(bad) => bad.fmt(f),
            Self::Failed(failure) => f.write_str(&failure.message),
        }
    }
}

impl std::error::Error for PhoneError {}

impl From<BadCall> for PhoneError {
    fn from(bad: BadCall) -> Self {
        Self::Bad(bad)
    }
}

impl From<Failure> for PhoneError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Refused> for PhoneError {
    fn from(refused: Refused) -> Self {
        let code = match refused {
            Refused::Busy => "BUSY",
            Refused::NoSuchCall => "NO_SUCH_CALL",
        };
        Self::Failed(Failure::local(code, &refused.to_string()))
    }
}

impl Client {
    /// The calls that are not over.
    pub fn calls(&self) -> Vec<View> {
        self.phone.views().collect()
    }

    /// Whether the user is in a call that was answered.
    pub fn is_in_call(&self) -> bool {
        self.in_call
    }

    /// What the user wishes of a call, or the page says of one: a word and a JSON array; answers JSON.
    pub fn handle_phone(&mut self, now: Instant, word: &str, arguments: &str) -> Result<String, PhoneError> {
        let given = Arguments { command: word, given: elements(arguments) };
        let answer = self.use_phone(now, word, &given);
        self.settle(now);
        answer
    }

    fn use_phone(&mut self, now: Instant, word: &str, given: &Arguments<'_>) -> Result<String, PhoneError> {
        let mut answer = String::from("null");
        if word == "leave" {
            self.phone.stop(now);
            return Ok(answer);
        }
        let id = given.text(0)?;
        match word {
            "place" => {
                let (video, invitee) = (given.flag(1)?, given.optional(2)?);
                answer = self.place_call(now, &id, video, invitee.as_deref())?.to_json();
            }
            "accept" => self.phone.accept(now, &id, given.flag(1)?)?,
            "hangUp" => self.phone.hang_up(now, &id)?,
            "described" => {
                let kind = match &*given.text(1)? {
                    "offer" => DescriptionKind::Offer,
                    _ => DescriptionKind::Answer,
                };
                let streams = given.raw(3).map(str::to_owned);
                let own = Description { kind, sdp: given.text(2)?.into_owned(), streams };
                self.phone.handle_described(now, &id, &own)?;
            }
            "change" => answer = self.phone.begin_change(now, &id)?.to_string(),
            "candidate" => {
                self.phone.handle_candidate(now, &id, given.raw(1).filter(|raw| *raw != "null"))?;
            }
            "path" => {
                let path = match &*given.text(1)? {
                    "up" => Path::Up,
                    "lost" => Path::Lost,
                    _ => Path::Failed,
                };
                self.phone.handle_path(now, &id, path)?;
            }
            "streams" => self.phone.handle_streams(now, &id, given.raw(1).unwrap_or("{}"))?,
            "failed" => self.phone.handle_media_failed(now, &id)?,
            _ => return Err(BadCall::Unknown(word.to_owned()).into()),
        }
        Ok(answer)
    }

    fn place_call(
        &mut self,
        now: Instant,
        room_id: &str,
        video: bool,
        invitee: Option<&str>,
    ) -> Result<String, PhoneError> {
        self.may_send(room_id, "m.call.invite")?;
        let other = self.rooms.get(room_id).and_then(|room| room.only_other(&self.user_id));
        let Some(invitee) = invitee.map(str::to_owned).or(other) else {
            let why = "there is no one person to call in this room";
            return Err(Failure::local("BAD_TARGET", why).into());
        };
        Ok(self.phone.place(now, room_id, Some(&invitee), video)?)
    }

    /// An event of a room's stream: of a call, or of somebody who leaves.
    pub(super) fn hear_call(&mut self, now: Instant, room_id: &str, event: &Event<'_>) {
        if &*event.kind == "m.room.member" {
            let membership = event.content().text("membership");
            if let Some(user) = &event.state_key
                && matches!(membership.as_deref(), Some("leave" | "ban"))
            {
                self.phone.handle_left(now, room_id, user);
            }
        }
        if !Signal::is_of_call(&event.kind) || event.state_key.is_some() {
            return;
        }
        let Some(signal) = Signal::read(&event.kind, &event.sender, &event.content()) else { return };
        let admission = self.admission(room_id, &event.sender);
        let since = event.origin_server_ts.map_or(now, Instant::from_millis);
        let age = event.age_ms.map_or_else(|| now.since(since), Duration::from_millis);
        self.phone.handle_event(now, room_id, signal, age, admission);
    }

    /// Who may ring, and how loud. In a room that is open to everybody nobody is called, as Matrix recommends.
    fn admission(&self, room_id: &str, sender: &str) -> Admission {
        let Some(room) = self.rooms.get(room_id) else { return Admission::Ignored };
        let is_ignored = self.ignored.iter().any(|user| user == sender);
        if is_ignored || room.is_public || room.membership != Membership::Join {
            return Admission::Ignored;
        }
        let by = Sender::Other { groups: self.contacts.groups_of(sender) };
        match sender == self.user_id || self.notify.should_notify(self.me.state, Subject::Call, by) {
            true => Admission::Rings,
            false => Admission::Muted,
        }
    }

    pub(super) fn handle_ignored(&mut self, content: &Object<'_>) {
        self.ignored = content.object("ignored_users").fields().map(|(user, _)| user.to_owned()).collect();
    }

    /// Does what the calls ask for.
    pub(super) fn serve_phone(&mut self, now: Instant) {
        while let Some(output) = self.phone.poll_output() {
            match output {
                CallOutput::Send(letter) => self.send_letter(now, letter),
                CallOutput::Media { call, media } => {
                    self.outputs.push_back(Output::Media(media.to_json(&call)));
                }
                CallOutput::Show(view) => self.outputs.push_back(Output::Changed(Change::Call(view))),
                CallOutput::InCall(in_call) => self.in_call = in_call,
            }
        }
    }

    /// Not by the queue of messages: nobody waits for the end of what nobody reads, and a call that is over by then shall not
    /// ring when the network is back.
    fn send_letter(&mut self, now: Instant, letter: Letter) {
        if let Err(failure) = self.may_send(&letter.room, letter.kind) {
            self.conclude_letter(now, letter.token, Err(failure));
            return;
        }
        let path =
            path("/_matrix/client/v3", &["rooms", &letter.room, "send", letter.kind, &letter.transaction]);
        let awaited = match letter.kind {
            "m.call.hangup" => Awaited::Farewell(letter.token),
            _ => Awaited::Letter(letter.token),
        };
        self.request_within(SEND_TIMEOUT, now, awaited, "PUT", path, Some(letter.content));
    }

    pub(super) fn conclude_letter(&mut self, now: Instant, token: Token, outcome: Result<&str, Failure>) {
        let delivery = match outcome {
            Ok(_) => Delivery::Sent,
            Err(failure) if failure.is_transient() => {
                Delivery::Lost(failure.retry_after().unwrap_or(SEND_AGAIN).min(LONGEST_WAIT))
            }
            Err(_) => Delivery::Refused,
        };
        self.phone.handle_sent(now, token, delivery);
    }
}
