//! What a client that follows its stream learns where it is told less than happened: case by case.

use ruma::{OwnedTransactionId, UserId};

use super::{USERS, VISIBILITIES, World};
use crate::server::session::Session;

/// All of them.
fn sessions() -> [Session; 5] {
    USERS.map(|name| Session { user: UserId::parse(name).expect("a user ID"), device: "D".into() })
}

#[tokio::test]
async fn who_is_told_only_that_they_are_asked_back_in_learns_what_changed_before_they_were_put_out() {
    // How the reader is put out; whether they refuse, and are asked in once more; whether the server restarts.
    let cases = (0..4).flat_map(|how| [(how, false, how == 0), (how, true, false)]);
    for (how, refuses, restarts) in cases {
        // A seed, and with it a folder, that no other test has.
        let mut world = World::new(1_000_000 + how as u64).await;
        world.done.push(format!("put out by way {how}, refuses: {refuses}, restarts: {restarts}"));
        let room = world.rooms[0].clone();
        let [_, reader, a, b, c] = sessions();
        for user in [&reader, &a, &b] {
            world.app.join(user, &room, "{}").await.expect("joins");
        }
        for user in [&a, &b] {
            let id = OwnedTransactionId::from("said");
            let said = world.app.rooms.send_message(user, &room, "m.room.message", &id, r#"{"body":"x"}"#);
            said.await.expect("is said");
        }
        let mut clients = world.clients();
        world.all_follow(&mut clients).await;
        world.app.rooms.leave(&a, &room, None).await.expect("leaves");
        world.app.join(&c, &room, "{}").await.expect("joins");
        world.set(&room, "m.room.join_rules", "join_rule", if how == 2 { "knock" } else { "public" }).await;
        world.put_out_and_ask_back(how, &room, &reader).await;
        world.all_follow(&mut clients).await;
        if refuses {
            world.app.rooms.leave(&reader, &room, None).await.expect("refuses");
            world.all_follow(&mut clients).await;
        }
        if restarts {
            world.restart().await;
        }
        world.set(&room, "m.room.join_rules", "join_rule", "public").await;
        for n in 0..4 {
            world.set(&room, "m.room.topic", "topic", &n.to_string()).await;
        }
        world.app.join(&reader, &room, "{}").await.expect("joins");
        world.all_follow(&mut clients).await;
        world.app.close().await;
        std::fs::remove_dir_all(&world.folder).expect("is there");
    }
}

#[tokio::test]
async fn who_refuses_an_invite_and_comes_later_learns_what_became_of_whom_they_saw_then() {
    // What becomes of somebody who is invited when the reader refuses; whether the reader looked before that, was in the
    // room once, and whether the server restarts.
    let cases = VISIBILITIES.iter().flat_map(|visibility| {
        ["ban", "leave", "join"].into_iter().enumerate().map(move |(n, what)| (*visibility, n, what))
    });
    for (count, (visibility, n, what)) in cases.enumerate() {
        let (looks, was_in, restarts) = (n == 1, n == 2, count == 0);
        // A seed, and with it a folder, that no other test has.
        let mut world = World::new(2_000_000 + count as u64).await;
        world
            .done
            .push(format!("{visibility} {what}, looks: {looks}, was in: {was_in}, restarts: {restarts}"));
        let room = world.rooms[0].clone();
        world.set(&room, "m.room.history_visibility", "history_visibility", visibility).await;
        let [admin, reader, a, ..] = sessions();
        let mut clients = world.clients();
        if was_in {
            world.app.join(&reader, &room, "{}").await.expect("joins");
            world.all_follow(&mut clients).await;
            world.app.rooms.leave(&reader, &room, None).await.expect("leaves");
        }
        world.app.rooms.invite(&admin, &room, &reader.user, None).await.expect("is invited");
        if looks {
            world.all_follow(&mut clients).await;
        }
        world.app.rooms.invite(&admin, &room, &a.user, None).await.expect("is invited");
        world.app.rooms.leave(&reader, &room, None).await.expect("refuses");
        world.all_follow(&mut clients).await;
        match what {
            "ban" => world.app.rooms.ban(&admin, &room, &a.user, None).await.map(drop).expect("is banned"),
            "leave" => world.app.rooms.leave(&a, &room, None).await.map(drop).expect("refuses"),
            _ => world.app.join(&a, &room, "{}").await.map(drop).expect("joins"),
        }
        if restarts {
            world.restart().await;
        }
        for n in 0..4 {
            world.set(&room, "m.room.topic", "topic", &n.to_string()).await;
        }
        world.app.join(&reader, &room, "{}").await.expect("joins");
        world.all_follow(&mut clients).await;
        world.app.close().await;
        std::fs::remove_dir_all(&world.folder).expect("is there");
    }
}
