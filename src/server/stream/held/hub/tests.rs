use std::path::PathBuf;

use ruma::{
    OwnedTransactionId,
    api::client::room::create_room::v3::{Request, RoomPreset},
    user_id,
};
use tokio::net::TcpListener;

use super::*;
use crate::server::stream::filter::Timelines;
use crate::{
    core::time::UnixMillis,
    server::{
        app::App,
        change::position::LogPosition,
        clock::Clock,
        config::Config,
        store::NewUser,
        stream::held::line::{Left, Tells},
    },
};

/// A server, one room of two, and a stream of the second.
struct World {
    app: Arc<App>,
    owner: Session,
    reader: Session,
    room: OwnedRoomId,
    line: Arc<Line>,
    lines: Lines,
    _other_end: TcpStream,
    folder: PathBuf,
}

impl World {
    async fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("pilotlight-hub-{name}-{}", std::process::id()));
        let config = Config { data_dir: folder.clone(), ..Config::default() };
        let app = App::open(config, Clock::driven(UnixMillis(1_000_000))).await.expect("opens");
        let [owner, reader] = [user_id!("@owner:localhost"), user_id!("@reader:localhost")];
        for user in [owner, reader] {
            let new = NewUser { id: user.to_owned(), password_hash: None, created_ms: 0, device: None };
            app.store.create_user(new).await.expect("is made");
        }
        let [owner, reader] =
            [owner, reader].map(|user| Session { user: user.to_owned(), device: "D".into() });
        let mut request = Request::new();
        request.preset = Some(RoomPreset::PublicChat);
        let room = app.rooms.create(&owner, request).await.expect("is made");
        app.join(&reader, &room, "{}").await.expect("joins");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("has one");
        let (other_end, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (stream, _) = accepted.expect("is accepted");
        let slot = app.wakers.enter(&reader.user);
        let line = Arc::new(Line::new(reader.clone(), stream, slot, Instant::now()));
        let lines = [(reader.user.clone(), vec![Arc::clone(&line)])].into();
        let _other_end = other_end.expect("connects");
        Self { app, owner, reader, room, line, lines, _other_end, folder }
    }

    async fn say(&self, body: &str) -> LogPosition {
        let (id, content) = (OwnedTransactionId::from(body), format!(r#"{{"body":"{body}"}}"#));
        let sent = self.app.rooms.send_message(&self.owner, &self.room, "m.room.message", &id, &content);
        sent.await.expect("is sent");
        self.app.store.log_position()
    }

    fn here(&self) -> Place {
        place_told(&self.app.stream)
    }

    fn follow(&self) -> bool {
        self.line.begin_look();
        self.line.slot.begin_look();
        self.line.follow(self.here(), tells_all(), Instant::now())
    }

    /// Adds what a pass up to `upto` has.
    fn begin_pass(&self, since: Place, upto: Place) -> (Pass, Vec<Arc<Line>>) {
        let mut pass = Pass::new(since, upto, self.app.clock.now());
        let mut told = Vec::new();
        add_events(&mut pass, &self.app.stream, &self.lines, &mut told);
        (pass, told)
    }

    async fn end(self) {
        self.app.close().await;
        std::fs::remove_dir_all(&self.folder).expect("is there");
    }
}

fn tells_all() -> Tells {
    Tells { presence: true, timelines: Timelines::Whole, ..Tells::default() }
}

fn tell(pass: &mut Pass, told: &[Arc<Line>]) -> usize {
    told.iter().map(|line| line.tell(pass, Instant::now())).sum()
}

#[tokio::test]
async fn whoever_goes_from_a_room_looks_for_what_came_before_that() {
    let world = World::new("goes").await;
    let since = world.here();
    assert!(world.follow());
    let log = world.say("before").await;
    world.app.rooms.leave(&world.reader, &world.room, None).await.expect("leaves");
    // The pass began before the leaving was told, and reads who is there when it is known.
    world.line.slot.begin_look();
    let upto = Place { log, ..world.here() };
    let (mut pass, told) = world.begin_pass(since, upto);
    assert_eq!(tell(&mut pass, &told), 0);
    let Left { since: from, .. } = world.line.leave(upto);
    assert!(from.log < log, "the message was not told");
    world.end().await;
}

#[tokio::test]
async fn whoever_comes_into_a_room_is_not_told_what_came_before_that() {
    let world = World::new("comes").await;
    world.app.rooms.leave(&world.reader, &world.room, None).await.expect("leaves");
    let since = world.here();
    let log = world.say("before").await;
    world.app.join(&world.reader, &world.room, "{}").await.expect("joins");
    let place = Place { log: since.log, ..world.here() };
    world.line.begin_look();
    world.line.slot.begin_look();
    assert!(world.line.follow(place, tells_all(), Instant::now()));
    let (mut pass, told) = world.begin_pass(since, Place { log, ..place });
    assert_eq!(tell(&mut pass, &told), 0);
    world.end().await;
}

#[tokio::test]
async fn who_did_not_follow_looks_from_where_they_were_told_though_others_were_told_more() {
    let world = World::new("missed").await;
    let since = world.here();
    assert!(world.follow());
    world.line.leave(since);
    world.line.begin_look();
    // The look goes up to here; while it is written, a message comes, and something to look at after it.
    let told_up_to = world.here();
    world.say("missed").await;
    let upto = world.here();
    let (mut pass, told) = world.begin_pass(told_up_to, upto);
    assert_eq!(tell(&mut pass, &told), 0);
    world.app.wakers.note_followed(upto);
    world.app.wakers.wake(&world.reader.user);
    assert!(!world.line.follow(told_up_to, tells_all(), Instant::now()));
    let Left { since: from, .. } = world.line.leave(upto);
    assert!(from.log <= told_up_to.log, "{from:?}");
    world.end().await;
}

#[tokio::test]
async fn what_a_look_told_is_not_told_by_the_pass_that_it_came_between() {
    let world = World::new("between").await;
    let since = world.here();
    assert!(world.follow());
    world.say("once").await;
    let (mut pass, told) = world.begin_pass(since, world.here());
    assert_eq!(told.len(), 1);
    world.line.leave(since);
    // The look tells the message.
    assert!(world.follow());
    assert_eq!(tell(&mut pass, &told), 0);
    world.end().await;
}
