//! The commands by name, as an application across a language border gives them: a word and a JSON array.
//!
//! One door for all of them: at that border each function of its own costs more than the command behind it.

use std::borrow::Cow;
use std::fmt;

use super::commands::NewRoom;
use super::contacts::{Answer, Delivery, Placement};
use super::id::{check_room, check_user};
use super::notify::checked_settings;
use super::output::{Failure, Ticket};
use super::pending::Direction;
use super::role::Client;
use super::send_gate::session_over;
use super::shape::{misfit, parameters};
use crate::core::presence::StatusMsg;
use crate::core::time::Instant;
use crate::core::wire::object::{Object, elements};
use crate::core::wire::read::Reader;

/// The largest integer that every application counts exactly.
const MAX_EXACT: u64 = (1 << 53) - 1;
/// How many events one scroll back asks for, if nothing is said.
const USUAL_SCROLL_BACK: u32 = 50;

/// Why a call was refused before anything was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadCall {
    /// There is no such command.
    Unknown(String),
    /// An argument, by its name, is not what is wanted.
    Argument(&'static str, &'static str),
    /// An object has a field that it cannot have: what to say of it.
    Field(String),
    /// A number or a text beyond its bounds.
    Range(String),
}

impl fmt::Display for BadCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => f.write_str(&["no such command: ", name].concat()),
            Self::Argument(name, wanted) => f.write_str(&[name, " must be ", wanted].concat()),
            Self::Field(words) | Self::Range(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for BadCall {}

impl Client {
    /// Gives the command `name` with `arguments`, a JSON array; its answer comes as that of any command.
    pub fn call(&mut self, now: Instant, name: &str, arguments: &str) -> Result<Ticket, BadCall> {
        if self.session_over && name != "logout" {
            return Ok(self.answer_at_once(Err(session_over())));
        }
        let given = Arguments { command: name, given: elements(arguments) };
        if let Err(refusal) = checked_names(name, &given)? {
            return Ok(self.answer_at_once(Err(refusal)));
        }
        Ok(match name {
            "logout" => self.log_out(now),
            "setPresence" => {
                let wanted = "free_for_chat, online, busy, unavailable, offline or hidden";
                let choice = given.text(0)?.parse().map_err(|_| given.refused(0, wanted))?;
                self.set_presence(now, choice, given.words(1)?)
            }
            "setDisplayName" => self.set_display_name(now, &given.text(0)?),
            "addContact" => self.add_contact(now, &given.text(0)?, given.optional(1)?.as_deref()),
            "dropContact" => self.drop_contact(now, &given.text(0)?),
            "answerRequest" => {
                let answer = match &*given.text(1)? {
                    "accept" => Answer::Accept,
                    "deny" => Answer::Deny,
                    "revoke" => Answer::Revoke,
                    _ => return Err(given.refused(1, "accept, deny or revoke")),
                };
                self.answer_request(now, &given.text(0)?, answer)
            }
            "setGroup" => {
                let placement = if given.flag(2)? { Placement::Inside } else { Placement::Outside };
                self.place_in_group(now, &given.text(0)?, &given.text(1)?, placement)
            }
            "inviteGroup" => self.invite_group(now, &given.text(0)?, given.optional(1)?.as_deref()),
            "privacy" => self.privacy(now),
            "setPrivacy" => self.set_privacy(now, &given.object(0)?),
            "deliverPresence" => {
                let delivery = if given.flag(0)? { Delivery::Started } else { Delivery::Stopped };
                self.deliver_presence(now, delivery)
            }
            "setNotifySettings" => {
                let settings = checked_settings(&given.object(0)?);
                let wanted = "{ mutedIn: states that can be chosen, groups: always or never by name }";
                self.set_notify_settings(now, settings.ok_or(given.refused(0, wanted))?)
            }
            "createRoom" => self.create_room(now, &NewRoom::read(&given.object(0)?)),
            "joinRoom" => self.join_room(now, &given.text(0)?),
            "leaveRoom" => self.leave_room(now, &given.text(0)?),
            "forgetRoom" => self.forget_room(now, &given.text(0)?),
            "invite" => self.invite(now, &given.text(0)?, &given.text(1)?),
            "kick" => self.kick(now, &given.text(0)?, &given.text(1)?, given.optional(2)?.as_deref()),
            "redact" => self.redact(now, &given.text(0)?, &given.text(1)?, given.optional(2)?.as_deref()),
            "scrollBack" => self.scroll_back(now, &given.text(0)?, given.count(1)?),
            "jump" => self.jump(now, &given.text(0)?, given.optional(1)?.as_deref()),
            "scrollPast" => {
                let direction = match &*given.text(1)? {
                    "back" => Direction::Back,
                    "forward" => Direction::Forward,
                    _ => return Err(given.refused(1, "back or forward")),
                };
                self.scroll_past(now, &given.text(0)?, direction, given.count(2)?)
            }
            "event" => self.event(now, &given.text(0)?, &given.text(1)?),
            "publicRooms" => self.public_rooms(now, given.optional(0)?.as_deref()),
            "request" => {
                let method = match &*given.text(0)? {
                    "GET" => "GET",
                    "POST" => "POST",
                    "PUT" => "PUT",
                    "DELETE" => "DELETE",
                    _ => return Err(given.refused(0, "GET, POST, PUT or DELETE")),
                };
                let path = given.text(1)?;
                if !path.starts_with("/_matrix/") {
                    return Err(given.refused(1, "a path that begins with /_matrix/"));
                }
                match self.may_request(method, &path) {
                    Ok(()) => self.request_anything(now, method, &path, given.raw(2).map(str::to_owned)),
                    Err(refusal) => self.answer_at_once(Err(refusal)),
                }
            }
            _ => return Err(BadCall::Unknown(name.to_owned())),
        })
    }
}

/// Whether those that a command names have the shape of a name.
fn checked_names(command: &str, given: &Arguments<'_>) -> Result<Result<(), Failure>, BadCall> {
    Ok(match command {
        "addContact" | "dropContact" | "answerRequest" | "setGroup" => check_user(&given.text(0)?),
        "invite" | "kick" => check_user(&given.text(1)?),
        "createRoom" => given.object(0)?.strings("invite").iter().try_for_each(|user| check_user(user)),
        "joinRoom" => check_room(&given.text(0)?),
        _ => Ok(()),
    })
}

/// The arguments of one call, unread. What is absent at the end was not given.
pub(super) struct Arguments<'a> {
    pub(super) command: &'a str,
    pub(super) given: Vec<&'a str>,
}

impl<'a> Arguments<'a> {
    pub(super) fn raw(&self, at: usize) -> Option<&'a str> {
        self.given.get(at).copied()
    }

    fn name(&self, at: usize) -> &'static str {
        parameters(self.command).get(at).copied().unwrap_or("an argument")
    }

    fn refused(&self, at: usize, wanted: &'static str) -> BadCall {
        BadCall::Argument(self.name(at), wanted)
    }

    pub(super) fn text(&self, at: usize) -> Result<Cow<'a, str>, BadCall> {
        self.optional(at)?.ok_or_else(|| self.refused(at, "a string"))
    }

    /// A string, or nothing, or null.
    pub(super) fn optional(&self, at: usize) -> Result<Option<Cow<'a, str>>, BadCall> {
        let Some(raw) = self.raw(at).filter(|raw| *raw != "null") else { return Ok(None) };
        match Reader::new(raw).text() {
            Ok(Some(text)) => Ok(Some(text)),
            _ => Err(self.refused(at, "a string")),
        }
    }

    pub(super) fn flag(&self, at: usize) -> Result<bool, BadCall> {
        match self.raw(at) {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            _ => Err(self.refused(at, "true or false")),
        }
    }

    /// An object with no field but those that it may have.
    fn object(&self, at: usize) -> Result<Object<'a>, BadCall> {
        let object = self.raw(at).and_then(Object::parse);
        let object = object.ok_or_else(|| self.refused(at, "an object"))?;
        match misfit(self.command, &object) {
            Some(words) => Err(BadCall::Field(words)),
            None => Ok(object),
        }
    }

    /// Nothing keeps a status message, null clears it (P2).
    fn words(&self, at: usize) -> Result<StatusMsg, BadCall> {
        if self.raw(at).is_none() {
            return Ok(StatusMsg::Keep);
        }
        let words = self.optional(at)?.map(Cow::into_owned);
        StatusMsg::from_nullable(words)
            .map_err(|too_long| BadCall::Range([self.name(at), ": ", &too_long.to_string()].concat()))
    }

    /// A number of events; what an application could only mean by mistake is refused.
    fn count(&self, at: usize) -> Result<u32, BadCall> {
        let Some(raw) = self.raw(at) else { return Ok(USUAL_SCROLL_BACK) };
        match raw.parse::<u64>() {
            Ok(count) if count <= MAX_EXACT => Ok(u32::try_from(count).unwrap_or(u32::MAX)),
            _ => Err(BadCall::Range(String::from("limit must be an integer from 0 to 2^53 - 1"))),
        }
    }
}
