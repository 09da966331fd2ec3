//! Many streams, and somebody who has all of them look at every turn: whatever comes between what, nobody misses a
//! message, and nobody is told one twice.

use std::collections::BTreeMap;

use ruma::{
    OwnedTransactionId, OwnedUserId,
    api::client::room::create_room::v3::{Request, RoomPreset},
};
use tokio::{io::AsyncReadExt, net::TcpListener, task::yield_now};

use super::*;
use crate::{
    core::time::UnixMillis,
    server::{
        app::App,
        clock::Clock,
        config::Config,
        http::Socket,
        session::TokenHash,
        store::{NewDevice, NewUser, Receipt},
        stream::{Filter, Sources, Token, held::Open},
    },
};

const USERS: usize = 4;

const STREAMS_OF_EACH: usize = 8;

const MESSAGES: usize = 400;

async fn user(app: &App, name: &str) -> Session {
    let user = OwnedUserId::try_from(format!("@{name}:localhost")).expect("a user ID");
    let device = NewDevice {
        id: "D".into(),
        display_name: None,
        token_hash: TokenHash::of(name),
        seen_ms: 0,
        tokens: None,
    };
    let new = NewUser { id: user.clone(), password_hash: None, created_ms: 0, device: Some(device) };
    app.store.create_user(new).await.expect("is made");
    Session { user, device: "D".into() }
}

/// What a reader was told of messages, by their bodies, until the last one.
async fn read(mut end: TcpStream) -> BTreeMap<String, usize> {
    const BODY: &str = r#""body":""#;
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let count = end.read(&mut piece).await.expect("goes on");
        assert!(count > 0, "ended: {}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&piece[..count]);
        if !all.ends_with(b"\n\n") {
            continue;
        }
        let text = str::from_utf8(&all).expect("is text");
        if !text.contains(r#""body":"end""#) {
            continue;
        }
        assert!(!text.contains(r#""limited":true"#), "more between two looks than one tells");
        let mut told = BTreeMap::new();
        for body in text.split(BODY).skip(1).filter_map(|rest| rest.split('"').next()) {
            *told.entry(body.to_owned()).or_default() += 1;
        }
        return told;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_misses_a_message_or_is_told_it_twice_while_all_look_at_every_turn() {
    let folder = std::env::temp_dir().join(format!("pilotlight-hub-stress-{}", std::process::id()));
    let config = Config { data_dir: folder.clone(), ..Config::default() };
    let app = App::open(config, Clock::driven(UnixMillis(1_000_000))).await.expect("opens");
    let mut users = Vec::new();
    for n in 0..USERS {
        users.push(user(&app, &format!("u{n}")).await);
    }
    let mut request = Request::new();
    request.preset = Some(RoomPreset::PublicChat);
    let room = app.rooms.create(&users[0], request).await.expect("is made");
    for user in &users[1..] {
        app.join(user, &room, "{}").await.expect("joins");
    }
    let since = Token::new(app.store.log_position(), app.live.position());
    let filter = Arc::new(Filter::parse(r#"{"room":{"timeline":{"limit":100}}}"#).expect("a filter"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("has one");
    let mut readers = Vec::new();
    for (n, user) in users.iter().enumerate() {
        for _ in 0..STREAMS_OF_EACH {
            let (end, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
            let (stream, _) = accepted.expect("is accepted");
            let open = Open {
                since: Some(since.clone()),
                filter: Arc::clone(&filter),
                set_presence: None,
                device_type: None,
                entered: Vec::new(),
                token: TokenHash::of(&format!("u{n}")),
            };
            let sources = Sources::new(Arc::clone(&app.stream));
            let begin = open.begin(&app.hub, sources, user.clone());
            tokio::spawn(begin(Socket { stream, head: Vec::new() }));
            readers.push(tokio::spawn(read(end.expect("connects"))));
        }
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0.. {
                app.hub.tick(true);
                if turn % 3 == 0 {
                    app.wakers.wake_all(users.iter().map(|user| &*user.user));
                }
                if turn % 5 == 0 {
                    let place = app.wakers.followed();
                    let pass = Pass::new(place, place, app.clock.now());
                    let lines = app.hub.lines.read();
                    users
                        .iter()
                        .flat_map(|user| of_user(&lines, &user.user))
                        .for_each(|line| line.send_away(&pass));
                }
                if is_over.load(Ordering::Acquire) {
                    break;
                }
                thread::sleep(Duration::from_micros(turn % 7 * 100));
            }
        });
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(act(&app, &room, &users));
            is_over.store(true, Ordering::Release);
        });
    });
    let mut all: Vec<_> = (0..MESSAGES).map(|n| (n.to_string(), 1)).collect();
    all.push(("end".to_owned(), 1));
    let all: BTreeMap<String, usize> = all.into_iter().collect();
    for reader in readers {
        let told = tokio::time::timeout(Duration::from_secs(20), reader).await;
        assert_eq!(told.expect("is told the last").expect("no panic"), all);
    }
    while app.hub.open_streams() > 0 {
        yield_now().await;
    }
    app.close().await;
    std::fs::remove_dir_all(&folder).expect("is there");
}

/// Users speak, read and type at once.
async fn act(app: &App, room: &OwnedRoomId, users: &[Session]) {
    let say = async |user: &Session, body: &str| {
        let (id, content) = (OwnedTransactionId::from(body), format!(r#"{{"body":"{body}"}}"#));
        app.rooms.send_message(user, room, "m.room.message", &id, &content).await.expect("is sent")
    };
    let speak = async |who: usize| {
        for n in (who..MESSAGES).step_by(USERS) {
            let said = say(&users[who], &n.to_string()).await;
            match n % 7 {
                0 => app.typing.start(room, &users[who].user, Duration::from_secs(30)),
                1 => app.typing.stop(room, &users[who].user),
                2 => {
                    let receipt = Receipt {
                        room: room.clone(),
                        user: users[who].user.clone(),
                        kind: "m.read".into(),
                        thread: String::new(),
                        event: said.event_id.to_string(),
                        ts_ms: 0,
                        shown: true,
                    };
                    app.store.put_receipt(receipt).await.expect("is kept");
                }
                _ => {}
            }
        }
    };
    tokio::join!(speak(0), speak(1), speak(2), speak(3));
    say(&users[0], "end").await;
}
