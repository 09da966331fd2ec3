//! Tells the gateway of one pusher what it has not been told.

use std::{sync::Arc, time::Duration};

use super::{
    gateways::Outcome,
    notification::Device,
    shared::{Known, OfUser, Shared},
};
use crate::server::{
    change::position::LogPosition,
    store::Pusher,
    stream::{
        Refusal,
        notices::{self, Notice},
    },
};

/// How long a gateway is tried for one event; what happened until then is told to nobody.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Events that wait for a gateway: of more, the newest.
const MAX_WAITING: usize = 100;

/// Changes after which it is written down that there was nothing to tell.
const NOTED_EVERY: u64 = 500;

/// One courier's way.
#[derive(Debug)]
pub(super) struct Courier {
    shared: Arc<Shared>,
    of_user: Arc<OfUser>,
    pusher: Pusher,
    device: Device,
    known: Known,
    /// Up to where it is on the disk that everything was told.
    noted: LogPosition,
}

impl Courier {
    pub(super) fn new(shared: Arc<Shared>, of_user: Arc<OfUser>, pusher: Pusher, device: Device) -> Self {
        let mut known = of_user.known.lock().get(&pusher.id).copied().unwrap_or_default();
        known.told = known.told.max(pusher.told);
        let noted = pusher.told;
        Self { shared, of_user, pusher, device, known, noted }
    }

    /// Tells everything there is; answers the pusher's number.
    pub(super) async fn run(mut self) -> i64 {
        if let Err(refusal) = self.tell_all().await {
            tracing::warn!(?refusal, "what is to be pushed cannot be read");
        }
        self.of_user.known.lock().insert(self.pusher.id, self.known);
        self.pusher.id
    }

    async fn tell_all(&mut self) -> Result<(), Refusal> {
        let shared = Arc::clone(&self.shared);
        let parts = shared.sources.parts();
        let reads = self.of_user.reads.lock().count;
        let upto = parts.store.log_position();
        let notices = notices::between(parts, &self.pusher.user, (self.known.told, upto)).await?;
        let left_out = notices.len().saturating_sub(MAX_WAITING);
        for notice in notices.into_iter().skip(left_out).filter(|notice| !notice.is_read) {
            match self.tell(&notice).await? {
                Told::Yes | Told::NotNeeded => {}
                Told::GivenUp => break,
                Told::Over => return Ok(()),
            }
        }
        self.known.told = self.known.told.max(upto);
        if self.known.told.get().saturating_sub(self.noted.get()) > NOTED_EVERY {
            parts.store.note_pushed_later(self.pusher.id, self.known.told);
        }
        // How much is unread stands with each event; that it is less is told by itself.
        if self.known.reads != reads {
            self.tell_badge().await?;
        }
        Ok(())
    }

    /// Tells of one event until the gateway takes it.
    async fn tell(&mut self, notice: &Notice) -> Result<Told, Refusal> {
        let shared = Arc::clone(&self.shared);
        let (parts, user) = (shared.sources.parts(), self.pusher.user.clone());
        let begun = parts.clock.now();
        loop {
            let turn = shared.gateways.turn(&self.device.url, self.pusher.id).await;
            if notices::is_settled(parts, &user, &notice.event).await? {
                self.known.told = notice.event.position;
                return Ok(Told::NotNeeded);
            }
            if parts.clock.now().since(begun) > PATIENCE {
                return Ok(Told::GivenUp);
            }
            let (unread, reads) = self.unread().await?;
            let body = self.device.event(parts, &user, notice, unread).await?;
            let Some(sending) = shared.begin() else { return Ok(Told::Over) };
            match shared.gateways.tell(turn, &self.device.url, self.device.pushkey(), body).await {
                Outcome::Taken => {
                    self.known = Known { told: notice.event.position, reads, unread: Some(unread) };
                    parts.store.note_pushed(self.pusher.id, self.known.told).await?;
                    self.noted = self.known.told;
                    return Ok(Told::Yes);
                }
                Outcome::Rejected => {
                    self.end_pusher().await?;
                    return Ok(Told::Over);
                }
                Outcome::Refused | Outcome::Silent => drop(sending),
            }
        }
    }

    /// Tells how much is unread, if that is news. When the gateway does not take it, the next event says it.
    async fn tell_badge(&mut self) -> Result<(), Refusal> {
        let shared = Arc::clone(&self.shared);
        let (unread, reads) = self.unread().await?;
        self.known.reads = reads;
        if self.known.unread == Some(unread) {
            return Ok(());
        }
        let turn = shared.gateways.turn(&self.device.url, self.pusher.id).await;
        let Some(_sending) = shared.begin() else { return Ok(()) };
        let body = self.device.badge(unread);
        match shared.gateways.tell(turn, &self.device.url, self.device.pushkey(), body).await {
            Outcome::Rejected => self.end_pusher().await?,
            Outcome::Taken => self.known.unread = Some(unread),
            Outcome::Refused | Outcome::Silent => {}
        }
        Ok(())
    }

    /// How much is unread, and how often the user had read when that was counted.
    async fn unread(&self) -> Result<(u64, u64), Refusal> {
        let mut badge = self.of_user.badge.lock().await;
        let (read, count) = {
            let mut reads = self.of_user.reads.lock();
            (std::mem::take(&mut reads.rooms), reads.count)
        };
        let upto = self.shared.sources.parts().store.log_position();
        let unread = badge.count(&self.shared.sources, &self.pusher.user, upto, read).await?;
        Ok((unread, count))
    }

    async fn end_pusher(&self) -> Result<(), Refusal> {
        let Pusher { user, app_id, pushkey, .. } = self.pusher.clone();
        tracing::debug!(%app_id, "a push gateway rejects a pushkey: its pusher ends");
        Ok(self.shared.sources.parts().store.remove_pusher(user, app_id, pushkey).await?)
    }
}

/// What became of one event.
enum Told {
    /// The gateway took it.
    Yes,
    /// The user has read it meanwhile.
    NotNeeded,
    /// The gateway did not take it for too long.
    GivenUp,
    /// The pusher is gone, or the server stops.
    Over,
}
