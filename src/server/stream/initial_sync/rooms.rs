//! One room after the other, as a client begins with it.

use std::sync::Arc;

use ruma::RoomId;
use serde_json::value::RawValue;

use super::{frame::Frame, summary::summary};
use crate::server::{
    answers::Sheet,
    event::{
        client::Beside,
        stored::{Membership, StoredEvent},
    },
    json::Writer,
    store::StoreError,
    stream::{
        news::{JoinedRoom, LeftRoom, RoomState, StrippedRoom, Timeline},
        refusal::Refusal,
        sync::{append_account_data, append_event},
        token::PageToken,
    },
};

pub(super) async fn write_joined(
    out: &mut Writer,
    room: JoinedRoom,
    frame: Frame<'_>,
    sheet: &mut Sheet,
) -> Result<(), Refusal> {
    let JoinedRoom { room, state, timeline, own_data, summary: counts, .. } = room;
    let object = out.open_element();
    write_head(out, &room, Membership::Join, frame).await?;
    let list = out.open_array("account_data");
    for data in &own_data {
        out.element_with(|out| append_account_data(out, data));
    }
    out.end_even_if_empty(list);
    if frame.summaries {
        let (sources, viewer) = (frame.reader.sources, frame.form.viewer);
        summary(sources, viewer, &room, &timeline.events, counts).await?.write(out, frame.form);
    }
    write_messages(out, &timeline, frame);
    drop(timeline);
    write_state(out, state, frame, sheet).await?;
    out.end_even_if_empty(object);
    Ok(())
}

pub(super) async fn write_left(
    out: &mut Writer,
    room: LeftRoom,
    frame: Frame<'_>,
    sheet: &mut Sheet,
) -> Result<(), Refusal> {
    let LeftRoom { room, state, timeline } = room;
    let row = frame.reader.parts.store.membership(&frame.form.viewer.user, &room).await?;
    let object = out.open_element();
    write_head(out, &room, row.map_or(Membership::Leave, |row| row.membership), frame).await?;
    write_messages(out, &timeline, frame);
    drop(timeline);
    write_state(out, state, frame, sheet).await?;
    out.end_even_if_empty(object);
    Ok(())
}

pub(super) async fn write_invited(
    out: &mut Writer,
    room: StrippedRoom,
    frame: Frame<'_>,
) -> Result<(), StoreError> {
    let StrippedRoom { room, state, own } = room;
    let object = out.open_element();
    write_head(out, &room, Membership::Invite, frame).await?;
    if let Some(own) = &own {
        out.text("inviter", own.sender.as_str());
        let state: Box<RawValue> =
            serde_json::value::to_raw_value(&state).expect("JSON can be written as JSON");
        let mut invite = Vec::new();
        let beside = Beside { room_state: Some((Membership::Invite, &state)), ..Beside::default() };
        append_event(&mut invite, own, frame.form, beside);
        out.raw_bytes("invite", &invite);
    }
    out.end_even_if_empty(object);
    Ok(())
}

async fn write_head(
    out: &mut Writer,
    room: &RoomId,
    membership: Membership,
    frame: Frame<'_>,
) -> Result<(), StoreError> {
    let listed = frame.reader.parts.store.room(room).await?.is_some_and(|room| room.listed);
    out.text("room_id", room.as_str());
    out.text("membership", membership.as_str());
    out.text("visibility", if listed { "public" } else { "private" });
    Ok(())
}

fn write_messages(out: &mut Writer, timeline: &Timeline, frame: Frame<'_>) {
    let part = out.open("messages");
    out.plain("start", &PageToken(timeline.prev));
    out.plain("end", frame.end);
    let list = out.open_array("chunk");
    for event in &timeline.events {
        let gathered = timeline.aggregations.get(&event.event_id);
        let relations = gathered.map(|of| of.json(frame.form.viewer, frame.form.now.as_millis()));
        let beside = Beside { relations: relations.as_deref(), ..Beside::default() };
        out.element_with(|out| append_event(out, event, frame.form, beside));
    }
    out.end_even_if_empty(list);
    out.end_even_if_empty(part);
}

async fn write_state(
    out: &mut Writer,
    state: RoomState,
    frame: Frame<'_>,
    sheet: &mut Sheet,
) -> Result<(), Refusal> {
    let RoomState { events, mut listed } = state;
    let list = out.open_array("state");
    let write = |out: &mut Writer, events: &[Arc<StoredEvent>]| {
        for event in events {
            out.element_with(|out| append_event(out, event, frame.form, Beside::default()));
        }
    };
    write(out, &events);
    drop(events);
    while !listed.is_empty() {
        let page = frame.reader.parts.store.next_page(&mut listed).await?;
        write(out, &page);
        drop(page);
        sheet.take(out).await?;
    }
    out.end_even_if_empty(list);
    Ok(())
}
