//! One look of one request: which rooms it is about, and what is new of them and beside them.

use std::{collections::BTreeSet, hash::RandomState, time::Duration};

use ruma::{OwnedRoomId, RoomId};

use super::{
    answer::{write_extensions, write_lists, write_room},
    connections::{Changed, Place},
    extensions::{Beside, Collector, counts_encounters},
    kept::Taken,
    known_rooms::KnownRooms,
    request::Request,
    rooms::{After, Teller},
    scope::{Scope, Untold},
    sent::{Sent, Upto},
    step::Step,
    survey::Survey,
};
use crate::server::{
    answers::{Sheet, Size, aside},
    change::position::LogPosition,
    event::client::ClientFormat,
    json::Writer,
    sight::rooms::Encounters,
    stream::{
        account_data,
        encounters::{self, Counted},
        listener::Listener,
        reader::{Outline, Reader},
        refusal::Refusal,
        sync::{Form, StateTold},
        token::Token,
        window::{self, Windows},
    },
};

/// Rooms of which more is told than what happened in them last, in a look that is quick.
const FEW_WHOLE: usize = 4;

/// How long it takes to tell all of one, about.
const PER_ROOM: Duration = Duration::from_millis(2);

/// A request that looks, maybe several times.
#[derive(Debug)]
pub(super) struct Looks<'a> {
    pub(super) listener: &'a Listener<'a>,
    pub(super) request: &'a Request,
    pub(super) known: &'a KnownRooms,
    pub(super) marks: &'a RandomState,
    /// Where the client is, and what it has.
    pub(super) place: &'a Place,
    /// Up to where there was nothing new.
    pub(super) token: Option<Token>,
    /// What is different up to there.
    pub(super) changed: Changed,
}

/// What a look found.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) has_news: bool,
    /// Up to where it went.
    pub(super) token: Token,
    /// All but the position to go on from.
    pub(super) written: Writer,
    /// On which it was begun, when it may be large.
    pub(super) sheet: Option<Sheet>,
}

impl Looks<'_> {
    /// Looks at what is new. What is found counts as told from here on.
    pub(super) async fn look(&mut self) -> Result<Looked, Refusal> {
        let reader = self.listener.reader(self.token.as_ref(), false, (&[], &[]));
        let outline = match self.token {
            Some(_) => reader.quick_outline().await?,
            None => None,
        };
        let mut expected = None;
        if let Some(outline) = outline {
            let (taken, scope) = self.scope(&reader, &outline).await?;
            let whole = self.count_whole(&scope, &outline);
            if whole <= FEW_WHOLE {
                return self.told(&reader, outline, (taken, scope), None).await;
            }
            self.place.kept.put(taken.with(Some(scope)));
            expected = Some(PER_ROOM * u32::try_from(whole).unwrap_or(u32::MAX));
        }
        let (answers, user) = (&reader.parts.answers, &reader.look.session.user);
        let expected = match expected {
            Some(whole) => whole,
            None => self.listener.expected().await?,
        };
        let place = answers.place_for(user.as_str(), Size::Whole, expected).await;
        self.listener.check_still_logged_in().await?;
        // Who had to wait for a place is told what came meanwhile.
        let listener = self.listener;
        let work = async {
            let reader = listener.reader(self.token.as_ref(), false, (&[], &[]));
            let outline = self.outline(&reader).await?;
            let scope = self.scope(&reader, &outline).await?;
            self.told(&reader, outline, scope, Some(Sheet::new(place))).await
        };
        aside(work).await
    }

    /// What there is of a client that begins is in the rooms themselves.
    async fn outline(&self, reader: &Reader<'_>) -> Result<Outline, Refusal> {
        if self.token.is_some() {
            return reader.outline().await;
        }
        let (look, parts) = (&reader.look, reader.parts);
        let own_data = account_data::changed(look, &parts.own_data, &parts.store).await?;
        Ok(Outline { windows: Windows::new(), own_data })
    }

    /// The rooms that the request is about: those that were kept, as far as it is known what became of them, or all of the user's
    /// looked at anew.
    async fn scope(
        &mut self,
        reader: &Reader<'_>,
        outline: &Outline,
    ) -> Result<(Taken, Box<Scope>), Refusal> {
        let (look, wanted) = (&reader.look, &self.request.wanted);
        let mut taken = self.place.kept.take();
        if let Some(mut scope) = taken.scope.take()
            && !look.is_first
            && look.log.since <= scope.upto
            && scope.ask(wanted, &self.request.extensions)
            && let Step::Moved(moved) =
                Step::by(&outline.windows, &outline.own_data, &look.session.user, wanted)
            && moved.into_iter().all(|(room, at)| scope.follow(room, at))
        {
            scope.upto = scope.upto.max(look.log.upto);
            if scope.known_to != self.place.known_to(&self.changed) {
                scope.forget_told();
            }
            return Ok((taken, scope));
        }
        Ok((taken, Box::new(self.survey(reader).await?)))
    }

    /// The rooms that the request is about, by all of the user's.
    async fn survey(&self, reader: &Reader<'_>) -> Result<Scope, Refusal> {
        let look = &reader.look;
        let survey = Survey {
            parts: reader.parts,
            known: self.known,
            user: &look.session.user,
            ignored: &look.ignored,
        };
        let before =
            self.place.state.rooms.iter().filter(|(room, _)| !self.changed.rooms.contains_key(*room));
        let changed = self.changed.rooms.iter().filter_map(|(room, sent)| Some((room, sent.as_ref()?)));
        let (out, there): (Vec<_>, Vec<_>) = before.chain(changed).partition(|(_, sent)| sent.is_out());
        let rooms =
            |of: Vec<(&'_ OwnedRoomId, &Sent)>| of.into_iter().map(|(room, _)| room.clone()).collect();
        let (out, there): (Vec<_>, Vec<_>) = (rooms(out), rooms(there));
        let wanted = &self.request.wanted;
        let (found, gone) = survey.find(wanted, there, out).await?;
        Ok(Scope::new((wanted.clone(), &self.request.extensions), found, gone, look.log.upto))
    }

    /// What was sent of a room.
    fn sent(&self, room: &RoomId) -> Option<&Sent> {
        match self.changed.rooms.get(room) {
            Some(changed) => changed.as_ref(),
            None => self.place.state.rooms.get(room),
        }
    }

    /// How many rooms there are of which more is told than what happened in them last.
    fn count_whole(&self, scope: &Scope, outline: &Outline) -> usize {
        let is_whole = |number: &&usize| {
            let Some(scoped) = scope.scoped(**number) else { return false };
            let sent = self.sent(scope.id(**number));
            !sent.is_some_and(|sent| sent.room == Upto::Live && sent.config == scoped.config)
        };
        news(scope, outline).iter().filter(is_whole).count()
    }

    /// Writes what is new, and takes note of it.
    async fn told(
        &mut self,
        reader: &Reader<'_>,
        outline: Outline,
        (taken, mut scope): (Taken, Box<Scope>),
        mut sheet: Option<Sheet>,
    ) -> Result<Looked, Refusal> {
        let (look, parts) = (&reader.look, reader.parts);
        let rooms = news(&scope, &outline);
        let untold = scope.take_untold();
        let Outline { windows, mut own_data } = outline;
        let mut encounters = self.encounters(reader, &windows).await?;
        let account_data = self.changed.account_data.unwrap_or(self.place.state.account_data);
        let device_lists = self.changed.device_lists.unwrap_or(self.place.state.device_lists);
        let request = self.request;
        let collector = Collector { reader, asked: &request.extensions, account_data, device_lists };
        let teller = Teller { reader, goes_on: self.token.is_some(), marks: self.marks };
        let form = Form {
            viewer: look.session,
            events: ClientFormat::InRoom,
            fields: None,
            now: look.now,
            state: StateTold::Before,
        };
        let mut beside = collector.begin();
        let mut out = Writer::object();
        if let Some(txn_id) = &request.txn_id {
            out.text("txn_id", txn_id);
        }
        write_lists(&mut out, &scope);
        let mut has_news = self.place.state.pos.is_none();
        let mut is_kept = true;
        let part = out.open("rooms");
        for number in rooms {
            let room = scope.id(number);
            let Some(in_scope) = scope.scoped(number) else {
                self.note_out(room, look.log.since);
                continue;
            };
            let sent = self.sent(room);
            let (news, after) = teller.tell(room, &in_scope, sent, windows.get(room)).await?;
            let next = match after {
                After::Same => sent.cloned(),
                After::Sent(sent) => Some(*sent),
                After::Gone => None,
            };
            if let Some(mut next) = next {
                // That it was left is told: whether a list has it any longer is another question.
                is_kept &= news.is_none() || !next.is_out();
                let of_room = Beside { room, scoped: &in_scope, news: news.as_ref() };
                collector.add_room(&mut beside, of_room, &mut next, &mut own_data).await?;
                self.note(room, next);
            } else if sent.is_some() {
                self.changed.rooms.insert(room.clone(), None);
                // Which is on no list any longer.
                is_kept = false;
            }
            if let Some(news) = news {
                has_news = true;
                let to = (form, request.wire);
                write_room(&mut out, (room.as_str(), &in_scope, news), to, (&parts.store, sheet.as_mut()))
                    .await?;
            }
            if let Some(sheet) = &mut sheet {
                sheet.take(&mut out).await?;
            }
        }
        out.end_even_if_empty(part);
        if untold == Untold::All {
            self.changed.rooms.extend(scope.gone.iter().map(|room| (room.clone(), None)));
            self.note_others(&scope, look.log.since);
        }
        scope.known_to = self.place.known_to(&self.changed);
        self.place.kept.put(taken.with(is_kept.then_some(scope)));
        collector.add_rest(&mut beside, own_data, &mut encounters).await?;
        self.changed.account_data = Some(match &beside.account_data {
            Some(_) => Upto::Live,
            None => account_data.left_at(look.log.since),
        });
        self.changed.device_lists = Some(match (request.extensions.e2ee, device_lists) {
            (true, _) => Upto::Live,
            // Who begins asks for the devices of everybody anyway.
            (false, Upto::Never) if look.is_first => Upto::Behind(look.log.upto),
            (false, Upto::Never) => Upto::Behind(look.log.since),
            (false, told) => told.left_at(look.log.since),
        });
        has_news |= beside.has_news();
        write_extensions(&mut out, &request.extensions, &beside, form);
        let token = Token::new(look.log.upto, look.live.upto).with_presence(look.presence.behind);
        Ok(Looked { has_news, token, written: out, sheet })
    }

    /// Whom the reader met and parted from, in all rooms.
    async fn encounters(&self, reader: &Reader<'_>, windows: &Windows) -> Result<Encounters, Refusal> {
        let (look, parts) = (&reader.look, reader.parts);
        let mut encounters = Encounters::default();
        if !counts_encounters(&self.request.extensions, look) {
            return Ok(encounters);
        }
        let (by, range) = ((&*parts.sight, &*parts.store), (look.log.since, look.log.upto));
        for (room, window) in windows {
            let passage = window::passage(look, &parts.store, &parts.members, room).await?;
            let events = window.events.as_deref();
            let of = (&*look.session.user, &**room);
            encounters::note(&mut encounters, by, of, events, passage, range, Counted::Lasting).await?;
        }
        Ok(encounters)
    }

    /// Takes note of what was sent of a room, if it is something else.
    fn note(&mut self, room: &OwnedRoomId, sent: Sent) {
        if self.sent(room) != Some(&sent) {
            self.changed.rooms.insert(room.clone(), Some(sent));
        }
    }

    /// A room that the client was sent is in none of its windows: it is told of it from here on, if it comes back.
    fn note_out(&mut self, room: &OwnedRoomId, live: LogPosition) {
        if let Some(sent) = self.sent(room).filter(|sent| !sent.is_behind()) {
            let mut sent = sent.clone();
            sent.leave(live);
            self.changed.rooms.insert(room.clone(), Some(sent));
        }
    }

    /// The same of all rooms that are in none.
    fn note_others(&mut self, scope: &Scope, live: LogPosition) {
        let sent = self.place.state.rooms.keys().chain(self.changed.rooms.keys());
        let others: Vec<_> = sent.filter(|room| !scope.has(room)).cloned().collect();
        others.iter().for_each(|room| self.note_out(room, live));
    }
}

/// The rooms of which there may be something new, by their numbers.
fn news(scope: &Scope, outline: &Outline) -> BTreeSet<usize> {
    scope.news(outline.windows.keys().chain(outline.own_data.of_rooms.keys()))
}

#[cfg(test)]
mod tests;
