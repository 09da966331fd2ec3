//! Rooms whose events come in any order: what their state is at each, and what readers make of it.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use ruma::{OwnedEventId, OwnedRoomId, RoomVersionId, room_id, server_name, user_id};
use serde_json::{Value, json};

use super::{
    Access, CurrentAfter, Entered, EventStanding, Gap, Kinds, NewEvent, Order, Place, Received, RoomChange,
    RoomCommit, Side, StateAtEntry, StateBefore, StateIds, Store,
};
use crate::server::{
    change::{
        feed::{Change, Feed, Subscriber},
        position::{LogPosition, TimelinePosition},
    },
    event::stored::Membership,
};

/// A store in a folder of its own, and what it told.
struct World {
    folder: PathBuf,
    store: Store,
    told: Arc<Told>,
}

#[derive(Debug, Default)]
struct Told(parking_lot::Mutex<Vec<Change>>);

impl Subscriber for Told {
    fn follow(&self, change: &Change) {
        self.0.lock().push(change.clone());
    }

    fn tell(&self, _: &[Change]) {}
}

impl Drop for World {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("cannot remove {}: {e}", self.folder.display());
        }
    }
}

fn room() -> OwnedRoomId {
    room_id!("!r:x").to_owned()
}

fn id(name: &str) -> OwnedEventId {
    OwnedEventId::try_from(format!("${name}")).expect("an ID")
}

fn ids(names: &[&str]) -> Vec<OwnedEventId> {
    names.iter().map(|name| id(name)).collect()
}

/// An event of that depth after those; `key`: type and state key.
fn event(name: &str, depth: u64, prev: &[&str], key: Option<(&str, &str)>, content: Value) -> NewEvent {
    let (kind, state_key) = match key {
        Some((kind, key)) => (kind, Some(key.to_owned())),
        None => ("m.room.message", None),
    };
    let sender = user_id!("@alice:x").to_owned();
    let word = content["membership"].as_str().and_then(Membership::parse);
    let pdu = json!({ "type": kind, "state_key": state_key, "sender": sender, "room_id": room(), "content": content,
        "depth": depth, "origin_server_ts": depth });
    NewEvent {
        room: room(),
        event_id: id(name),
        kind: kind.to_owned(),
        state_key,
        sender,
        origin_server_ts: depth,
        depth,
        pdu: pdu.to_string(),
        prev_events: ids(prev),
        auth_events: if name == "create" { Vec::new() } else { ids(&["create"]) },
        relates_to: None,
        transaction: None,
        membership: word.map(|word| (word, None)),
        unasked: false,
        hidden: false,
        on_behalf: false,
    }
}

fn message(name: &str, depth: u64, prev: &[&str]) -> NewEvent {
    event(name, depth, prev, None, json!({ "body": name }))
}

fn named(name: &str, depth: u64, prev: &[&str]) -> NewEvent {
    event(name, depth, prev, Some(("m.room.name", "")), json!({ "name": name }))
}

fn member(name: &str, depth: u64, prev: &[&str], user: &str, word: &str) -> NewEvent {
    event(name, depth, prev, Some(("m.room.member", user)), json!({ "membership": word }))
}

fn create() -> NewEvent {
    event("create", 1, &[], Some(("m.room.create", "")), json!({}))
}

fn state(entries: &[(&str, &str, &str)]) -> StateIds {
    entries.iter().map(|(kind, key, name)| (((*kind).to_owned(), (*key).to_owned()), id(name))).collect()
}

fn received(event: NewEvent, before: StateBefore, current: CurrentAfter) -> RoomChange {
    let (standing, place) = (EventStanding::Accepted, Place::End);
    let takes = event.prev_events.iter().cloned().collect();
    RoomChange::Receive(Box::new(Received { event, standing, before, current, place, takes }))
}

impl World {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("pilotlight-graph-{name}-{}", std::process::id()));
        let (feed, told) = (Arc::new(Feed::default()), Arc::new(Told::default()));
        feed.subscribe(Some(Arc::clone(&told) as Arc<dyn Subscriber>));
        let store = Store::open(&folder, server_name!("x"), Access::Sole, feed).expect("opens");
        Self { folder, store, told }
    }

    async fn write(&self, changes: Vec<RoomChange>) {
        let commit = RoomCommit { changes, ..RoomCommit::default() };
        self.store.commit_rooms(commit).await.expect("is open").await.expect("is written");
    }

    fn create_room() -> RoomChange {
        RoomChange::Create { room: room(), version: RoomVersionId::V10, listed: false }
    }

    /// A room of Alice's with a name.
    async fn with_room(name: &str) -> Self {
        let world = Self::new(name);
        let first =
            [create(), member("alice", 2, &["create"], "@alice:x", "join"), named("one", 3, &["alice"])];
        let appended = first.into_iter().map(|event| RoomChange::Append(Box::new(event)));
        world.write([Self::create_room()].into_iter().chain(appended).collect()).await;
        world
    }

    async fn name_at(&self, position: LogPosition) -> Option<OwnedEventId> {
        let place = TimelinePosition::live(position);
        let found = self.store.state_event_at(&room(), "m.room.name", "", place).await.expect("is read");
        found.map(|event| event.event_id.clone())
    }

    async fn extremities(&self) -> Vec<OwnedEventId> {
        let found = self.store.extremities(&room()).await.expect("is read");
        found.into_iter().map(|end| end.event_id).collect()
    }

    async fn timeline(&self) -> Vec<OwnedEventId> {
        let all = (TimelinePosition::START, TimelinePosition::END);
        let events = self.store.room_events(&room(), all.0, all.1, Order::OldestFirst, 100).await;
        events.expect("is read").iter().map(|event| event.event_id.clone()).collect()
    }

    /// Whom the changes since the last call say to be what, by what was appended and by what was resolved.
    fn members_told(&self) -> Vec<(String, Membership)> {
        let mut told = Vec::new();
        for change in self.told.0.lock().drain(..) {
            match change {
                Change::Appended(event) => {
                    told.extend(event.membership().map(|(user, is)| (user.to_owned(), is)));
                }
                Change::Resolved(resolved) => {
                    told.extend(resolved.members.iter().map(|is| (is.user.to_string(), is.membership)));
                }
                _ => {}
            }
        }
        told
    }
}

#[tokio::test]
async fn each_side_of_a_fork_has_its_state_and_what_they_agree_upon_is_the_rooms() {
    let world = World::with_room("fork").await;
    let before = world.store.log_position();
    let base = [("m.room.create", "", "create"), ("m.room.member", "@alice:x", "alice")];
    let with = |name: &'static str| state(&[base[0], base[1], ("m.room.name", "", name)]);
    // Both follow the first name; the second one loses.
    world.write(vec![received(named("two", 4, &["one"]), StateBefore::Current, CurrentAfter::After)]).await;
    let lost = StateBefore::After(id("one"));
    world.write(vec![received(named("lost", 4, &["one"]), lost, CurrentAfter::Unchanged)]).await;
    assert_eq!(world.extremities().await.len(), 2);
    for (event, name) in [("one", "one"), ("two", "two"), ("lost", "lost")] {
        let found = world.store.state_ids(&id(event), Side::After).await.expect("is read");
        assert_eq!(found, Some(with(name)), "after {event}");
        let key = [("m.room.name".to_owned(), String::new())];
        let one = world.store.state_ids_of(&id(event), Side::After, &key).await.expect("is read");
        assert_eq!(one, Some(state(&[("m.room.name", "", name)])));
    }
    let both = ids(&["two", "lost", "nowhere"]);
    let groups = world.store.state_groups(&both, Side::Before).await.expect("is read");
    assert!(groups[0].is_some() && groups[0] == groups[1] && groups[2].is_none());
    assert_eq!(world.store.current_state_ids(&room()).await.expect("is read"), with("two"));
    // What follows both comes after what they agree upon.
    let merged =
        received(message("merge", 5, &["two", "lost"]), StateBefore::Current, CurrentAfter::Unchanged);
    world.write(vec![merged]).await;
    assert_eq!(world.extremities().await, ids(&["merge"]));
    let found = world.store.state_ids(&id("merge"), Side::Before).await.expect("is read");
    assert_eq!(found, Some(with("two")));
    // A third side comes by which the first name stands again, and then by which there is none.
    let third = message("third", 4, &["one"]);
    world.write(vec![received(third, StateBefore::After(id("one")), CurrentAfter::Whole(with("one")))]).await;
    let again = world.store.log_position();
    let fourth = message("fourth", 4, &["one"]);
    let nameless = CurrentAfter::Whole(state(&base));
    world.write(vec![received(fourth, StateBefore::After(id("one")), nameless)]).await;
    assert_eq!(world.store.current_state_ids(&room()).await.expect("is read"), state(&base));
    let names = [
        world.name_at(before).await,
        world.name_at(before.next()).await,
        world.name_at(again).await,
        world.name_at(LogPosition::END).await,
    ];
    assert_eq!(names, [Some(id("one")), Some(id("two")), Some(id("one")), None]);
    let mut changed = Vec::new();
    let (range, of) = ((before.next(), again), room());
    let listed = world.store.state_changes(&of, range, Kinds::All, |entry| {
        changed.push((entry.kind.to_owned(), entry.position));
        true
    });
    let mut listed = listed.await.expect("is read");
    let page = world.store.next_page(&mut listed).await.expect("is read");
    assert_eq!(page.iter().map(|event| &event.event_id).collect::<Vec<_>>(), [&id("one")]);
    let before_its_cause = again.before();
    assert_eq!(
        changed,
        [("m.room.name".to_owned(), before_its_cause)],
        "where it became so, not where it stands"
    );
}

#[tokio::test]
async fn who_is_in_a_room_is_what_its_state_says_and_not_what_came_last() {
    let world = World::with_room("members").await;
    let join =
        received(member("bob", 4, &["one"], "@bob:x", "join"), StateBefore::Current, CurrentAfter::After);
    world.write(vec![join]).await;
    let ban = member("ban", 4, &["one"], "@bob:x", "ban");
    world.told.0.lock().clear();
    world.write(vec![received(ban, StateBefore::After(id("one")), CurrentAfter::Unchanged)]).await;
    let told = world.members_told();
    assert_eq!(told.last(), Some(&("@bob:x".to_owned(), Membership::Join)), "{told:?}");
    let mut state = world.store.current_state_ids(&room()).await.expect("is read");
    state.insert(("m.room.member".to_owned(), "@bob:x".to_owned()), id("ban"));
    let merge =
        received(message("merge", 5, &["bob", "ban"]), StateBefore::Current, CurrentAfter::Whole(state));
    world.write(vec![merge]).await;
    assert_eq!(world.members_told(), [("@bob:x".to_owned(), Membership::Ban)]);
    let bob = world.store.membership(user_id!("@bob:x"), &room()).await.expect("is read").expect("is there");
    assert_eq!((bob.membership, bob.position), (Membership::Ban, world.store.log_position().before()));
    let past = world.store.past(user_id!("@bob:x"), &room(), bob.timeline).await.expect("is read");
    let past = past.expect("was something");
    assert!(past.was_outside && past.last_ended == Some(bob.position), "{past:?}");
}

#[tokio::test]
async fn what_is_soft_failed_or_rejected_is_known_and_shown_to_nobody() {
    let world = World::with_room("standing").await;
    for (name, standing, after) in
        [("soft", EventStanding::SoftFailed, "soft"), ("bad", EventStanding::Rejected, "one")]
    {
        let (event, before) = (named(name, 4, &["one"]), StateBefore::Current);
        let (current, place, takes) = (CurrentAfter::Unchanged, Place::End, BTreeSet::new());
        let change = Received { event, standing, before, current, place, takes };
        world.write(vec![RoomChange::Receive(Box::new(change))]).await;
        let found = world.store.state_ids(&id(name), Side::After).await.expect("is read").expect("is known");
        assert_eq!(found[&("m.room.name".to_owned(), String::new())], id(after));
    }
    assert_eq!(world.timeline().await, ids(&["create", "alice", "one"]));
    assert_eq!(world.extremities().await, ids(&["one"]));
    let known = world.store.graph_events(&ids(&["soft", "bad", "none"])).await.expect("is read");
    let standings: Vec<_> = known.values().map(|event| event.standing).collect();
    assert_eq!(standings, [EventStanding::Rejected, EventStanding::SoftFailed]);
    assert!(world.store.event(&id("soft")).await.expect("is read").is_none());
}

#[tokio::test]
async fn a_room_that_is_entered_has_the_state_that_it_is_said_to_have_and_a_gap_before_the_join() {
    let world = World::new("enter");
    let outliers =
        || vec![create(), member("alice", 2, &["create"], "@alice:x", "join"), named("one", 3, &["alice"])];
    let fetched = |events| RoomChange::Outliers { room: room(), events, rejected: [id("one")].into() };
    world.write(vec![World::create_room(), fetched(outliers())]).await;
    // By other rules it is allowed.
    let allowed = RoomChange::Outliers { room: room(), events: outliers(), rejected: [].into() };
    let standing = async || {
        let known = world.store.graph_events(&ids(&["one"])).await.expect("is read");
        known[&id("one")].standing
    };
    assert_eq!(standing().await, EventStanding::Rejected);
    world.write(vec![allowed]).await;
    assert_eq!(standing().await, EventStanding::Outlier);
    assert!(world.store.room(&room()).await.expect("is read").is_none(), "it is only being fetched");
    let base = state(&[("m.room.create", "", "create"), ("m.room.member", "@alice:x", "alice")]);
    let join = |name: &str, depth, prev: &[&str]| member(name, depth, prev, "@bob:x", "join");
    let entered = |state, event| {
        let state = StateAtEntry::Whole(state);
        RoomChange::Enter(Box::new(Entered { room: room(), version: RoomVersionId::V11, state, event }))
    };
    world.write(vec![entered(base.clone(), join("bob", 9, &["far", "away"]))]).await;
    let entered_room = world.store.room(&room()).await.expect("is read").expect("is here");
    assert_eq!(entered_room.version, RoomVersionId::V11, "somebody else had said that it is another");
    let mut told = world.members_told();
    told.sort();
    let joined = |user: &str| (user.to_owned(), Membership::Join);
    assert_eq!(told, [joined("@alice:x"), joined("@bob:x")]);
    assert_eq!(world.timeline().await, ids(&["bob"]));
    let gap = world.store.last_gap(&room(), TimelinePosition::END).await.expect("is read");
    let timeline = TimelinePosition::live(world.store.log_position());
    assert_eq!(gap, Some(Gap { event: id("bob"), timeline, missing: ids(&["away", "far"]) }));
    // What it follows comes later, and stands before it; one of them was known by its state.
    let late = |event, before, after: Option<&str>| {
        let place = Place::Late { after: after.map(id) };
        let (standing, current, takes) = (EventStanding::Accepted, CurrentAfter::Unchanged, BTreeSet::new());
        RoomChange::Receive(Box::new(Received { event, standing, before, current, place, takes }))
    };
    let whole = || StateBefore::Whole(base.clone());
    world.write(vec![late(message("far", 8, &["alice"]), whole(), None)]).await;
    let alice = member("alice", 2, &["create"], "@alice:x", "join");
    let of_create = StateBefore::Whole(state(&[("m.room.create", "", "create")]));
    world
        .write(vec![late(alice, of_create, None), late(message("away", 8, &["far"]), whole(), Some("far"))])
        .await;
    assert_eq!(world.timeline().await, ids(&["alice", "far", "away", "bob"]));
    let gap = world.store.last_gap(&room(), TimelinePosition::END).await.expect("is read");
    assert_eq!(gap.map(|gap| (gap.event, gap.missing)), Some((id("alice"), ids(&["create"]))));
    // Before the first event there is nothing, and nothing is missing.
    world.write(vec![late(create(), StateBefore::Nothing, None)]).await;
    assert_eq!(world.timeline().await, ids(&["create", "alice", "far", "away", "bob"]));
    assert_eq!(world.store.last_gap(&room(), TimelinePosition::END).await.expect("is read"), None);
    let before_all = world.store.state_ids(&id("create"), Side::Before).await.expect("is read");
    assert_eq!(before_all, Some(state(&[])));
    let back = world.store.backwards(&room(), &ids(&["bob"]), 3).await.expect("is read");
    let back: Vec<_> = back.into_iter().map(|event| event.event_id).collect();
    assert_eq!((back.len(), &back[0], &back[2]), (3, &id("bob"), &id("far")));
    let between =
        world.store.between(&room(), &ids(&["bob"]), &ids(&["alice"]), 0, 10).await.expect("is read");
    let between: Vec<_> = between.into_iter().map(|event| event.event_id).collect();
    assert_eq!(between, ids(&["far", "away"]));
    // Everybody leaves and comes again: by then the state has something else and lacks something.
    let again = state(&[("m.room.create", "", "create"), ("m.room.name", "", "new")]);
    let named =
        RoomChange::Outliers { room: room(), events: vec![named("new", 20, &[])], rejected: [].into() };
    world.write(vec![named, entered(again, join("back", 30, &["elsewhere"]))]).await;
    let is = world.store.current_state_ids(&room()).await.expect("is read");
    let of = |name: &str| is.values().any(|id| id.as_str() == format!("${name}"));
    assert!(is.len() == 3 && of("create") && of("new") && of("back"), "{is:?}");
    assert_eq!(world.extremities().await, ids(&["back"]));
    assert!(world.store.membership(user_id!("@alice:x"), &room()).await.expect("is read").is_none());
}

#[tokio::test]
async fn a_room_whose_state_comes_in_pages_is_here_when_somebody_enters_it() {
    let world = World::new("settle");
    let outliers =
        vec![create(), member("alice", 2, &["create"], "@alice:x", "join"), named("one", 3, &["alice"])];
    let fetched = RoomChange::Outliers { room: room(), events: outliers, rejected: [].into() };
    world.write(vec![World::create_room(), fetched]).await;
    let key = |kind: &str, key: &str| (kind.to_owned(), key.to_owned());
    let page = |page: &[((String, String), Option<&str>)]| RoomChange::Settle {
        room: room(),
        page: page.iter().map(|(key, event)| (key.clone(), event.map(id))).collect(),
    };
    let (first, alice, name) =
        (key("m.room.create", ""), key("m.room.member", "@alice:x"), key("m.room.name", ""));
    world.write(vec![page(&[(first.clone(), Some("create")), (name.clone(), Some("one"))])]).await;
    // The same again, and what is to be otherwise after all.
    world.write(vec![page(&[(first.clone(), Some("create")), (name.clone(), None)])]).await;
    assert!(world.store.room(&room()).await.expect("is read").is_none(), "nobody has entered it");
    let keys = world.store.state_keys(&room(), ("", ""), 10).await.expect("is read");
    assert_eq!(keys, std::slice::from_ref(&first));
    assert!(
        world.store.state_keys(&room(), ("m.room.create", ""), 1).await.expect("is read").is_empty(),
        "after it"
    );
    let event = member("bob", 9, &["far"], "@bob:x", "join");
    let state_then = StateAtEntry::Settled(vec![(alice, Some(id("alice")))]);
    world
        .write(vec![RoomChange::Enter(Box::new(Entered {
            room: room(),
            version: RoomVersionId::V11,
            state: state_then,
            event,
        }))])
        .await;
    let mut told = world.members_told();
    told.sort();
    let joined = |user: &str| (user.to_owned(), Membership::Join);
    assert_eq!(told, [joined("@alice:x"), joined("@bob:x")]);
    assert!(world.store.room(&room()).await.expect("is read").is_some());
    let before = world.store.state_ids(&id("bob"), Side::Before).await.expect("is read");
    assert_eq!(
        before,
        Some(state(&[("m.room.create", "", "create"), ("m.room.member", "@alice:x", "alice")]))
    );
    let is = world.store.current_state_ids(&room()).await.expect("is read");
    assert_eq!(is.len(), 3);
    let missing = RoomChange::Settle { room: room(), page: vec![(name, Some(id("nowhere")))] };
    let commit = RoomCommit { changes: vec![missing], ..RoomCommit::default() };
    assert!(world.store.commit_rooms(commit).await.expect("queues").await.is_err());
}

#[tokio::test]
async fn what_an_event_rests_upon_is_found_through_all_that_is_here() {
    let world = World::with_room("auth").await;
    let chain = async |of: &[&str], max| {
        let found = world.store.auth_chain(&ids(of), max).await.expect("is read");
        found.iter().map(|id: &OwnedEventId| (**id).to_owned()).collect::<Vec<OwnedEventId>>()
    };
    assert_eq!(chain(&["one", "alice", "nowhere"], 10).await, ids(&["create"]));
    assert!(chain(&["create"], 10).await.is_empty() && chain(&["one"], 0).await.is_empty());
}

#[tokio::test]
async fn a_state_of_many_is_the_same_however_it_is_stored() {
    let world = World::with_room("many").await;
    let mut expected = world.store.current_state_ids(&room()).await.expect("is read");
    let mut last = "one".to_owned();
    for n in 0..250_u64 {
        let (name, key) = (format!("e{n}"), format!("k{}", n % 120));
        let event = event(&name, 4 + n, &[&last], Some(("org.example", &key)), json!({}));
        // By turns as one that follows and as one whose state is said in full.
        let before = match n % 3 {
            0 => StateBefore::Current,
            1 => StateBefore::After(id(&last)),
            _ => StateBefore::Whole(expected.clone()),
        };
        expected.insert(("org.example".to_owned(), key), id(&name));
        let current = if n % 2 == 0 { CurrentAfter::After } else { CurrentAfter::Whole(expected.clone()) };
        world.write(vec![received(event, before, current)]).await;
        last = name;
    }
    assert_eq!(world.store.current_state_ids(&room()).await.expect("is read"), expected);
    let found = world.store.state_ids(&id(&last), Side::After).await.expect("is read");
    assert_eq!(found, Some(expected.clone()));
    let group = world.store.current_state_group(&room()).await.expect("is read").expect("has state");
    assert_eq!(world.store.state_ids_in(group).await.expect("is read"), expected);
    let of_last = world.store.state_groups(&[id(&last)], Side::After).await.expect("is read");
    assert_eq!(of_last, [Some(group)], "one state has one number");
}
