//! What is new for a reader, piece by piece: first what is not of rooms, then one room after the other, then what follows
//! from the rooms.
//!
//! A reader of many rooms, or of large ones, is told however much it is with only one room in memory.

use std::{collections::VecDeque, mem, sync::Arc};

use ruma::OwnedRoomId;

use super::{
    account_data,
    encounters::{self, Counted, Passage},
    keys,
    news::{
        DeviceLists, JoinedRoom, LeftRoom, News, OwnDataNews, PresenceNews, RoomState, RoomsNews,
        StrippedRoom,
    },
    presence,
    reader::{Outline, Reader},
    refusal::Refusal,
    to_device,
    token::Token,
    window::{self, Window},
};
use crate::server::{
    answers::Sheet,
    change::position::LogPosition,
    event::stored::Membership,
    sight::rooms::Encounters,
    store::{KeyCounts, StoreError},
};

/// What is told of a room.
#[derive(Debug)]
pub(super) enum RoomNews {
    /// The reader is in it.
    Joined(JoinedRoom),
    /// The reader is invited to it.
    Invited(StrippedRoom),
    /// The reader knocks at it.
    Knocked(StrippedRoom),
    /// The reader is no longer in it.
    Left(LeftRoom),
}

/// What is told before the rooms.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) own_data: OwnDataNews,
    pub(super) to_device: Vec<(LogPosition, String)>,
}

/// What is told after the rooms.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) upto: Token,
    pub(super) device_lists: DeviceLists,
    pub(super) keys_left: Arc<KeyCounts>,
    pub(super) presence: PresenceNews,
}

/// One look, being told.
#[derive(Debug)]
pub(super) struct Telling<'a> {
    reader: Reader<'a>,
    /// Joined ones, then invites, then knocks, then those left; each in the order of the rooms' IDs.
    rooms: VecDeque<(OwnedRoomId, Window, Passage)>,
    own_data: account_data::Changed,
    encounters: Encounters,
    to_device_upto: LogPosition,
}

impl<'a> Telling<'a> {
    /// Begins with what is told before the rooms. It may take long: with a `sheet`, others have their turns meanwhile.
    pub(super) async fn begin(
        reader: Reader<'a>,
        outline: Outline,
        mut sheet: Option<&mut Sheet>,
    ) -> Result<(Opening, Self), Refusal> {
        let (look, parts) = (&reader.look, reader.parts);
        let Outline { windows, mut own_data } = outline;
        let mut encounters = Encounters::default();
        let range = (look.log.since, look.log.upto);
        let mut rooms: [VecDeque<_>; 4] = Default::default();
        for (room, window) in windows {
            let passage = window::passage(look, &parts.store, &parts.members, &room).await?;
            // At the very beginning everybody is told of, whom the reader met as well as others: of a thousand who come
            // at once, each would hold a thousand names.
            if look.goes_on {
                let (events, by) = (window.events.as_deref(), (&*parts.sight, &*parts.store));
                let of = (&*look.session.user, &*room);
                encounters::note(&mut encounters, by, of, events, passage, range, Counted::Lasting).await?;
            }
            let list = match passage.is.filter(|is| reader.tells(*is, passage)) {
                Some(Membership::Join) => 0,
                Some(Membership::Invite) => 1,
                Some(Membership::Knock) => 2,
                Some(Membership::Leave | Membership::Ban) => 3,
                None => continue,
            };
            if look.filter.room(&room) {
                rooms[list].push_back((room, window, passage));
            }
            if let Some(sheet) = &mut sheet {
                sheet.pause().await;
            }
        }
        let rooms = rooms.into_iter().flatten().collect();
        // Last, as it can be much, and is written before others have their turns again.
        let waiting = to_device::waiting(look, &parts.inboxes, &parts.store).await?;
        let own_news = account_data::global(look, mem::take(&mut own_data.global));
        let opening = Opening { own_data: own_news, to_device: waiting.messages };
        Ok((opening, Self { reader, rooms, own_data, encounters, to_device_upto: waiting.upto }))
    }

    /// The next room of which there is something to tell; `None`: that was all.
    pub(super) async fn next_room(&mut self) -> Result<Option<RoomNews>, Refusal> {
        let Self { reader, rooms, own_data, .. } = self;
        let look = &reader.look;
        while let Some((room, window, passage)) = rooms.pop_front() {
            let news = match (passage.is, look.entered(&room)) {
                // What the answer to the join told is not told again, to who was not there before.
                (Some(Membership::Join), Some(since)) if !passage.was_there() => {
                    let reader = reader.since(since);
                    let (store, members) = (&reader.parts.store, &reader.parts.members);
                    let passage = window::passage(&reader.look, store, members, &room).await?;
                    let joined = reader.joined(room, window.after(since), passage, own_data).await?;
                    (!passage.was_there() || !joined.is_empty()).then_some(RoomNews::Joined(joined))
                }
                (Some(Membership::Join), _) => {
                    let joined = reader.joined(room, window, passage, own_data).await?;
                    // Who comes in is told so, and who asks for everything gets it; else nothing is no news.
                    let is_uncounted = look.uncounted.contains(&joined.room);
                    let is_told =
                        !passage.was_there() || look.full_state || is_uncounted || !joined.is_empty();
                    is_told.then_some(RoomNews::Joined(joined))
                }
                (Some(Membership::Invite), _) => {
                    let invite = reader.stripped(room).await?;
                    let is_ignored = invite.own.as_ref().is_some_and(|own| look.ignores(&own.sender));
                    (!is_ignored).then_some(RoomNews::Invited(invite))
                }
                (Some(Membership::Knock), _) => Some(RoomNews::Knocked(reader.stripped(room).await?)),
                (Some(Membership::Leave | Membership::Ban), _) => {
                    Some(RoomNews::Left(reader.left(room, passage).await?))
                }
                (None, _) => None,
            };
            if news.is_some() {
                return Ok(news);
            }
        }
        Ok(None)
    }

    /// What is told after the rooms, when all of them were.
    pub(super) async fn close(self) -> Result<Closing, Refusal> {
        let Self { reader, mut encounters, to_device_upto, .. } = self;
        let (look, parts) = (&reader.look, reader.parts);
        let keys_left = parts.keys.counts(look.session).await?;
        let device_lists = keys::device_lists(look, &parts.keys, &parts.members, &encounters).await?;
        if let Some(earlier) = look.presence.from.and_then(|from| from.log) {
            reader.note_since(earlier, &mut encounters).await?;
        }
        let presence = presence::presence(reader.sources, &parts.sight, look, &encounters);
        parts.metrics.presence_delivered.add(presence.len());
        let upto = Token::new(look.log.upto, look.live.upto)
            .with_to_device(to_device_upto)
            .with_presence(look.presence.behind);
        Ok(Closing { upto, device_lists, keys_left, presence })
    }

    /// Reads the events of a state that is small.
    async fn read(&self, state: &mut RoomState) -> Result<(), StoreError> {
        while !state.listed.is_empty() {
            state.events.extend(self.reader.parts.store.next_page(&mut state.listed).await?);
        }
        Ok(())
    }
}

/// What is new, all in memory: of a look that is quick.
pub(super) async fn news(reader: Reader<'_>, outline: Outline) -> Result<News, Refusal> {
    let (Opening { own_data, to_device }, mut telling) = Telling::begin(reader, outline, None).await?;
    let mut rooms = RoomsNews::default();
    while let Some(room) = telling.next_room().await? {
        match room {
            RoomNews::Joined(mut room) => {
                telling.read(&mut room.state).await?;
                rooms.joined.push(room);
            }
            RoomNews::Invited(room) => rooms.invited.push(room),
            RoomNews::Knocked(room) => rooms.knocked.push(room),
            RoomNews::Left(mut room) => {
                telling.read(&mut room.state).await?;
                rooms.left.push(room);
            }
        }
    }
    let Closing { upto, device_lists, keys_left, presence } = telling.close().await?;
    Ok(News { upto, own_data, to_device, rooms, device_lists, keys_left, presence })
}
