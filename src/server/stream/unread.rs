//! How many messages a user has not read in a room, and how many of them call for them: push rules.
//!
//! Counted when a reader asks, from where the last count ended, or from where the user has read; nothing of it is
//! stored. What the default
//! rules say about a plain message that names nobody is decided without evaluating them all.

use std::{
    collections::{BTreeSet, HashMap},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::{Mutex, MutexGuard};
use ruma::{
    OwnedRoomId, OwnedUserId, RoomId, UInt, UserId,
    events::{
        AnySyncTimelineEvent,
        room::power_levels::{RoomPowerLevels, RoomPowerLevelsEventContent},
    },
    push::{Action, PushConditionRoomCtx, Ruleset},
    serde::Raw,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{news::UnreadCounts, refusal::Refusal};
use crate::server::{
    accounts::data::{OwnData, PUSH_RULES},
    change::{feed::Change, position::LogPosition},
    event::stored::StoredEvent,
    rooms::Members,
    store::{Order, Store, StoreError},
};

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

/// Push rules that a user made: their JSON, and what it says.
pub(super) type RulesMade = (String, Ruleset);

/// The push rules that a user made instead of the default ones, as they were at some position.
#[derive(Clone, Debug, Default)]
struct OwnRules {
    position: LogPosition,
    rules: Option<Arc<RulesMade>>,
}

/// What one user has not read in one room.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Counter {
    /// Everything up to here is counted.
    upto: LogPosition,
    counts: UnreadCounts,
}

/// What the push rules want done for an event.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Verdict {
    notify: bool,
    highlight: bool,
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
                self.members.each_joined(&event.room_id, |user| {
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
    /// say whom the user ignores. `displayname` answers what the user goes by, in case a message names them.
    pub(super) async fn counts(
        &self,
        user: &UserId,
        room: &RoomId,
        upto: LogPosition,
        ignored: &BTreeSet<OwnedUserId>,
        displayname: impl Fn(&UserId) -> Option<String> + Sync,
    ) -> Result<UnreadCounts, Refusal> {
        let own_rules = self.own_rules(user).await?;
        let (known, renewed) = self.counter(user, room);
        let mut counter = match known {
            Some(counter) => counter,
            None => Counter { upto: self.read_position(user, room).await?, ..Counter::default() },
        };
        if counter.upto >= upto {
            return Ok(counter.counts);
        }
        let mut rules =
            Rules { store: &self.store, members: &self.members, user, room, own: own_rules, made: None };
        let mut events = self.store.recent_events(counter.upto, |e| e.room_id == *room);
        let is_recent = events.is_some();
        let (mut to, mut counted, mut looked_at) = (upto, UnreadCounts::default(), 0);
        // From the newest back, to the last one that the user sent: who answers has read what is above.
        let answered = 'back: loop {
            let page = match events.take() {
                Some(mut recent) => {
                    recent.reverse();
                    recent
                }
                None if rules.own.is_none() => {
                    let bounds = (MAX_UNREAD, UNREAD_PAGE);
                    self.store.newest_events_for((room, user), (counter.upto, to), bounds).await?
                }
                None => {
                    let order = Order::NewestFirst;
                    self.store.room_events_since(room, counter.upto, to, order, UNREAD_PAGE).await?
                }
            };
            // What came late is nothing new to read.
            for event in page.iter().filter(|e| e.position <= upto && !e.comes_late()) {
                if event.sender == *user {
                    break 'back true;
                }
                if event.redacted_because.is_some() || ignored.contains(&event.sender) {
                    continue;
                }
                let verdict = rules.verdict(event, &displayname).await?;
                counted.notifications += u64::from(verdict.notify);
                counted.highlights += u64::from(verdict.highlight);
            }
            looked_at += page.len();
            match page.last() {
                Some(last) if !is_recent && page.len() == UNREAD_PAGE && looked_at < MAX_UNREAD => {
                    to = last.position.before();
                }
                _ => break false,
            }
        };
        if answered {
            counter.counts = counted;
        } else {
            counter.counts.notifications += counted.notifications;
            counter.counts.highlights += counted.highlights;
        }
        counter.upto = upto;
        self.put(user, room, counter, renewed);
        Ok(counter.counts)
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

    /// Where unread begins: after the last event that the user has read, or after their join.
    async fn read_position(&self, user: &UserId, room: &RoomId) -> Result<LogPosition, StoreError> {
        let mut read = LogPosition::START;
        for event in self.store.read_up_to(room, user).await? {
            let Ok(event) = ruma::EventId::parse(event) else { continue };
            let event = self.store.event(&event).await?.filter(|e| e.room_id == *room);
            read = read.max(event.map_or(LogPosition::START, |e| e.timeline.last_live()));
        }
        if read == LogPosition::START {
            let join = self.store.state_event(room, "m.room.member", user.as_str()).await?;
            read = join.map_or(LogPosition::START, |e| e.position);
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
        (of_user.rooms.get(room).copied(), of_user.renewed)
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

/// One user's push rules in one room.
struct Rules<'a> {
    store: &'a Store,
    members: &'a Members,
    user: &'a UserId,
    room: &'a RoomId,
    /// Those that the user made.
    own: Option<Arc<RulesMade>>,
    /// The default rules if there are no own ones, and what rules have to know; made when first needed.
    made: Option<Box<(Ruleset, PushConditionRoomCtx)>>,
}

impl Rules<'_> {
    async fn verdict(
        &mut self,
        event: &StoredEvent,
        displayname: &(impl Fn(&UserId) -> Option<String> + Sync),
    ) -> Result<Verdict, StoreError> {
        if self.own.is_none() && is_member_of_others(event, self.user) {
            return Ok(Verdict::default());
        }
        if self.own.is_none() && is_plain_message(event) {
            return Ok(Verdict { notify: true, highlight: false });
        }
        if self.made.is_none() {
            let default =
                if self.own.is_some() { Ruleset::new() } else { Ruleset::server_default(self.user) };
            self.made = Some(Box::new((default, self.context(displayname(self.user)).await?)));
        }
        let Some(made) = &self.made else { return Ok(Verdict::default()) };
        let rules = self.own.as_ref().map_or(&made.0, |own| &own.1);
        Ok(evaluate(rules, event, &made.1))
    }

    async fn context(&self, displayname: Option<String>) -> Result<PushConditionRoomCtx, StoreError> {
        let (joined, _) = self.members.counts(self.room);
        let mut context = PushConditionRoomCtx::new(
            self.room.to_owned(),
            UInt::try_from(joined as u64).unwrap_or(UInt::MAX),
            self.user.to_owned(),
            displayname.unwrap_or_default(),
        );
        let create = self.store.state_event(self.room, "m.room.create", "").await?;
        let levels = self.store.state_event(self.room, "m.room.power_levels", "").await?;
        let row = self.store.room(self.room).await?;
        let rules = row.and_then(|row| row.version.rules()).map(|rules| rules.authorization);
        if let (Some(create), Some(rules)) = (create, rules) {
            let levels = levels.and_then(|e| e.content_as::<RoomPowerLevelsEventContent>());
            context.power_levels =
                Some(RoomPowerLevels::new(levels.into(), &rules, creators(&create)).into());
        }
        Ok(context)
    }
}

fn creators(create: &StoredEvent) -> Vec<OwnedUserId> {
    #[derive(Default, Deserialize)]
    struct Create {
        #[serde(default)]
        additional_creators: Vec<OwnedUserId>,
    }
    let mut creators = create.content_as::<Create>().unwrap_or_default().additional_creators;
    creators.push(create.sender.clone());
    creators
}

fn evaluate(rules: &Ruleset, event: &StoredEvent, context: &PushConditionRoomCtx) -> Verdict {
    let Ok(json) = RawValue::from_string(event.pdu.to_string()) else { return Verdict::default() };
    let raw = Raw::<AnySyncTimelineEvent>::from_json(json);
    // The rules are asynchronous only for the sake of thread subscriptions, which are not used here.
    let mut actions = pin!(rules.get_actions(&raw, context));
    match actions.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(actions) => Verdict {
            notify: actions.iter().any(Action::should_notify),
            highlight: actions.iter().any(Action::is_highlight),
        },
        Poll::Pending => Verdict::default(),
    }
}

/// Whether an event says what others than `user` are in the room, of which the default rules say that it calls for
/// nobody: of large rooms, most of what happened.
fn is_member_of_others(event: &StoredEvent, user: &UserId) -> bool {
    event.kind == "m.room.member" && event.state_key.as_deref().is_some_and(|key| key != user.as_str())
}

/// Whether an event is a message of which the default rules say "notify, without highlight": the rule
/// for messages applies, and nothing in the event could make an earlier rule apply. A `false` only
/// means that the rules have to be asked.
fn is_plain_message(event: &StoredEvent) -> bool {
    if event.state_key.is_some() || event.kind != "m.room.message" {
        return false;
    }
    let count = |what: &str| event.pdu.matches(what).count();
    // Clients say that a message mentions nobody.
    count("m.notice") == 0 && count("m.replace") == 0 && count("m.mentions") == count(r#""m.mentions":{}"#)
}

#[cfg(test)]
mod tests {
    use ruma::{event_id, room_id, user_id};

    use super::*;
    use crate::server::{change::position::TimelinePosition, event::stored::Columns};

    fn message(kind: &str, content: &str) -> StoredEvent {
        let sender = user_id!("@bob:x");
        StoredEvent::from(Columns {
            position: LogPosition::new(1),
            timeline: TimelinePosition::live(LogPosition::new(1)),
            event_id: event_id!("$e").to_owned(),
            room_id: room_id!("!r:x").to_owned(),
            kind: kind.to_owned(),
            state_key: None,
            sender: sender.to_owned(),
            origin_server_ts: 0,
            depth: 1,
            pdu: format!(r#"{{"content":{content},"room_id":"!r:x","sender":"{sender}","type":"{kind}"}}"#)
                .into(),
            replaces: None,
            redacted_because: None,
            transaction: None,
        })
    }

    fn context(members: u32) -> PushConditionRoomCtx {
        let user = user_id!("@alice:x").to_owned();
        PushConditionRoomCtx::new(room_id!("!r:x").to_owned(), members.into(), user, "Alice".into())
    }

    #[test]
    fn members_other_than_the_reader_call_for_nobody() {
        let user = user_id!("@alice:x");
        let rules = Ruleset::server_default(user);
        for key in ["@alice:x", "@bob:x", "@room", ""] {
            for content in [
                r#"{"membership":"invite"}"#,
                r#"{"body":"Alice @room","displayname":"Alice","membership":"join"}"#,
                r#"{"m.mentions":{"room":true,"user_ids":["@bob:x"]},"membership":"leave"}"#,
            ] {
                let mut event = message("m.room.member", content);
                event.pdu = event.pdu.replacen('{', &format!(r#"{{"state_key":"{key}","#), 1).into();
                event.state_key = Some(key.into());
                if is_member_of_others(&event, user) {
                    assert_eq!(evaluate(&rules, &event, &context(2)), Verdict::default(), "{}", event.pdu);
                } else {
                    assert_eq!(key, "@alice:x");
                }
            }
        }
    }

    #[test]
    fn the_short_way_never_differs_from_the_rules() {
        let bodies = ["hello", "Alice: hi", "@room", "m.mentions", "m.notice", ""];
        let mut taken = BTreeSet::new();
        let rules = Ruleset::server_default(user_id!("@alice:x"));
        for kind in ["m.room.message", "m.room.encrypted", "m.reaction", "org.x"] {
            for body in bodies {
                for more in [
                    r#""msgtype":"m.text""#,
                    r#""msgtype":"m.notice""#,
                    r#""m.mentions":{},"msgtype":"m.text""#,
                    r#""m.mentions":{"user_ids":["@alice:x"]},"msgtype":"m.text""#,
                    r#""m.relates_to":{"rel_type":"m.replace"},"msgtype":"m.text""#,
                ] {
                    let event = message(kind, &format!(r#"{{"body":"{body}",{more}}}"#));
                    for members in [2, 3] {
                        let verdict = evaluate(&rules, &event, &context(members));
                        let plain = is_plain_message(&event);
                        if plain {
                            assert_eq!(verdict, Verdict { notify: true, highlight: false }, "{}", event.pdu);
                        }
                        taken.insert((plain, verdict.notify, verdict.highlight));
                    }
                }
            }
        }
        let all = [(false, false, false), (false, true, false), (false, true, true), (true, true, false)];
        assert_eq!(taken.into_iter().collect::<Vec<_>>(), all);
    }
}
