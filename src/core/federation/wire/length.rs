//! How long a presence message is, without writing it.

use std::time::Duration;

use super::encode::{away_key, profile_count};
use super::numbers::DEFAULT_PROMISE_MS;
use crate::core::federation::edu::{Edu, Push};
use crate::core::federation::peer::Speech;
use crate::core::time::millis;

/// The length of the names that a message is about, for one that is not written: each name is taken to
/// be that long, and to need no escape in JSON.
#[derive(Clone, Copy, Debug)]
pub struct NameLengths {
    /// Of a localpart, in bytes.
    pub localpart: usize,
    /// Of a server's name, in bytes.
    pub server: usize,
}

impl NameLengths {
    const fn user_id(self) -> usize {
        self.localpart + self.server + 2
    }
}

/// How long [`super::encode`] makes `edu`, to the byte: for simulations, which count more messages than
/// could be written.
pub fn encoded_len(edu: &Edu, speech: Speech, names: NameLengths) -> usize {
    let (mut content, mut own) = (Object::default(), Object::default());
    if let Some(link) = edu.link {
        own.entry("at", numbers(link.epoch, link.seq));
        if let Some(promise) = link.promise.map(millis).filter(|&ms| ms != DEFAULT_PROMISE_MS) {
            own.entry("promise_ms", digits(promise));
        }
    }
    let list = |count: usize, name: usize| array(count, count * (name + 2));
    let short = speech == Speech::Extended;
    let (lists, user) = if short { (&mut own, names.localpart) } else { (&mut content, names.user_id()) };
    if !edu.push.is_empty() || !short {
        let each = |push| if short { short_push(push, names) } else { matrix_push(push, names) };
        lists.entry("push", array(edu.push.len(), edu.push.iter().map(each).sum()));
    }
    for (key, asked) in [("poll", &edu.poll), ("unpoll", &edu.unpoll)] {
        if !asked.is_empty() {
            lists.entry(key, list(asked.len(), user));
        }
    }
    if let Some(version) = edu.version {
        own.entry("version", digits(version.into()));
    }
    if !edu.once.is_empty() {
        own.entry("once", list(edu.once.len(), names.localpart));
    }
    if !edu.told.is_empty() {
        own.entry("told", array(edu.told.len(), edu.told.iter().map(|told| short_push(told, names)).sum()));
    }
    let profiles = profile_count(edu);
    if profiles > 0 {
        let profile = |push: &Push| if push.tells_profile { push.shown.profile.text().len() + 2 } else { 4 };
        let each = edu.push.iter().chain(&edu.told).take(profiles).map(profile);
        own.entry("profiles", array(profiles, each.sum()));
    }
    if !edu.withdrawn.is_empty() {
        own.entry("withdrawn", list(edu.withdrawn.len(), names.localpart));
    }
    let seen = edu.reminder.and_then(|reminder| reminder.seen);
    if edu.reminder.is_some() {
        own.entry("digest", array(2, 2 * 18));
    }
    if let Some((epoch, seq)) = seen {
        own.entry("seen", numbers(epoch, seq));
    }
    let answer = edu.reminder.is_some_and(|reminder| reminder.answer);
    for (key, is_true) in [("hello", edu.hello), ("poll_all", edu.poll_all), ("answer", answer)] {
        if is_true {
            own.entry(key, "true".len());
        }
    }
    if own.entries > 0 {
        content.entry("org.pilotlight", own.len());
    }
    content.len()
}

fn short_push(push: &Push, names: NameLengths) -> usize {
    let shown = &push.shown;
    let ago = |ago: Option<Duration>| ago.map(|ago| digits(millis(ago)));
    let fields = [
        ago(push.last_active_ago),
        shown.status_msg.as_deref().map(text),
        shown.device_type.as_deref().map(text),
        ago(push.away_ago),
    ];
    let last = fields.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    let optional: usize = fields[..last].iter().map(|field| field.unwrap_or("null".len())).sum();
    array(3 + last, names.localpart + 2 + shown.availability.as_str().len() + 2 + 1 + optional)
}

fn matrix_push(push: &Push, names: NameLengths) -> usize {
    let shown = &push.shown;
    let (state, word) = (shown.availability.as_str(), shown.availability.matrix_word());
    let (mut entry, mut own) = (Object::default(), Object::default());
    entry.entry("user_id", names.user_id() + 2);
    entry.entry("presence", word.len() + 2);
    entry.entry("last_active_ago", digits(push.last_active_ago.map_or(0, millis)));
    entry.entry("currently_active", if shown.currently_active { 4 } else { 5 });
    if let Some(status_msg) = &shown.status_msg {
        entry.entry("status_msg", text(status_msg));
    }
    if state != word {
        own.entry("state", state.len() + 2);
    }
    if let Some(device_type) = &shown.device_type {
        own.entry("device_type", text(device_type));
    }
    if let Some(ago) = push.away_ago {
        own.entry(away_key(shown.availability), digits(millis(ago)));
    }
    if own.entries > 0 {
        entry.entry("org.pilotlight.presence", own.len());
    }
    entry.len()
}

/// The length of an object.
#[derive(Default)]
struct Object {
    entries: usize,
    bytes: usize,
}

impl Object {
    const fn entry(&mut self, key: &str, value: usize) {
        self.entries += 1;
        self.bytes += key.len() + 3 + value;
    }

    const fn len(&self) -> usize {
        array(self.entries, self.bytes)
    }
}

/// The length of `count` things of `bytes` in all, with commas between them and brackets around.
const fn array(count: usize, bytes: usize) -> usize {
    2 + bytes + count.saturating_sub(1)
}

const fn numbers(one: u64, other: u64) -> usize {
    array(2, digits(one) + digits(other))
}

const fn digits(number: u64) -> usize {
    match number.checked_ilog10() {
        Some(log) => log as usize + 1,
        None => 1,
    }
}

/// The length of a string in JSON, with its quotes and escapes.
pub fn text(text: &str) -> usize {
    let byte = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    2 + text.bytes().map(byte).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::encode;
    use super::*;
    use crate::core::federation::{
        Asked, Availability, Digest, Link, Names, ProfileMark, Reminder, Shown, User,
    };
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const NAMES: NameLengths = NameLengths { localpart: 7, server: 9 };

    fn user(names: &mut Names, number: u8, server: char) -> User {
        names.user(&format!("@user{number:03}:{server}.example")).expect("an ID")
    }

    fn ago() -> impl Strategy<Value = Option<Duration>> {
        prop::option::of((0u64..1_000_000_000_000).prop_map(Duration::from_millis))
    }

    fn words() -> impl Strategy<Value = Option<String>> {
        prop::option::of(prop::collection::vec(any::<char>(), 1..12).prop_map(String::from_iter))
    }

    type Pushed = (
        u8,
        usize,
        bool,
        (Option<String>, Option<String>),
        (Option<Duration>, Option<Duration>),
        Option<Option<String>>,
    );

    fn pushed() -> impl Strategy<Value = Pushed> {
        let profile = prop::option::of(words());
        (any::<u8>(), 0usize..5, any::<bool>(), (words(), words()), (ago(), ago()), profile)
    }

    fn push(names: &mut Names, (number, state, active, texts, agos, profile): Pushed) -> Push {
        Push {
            user: user(names, number, 'a'),
            shown: Shown {
                availability: Availability::ALL[state],
                status_msg: texts.0.map(Into::into),
                device_type: texts.1.map(Into::into),
                currently_active: active,
                profile: profile
                    .as_ref()
                    .map_or(ProfileMark::UNTOLD, |name| ProfileMark::of(name.as_deref(), None)),
            },
            tells_profile: profile.is_some(),
            last_active_ago: agos.0,
            away_ago: agos.1,
        }
    }

    fn link() -> impl Strategy<Value = Option<Link>> {
        let promise = prop::option::of(prop_oneof![Just(DEFAULT_PROMISE_MS), 1u64..10_000_000]);
        prop::option::of((any::<u64>(), any::<u64>(), promise).prop_map(|(epoch, seq, promise)| Link {
            epoch,
            seq,
            promise: promise.map(Duration::from_millis),
        }))
    }

    fn reminder() -> impl Strategy<Value = Option<Reminder>> {
        let seen = prop::option::of((any::<u64>(), any::<u64>()));
        prop::option::of((seen, any::<bool>()).prop_map(|(seen, answer)| Reminder {
            mine: Digest::EMPTY,
            yours: "0123456789abcdef".parse().expect("a digest"),
            seen,
            answer,
        }))
    }

    #[test]
    fn a_message_with_nothing_of_ours_has_no_key_for_it() {
        for (speech, written) in [(Speech::Stock, r#"{"push":[]}"#), (Speech::Extended, "{}")] {
            assert_eq!(encode(&Names::default(), &Edu::default(), speech), written);
            assert_eq!(encoded_len(&Edu::default(), speech, NAMES), written.len());
        }
    }

    proptest! {
        #![proptest_config(crate::core::testing::config())]

        #[test]
        fn what_is_counted_is_what_is_written(
            pushes in prop::collection::vec(pushed(), 0..4),
            told in prop::collection::vec(pushed(), 0..3),
            users in prop::collection::vec((0u8..4, any::<u8>()), 0..6),
            version in prop::option::of(any::<u32>()),
            link in link(),
            reminder in reminder(),
            flags in any::<(bool, bool)>(),
        ) {
            let mut names = Names::default();
            let mut edu = Edu { link, reminder, version, hello: flags.0, poll_all: flags.1, ..Edu::default() };
            edu.told = told.into_iter().map(|told| push(&mut names, told)).collect();
            edu.push = pushes.into_iter().map(|pushed| push(&mut names, pushed)).collect();
            for (list, number) in users {
                match list {
                    0 => edu.withdrawn.push(user(&mut names, number, 'a')),
                    3 => edu.once.push(Asked::Known(user(&mut names, number, 'b'))),
                    1 => edu.poll.push(Asked::Known(user(&mut names, number, 'b'))),
                    _ => edu.unpoll.push(Asked::Known(user(&mut names, number, 'b'))),
                }
            }
            for speech in [Speech::Unknown, Speech::Stock, Speech::Extended] {
                let written = encode(&names, &edu, speech);
                prop_assert_eq!(encoded_len(&edu, speech, NAMES), written.len(), "{}", written);
            }
        }
    }
}
