//! A user of this server comes into a room by another one: what that says of the room is checked, and becomes the room.

use std::sync::Arc;

use ruma::{RoomId, ServerName, UserId};
use serde_json::value::RawValue;

use super::draft::Ready;
use crate::server::{
    event::stored::Membership,
    rooms::{
        coming::Place,
        content::AUTHORISED_BY,
        parts::Rooms,
        receive::{Elsewhere, Piece, Unsound, check::Checked},
        refusal::Refusal,
        turns::Turn,
    },
    store::{Entered, NotCommitted, RoomChange, RoomCommit, StateAtEntry, StateIds, StatePage},
};

/// State events in one write: some milliseconds, in which nobody else can write.
const PAGE: usize = 100;

/// Takes an event of an answer; without a piece that it is of: the join itself, as the other server signed it.
pub type Each<'a> = dyn FnMut(Option<Piece>, Box<RawValue>) -> Result<(), String> + 'a;

impl Rooms {
    /// Lets `user` enter a room by `server`, which took the join `ready`. `read` hands over what it answered, event by
    /// event; it is called several times, on a thread of its own.
    ///
    /// # Errors
    /// [`Refusal::Unreachable`]: what the server says of the room is not so. [`Refusal::Forbidden`]: the user is in too
    /// many rooms.
    pub async fn enter<E, R>(
        self: &Arc<Self>,
        elsewhere: &Arc<E>,
        server: &ServerName,
        (room, user): (&RoomId, &UserId),
        ready: Ready,
        mut read: R,
    ) -> Result<(), Refusal>
    where
        E: Elsewhere,
        R: FnMut(&mut Each<'_>) -> Result<(), String> + Send + 'static,
    {
        let unsound = |why: &str| Refusal::Unreachable(format!("{server}: {why}").into());
        let _place = {
            let mut coming = self.coming.lock();
            self.check_can_join(&coming, user)?;
            let place = Place { room: room.to_owned(), becomes: Membership::Join, by: user.to_owned() };
            self.coming.keep(&mut coming, user, place)
        };
        // The answer may be long: it is not read for what this server sent itself.
        let join = if ready.json.contains(AUTHORISED_BY) {
            let looked_for = tokio::task::spawn_blocking(move || {
                let join = join_in(&mut read);
                (read, join)
            });
            let (again, join) = looked_for.await.map_err(|e| Refusal::Internal(e.to_string()))?;
            read = again;
            self.taken_join(&**elsewhere, room, &ready, join.map_err(|e| unsound(&e))?).await?
        } else {
            ready.checked()?
        };
        let state = self
            .check_join_answer(&**elsewhere, (room, &ready.version), &join, move |each| {
                read(&mut |piece, event| piece.map_or(Ok(()), |piece| each(piece, event)))
            })
            .await
            .map_err(|e| match e {
                Unsound::Answer(why) => unsound(&why),
                Unsound::Ours(refusal) => refusal,
            })?;
        let event = join.row(&room.to_owned(), false, None);
        let turn = self.turns.wait(room).await;
        // Who is in the room meanwhile is not to see half of it.
        let state = if state.len() > PAGE && !self.takes_part(room) {
            StateAtEntry::Settled(self.settle(&turn, room, state).await?)
        } else {
            StateAtEntry::Whole(state)
        };
        let entered = Entered { room: room.to_owned(), version: ready.version.clone(), state, event };
        let commit = RoomCommit {
            changes: vec![RoomChange::Enter(Box::new(entered))],
            now_ms: self.clock.unix_ms(),
            ..RoomCommit::default()
        };
        match self.store.commit_rooms(commit).await?.await {
            // It came back by another way meanwhile.
            Ok(_) | Err(NotCommitted::Stale) => Ok(()),
            Err(NotCommitted::Store(e)) => Err(e.into()),
            Err(e @ (NotCommitted::DoneBefore(_) | NotCommitted::AliasTaken)) => {
                Err(Refusal::Internal(format!("entering a room: {e:?}")))
            }
        }
    }

    /// Makes the state of a room that nobody of this server is in what it is to be when somebody enters, page by page: what
    /// others write goes between. Cut short, the room is as far from being here as before, and the next one who enters
    /// goes on. Answers with what users of this server are in it: they are told of that when it is here.
    async fn settle(&self, _turn: &Turn, room: &RoomId, state: StateIds) -> Result<StatePage, Refusal> {
        let is_ours = |(kind, key): &(String, String)| {
            kind == "m.room.member"
                && <&UserId>::try_from(&**key).is_ok_and(|user| user.server_name() == self.server_name)
        };
        let (mut rest, mut last) = (StatePage::new(), (String::new(), String::new()));
        loop {
            let known = self.store.state_keys(room, (&last.0, &last.1), PAGE).await?;
            let Some(end) = known.last() else { break };
            last = end.clone();
            let gone = known.into_iter().filter(|key| !state.contains_key(key)).map(|key| (key, None));
            let (ours, page) = gone.partition(|(key, _)| is_ours(key));
            rest.extend::<StatePage>(ours);
            self.settle_page(room, page).await?;
        }
        let state = state.into_iter().map(|(key, event)| (key, Some(event)));
        let (ours, others): (StatePage, StatePage) = state.partition(|(key, _)| is_ours(key));
        rest.extend(ours);
        for page in others.chunks(PAGE) {
            self.settle_page(room, page.to_vec()).await?;
        }
        Ok(rest)
    }

    async fn settle_page(&self, room: &RoomId, page: StatePage) -> Result<(), Refusal> {
        if page.is_empty() {
            return Ok(());
        }
        let settle = RoomChange::Settle { room: room.to_owned(), page };
        let commit = RoomCommit { changes: vec![settle], ..RoomCommit::default() };
        match self.store.commit_rooms(commit).await?.await {
            Ok(_) => Ok(()),
            Err(NotCommitted::Store(e)) => Err(e.into()),
            Err(e) => Err(Refusal::Internal(format!("the state of a room cannot be kept: {e:?}"))),
        }
    }

    /// The join as the other server took it: with its signature, where somebody of it let the user in.
    async fn taken_join<E: Elsewhere>(
        &self,
        elsewhere: &E,
        room: &RoomId,
        ready: &Ready,
        answer: Option<Box<RawValue>>,
    ) -> Result<Checked, Refusal> {
        let answer = answer.ok_or_else(|| {
            Refusal::Unreachable("the server that let the user in did not sign for it".into())
        })?;
        self.co_signed(elsewhere, room, ready, answer.get()).await
    }
}

/// The join, of an answer.
fn join_in(
    read: &mut impl FnMut(&mut Each<'_>) -> Result<(), String>,
) -> Result<Option<Box<RawValue>>, String> {
    let mut join = None;
    read(&mut |piece, event| {
        if piece.is_none() {
            join = Some(event);
        }
        Ok(())
    })?;
    Ok(join)
}
