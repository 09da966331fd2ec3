//! Reading JSON in one pass, where most of a text is skipped and little is kept.
//!
//! Why not serde's: a derived reader for each of the many small shapes, and serde_json's numbers and
//! error texts, were two thirds of the wasm (measured: 124 KB gzipped against 50), and what is passed on
//! unread was scanned at every level. This one borrows from the text, takes a field of the wrong type for
//! an absent one, and refuses whatever RFC 8259 refuses, so that what is kept unread is JSON.

use std::borrow::Cow;

/// The deepest nesting that is read.
const MAX_DEPTH: u32 = 128;

/// The text is not JSON, or nested too deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A place in a JSON text.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    /// The container that was just entered has had no element.
    fresh: bool,
}

impl<'a> Reader<'a> {
    /// At the start of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0, fresh: false }
    }

    /// Enters an object, to be read key by key to its end. Skips anything else and says `false`.
    pub fn enter_object(&mut self) -> Result<bool, Malformed> {
        self.enter(b'{')
    }

    /// Enters an array, to be read element by element to its end. Skips anything else and says `false`.
    pub fn enter_array(&mut self) -> Result<bool, Malformed> {
        self.enter(b'[')
    }

    /// The next key of the object that was entered, after which its value has to be read or skipped;
    /// `None` leaves the object.
    pub fn next_key(&mut self) -> Result<Option<Cow<'a, str>>, Malformed> {
        if !self.next(b'}')? {
            return Ok(None);
        }
        self.space();
        let key = self.string()?;
        self.space();
        self.expect(b':')?;
        Ok(Some(key))
    }

    /// Whether the array that was entered has another element, which then has to be read or skipped;
    /// `false` leaves the array.
    pub fn next_element(&mut self) -> Result<bool, Malformed> {
        self.next(b']')
    }

    /// A string; anything else is skipped and `None`.
    pub fn text(&mut self) -> Result<Option<Cow<'a, str>>, Malformed> {
        self.space();
        if self.peek() == b'"' {
            return self.string().map(Some);
        }
        self.raw().map(|_| None)
    }

    /// A value, unread. It is JSON.
    pub fn raw(&mut self) -> Result<&'a str, Malformed> {
        self.space();
        let start = self.at;
        self.skip()?;
        Ok(&self.text[start..self.at])
    }

    /// Nothing but white space follows.
    pub fn end(&mut self) -> Result<(), Malformed> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { Err(Malformed) }
    }

    fn enter(&mut self, open: u8) -> Result<bool, Malformed> {
        self.space();
        if self.peek() != open {
            return self.raw().map(|_| false);
        }
        self.at += 1;
        self.depth += 1;
        self.fresh = true;
        if self.depth > MAX_DEPTH { Err(Malformed) } else { Ok(true) }
    }

    /// Goes on to the next element of a container, or leaves it at `close`.
    fn next(&mut self, close: u8) -> Result<bool, Malformed> {
        self.space();
        let fresh = std::mem::take(&mut self.fresh);
        if self.peek() == close {
            self.at += 1;
            self.depth -= 1;
            return Ok(false);
        }
        if !fresh {
            self.expect(b',')?;
        }
        Ok(true)
    }

    fn skip(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            b'"' => self.skip_string().map(|_| ()),
            b'{' => {
                self.enter_object()?;
                while self.next(b'}')? {
                    self.space();
                    self.skip_string()?;
                    self.space();
                    self.expect(b':')?;
                    self.space();
                    self.skip()?;
                }
                Ok(())
            }
            b'[' => {
                self.enter_array()?;
                while self.next(b']')? {
                    self.space();
                    self.skip()?;
                }
                Ok(())
            }
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number(),
        }
    }

    fn number(&mut self) -> Result<(), Malformed> {
        self.at += usize::from(self.peek() == b'-');
        match self.peek() {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if self.peek() | 32 == b'e' {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), b'+' | b'-'));
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(Malformed) }
    }

    fn word(&mut self, word: &str) -> Result<(), Malformed> {
        let found = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        if found { Ok(()) } else { Err(Malformed) }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Malformed> {
        let start = self.at + 1;
        let plain = self.skip_string()?;
        let inner = &self.text[start..self.at - 1];
        Ok(if plain { Cow::Borrowed(inner) } else { Cow::Owned(unescape(inner)) })
    }

    /// Skips a string; whether it has no escapes.
    fn skip_string(&mut self) -> Result<bool, Malformed> {
        self.expect(b'"')?;
        let bytes = self.text.as_bytes();
        let mut plain = true;
        loop {
            match bytes.get(self.at).copied().unwrap_or(0) {
                b'"' => {
                    self.at += 1;
                    return Ok(plain);
                }
                b'\\' => {
                    plain = false;
                    self.skip_escape()?;
                }
                0..=31 => return Err(Malformed),
                _ => self.at += 1,
            }
        }
    }

    fn skip_escape(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        let kind = self.peek();
        self.at += 1;
        match kind {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => {
                let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or(Malformed)?;
                self.at += 4;
                if digits.iter().all(u8::is_ascii_hexdigit) { Ok(()) } else { Err(Malformed) }
            }
            _ => Err(Malformed),
        }
    }

    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek() != byte {
            return Err(Malformed);
        }
        self.at += 1;
        Ok(())
    }

    /// The byte here; 0 at the end, which is no part of JSON.
    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }
}

/// The text of a string's inside, whose escapes are known to be well-formed. Half a surrogate pair has
/// no text: it becomes U+FFFD.
fn unescape(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let kind = rest.as_bytes()[at + 1];
        rest = &rest[at + 2..];
        out.push(match kind {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let (point, used) = code_point(rest);
                rest = &rest[used..];
                char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            other => other as char,
        });
    }
    out.push_str(rest);
    out
}

/// The code point that begins with the four digits of `text`, and how many bytes of it are its.
fn code_point(text: &str) -> (u32, usize) {
    let unit = |text: &str| u32::from_str_radix(text, 16).unwrap_or(0);
    let first = unit(&text[..4]);
    if (0xd800..0xdc00).contains(&first)
        && let Some(second) = text[4..].strip_prefix("\\u").and_then(|rest| rest.get(..4)).map(unit)
        && (0xdc00..0xe000).contains(&second)
    {
        return (0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00), 10);
    }
    (first, 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::core::wire::object::{Object, elements};

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "[",
            "\"",
            "\"\\",
            "\"\\u12",
            "\"\\u12g4\"",
            "\"\\x\"",
            "\"\n\"",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{\"a\":1 \"b\":2}",
            "{1:2}",
            "01",
            "1.",
            ".5",
            "-",
            "+1",
            "1e",
            "1e+",
            "tru",
            "nul",
            "True",
            "NaN",
            "[1}",
            "{\"a\":1]",
            "\u{feff}1",
            "1 1",
            "\"\0\"",
        ] {
            assert!(serde_json::from_str::<Value>(text).is_err(), "serde_json takes {text:?}");
            let mut reader = Reader::new(text);
            assert!(reader.raw().and_then(|_| reader.end()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn nesting_has_a_bound_and_no_stack_to_overflow() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Reader::new(&nested(128)).raw().is_ok());
        assert!(Reader::new(&nested(129)).raw().is_err());
        assert!(Reader::new(&"{\"a\":[".repeat(100_000)).raw().is_err());
    }

    #[test]
    fn escapes_become_what_they_stand_for() {
        for (json, expected) in [
            (r#""\u00e9\n\/\b\f\r\t\\\"""#, "é\n/\u{8}\u{c}\r\t\\\""),
            (r#""\ud83d\ude00!""#, "😀!"),
            (r#""\ud83d""#, "\u{fffd}"),
            (r#""\ude00\ud83d\u0041""#, "\u{fffd}\u{fffd}A"),
            (r#""é\\u0041""#, "é\\u0041"),
        ] {
            assert_eq!(Reader::new(json).text().unwrap().unwrap(), expected, "{json}");
        }
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<i16>().prop_map(|quarters| Value::from(f64::from(quarters) / 4.0)),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(crate::core::testing::config())]

        /// Fields, elements and strings are those that serde_json finds, in any layout.
        #[test]
        fn agrees_with_serde_json_on_json(value in json_value(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.expect("a value");
            let mut reader = Reader::new(&text);
            prop_assert_eq!(reader.raw(), Ok(text.as_str()));
            prop_assert_eq!(reader.end(), Ok(()));
            let string = Reader::new(&text).text().unwrap();
            prop_assert_eq!(string.as_deref(), value.as_str());
            prop_assert_eq!(Object::parse(&text).is_some(), value.is_object());
            for (name, field) in Object::parse_or_empty(&text).fields() {
                prop_assert_eq!(&serde_json::from_str::<Value>(field).unwrap(), &value[name]);
            }
            let found = elements(&text).into_iter().map(|e| serde_json::from_str::<Value>(e).unwrap());
            prop_assert_eq!(found.collect::<Vec<_>>(), value.as_array().cloned().unwrap_or_default());
        }

        /// One byte changed: refused exactly if serde_json refuses it, and never a panic. (serde_json
        /// alone refuses half surrogate pairs and numbers beyond a double.)
        #[test]
        fn agrees_with_serde_json_on_damage(value in json_value(), at in any::<prop::sample::Index>(), byte in 0u8..128) {
            let mut bytes = serde_json::to_vec(&value).expect("a value");
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(text) = std::str::from_utf8(&bytes) {
                let mut reader = Reader::new(text);
                let taken = reader.raw().and_then(|_| reader.end()).is_ok();
                match serde_json::from_str::<Value>(text) {
                    Ok(_) => prop_assert!(taken, "{text}"),
                    Err(error) => {
                        let why = error.to_string();
                        let stricter = why.contains("surrogate") || why.contains("hex escape") || why.contains("number out of range");
                        prop_assert!(stricter || !taken, "{text}: {why}");
                    }
                }
            }
        }
    }
}
