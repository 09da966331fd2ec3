//! Both forms of a message, there and back, and what is refused.

use std::time::Duration;

use super::*;
use crate::core::federation::{
    Asked, Availability, Digest, Edu, Fingerprint, Link, Names, ProfileMark, Push, Reminder, Server, Shown,
    Speech, User,
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn users(names: &mut Names, server: &str, count: usize) -> Vec<User> {
    (0..count).map(|n| names.user(&format!("@contact{n}:{server}")).expect("an ID")).collect()
}

fn push(user: User, availability: Availability) -> Push {
    Push {
        user,
        shown: Shown { availability, currently_active: true, ..Shown::default() },
        tells_profile: false,
        last_active_ago: Some(Duration::from_millis(12_345)),
        away_ago: None,
    }
}

fn link() -> Option<Link> {
    Some(Link { epoch: 1_795_219_038_123, seq: 4_711, promise: Some(Duration::from_secs(120)) })
}

fn sample(names: &mut Names) -> (Server, Edu) {
    let (ours, theirs) = (users(names, "a.example", 6), users(names, "b.example", 4));
    let mut full = push(ours[0], Availability::Busy);
    full.shown.status_msg = Some("in a \"meeting\" 🚀".into());
    full.shown.device_type = Some("mobile".into());
    full.shown.currently_active = false;
    full.away_ago = Some(Duration::from_secs(60));
    let mut edu = Edu { link: link(), hello: true, poll_all: true, ..Edu::default() };
    edu.push = ours[1..5].iter().zip(Availability::ALL).map(|(&user, a)| push(user, a)).collect();
    edu.push.push(full);
    edu.link = edu.link.map(|link| Link { promise: Some(Duration::from_secs(90)), ..link });
    (edu.push[1].shown.profile, edu.push[1].tells_profile) = (ProfileMark::of(Some("Ann"), None), true);
    edu.told = vec![edu.push[1].clone(), push(ours[5], Availability::Busy), edu.push[1].clone()];
    (edu.told[2].shown.profile, edu.told[2].tells_profile) = (ProfileMark::EMPTY, true);
    edu.once = vec![Asked::Known(theirs[3])];
    edu.version = Some(2);
    edu.withdrawn = vec![ours[5]];
    edu.poll = vec![Asked::Known(theirs[0]), Asked::Known(theirs[1])];
    edu.unpoll = vec![Asked::Known(theirs[2])];
    edu.reminder = Some(Reminder {
        mine: "0123456789abcdef".parse().expect("a digest"),
        yours: Digest::EMPTY,
        seen: Some((1_795_219_038_000, 3)),
        answer: true,
    });
    (ours[0].server, edu)
}

#[test]
fn both_forms_come_back_as_they_went() {
    let mut names = Names::default();
    let (from, edu) = sample(&mut names);
    for speech in [Speech::Unknown, Speech::Extended] {
        let json = encode(&names, &edu, speech);
        assert_eq!(decode(&names, from, Server(1), &json).as_ref(), Ok(&edu), "{json}");
    }
}

#[test]
fn what_a_later_version_says_beyond_this_one_is_passed_over() {
    let mut names = Names::default();
    let bob = names.user("@bob:b.example").expect("an ID");
    let json = r#"{"org.pilotlight":{"at":[1,1],"version":7,"moods":[["bob","glad"]],
        "push":[["bob","busy",0,5,null,null,null,300000,{"x":[1]}],["carol","online",1]],
        "profiles":[null,"0123abcd","ffffffff"]}}"#;
    let edu = decode(&names, bob.server, Server(9), json).expect("understood");
    assert_eq!(edu.version, Some(7));
    let mut expected = push(bob, Availability::Busy);
    (expected.shown.currently_active, expected.last_active_ago) = (false, Some(Duration::from_millis(5)));
    assert_eq!(edu.push, [expected], "carol is not known here, and the profile is hers");
}

#[test]
fn a_stock_server_finds_what_matrix_has_and_no_polls() {
    let mut names = Names::default();
    let (_, edu) = sample(&mut names);
    let edu = Edu { poll: Vec::new(), unpoll: Vec::new(), poll_all: false, reminder: None, ..edu };
    let json: serde_json::Value = serde_json::from_str(&encode(&names, &edu, Speech::Stock)).expect("JSON");
    let entry = &json["push"][4];
    assert_eq!(entry["user_id"], "@contact0:a.example");
    assert_eq!(entry["presence"], "unavailable");
    assert_eq!(entry["last_active_ago"], 12_345);
    assert_eq!(entry["currently_active"], false);
    assert_eq!(entry["status_msg"], "in a \"meeting\" 🚀");
    assert_eq!(entry["org.pilotlight.presence"]["state"], "busy");
    assert!(json.get("poll").is_none());
}

#[test]
fn what_early_matrix_servers_sent_is_understood() {
    let mut names = Names::default();
    let bob = names.user("@bob:b.example").expect("an ID");
    let alice = names.user("@alice:a.example").expect("an ID");
    let json = r#"{"push":[{"user_id":"@bob:b.example","presence":"unavailable","status_msg":"",
        "last_active_ago":5}],"poll":["@alice:a.example","@nobody:a.example"],"unpoll":[]}"#;
    let edu = decode(&names, bob.server, alice.server, json).expect("understood");
    assert_eq!(edu.link, None);
    assert_eq!(edu.push[0].shown, Shown { availability: Availability::Unavailable, ..Shown::default() });
    let nobody = Fingerprint::of(b"@nobody:a.example");
    assert_eq!(edu.poll, [Asked::Known(alice), Asked::Stranger(nobody)]);
}

#[test]
fn a_burst_of_a_hundred_costs_at_most_sixty_bytes_a_change() {
    let mut names = Names::default();
    let ours = users(&mut names, "hs1.example.org", 100);
    let mut edu = Edu { link: link(), ..Edu::default() };
    for &user in &ours {
        let mut entry = push(user, Availability::Unavailable);
        entry.shown.status_msg = Some("f12345:100".into());
        edu.push.push(entry);
    }
    let bytes = encode(&names, &edu, Speech::Extended).len();
    assert!(bytes <= 60 * 100, "{bytes}");
}

#[test]
fn a_login_that_watches_a_hundred_costs_at_most_eight_kilobytes_both_ways() {
    let mut names = Names::default();
    let me = users(&mut names, "hs1.example.org", 1)[0];
    let contacts = users(&mut names, "hs2.example.org", 100);
    let first = Edu {
        link: link(),
        push: vec![push(me, Availability::Online)],
        poll: contacts.iter().map(|&user| Asked::Known(user)).collect(),
        ..Edu::default()
    };
    let answer = Edu {
        link: link(),
        push: contacts.iter().map(|&user| push(user, Availability::Online)).collect(),
        ..Edu::default()
    };
    let bytes =
        encode(&names, &first, Speech::Unknown).len() + encode(&names, &answer, Speech::Extended).len();
    assert!(bytes <= 8_000, "{bytes}");
}

#[test]
fn a_reminder_is_small() {
    let names = Names::default();
    let digest = "0123456789abcdef".parse().expect("a digest");
    let reminder =
        Reminder { mine: digest, yours: digest, seen: Some((1_795_219_038_000, 99)), answer: false };
    let edu = Edu { link: link(), reminder: Some(reminder), ..Edu::default() };
    let bytes = encode(&names, &edu, Speech::Extended).len();
    assert!(bytes <= 160, "{bytes}");
}

#[test]
fn hostile_input_is_refused_with_its_reason() {
    let mut names = Names::default();
    let bob = names.user("@bob:b.example").expect("an ID");
    let alice = names.user("@alice:a.example").expect("an ID");
    let read = |json: &str| decode(&names, bob.server, alice.server, json).map(|edu| edu.push.len());
    let entry = |user: &str, rest: &str| format!(r#"{{"push":[{{"user_id":"{user}",{rest}}}]}}"#);
    assert!(matches!(read("[]"), Err(BadEdu::Malformed(_))));
    assert!(matches!(read(r#"{"push":7}"#), Err(BadEdu::Malformed(_))));
    assert_eq!(read(&" ".repeat(300_000)), Err(BadEdu::TooLarge(300_000)));
    let polls = vec!["\"@a:a.example\""; 5_001].join(",");
    assert_eq!(read(&format!(r#"{{"poll":[{polls}]}}"#)), Err(BadEdu::TooManyUsers(5_001)));
    let online = r#""presence":"online""#;
    assert_eq!(read(&entry("@alice:a.example", online)), Err(BadEdu::NotItsUser));
    assert_eq!(read(&entry("bob", online)), Err(BadEdu::NotItsUser));
    assert!(matches!(
        read(&entry("@bob:b.example", r#""presence":"online","last_active_ago":-1"#)),
        Err(BadEdu::Malformed(_))
    ));
    assert_eq!(
        read(&entry("@bob:b.example", r#""presence":"online","last_active_ago":18446744073709551615"#)),
        Err(BadEdu::AbsurdTime)
    );
    assert_eq!(read(&entry("@bob:b.example", r#""presence":"dancing""#)), Ok(0), "mapped to nothing");
    assert_eq!(read(r#"{"poll":["@bob:b.example"]}"#), Err(BadEdu::NotOurUser));
    assert!(matches!(read(r#"{"org.pilotlight":{"at":[1,0]}}"#), Err(BadEdu::Malformed(_))));
    assert!(matches!(read(r#"{"org.pilotlight":{"at":[9007199254740992,1]}}"#), Err(BadEdu::Malformed(_))));
    let own = |rest: &str| format!(r#"{{"org.pilotlight":{{"at":[1,1],{rest}}}}}"#);
    for bad in [
        r#""push":[["bob","busy"]]"#,
        r#""push":[["bob","busy",0,-1]]"#,
        r#""push":["bob"]"#,
        r#""push":[["bob","busy",0]],"profiles":["0123456"]"#,
        r#""push":[["bob","busy",0]],"profiles":["+1234567"]"#,
        r#""told":[["bob","busy",0]],"profiles":[7]"#,
        r#""once":[7]"#,
        r#""version":-1"#,
    ] {
        assert!(matches!(read(&own(bad)), Err(BadEdu::Malformed(_))), "{bad}");
    }
    assert!(read(&own(r#""push":[["bob","busy",0]],"profiles":["a","b"]"#)).is_err());
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(matches!(read(&format!(r#"{{"push":{deep}}}"#)), Err(BadEdu::Malformed(_))));
    assert_eq!(read(&format!(r#"{{"x":{deep}}}"#)), Ok(0), "skipped without recursion");
}

#[test]
fn a_status_message_that_is_too_long_is_cut_where_a_character_ends() {
    let mut names = Names::default();
    let bob = names.user("@bob:b.example").expect("an ID");
    let long = "ä".repeat(2_000);
    let json =
        format!(r#"{{"push":[{{"user_id":"@bob:b.example","presence":"online","status_msg":"{long}"}}]}}"#);
    let edu = decode(&names, bob.server, Server(9), &json).expect("understood");
    assert_eq!(edu.push[0].shown.status_msg.as_deref(), Some("ä".repeat(512).as_str()));
}

#[test]
fn the_bounds_of_a_message_are_exact() {
    let mut names = Names::default();
    let bob = names.user("@bob:b.example").expect("an ID");
    let alice = names.user("@alice:a.example").expect("an ID");
    let read = |json: &str| decode(&names, bob.server, alice.server, json).map(|_| ());
    let most = 256 * 1024;
    assert_eq!(read(&format!("{{}}{}", " ".repeat(most - 2))), Ok(()));
    assert_eq!(read(&format!("{{}}{}", " ".repeat(most - 1))), Err(BadEdu::TooLarge(most + 1)));

    // Whichever list they are in, all who are named count.
    let named = |counts: [usize; 7]| {
        let list = |count: usize, one: &str| format!("[{}]", vec![one; count].join(","));
        let matrix = r#"{"user_id":"@bob:b.example","presence":"online"}"#;
        let [push, poll, unpoll, own_push, withdrawn, own_poll, own_unpoll] = counts;
        format!(
            r#"{{"push":{},"poll":{},"unpoll":{},"org.pilotlight":{{"at":[1,1],"push":{},"withdrawn":{},"poll":{},"unpoll":{}}}}}"#,
            list(push, matrix),
            list(poll, r#""@alice:a.example""#),
            list(unpoll, r#""@alice:a.example""#),
            list(own_push, r#"["bob","online",1]"#),
            list(withdrawn, r#""bob""#),
            list(own_poll, r#""alice""#),
            list(own_unpoll, r#""alice""#),
        )
    };
    for one in 0..7 {
        let mut counts = [700; 7];
        counts[one] = 800;
        assert_eq!(read(&named(counts)), Ok(()), "{counts:?}");
        counts[one] = 801;
        assert_eq!(read(&named(counts)), Err(BadEdu::TooManyUsers(5_001)), "{counts:?}");
    }

    let greatest = (1_u64 << 53) - 1;
    for (epoch, seq, taken) in [
        (greatest, greatest, true),
        (greatest + 1, 1, false),
        (1, greatest + 1, false),
        (0, 1, true),
        (1, 0, false),
    ] {
        let json = format!(r#"{{"org.pilotlight":{{"at":[{epoch},{seq}]}}}}"#);
        assert_eq!(read(&json).is_ok(), taken, "{json}");
        let edu = Edu { link: Some(Link { epoch, seq, promise: None }), ..Edu::default() };
        let reminder = Reminder { mine: Digest::EMPTY, yours: Digest::EMPTY, seen: None, answer: false };
        let brief = encode_brief(&Edu { reminder: Some(reminder), ..edu }).expect("is brief");
        assert_eq!(decode_brief(&brief).is_ok(), taken, "{brief}");
    }

    let century: u64 = 100 * 366 * 24 * 3_600 * 1_000;
    for (ago, outcome) in [(century, Ok(())), (century + 1, Err(BadEdu::AbsurdTime))] {
        let json = format!(r#"{{"org.pilotlight":{{"at":[1,1],"push":[["bob","online",1,{ago}]]}}}}"#);
        assert_eq!(read(&json), outcome, "{json}");
    }
}
