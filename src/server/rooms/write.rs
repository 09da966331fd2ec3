//! The one way in which rooms change: an act is judged, queued, and judged again if it was overtaken.

use std::sync::Arc;

use ruma::{OwnedRoomId, OwnedTransactionId, OwnedUserId};

use super::{
    content,
    parts::Rooms,
    proposal::{Author, Proposal, Proposed},
    refusal::Refusal,
    turns::{InFlight, Turn},
};
use crate::server::{
    finish::finish,
    session::Session,
    store::{NotCommitted, Once, Placed, RoomCommit},
};

/// How often an act is judged at most. Once more is needed only when somebody else changed what it rests upon in the
/// few ms until it was written, or when an act before it failed.
pub(super) const ATTEMPTS: u32 = 32;

/// How often others may overtake an act; then they let it pass.
const PATIENCE: u32 = 4;

/// Something that somebody does in rooms. It changes at most one room that others know of, whose turn it is; rooms
/// that it makes nobody knows yet, and what it reads of others is assumed: so acts wait for one turn only, and never
/// for each other.
pub(super) trait Act: Send + Sync + 'static {
    /// What it answers.
    type Answer: Send + 'static;

    /// The room whose turn it must be.
    fn room(&self) -> Option<OwnedRoomId>;

    /// Proposes what it changes. Called again when it was overtaken.
    fn carry_out(
        &self,
        proposal: &mut Proposal<'_>,
    ) -> impl Future<Output = Result<Self::Answer, Refusal>> + Send;
}

/// Who acts, and under which ID of theirs (M9).
#[derive(Clone, Debug)]
pub struct Actor {
    session: Session,
    action: Option<OwnedTransactionId>,
    sent_ms: Option<u64>,
}

impl Actor {
    /// Somebody whose action is done once if it has an ID.
    pub fn new(session: &Session, action: Option<OwnedTransactionId>) -> Self {
        Self { session: session.clone(), action, sent_ms: None }
    }

    /// The same, whose events say that they were sent at this time (Unix, ms).
    #[must_use]
    pub fn at(self, sent_ms: Option<u64>) -> Self {
        Self { sent_ms, ..self }
    }

    /// Whose events are sent, and when they say so.
    pub(super) fn sender(&self) -> Sender {
        Sender { user: self.session.user.clone(), sent_ms: self.sent_ms }
    }

    /// Whose session it is.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What is done once; `endpoint` is the kind of request and what tells it from others of the kind.
    fn once(&self, endpoint: String) -> Option<Once> {
        let transaction = self.action.clone()?;
        let (user, device) = (self.session.user.clone(), self.session.device.clone());
        Some(Once { user, device, endpoint, transaction })
    }
}

/// Who sends events, and when they say that they were sent, if that is not when they are.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    user: OwnedUserId,
    sent_ms: Option<u64>,
}

impl From<OwnedUserId> for Sender {
    fn from(user: OwnedUserId) -> Self {
        Self { user, sent_ms: None }
    }
}

impl From<&Session> for Actor {
    fn from(session: &Session) -> Self {
        Self::new(session, None)
    }
}

/// What an act came to.
#[derive(Debug)]
pub(super) enum Performed<T> {
    /// It was done, and these events got their place.
    Done(T, Vec<Placed>),
    /// It was done before, and is answered with this event.
    DoneBefore(Placed),
}

impl Rooms {
    /// Does `act` as the session's user; resolves when it is on the disk and memory has followed. Once begun it is
    /// brought to its end even if the caller goes away.
    ///
    /// # Errors
    /// What the act refuses; nothing was changed then.
    pub(super) async fn perform<A: Act>(
        self: &Arc<Self>,
        session: &Session,
        act: A,
    ) -> Result<A::Answer, Refusal> {
        let sender = session.user.clone();
        match self.perform_once(sender, None, act).await? {
            Performed::Done(answer, _) => Ok(answer),
            Performed::DoneBefore(_) => {
                Err(Refusal::Internal("an act without a transaction was repeated".into()))
            }
        }
    }

    /// The same for an action that may have an ID, and is done once then; see [`Actor::once`].
    pub(super) async fn perform_action<A: Act>(
        self: &Arc<Self>,
        actor: &Actor,
        endpoint: String,
        act: A,
    ) -> Result<Performed<A::Answer>, Refusal> {
        if let Some(action) = &actor.action {
            content::check_length("the action ID", action.as_str())?;
        }
        self.perform_once(actor.sender(), actor.once(endpoint), act).await
    }

    /// The room of the event that an action was answered with when it was done.
    pub(super) async fn room_of_done(
        &self,
        actor: &Actor,
        endpoint: &str,
    ) -> Result<Option<OwnedRoomId>, Refusal> {
        let Some(once) = actor.once(endpoint.to_owned()) else { return Ok(None) };
        match self.store.done_before(&once).await? {
            Some(placed) => self.room_of(&placed).await.map(Some),
            None => Ok(None),
        }
    }

    /// The room of an event.
    pub(super) async fn room_of(&self, placed: &Placed) -> Result<OwnedRoomId, Refusal> {
        let event = self.store.event(&placed.event_id).await?;
        let event = event.ok_or_else(|| Refusal::Internal("an action was answered with no event".into()))?;
        Ok(event.room_id.clone())
    }

    /// The same for a request that is done once, however often it is sent.
    pub(super) async fn perform_once<A: Act>(
        self: &Arc<Self>,
        sender: impl Into<Sender>,
        once: Option<Once>,
        act: A,
    ) -> Result<Performed<A::Answer>, Refusal> {
        let (rooms, Sender { user: sender, sent_ms }) = (Arc::clone(self), sender.into());
        finish(async move {
            for attempt in 0..ATTEMPTS {
                let author = Author { sender: sender.clone(), now_ms: 0, sent_ms, once: once.clone() };
                let performed = if attempt < PATIENCE {
                    let _beside = rooms.passing.read().await;
                    rooms.attempt(author, attempt, &act).await?
                } else {
                    let _alone = rooms.passing.write().await;
                    rooms.attempt(author, attempt, &act).await?
                };
                if let Some(performed) = performed {
                    return Ok(performed);
                }
            }
            Err(Refusal::Internal(format!("overtaken by others {ATTEMPTS} times")))
        })
        .await
    }

    /// `None`: it was overtaken.
    async fn attempt<A: Act>(
        &self,
        author: Author,
        attempt: u32,
        act: &A,
    ) -> Result<Option<Performed<A::Answer>>, Refusal> {
        let turn = match act.room() {
            Some(room) => Some(self.turns.wait(&room).await),
            None => None,
        };
        // The time is that of one's turn: events of a room are as late as they are deep.
        let mut now_ms = self.clock.unix_ms();
        if turn.is_none() {
            // A room may be named by the hash of its first event: of two that one user makes alike in a millisecond, the
            // second is of the next.
            now_ms += u64::from(attempt);
        }
        let author = Author { now_ms, ..author };
        if let Some(once) = &author.once {
            if let Some(placed) = self.store.done_before(once).await? {
                return Ok(Some(Performed::DoneBefore(placed)));
            }
            if turn.as_ref().is_some_and(|turn| turn.is_in_flight(once)) {
                let asked = RoomCommit { once: author.once, ..RoomCommit::default() };
                return match self.commit(asked, None, turn).await? {
                    Committed::Done(_) | Committed::Stale => Ok(None),
                    Committed::DoneBefore(placed) => Ok(Some(Performed::DoneBefore(placed))),
                };
            }
        }
        let mut proposal = Proposal::new(self, author, turn.as_ref());
        let outcome = act.carry_out(&mut proposal).await;
        let Proposed { mut commit, rests_on_others, coming: _until_it_is_written, outcome: of_room } =
            proposal.finish();
        let answer = match outcome {
            Ok(answer) if !commit.changes.is_empty() || commit.stands.is_some() => answer,
            Err(failed @ (Refusal::Store(_) | Refusal::Internal(_))) => return Err(failed),
            unchanged if !rests_on_others => {
                return unchanged.map(|answer| Some(Performed::Done(answer, Vec::new())));
            }
            unchanged => {
                // It was answered because of something that is on its way to the disk: it stands when that is there.
                commit = RoomCommit { assumptions: commit.assumptions, ..RoomCommit::default() };
                return match self.commit(commit, None, turn).await? {
                    Committed::Done(_) => unchanged.map(|answer| Some(Performed::Done(answer, Vec::new()))),
                    Committed::DoneBefore(_) | Committed::Stale => Ok(None),
                };
            }
        };
        let in_flight = turn
            .as_ref()
            .zip(of_room)
            .map(|(turn, (head, state))| turn.queued(head, state, commit.once.clone()));
        match self.commit(commit, in_flight, turn).await? {
            Committed::Done(placed) => Ok(Some(Performed::Done(answer, placed))),
            Committed::DoneBefore(placed) => Ok(Some(Performed::DoneBefore(placed))),
            Committed::Stale => Ok(None),
        }
    }

    /// Queues a commit, passes the turn on, and waits for the disk.
    async fn commit(
        &self,
        commit: RoomCommit,
        in_flight: Option<InFlight>,
        turn: Option<Turn>,
    ) -> Result<Committed, Refusal> {
        let written = self.store.commit_rooms(commit).await?;
        drop(turn);
        match written.await {
            Ok(placed) => {
                if let Some(in_flight) = in_flight {
                    in_flight.committed();
                }
                Ok(Committed::Done(placed))
            }
            Err(NotCommitted::Stale) => Ok(Committed::Stale),
            Err(NotCommitted::DoneBefore(placed)) => Ok(Committed::DoneBefore(placed)),
            Err(NotCommitted::AliasTaken) => Err(Refusal::AliasTaken),
            Err(NotCommitted::Store(e)) => Err(e.into()),
        }
    }
}

enum Committed {
    Done(Vec<Placed>),
    DoneBefore(Placed),
    Stale,
}
