//! A room as somebody who came into it is told it in the answer to that, instead of in their stream (M6).
//!
//! The answer goes up to a position of the log, and says so: [`Entered`]. Who says in a later look that they have it is
//! told of the room only what came after that; who does not say so is told the room whole, as if there had been no answer.
//! So an answer that is lost loses nothing, and nothing is kept here of who has which.

use std::collections::BTreeMap;

use ruma::{OwnedUserId, RoomId};

use super::{
    account_data,
    behind::PresenceLook,
    encounters::Passage,
    entered::Entered,
    filter::{Filter, Whose},
    look::{Look, Stretch},
    news::JoinedRoom,
    reader::Reader,
    refusal::Refusal,
    sources::{Sources, refusal},
    window::Window,
};
use crate::server::{
    change::position::{LivePosition, TimelinePosition},
    event::stored::Membership,
    rooms::About,
    session::Session,
};

/// A room, for who is in it.
#[derive(Debug)]
pub(super) struct Entry {
    /// As a stream tells it that tells it for the first time.
    pub(super) room: JoinedRoom,
    pub(super) about: About,
    /// Of those whom the reader may see, what their presence is: the content of their event.
    pub(super) presence: BTreeMap<OwnedUserId, Vec<u8>>,
    pub(super) typing: Vec<OwnedUserId>,
    pub(super) upto: Entered,
}

/// `None`: the reader is not in the room.
pub(super) async fn read(
    sources: &Sources,
    session: &Session,
    filter: &Filter,
    room: &RoomId,
) -> Result<Option<Entry>, Refusal> {
    let (parts, user) = (sources.parts(), &session.user);
    let (log, live) = (parts.store.log_position(), parts.live.position());
    let Some(joined_at) = parts.members.joined_at(user, room).filter(|at| *at <= log) else {
        return Ok(None);
    };
    let now = parts.clock.now();
    // A client that was there before may know its members as they were then: it is told of all of them.
    let until = TimelinePosition::live(joined_at.before());
    let past = parts.store.past(user, room, until).await?;
    let goes_on = past.is_some_and(|past| past.last_ended.is_some() || past.was_outside);
    let look = Look {
        session,
        filter,
        ignored: parts.contacts.ignored_by(user),
        is_first: true,
        goes_on,
        full_state: false,
        state_at_end: false,
        log: Stretch { since: joined_at.before(), upto: log },
        live: Stretch { since: LivePosition::START, upto: live },
        to_device: log,
        presence: PresenceLook::NONE,
        entered: &[],
        uncounted: &[],
        now,
    };
    // Told as to somebody who was not there before, though they were.
    let passage =
        Passage { was: None, is: Some(Membership::Join), joined_at: Some(joined_at), position: joined_at };
    let reader = Reader { sources, parts, look };
    let mut own_data = account_data::Changed::default();
    let told = reader.joined(room.to_owned(), Window::default(), passage, &mut own_data).await?;
    let about = parts.rooms.about(user, room).await.map_err(refusal)?;
    let mut presence = BTreeMap::new();
    if sources.whose_presence(session, filter) != Whose::Nobodys {
        for member in about.members.iter().map(|member| &member.user) {
            if filter.presence(member) && (member == user || parts.sight.may_see(user, member)) {
                presence.insert(member.clone(), sources.presence_content(user, member, now));
            }
        }
    }
    let typing = parts.typing.in_room(room);
    let upto = Entered { room: room.to_owned(), upto: log };
    Ok(Some(Entry { room: told, about, presence, typing, upto }))
}
