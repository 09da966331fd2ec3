//! What a client begins with, as it was before there was `/sync`: all rooms as they are, with their last messages, and the
//! position from which [`events`](super::events) and `/sync` go on (M1).

mod frame;
mod rooms;
mod summary;

use axum::body::Body;
use serde_json::json;

pub use self::summary::{Summary, summary};
use self::{
    frame::Frame,
    rooms::{write_invited, write_joined, write_left},
};
use super::{
    behind::PresenceLook,
    filter::Filter,
    look::{Look, Stretch},
    old_form::append_presence,
    reader::Reader,
    refusal::Refusal,
    sources::Sources,
    sync::{Form, StateTold, append_account_data, default_rules},
    telling::{Closing, Opening, RoomNews, Telling},
    token::Token,
};
use crate::server::{
    answers::{Sheet, Size, aside},
    change::position::{LivePosition, LogPosition},
    event::client::ClientFormat,
    json::Writer,
    rooms::receipts,
    session::Session,
    store::Receipt,
};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Events of each room's timeline, at most; 100 in any case.
    pub limit: u32,
    /// Rooms that the user has left, too.
    pub archived: bool,
    /// With a short summary of each joined room.
    pub summaries: bool,
}

/// All that there is for a user, made where it keeps nobody else waiting.
///
/// # Errors
/// [`Refusal::Store`], [`Refusal::NoRoom`].
pub async fn answer(sources: &Sources, session: &Session, wanted: Wanted) -> Result<Body, Refusal> {
    let parts = sources.parts();
    let filter = json!({ "room": {
        "timeline": { "limit": wanted.limit }, "include_leave": wanted.archived,
        // They are told after the rooms, all together.
        "ephemeral": { "types": [] },
    } });
    let filter = Filter::parse(&filter.to_string()).map_err(|e| Refusal::Internal(e.to_string()))?;
    let place = parts.answers.place(session.user.as_str(), Size::Whole).await;
    aside(written(sources, session, &filter, wanted, Sheet::new(place))).await
}

async fn written(
    sources: &Sources,
    session: &Session,
    filter: &Filter,
    wanted: Wanted,
    mut sheet: Sheet,
) -> Result<Body, Refusal> {
    let parts = sources.parts();
    let look = first_look(sources, session, filter);
    // Messages for the device are told by `/sync` alone.
    let end = Token::new(look.log.upto, look.live.upto)
        .with_to_device(LogPosition::START)
        .with_presence(look.presence.behind);
    let form = Form {
        viewer: session,
        events: ClientFormat::Full,
        fields: None,
        now: look.now,
        state: StateTold::Before,
    };
    let described = Reader { sources, parts, look: look.clone() };
    let frame = Frame { reader: &described, form, end: &end, summaries: wanted.summaries };
    let reader = Reader { sources, parts, look };
    let outline = reader.outline().await?;
    let (Opening { own_data, .. }, mut telling) = Telling::begin(reader, outline, Some(&mut sheet)).await?;
    let mut out = Writer::object();
    out.plain("end", &end);
    let list = out.open_array("account_data");
    for data in &own_data.changed {
        out.element_with(|out| append_account_data(out, data));
    }
    if let Some(rules) = &own_data.default_rules {
        out.element(&default_rules(rules));
    }
    drop(own_data);
    out.end_even_if_empty(list);
    let list = out.open_array("rooms");
    while let Some(room) = telling.next_room().await? {
        match room {
            RoomNews::Joined(room) => write_joined(&mut out, room, frame, &mut sheet).await?,
            RoomNews::Invited(room) => write_invited(&mut out, room, frame).await?,
            RoomNews::Left(room) => write_left(&mut out, room, frame, &mut sheet).await?,
            // Matrix's answer has no form for them.
            RoomNews::Knocked(_) => {}
        }
        sheet.take(&mut out).await?;
    }
    out.end_even_if_empty(list);
    let Closing { presence, .. } = telling.close().await?;
    let list = out.open_array("presence");
    if let Some(event) = &presence.own {
        out.element_with(|out| append_presence(out, &session.user, event, form.now));
    }
    for (user, event) in &presence.seen {
        out.element_with(|out| append_presence(out, user, event, form.now));
        sheet.put(&mut out)?;
    }
    drop(presence);
    out.end_even_if_empty(list);
    let list = out.open_array("receipts");
    for room in parts.members.joined_rooms(&session.user) {
        let read = receipts_of(&described.look, sources, &room).await?;
        if !read.is_empty() {
            out.element_with(|out| receipts::append_in_room(out, &room, &read));
            sheet.take(&mut out).await?;
        }
    }
    out.end_even_if_empty(list);
    Ok(sheet.body(out)?)
}

/// A look at everything.
fn first_look<'a>(sources: &Sources, session: &'a Session, filter: &'a Filter) -> Look<'a> {
    let parts = sources.parts();
    let (log, live) = (parts.store.log_position(), parts.live.position());
    Look {
        session,
        filter,
        ignored: parts.contacts.ignored_by(&session.user),
        is_first: true,
        goes_on: false,
        full_state: false,
        state_at_end: true,
        log: Stretch { since: LogPosition::START, upto: log },
        live: Stretch { since: LivePosition::START, upto: live },
        to_device: LogPosition::START,
        presence: PresenceLook::new(sources.whose_presence(session, filter), None, false, &parts.live),
        entered: &[],
        uncounted: &[],
        now: parts.clock.now(),
    }
}

/// Who has read how far in a room, but for those who are ignored.
async fn receipts_of(
    look: &Look<'_>,
    sources: &Sources,
    room: &ruma::RoomId,
) -> Result<Vec<Receipt>, Refusal> {
    let (user, store) = (&look.session.user, &sources.parts().store);
    let mut read = store.receipts(room, user, LogPosition::START, look.log.upto).await?;
    read.retain(|receipt| !look.ignores(&receipt.user));
    Ok(read)
}
