//! What the engine puts on the board, and what it tells of that.

use std::{path::PathBuf, time::Duration};

use ruma::{server_name, user_id};

use super::*;
use crate::{
    core::{
        federation::Availability,
        presence::{SetPresence, State, StatusMsg, Words},
        time::UnixMillis,
    },
    server::{
        change::feed::Subscriber,
        presence::{connection::Connected, said::Said},
        session::Session,
        store::Access,
    },
};

/// What was told, in its order.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<feed::Change>>);

impl Subscriber for Told {
    fn follow(&self, _: &feed::Change) {}

    fn tell(&self, changes: &[feed::Change]) {
        self.0.lock().extend_from_slice(changes);
    }
}

struct World {
    folder: PathBuf,
    presence: Arc<Presence>,
    told: Arc<Told>,
}

impl World {
    async fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("pilotlight-presence-{name}-{}", std::process::id()));
        let (feed, told) = (Arc::new(Feed::default()), Arc::new(Told::default()));
        feed.subscribe(Some(Arc::clone(&told) as Arc<dyn Subscriber>));
        let store = Store::open(&folder, server_name!("a"), Access::Sole, Arc::clone(&feed)).expect("opens");
        let live = Arc::new(Live::new(100));
        let config = config::Config::default();
        let presence = Presence::load(
            Arc::new(store),
            Clock::driven(UnixMillis(1_000_000)),
            Arc::clone(&live),
            feed,
            Arc::new(RateLimits::new(config.rate_limits)),
            Arc::new(Board::new(live)),
            &config.presence,
        );
        Self { folder, presence: Arc::new(presence.await.expect("is read")), told }
    }

    async fn connect(&self, session: &Session) -> Connected {
        self.presence.connect(session, SetPresence::Absent, None).await.expect("connects")
    }

    async fn choose(&self, session: &Session, choice: Choice) {
        let now = self.presence.clock.now();
        let said = Said::put(session.device.clone(), Words::Ours, choice, StatusMsg::Keep, now);
        tokio::select! {
            () = self.presence.run() => {}
            taken = self.presence.handle_said(session, said) => taken.expect("is taken"),
        }
    }

    /// What was told since the last call: `own`, `quiet`, `visible` or `hidden`.
    fn told(&self) -> Vec<&'static str> {
        let told = std::mem::take(&mut *self.told.0.lock());
        let word = |change: &feed::Change| match change {
            feed::Change::Presence { change: Change::Own, .. } => "own",
            feed::Change::Presence { change: Change::Quiet, .. } => "quiet",
            feed::Change::Presence { change: Change::Visible, .. } => "visible",
            feed::Change::Hidden { .. } => "hidden",
            other => panic!("nothing else is told here: {other:?}"),
        };
        told.iter().map(word).collect()
    }

    async fn end(self) {
        self.presence.store.close().await;
        std::fs::remove_dir_all(&self.folder).expect("can be removed");
    }
}

fn alice() -> Session {
    Session { user: user_id!("@alice:a").to_owned(), device: "DESK".into() }
}

fn text(event: &PresenceEvent) -> String {
    let mut out = Vec::new();
    event.write(&mut out, Instant::from_millis(1_000_000));
    String::from_utf8(out).expect("is text")
}

#[tokio::test]
async fn p10_a_profile_is_told_with_one_event_and_of_whom_nobody_heard_with_none() {
    let (world, alice) = (World::new("profile").await, alice());
    let profile = |name: &str| Profile { displayname: Some(name.to_owned()), avatar_url: None };
    world.presence.handle_profile(&alice.user, profile("Nobody"));
    assert_eq!((world.told(), world.presence.event(&alice.user).is_none()), (vec![], true));
    let connected = world.connect(&alice).await;
    assert_eq!(world.told(), ["visible"]);
    world.presence.handle_profile(&alice.user, profile("Ada"));
    assert_eq!(world.told(), ["visible"]);
    let event = world.presence.event(&alice.user).expect("is on the board");
    assert!(text(&event).contains(r#""displayname":"Ada""#), "{}", text(&event));
    assert_eq!(world.presence.displayname(&alice.user).as_deref(), Some("Ada"));
    drop(connected);
    world.end().await;
}

#[tokio::test]
async fn p4_who_hides_is_said_to_though_nothing_else_changes() {
    let (world, alice) = (World::new("hides").await, alice());
    let connected = world.connect(&alice).await;
    world.told();
    world.choose(&alice, Choice::Hidden).await;
    assert_eq!(world.told(), ["visible", "hidden"]);
    assert!(world.presence.is_hidden(&alice.user, world.presence.clock.now()));
    world.choose(&alice, Choice::Hidden).await;
    assert_eq!(world.told(), ["hidden"], "what they began in between ends, too");
    world.choose(&alice, Choice::Online).await;
    assert_eq!(world.told(), ["visible"]);
    drop(connected);
    world.end().await;
}

#[tokio::test]
async fn what_is_told_has_the_status_and_the_position_that_the_board_has() {
    let (world, alice) = (World::new("status").await, alice());
    assert_eq!(world.presence.status(&alice.user), (LivePosition::START, Status::default()));
    let connected = world.connect(&alice).await;
    world.choose(&alice, Choice::Busy).await;
    let last = world.told.0.lock().last().cloned();
    let Some(feed::Change::Presence { position, status, .. }) = last else { panic!("a change: {last:?}") };
    assert_eq!(status.shown.availability, Availability::Busy);
    assert_eq!(world.presence.status(&alice.user), (position, status));
    let there = world.presence.board.changed(LivePosition::START, position);
    assert_eq!(there.into_iter().map(|(_, event)| event.state()).collect::<Vec<_>>(), [State::Busy]);
    assert!(world.presence.own_event(&alice.user, position, Instant::ZERO).is_none(), "they have seen it");
    drop(connected);
    world.presence.clock.advance(Duration::from_secs(3600));
    world.presence.handle_timeout();
    assert_eq!(world.presence.status(&alice.user).1.shown.availability, Availability::Offline);
    world.end().await;
}
