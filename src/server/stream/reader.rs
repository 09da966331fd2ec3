//! One reader with one token: puts together what they have not seen yet.

use super::{Filter, Token, encounters::Encounters};
use crate::{
    core::time::Instant,
    server::{
        api::error::ApiResult,
        app::App,
        change::position::{LivePosition, LogPosition},
        json::Writer,
        session::Session,
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
    pub(super) async fn answer(mut self) -> ApiResult<Answer> {
        let mut out = Writer::object();
        let mut encounters = Encounters::default();
        let (global, of_rooms) = self.account_data().await?;
        let mut has_news = self.write_account_data(&mut out, &global);
        has_news |= self.write_to_device(&mut out).await?;
        has_news |= self.write_rooms(&mut out, &of_rooms, &mut encounters).await?;
        has_news |= self.write_keys(&mut out, &encounters).await?;
        has_news |= self.write_presence(&mut out, encounters);
        out.text("next_batch", &self.upto.to_string());
        Ok(Answer { body: out.finish(), has_news })
    }

    /// The position in the log from which on things are new; 0 for a first sync.
    pub(super) fn log_since(&self) -> LogPosition {
        self.since.map_or(LogPosition::START, |t| t.log)
    }

    /// The live position from which on things are new. What another run of the server handed out says
    /// nothing here: everything is told again.
    pub(super) fn live_since(&self) -> LivePosition {
        self.since.map(|t| t.live).filter(|live| self.app.live.knows(*live)).unwrap_or_default()
    }

    /// Messages for the reader's device. When there are more than fit, the token says where to go on.
    async fn write_to_device(&mut self, out: &mut Writer) -> ApiResult<bool> {
        let since = self.since.map_or(LogPosition::START, |t| t.to_device);
        let Session { user, device } = self.session;
        if !self.app.inboxes.has_news(self.session, since) {
            return Ok(false);
        }
        let messages = self.app.store.to_device(user, device, since, self.upto.log).await?;
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
