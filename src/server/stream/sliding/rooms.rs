//! What a connection is told of one room: how it differs from what it was sent of it.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use ruma::{RoomId, UserId};

use super::{
    news::RoomNews,
    required::Members,
    scope::Scoped,
    sent::{Has, Sent, Upto},
    state::{self, Changes, concerned},
};
use crate::server::{
    change::position::{LogPosition, TimelinePosition},
    event::{
        aggregation::Aggregations,
        stored::{Membership, StoredEvent},
    },
    rooms::Audience,
    stream::{
        encounters::Passage,
        filter::Filter,
        look::{Look, Stretch},
        news::{Timeline, UnreadCounts},
        reader::Reader,
        refusal::Refusal,
        timeline::{self, Timeline as Found},
        window::{self, Window},
    },
};

/// What makes a room sort before others (MSC4186, "bump_stamp").
const BUMPS: [&str; 7] = [
    "m.room.create",
    "m.room.message",
    "m.room.encrypted",
    "m.sticker",
    "m.call.invite",
    "m.poll.start",
    "m.beacon_info",
];

/// Events of a room that are looked at for the last of those.
const BUMPS_AMONG: usize = 500;

/// Tells of rooms.
#[derive(Debug)]
pub(super) struct Teller<'a> {
    pub(super) reader: &'a Reader<'a>,
    /// The client was answered before.
    pub(super) goes_on: bool,
    pub(super) marks: &'a RandomState,
}

/// What is to be remembered of a room after it was told.
#[derive(Debug)]
pub(super) enum After {
    /// What was remembered before, whatever that is.
    Same,
    /// This.
    Sent(Box<Sent>),
    /// Nothing.
    Gone,
}

/// One room, on the way to being told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a> {
    pub(super) room: &'a RoomId,
    pub(super) scoped: &'a Scoped,
    pub(super) sent: Option<&'a Sent>,
    /// Of a room that the client was told of as far as of everything else: what happened since; `None`: nothing.
    window: Option<&'a Window>,
    pub(super) passage: Passage,
    pub(super) log: Stretch<LogPosition>,
}

impl Teller<'_> {
    /// What is new of a room in the client's windows.
    pub(super) async fn tell(
        &self,
        room: &RoomId,
        scoped: &Scoped,
        sent: Option<&Sent>,
        window: Option<&Window>,
    ) -> Result<(Option<RoomNews>, After), Refusal> {
        let (parts, log) = (self.reader.parts, self.reader.look.log);
        let is_live = sent.is_some_and(|sent| sent.room == Upto::Live);
        if let Some(sent) = sent.filter(|_| is_live)
            && window.is_none()
            && sent.config == scoped.config
            && sent.is_dm == scoped.is_dm
        {
            return Ok((None, After::Same));
        }
        let since = sent.and_then(|sent| sent.room.since(log.since)).unwrap_or(LogPosition::START);
        let log = Stretch { since, ..log };
        let look = Look { log, is_first: sent.is_none(), ..self.reader.look.clone() };
        let passage = window::passage(&look, &parts.store, &parts.members, room).await?;
        let window = if is_live { window } else { None };
        let case = Case { room, scoped, sent, window, passage, log };
        match passage.is {
            None => Ok((None, After::Same)),
            Some(Membership::Join) => Box::pin(self.joined(case, is_live)).await,
            Some(is @ (Membership::Invite | Membership::Knock)) => self.on_the_way(case, is).await,
            Some(is @ (Membership::Leave | Membership::Ban)) => Box::pin(self.left(case, is)).await,
        }
    }

    async fn joined(&self, case: Case<'_>, is_live: bool) -> Result<(Option<RoomNews>, After), Refusal> {
        let Case { room, scoped, sent, window, passage, log } = case;
        let (parts, config) = (self.reader.parts, &scoped.config);
        let before = sent.filter(|sent| sent.is == Membership::Join && passage.was_there());
        let mut news = RoomNews::of(Membership::Join, before.is_none());
        let grows = before.is_some_and(|sent| {
            config.timeline_limit > sent.config.timeline_limit && !sent.has.covers(config.timeline_limit)
        });
        let anew = before.is_none() || grows;
        // Nothing that happened is in memory, or nothing happened.
        let known = match window {
            _ if !is_live => None,
            None => Some(Vec::new()),
            Some(window) => window.events.clone(),
        };
        let from = Stretch { since: if anew { LogPosition::START } else { log.since }, ..log };
        let found = self
            .timeline(
                case,
                if anew { None } else { known.clone() },
                from,
                anew || passage.is_newer_than(log.since),
            )
            .await?;
        let changes = match (&before, &known) {
            (None, _) => Changes::default(),
            (Some(_), Some(events)) => Changes::among(events, log.upto, &config.required),
            (Some(_), None) => Changes::between(&parts.store, room, log, &config.required).await?,
        };
        let members = changes.members;
        let (name, avatar) = self.renamed(room, &changes, log.upto).await?;
        news.state = match before {
            None => state::whole(&parts.store, room, log.upto, &config.required, None).await?,
            Some(sent) if sent.config.required != config.required => {
                let before = Some((&sent.config.required, log.since));
                state::whole(&parts.store, room, log.upto, &config.required, before).await?
            }
            Some(_) => changes.state,
        };
        let met = self.add_members(case, before, &found, (&mut news, log.upto)).await?;
        self.add_name(case, &mut news, (name, avatar, members)).await?;
        if before.is_none() || members {
            news.counts = Some(parts.members.counts(room));
        }
        news.is_dm = Self::is_dm(before, scoped.is_dm);
        let bump = self.bump(case, before, known.as_deref()).await?;
        news.bump = Some(bump).filter(|bump| before.is_none_or(|sent| sent.bump != *bump));
        let unread = self.unread(room).await?;
        news.unread = Some(unread);
        let is_limited = found.limited;
        let oldest = found.events.first().map(|event| event.position);
        news.expanded = grows && oldest.is_some_and(|oldest| oldest <= log.since);
        let told = found.events.len();
        self.add_timeline(case, anew || is_limited, found, &mut news).await?;
        let has = before.map_or(Has::Last(0), |sent| sent.has);
        let mut after = self.after(case, Membership::Join, (bump, unread));
        after.has = has.after(told, is_limited, anew);
        if before.is_none() || is_limited {
            after.members.clear();
        }
        after.note_members(met);
        let is_same = before.is_some_and(|sent| sent.unread == unread);
        let is_news = !news.is_empty() || !is_same;
        Ok((is_news.then_some(news), After::Sent(Box::new(after))))
    }

    /// The end of the room's timeline, `cut` to what the reader may see where they were not there all the time.
    pub(super) async fn timeline(
        &self,
        case: Case<'_>,
        known: Option<Vec<Arc<StoredEvent>>>,
        log: Stretch<LogPosition>,
        cut: bool,
    ) -> Result<Found, Refusal> {
        let Case { room, scoped, .. } = case;
        let filter = Filter::of_timeline(scoped.config.timeline_limit);
        let look = Look { filter: &filter, log, ..self.reader.look.clone() };
        let mut found = timeline::timeline(&look, &self.reader.parts.store, room, known, log).await?;
        if cut {
            self.reader.cut_to_visible(room, &mut found).await?;
        }
        Ok(found)
    }

    pub(super) async fn add_timeline(
        &self,
        case: Case<'_>,
        is_new: bool,
        found: Found,
        news: &mut RoomNews,
    ) -> Result<(), Refusal> {
        let Case { room, scoped, passage, .. } = case;
        if scoped.config.timeline_limit == 0 {
            return Ok(());
        }
        let look = &self.reader.look;
        let mut gathered = Aggregations::new();
        if is_new {
            let until = match news.membership {
                Membership::Join => TimelinePosition::END,
                _ => TimelinePosition::live(passage.position),
            };
            let audience = Audience { reader: &look.session.user, ignored: &look.ignored, until };
            gathered = self.reader.sources.aggregations(audience, room, &found.events).await?;
        }
        if self.goes_on {
            let is_live = |event: &&Arc<StoredEvent>| event.position > look.log.since;
            news.live_events = found.events.iter().rev().take_while(is_live).count();
        }
        let upto = if news.membership == Membership::Join { look.log.upto } else { passage.position };
        let timeline: Timeline = found.into_news(upto, gathered);
        news.timeline = Some(timeline);
        Ok(())
    }

    /// Adds the members who have to do with the timeline, as they were at `upto`, where the client asks for them. Answers with
    /// their marks.
    pub(super) async fn add_members(
        &self,
        case: Case<'_>,
        before: Option<&Sent>,
        found: &Found,
        (news, upto): (&mut RoomNews, LogPosition),
    ) -> Result<Vec<u64>, Refusal> {
        let Case { room, scoped, log, .. } = case;
        let required = &scoped.config.required;
        if !required.lazy_members() || required.members() == Members::Any {
            return Ok(Vec::new());
        }
        // After a gap the client has forgotten whom it knew.
        let known = before.filter(|_| !found.limited).map(|sent| sent.members.as_slice()).unwrap_or_default();
        let is_known = |user: &UserId| known.contains(&self.mark(room, user));
        let mut met = Vec::new();
        for user in concerned(&found.events, log.since, is_known) {
            met.push(self.mark(room, &user));
            // Who is asked for by name is told whenever they change.
            if required.wants("m.room.member", user.as_str()) {
                continue;
            }
            let store = &self.reader.parts.store;
            news.state.events.extend(state::at(store, room, "m.room.member", user.as_str(), upto).await?);
        }
        Ok(met)
    }

    fn mark(&self, room: &RoomId, user: &UserId) -> u64 {
        self.marks.hash_one((room, user))
    }

    /// Where the last event of a joined room stands that makes it sort before others.
    async fn bump(
        &self,
        case: Case<'_>,
        before: Option<&Sent>,
        known: Option<&[Arc<StoredEvent>]>,
    ) -> Result<LogPosition, Refusal> {
        let Case { room, log, passage, .. } = case;
        let look = &self.reader.look;
        if let (Some(sent), Some(events)) = (before, known) {
            let bumps = |e: &&Arc<StoredEvent>| {
                e.position <= log.upto && BUMPS.contains(&&*e.kind) && !look.ignores(&e.sender)
            };
            return Ok(events.iter().rev().find(bumps).map_or(sent.bump, |event| event.position));
        }
        let store = &self.reader.parts.store;
        let found = store.last_of_types(room, log.upto, &BUMPS, BUMPS_AMONG).await?;
        let joined = self.reader.parts.members.joined_at(&look.session.user, room);
        Ok(found.or(before.map(|sent| sent.bump)).or(joined).unwrap_or(passage.position))
    }

    /// How much the reader has not read.
    async fn unread(&self, room: &RoomId) -> Result<UnreadCounts, Refusal> {
        let (look, unread) = (&self.reader.look, &self.reader.parts.unread);
        Ok(unread.counts(&look.session.user, room, look.log.upto, &look.ignored).await?.total())
    }

    /// What is remembered of a room that was told.
    pub(super) fn after(
        &self,
        case: Case<'_>,
        is: Membership,
        (bump, unread): (LogPosition, UnreadCounts),
    ) -> Sent {
        let Case { scoped, sent, passage, .. } = case;
        let before = sent.cloned();
        let was = before.as_ref();
        Sent {
            room: Upto::Live,
            is,
            since: passage.position,
            // Equal ones are one.
            config: match was {
                Some(sent) if sent.config == scoped.config => Arc::clone(&sent.config),
                _ => Arc::clone(&scoped.config),
            },
            has: Has::Last(0),
            bump,
            is_dm: scoped.is_dm,
            unread,
            account_data: was.map(|sent| sent.account_data).unwrap_or_default(),
            receipts: was.map(|sent| sent.receipts).unwrap_or_default(),
            typing: was.map(|sent| sent.typing).unwrap_or_default(),
            shows_typing: was.is_some_and(|sent| sent.shows_typing),
            members: before.map(|sent| sent.members).unwrap_or_default(),
        }
    }
}
