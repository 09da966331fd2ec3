//! Acts that race each other: what is judged beside the writer comes out as if one had followed the other.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use ruma::{
    OwnedRoomAliasId, OwnedRoomId, RoomVersionId, UserId,
    api::client::room::create_room::v3::{Request, RoomPreset},
    server_name, user_id,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    bounds::{MAX_AWAITED_ROOMS, MAX_INVITES_BY_ONE, MAX_JOINED_ROOMS},
    may_begin::MayBegin,
    members::Members,
    parts::Rooms,
    proposal::Proposal,
    refusal::Refusal,
    write::Act,
};
use crate::{
    core::visibility::RoomLimit,
    server::{
        change::{
            feed::{Change, Feed, Subscriber},
            position::{LogPosition, TimelinePosition},
        },
        clock::Clock,
        event::stored::{Columns, StoredEvent},
        keys::Signer,
        profile::{Profile, ProfileField},
        session::Session,
        store::{Access, Kinds, NewUser, Order, Placed, Store},
    },
};

/// Rooms on a store of their own.
struct House {
    rooms: Arc<Rooms>,
    store: Arc<Store>,
    folder: PathBuf,
}

#[derive(Debug, Default)]
struct Followers(OnceLock<Arc<Rooms>>);

impl Subscriber for Followers {
    fn follow(&self, change: &Change) {
        if let Some(rooms) = self.0.get() {
            rooms.members.follow(change);
        }
    }

    fn tell(&self, _: &[Change]) {}
}

impl House {
    async fn open() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("pilotlight-rooms-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        let (feed, followers) = (Arc::new(Feed::default()), Arc::new(Followers::default()));
        let name = server_name!("x");
        let store = Store::open(&folder, name, Access::Sole, Arc::clone(&feed)).expect("opens");
        let (store, signer) = (Arc::new(store), Arc::new(Signer::open(&folder, name).expect("a key")));
        let (clock, version) = (Clock::system(), RoomVersionId::V11);
        let (limit, anybody) =
            (RoomLimit::default(), MayBegin::new(|_, _| true, |by, _| by.localpart() == "friend"));
        let rooms = Rooms::load(Arc::clone(&store), clock, signer, name, version, limit, anybody).await;
        let rooms = Arc::new(rooms.expect("loads"));
        followers.0.set(Arc::clone(&rooms)).expect("is empty");
        feed.subscribe(Some(followers));
        Self { rooms, store, folder }
    }

    async fn user(&self, name: &str) -> Session {
        let id = UserId::parse(format!("@{name}:x")).expect("an ID");
        let user = NewUser { id: id.clone(), password_hash: None, created_ms: 0, device: None };
        self.store.create_user(user).await.expect("is made");
        Session { user: id, device: "D".into() }
    }

    async fn public_room(&self, session: &Session, alias: Option<&str>) -> Result<OwnedRoomId, Refusal> {
        let mut request = Request::new();
        request.preset = Some(RoomPreset::PublicChat);
        request.room_alias_name = alias.map(str::to_owned);
        self.rooms.create(session, request).await
    }

    fn say(&self, session: &Session, room: &OwnedRoomId, id: &str) -> JoinHandle<Result<Placed, Refusal>> {
        let (rooms, session, room, id) =
            (Arc::clone(&self.rooms), session.clone(), room.clone(), ruma::OwnedTransactionId::from(id));
        tokio::spawn(async move {
            rooms.send_message(&session, &room, "m.room.message", &id, r#"{"body":"x"}"#).await
        })
    }

    fn join(&self, session: &Session, room: &OwnedRoomId) -> JoinHandle<Result<(), Refusal>> {
        let (rooms, session, room) = (Arc::clone(&self.rooms), session.clone(), room.clone());
        tokio::spawn(async move { rooms.join(&session, &room, "{}").await })
    }

    fn invite(
        &self,
        session: &Session,
        room: &OwnedRoomId,
        user: &UserId,
    ) -> JoinHandle<Result<Profile, Refusal>> {
        let (rooms, session, room) = (Arc::clone(&self.rooms), session.clone(), room.clone());
        let user = user.to_owned();
        tokio::spawn(async move { rooms.invite(&session, &room, &user, None).await })
    }

    fn rename(&self, session: &Session, name: &str) -> JoinHandle<()> {
        let (rooms, store, user, name) =
            (Arc::clone(&self.rooms), Arc::clone(&self.store), session.user.clone(), name.to_owned());
        tokio::spawn(async move {
            store
                .set_profile_field(user.clone(), ProfileField::Displayname, Some(name))
                .await
                .expect("is written");
            rooms.handle_profile_change(&user).await.expect("is written");
        })
    }

    /// The room's events, one after the other, each following the one before it.
    async fn events(&self, room: &OwnedRoomId) -> Vec<Arc<StoredEvent>> {
        let (from, to) = (TimelinePosition::START, TimelinePosition::END);
        let events = self.store.room_events(room, from, to, Order::OldestFirst, 1000).await.expect("reads");
        for pair in events.windows(2) {
            let pdu: Value = serde_json::from_str(&pair[1].pdu).expect("is JSON");
            assert_eq!(pdu["prev_events"], json!([pair[0].event_id]));
            assert_eq!(pair[1].depth, pair[0].depth + 1);
        }
        events
    }

    async fn name_in(&self, session: &Session, room: &OwnedRoomId) -> String {
        let member =
            self.store.state_event(room, "m.room.member", session.user.as_str()).await.expect("reads");
        let content: Value = member.expect("is there").content_as().expect("is JSON");
        content["displayname"].as_str().expect("is text").to_owned()
    }
}

/// What memory is told when `user` becomes something in the `n`th of many rooms, and who made it so.
fn in_one_of_many(user: &Session, n: usize, membership: &str, by: &UserId) -> Change {
    let position = LogPosition::START;
    let content = json!({ "membership": membership });
    Change::Appended(Arc::new(StoredEvent::from(Columns {
        position,
        timeline: TimelinePosition::live(position),
        event_id: ruma::event_id!("$e").to_owned(),
        room_id: OwnedRoomId::try_from(format!("!many{n}:x")).expect("an ID"),
        kind: "m.room.member".to_owned(),
        state_key: Some(user.user.to_string()),
        sender: by.to_owned(),
        origin_server_ts: 0,
        depth: 1,
        pdu: json!({ "type": "m.room.member", "content": content }).to_string().into(),
        replaces: None,
        redacted_because: None,
        transaction: None,
    })))
}

#[tokio::test]
async fn who_is_in_as_many_rooms_as_one_can_be_joins_another_after_leaving_one() {
    let house = House::open().await;
    let (ann, ben) = (house.user("ann").await, house.user("ben").await);
    let room = house.public_room(&ben, None).await.expect("is made");
    for n in 1..MAX_JOINED_ROOMS {
        house.rooms.members.follow(&in_one_of_many(&ann, n, "join", &ann.user));
    }
    let own = house.public_room(&ann, None).await.expect("is the last one");
    let refused = house.join(&ann, &room).await.expect("ends").expect_err("is one too many");
    assert!(matches!(&refused, Refusal::Forbidden(why) if why.contains("5000")), "{refused:?}");
    let refused = house.public_room(&ann, None).await.expect_err("is one too many");
    assert!(matches!(refused, Refusal::Forbidden(_)), "{refused:?}");
    house.rooms.leave(&ann, &own, None).await.expect("can always be done");
    house.join(&ann, &room).await.expect("ends").expect("is the last one");
}

#[tokio::test]
async fn invitations_that_nobody_answers_end_and_keep_nobody_out() {
    let house = House::open().await;
    let (ann, ben) = (house.user("ann").await, house.user("ben").await);
    let room = house.public_room(&ben, None).await.expect("is made");
    for n in 0..MAX_AWAITED_ROOMS {
        house.rooms.members.follow(&in_one_of_many(&ann, n, "invite", user_id!("@stranger:x")));
    }
    let invite = || house.rooms.invite(&ben, &room, &ann.user, None);
    let refused = invite().await.expect_err("is one too many");
    assert!(matches!(refused, Refusal::Unwanted), "tells nothing of how many there are: {refused:?}");
    assert!(!house.rooms.takes_invite(&ben.user, &ann.user));
    let friend = house.user("friend").await;
    let of_friend = house.public_room(&friend, None).await.expect("is made");
    house.rooms.invite(&friend, &of_friend, &ann.user, None).await.expect("is a contact of hers");
    house.rooms.leave(&ann, &of_friend, None).await.expect("can always be done");
    house.join(&ann, &room).await.expect("ends").expect("needs no invitation");
    house.rooms.leave(&ann, &room, None).await.expect("can always be done");
    house.rooms.members.follow(&in_one_of_many(&ann, 0, "leave", &ann.user));
    invite().await.expect("there is room again");
}

#[tokio::test]
async fn one_user_fills_only_a_share_of_the_invitations_of_another_also_after_a_restart() {
    let house = House::open().await;
    let (ann, ben, eve) = (house.user("ann").await, house.user("ben").await, house.user("eve").await);
    let (first, of_ben) = (house.public_room(&eve, None).await, house.public_room(&ben, None).await);
    let (first, of_ben) = (first.expect("is made"), of_ben.expect("is made"));
    house.rooms.invite(&eve, &first, &ann.user, None).await.expect("is the first one");
    for n in 1..MAX_INVITES_BY_ONE {
        house.rooms.members.follow(&in_one_of_many(&ann, n, "invite", &eve.user));
    }
    let last = house.public_room(&eve, None).await.expect("is made");
    let refused = house.rooms.invite(&eve, &last, &ann.user, None).await.expect_err("is one too many");
    assert!(matches!(&refused, Refusal::Forbidden(why) if why.contains("from you")), "{refused:?}");
    assert!(!house.rooms.takes_invite(&eve.user, &ann.user));
    house.rooms.invite(&ben, &of_ben, &ann.user, None).await.expect("is somebody else's");
    house.rooms.leave(&ann, &first, None).await.expect("declines");
    house.rooms.invite(&eve, &last, &ann.user, None).await.expect("there is room again");

    let again = Members::load(&house.store, RoomLimit::default()).await.expect("loads");
    let invites = |by: &Session| again.invites_by(&by.user, &ann.user);
    assert_eq!((invites(&eve), invites(&ben)), (1, 1));
}

#[tokio::test]
async fn who_invites_somebody_to_many_rooms_at_once_fills_no_more_than_their_share() {
    let house = House::open().await;
    let (ann, eve) = (house.user("ann").await, house.user("eve").await);
    for n in 3..MAX_INVITES_BY_ONE {
        house.rooms.members.follow(&in_one_of_many(&ann, n, "invite", &eve.user));
    }
    let mut rooms = Vec::new();
    for n in 0..8 {
        rooms.push(house.public_room(&eve, Some(&format!("at-once-{n}"))).await.expect("is made"));
    }
    let invites: Vec<_> = rooms.iter().map(|room| house.invite(&eve, room, &ann.user)).collect();
    let mut answers = Vec::new();
    for invite in invites {
        answers.push(invite.await.expect("ends"));
    }
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3, "{answers:?}");
    assert_eq!(house.rooms.members.invites_by(&eve.user, &ann.user), MAX_INVITES_BY_ONE);
    let first = answers.iter().position(Result::is_ok).expect("there are three");
    house.rooms.leave(&ann, &rooms[first], None).await.expect("declines");
    house.rooms.invite(&eve, &rooms[first], &ann.user, None).await.expect("no place is lost");
}

#[tokio::test]
async fn who_joins_many_rooms_at_once_is_in_no_more_than_one_can_be() {
    let house = House::open().await;
    let (ann, ben) = (house.user("ann").await, house.user("ben").await);
    for n in 2..MAX_JOINED_ROOMS {
        house.rooms.members.follow(&in_one_of_many(&ann, n, "join", &ann.user));
    }
    let mut rooms = Vec::new();
    for n in 0..6 {
        rooms.push(house.public_room(&ben, Some(&format!("at-once-{n}"))).await.expect("is made"));
    }
    let joins: Vec<_> = rooms.iter().map(|room| house.join(&ann, room)).collect();
    let mut joined = 0;
    for join in joins {
        joined += usize::from(join.await.expect("ends").is_ok());
    }
    assert_eq!((joined, house.rooms.members.rooms_of(&ann.user).0), (2, MAX_JOINED_ROOMS));
}

impl Drop for House {
    fn drop(&mut self) {
        assert_eq!(self.rooms.turns.len(), 0, "no room is kept that nobody acts in");
        if let Err(e) = std::fs::remove_dir_all(&self.folder) {
            tracing::debug!(error = %e, "a test's folder stays");
        }
    }
}

/// Lets everything that was spawned run until it waits for the writer.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_messages_at_once_are_all_there_once_and_each_is_judged_once() {
    let house = House::open().await;
    let alice = house.user("alice").await;
    let room = house.public_room(&alice, None).await.expect("is made");
    let mut members = vec![alice];
    for name in ["bob", "carol", "dave"] {
        members.push(house.user(name).await);
        house.join(&members[members.len() - 1], &room).await.expect("no panic").expect("joins");
    }
    let before = (house.events(&room).await.len(), house.rooms.judged.value());
    let sends: Vec<_> =
        (0..100).map(|n| house.say(&members[n % members.len()], &room, &n.to_string())).collect();
    let mut ids = std::collections::BTreeSet::new();
    for send in sends {
        ids.insert(send.await.expect("no panic").expect("is sent").event_id);
    }
    let events = house.events(&room).await;
    assert_eq!((ids.len(), events.len()), (100, before.0 + 100));
    assert!(events[before.0..].iter().all(|event| ids.contains(&event.event_id)));
    assert_eq!(house.rooms.judged.value() - before.1, 100);
    let current = house.store.current_state(&room, Kinds::All, |_| true).await.expect("reads");
    let at_end =
        house.rooms.state_at(&room, TimelinePosition::END, Kinds::All, |_| true).await.expect("reads");
    assert_eq!(format!("{current:?}"), format!("{at_end:?}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_kicked_has_said_everything_before_and_nothing_after() {
    let house = House::open().await;
    let (alice, bob) = (house.user("alice").await, house.user("bob").await);
    let room = house.public_room(&alice, None).await.expect("is made");
    house.join(&bob, &room).await.expect("no panic").expect("joins");
    let mut sends: Vec<_> = (0..20).map(|n| house.say(&bob, &room, &n.to_string())).collect();
    let (rooms, kicker, kicked, there) =
        (Arc::clone(&house.rooms), alice.clone(), bob.user.clone(), room.clone());
    let kick = tokio::spawn(async move { rooms.kick(&kicker, &there, &kicked, None).await });
    sends.extend((20..40).map(|n| house.say(&bob, &room, &n.to_string())));
    let mut sent = 0;
    for send in sends {
        match send.await.expect("no panic") {
            Ok(_) => sent += 1,
            Err(refusal) => assert!(matches!(refusal, Refusal::Forbidden(_)), "{refusal:?}"),
        }
    }
    kick.await.expect("no panic").expect("is kicked");
    let events = house.events(&room).await;
    let kick = events.iter().rposition(|event| event.kind == "m.room.member").expect("is there");
    let said = |events: &[Arc<StoredEvent>]| events.iter().filter(|event| event.sender == bob.user).count();
    assert_eq!((said(&events[kick..]), said(&events[..kick])), (0, sent + 1));
}

#[tokio::test]
async fn a_name_that_changes_while_its_user_joins_is_the_new_one_everywhere() {
    let house = House::open().await;
    let (alice, bob) = (house.user("alice").await, house.user("bob").await);
    let one = house.public_room(&alice, None).await.expect("is made");
    let two = house.public_room(&alice, None).await.expect("is made");
    let release = house.store.hold().await;
    // Both orders: a join that is queued before the change, and one that was judged before it and queued after.
    let first = house.join(&bob, &one);
    settle().await;
    let rename = house.rename(&bob, "Robert");
    settle().await;
    let second = house.join(&bob, &two);
    settle().await;
    drop(release);
    first.await.expect("no panic").expect("joins");
    second.await.expect("no panic").expect("joins");
    rename.await.expect("no panic");
    assert_eq!(house.name_in(&bob, &one).await, "Robert");
    assert_eq!(house.name_in(&bob, &two).await, "Robert");
}

#[tokio::test]
async fn a_message_that_is_sent_again_before_it_was_written_is_sent_once() {
    let house = House::open().await;
    let alice = house.user("alice").await;
    let room = house.public_room(&alice, None).await.expect("is made");
    let before = (house.events(&room).await.len(), house.rooms.judged.value());
    let release = house.store.hold().await;
    let sends: Vec<_> = (0..10).map(|_| house.say(&alice, &room, "same")).collect();
    let other = house.say(&alice, &room, "other");
    settle().await;
    drop(release);
    let mut ids = std::collections::BTreeSet::new();
    for send in sends {
        let placed = send.await.expect("no panic").expect("is sent");
        ids.insert((placed.event_id, placed.position));
    }
    other.await.expect("no panic").expect("is sent");
    assert_eq!((ids.len(), house.events(&room).await.len()), (1, before.0 + 2));
    assert_eq!(house.rooms.judged.value() - before.1, 2);
}

#[tokio::test]
async fn of_two_rooms_with_one_alias_one_is_made_and_nothing_of_the_other() {
    let house = House::open().await;
    let (alice, bob) = (house.user("alice").await, house.user("bob").await);
    let release = house.store.hold().await;
    let (made, refused, ()) =
        tokio::join!(house.public_room(&alice, Some("a")), house.public_room(&bob, Some("a")), async {
            settle().await;
            drop(release);
        });
    let made = made.expect("is made");
    assert!(matches!(refused, Err(Refusal::AliasTaken)), "{refused:?}");
    let alias = house.store.alias(ruma::room_alias_id!("#a:x")).await.expect("reads").expect("is there");
    assert_eq!(alias.room_id, made);
    assert_eq!(house.store.memberships(&bob.user).await.expect("reads").len(), 0);
    house.events(&made).await;
}

#[tokio::test]
async fn what_was_judged_upon_an_act_that_fails_is_judged_again_and_nothing_is_lost() {
    let house = House::open().await;
    let (alice, bob) = (house.user("alice").await, house.user("bob").await);
    let room = house.public_room(&alice, None).await.expect("is made");
    let before = (house.events(&room).await.len(), house.rooms.judged.value());
    let release = house.store.hold().await;
    // The join carries a name that is another one by the time it is written; what follows it rests upon it.
    let rename = house.rename(&bob, "Robert");
    settle().await;
    let join = house.join(&bob, &room);
    settle().await;
    let mut sends: Vec<_> = (0..20).map(|n| house.say(&alice, &room, &format!("a{n}"))).collect();
    sends.extend((0..20).map(|n| house.say(&bob, &room, &format!("b{n}"))));
    settle().await;
    drop(release);
    join.await.expect("no panic").expect("joins");
    rename.await.expect("no panic");
    let (mut sent, mut refused) = (0, 0);
    for send in sends {
        match send.await.expect("no panic") {
            Ok(_) => sent += 1,
            // Judged again before the join was: then Bob is not in the room.
            Err(Refusal::Forbidden(_)) => refused += 1,
            Err(e) => panic!("{e:?}"),
        }
    }
    assert_eq!(sent + refused, 40);
    assert!(sent >= 20);
    assert_eq!(house.name_in(&bob, &room).await, "Robert");
    assert_eq!(house.events(&room).await.len(), before.0 + 1 + sent);
    let judged = house.rooms.judged.value() - before.1;
    assert!(judged <= 3 * 41, "{judged} judgings");
}

#[tokio::test]
async fn an_act_whose_caller_goes_away_is_brought_to_its_end() {
    let house = House::open().await;
    let alice = house.user("alice").await;
    let room = house.public_room(&alice, None).await.expect("is made");
    let before = house.events(&room).await.len();
    let release = house.store.hold().await;
    let send = house.say(&alice, &room, "1");
    settle().await;
    send.abort();
    settle().await;
    drop(release);
    house.say(&alice, &room, "2").await.expect("no panic").expect("is sent");
    assert_eq!(house.events(&room).await.len(), before + 2);
}

/// Rests upon where an alias leads, which others change whenever they are let to.
struct Overtaken {
    rooms: Arc<Rooms>,
    by: Session,
    alias: OwnedRoomAliasId,
    here: OwnedRoomId,
    there: OwnedRoomId,
    times: AtomicU32,
}

impl Act for Arc<Overtaken> {
    type Answer = ();

    fn room(&self) -> Option<OwnedRoomId> {
        Some(self.here.clone())
    }

    async fn carry_out(&self, proposal: &mut Proposal<'_>) -> Result<(), Refusal> {
        let room = proposal.known_room(&self.here).await?;
        let leads = proposal.alias(&self.alias).await?.is_some();
        proposal.set_listed(&room, true);
        self.times.fetch_add(1, Ordering::Relaxed);
        let others_may_act = self.rooms.passing.try_read().is_ok();
        match others_may_act {
            true if leads => self.rooms.remove_alias(&self.by, &self.alias).await,
            true => self.rooms.add_alias(&self.by, &self.alias, &self.there).await,
            false => Ok(()),
        }
    }
}

#[tokio::test]
async fn an_act_that_others_overtake_whenever_they_can_goes_alone_in_the_end() {
    let house = House::open().await;
    let (ann, ben) = (house.user("ann").await, house.user("ben").await);
    let overtaken = Arc::new(Overtaken {
        rooms: Arc::clone(&house.rooms),
        here: house.public_room(&ann, None).await.expect("a room"),
        there: house.public_room(&ben, None).await.expect("a room"),
        by: ben,
        alias: ruma::room_alias_id!("#a:x").to_owned(),
        times: AtomicU32::default(),
    });
    house.rooms.perform(&ann, Arc::clone(&overtaken)).await.expect("is done in the end");
    assert_eq!(overtaken.times.load(Ordering::Relaxed), 5);
}
