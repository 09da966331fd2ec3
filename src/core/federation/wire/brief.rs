//! A reminder alone, written for a URL: what servers that have nothing to say send each other every minute.
//!
//! `epoch.number.mine.yours`, then `.epoch.number` of what was seen, if anything was, then `~` if an
//! answer is wanted, then `!` and the promise in ms unless it is the usual one. The numbers are written with the 64 characters of base64url, the most significant
//! first, without leading zeros.

use std::time::Duration;

use super::decode::BadEdu;
use super::numbers::{DEFAULT_PROMISE_MS, MAX_INTEGER};
use crate::core::federation::digest::Digest;
use crate::core::federation::edu::{Edu, Link, Reminder};
use crate::core::time::millis;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// `edu` in the brief form; `None` if it is more than a reminder.
pub fn encode_brief(edu: &Edu) -> Option<String> {
    let (link, reminder) = (edu.link?, edu.reminder?);
    if edu.users() > 0 || edu.poll_all || edu.hello || edu.version.is_some() {
        return None;
    }
    let mut numbers = vec![link.epoch, link.seq, reminder.mine.bits(), reminder.yours.bits()];
    numbers.extend(reminder.seen.into_iter().flat_map(|(epoch, seq)| [epoch, seq]));
    let numbers: Vec<String> = numbers.into_iter().map(digits).collect();
    let promise = link.promise.map(millis).filter(|&ms| ms != DEFAULT_PROMISE_MS);
    let promise = promise.map(|ms| format!("!{}", digits(ms))).unwrap_or_default();
    Some(numbers.join(".") + if reminder.answer { "~" } else { "" } + &promise)
}

/// Reads the brief form.
pub fn decode_brief(text: &str) -> Result<Edu, BadEdu> {
    let malformed = |what: &str| BadEdu::Malformed(what.to_owned());
    let (text, promise) = text.split_once('!').map_or((text, None), |(text, promise)| (text, Some(promise)));
    let promise = promise.map(|ms| number(ms).ok_or_else(|| malformed("the promise"))).transpose()?;
    let (numbers, answer) = text.strip_suffix('~').map_or((text, false), |numbers| (numbers, true));
    let numbers: Option<Vec<u64>> = numbers.split('.').take(7).map(number).collect();
    let (at, digests, seen) = match numbers.ok_or_else(|| malformed("a number"))?[..] {
        [epoch, seq, mine, yours] => ((epoch, seq), (mine, yours), None),
        [epoch, seq, mine, yours, seen_epoch, seen] => {
            ((epoch, seq), (mine, yours), Some((seen_epoch, seen)))
        }
        _ => return Err(malformed("not 4 or 6 numbers")),
    };
    let (epoch, seq) = at;
    if epoch > MAX_INTEGER || seq > MAX_INTEGER || seq == 0 {
        return Err(malformed("at: out of range"));
    }
    let (mine, yours) = (Digest::from_bits(digests.0), Digest::from_bits(digests.1));
    Ok(Edu {
        link: Some(Link { epoch, seq, promise: promise.map(Duration::from_millis) }),
        reminder: Some(Reminder { mine, yours, seen, answer }),
        ..Edu::default()
    })
}

fn digits(mut number: u64) -> String {
    let mut text = Vec::new();
    loop {
        text.push(DIGITS[(number % 64) as usize]);
        number /= 64;
        if number == 0 {
            break;
        }
    }
    text.iter().rev().map(|&digit| char::from(digit)).collect()
}

fn number(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0_u64, |number, byte| {
        let digit = DIGITS.iter().position(|&digit| digit == byte)?;
        number.checked_mul(64)?.checked_add(digit as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::federation::{Push, Server, User};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn reminder(seen: Option<(u64, u64)>, answer: bool) -> Edu {
        let (mine, yours) = (Digest::from_bits(u64::MAX), Digest::EMPTY);
        Edu {
            link: Some(Link { epoch: 1_795_219_038_123, seq: 7, promise: None }),
            reminder: Some(Reminder { mine, yours, seen, answer }),
            ..Edu::default()
        }
    }

    #[test]
    fn a_reminder_comes_back_as_it_went_in_few_bytes() {
        for seen in [None, Some((1_795_219_038_000, 3)), Some((0, MAX_INTEGER))] {
            for answer in [false, true] {
                let mut edu = reminder(seen, answer);
                if answer {
                    edu.link = edu.link.map(|link| Link { promise: Some(Duration::from_secs(90)), ..link });
                }
                let text = encode_brief(&edu).expect("is brief");
                assert_eq!(decode_brief(&text).as_ref(), Ok(&edu), "{text}");
            }
        }
        let text = encode_brief(&reminder(Some((1_795_219_038_000, 3)), true)).expect("is brief");
        assert_eq!(text, "aH7ZJ-r.H.P__________.A.aH7ZJ8w.D~");
    }

    #[test]
    fn what_is_more_than_a_reminder_is_not_brief() {
        let user = User { index: 0, server: Server(0), fingerprint: crate::core::federation::Fingerprint(1) };
        let edu = reminder(None, false);
        for more in [
            Edu { push: vec![Push::offline(user)], ..edu.clone() },
            Edu { poll_all: true, ..edu.clone() },
            Edu { hello: true, ..edu.clone() },
            Edu { version: Some(2), ..edu.clone() },
            Edu { told: vec![Push::offline(user)], ..edu.clone() },
            Edu { reminder: None, ..edu },
        ] {
            assert_eq!(encode_brief(&more), None, "{more:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            ".",
            "A",
            "A.B.C",
            "A.A.A.A",
            "A.B.C.D.E",
            "A.B.C.D.E.F.G",
            "A.B.C.D.",
            "A.B.C.D~~",
            "A.B.C.=",
            "A.B.C.D!",
            "A.B.ggggggggggg.D",
            "__________.B.C.D",
        ] {
            assert!(matches!(decode_brief(bad), Err(BadEdu::Malformed(_))), "{bad}");
        }
        assert!(decode_brief("A.B.C.D").is_ok());
    }
}
