//! Writes an answer from pieces that are JSON already, without parsing any of them.

use std::{fmt, io::Write};

/// Bytes for which there is room again after what was written is handed over, at most.
const MAX_KEPT: usize = 128 << 10;

/// A JSON text under construction. Commas come by themselves; keys are written as they are given and
/// must need no escapes, or go through [`Writer::key`].
#[derive(Debug)]
pub(super) struct Writer {
    out: Vec<u8>,
    /// Bytes before those that were handed over.
    before: usize,
    close: u8,
}

/// Where an object or array began, see [`Writer::end`].
#[must_use = "ends with Writer::end"]
#[derive(Debug)]
pub(super) struct Open {
    /// Before its key: where to cut when it stays empty.
    from: usize,
    /// After its bracket.
    inside: usize,
    close: u8,
}

impl Writer {
    /// The outermost object, open.
    pub(super) fn object() -> Self {
        Self::new(b'{', b'}')
    }

    /// The outermost array, open.
    pub(super) fn array() -> Self {
        Self::new(b'[', b']')
    }

    fn new(open: u8, close: u8) -> Self {
        let mut out = Vec::with_capacity(1024);
        out.push(open);
        Self { out, before: 0, close }
    }

    /// What was not handed over of the text, with the outermost object or array closed.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.out.push(self.close);
        self.out
    }

    /// Bytes that were not handed over.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// Hands over what is there, but for its last byte.
    pub(super) fn hand_over<E>(&mut self, take: impl FnOnce(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let Some((last, ready)) = self.out.split_last() else { return Ok(()) };
        take(ready)?;
        let (last, count) = (*last, ready.len());
        // The next comma depends on the last byte.
        self.out.clear();
        self.out.push(last);
        self.out.shrink_to(MAX_KEPT);
        self.before += count;
        Ok(())
    }

    fn at(&self) -> usize {
        self.before + self.out.len()
    }

    /// Opens an object under `key`.
    pub(super) fn open(&mut self, key: &str) -> Open {
        let from = self.at();
        self.key(key);
        self.bracket(from, b'{', b'}')
    }

    /// Opens an array under `key`.
    pub(super) fn open_array(&mut self, key: &str) -> Open {
        let from = self.at();
        self.key(key);
        self.bracket(from, b'[', b']')
    }

    /// Closes what was opened; leaves no trace of it when nothing is inside. Answers whether something is.
    pub(super) fn end(&mut self, open: Open) -> bool {
        // What was handed over stays, though it is empty.
        if let Some(from) = open.from.checked_sub(self.before).filter(|_| self.at() == open.inside) {
            self.out.truncate(from);
            return false;
        }
        self.out.push(open.close);
        true
    }

    /// Closes what was opened, though it may be empty.
    pub(super) fn end_even_if_empty(&mut self, open: Open) {
        self.out.push(open.close);
    }

    /// One more element of the open array, that is JSON already.
    pub(super) fn element(&mut self, json: &str) {
        self.comma();
        self.out.extend_from_slice(json.as_bytes());
    }

    /// One more element of the open array, that `write` appends as JSON.
    pub(super) fn element_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.comma();
        write(&mut self.out);
    }

    /// One more element of the open array: a string.
    pub(super) fn string_element(&mut self, value: &str) {
        self.comma();
        self.string(value);
    }

    /// Opens an object as one more element of the open array.
    pub(super) fn open_element(&mut self) -> Open {
        let from = self.at();
        self.comma();
        self.bracket(from, b'{', b'}')
    }

    /// A field whose value is JSON already.
    pub(super) fn raw(&mut self, key: &str, json: &str) {
        self.key(key);
        self.out.extend_from_slice(json.as_bytes());
    }

    /// The same for JSON in bytes.
    pub(super) fn raw_bytes(&mut self, key: &str, json: &[u8]) {
        self.key(key);
        self.out.extend_from_slice(json);
    }

    /// A field with a number.
    pub(super) fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        append_number(&mut self.out, value);
    }

    /// A field with a truth value.
    pub(super) fn boolean(&mut self, key: &str, value: bool) {
        self.raw(key, if value { "true" } else { "false" });
    }

    /// A field with a string.
    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        self.string(value);
    }

    /// A field with a string that needs no escapes.
    pub(super) fn plain(&mut self, key: &str, value: &impl fmt::Display) {
        self.key(key);
        write!(self.out, "\"{value}\"").expect("a vector takes everything");
    }

    fn key(&mut self, key: &str) {
        self.comma();
        self.string(key);
        self.out.push(b':');
    }

    fn string(&mut self, value: &str) {
        append_string(&mut self.out, value);
    }

    fn bracket(&mut self, from: usize, open: u8, close: u8) -> Open {
        self.out.push(open);
        Open { from, inside: self.at(), close }
    }

    fn comma(&mut self) {
        if !matches!(self.out.last(), Some(b'{' | b'[' | b':')) {
            self.out.push(b',');
        }
    }
}

/// Appends `value` in digits.
pub fn append_number(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends `value` in quotes.
pub fn append_string(out: &mut Vec<u8>, value: &str) {
    if value.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, value).expect("a string is JSON and a vector takes it");
    }
}

/// Whether a JSON text is a list: what is read into the fields of a structure takes one for an object.
pub fn is_list(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'[')
}

/// Objects and lists within each other in the content of anything that others say and clients are told. Some clients read no
/// answer that is more than 127 deep, whichever part of it is.
pub const MAX_CONTENT_DEPTH: usize = 100;

/// Whether content is deeper than that.
pub fn is_too_deep(content: &str) -> bool {
    content.len() > 2 * MAX_CONTENT_DEPTH && json_depth(content.as_bytes()) > MAX_CONTENT_DEPTH
}

/// How many objects and lists are within each other in a JSON text. Parsers that keep raw pieces do not
/// count, and whoever reads those pieces later must not be the one to overflow.
pub fn json_depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_come_by_themselves_and_empty_parts_leave_no_trace() {
        let mut w = Writer::object();
        let nothing = w.open("nothing");
        let inner = w.open_array("events");
        assert!(!w.end(inner));
        assert!(!w.end(nothing));
        w.text("next_batch", "p1_2");
        let rooms = w.open("rooms");
        let room = w.open("!a\"b:x");
        let events = w.open_array("events");
        w.element(r#"{"n":1}"#);
        w.element_with(|out| append_number(out, u64::MAX));
        w.string_element("tab\t");
        let element = w.open_element();
        w.plain("at", &17);
        assert!(w.end(element));
        assert!(w.end(events));
        w.number("zero", 0);
        w.boolean("limited", false);
        let state = w.open_array("state");
        w.end_even_if_empty(state);
        assert!(w.end(room));
        assert!(w.end(rooms));
        let expected = concat!(
            r#"{"next_batch":"p1_2","rooms":{"!a\"b:x":{"events":[{"n":1},18446744073709551615,"tab\t",{"at":"17"}],"#,
            r#""zero":0,"limited":false,"state":[]}}}"#
        );
        assert_eq!(String::from_utf8(w.finish()).expect("is UTF-8"), expected);
    }

    #[test]
    fn a_text_that_is_handed_over_in_pieces_is_the_same_text() {
        let write = |pieces: bool| {
            let mut text = Vec::new();
            let mut w = Writer::array();
            for n in 0..3 {
                let object = w.open_element();
                let empty = w.open("empty");
                let list = w.open_array("list");
                for number in 0..n {
                    w.element_with(|out| append_number(out, number));
                    if pieces {
                        let taken = w.hand_over(|bytes| {
                            text.extend_from_slice(bytes);
                            Ok::<_, ()>(())
                        });
                        taken.expect("takes everything");
                        assert_eq!(w.len(), 1);
                    }
                }
                w.end(list);
                w.end(empty);
                w.number("n", n);
                w.end(object);
            }
            text.extend(w.finish());
            String::from_utf8(text).expect("is UTF-8")
        };
        let whole = write(false);
        assert_eq!(whole, r#"[{"n":0},{"empty":{"list":[0]},"n":1},{"empty":{"list":[0,1]},"n":2}]"#);
        assert_eq!(write(true), whole);
        let mut w = Writer::object();
        let open = w.open("open");
        w.hand_over(|_| Ok::<_, ()>(())).expect("takes everything");
        w.end(open);
        assert_eq!(w.finish(), b"{}}", "what was handed over is not taken back");
    }

    #[test]
    fn a_list_is_told_from_anything_else_and_too_deep_from_deep() {
        for (json, is) in [("[]", true), (" \n[1", true), ("{\"a\":[]}", false), ("", false), ("1", false)] {
            assert_eq!(is_list(json.as_bytes()), is, "{json}");
        }
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(!is_too_deep(&deep(MAX_CONTENT_DEPTH)) && is_too_deep(&deep(MAX_CONTENT_DEPTH + 1)));
    }

    #[test]
    fn depth_counts_objects_and_lists_and_not_what_is_quoted() {
        let table: &[(&str, usize)] = &[
            ("", 0),
            ("1", 0),
            ("{}", 1),
            (r#"{"a":[{}],"b":{}}"#, 3),
            (r#"{"a":"[[[[","b":"\\\"[[["}"#, 1),
            (r#"["\\",[]]"#, 2),
            ("]]]][", 1),
        ];
        for (json, depth) in table {
            assert_eq!(json_depth(json.as_bytes()), *depth, "{json}");
        }
    }
}
