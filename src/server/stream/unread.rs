//! How many messages a user has not read in a room, in its threads and beside them, and how many of them call for them.
//!
//! Counted when a reader asks, from where the last count ended, or from where the user has read; nothing of it is
//! stored.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard};
use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};

use super::{
    news::{RoomUnread, UnreadCounts},
    refusal::Refusal,
    verdict::{Rules, RulesMade},
};
use crate::server::{
    accounts::data::{OwnData, PUSH_RULES},
    change::{feed::Change, position::LogPosition},
    event::stored::StoredEvent,
    rooms::Members,
    store::{Store, StoreError, Wanted},
};

/// Relations that are followed from an event to the thread that it is in.
const MAX_HOPS: usize = 3;

/// Users whose counters are kept at most; beyond it all are forgotten, and counted again when asked for.
const MAX_USERS: usize = 100_000;

/// Unread events that are counted at most.
const MAX_UNREAD: usize = 1000;

/// Of them read at once.
const UNREAD_PAGE: usize = 50;

/// The counters of all users.
#[derive(Debug)]
pub struct Unread {
    store: Arc<Store>,
    own_data: Arc<OwnData>,
    members: Arc<Members>,
    counters: Mutex<HashMap<OwnedUserId, OfUser>>,
}

#[derive(Debug, Default)]
struct OfUser {
    rooms: HashMap<OwnedRoomId, Counter>,
    rules: OwnRules,
    /// How often something was to be counted anew: who counts meanwhile keeps nothing of it.
    renewed: u64,
}

/// The push rules that a user made instead of the default ones, as they were at some position.
#[derive(Clone, Debug, Default)]
struct OwnRules {
    position: LogPosition,
    rules: Option<Arc<RulesMade>>,
}

/// What one user has not read in one room.
#[derive(Clone, Debug, Default)]
struct Counter {
    /// Everything up to here is counted.
    upto: LogPosition,
    counts: Arc<RoomUnread>,
    /// What the user goes by in the room then, in lower case, where that was asked.
    name: Option<Arc<str>>,
}

/// Up to where a user has read.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Of everything.
    whole: LogPosition,
    /// Of what is in no thread.
    main: LogPosition,
    /// Of threads, by their roots, where that is further. Bounded by the receipts.
    threads: BTreeMap<String, LogPosition>,
}

impl Unread {
    /// Nothing was counted yet.
    pub fn new(store: Arc<Store>, own_data: Arc<OwnData>, members: Arc<Members>) -> Self {
        Self { store, own_data, members, counters: Mutex::default() }
    }

    /// What is counted anew when asked for: who has read further in a room, everybody where an event reads
    /// differently, and who ignores others than before.
    pub fn follow(&self, change: &Change) {
        match change {
            Change::Receipt { receipt, .. } => {
                if let Some(of_user) = self.lock().get_mut(&receipt.user) {
                    of_user.renew(&receipt.room);
                }
            }
            Change::Rewritten(event) => {
                let mut counters = self.lock();
                self.members.each_of_ours(&event.room_id, |user| {
                    if let Some(of_user) = counters.get_mut(user) {
                        of_user.renew(&event.room_id);
                    }
                });
            }
            Change::Ignored { user, .. } => {
                if let Some(of_user) = self.lock().get_mut(user) {
                    of_user.renew_all();
                }
            }
            _ => {}
        }
    }

    /// What `user` has not read in `room`, of what is there up to `upto`, without what was redacted and what those
    /// say whom the user ignores.
    pub(super) async fn counts(
        &self,
        user: &UserId,
        room: &RoomId,
        upto: LogPosition,
        ignored: &BTreeSet<OwnedUserId>,
    ) -> Result<Arc<RoomUnread>, Refusal> {
        let mut rules = self.rules(user, room).await?;
        let (known, renewed) = self.counter(user, room);
        let (mut counts, read) = match known {
            Some(counter) if counter.upto >= upto => return Ok(counter.counts),
            Some(counter) => {
                rules.name = counter.name;
                (counter.counts, Read::all_up_to(counter.upto))
            }
            None => (Arc::default(), self.read(user, room).await?),
        };
        let Counted { counted, answered } = self.count(&mut rules, &read, upto, ignored).await?;
        if !answered.is_empty() || !counted.is_empty() {
            let counts = Arc::make_mut(&mut counts);
            // Who answers has read what is above, in that thread.
            for thread in answered {
                counts.read(thread.as_deref());
            }
            for (thread, more) in counted {
                counts.add(thread, more);
            }
        }
        self.put(user, room, Counter { upto, counts: Arc::clone(&counts), name: rules.name }, renewed);
        Ok(counts)
    }

    /// Counts what comes after what was `read`, by thread: from the newest back, in each to the last event that the user sent.
    async fn count(
        &self,
        rules: &mut Rules<'_>,
        read: &Read,
        upto: LogPosition,
        ignored: &BTreeSet<OwnedUserId>,
    ) -> Result<Counted, Refusal> {
        let (user, room) = (rules.user, rules.room.clone());
        let mut events = self.store.recent_events(read.whole, |e| e.room_id == room);
        let is_recent = events.is_some();
        let renames =
            |e: &StoredEvent| e.kind == "m.room.member" && e.state_key.as_deref() == Some(user.as_str());
        if events.as_ref().is_none_or(|events| events.iter().any(|event| renames(event))) {
            rules.name = None;
        }
        let (mut to, mut looked_at, mut found) = (upto, 0, Counted::default());
        loop {
            let page = match events.take() {
                Some(mut recent) => {
                    recent.reverse();
                    recent
                }
                None => {
                    let is_answered = found.answered.contains(&None);
                    let wanted = Wanted {
                        main_after: if is_answered { LogPosition::END } else { read.main.max(read.whole) },
                        members_of: rules.own.is_none().then_some(user),
                    };
                    let bounds = (MAX_UNREAD, UNREAD_PAGE);
                    self.store.newest_events_for(&room, (read.whole, to), wanted, bounds).await?
                }
            };
            // What came late is nothing new to read.
            for event in page.iter().filter(|e| e.position <= upto && !e.comes_late()) {
                found.add(rules, read, ignored, event).await?;
            }
            looked_at += page.len();
            match page.last() {
                Some(last) if !is_recent && page.len() == UNREAD_PAGE && looked_at < MAX_UNREAD => {
                    to = last.position.before();
                }
                _ => return Ok(found),
            }
        }
    }

    /// The push rules of `user` for events of `room`.
    pub(super) async fn rules<'a>(&'a self, user: &'a UserId, room: &RoomId) -> Result<Rules<'a>, Refusal> {
        let (own, room) = (self.own_rules(user).await?, room.to_owned());
        Ok(Rules { store: &self.store, members: &self.members, user, room, own, name: None, made: None })
    }

    /// The rules that the user made, if any. When they are others than before, everything is counted anew.
    pub(super) async fn own_rules(&self, user: &UserId) -> Result<Option<Arc<RulesMade>>, Refusal> {
        let known = self.lock().get(user).map(|of_user| of_user.rules.clone()).unwrap_or_default();
        if !self.own_data.has_news(user, known.position) {
            return Ok(known.rules);
        }
        let position = self.store.log_position();
        let json = self.store.account_data(user, None, PUSH_RULES).await?;
        let rules = match (json, known.rules) {
            (Some(json), Some(known)) if json == known.0 => Some(known),
            (None, None) => None,
            (Some(json), _) => Some(Arc::new((json, self.own_data.push_rules(user).await?))),
            (None, Some(_)) => None,
        };
        let mut counters = self.lock();
        make_room(&mut counters, user);
        let of_user = counters.entry(user.to_owned()).or_default();
        let same = match (&of_user.rules.rules, &rules) {
            (None, None) => true,
            (Some(a), Some(b)) => a.0 == b.0,
            (None, Some(_)) | (Some(_), None) => false,
        };
        if !same {
            of_user.renew_all();
        }
        of_user.rules = OwnRules { position, rules: rules.clone() };
        Ok(rules)
    }

    /// Where unread begins: after the last events that the user has read, or after their join.
    pub(super) async fn read(&self, user: &UserId, room: &RoomId) -> Result<Read, StoreError> {
        let mut read = Read::default();
        for (thread, at) in self.store.read_up_to(room, user).await? {
            let at = at.last_live();
            match &*thread {
                "" => read.whole = read.whole.max(at),
                "main" => read.main = read.main.max(at),
                _ => {
                    let kept = read.threads.entry(thread).or_default();
                    *kept = at.max(*kept);
                }
            }
        }
        if read.whole == LogPosition::START {
            let join = self.store.state_event(room, "m.room.member", user.as_str()).await?;
            read.whole = join.map_or(LogPosition::START, |e| e.position);
        }
        Ok(read)
    }

    /// What was counted, and how often the user's counters were renewed until then.
    fn counter(&self, user: &UserId, room: &RoomId) -> (Option<Counter>, u64) {
        let mut counters = self.lock();
        make_room(&mut counters, user);
        if !counters.contains_key(user) {
            counters.insert(user.to_owned(), OfUser::default());
        }
        let of_user = &counters[user];
        (of_user.rooms.get(room).cloned(), of_user.renewed)
    }

    fn put(&self, user: &UserId, room: &RoomId, counter: Counter, renewed: u64) {
        let mut counters = self.lock();
        let of_user = counters.get_mut(user).filter(|of_user| of_user.renewed == renewed);
        let Some(OfUser { rooms, .. }) = of_user else { return };
        match rooms.get_mut(room) {
            Some(kept) => *kept = counter,
            None => {
                rooms.insert(room.to_owned(), counter);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OwnedUserId, OfUser>> {
        self.counters.lock()
    }
}

/// Forgets all if there are too many to keep another user's.
fn make_room(counters: &mut HashMap<OwnedUserId, OfUser>, user: &UserId) {
    if counters.len() >= MAX_USERS && !counters.contains_key(user) {
        counters.clear();
    }
}

impl OfUser {
    /// What was counted in `room` does not hold any longer.
    fn renew(&mut self, room: &RoomId) {
        self.rooms.remove(room);
        self.renewed += 1;
    }

    /// Nothing of what was counted does.
    fn renew_all(&mut self) {
        self.rooms.clear();
        self.renewed += 1;
    }
}

/// What was found unread, by thread, and where the user answered; `None`: in no thread.
#[derive(Debug, Default)]
struct Counted {
    counted: BTreeMap<Option<OwnedEventId>, UnreadCounts>,
    answered: BTreeSet<Option<OwnedEventId>>,
}

impl Counted {
    /// Adds an event, of those from the newest back.
    async fn add(
        &mut self,
        rules: &mut Rules<'_>,
        read: &Read,
        ignored: &BTreeSet<OwnedUserId>,
        event: &StoredEvent,
    ) -> Result<(), StoreError> {
        if event.sender == *rules.user {
            self.answered.insert(thread_of(rules.store, event).await?);
            return Ok(());
        }
        let relation = event.relation();
        // Nothing that relates to nothing is in a thread, and most events do not.
        let is_main = relation.is_none();
        if event.redacted_because.is_some()
            || ignored.contains(&event.sender)
            || is_main && (self.answered.contains(&None) || read.covers(None, event.position))
        {
            return Ok(());
        }
        let verdict = rules.verdict(event).await?;
        if !verdict.notify {
            return Ok(());
        }
        let thread = if is_main { None } else { thread_of(rules.store, event).await? };
        if !self.answered.contains(&thread) && !read.covers(thread.as_deref(), event.position) {
            let counts = self.counted.entry(thread).or_default();
            counts.notifications += 1;
            counts.highlights += u64::from(verdict.highlight);
        }
        Ok(())
    }
}

impl Read {
    fn all_up_to(whole: LogPosition) -> Self {
        Self { whole, ..Self::default() }
    }

    /// Whether what stands at `position` in a thread was read.
    pub(super) fn covers(&self, thread: Option<&EventId>, position: LogPosition) -> bool {
        let in_thread = match thread {
            None => self.main,
            Some(root) => self.threads.get(root.as_str()).copied().unwrap_or_default(),
        };
        position <= self.whole.max(in_thread)
    }
}

/// The root of the thread that an event is in: of the one that it names, or that the event is in to which it relates,
/// and so on. `None`: it is in none.
pub async fn thread_of(store: &Store, event: &StoredEvent) -> Result<Option<OwnedEventId>, StoreError> {
    let mut relation = event.relation();
    for _ in 0..MAX_HOPS {
        let Some((related, kind)) = relation else { return Ok(None) };
        if kind == "m.thread" {
            return Ok(Some(related));
        }
        let parent = store.event(&related).await?.filter(|parent| parent.room_id == event.room_id);
        relation = parent.and_then(|parent| parent.relation());
    }
    Ok(None)
}
