//! One reader with one token: puts together what they have not seen yet.

use std::sync::Arc;

use ruma::{OwnedRoomId, RoomId};
use serde_json::value::RawValue;

use super::{
    account_data,
    behind::Earlier,
    encounters::{self, Counted, Passage},
    ephemeral, keys, late,
    look::{Look, Stretch},
    news::{self, DeviceLists, JoinedRoom, LeftRoom, RoomState, StrippedRoom},
    parts::Parts,
    refusal::Refusal,
    sources::Sources,
    state::{self, Extent},
    summary,
    timeline::{self, Timeline},
    window::{self, Window, Windows},
};
use crate::server::{
    change::position::{LogPosition, TimelinePosition},
    event::{
        aggregation::Aggregations,
        stored::{Membership, StoredEvent},
    },
    rooms::Audience,
    sight::rooms::Encounters,
    store::Past,
};

/// Rooms that something happened in, in a look that is quick.
const FEW_ROOMS: usize = 32;

/// Bytes of the events in them.
const FEW_BYTES: usize = 64 << 10;

/// Changes since the reader's token, durable ones and others, that are looked through quickly.
const FEW_CHANGES: u64 = 4096;

/// What a look finds, before its details.
#[derive(Debug)]
pub(super) struct Outline {
    pub(super) windows: Windows,
    pub(super) own_data: account_data::Changed,
}

/// One look of one reader at all the parts.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) sources: &'a Sources,
    pub(super) parts: &'a Parts,
    pub(super) look: Look<'a>,
}

impl<'a> Reader<'a> {
    /// The same reader, had they been told everything up to `since`.
    pub(super) fn since(&self, since: LogPosition) -> Self {
        let look = Look { log: Stretch { since, ..self.look.log }, ..self.look.clone() };
        Self { sources: self.sources, parts: self.parts, look }
    }
}

impl Reader<'_> {
    /// The outline of a look that is quick and whose answer is small; `None`: of any other.
    pub(super) async fn quick_outline(&self) -> Result<Option<Outline>, Refusal> {
        let Self { parts, look, .. } = self;
        if look.presence.catches_up(look.live.since) {
            return Ok(None);
        }
        let changes = [
            look.log.upto.get().saturating_sub(look.log.since.get()),
            look.live.upto.get().saturating_sub(look.live.since.get()),
        ];
        if changes.iter().any(|count| *count > FEW_CHANGES) {
            return Ok(None);
        }
        let Some(windows) = window::recent(look, &parts.store, &parts.members) else { return Ok(None) };
        // Who comes into a room is told all of it.
        let user = look.session.user.as_str();
        if windows.values().flat_map(|w| w.events.iter().flatten()).any(|e| e.is_state("m.room.member", user))
        {
            return Ok(None);
        }
        let outline = self.with_quiet_rooms(windows).await?;
        let events = outline.windows.values().flat_map(|window| window.events.iter().flatten());
        let is_quick =
            outline.windows.len() <= FEW_ROOMS && events.map(|e| e.weight()).sum::<usize>() <= FEW_BYTES;
        Ok(is_quick.then_some(outline))
    }

    /// The outline of any look.
    pub(super) async fn outline(&self) -> Result<Outline, Refusal> {
        let windows = window::windows(&self.look, &self.parts.store, &self.parts.members).await?;
        self.with_quiet_rooms(windows).await
    }

    /// Adds the rooms that have no new events, but something else.
    async fn with_quiet_rooms(&self, mut windows: Windows) -> Result<Outline, Refusal> {
        let (look, Parts { own_data, store, members, typing, receipts, .. }) = (&self.look, self.parts);
        let own_data = account_data::changed(look, own_data, store).await?;
        for room in ephemeral::rooms_with_news(look, typing, receipts, members) {
            windows.entry(room).or_insert_with(Window::quiet);
        }
        for room in look.uncounted.iter().chain(own_data.of_rooms.keys()) {
            if !windows.contains_key(room) && members.is_joined(&look.session.user, room) {
                windows.insert(room.clone(), Window::quiet());
            }
        }
        Ok(Outline { windows, own_data })
    }

    /// Whose devices changed, and who came to share a room with the reader or ceased to: nothing else of what is new.
    pub(super) async fn device_lists(self) -> Result<DeviceLists, Refusal> {
        let Self { parts, look, .. } = &self;
        let mut encounters = Encounters::default();
        self.note_encounters(look, Counted::Lasting, &mut encounters).await?;
        Ok(keys::device_lists(look, &parts.keys, &parts.members, &encounters).await?)
    }

    /// Adds to `encounters` those since an earlier place in the log.
    pub(super) async fn note_since(
        &self,
        earlier: Earlier,
        encounters: &mut Encounters,
    ) -> Result<(), Refusal> {
        let (since, counted) = match earlier {
            Earlier::Nobodys(since) => (since, Counted::Lasting),
            Earlier::Somebodys(since) => (since, Counted::Passing),
        };
        let log = Stretch { since, ..self.look.log };
        let look = Look { is_first: false, full_state: false, log, ..self.look.clone() };
        self.note_encounters(&look, counted, encounters).await
    }

    /// Adds to `encounters` those of a look at all rooms.
    pub(super) async fn note_encounters(
        &self,
        look: &Look<'_>,
        counted: Counted,
        encounters: &mut Encounters,
    ) -> Result<(), Refusal> {
        let Parts { store, members, sight, .. } = self.parts;
        let range = (look.log.since, look.log.upto);
        for (room, window) in window::windows(look, store, members).await? {
            let passage = window::passage(look, store, members, &room).await?;
            let events = window.events.as_deref();
            let of = (&*look.session.user, &*room);
            encounters::note(encounters, (sight, store), of, events, passage, range, counted).await?;
        }
        Ok(())
    }

    /// Whether a room in which the reader is this is told of: else what made them so was told before, or is not yet.
    pub(super) fn tells(&self, is: Membership, passage: Passage) -> bool {
        let look = &self.look;
        let is_newer = passage.is_newer_than(look.log.since);
        match is {
            Membership::Join => true,
            Membership::Invite | Membership::Knock => is_newer || look.full_state,
            Membership::Leave | Membership::Ban => {
                let tells_all = look.is_first || look.full_state;
                is_newer && !look.is_first || tells_all && look.filter.include_leave()
            }
        }
    }

    /// A room that the reader is in.
    pub(super) async fn joined(
        &self,
        room: OwnedRoomId,
        window: Window,
        passage: Passage,
        own_data: &mut account_data::Changed,
    ) -> Result<JoinedRoom, Refusal> {
        let (parts, look) = (self.parts, &self.look);
        let Parts { store, members, unread, .. } = parts;
        let is_new = !passage.was_there();
        let log = Stretch { since: if is_new { LogPosition::START } else { look.log.since }, ..look.log };
        let late = match is_new {
            // All of its timeline is new, and read in its own order.
            true => Vec::new(),
            false => {
                late::late((self.sources, look), &room, window.events.as_ref().map(|_| window.late), log)
                    .await?
            }
        };
        // What is in memory of the window is all that happened in it.
        let is_quiet =
            window.events.iter().flatten().all(|event| event.state_key.is_none()) && window.events.is_some();
        let known = if is_new { None } else { window.events };
        let mut timeline = timeline::timeline(look, store, &room, known, log).await?;
        if is_new || passage.is_newer_than(look.log.since) {
            self.cut_to_visible(&room, &mut timeline).await?;
        }
        let is_whole = is_new || look.full_state;
        let extent = match is_whole {
            true => Extent::Whole { known: self.known(&room, passage).await? },
            false => Extent::Since { since: log.since, is_quiet },
        };
        let state::Told { state, has_members } =
            state::state(look, (store, &parts.lazy_members), &room, &timeline, extent).await?;
        let members_changed = has_members || timeline.events.iter().any(|e| e.kind == "m.room.member");
        let summary = if is_whole || members_changed {
            Some(summary::summary(store, members, &look.session.user, &room).await?)
        } else {
            None
        };
        let aggregations = self.aggregations(&room, &timeline, is_new, TimelinePosition::END).await?;
        let changed = own_data.of_rooms.remove(&room);
        let counts = unread.counts(&look.session.user, &room, look.log.upto, &look.ignored).await?;
        let by_thread = look.filter.unread_threads();
        let timeline = timeline.into_news(look.log.upto, aggregations);
        Ok(JoinedRoom {
            begins_at: (is_new && look.filter.joined_events()).then_some(timeline.prev),
            summary,
            state,
            timeline: news::Timeline { late, ..timeline },
            typing: ephemeral::who_types(look, &parts.typing, &room, is_new),
            receipts: ephemeral::who_has_read(look, &parts.receipts, store, &room, log.since).await?,
            own_data: account_data::of_room(look, (&parts.own_data, store), &room, passage, changed).await?,
            unread: if by_thread { counts.main } else { counts.total() },
            unread_threads: by_thread.then_some(counts),
            room,
        })
    }

    /// Up to where the reader, who is told a room whole, knows it; `None`: not at all.
    async fn known(&self, room: &RoomId, passage: Passage) -> Result<Option<LogPosition>, Refusal> {
        let look = &self.look;
        match (look.is_first, look.goes_on) {
            (true, false) => Ok(None),
            // Of what a client knows from another database nothing is known here.
            (true, true) => Ok(Some(LogPosition::START)),
            (false, _) if passage.was_there() => Ok(Some(look.log.since)),
            (false, _) => {
                let until = TimelinePosition::live(look.log.since);
                let past = self.parts.store.past(&look.session.user, room, until).await?;
                Ok(past.and_then(Self::surely_told))
            }
        }
    }

    /// Up to where any client was told of a room that the reader is not in, if it was. That a stay ended tells it up
    /// to there; but who looks only when the reader is on the way in again is told that instead, and knows the room as
    /// it was at any time. Who never was in it can have seen its timeline when they were told that they are not.
    fn surely_told(past: Past) -> Option<LogPosition> {
        match past.last_ended {
            Some(ended) if !past.on_the_way_since => Some(ended),
            _ => past.was_outside.then_some(past.began),
        }
    }

    /// A room that the reader is invited to or knocks at.
    pub(super) async fn stripped(&self, room: OwnedRoomId) -> Result<StrippedRoom, Refusal> {
        let (store, user) = (&self.parts.store, &self.look.session.user);
        // Where the look ends: by now the reader may be something else there, of which the next one tells.
        let end = TimelinePosition::live(self.look.log.upto);
        let own = store.state_event_at(&room, "m.room.member", user.as_str(), end).await?;
        let row = store.membership(user, &room).await?.filter(|row| row.timeline <= end);
        let stripped = row.and_then(|row| row.invite_state);
        let state: Vec<Box<RawValue>> =
            stripped.and_then(|list| serde_json::from_str(&list).ok()).unwrap_or_default();
        Ok(StrippedRoom { room, state, own })
    }

    /// A room that the reader left: what happened up to that, if they could see it.
    pub(super) async fn left(&self, room: OwnedRoomId, passage: Passage) -> Result<LeftRoom, Refusal> {
        let (parts, look) = (self.parts, &self.look);
        let was_there = passage.was_there();
        let since = if was_there { look.log.since } else { LogPosition::START };
        let until = TimelinePosition::live(passage.position);
        let stay_ended =
            parts.store.past(&look.session.user, &room, until).await?.and_then(|past| past.last_ended);
        // What became of the reader after that does not show them the room again.
        let upto = stay_ended.unwrap_or(passage.position);
        let mut timeline =
            timeline::timeline(look, &parts.store, &room, None, Stretch { since, upto: passage.position })
                .await?;
        self.cut_to_visible(&room, &mut timeline).await?;
        if timeline.events.is_empty() && !was_there {
            // Of a room elsewhere that is all that there is.
            let own =
                parts.store.state_event_at(&room, "m.room.member", look.session.user.as_str(), until).await?;
            let own = own.filter(|own| own.position == passage.position && !own.comes_late());
            timeline.events.extend(own.filter(|own| look.filter.timeline(&room, timeline::seen(own))));
        }
        let extent = match (was_there, passage.joined_at.is_some()) {
            (true, _) => Some(Extent::Since { since, is_quiet: false }),
            (false, true) => Some(Extent::Whole { known: self.known(&room, passage).await? }),
            (false, false) => None,
        };
        let mut state = RoomState::default();
        if let Some(extent) = extent {
            // Nothing that came after the reader left.
            let look = &Look { log: Stretch { since, upto }, ..look.clone() };
            let seen = timeline.until(upto);
            let lazy = &parts.lazy_members;
            state = state::state(look, (&parts.store, lazy), &room, &seen, extent).await?.state;
        }
        let aggregations = self.aggregations(&room, &timeline, !was_there, until).await?;
        Ok(LeftRoom { room, state, timeline: timeline.into_news(look.log.upto, aggregations) })
    }

    /// What is gathered of what relates to the events of a timeline, for a reader who did not see all of it coming: to
    /// whom the room `is_new`, or the timeline has a gap. Who was told of every event gathers it themselves.
    async fn aggregations(
        &self,
        room: &RoomId,
        timeline: &timeline::Timeline,
        is_new: bool,
        until: TimelinePosition,
    ) -> Result<Aggregations, Refusal> {
        let look = &self.look;
        if !is_new && !timeline.limited && !look.full_state {
            return Ok(Aggregations::new());
        }
        let audience = Audience { reader: &look.session.user, ignored: &look.ignored, until };
        self.sources.aggregations(audience, room, &timeline.events).await
    }

    /// Leaves of a timeline what follows the last event that the reader may not see: it has no holes, and what
    /// happened in them to the room's state stands before it.
    pub(super) async fn cut_to_visible(&self, room: &RoomId, timeline: &mut Timeline) -> Result<(), Refusal> {
        let all = timeline.events.clone();
        let visible = self.sources.visible_events(&self.look.session.user, room, all).await?;
        let is_hidden = |event: &Arc<StoredEvent>| !visible.iter().any(|seen| Arc::ptr_eq(seen, event));
        if let Some(hidden) = timeline.events.iter().rposition(is_hidden) {
            timeline.events.drain(..=hidden);
            timeline.limited = true;
        }
        Ok(())
    }
}
