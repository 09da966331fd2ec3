//! The fields of events that a client wants: `event_fields` of its filter.
//!
//! Client-server API, "Filtering"; what the dots and backslashes of a path mean: "Dot-separated property paths".

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::server::json::append_string;

/// Paths in one filter, at most.
const MAX_PATHS: usize = 100;

/// Bytes of a path, at most.
const MAX_PATH_BYTES: usize = 255;

/// Paths to fields, as a tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fields(BTreeMap<String, Wanted>);

/// What of a field is wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Wanted {
    Whole,
    Some(Fields),
}

/// Why a list of paths is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoFields {
    /// More than allowed.
    #[error("event_fields: at most {MAX_PATHS}")]
    TooMany,
    /// One has more bytes than allowed.
    #[error("event_fields: at most {MAX_PATH_BYTES} bytes each")]
    TooLong,
}

impl Fields {
    /// The fields that `paths` name.
    ///
    /// # Errors
    /// [`NoFields`]: more or longer paths than allowed.
    pub fn parse(paths: &[String]) -> Result<Self, NoFields> {
        if paths.len() > MAX_PATHS {
            return Err(NoFields::TooMany);
        }
        let mut fields = Self(BTreeMap::new());
        for path in paths {
            if path.len() > MAX_PATH_BYTES {
                return Err(NoFields::TooLong);
            }
            fields.add(&names(path));
        }
        Ok(fields)
    }

    /// Appends of an event, a JSON object, what is wanted.
    pub fn append(&self, out: &mut Vec<u8>, event: &[u8]) {
        let begin = out.len();
        let is_any = std::str::from_utf8(event).is_ok_and(|event| self.append_some(out, event));
        if !is_any {
            out.truncate(begin);
            out.extend_from_slice(b"{}");
        }
    }

    /// Appends what there is of the wanted in a JSON value; false: nothing, and it may have appended anything.
    fn append_some(&self, out: &mut Vec<u8>, json: &str) -> bool {
        let Ok(object) = serde_json::from_str::<BTreeMap<String, &RawValue>>(json) else { return false };
        out.push(b'{');
        let mut is_any = false;
        for (name, wanted) in &self.0 {
            let Some(value) = object.get(name) else { continue };
            let before = out.len();
            if is_any {
                out.push(b',');
            }
            append_string(out, name);
            out.push(b':');
            let is_there = match wanted {
                Wanted::Whole => {
                    out.extend_from_slice(value.get().as_bytes());
                    true
                }
                Wanted::Some(fields) => fields.append_some(out, value.get()),
            };
            if !is_there {
                out.truncate(before);
            }
            is_any |= is_there;
        }
        out.push(b'}');
        is_any
    }

    fn add(&mut self, names: &[String]) {
        let Some((first, rest)) = names.split_first() else { return };
        if rest.is_empty() {
            self.0.insert(first.clone(), Wanted::Whole);
            return;
        }
        let wanted = self.0.entry(first.clone()).or_insert_with(|| Wanted::Some(Self(BTreeMap::new())));
        if let Wanted::Some(fields) = wanted {
            fields.add(rest);
        }
    }
}

/// The names on a path. A backslash before a dot or a backslash takes its meaning away, before anything else it has
/// none itself.
fn names(path: &str) -> Vec<String> {
    let (mut names, mut name) = (Vec::new(), String::new());
    let mut characters = path.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek()) {
            ('\\', Some(&escaped @ ('.' | '\\'))) => {
                name.push(escaped);
                characters.next();
            }
            ('.', _) => names.push(std::mem::take(&mut name)),
            _ => name.push(character),
        }
    }
    names.push(name);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(paths: &[&str], event: &str) -> String {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let mut out = b"before ".to_vec();
        Fields::parse(&paths).expect("are few and short").append(&mut out, event.as_bytes());
        String::from_utf8(out).expect("is UTF-8").split_off("before ".len())
    }

    #[test]
    fn dots_part_names_and_backslashes_keep_dots_in_them() {
        for (path, expected) in [
            ("content", vec!["content"]),
            ("content.body", vec!["content", "body"]),
            (r"content.m\.relates_to.event_id", vec!["content", "m.relates_to", "event_id"]),
            (r"a\\.b", vec![r"a\", "b"]),
            (r"a\\\.b", vec![r"a\.b"]),
            (r"a\b\", vec![r"a\b\"]),
            ("", vec![""]),
            ("a..b.", vec!["a", "", "b", ""]),
        ] {
            assert_eq!(names(path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_named_and_there_is_kept_as_it_is() {
        let event = r#"{"content":{"body":"a \"b\"","info":{"h":1,"w":[{"x":2}]},"m.x":{"y":null}},"sender":"@a:x","type":"t"}"#;
        for (paths, expected) in [
            (&["type"][..], r#"{"type":"t"}"#),
            (&["type", "content.body"], r#"{"content":{"body":"a \"b\""},"type":"t"}"#),
            (&["content.info.h", "content.info"], r#"{"content":{"info":{"h":1,"w":[{"x":2}]}}}"#),
            (&["content.info", "content.info.h"], r#"{"content":{"info":{"h":1,"w":[{"x":2}]}}}"#),
            (&[r"content.m\.x.y"], r#"{"content":{"m.x":{"y":null}}}"#),
            (&["content.m.x.y"], "{}"),
            (&["content.nothing", "sender.x", "content.info.w.x"], "{}"),
            (&["content.nothing", "sender"], r#"{"sender":"@a:x"}"#),
            (&["content.info.h", "content.nothing.x"], r#"{"content":{"info":{"h":1}}}"#),
            (&[""], "{}"),
        ] {
            assert_eq!(of(paths, event), expected, "{paths:?}");
        }
        assert_eq!(of(&["a"], "[1]"), "{}");
    }

    #[test]
    fn paths_are_few_and_short() {
        let paths = |count: usize, bytes: usize| Fields::parse(&vec!["x".repeat(bytes); count]).map(drop);
        assert_eq!(paths(MAX_PATHS, MAX_PATH_BYTES), Ok(()));
        assert_eq!(paths(MAX_PATHS + 1, 1), Err(NoFields::TooMany));
        assert_eq!(paths(1, MAX_PATH_BYTES + 1), Err(NoFields::TooLong));
        let deep = vec![".".repeat(MAX_PATH_BYTES)];
        let mut out = Vec::new();
        Fields::parse(&deep).expect("is short enough").append(&mut out, b"{\"\":{\"\":{}}}");
        assert_eq!(out, b"{}");
    }
}
