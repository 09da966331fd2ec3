//! What other servers say of presence, and of rooms beside events: each message by itself.

use std::time::Duration;

use ruma::server_name;
use serde_json::value::RawValue;

use crate::{
    core::{
        federation::{Asked, Edu, Names, Push, Server, Speech, decode, decode_brief, encode, encode_brief},
        list::{Half, Kind, Message},
    },
    server::{
        config::{Federation, servers::Policy},
        federation::{
            list_edu::{Between, ListEdu, content, edu_type},
            room_edus::{Typing, read_receipts},
        },
        list::ListMessage,
    },
};

/// What a peer may say at most, as FEDERATION.md has it.
const MAX_BYTES: usize = 256 * 1024;
const MAX_USERS: usize = 5_000;
const MAX_INTEGER: u64 = (1 << 53) - 1;
const MAX_SEQ: u64 = 1 << 52;
const CENTURY: Duration = Duration::from_millis(100 * 366 * 24 * 3_600 * 1_000);
const DEFAULT_PROMISE: Duration = Duration::from_secs(120);

/// Two servers and users of each, some with names that JSON has to escape.
fn people() -> (Names, Server, Server) {
    let mut names = Names::default();
    let mut server = |users: &[&str]| {
        let users: Vec<_> = users.iter().map(|id| names.user(id).expect("an ID")).collect();
        users[0].server
    };
    let to = server(&["@alice:a.example", "@anna:a.example", "@q\"uo\\te:a.example"]);
    let from = server(&["@bob:b.example", "@bert:b.example", "@\u{fc}n\u{ef}\u{1}:b.example"]);
    (names, from, to)
}

/// `m.presence`, in Matrix's form and in the short one: what is taken is within its bounds, and comes back as it went
/// in either form.
pub(super) fn presence_edu(data: &[u8]) {
    let Ok(json) = str::from_utf8(data) else { return };
    let (names, from, to) = people();
    let Ok(edu) = decode(&names, from, to, json) else { return };
    assert!(data.len() <= MAX_BYTES && edu.users() <= MAX_USERS);
    assert!(edu.push.iter().all(|push| push.user.server == from), "it speaks for its own users");
    assert!(edu.withdrawn.iter().all(|user| user.server == from), "it takes back its own users");
    let asked = || edu.poll.iter().chain(&edu.unpoll);
    assert!(asked().all(|asked| !matches!(asked, Asked::Known(user) if user.server != to)));
    for Push { shown, last_active_ago, away_ago, .. } in &edu.push {
        assert_eq!(shown.clone().bounded(), *shown, "texts are cut to what is let over the wire");
        assert!([last_active_ago, away_ago].into_iter().flatten().all(|&ago| ago <= CENTURY));
    }
    let Some(link) = edu.link else {
        let alone = Edu { push: Vec::new(), poll: Vec::new(), unpoll: Vec::new(), ..edu };
        assert_eq!(alone, Edu::default(), "without a place in the talk there is only what Matrix has");
        return;
    };
    assert!((1..=MAX_INTEGER).contains(&link.seq) && link.epoch <= MAX_INTEGER);
    comes_back(&names, from, to, writable(edu));
}

/// Strangers have no name that could be written; the usual promise is left out.
fn writable(mut edu: Edu) -> Edu {
    let known = |asked: &Asked| matches!(asked, Asked::Known(_));
    edu.poll.retain(known);
    edu.unpoll.retain(known);
    edu.link = edu.link.map(|mut link| {
        link.promise = link.promise.filter(|&promise| promise != DEFAULT_PROMISE);
        link
    });
    edu
}

fn comes_back(names: &Names, from: Server, to: Server, edu: Edu) {
    for speech in [Speech::Extended, Speech::Unknown] {
        let written = encode(names, &edu, speech);
        if written.len() > MAX_BYTES {
            continue;
        }
        let mut expected = edu.clone();
        if speech == Speech::Unknown {
            // Matrix has no word for "never".
            expected.push.iter_mut().for_each(|push| {
                push.last_active_ago.get_or_insert(Duration::ZERO);
            });
        }
        assert_eq!(decode(names, from, to, &written), Ok(expected), "{written}");
    }
}

/// The brief form of a reminder: one number is written in one way, and nothing but a reminder comes of it.
pub(super) fn brief_reminder(data: &[u8]) {
    let Ok(brief) = str::from_utf8(data) else { return };
    let Ok(edu) = decode_brief(brief) else { return };
    let (link, reminder) = (edu.link.expect("a place in the talk"), edu.reminder.expect("a reminder"));
    assert!((1..=MAX_INTEGER).contains(&link.seq) && link.epoch <= MAX_INTEGER);
    assert_eq!(edu, Edu { link: Some(link), reminder: Some(reminder), ..Edu::default() });
    let edu = writable(edu);
    let written = encode_brief(&edu).expect("is nothing but a reminder");
    assert!(written.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~!".contains(&b)), "{written}");
    assert!(written.len() <= 100, "{written}");
    assert_eq!(decode_brief(&written), Ok(edu), "{written}");
}

/// EDUs about presence lists, the type in the first line: a server speaks for its own users to ours, and what ours
/// says of the same is read again.
pub(super) fn list_edu(data: &[u8]) {
    let Some((kind, json)) = str::from_utf8(data).ok().and_then(|text| text.split_once('\n')) else { return };
    let Ok(json) = RawValue::from_string(json.to_owned()) else { return };
    let (origin, own) = (server_name!("b.example"), server_name!("a.example"));
    let policy = Policy::new(&Federation::default());
    let Ok(edu) = ListEdu::judged(kind, &json, Between { origin, own, policy: &policy }) else { return };
    assert_eq!((edu.speaker().server_name(), edu.addressee().server_name()), (origin, own));
    assert!(edu.speaker().as_str().len() <= 255 && edu.addressee().as_str().len() <= 255);
    assert!(edu.seq.is_none_or(|seq| seq <= MAX_SEQ));
    // The other server's word, as it would be ours to say.
    let (owner, contact) = match edu.kind.half() {
        Half::Asking => (edu.observer.clone(), edu.observed.clone()),
        Half::Answering => (edu.observed.clone(), edu.observer.clone()),
    };
    let message =
        ListMessage { owner, contact, message: Message { kind: edu.kind, seq: edu.seq.unwrap_or(1) } };
    let again = Between { origin, own, policy: &policy };
    let again = ListEdu::judged(edu_type(edu.kind), &content(&message), again).expect("is well-formed");
    assert_eq!((&again.observer, &again.observed), (&edu.observer, &edu.observed));
    assert_eq!((again.kind, again.seq), (edu.kind, Some(edu.seq.unwrap_or(1))));
    if edu.kind == Kind::Invite {
        let denial = edu.into_denial();
        assert_eq!((denial.message.kind, denial.owner.server_name()), (Kind::Deny, own));
    }
}

/// EDUs about rooms: who types in the first line, who has read in the rest. A server speaks for its own users, and of what is
/// read no more than may be kept.
pub(super) fn room_edu(data: &[u8]) {
    let Some((typing, receipts)) = str::from_utf8(data).ok().and_then(|text| text.split_once('\n')) else {
        return;
    };
    let origin = server_name!("b.example");
    if let Ok(json) = RawValue::from_string(typing.to_owned())
        && let Ok(typing) = Typing::judged(origin, &json)
    {
        assert_eq!(typing.user_id.server_name(), origin);
        let written = serde_json::value::to_raw_value(&typing).expect("is JSON");
        assert_eq!(Typing::judged(origin, &written), Ok(typing));
    }
    if let Ok(json) = RawValue::from_string(receipts.to_owned())
        && let Ok(receipts) = read_receipts(origin, &json)
    {
        assert!(receipts.len() <= 1_000);
        for receipt in receipts {
            assert_eq!((receipt.user.server_name(), &*receipt.kind), (origin, "m.read"));
            assert!(receipt.shown && receipt.thread.len() <= 255 && receipt.event.len() <= 255);
        }
    }
}
