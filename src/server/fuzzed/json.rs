//! JSON read and written by hand: the core's reader and writer, and the server's.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    core::wire::{
        object::{Object, elements},
        read::Reader,
        write::{self, ToJson},
    },
    server::json::{append_number, append_string, json_depth},
};

/// The deepest nesting that either parser reads.
const MAX_DEPTH: usize = 127;

/// The core's reader refuses what serde_json refuses and finds what it finds. (serde_json alone refuses half
/// surrogate pairs and numbers beyond a double; of keys that come twice it keeps the last.)
pub(super) fn json_reader(data: &[u8]) {
    let Ok(json) = str::from_utf8(data) else { return };
    if json_depth(data) > MAX_DEPTH {
        return;
    }
    let mut reader = Reader::new(json);
    let taken = reader.raw().is_ok() && reader.end().is_ok();
    match serde_json::from_str::<Value>(json) {
        Ok(value) => {
            assert!(taken, "serde_json takes it");
            finds_the_same(json, &value);
        }
        Err(error) => {
            let why = error.to_string();
            let stricter =
                ["surrogate", "hex escape", "number out of range"].iter().any(|word| why.contains(word));
            assert!(!taken || stricter, "{why}");
        }
    }
}

fn finds_the_same(json: &str, value: &Value) {
    assert_eq!(Reader::new(json).text().expect("is JSON").as_deref(), value.as_str());
    assert_eq!(Object::parse(json).is_some(), value.is_object());
    let parsed = |raw: &str| serde_json::from_str::<Value>(raw).expect("what is kept unread is JSON");
    let object = Object::parse_or_empty(json);
    let mut fields = BTreeMap::new();
    for (name, raw) in object.fields() {
        fields.insert(name.to_owned(), parsed(raw));
    }
    let expected = value.as_object().cloned().unwrap_or_default();
    assert_eq!(fields.into_iter().collect::<serde_json::Map<_, _>>(), expected);
    for (name, _) in object.fields().take(16) {
        // The first of several of one name.
        let first = object.raw(name).expect("is there");
        assert_eq!(object.text(name).as_deref(), parsed(first).as_str());
        assert_eq!(object.flag(name), parsed(first) == Value::Bool(true));
        assert_eq!(object.list(name).len(), parsed(first).as_array().map_or(0, Vec::len));
        if let Some(integer) = object.integer(name) {
            assert_eq!(parsed(first).as_u64(), Some(integer), "{first}");
        }
    }
    let found: Vec<Value> = elements(json).into_iter().map(parsed).collect();
    assert_eq!(found, value.as_array().cloned().unwrap_or_default());
}

/// Strings come back from whatever either writer makes of them, and the depth of a text is what a parser finds.
pub(super) fn json_writer(data: &[u8]) {
    if let Some(words) = str::from_utf8(data).ok().filter(|words| *words != "list") {
        let mut written = Vec::new();
        append_string(&mut written, words);
        assert_eq!(serde_json::from_slice::<String>(&written).expect("is JSON"), words);
        let written = write::object(|fields| {
            fields.text(words, words);
            fields.value("list", &[words, ""][..]);
        });
        let object = Object::parse(&written).expect("is an object");
        assert_eq!(object.strings("list"), [words, ""]);
        assert_eq!(object.text(words).as_deref(), Some(words));
        assert_eq!(serde_json::from_str::<String>(&words.to_json()).expect("is JSON"), words);
    }
    let mut number = [0; 8];
    number.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
    let mut written = Vec::new();
    append_number(&mut written, u64::from_le_bytes(number));
    assert_eq!(written, u64::from_le_bytes(number).to_string().into_bytes());
    if let Ok(value) = serde_json::from_slice::<Value>(data) {
        // Of keys that come twice the value has the last only.
        assert!(json_depth(data) >= depth(&value));
        assert_eq!(json_depth(value.to_string().as_bytes()), depth(&value));
    }
}

fn depth(value: &Value) -> usize {
    let deepest = |depths: &mut dyn Iterator<Item = usize>| 1 + depths.max().unwrap_or(0);
    match value {
        Value::Array(values) => deepest(&mut values.iter().map(depth)),
        Value::Object(fields) => deepest(&mut fields.values().map(depth)),
        _ => 0,
    }
}
