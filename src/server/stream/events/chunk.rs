//! The answer of `/events`.

use std::collections::BTreeSet;

use ruma::OwnedRoomId;

use super::{page::Page, scope::Scope};
use crate::server::{
    answers::{NoRoom, Sheet},
    event::{
        client::Beside,
        stored::{Membership, StoredEvent},
    },
    json::{Writer, append_string},
    rooms::receipts,
    sight::rooms::Encounters,
    store::{AccountData, Receipt},
    stream::{
        account_data,
        behind::PresenceLook,
        encounters::Counted,
        ephemeral,
        look::{Look, Stretch},
        old_form::{append_presence, append_unknown},
        presence,
        reader::Reader,
        refusal::Refusal,
        sync::{Form, append_account_data, append_event},
        token::{PageToken, Token},
    },
};

/// What was written.
#[derive(Debug)]
pub(super) struct Written {
    /// Whether anything is told, or there is more of it.
    pub(super) has_news: bool,
    /// Up to where it goes.
    pub(super) upto: Token,
    pub(super) out: Writer,
}

/// An answer under way.
struct Chunk<'a> {
    out: Writer,
    sheet: Option<&'a mut Sheet>,
    form: Form<'a>,
    told: usize,
}

/// Writes what is told to a reader who was told everything up to `since`: the events of a page, and what goes with them.
/// It may be long: with a `sheet`, others have their turns meanwhile.
pub(super) async fn write(
    reader: Reader<'_>,
    scope: &Scope,
    (since, start): (&Token, &Token),
    page: Page,
    form: Form<'_>,
    sheet: Option<&mut Sheet>,
) -> Result<Written, Refusal> {
    let is_last = page.is_last(&reader);
    let look = look_up_to(&reader.look, since, &page, is_last);
    let reader = Reader { look, ..reader };
    let mut chunk = Chunk { out: Writer::object(), sheet, form, told: 0 };
    let list = chunk.out.open_array("chunk");
    chunk.events(&reader, page).await?;
    if *scope == Scope::Everything {
        chunk.presence(&reader).await?;
    }
    match scope {
        // What is not an event of the room is for those who are in it.
        Scope::Peek(_) => {}
        Scope::Everything | Scope::Room(_) => chunk.beside(&reader, scope).await?,
    }
    let Chunk { mut out, told, .. } = chunk;
    out.end_even_if_empty(list);
    // What is told of live things only at the end is new until then.
    let live = if is_last { reader.look.live.upto } else { since.live() };
    let upto = Token::new(reader.look.log.upto, live)
        .with_to_device(since.to_device())
        .with_presence(reader.look.presence.behind);
    out.plain("start", start);
    out.plain("end", &upto);
    Ok(Written { has_news: told > 0 || !is_last, upto, out })
}

/// The look as far as the page goes: what has no place in the log is told with the last page.
fn look_up_to<'a>(look: &Look<'a>, since: &Token, page: &Page, is_last: bool) -> Look<'a> {
    let mut look = Look { log: Stretch { upto: page.upto, ..look.log }, ..look.clone() };
    if !is_last {
        look.live.upto = look.live.since;
        look.presence = PresenceLook::later(since);
    }
    look
}

impl Chunk<'_> {
    async fn events(&mut self, reader: &Reader<'_>, page: Page) -> Result<(), Refusal> {
        for event in &page.events {
            let beside = Beside::default();
            match event.membership().filter(|(user, _)| *user == reader.look.session.user) {
                Some((_, membership)) => {
                    let row =
                        reader.parts.store.membership(&reader.look.session.user, &event.room_id).await?;
                    let state =
                        row.and_then(|row| row.invite_state).and_then(|s| serde_json::from_str(&s).ok());
                    let state: Option<Box<serde_json::value::RawValue>> = state;
                    let room_state = state.as_deref().map(|state| (membership, state));
                    self.event(event, Beside { room_state, ..beside });
                    let comes_in =
                        membership == Membership::Join && event.membership_before() != Some(Membership::Join);
                    if comes_in && reader.look.filter.joined_events() {
                        self.beginning(event);
                    }
                }
                None => self.event(event, beside),
            }
        }
        for late in &page.late {
            self.event(&late.event, Beside { after: Some(late.after.as_deref()), ..Beside::default() });
        }
        drop(page);
        self.take().await?;
        Ok(())
    }

    fn event(&mut self, event: &StoredEvent, beside: Beside<'_>) {
        let form = self.form;
        self.told += 1;
        self.out.element_with(|out| append_event(out, event, form, beside));
    }

    /// From where to scroll back in a room that the reader came into (M7).
    fn beginning(&mut self, own: &StoredEvent) {
        let event = self.out.open_element();
        self.out.text("type", "org.pilotlight.joined");
        self.out.text("room_id", own.room_id.as_str());
        let content = self.out.open("content");
        self.out.plain("prev_batch", &PageToken(own.timeline.before()));
        self.out.end_even_if_empty(content);
        self.out.end_even_if_empty(event);
    }

    async fn presence(&mut self, reader: &Reader<'_>) -> Result<(), Refusal> {
        let look = &reader.look;
        if look.presence.from.is_none() {
            return Ok(());
        }
        let mut encounters = Encounters::default();
        reader.note_encounters(look, Counted::Lasting, &mut encounters).await?;
        if let Some(earlier) = look.presence.from.and_then(|from| from.log) {
            reader.note_since(earlier, &mut encounters).await?;
        }
        let news = presence::presence(reader.sources, &reader.parts.sight, look, &encounters);
        reader.parts.metrics.presence_delivered.add(news.len());
        self.told += news.len();
        let (me, now) = (&look.session.user, self.form.now);
        if let Some(event) = &news.own {
            self.out.element_with(|out| append_presence(out, me, event, now));
        }
        for (user, event) in &news.seen {
            self.out.element_with(|out| append_presence(out, user, event, now));
            self.put()?;
        }
        for user in &news.unknown {
            self.out.element_with(|out| append_unknown(out, user));
        }
        Ok(())
    }

    /// Who types and has read, and what the user keeps: for each room, and for all.
    async fn beside(&mut self, reader: &Reader<'_>, scope: &Scope) -> Result<(), Refusal> {
        let (look, parts) = (&reader.look, reader.parts);
        let mut own_data = account_data::changed(look, &parts.own_data, &parts.store).await?;
        let (typing, receipts) = (&parts.typing, &parts.receipts);
        let rooms = ephemeral::rooms_with_news(look, typing, receipts, &parts.members);
        let rooms: BTreeSet<OwnedRoomId> = rooms.into_iter().collect();
        let in_scope = |room: &OwnedRoomId| scope.has(room) && look.filter.room(room);
        for room in rooms.into_iter().filter(|room| in_scope(room)) {
            if let Some(users) = ephemeral::who_types(look, typing, &room, false) {
                self.typing(&room, &users);
            }
            let read = ephemeral::who_has_read(look, receipts, &parts.store, &room, look.log.since).await?;
            if !read.is_empty() {
                self.receipts(&room, &read);
            }
            self.take().await?;
        }
        for (room, data) in std::mem::take(&mut own_data.of_rooms).into_iter().filter(|(r, _)| in_scope(r)) {
            for data in data.iter().filter(|data| look.filter.room_account_data(&room, &data.kind)) {
                self.own_data(Some(&room), data);
            }
        }
        if *scope == Scope::Everything {
            for data in &account_data::global(look, own_data.global).changed {
                self.own_data(None, data);
            }
        }
        self.take().await?;
        Ok(())
    }

    fn typing(&mut self, room: &OwnedRoomId, users: &[ruma::OwnedUserId]) {
        self.told += 1;
        let event = self.out.open_element();
        self.out.text("type", "m.typing");
        self.out.text("room_id", room.as_str());
        let content = self.out.open("content");
        let list = self.out.open_array("user_ids");
        for user in users {
            self.out.string_element(user.as_str());
        }
        self.out.end_even_if_empty(list);
        self.out.end_even_if_empty(content);
        self.out.end_even_if_empty(event);
    }

    fn receipts(&mut self, room: &OwnedRoomId, read: &[Receipt]) {
        self.told += 1;
        self.out.element_with(|out| receipts::append_in_room(out, room, read));
    }

    fn own_data(&mut self, room: Option<&OwnedRoomId>, data: &AccountData) {
        self.told += 1;
        self.out.element_with(|out| match room {
            Some(room) => {
                append_account_data(out, data);
                // Within the object, which ends here.
                out.pop();
                out.extend_from_slice(br#","room_id":"#);
                append_string(out, room.as_str());
                out.push(b'}');
            }
            None => append_account_data(out, data),
        });
    }

    /// Hands over what is written and goes on: there is much in memory beside it.
    fn put(&mut self) -> Result<(), NoRoom> {
        match &mut self.sheet {
            Some(sheet) => sheet.put(&mut self.out),
            None => Ok(()),
        }
    }

    async fn take(&mut self) -> Result<(), NoRoom> {
        match &mut self.sheet {
            Some(sheet) => sheet.take(&mut self.out).await,
            None => Ok(()),
        }
    }
}
