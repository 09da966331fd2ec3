//! Which part of something is wanted: `Range` and `If-Range`.
//!
//! Source: RFC 9110, sections 13.1.5 and 14.2.

use std::ops::Range;

use http::{HeaderMap, header};

/// What is wanted of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Wanted {
    /// All of it: nothing else is asked for, or in a way that is not understood, or several parts are.
    All,
    /// These bytes, of which there is one at least.
    Part(Range<u64>),
    /// None of what there is.
    Nothing,
}

/// What `asked` wants of `size` bytes that are called `etag`, with its quotes.
pub fn wanted(asked: &HeaderMap, size: u64, etag: &str) -> Wanted {
    let text = |name| asked.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let Some(range) = text(header::RANGE) else { return Wanted::All };
    // A date says less than the name: then nothing is known of what was had before.
    if asked.contains_key(header::IF_RANGE) && text(header::IF_RANGE) != Some(etag) {
        return Wanted::All;
    }
    parse(range, size).unwrap_or(Wanted::All)
}

/// `None`: not one range of bytes.
fn parse(range: &str, size: u64) -> Option<Wanted> {
    let (unit, range) = range.split_once('=')?;
    let (first, last) = range.split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = (first.trim(), last.trim());
    let part = match (first, last) {
        ("", last) => size.saturating_sub(number(last)?)..size,
        (first, "") => number(first)?..size,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..size.min(last.saturating_add(1))
        }
    };
    Some(if part.start < part.end { Wanted::Part(part) } else { Wanted::Nothing })
}

/// A number of digits only; one that is too large for us is larger than all there is.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn one_range_of_bytes_is_understood_and_anything_else_is_all_of_it() {
        use Wanted::{All, Nothing, Part};
        let table = [
            ("bytes=0-4", Part(0..5)),
            ("bytes=2-2", Part(2..3)),
            ("bytes=5-", Part(5..10)),
            ("bytes=-3", Part(7..10)),
            ("bytes=-30", Part(0..10)),
            ("bytes=0-99999999999999999999999", Part(0..10)),
            ("BYTES = 1 - 2 ", Part(1..3)),
            ("bytes=10-", Nothing),
            ("bytes=10-12", Nothing),
            ("bytes=99999999999999999999999-", Nothing),
            ("bytes=-0", Nothing),
            ("bytes=4-2", All),
            ("bytes=-", All),
            ("bytes=0-1,4-5", All),
            ("bytes=a-b", All),
            ("bytes=+1-2", All),
            ("bytes", All),
            ("lines=1-2", All),
            ("", All),
        ];
        for (text, expected) in table {
            let mut asked = HeaderMap::new();
            asked.insert(header::RANGE, HeaderValue::from_static(text));
            assert_eq!(wanted(&asked, 10, "\"a\""), expected, "{text}");
        }
        assert_eq!(wanted(&HeaderMap::new(), 10, "\"a\""), All);
    }

    #[test]
    fn a_part_of_what_was_had_before_is_given_of_the_same_thing_only() {
        for (before, expected) in [
            ("\"a\"", Wanted::Part(1..3)),
            ("\"b\"", Wanted::All),
            ("W/\"a\"", Wanted::All),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Wanted::All),
        ] {
            let mut asked = HeaderMap::new();
            asked.insert(header::RANGE, HeaderValue::from_static("bytes=1-2"));
            asked.insert(header::IF_RANGE, HeaderValue::from_static(before));
            assert_eq!(wanted(&asked, 10, "\"a\""), expected, "{before}");
        }
    }
}
