use std::path::PathBuf;

use ruma::{
    OwnedRoomId, OwnedTransactionId,
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
        store::{NewUser, Receipt},
        stream::held::{line::Left, pass::Tells},
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
    other_end: TcpStream,
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
        let other_end = other_end.expect("connects");
        Self { app, owner, reader, room, line, lines, other_end, folder }
    }

    async fn say(&self, body: &str) -> LogPosition {
        let id = body.split(' ').take(2).collect::<String>();
        let (id, content) = (OwnedTransactionId::from(id), format!(r#"{{"body":"{body}"}}"#));
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
        rooms::add(&mut pass, &self.app.stream, &self.lines, &mut told);
        (pass, told)
    }

    async fn end(self) {
        self.app.close().await;
        std::fs::remove_dir_all(&self.folder).expect("is there");
    }
}

fn tells_all() -> Tells {
    let ephemeral = Some(Arc::default());
    Tells { presence: true, timelines: Timelines::Whole, ephemeral, ..Tells::default() }
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

#[tokio::test]
async fn who_types_and_who_has_read_is_told_to_a_room_without_waking_anybody() {
    let world = World::new("ephemeral").await;
    let created = world.app.store.state_event(&world.room, "m.room.create", "").await;
    let event = created.expect("can be read").expect("is there").event_id.to_string();
    let since = world.here();
    assert!(world.follow());
    world.app.typing.start(&world.room, &world.owner.user, Duration::from_secs(30));
    for (shown, kind) in [(true, "m.read"), (false, "m.read.private")] {
        let receipt = Receipt {
            room: world.room.clone(),
            user: world.owner.user.clone(),
            kind: kind.into(),
            thread: "main".into(),
            event: event.clone(),
            ts_ms: 7,
            shown,
        };
        world.app.store.put_receipt(receipt).await.expect("is kept");
    }
    assert!(!world.line.slot.is_woken() && !world.line.is_to_look());
    let upto = world.here();
    let (mut pass, told) = world.begin_pass(since, upto);
    tell(&mut pass, &told);
    let mut read = vec![0; 4096];
    let count = world.other_end.peek(&mut read).await.expect("is written");
    let written = str::from_utf8(&read[..count]).expect("is text");
    let (room, owner) = (&world.room, &world.owner.user);
    let expected = format!(
        "event:typing\ndata:{{\"room_id\":\"{room}\",\"user_ids\":[\"{owner}\"]}}\n\n\
         event:receipt\ndata:{{\"room_id\":\"{room}\",\"content\":{{\"{event}\":{{\"m.read\":{{\"{owner}\":\
         {{\"ts\":7,\"thread_id\":\"main\"}}}}}}}}}}\nid:"
    );
    assert!(written.starts_with(&expected), "{written}");
    // Neither is anything new to count for who has not read.
    assert!(!world.line.is_to_look());
    let Left { since, .. } = world.line.leave(upto);
    assert_eq!(since, upto);
    world.end().await;
}

#[tokio::test]
async fn more_than_is_in_memory_or_in_one_write_is_looked_up_by_the_reader() {
    let world = World::new("burst").await;
    let long = "x".repeat(60_000);
    for count in [5, 150] {
        let since = world.here();
        assert!(world.follow());
        for n in 0..count {
            world.say(&format!("{count} {n} {long}")).await;
        }
        let upto = world.here();
        let (mut pass, told) = world.begin_pass(since, upto);
        // Of the smaller burst all is in memory.
        assert_eq!(told.len(), usize::from(count == 5));
        tell(&mut pass, &told);
        assert!(world.line.is_to_look());
        assert_eq!(world.line.leave(upto).since, since, "from before what was not told");
    }
    world.end().await;
}

#[tokio::test]
async fn for_who_takes_nothing_no_more_is_held_however_much_happens() {
    let world = World::new("silent").await;
    let junk = [b'x'; 4096];
    while world.line.stream.try_write(&junk).is_ok() {}
    let mut since = world.here();
    assert!(world.follow());
    for n in 0..10_000 {
        if n % 2 == 0 {
            world.app.typing.start(&world.room, &world.owner.user, Duration::from_secs(30));
        } else {
            world.app.typing.stop(&world.room, &world.owner.user);
        }
        let upto = world.here();
        let (mut pass, told) = world.begin_pass(since, upto);
        tell(&mut pass, &told);
        since = upto;
    }
    let Left { rest, uncounted, is_broken, .. } = world.line.leave(since);
    assert!(rest.len() < junk.len() && uncounted.is_empty() && !is_broken, "{} bytes", rest.len());
    world.end().await;
}

#[tokio::test]
async fn of_too_many_streams_of_one_user_the_oldest_ends() {
    let world = World::new("many").await;
    let hub = Arc::new(Hub::new(Arc::clone(&world.app.wakers), Arc::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("has one");
    let mut seats = Vec::new();
    for n in 0..MAX_OF_USER + 1 {
        let (end, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let session =
            Session { user: world.reader.user.clone(), device: format!("{}", n / MAX_OF_DEVICE).into() };
        seats.push((hub.enter(session, accepted.expect("is accepted").0), end.expect("connects")));
    }
    let replaced: Vec<_> = seats.iter().map(|(seat, _)| seat.line.is_replaced()).collect();
    assert!(replaced[0] && !replaced[1..].contains(&true));
    drop(seats);
    assert_eq!(hub.open_streams(), 0);
    world.end().await;
}

#[tokio::test]
async fn who_was_woken_before_a_pass_looks_for_what_it_had_though_a_later_one_sends_them_away() {
    let world = World::new("away").await;
    let since = world.here();
    assert!(world.follow());
    world.app.wakers.note_followed(since);
    // Woken, and not there yet: the pass leaves them to themselves.
    world.app.wakers.wake(&world.reader.user);
    let log = world.say("once").await;
    let upto = world.here();
    let (mut pass, told) = world.begin_pass(since, upto);
    assert_eq!((told.len(), tell(&mut pass, &told)), (1, 0));
    world.app.wakers.note_followed(upto);
    world.line.send_away(&Pass::new(upto, upto, world.app.clock.now()));
    let Left { since: from, .. } = world.line.leave(upto);
    assert!(from.log < log, "the message was not told");
    world.end().await;
}
