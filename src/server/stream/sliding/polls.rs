//! Waiting on a connection: a request is answered as soon as there is something new, else when its time has come.

use std::{pin::pin, sync::Arc};

use axum::body::Body;
use tokio::sync::Notify;

use super::{
    connections::{Changed, UnknownPos},
    looks::{Looked, Looks},
    request::{Request, ToDevice},
};
use crate::{
    core::time::Instant,
    server::{
        session::Session,
        stream::{entered::Entered, listener::Listener, refusal::Refusal, sources::Sources, wait::MAX_WAIT},
    },
};

const NONE_ENTERED: &Vec<Entered> = &Vec::new();

/// Answers a request on one of the device's connections.
///
/// # Errors
/// [`Refusal::UnknownPos`] when the connection does not go on from where the request says; [`Refusal::Store`],
/// [`Refusal::NoRoom`]; [`Refusal::LoggedOut`] when the device is logged out while it waits.
pub async fn answer(request: &Request, sources: &Sources, session: &Session) -> Result<Body, Refusal> {
    let parts = sources.parts();
    let sliding = &*parts.sliding;
    let log = parts.store.log_position();
    let place = sliding.connections.begin(session, &request.conn_id, request.pos.as_ref(), log);
    let place = place.map_err(|UnknownPos| Refusal::UnknownPos)?;
    let deadline = parts.clock.now() + request.timeout.min(MAX_WAIT);
    if let Some(ToDevice { since: Some(since), .. }) = request.extensions.to_device
        && since <= log
    {
        Box::pin(parts.inboxes.acknowledge(&session.user, &session.device, since)).await?;
    }
    let tells_presence = !request.extensions.presence.is_empty();
    let filter = if tells_presence { &sliding.with_presence } else { &sliding.without_presence };
    let says = request.set_presence.map(|says| (says, request.device_type));
    let listener = Listener::begin(sources, session, (filter, NONE_ENTERED), says).await?;
    let wakes = parts.wakers.listen(&session.user);
    let looks = Looks {
        listener: &listener,
        request,
        known: &sliding.known,
        marks: &sliding.marks,
        place: &place,
        token: place.state.token.clone(),
        changed: Changed::default(),
    };
    let mut waiting = Waiting { looks, wakes, deadline };
    let looked = waiting.news().await?;
    let looked = match parts.in_flight.answered(session) {
        None => looked,
        Some(answered) => {
            let looked = Box::new(looked);
            answered.await;
            *looked
        }
    };
    let Looked { token, written: mut out, sheet, .. } = looked;
    let changed = waiting.looks.changed;
    let pos = sliding.connections.answered(session, &request.conn_id, &place, (token, changed));
    out.plain("pos", &pos.ok_or(Refusal::UnknownPos)?);
    Ok(match sheet {
        Some(sheet) => sheet.body(out)?,
        None => parts.answers.body(session.user.as_str(), out.finish())?,
    })
}

/// A request that waits.
struct Waiting<'a> {
    looks: Looks<'a>,
    wakes: Arc<Notify>,
    deadline: Instant,
}

impl Waiting<'_> {
    /// What is new: as soon as there is something, and at the deadline whatever there is.
    async fn news(&mut self) -> Result<Looked, Refusal> {
        loop {
            if let Some(looked) = self.look_or_wait().await? {
                return Ok(looked);
            }
            self.looks.listener.check_logged_in().await?;
        }
    }

    /// One look; when there is nothing new, waits until there may be. `None`: look again, from where this look ended.
    async fn look_or_wait(&mut self) -> Result<Option<Looked>, Refusal> {
        let Self { looks, wakes, deadline } = self;
        let parts = looks.listener.parts();
        // Registered before the look: what happens in between still wakes.
        let mut woken = pin!(wakes.notified());
        woken.as_mut().enable();
        // Boxed, and gone before the waiting begins: what it takes to look is not kept meanwhile.
        let looked = Box::pin(looks.look()).await?;
        if looked.has_news || parts.clock.now() >= *deadline || parts.wakers.is_closed() {
            return Ok(Some(looked));
        }
        looks.token = Some(looked.token);
        drop((looked.written, looked.sheet));
        let _waiting = parts.metrics.open_polls.enter();
        tokio::select! {
            () = woken => {}
            () = parts.clock.sleep_until(*deadline) => {}
        }
        Ok(None)
    }
}
