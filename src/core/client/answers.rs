//! From the end of a request to what it was for.

use super::member::MemberList;
use super::output::{Connection, Failure, Output, RequestId};
use super::pending::{Awaited, Pending, Then};
use super::role::{Client, Dialect};
use crate::core::presence::{Choice, State};
use crate::core::time::Instant;
use crate::core::wire::event::events;
use crate::core::wire::object::Object;
use crate::core::wire::presence::PresenceContent;
use crate::core::wire::read::Reader;

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
        let Some(awaited) = self.take_pending(id) else { return };
        let body = std::str::from_utf8(body);
        let outcome = if (200..300).contains(&status) {
            body.map_err(|_| Failure::not_understood())
        } else {
            Err(Failure::of_answer(status, retry_after_ms, body.unwrap_or_default()))
        };
        self.conclude(now, awaited, outcome);
        self.settle(now);
    }

    /// A request got no answer: `NETWORK` when it was lost on the way.
    pub fn handle_failure(&mut self, now: Instant, id: RequestId, code: &str, message: &str) {
        let Some(awaited) = self.take_pending(id) else { return };
        let failure = Failure::local(code, message);
        let of_the_stream = matches!(awaited, Awaited::Versions | Awaited::Sync(_) | Awaited::Stream);
        self.conclude(now, awaited, Err(failure.clone()));
        if code == "NETWORK" && !of_the_stream {
            self.doubt_connection(now, failure);
        }
        self.settle(now);
    }

    pub(super) fn conclude(&mut self, now: Instant, awaited: Awaited, outcome: Result<&str, Failure>) {
        if let Err(failure) = &outcome
            && failure.status == Some(401)
            && failure.code == "M_UNKNOWN_TOKEN"
            && !matches!(awaited, Awaited::Command(_, Then::LogOut))
        {
            self.end_session(now, awaited, failure.clone());
            return;
        }
        match awaited {
            Awaited::Versions => self.conclude_versions(now, outcome),
            Awaited::Sync(number) => self.conclude_sync(now, number, outcome),
            Awaited::Stream => self.conclude_stream(now, outcome),
            Awaited::Profile => self.conclude_profile(outcome),
            Awaited::OwnStatus => {
                if let Ok(Ok(content)) = outcome.map(|body| PresenceContent::read(&mut Reader::new(body))) {
                    self.handle_own_presence(&content);
                }
            }
            Awaited::Members(room_id) => self.conclude_members(&room_id, outcome),
            Awaited::Contacts(half) => {
                self.end_contacts(half, outcome);
                self.read_contacts(now);
            }
            Awaited::Action(id) => self.conclude_action(now, id, outcome),
            Awaited::Choice => self.conclude_choice(now, outcome.map(|_| ())),
            Awaited::IdleReport(idle) => self.conclude_idle_report(now, idle, outcome.map(|_| ())),
            Awaited::Edited(room_id) => self.conclude_edited(&room_id, outcome),
            Awaited::Letter(token) | Awaited::Farewell(token) => self.conclude_letter(now, token, outcome),
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
            Awaited::Contacts(half) => self.end_contacts(half, Err(why.clone())),
            Awaited::Letter(token) | Awaited::Farewell(token) => {
                self.conclude_letter(now, token, Err(why.clone()));
            }
            // Told after all of them, when no later choice can take its place.
            Awaited::Choice => (),
            Awaited::Versions
            | Awaited::Sync(_)
            | Awaited::Stream
            | Awaited::Profile
            | Awaited::OwnStatus
            | Awaited::Edited(_)
            | Awaited::Notice => (),
        }
    }

    fn end_session(&mut self, now: Instant, awaited: Awaited, why: Failure) {
        self.end_abandoned(now, awaited, &why);
        // Another request may hear of a logging out before the one who asked for it.
        let leaving = |pending: &Pending| matches!(pending.awaited, Awaited::Command(_, Then::LogOut));
        if let Some(id) = self.pending.iter().find(|pending| leaving(pending)).map(|pending| pending.id) {
            self.outputs.push_back(Output::Cancel(id));
            if let Some(Awaited::Command(ticket, then)) = self.take_pending(id) {
                return self.conclude_command(now, ticket, then, Ok("{}"));
            }
        }
        self.abandon(now);
        self.show_connection(now, Connection::LoggedOut, Some(why));
    }

    fn conclude_versions(&mut self, now: Instant, outcome: Result<&str, Failure>) {
        // An answer of an unexpected shape is that of a server without our extensions.
        let body = match outcome {
            Ok(body) => Object::parse_or_empty(body),
            Err(failure) if failure.is_transient() => return self.delay_sync(now, failure),
            Err(_) => Object::default(),
        };
        let features = body.object("unstable_features");
        let own = features.flag("org.pilotlight.presence");
        self.contacts.supported = features.flag("org.pilotlight.presence_list");
        self.queue.handle_order(features.flag("org.pilotlight.action_order"));
        self.held.announced = features.flag("org.pilotlight.stream");
        self.dialect = if own { Dialect::Pilotlight } else { Dialect::Stock };
        self.ask_who_i_am(now);
        self.follow(now);
    }

    fn conclude_profile(&mut self, outcome: Result<&str, Failure>) {
        if let Ok(profile) = outcome.map(Object::parse_or_empty) {
            self.me.display_name = profile.string("displayname");
            self.me.avatar_url = profile.string("avatar_url");
        }
    }

    fn conclude_members(&mut self, room_id: &str, outcome: Result<&str, Failure>) {
        let Some(room) = self.rooms.get_mut(room_id) else { return };
        match outcome.map(Object::parse_or_empty) {
            Ok(body) => {
                for event in events(body.raw("chunk").unwrap_or_default()) {
                    room.handle_listed_member(&event, &self.user_id);
                }
                room.member_list = MemberList::Loaded;
            }
            Err(_) => room.member_list = MemberList::Unwanted,
        }
        self.touch(room_id);
    }

    /// What a server says of the own user: words, name, and, where it tells it, the choice.
    pub(super) fn handle_own_presence(&mut self, content: &PresenceContent<'_>) {
        if let Some(name) = content.displayname.as_deref() {
            self.me.display_name = Some(name.to_owned());
        }
        if let Some(url) = content.avatar_url.as_deref() {
            self.me.avatar_url = Some(url.to_owned());
        }
        // What the user chose last is on its way: the server does not know it yet.
        if self.choice.is_open() {
            return;
        }
        self.me.status_msg = content.status_msg.as_deref().map(str::to_owned);
        if let Some(choice) = content.choice.as_deref().and_then(|word| word.parse().ok()) {
            self.me.state = choice;
            return;
        }
        let state = content.state.as_deref().and_then(|word| word.parse::<State>().ok());
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
