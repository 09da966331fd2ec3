//! The long poll: answers at once when there is news, else waits for some.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{sync::Notify, time::Instant};

use super::{
    Filter, Token,
    reader::{Answer, Reader},
    reading::Reading,
};
use crate::{
    core::presence::{DeviceType, SetPresence},
    server::{
        api::error::{ApiError, ApiResult},
        app::App,
        session::Session,
    },
};

/// The longest that a poll waits, whatever the client asks for.
const MAX_WAIT: Duration = Duration::from_secs(120);

/// A request to be told what is new.
#[derive(Debug)]
pub struct Poll {
    /// Where the client is; `None`: at the very beginning.
    pub since: Option<Token>,
    /// What it wants to know of.
    pub filter: Arc<Filter>,
    /// All state of all rooms, though it has it.
    pub full_state: bool,
    /// How long to wait for news at most.
    pub timeout: Duration,
    /// What the device says of itself; `None`: it does not count as connected.
    pub set_presence: Option<SetPresence>,
    /// What kind of device it is, if it says so.
    pub device_type: Option<DeviceType>,
}

impl Poll {
    /// Answers with what is new as soon as there is something; when there is nothing in time, with
    /// where to go on.
    ///
    /// # Errors
    /// 500 when the store fails; 401 when the device is logged out while it waits.
    pub async fn answer(self, app: &Arc<App>, session: &Session) -> ApiResult<Vec<u8>> {
        let deadline = Instant::now() + self.timeout.min(MAX_WAIT);
        let wants = self.filter.any_presence() && app.presence.deliveries.is_on(session);
        let reading = wants.then(|| Reading::begin(app.federation.as_deref(), &session.user));
        let connected = match self.set_presence {
            Some(says) => Some(app.presence.connect(session, says, self.device_type).await?),
            None => None,
        };
        self.acknowledge(app, session).await?;
        let notify = app.wakers.listen(&session.user);
        let sessions_ended = app.accounts.sessions_ended();
        let answer = loop {
            let news = self.look_or_wait(app, session, &notify, deadline).await?;
            if let Some(body) = news {
                break body;
            }
            if app.accounts.sessions_ended() != sessions_ended
                && app.store.device(&session.user, &session.device).await?.is_none()
            {
                return Err(ApiError::unknown_token("this device was logged out").with("soft_logout", false));
            }
        };
        drop((connected, reading));
        Ok(answer)
    }

    /// One look; when there is nothing new, waits until there may be. `None`: look again.
    async fn look_or_wait(
        &self,
        app: &App,
        session: &Session,
        notify: &Notify,
        deadline: Instant,
    ) -> ApiResult<Option<Vec<u8>>> {
        // Registered before the look: what happens in between still wakes.
        let mut woken = pin!(notify.notified());
        woken.as_mut().enable();
        // Boxed: what it takes to look is not kept while the poll waits.
        let answer = Box::pin(self.look(app, session)).await?;
        let is_last_look = Instant::now() >= deadline || app.wakers.is_closed();
        if answer.has_news || self.since.is_none() || self.full_state || is_last_look {
            return Ok(Some(answer.body));
        }
        drop(answer);
        let _waiting = app.metrics.open_polls.enter();
        tokio::select! {
            () = woken => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
        Ok(None)
    }

    async fn look(&self, app: &App, session: &Session) -> ApiResult<Answer> {
        // Where the reader will be is read before what they are told: later things come with the next.
        let log = app.store.log_position();
        let upto = Token { log, live: app.live.position(), to_device: log };
        // A position that the log has not reached is from another database: everything is new.
        let since = self.since.filter(|since| since.log <= log);
        Reader {
            app,
            session,
            filter: &self.filter,
            since,
            upto,
            full_state: self.full_state,
            now: app.now(),
        }
        .answer()
        .await
    }

    /// What the device was told up to its token it has: its messages need not be kept any longer.
    async fn acknowledge(&self, app: &App, session: &Session) -> ApiResult<()> {
        if let Some(since) = self.since {
            app.inboxes.acknowledge(&session.user, &session.device, since.to_device).await?;
        }
        Ok(())
    }
}
