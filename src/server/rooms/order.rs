//! Actions take effect in the order that their device asked for (M9).
//!
//! Each names the one before it in its room. It waits until that one is answered; if it does not come, until nothing
//! of that device and room was answered for [`GAP_WAIT`]. Source: instant-messaging.rst, "Action APIs".

use std::{sync::Arc, time::Duration};

use super::{
    lanes::{End, Full, Place},
    parts::Rooms,
    refusal::Refusal,
};
use crate::{
    core::time::Instant,
    server::{finish::finish, session::Session},
};

/// How long an action waits for those before it that do not come, once all that came is answered.
const GAP_WAIT: Duration = Duration::from_secs(2);

/// Where an action stands among those of its device in a room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Order {
    /// Its own ID.
    pub id: u64,
    /// The ID of the one before it, which is less; 0: it is the first; `None`: no order was asked for.
    pub after: Option<u64>,
    /// The bytes of the request, for what may wait in memory.
    pub bytes: usize,
}

impl Rooms {
    /// How many requests for actions wait for others.
    pub fn actions_waiting(&self) -> usize {
        self.lanes.waiting()
    }

    /// Does an action of the session's device in `room` in its turn. One that waits is done even if its client goes away.
    ///
    /// # Errors
    /// Those of `act`; [`Refusal::Crowded`] when there is no room to wait, [`Refusal::LoggedOut`] when the device was
    /// logged out meanwhile.
    pub async fn in_order<T: Send + 'static>(
        self: &Arc<Self>,
        session: &Session,
        room: &str,
        order: Option<Order>,
        act: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<T, Refusal> {
        let Some(Order { id, after, bytes }) = order else { return act.await };
        let Some(after) = after else {
            let outcome = act.await;
            self.lanes.handle_end(session, id, end_of(&outcome));
            return outcome;
        };
        let mut place =
            self.lanes.enter(session, room, (id, after), bytes).map_err(|Full| Refusal::Crowded(GAP_WAIT))?;
        let (rooms, session, arrived) = (Arc::clone(self), session.clone(), self.clock.now());
        finish(async move {
            if !place.goes() {
                // What was done is known by its ID, before a restart too.
                if rooms.store.is_action_done(&session, id).await? {
                    drop(place);
                    return act.await;
                }
                if rooms.store.is_action_done(&session, after).await? {
                    place.handle_done_before();
                }
                rooms.wait_for_turn(&mut place, arrived).await;
                if session.has_device() && rooms.store.device(&session.user, &session.device).await?.is_none()
                {
                    return Err(Refusal::LoggedOut);
                }
            }
            let outcome = act.await;
            place.end(end_of(&outcome), rooms.clock.now());
            outcome
        })
        .await
    }

    /// Waits until the action goes; for what is missing before it no longer than [`GAP_WAIT`] without any progress.
    async fn wait_for_turn(&self, place: &mut Place, arrived: Instant) {
        loop {
            let begun = place.progressed_at().map_or(arrived, |progressed| progressed.max(arrived));
            let deadline = begun + GAP_WAIT;
            if self.clock.now() >= deadline {
                place.handle_timeout();
                return place.wait().await;
            }
            tokio::select! {
                () = place.wait() => return,
                () = self.clock.sleep_until(deadline) => {}
            }
        }
    }
}

/// Whether an answer is the last word on an action, or it may be sent again and do better.
fn end_of<T>(outcome: &Result<T, Refusal>) -> End {
    match outcome {
        Ok(_) => End::Done,
        Err(Refusal::Store(_) | Refusal::Internal(_) | Refusal::Crowded(_) | Refusal::LoggedOut) => End::Open,
        Err(_) => End::Refused,
    }
}
