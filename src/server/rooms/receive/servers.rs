//! Who is asked for what a batch of events lacks: who sent it, and where they have no answer, others of the room.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ruma::{OwnedServerName, RoomId, ServerName};
use tokio::time::Instant;

use super::elsewhere::{Elsewhere, Unanswered};
use crate::server::rooms::parts::Rooms;

/// Servers of a room that are asked beside the one that sent a batch, and how many questions for one batch.
const OTHERS: usize = 3;
const QUESTIONS: usize = 50;

/// How long what is missing for one batch is looked for. Past that no further question is asked.
const PATIENCE: Duration = Duration::from_secs(120);

/// The servers that are asked for one batch.
pub(super) struct Servers<E> {
    pub(super) elsewhere: Arc<E>,
    /// Who sent the batch.
    origin: OwnedServerName,
    others: Vec<OwnedServerName>,
    /// Questions that the others are asked yet.
    left: AtomicUsize,
    until: Instant,
}

impl<E: Elsewhere> Servers<E> {
    /// Those of a room, to be asked from here on.
    pub(super) fn of(rooms: &Rooms, elsewhere: &Arc<E>, origin: &ServerName, room: &RoomId) -> Self {
        let mut others = rooms.servers_to_join_by(room, OTHERS + 2);
        others.retain(|server| *server != rooms.server_name && server != origin);
        others.truncate(OTHERS);
        let (left, until) = (AtomicUsize::new(QUESTIONS), Instant::now() + PATIENCE);
        Self { elsewhere: Arc::clone(elsewhere), origin: origin.to_owned(), others, left, until }
    }

    /// Whether it is too late to look for anything.
    pub(super) fn is_late(&self) -> bool {
        Instant::now() > self.until
    }

    /// Asks one server after the other, until one has an answer.
    pub(super) async fn ask<T, F>(&self, question: impl Fn(OwnedServerName) -> F) -> Result<T, Unanswered>
    where
        F: Future<Output = Result<T, Unanswered>>,
    {
        let mut answer = question(self.origin.clone()).await;
        for other in &self.others {
            match &answer {
                Err(error) if self.takes_another() => {
                    tracing::debug!(%error, %other, "another server is asked")
                }
                _ => break,
            }
            answer = question(other.clone()).await;
        }
        answer
    }

    fn takes_another(&self) -> bool {
        let take = |left: usize| left.checked_sub(1);
        !self.is_late() && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}
