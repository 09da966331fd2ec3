//! What a connection is told of a room that the user is not in: that they are invited to, knock at, or left.

use super::{
    news::RoomNews,
    rooms::{After, Case, Teller},
    state::{self, Changes},
};
use crate::server::{
    change::position::{LogPosition, TimelinePosition},
    event::stored::Membership,
    stream::{
        look::Stretch,
        news::{StrippedRoom, UnreadCounts},
        refusal::Refusal,
    },
};

impl Teller<'_> {
    /// A room that the reader is invited to, or knocks at.
    pub(super) async fn on_the_way(
        &self,
        case: Case<'_>,
        is: Membership,
    ) -> Result<(Option<RoomNews>, After), Refusal> {
        let Case { room, sent, passage, scoped, .. } = case;
        let was = sent.filter(|sent| sent.is == is && sent.since >= passage.position);
        let after = self.after(case, is, (passage.position, UnreadCounts::default()));
        if was.is_some_and(|sent| sent.is_dm == scoped.is_dm) {
            return Ok((None, After::Sent(Box::new(after))));
        }
        let mut news = RoomNews::of(is, was.is_none());
        if was.is_none() {
            let stripped = self.reader.stripped(room.to_owned()).await?;
            if is == Membership::Invite
                && stripped.own.as_ref().is_some_and(|own| self.reader.look.ignores(&own.sender))
            {
                return Ok((None, After::Same));
            }
            news.stripped = Some(stripped);
            news.bump = Some(passage.position);
        }
        news.is_dm = Self::is_dm(was, scoped.is_dm);
        Ok((Some(news), After::Sent(Box::new(after))))
    }

    /// A room that the reader is no longer in: what happened up to that.
    pub(super) async fn left(
        &self,
        case: Case<'_>,
        is: Membership,
    ) -> Result<(Option<RoomNews>, After), Refusal> {
        let Case { room, scoped, sent, passage, log, .. } = case;
        let (store, user) = (&self.reader.parts.store, &*self.reader.look.session.user);
        let until = TimelinePosition::live(passage.position);
        let own = store.state_event_at(room, "m.room.member", user.as_str(), until).await?;
        let after = match own.as_ref().is_some_and(|own| own.sender == *user) {
            // Who leaves knows it: the room is told once, and is on no list any longer.
            true => After::Gone,
            false => {
                let after = self.after(case, is, (passage.position, UnreadCounts::default()));
                After::Sent(Box::new(after))
            }
        };
        if sent.is_some_and(|sent| sent.is == is && sent.since >= passage.position) {
            return Ok((None, after));
        }
        let past = store.past(user, room, until).await?;
        let ended = past.and_then(|past| past.last_ended);
        let before = sent.filter(|sent| sent.is == Membership::Join && passage.was_there());
        let mut news = RoomNews::of(is, before.is_none());
        news.tells_membership = true;
        news.bump = Some(passage.position);
        news.is_dm = Self::is_dm(before, scoped.is_dm);
        let since = if before.is_some() { log.since } else { LogPosition::START };
        let mut found = self.timeline(case, None, Stretch { since, upto: passage.position }, true).await?;
        // What became of the reader after their stay does not show them the room again.
        let upto = ended.unwrap_or(passage.position);
        let required = &scoped.config.required;
        match (ended, before) {
            (None, _) => {
                // Who never was in it sees of it what became of themselves.
                found.events.retain(|event| event.is_state("m.room.member", user.as_str()));
                found.limited = false;
                news.state
                    .events
                    .extend(own.clone().filter(|_| required.wants("m.room.member", user.as_str())));
                let stripped = StrippedRoom { room: room.to_owned(), state: Vec::new(), own };
                news.stripped = Some(stripped);
            }
            (Some(_), None) => {
                news.state = state::whole_at(store, upto, required).await?;
                self.add_name_at(room, upto, &mut news, (true, true)).await?;
            }
            (Some(_), Some(_)) => {
                let changes = Changes::between(store, room, Stretch { since, upto }, required).await?;
                let renamed = self.renamed(room, &changes, upto).await?;
                self.add_name_at(room, upto, &mut news, renamed).await?;
                news.state = changes.state;
            }
        }
        if ended.is_some() {
            self.add_members(case, before, &found, (&mut news, upto)).await?;
        }
        let is_new = before.is_none() || found.limited;
        self.add_timeline(case, is_new, found, &mut news).await?;
        Ok((Some(news), after))
    }
}
