//! Rooms on a store of their own, and what many do in them at once.

mod bounds;
mod join_answer;
mod past;
mod races;
mod simulation;
mod sites;

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use ruma::{
    OwnedRoomId, RoomVersionId, UserId,
    api::client::room::create_room::v3::{Request, RoomPreset},
    server_name,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{may_begin::MayBegin, parts::Rooms, refusal::Refusal};
use crate::{
    core::visibility::RoomLimit,
    server::{
        change::{
            feed::{Change, Feed, Subscriber},
            position::TimelinePosition,
        },
        clock::Clock,
        event::stored::StoredEvent,
        keys::Signer,
        profile::{Profile, ProfileField},
        session::Session,
        store::{Access, NewUser, Order, Placed, Store},
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

    fn join(&self, session: &Session, room: &OwnedRoomId) -> JoinHandle<Result<OwnedRoomId, Refusal>> {
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

impl Drop for House {
    fn drop(&mut self) {
        assert_eq!(self.rooms.turns.len(), 0, "no room is kept that nobody acts in");
        if let Err(e) = std::fs::remove_dir_all(&self.folder) {
            tracing::debug!(error = %e, "a test's folder stays");
        }
    }
}
