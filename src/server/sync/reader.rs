//! One reader with one token: puts together what they have not seen yet.

use std::{collections::BTreeSet, sync::Arc};

use ruma::OwnedUserId;

use super::{Filter, Token, json::Writer};
use crate::{
    core::time::Instant,
    server::{
        app::App,
        http::{ApiResult, Session},
    },
};

/// What a reader is told in one go.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) app: &'a App,
    pub(super) session: &'a Session,
    pub(super) filter: &'a Filter,
    /// `None`: everything, for the first time.
    pub(super) since: Option<Token>,
    /// Up to where.
    pub(super) upto: Token,
    /// All state of all rooms, though the reader has it.
    pub(super) full_state: bool,
    pub(super) now: Instant,
}

/// The answer, and whether it has anything to tell.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    pub(super) has_news: bool,
}

impl Reader<'_> {
    /// Puts the answer together.
    pub(super) fn answer(mut self) -> ApiResult<Answer> {
        let mut out = Writer::object();
        let mut appeared = BTreeSet::new();
        let (global, of_rooms) = self.account_data()?;
        let mut has_news = self.write_account_data(&mut out, &global);
        has_news |= self.write_to_device(&mut out)?;
        has_news |= self.write_rooms(&mut out, &of_rooms, &mut appeared)?;
        has_news |= self.write_keys(&mut out, appeared.clone())?;
        has_news |= self.write_presence(&mut out, appeared);
        out.text("next_batch", &self.upto.to_string());
        Ok(Answer { body: out.finish(), has_news })
    }

    /// The position in the log from which on things are new; 0 for a first sync.
    pub(super) fn log_since(&self) -> u64 {
        self.since.map_or(0, |t| t.log)
    }

    /// The live position from which on things are new. What another run of the server handed out says
    /// nothing here: everything is told again.
    pub(super) fn live_since(&self) -> u64 {
        self.since.map(|t| t.live).filter(|live| self.app.live.knows(*live)).unwrap_or(0)
    }

    /// Those whose presence changed, and those of whom the reader sees the presence for the first time.
    /// A filter's limit is not applied here: a state that was left out would never be told.
    fn write_presence(&self, out: &mut Writer, mut appeared: BTreeSet<OwnedUserId>) -> bool {
        if !self.filter.any_presence() {
            return false;
        }
        let part = out.open("presence");
        let events = out.open_array("events");
        let me = &self.session.user;
        if self.filter.presence(me)
            && let Some(own) = self.app.presence.own_event(me, self.live_since(), self.now)
        {
            out.element_with(|out| own.write(out, self.now));
        }
        appeared.extend(self.app.contacts.appeared(me, self.live_since(), self.upto.live));
        let changed = self.app.presence.changed(self.live_since(), self.upto.live);
        let first_seen: Vec<_> = appeared
            .iter()
            .filter(|user| !changed.iter().any(|(c, _)| **c == ***user))
            .filter_map(|user| Some((Arc::new(user.clone()), self.app.presence.event(user)?)))
            .collect();
        let visible = changed
            .into_iter()
            .chain(first_seen)
            .filter(|(user, _)| **user != **me && self.filter.presence(user) && self.app.may_see(me, user));
        for (_, event) in visible {
            out.element_with(|out| event.write(out, self.now));
        }
        out.end(events);
        out.end(part)
    }

    /// Messages for the reader's device. When there are more than fit, the token says where to go on.
    fn write_to_device(&mut self, out: &mut Writer) -> ApiResult<bool> {
        let since = self.since.map_or(0, |t| t.to_device);
        let Session { user, device } = self.session;
        if !self.app.to_device.has_news(user, device, since) {
            return Ok(false);
        }
        let messages = self.app.store.to_device(user, device, since, self.upto.log)?;
        if messages.truncated {
            self.upto.to_device = messages.events.last().map_or(since, |(position, _)| *position);
        }
        let part = out.open("to_device");
        let events = out.open_array("events");
        for (_, event) in &messages.events {
            out.element(event);
        }
        out.end(events);
        Ok(out.end(part))
    }
}
