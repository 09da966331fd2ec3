//! How many rooms and invitations one user can have, also when many acts race for the last places.

use std::sync::Arc;

use ruma::{OwnedRoomId, UserId, user_id};
use serde_json::json;

use super::House;
use crate::{
    core::visibility::RoomLimit,
    server::{
        change::{
            feed::Change,
            position::{LogPosition, TimelinePosition},
        },
        event::stored::{Columns, StoredEvent},
        rooms::{
            bounds::{MAX_AWAITED_ROOMS, MAX_INVITES_BY_ONE, MAX_JOINED_ROOMS},
            members::Members,
            refusal::Refusal,
        },
        session::Session,
    },
};

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
        ours: false,
        unasked: false,
        hidden: false,
        lacks: false,
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

    let again =
        Members::load(&house.store, &house.rooms.server_name, RoomLimit::default()).await.expect("loads");
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
