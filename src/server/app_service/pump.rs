//! What one application service is told: one transaction after the other, each until it is acknowledged.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Method;
use parking_lot::Mutex;
use ruma::{OwnedRoomId, OwnedUserId, RoomId};
use tokio::sync::Notify;

use super::{
    ask::Line,
    held::Held,
    questions::Questions,
    scope::{Concern, Scope},
    transaction::{self, Draft, MAX_EPHEMERAL},
};
use crate::server::{
    change::position::{LivePosition, LogPosition, TimelinePosition},
    event::stored::{Membership, StoredEvent},
    registration::Registration,
    session::Session,
    store::{NewTransaction, Receipt, ServiceProgress, StoreError},
    stream::Parts,
};

/// How far the place in memory may be ahead of that on the disk, in positions of the log: so much is looked at again after
/// a restart, at most.
const PASSED: u64 = 1_000;

/// The pause after the first failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause: an application service that is back is told within this time, or when it pings.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// After so many failures one after the other, half a minute, nobody of an application service counts as there.
const GONE_AFTER: u32 = 5;

/// What is told to one application service.
#[derive(Debug)]
pub(super) struct Pump {
    pub(super) registration: Arc<Registration>,
    pub(super) line: Line,
    /// Who of its users is there.
    pub(super) held: Held,
    /// What users have it asked.
    pub(super) questions: Questions,
    pub(super) parts: Arc<Parts>,
    /// Where it begins; taken by the task that tells. One without a URL is told nothing, and nothing is kept for it.
    begin: Mutex<Option<State>>,
    /// There may be something to tell.
    news: Notify,
    /// It can be reached, it says.
    reachable: Notify,
    /// It is being told something.
    busy: AtomicBool,
}

#[derive(Debug)]
struct State {
    scope: Scope,
    progress: ServiceProgress,
    /// The place on the disk.
    kept: LogPosition,
    live: LivePosition,
    /// What is to be told beside events, made already. Bounded by the rooms and users that concern the application
    /// service: no more is made before this is told.
    ephemeral: VecDeque<Vec<u8>>,
    /// Rooms that it is told of from here on, or no longer, without an event.
    began: Vec<OwnedRoomId>,
    ended: Vec<OwnedRoomId>,
}

impl Pump {
    /// Goes on where it was; one that is new begins here and now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn load(
        registration: Arc<Registration>,
        line: Line,
        parts: Arc<Parts>,
    ) -> Result<Self, StoreError> {
        let begin = match registration.url {
            Some(_) => Some(State::load(&registration, &parts).await?),
            None => None,
        };
        Ok(Self {
            registration,
            line,
            held: Held::new(Arc::clone(&parts.presence)),
            questions: Questions::default(),
            parts,
            begin: Mutex::new(begin),
            news: Notify::new(),
            reachable: Notify::new(),
            busy: AtomicBool::new(false),
        })
    }

    /// Something happened that may concern it.
    pub(super) fn handle_news(&self) {
        if self.registration.url.is_some() {
            self.news.notify_one();
        }
    }

    /// It says that it can be reached: what waits is tried again at once.
    pub(super) fn handle_reachable(&self) {
        self.reachable.notify_waiters();
    }

    /// Whether something is on its way to it.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    /// Tells it of everything, until the task is dropped.
    pub(super) async fn run(&self) {
        let Some(mut state) = self.begin.lock().take() else { return };
        loop {
            self.busy.store(true, Ordering::Release);
            let step = self.step(&mut state).await;
            self.busy.store(false, Ordering::Release);
            match step {
                Ok(true) => {}
                Ok(false) => self.news.notified().await,
                Err(error) => {
                    tracing::warn!(id = self.registration.id, %error, "an application service is not told");
                    self.parts.clock.sleep(FIRST_PAUSE).await;
                    self.begin_again(&mut state).await;
                }
            }
        }
    }

    /// What was taken in for a transaction that was not made is forgotten: it is taken again from where the disk has it.
    async fn begin_again(&self, state: &mut State) {
        match State::load(&self.registration, &self.parts).await {
            Ok(begin) => {
                let (live, ephemeral) = (state.live, std::mem::take(&mut state.ephemeral));
                *state = State { live, ephemeral, ..begin };
            }
            Err(StoreError::Closed) => std::future::pending().await,
            Err(error) => tracing::warn!(%error, "what an application service was told cannot be read"),
        }
    }

    /// Makes the next transaction, or has it acknowledged; whether there may be more.
    async fn step(&self, state: &mut State) -> Result<bool, StoreError> {
        let (id, store) = (&self.registration.id, &self.parts.store);
        if let Some(body) = state.progress.waiting.clone() {
            self.deliver(state.progress.last, body).await;
            store.acknowledge_transaction(id).await?;
            state.progress.waiting = None;
            return Ok(true);
        }
        let (upto, live) = (store.log_position(), self.parts.live.position());
        let (draft, covered) = self.make(state, upto, live).await?;
        if draft.is_empty() {
            state.progress.position = covered;
            if covered.get() - state.kept.get() >= PASSED {
                store.pass_service(id, covered).await?;
                state.kept = covered;
            }
            return Ok(covered < upto);
        }
        let (number, body) = (self.next_number(state.progress.last), draft.body());
        let (began, ended) = draft.rooms();
        let new = NewTransaction { number, body: body.clone(), upto: covered, began, ended };
        store.put_transaction(id, new).await?;
        state.progress.position = covered;
        state.progress.last = number;
        state.progress.waiting = Some(body);
        state.kept = covered;
        Ok(true)
    }

    /// The number of the transaction after `last`: a bridge that knows a number drops what comes under it. As many milliseconds
    /// as there were since the Unix epoch, and more than the last: then no number comes again when an older database is restored,
    /// which does not know of the later ones.
    fn next_number(&self, last: u64) -> u64 {
        self.parts.clock.unix_ms().max(last + 1)
    }

    /// What is to be told next, and up to where in the log.
    async fn make(
        &self,
        state: &mut State,
        upto: LogPosition,
        live: LivePosition,
    ) -> Result<(Draft, LogPosition), StoreError> {
        let from = state.progress.position;
        let mut draft = Draft::default();
        let (events, reach) = self.next(from, upto).await?;
        let mut covered = from;
        for event in events {
            covered = event.position;
            self.take(state, &event, &mut draft).await?;
            if draft.is_full() {
                break;
            }
        }
        if !draft.is_full() {
            covered = reach;
        }
        if self.registration.receives_ephemeral {
            let receipts = self.receipts(&state.scope, from, covered).await?;
            state.ephemeral.extend(receipts);
            if covered == upto && state.live < live && state.ephemeral.len() < MAX_EPHEMERAL {
                self.what_lives(state, live).await?;
            }
            while !draft.is_full()
                && let Some(piece) = state.ephemeral.pop_front()
            {
                draft.ephemeral(piece);
            }
        }
        if !draft.is_empty() {
            std::mem::take(&mut state.began).into_iter().for_each(|room| draft.begin(room));
            std::mem::take(&mut state.ended).into_iter().for_each(|room| draft.end(room));
        }
        Ok((draft, covered))
    }

    /// Takes the next event of the log.
    async fn take(
        &self,
        state: &mut State,
        event: &StoredEvent,
        draft: &mut Draft,
    ) -> Result<(), StoreError> {
        let room = &event.room_id;
        let has_alias = self.has_alias(room).await?;
        let concern = match event.comes_late() {
            true if self.was_there(&state.scope, event).await? => Concern::Told,
            true => Concern::None,
            false => state.scope.take(event, has_alias),
        };
        match concern {
            Concern::None => return Ok(()),
            Concern::Told => {}
            Concern::Begins => {
                draft.begin(room.clone());
                if self.registration.receives_ephemeral {
                    draft.ephemeral(transaction::joined(room, event.timeline.before()));
                }
            }
            Concern::Ends => draft.end(room.clone()),
        }
        let invited = match event.membership() {
            Some((user, Membership::Invite)) => OwnedUserId::try_from(user).ok(),
            _ => None,
        };
        let shown = match invited {
            Some(user) => self.parts.store.membership(&user, room).await?.and_then(|row| row.invite_state),
            None => None,
        };
        let viewer = Session::without_device(self.registration.sender.clone());
        draft.event(event, (&viewer, self.parts.clock.unix_ms()), shown.as_deref());
        Ok(())
    }

    async fn has_alias(&self, room: &RoomId) -> Result<bool, StoreError> {
        if self.registration.aliases.is_empty() {
            return Ok(false);
        }
        Ok(self.parts.store.aliases(room).await?.iter().any(|alias| self.registration.has_alias(alias)))
    }

    /// The receipts of a stretch of the log that concern it.
    async fn receipts(
        &self,
        scope: &Scope,
        from: LogPosition,
        upto: LogPosition,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let found: Vec<Receipt> = match self.parts.receipts.between(from, upto) {
            Some(recent) => recent.iter().map(|(_, receipt)| Receipt::clone(receipt)).collect(),
            None => self.parts.store.receipts_between(from, upto).await?,
        };
        let concerns = |receipt: &Receipt| {
            scope.knows(&receipt.room) && (receipt.shown || self.registration.has_user(&receipt.user))
        };
        Ok(transaction::receipts(found.into_iter().filter(concerns)))
    }

    /// Who types and who is there, as far as it changed and concerns it.
    async fn what_lives(&self, state: &mut State, upto: LivePosition) -> Result<(), StoreError> {
        let since = state.live;
        for room in self.parts.typing.changed(since, upto) {
            if state.scope.knows(&room) {
                state.ephemeral.push_back(transaction::typing(&room, &self.parts.typing.in_room(&room)));
            }
        }
        // At the start nobody has changed: what they were it was told before.
        if since > LivePosition::START {
            let now = self.parts.clock.now();
            for (user, event) in self.parts.board.changed(since, upto) {
                let mut is_seen = false;
                self.parts.sight.each_observer(&user, |observer| {
                    is_seen = is_seen || self.registration.has_user(observer);
                });
                if is_seen {
                    let mut piece = Vec::new();
                    event.write(&mut piece, now);
                    state.ephemeral.push_back(piece);
                }
            }
        }
        state.live = upto;
        Ok(())
    }

    /// Sends a transaction until it is acknowledged.
    async fn deliver(&self, number: u64, body: String) {
        let body = Bytes::from(body);
        let (mut pause, mut failures) = (FIRST_PAUSE, 0_u32);
        loop {
            match self.send(number, body.clone()).await {
                Ok(()) => {
                    if failures >= GONE_AFTER {
                        self.held.take_up().await;
                    }
                    return;
                }
                Err(why) => {
                    failures = failures.saturating_add(1);
                    if failures == GONE_AFTER {
                        self.held.release();
                    }
                    tracing::info!(id = self.registration.id, number, why, "a transaction is tried again");
                    self.busy.store(false, Ordering::Release);
                    let reachable = self.reachable.notified();
                    tokio::select! {
                        () = self.parts.clock.sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                        () = reachable => pause = FIRST_PAUSE,
                    }
                    self.busy.store(true, Ordering::Release);
                }
            }
        }
    }

    async fn send(&self, number: u64, body: Bytes) -> Result<(), String> {
        let path = format!("transactions/{number}");
        match self.line.ask(Method::PUT, &path, Some(body)).await? {
            status if status.is_success() => Ok(()),
            status => Err(format!("it answers {status}")),
        }
    }
}

impl State {
    /// As of the place that the disk has.
    async fn load(registration: &Arc<Registration>, parts: &Parts) -> Result<Self, StoreError> {
        let store = &parts.store;
        let progress = match store.service_progress(&registration.id).await? {
            Some(progress) => progress,
            None => {
                let position = store.log_position();
                store.pass_service(&registration.id, position).await?;
                ServiceProgress { position, ..ServiceProgress::default() }
            }
        };
        let mut scope = Scope::new(Arc::clone(registration), progress.rooms.clone());
        parts.members.each_membership(|room, user| scope.set(room, user, true));
        let mut seen = BTreeSet::new();
        for event in store.member_events_since(progress.position).await? {
            let Some((user, _)) = event.membership() else { continue };
            let Ok(user) = OwnedUserId::try_from(user) else { continue };
            // What the first one found is what was there at that place.
            if seen.insert((event.room_id.clone(), user.clone())) {
                scope.set(&event.room_id, &user, event.membership_before() == Some(Membership::Join));
            }
        }
        let mut told_of: BTreeSet<_> = scope.rooms().cloned().collect();
        if !registration.rooms.is_empty() || !registration.aliases.is_empty() {
            for (room, alias) in store.rooms_and_aliases().await? {
                if registration.has_room(&room)
                    || alias.is_some_and(|alias| registration.aliases.have(&alias))
                {
                    told_of.insert(room);
                }
            }
        }
        let (began, ended) = scope.settle(told_of);
        let from = TimelinePosition::live(progress.position);
        let ephemeral = match registration.receives_ephemeral {
            true => began.iter().map(|room| transaction::joined(room, from)).collect(),
            false => VecDeque::new(),
        };
        let (kept, live) = (progress.position, LivePosition::START);
        Ok(Self { scope, progress, kept, live, ephemeral, began, ended })
    }
}
