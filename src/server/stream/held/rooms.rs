//! What a pass tells of rooms: events that are no state, who types, and who has read.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ruma::{OwnedRoomId, OwnedUserId, UserId};

use super::{
    frames,
    line::{Line, Lines, add_to, of_user},
    pass::{Item, Pass},
};
use crate::server::{
    change::{
        position::{LogPosition, TimelinePosition},
        wakers::Place,
    },
    event::stored::StoredEvent,
    session::Session,
    store::Receipt,
    stream::parts::Parts,
};

/// The streams of those who are in a room, by room.
type There = HashMap<OwnedRoomId, Vec<Arc<Line>>>;

/// What happened in rooms since the pass before.
struct Happened {
    events: Vec<Arc<StoredEvent>>,
    typing: Vec<OwnedRoomId>,
    receipts: Vec<(LogPosition, Arc<Receipt>)>,
}

/// What happened in rooms and is no state: who is joined is told. All that concerns state is looked at by each reader,
/// and marks them before it counts as told.
pub(super) fn add(pass: &mut Pass, parts: &Parts, lines: &Lines, told: &mut Vec<Arc<Line>>) {
    let since = pass.since.log;
    let Some(happened) = happened(pass, parts) else { return send_all_away(pass, lines) };
    let mut rooms = There::new();
    for room in happened.rooms() {
        if !rooms.contains_key(room) {
            let mut there = Vec::new();
            parts.members.each_of_ours(room, |user| there.extend_from_slice(of_user(lines, user)));
            rooms.insert(room.clone(), there);
        }
    }
    // After who is joined: who came in or went since, and is not marked for it yet, looks for themselves.
    let Some(passages) = parts.store.recent_events(since, |e| e.membership().is_some()) else {
        return send_all_away(pass, lines);
    };
    for passage in passages.iter().filter(|passage| rooms.contains_key(&passage.room_id)) {
        let user = passage.membership().and_then(|(user, _)| <&UserId>::try_from(user).ok());
        user.into_iter().flat_map(|user| of_user(lines, user)).for_each(|line| line.send_away(pass));
    }
    rooms.retain(|_, there| !there.is_empty());
    let Happened { events, typing, receipts } = happened;
    for event in events {
        add_event(pass, parts, &rooms, event, told);
    }
    for room in typing {
        add_typing(pass, parts, &rooms, room, told);
    }
    add_receipts(pass, &rooms, receipts, told);
}

/// `None`: more than is in memory.
fn happened(pass: &Pass, parts: &Parts) -> Option<Happened> {
    let Pass { since, upto, .. } = pass;
    let is_told = |e: &StoredEvent| e.state_key.is_none() && e.position <= upto.log && !e.is_hidden();
    Some(Happened {
        events: parts.store.recent_events(since.log, is_told)?,
        typing: parts.typing.changed(since.live, upto.live),
        receipts: parts.receipts.between(since.log, upto.log)?,
    })
}

impl Happened {
    fn rooms(&self) -> impl Iterator<Item = &OwnedRoomId> {
        let receipts = self.receipts.iter().map(|(_, receipt)| &receipt.room);
        self.events.iter().map(|event| &event.room_id).chain(&self.typing).chain(receipts)
    }
}

fn send_all_away(pass: &Pass, lines: &Lines) {
    #[expect(clippy::disallowed_methods, reason = "in any order")]
    lines.values().flatten().for_each(|line| line.send_away(pass));
}

fn add_event(
    pass: &mut Pass,
    parts: &Parts,
    rooms: &There,
    event: Arc<StoredEvent>,
    told: &mut Vec<Arc<Line>>,
) {
    let Some(there) = rooms.get(&event.room_id) else { return };
    if event.timeline != TimelinePosition::live(event.position) || event.lacks_something() {
        return there.iter().for_each(|line| line.send_away(pass));
    }
    let nobody = Session { user: event.sender.clone(), device: "".into() };
    let frame = frames::timeline(&event, &nobody, pass.now);
    let number = pass.items.len();
    pass.items.push(Item::Event { frame, event: Arc::clone(&event) });
    for line in there {
        if line.is_lazy() && !knows_sender(parts, line, &event, pass.upto) {
            line.send_away(pass);
        } else {
            add_to(line, pass, number, told);
        }
    }
}

/// Whether a reader who is told of members only when they speak was told of who sent an event.
fn knows_sender(parts: &Parts, line: &Line, event: &StoredEvent, upto: Place) -> bool {
    let sender = [event.sender.clone()].into();
    parts.lazy_members.untold(&line.session, &event.room_id, upto.log, sender).is_empty()
}

/// Who types; what changed after the pass is told by the next one.
fn add_typing(pass: &mut Pass, parts: &Parts, rooms: &There, room: OwnedRoomId, told: &mut Vec<Arc<Line>>) {
    let Some(there) = rooms.get(&room) else { return };
    let at = parts.typing.position(&room);
    if at > pass.upto.live {
        return;
    }
    let users = parts.typing.in_room(&room);
    let number = pass.items.len();
    let frame = frames::typing(&room, &users);
    pass.items.push(Item::Typing { at, frame, room, users });
    there.iter().for_each(|line| add_to(line, pass, number, told));
}

/// Those that all may see are told to the room, each other one to the devices of its user.
fn add_receipts(
    pass: &mut Pass,
    rooms: &There,
    receipts: Vec<(LogPosition, Arc<Receipt>)>,
    told: &mut Vec<Arc<Line>>,
) {
    // By room, and by who alone may see them; of each user, kind and thread the last one.
    type Last = BTreeMap<(OwnedUserId, String, String), Arc<Receipt>>;
    let mut groups: BTreeMap<(OwnedRoomId, Option<OwnedUserId>), (LogPosition, Last)> = BTreeMap::new();
    for (position, receipt) in receipts {
        let viewer = (!receipt.shown).then(|| receipt.user.clone());
        let (at, last) = groups.entry((receipt.room.clone(), viewer)).or_default();
        *at = position;
        last.insert((receipt.user.clone(), receipt.kind.clone(), receipt.thread.clone()), receipt);
    }
    for ((room, viewer), (at, last)) in groups {
        let Some(there) = rooms.get(&room) else { continue };
        let is_for = |line: &&Arc<Line>| viewer.as_ref().is_none_or(|viewer| *viewer == line.session.user);
        let readers: Vec<_> = there.iter().filter(is_for).collect();
        let receipts: Vec<_> = last.into_values().collect();
        let frame = frames::receipts(&room, receipts.iter().map(|receipt| &**receipt));
        let number = pass.items.len();
        pass.items.push(Item::Receipts { at, frame, room, receipts });
        readers.into_iter().for_each(|line| add_to(line, pass, number, told));
    }
}
