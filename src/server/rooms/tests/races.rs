//! Acts that race each other: what is judged beside the writer comes out as if one had followed the other.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use ruma::{OwnedRoomAliasId, OwnedRoomId, RoomVersionId, UserId};

use super::{House, simulation::World};
use crate::server::{
    change::position::TimelinePosition,
    event::stored::StoredEvent,
    rooms::{Whose, parts::Rooms, proposal::Proposal, refusal::Refusal, write::Act},
    session::Session,
    store::{Kinds, NewUser},
};

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
    let mut ids = BTreeSet::new();
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
    let mut ids = BTreeSet::new();
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
            true if leads => self.rooms.remove_alias(&self.by, Whose::Members, &self.alias).await,
            true => self.rooms.add_alias(&self.by, Whose::Members, &self.alias, &self.there).await,
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

#[tokio::test]
async fn who_comes_in_while_the_last_of_this_server_goes_does_not_come_in_by_what_is_known_here() {
    let world = World::new(1, RoomVersionId::V11, 2).await;
    let (site, room) = (&world.sites[1], world.room.room_id.clone());
    let id = UserId::parse(format!("@late:{}", site.name)).expect("an ID");
    let late = Session { user: id.clone(), device: "D".into() };
    site.store
        .create_user(NewUser { id, password_hash: None, created_ms: 0, device: None })
        .await
        .expect("is made");
    let release = site.store.hold().await;
    let (rooms, last, there) = (Arc::clone(&site.rooms), site.user.clone(), room.clone());
    let leave = tokio::spawn(async move { rooms.leave(&last, &there, None).await });
    settle().await;
    let (rooms, there) = (Arc::clone(&site.rooms), room.clone());
    let by = late.clone();
    let join = tokio::spawn(async move { rooms.join(&by, &there, "{}").await });
    settle().await;
    assert!(site.rooms.takes_part(&room), "it is not on the disk");
    drop(release);
    leave.await.expect("no panic").expect("leaves");
    let joined = join.await.expect("no panic");
    assert!(matches!(joined, Err(Refusal::UnableToAuthorise)), "{joined:?}");
    let after = site.rooms.join(&late, &room, "{}").await;
    assert!(matches!(after, Err(Refusal::UnableToAuthorise)), "{after:?}");
    // Of a room that nobody else is in either, all that there is to know is here.
    let house = House::open().await;
    let alice = house.user("alice").await;
    let alone = house.public_room(&alice, None).await.expect("is made");
    house.rooms.leave(&alice, &alone, None).await.expect("leaves");
    house.join(&alice, &alone).await.expect("no panic").expect("joins");
}
