//! What a connection is told beside rooms: messages for its device, keys, the user's own data, who reads, who types, presence.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{OwnedRoomId, RoomId};

use super::{
    news::{ExtensionNews, RoomNews},
    request::{Extensions, MAX_TIMELINE, Scoped as Asked, ToDevice},
    scope::Scoped,
    sent::{Has, Sent, Upto},
};
use crate::server::{
    change::position::LogPosition,
    event::stored::{Membership, StoredEvent},
    sight::rooms::Encounters,
    store::AccountData,
    stream::{
        account_data, ephemeral,
        filter::Filter,
        keys,
        look::{Look, Stretch},
        presence,
        reader::Reader,
        refusal::Refusal,
        timeline, to_device,
    },
};

/// Collects what is told beside rooms.
#[derive(Debug)]
pub(super) struct Collector<'a> {
    pub(super) reader: &'a Reader<'a>,
    pub(super) asked: &'a Extensions,
    /// How far the client was told of what the user keeps for all rooms.
    pub(super) account_data: Upto,
    /// How far it was told whose devices changed.
    pub(super) device_lists: Upto,
}

/// A room in the client's windows, as far as something is told beside it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beside<'a> {
    pub(super) room: &'a OwnedRoomId,
    pub(super) scoped: &'a Scoped,
    /// What is told of the room itself.
    pub(super) news: Option<&'a RoomNews>,
}

impl Collector<'_> {
    /// Nothing yet of what is asked for.
    pub(super) fn begin(&self) -> ExtensionNews {
        let Extensions { account_data, receipts, typing, .. } = self.asked;
        ExtensionNews {
            account_data: account_data.as_ref().map(|_| Default::default()),
            receipts: receipts.as_ref().map(|_| Vec::new()),
            typing: typing.as_ref().map(|_| Vec::new()),
            ..ExtensionNews::default()
        }
    }

    /// Adds what is told of one room, of which that much was sent.
    pub(super) async fn add_room(
        &self,
        out: &mut ExtensionNews,
        beside: Beside<'_>,
        sent: &mut Sent,
        own_data: &mut account_data::Changed,
    ) -> Result<(), Refusal> {
        let Beside { room, scoped, news } = beside;
        let (look, parts) = (&self.reader.look, self.reader.parts);
        let live = look.log.since;
        let covers = |asked: &Option<Asked>| {
            asked.as_ref().is_some_and(|asked| asked.covers(room, &scoped.lists, scoped.is_subscribed))
        };
        let is_joined = sent.is == Membership::Join;
        if news.is_some_and(|news| news.initial) {
            // The client forgets what it had.
            (sent.account_data, sent.receipts, sent.typing) = (Upto::Never, Upto::Never, Upto::Never);
        }
        if !covers(&self.asked.account_data) {
            sent.account_data = sent.account_data.left_at(live);
        } else if let Some((_, rooms)) = &mut out.account_data {
            let data = self.own_data(room, sent.account_data, own_data).await?;
            if !data.is_empty() {
                rooms.push((room.clone(), data));
            }
            sent.account_data = Upto::Live;
        }
        if !(covers(&self.asked.receipts) && is_joined) {
            sent.receipts = sent.receipts.left_at(live);
        } else if let Some(rooms) = &mut out.receipts {
            let begins = news.is_some_and(|news| news.expanded);
            let since = sent.receipts.since(live).filter(|_| !begins);
            let from = since.unwrap_or(LogPosition::START);
            let mut read = ephemeral::who_has_read(look, &parts.receipts, &parts.store, room, from).await?;
            if since.is_none() {
                // Of a whole room: where the user is, and who has read what the client has of it.
                let has = self.held(room, news, sent.has).await?;
                let is_had = |event: &str| has.as_ref().is_none_or(|has| has.contains(event));
                read.retain(|receipt| receipt.user == look.session.user || is_had(&receipt.event));
            }
            if !read.is_empty() {
                rooms.push((room.clone(), read));
            }
            sent.receipts = Upto::Live;
        }
        if !(covers(&self.asked.typing) && is_joined) {
            sent.typing = sent.typing.left_at(live);
        } else if let Some(rooms) = &mut out.typing {
            let is_new = sent.typing != Upto::Live;
            let mut users = ephemeral::who_types(look, &parts.typing, room, is_new);
            if is_new && users.is_none() && sent.shows_typing {
                users = Some(Vec::new());
            }
            if let Some(users) = users {
                sent.shows_typing = !users.is_empty();
                rooms.push((room.clone(), users));
            }
            sent.typing = Upto::Live;
        }
        Ok(())
    }

    /// The events of a room that the client has, of the last ones; `None`: all that it can have.
    async fn held(
        &self,
        room: &RoomId,
        news: Option<&RoomNews>,
        has: Has,
    ) -> Result<Option<BTreeSet<String>>, Refusal> {
        let id = |event: &Arc<StoredEvent>| event.event_id.to_string();
        if let Some(news) = news.filter(|news| news.initial || news.expanded) {
            let told = news.timeline.iter().flat_map(|timeline| &timeline.events);
            return Ok(Some(told.map(id).collect()));
        }
        let Has::Last(count) = has else { return Ok(None) };
        let (look, store) = (&self.reader.look, &self.reader.parts.store);
        let filter = Filter::of_timeline(MAX_TIMELINE.min(count as usize));
        let log = Stretch { since: LogPosition::START, ..look.log };
        let look = Look { filter: &filter, log, ..look.clone() };
        let last = timeline::timeline(&look, store, room, None, log).await?;
        Ok(Some(last.events.iter().map(id).collect()))
    }

    /// What the user keeps for a room, of which the client was told so far.
    async fn own_data(
        &self,
        room: &RoomId,
        told: Upto,
        own_data: &mut account_data::Changed,
    ) -> Result<Vec<AccountData>, Refusal> {
        let (look, parts) = (&self.reader.look, self.reader.parts);
        let user = &look.session.user;
        Ok(match told {
            Upto::Live => own_data.of_rooms.remove(room).unwrap_or_default(),
            Upto::Never if parts.own_data.has_news(user, LogPosition::START) => {
                parts.store.account_data_of_room(user, room, look.log.upto).await?
            }
            Upto::Behind(since) if parts.own_data.has_news(user, since) => {
                let mut data = parts.store.account_data_since(user, since, look.log.upto).await?;
                data.retain(|data| data.room.as_deref() == Some(room));
                data
            }
            Upto::Never | Upto::Behind(_) => Vec::new(),
        })
    }

    /// Adds what does not depend on rooms.
    pub(super) async fn add_rest(
        &self,
        out: &mut ExtensionNews,
        own_data: account_data::Changed,
        encounters: &mut Encounters,
    ) -> Result<(), Refusal> {
        let (reader, asked) = (self.reader, self.asked);
        let (look, parts) = (&reader.look, reader.parts);
        if let Some(asked) = asked.to_device {
            out.to_device = Some(self.to_device(asked).await?);
        }
        if asked.e2ee {
            let lists = match self.device_lists {
                _ if look.is_first => None,
                Upto::Behind(since) => Some(reader.since(since).device_lists().await?),
                Upto::Never | Upto::Live => {
                    Some(keys::device_lists(look, &parts.keys, &parts.members, encounters).await?)
                }
            };
            out.e2ee = Some((parts.keys.counts(look.session).await?, lists));
        }
        if let Some((global, _)) = &mut out.account_data {
            *global = if self.account_data == Upto::Live {
                account_data::global(look, own_data.global)
            } else {
                // From where it was told of it, however far it was told of the rest.
                let since = self.account_data.since(look.log.since);
                let log = Stretch { since: since.unwrap_or(LogPosition::START), ..look.log };
                let look = Look { is_first: since.is_none(), log, ..look.clone() };
                let missed = account_data::changed(&look, &parts.own_data, &parts.store).await?;
                account_data::global(&look, missed.global)
            };
        }
        if !asked.presence.is_empty() {
            if let Some(earlier) = look.presence.from.and_then(|from| from.log) {
                reader.note_since(earlier, encounters).await?;
            }
            let presence = presence::presence(reader.sources, &parts.sight, look, encounters);
            parts.metrics.presence_delivered.add(presence.len());
            out.presence = Some(presence);
        }
        Ok(())
    }

    async fn to_device(&self, asked: ToDevice) -> Result<(Vec<(LogPosition, String)>, LogPosition), Refusal> {
        let (look, parts) = (&self.reader.look, self.reader.parts);
        // A place that the log has not reached is of another database: all that waits is new.
        let since = asked.since.filter(|since| *since <= look.log.upto).unwrap_or(LogPosition::START);
        let look = Look { to_device: since, ..look.clone() };
        let to_device::Waiting { mut messages, mut upto } =
            to_device::waiting(&look, &parts.inboxes, &parts.store).await?;
        if messages.len() > asked.limit {
            messages.truncate(asked.limit);
            upto = messages.last().map_or(since, |(position, _)| *position);
        }
        Ok((messages, upto))
    }
}

/// Whether it matters for a request whom the reader met.
pub(super) fn counts_encounters(asked: &Extensions, look: &Look<'_>) -> bool {
    look.goes_on && (asked.e2ee || !asked.presence.is_empty())
}
