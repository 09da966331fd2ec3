//! The answer to a look that may be large: written room by room, each room's state page by page.

use axum::body::Body;

use super::{
    answer::{write_closing, write_opening},
    form::Form,
    rooms::{begin_joined, begin_left, end_room, write_state_event, write_stripped},
};
use crate::server::{
    answers::Sheet,
    json::{Open, Writer},
    store::{StateList, Store},
    stream::{
        reader::Reader,
        refusal::Refusal,
        telling::{Closing, Opening, RoomNews, Telling},
        token::Token,
    },
};

/// What came of such a look.
#[derive(Debug)]
pub(in crate::server::stream) struct Written {
    /// Whether there is anything that a reader would not want to wait for.
    pub(in crate::server::stream) has_news: bool,
    /// Up to where it goes.
    pub(in crate::server::stream) upto: Token,
    /// What is to be sent.
    pub(in crate::server::stream) body: Body,
}

/// Looks for what is new, and writes it.
pub(in crate::server::stream) async fn written(
    reader: Reader<'_>,
    form: Form<'_>,
    mut sheet: Sheet,
) -> Result<Written, Refusal> {
    let (store, outline) = (&reader.parts.store, reader.outline().await?);
    let (Opening { own_data, to_device }, mut telling) =
        Telling::begin(reader, outline, Some(&mut sheet)).await?;
    let mut out = Writer::object();
    write_opening(&mut out, &own_data, &to_device);
    let mut has_news = !(own_data.is_empty() && to_device.is_empty());
    drop((own_data, to_device));
    let part = out.open("rooms");
    let mut list: Option<(&str, Open)> = None;
    while let Some(room) = telling.next_room().await? {
        has_news = true;
        let key = match &room {
            RoomNews::Joined(_) => "join",
            RoomNews::Invited(_) => "invite",
            RoomNews::Knocked(_) => "knock",
            RoomNews::Left(_) => "leave",
        };
        list = match list {
            Some((open, list)) if open == key => Some((open, list)),
            other => {
                if let Some((_, list)) = other {
                    out.end(list);
                }
                Some((key, out.open(key)))
            }
        };
        write_room(&mut out, room, form, (store, &mut sheet)).await?;
        sheet.take(&mut out).await?;
    }
    if let Some((_, list)) = list {
        out.end(list);
    }
    out.end(part);
    let Closing { upto, device_lists, keys_left, presence } = telling.close().await?;
    has_news |= !(device_lists.is_empty() && presence.is_empty());
    write_closing(&mut out, (&keys_left, &device_lists, &presence), &upto, form);
    Ok(Written { has_news, upto, body: sheet.body(out)? })
}

async fn write_room(
    out: &mut Writer,
    room: RoomNews,
    form: Form<'_>,
    (store, sheet): (&Store, &mut Sheet),
) -> Result<(), Refusal> {
    match room {
        RoomNews::Joined(room) => {
            let open = begin_joined(out, &room, form);
            // What else there is of the room is written, and not held while others have their turns.
            let listed = { room }.state.listed;
            write_state(out, listed, form, (store, sheet)).await?;
            end_room(out, open);
        }
        RoomNews::Left(room) => {
            let open = begin_left(out, &room, form);
            // What else there is of the room is written, and not held while others have their turns.
            let listed = { room }.state.listed;
            write_state(out, listed, form, (store, sheet)).await?;
            end_room(out, open);
        }
        RoomNews::Invited(room) => write_stripped(out, &room, "invite_state"),
        RoomNews::Knocked(room) => write_stripped(out, &room, "knock_state"),
    }
    Ok(())
}

/// Writes the rest of the open state.
pub(super) async fn write_state(
    out: &mut Writer,
    mut listed: StateList,
    form: Form<'_>,
    (store, sheet): (&Store, &mut Sheet),
) -> Result<(), Refusal> {
    while !listed.is_empty() {
        for event in store.next_page(&mut listed).await? {
            write_state_event(out, &event, form);
        }
        sheet.take(out).await?;
    }
    Ok(())
}
