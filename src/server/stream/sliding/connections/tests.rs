use ruma::{RoomId, user_id};

use super::*;
use crate::server::{
    change::position::LivePosition,
    event::stored::Membership,
    stream::sliding::{request::Config, sent::Has},
};

fn session(device: &str) -> Session {
    Session { user: user_id!("@a:x").to_owned(), device: device.into() }
}

fn token(log: u64) -> Token {
    Token::new(LogPosition::new(log), LivePosition::new(7))
}

fn sent() -> Sent {
    Sent {
        room: Upto::Live,
        is: Membership::Join,
        since: LogPosition::START,
        config: Arc::new(Config::default()),
        has: Has::All,
        bump: LogPosition::START,
        is_dm: false,
        unread: Default::default(),
        members: Vec::new(),
        account_data: Upto::Live,
        receipts: Upto::Live,
        typing: Upto::Live,
        shows_typing: false,
    }
}

/// Which rooms an answer is about.
fn about(rooms: std::ops::Range<usize>) -> Changed {
    let id = |n| RoomId::parse(format!("!{n}:x")).expect("a room ID");
    Changed { rooms: rooms.map(|n| (id(n), Some(sent()))).collect(), ..Changed::default() }
}

#[test]
fn what_a_client_has_is_what_it_comes_back_with() {
    let (connections, session, log) = (Connections::default(), session("D"), LogPosition::new(9));
    let begin = |pos: Option<&Pos>| connections.begin(&session, "", pos, log);
    let first = begin(None).expect("begins");
    let one = connections.answered(&session, "", &first, (token(1), about(0..2))).expect("is its turn");
    let second = begin(Some(&one)).expect("goes on");
    assert_eq!((second.state.rooms.len(), second.state.pos.as_ref()), (2, Some(&one)));
    let two = connections.answered(&session, "", &second, (token(2), about(2..3))).expect("is its turn");
    // The answer did not arrive.
    let again = begin(Some(&one)).expect("goes on again");
    assert_eq!(again.state.rooms.len(), 2);
    // Who was overtaken by a request of the same client is told nothing that counts.
    assert!(connections.answered(&session, "", &second, (token(2), about(0..9))).is_none());
    let three = connections.answered(&session, "", &again, (token(3), about(2..5))).expect("is its turn");
    assert!(begin(Some(&two)).is_err(), "nobody has what was answered instead");
    assert_eq!(begin(Some(&three)).expect("goes on").state.rooms.len(), 5);
    assert!(begin(Some(&one)).is_err(), "it has gone on from there");
    let anew = begin(None).expect("begins anew").state;
    assert_eq!((anew.rooms.len(), anew.token.clone()), (0, Some(token(3).lives_anew())));
}

#[test]
fn connections_are_so_many_and_those_of_devices_that_are_gone_are_gone() {
    let (connections, log) = (Connections::default(), LogPosition::new(9));
    for n in 0..2 * MAX_OF_DEVICE {
        let session = session("D");
        let place = connections.begin(&session, &n.to_string(), None, log).expect("begins");
        connections.answered(&session, &n.to_string(), &place, (token(1), about(0..3)));
    }
    let count = || {
        let all = connections.0.lock();
        let devices: usize = all.devices.values().map(BTreeMap::len).sum();
        assert_eq!(devices, all.by_use.len());
        let bytes: usize =
            all.devices.values().flat_map(BTreeMap::values).map(|connection| connection.bytes).sum();
        assert_eq!(bytes, all.bytes);
        (devices, all.bytes > devices * EMPTY)
    };
    assert_eq!(count(), (MAX_OF_DEVICE, true));
    let (user, devices) = (session("D").user, vec!["D".into()]);
    connections.follow(&Change::SessionsEnded { user, tokens: Vec::new(), devices, none_left: true });
    assert_eq!(count(), (0, false));
}

#[test]
fn connections_of_a_user_are_so_many_and_the_one_used_longest_ago_goes() {
    let (connections, log) = (Connections::default(), LogPosition::new(9));
    let other = Session { user: user_id!("@b:x").to_owned(), device: "D".into() };
    connections.begin(&other, "", None, log).expect("begins");
    for n in 0..=MAX_OF_USER {
        connections.begin(&session(&format!("D{n:02}")), "", None, log).expect("begins");
    }
    let all = connections.0.lock();
    let has = |session: Session| all.devices.contains_key(&(session.user, session.device));
    assert_eq!((all.by_use.len(), all.devices.len()), (MAX_OF_USER + 1, MAX_OF_USER + 1));
    assert!(has(other) && !has(session("D00")) && has(session("D01")));
}

#[test]
fn all_connections_take_so_many_bytes_and_the_one_used_longest_ago_goes() {
    let (connections, log) = (Connections::with(200_000), LogPosition::new(9));
    let user = |n: usize| {
        let user = UserId::parse(format!("@user{n}:x")).expect("a user ID");
        Session { user, device: "D".into() }
    };
    let mut positions = Vec::new();
    for n in 0..40 {
        let place = connections.begin(&user(n), "", None, log).expect("begins");
        positions.push(connections.answered(&user(n), "", &place, (token(1), about(0..50))));
        assert!(connections.0.lock().bytes <= 200_000);
    }
    let count = connections.0.lock().by_use.len();
    assert!((5..30).contains(&count), "{count} of {} bytes each", 200_000 / count);
    let goes_on = |n: usize| connections.begin(&user(n), "", positions[n].as_ref(), log).is_ok();
    assert!(goes_on(39) && goes_on(40 - count / 2) && !goes_on(0) && !goes_on(40 - count - 1));
    // One that alone is more goes on.
    let place = connections.begin(&user(50), "", None, log).expect("begins");
    let pos = connections.answered(&user(50), "", &place, (token(1), about(0..2_000)));
    assert_eq!(connections.0.lock().by_use.len(), 1);
    assert!(connections.begin(&user(50), "", pos.as_ref(), log).is_ok());
}

#[test]
fn what_is_counted_of_a_connection_is_what_it_has() {
    let (connections, session, log) = (Connections::default(), session("D"), LogPosition::new(9));
    let mut pos = None;
    for n in 0..30 {
        let place = connections.begin(&session, "", pos.as_ref(), log).expect("goes on");
        let mut changed = about(n..n + 5);
        let config = Arc::new(Config { timeline_limit: n, ..Config::default() });
        for (m, sent) in changed.rooms.values_mut().enumerate() {
            match (m, n % 3) {
                (2, 1) => *sent = None,
                _ => sent.as_mut().expect("is there").config = Arc::clone(&config),
            }
        }
        pos = connections.answered(&session, "", &place, (token(n as u64), changed));
        let mut anew = Weights::default();
        place.state.rooms.iter().for_each(|(room, sent)| anew.add(room, sent));
        assert_eq!(place.state.weights.bytes(), anew.bytes(), "{n}");
    }
}

/// Of what a connection remembers of a room.
#[test]
fn a_room_that_was_sent_takes_little() {
    let size = size_of::<Sent>();
    assert!(size <= 160, "{size} bytes");
}
