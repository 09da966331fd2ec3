//! Changes of lists with a store of their own, and who hears of them.

use std::{path::PathBuf, sync::Weak};

use parking_lot::{Mutex, RwLock};
use ruma::{server_name, user_id};

use super::*;
use crate::{
    core::{
        list::{AutoAccept, Observing},
        time::UnixMillis,
        visibility::Share,
    },
    server::{
        change::feed::{Change, Feed, Subscriber},
        clock::Clock,
        store::{Access, AccountDataError, MAX_ACCOUNT_DATA, MAX_ACCOUNT_DATA_TOTAL, Store, StoreError},
    },
};

/// Has memory follow, and notes what was told.
#[derive(Debug, Default)]
struct Follows {
    contacts: RwLock<Weak<Contacts>>,
    told: Mutex<Vec<Change>>,
}

impl Subscriber for Follows {
    fn follow(&self, change: &Change) {
        self.contacts.read().upgrade().expect("is there").follow(change);
    }

    fn tell(&self, changes: &[Change]) {
        self.told.lock().extend(changes.iter().cloned());
    }
}

impl Follows {
    /// What was told since the last time, in words.
    fn take(&self) -> Vec<String> {
        let told = std::mem::take(&mut *self.told.lock());
        let say = |change: &Change| match change {
            Change::PresenceList { rows, outbox } => {
                let rows =
                    rows.iter().map(|row| format!("{}:{}", row.owner.localpart(), row.contact.localpart()));
                let outbox = outbox.iter().map(|m| format!("{:?} to {}", m.message.kind, m.contact));
                rows.chain(outbox).collect::<Vec<_>>().join(", ")
            }
            Change::PresenceSettings { owner, settings, shared_before } => {
                format!("{} shares {shared_before:?}, {:?}", owner.localpart(), settings.share)
            }
            Change::AccountData { user, .. } => format!("devices of {}", user.localpart()),
            other => panic!("not told here: {other:?}"),
        };
        told.iter().map(say).collect()
    }
}

struct World {
    folder: PathBuf,
    store: Arc<Store>,
    contacts: Arc<Contacts>,
    follows: Arc<Follows>,
}

impl World {
    async fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("pilotlight-lists-{name}-{}", std::process::id()));
        let (feed, follows) = (Arc::new(Feed::default()), Arc::new(Follows::default()));
        let own = server_name!("x");
        let store = Store::open(&folder, own, Access::Sole, Arc::clone(&feed)).expect("opens");
        let store = Arc::new(store);
        let contacts = Arc::new(load(&store).await);
        *follows.contacts.write() = Arc::downgrade(&contacts);
        feed.subscribe(Some(Arc::clone(&follows) as Arc<dyn Subscriber>));
        Self { folder, store, contacts, follows }
    }

    async fn add(&self, owner: &UserId, contact: &UserId) -> Result<(), Refusal> {
        let contact = Arc::from(contact.as_str());
        self.contacts.change(owner, |list| Ok(list.handle_add(&contact, None)?)).await
    }

    fn standing(&self, owner: &UserId) -> Vec<(String, Observing)> {
        let entries = self.contacts.entries(owner).into_iter();
        entries.map(|(user, kept)| (user.localpart().to_owned(), kept.relation.observing())).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).expect("can be removed");
    }
}

async fn load(store: &Arc<Store>) -> Contacts {
    let clock = Clock::driven(UnixMillis(7));
    Contacts::load(Arc::clone(store), clock, server_name!("x").to_owned()).await.expect("can be read")
}

#[tokio::test]
async fn l1_l2_a_change_is_one_write_with_all_that_is_told_of_it_and_memory_follows() {
    let world = World::new("one-write").await;
    let (alice, bob, eve) = (user_id!("@alice:x"), user_id!("@bob:x"), user_id!("@eve:y"));
    world.add(alice, bob).await.expect("is written");
    assert_eq!(world.follows.take(), ["alice:bob, bob:alice", "devices of alice", "devices of bob"]);
    assert_eq!(world.standing(alice), [("bob".to_owned(), Observing::Asked)]);
    assert_eq!(world.contacts.requests(bob), [alice]);
    world.add(alice, eve).await.expect("is written");
    assert_eq!(world.follows.take(), ["alice:eve, Invite to @eve:y", "devices of alice"]);
    let outbox = world.store.list_outbox(server_name!("y"), 10).await.expect("can be read");
    assert_eq!(outbox.len(), 1);
    world.add(alice, eve).await.expect("is so already");
    assert_eq!(world.follows.take(), Vec::<String>::new());
    let stored = load(&world.store).await;
    assert_eq!(stored.entries(alice), world.contacts.entries(alice));
    let told = world.store.account_data(alice, None, LIST_CHANGED).await.expect("can be read");
    assert_eq!(told.as_deref(), Some(r#"{"changed_ts":7}"#));
}

#[tokio::test]
async fn what_is_refused_changes_nothing_and_nobody_hears_of_it() {
    let world = World::new("refused").await;
    let (alice, bob) = (user_id!("@alice:x"), user_id!("@bob:x"));
    let names = [Arc::from("@bob:x"), Arc::from("@alice:x")];
    let add = |list: &mut List| {
        for name in &names {
            list.handle_add(name, None)?;
        }
        Ok(())
    };
    assert!(matches!(world.contacts.change(alice, add).await, Err(Refusal::Add(_))));
    assert_eq!((world.standing(alice), world.contacts.requests(bob)), (Vec::new(), Vec::new()));
    assert_eq!(world.follows.take(), Vec::<String>::new());
}

#[tokio::test]
async fn a_write_that_fails_changes_nothing_in_memory_either() {
    let world = World::new("fails").await;
    let (alice, bob, carol) = (user_id!("@alice:x"), user_id!("@bob:x"), user_id!("@carol:x"));
    world.add(alice, bob).await.expect("is written");
    world.store.close().await;
    let closed = |outcome| matches!(outcome, Err(Refusal::Store(StoreError::Closed)));
    assert!(closed(world.add(alice, carol).await));
    assert!(closed(world.contacts.close(alice).await));
    let settings =
        Settings { share: Share::Nobody, auto_accept: AutoAccept::Everybody, ..Settings::default() };
    assert!(closed(world.contacts.change_settings(bob, settings).await));
    let eve = user_id!("@eve:y");
    let asks = |step: &mut Step<'_>| Ok(step.handle_message(alice, eve, Kind::Invite, Some(1)));
    assert!(closed(world.contacts.change_together(asks).await.map(|_| ())));
    assert_eq!(world.standing(alice), [("bob".to_owned(), Observing::Asked)]);
    let requests = |of| world.contacts.requests(of);
    assert_eq!((requests(alice), requests(bob), requests(carol)), (vec![], vec![alice.to_owned()], vec![]));
    assert_eq!(world.contacts.settings(bob), Settings::default());
}

#[tokio::test]
async fn l3_l6_settings_and_those_whom_they_accept_are_one_write() {
    let world = World::new("settings").await;
    let (alice, bob) = (user_id!("@alice:x"), user_id!("@bob:x"));
    world.add(bob, alice).await.expect("is written");
    world.follows.take();
    let settings = Settings { share: Share::List, auto_accept: AutoAccept::Everybody, ..Settings::default() };
    for told in [
        &["alice:bob, bob:alice", "alice shares SharedRooms, List", "devices of alice", "devices of bob"][..],
        &[],
    ] {
        world.contacts.change_settings(alice, settings.clone()).await.expect("is written");
        assert_eq!(world.follows.take(), told);
        assert_eq!(world.contacts.standing(bob, alice), (true, Share::List));
    }
    world.add(user_id!("@carol:x"), alice).await.expect("is written");
    assert_eq!(world.contacts.observers(alice).len(), 2, "whoever asks from here on is accepted, too");
    let stored = load(&world.store).await;
    assert_eq!((stored.settings(alice), stored.standing(bob, alice)), (settings, (true, Share::List)));
}

#[tokio::test]
async fn who_has_filled_their_account_data_does_not_hold_up_others() {
    let world = World::new("full").await;
    let (alice, bob) = (user_id!("@alice:x"), user_id!("@bob:x"));
    let full = MAX_ACCOUNT_DATA_TOTAL / MAX_ACCOUNT_DATA;
    for n in 0..=full {
        let key = AccountDataKey { user: bob.to_owned(), room: None, kind: format!("x{n}") };
        let put = world
            .store
            .change_account_data(key, |_| Ok::<_, AccountDataError>(Some("x".repeat(MAX_ACCOUNT_DATA))));
        assert_eq!(put.await.is_ok(), n < full);
    }
    world.follows.take();
    world.add(alice, bob).await.expect("is written");
    assert_eq!(world.follows.take(), ["alice:bob, bob:alice", "devices of alice", "devices of bob"]);
}

#[tokio::test]
async fn o5_strangers_of_one_step_count_before_they_are_kept() {
    let world = World::new("strangers").await;
    let alice = user_id!("@alice:x");
    let kept = |step: &mut Step<'_>| {
        let asks = |n: usize| UserId::parse(format!("@u{n}:y")).expect("a user ID");
        Ok((0..1_100).filter(|n| step.handle_message(alice, &asks(*n), Kind::Invite, Some(1))).count())
    };
    assert_eq!(world.contacts.change_together(kept).await.expect("is written"), 1_000);
    assert_eq!(world.contacts.requests(alice).len(), 1_000);
    assert_eq!(world.contacts.change_together(kept).await.expect("is so already"), 1_000);
    let eve = user_id!("@eve:y");
    let accept = |step: &mut Step<'_>| Ok(step.handle_message(alice, eve, Kind::Accept, Some(1)));
    assert!(!world.contacts.change_together(accept).await.expect("nothing to write"));
}
