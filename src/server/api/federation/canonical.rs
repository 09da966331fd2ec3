//! The canonical form of a JSON text, of what is no canonical JSON by the specification too: what a server signed that sends
//! its requests in another form.
//!
//! Source: Matrix appendices, "Canonical JSON". Numbers stay as they were written.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::server::json::append_string;

/// Objects and lists within each other, at most: of a request itself, and of what is in it, more than is told to anybody.
const MAX_DEPTH: usize = 200;

/// The canonical form; `None`: it is no JSON, or too deep.
pub(super) fn canonical_form(json: &[u8]) -> Option<Vec<u8>> {
    let mut form = Vec::with_capacity(json.len());
    append(&mut form, serde_json::from_slice(json).ok()?, MAX_DEPTH)?;
    Some(form)
}

/// The parser passes over what is inside without going down into it: only this function does.
fn append(form: &mut Vec<u8>, value: &RawValue, depth: usize) -> Option<()> {
    let text = value.get();
    match text.as_bytes().first()? {
        b'{' => {
            let depth = depth.checked_sub(1)?;
            // Of a key that is there twice the last one counts, as for who reads it.
            let entries: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            form.push(b'{');
            for (n, (key, value)) in entries.into_iter().enumerate() {
                if n > 0 {
                    form.push(b',');
                }
                append_string(form, &key);
                form.push(b':');
                append(form, value, depth)?;
            }
            form.push(b'}');
        }
        b'[' => {
            let depth = depth.checked_sub(1)?;
            let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            form.push(b'[');
            for (n, element) in elements.into_iter().enumerate() {
                if n > 0 {
                    form.push(b',');
                }
                append(form, element, depth)?;
            }
            form.push(b']');
        }
        b'"' => append_string(form, &serde_json::from_str::<String>(text).ok()?),
        _ => form.extend_from_slice(text.as_bytes()),
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*, sample};
    use ruma::CanonicalJsonValue;
    use serde_json::{Value, json};

    use super::*;

    fn form(json: &str) -> Option<String> {
        canonical_form(json.as_bytes()).map(|form| String::from_utf8(form).expect("is UTF-8"))
    }

    #[test]
    fn keys_are_sorted_strings_escaped_anew_and_numbers_stay() {
        let cases = [
            (r#" { "b" : [ 1 , 2 ] , "a" : { } } "#, r#"{"a":{},"b":[1,2]}"#),
            (
                r#"{"z":1.50,"y":-0,"x":1E+60,"w":99999999999999999999}"#,
                r#"{"w":99999999999999999999,"x":1E+60,"y":-0,"z":1.50}"#,
            ),
            (r#"{"\u0061":"\u00e9\/\u000a\u001F","B":null}"#, "{\"B\":null,\"a\":\"é/\\n\\u001f\"}"),
            (
                r#"{"日":1,"本":2,"é":3,"😀":4,"\uff61":5}"#,
                "{\"é\":3,\"日\":1,\"本\":2,\"\u{ff61}\":5,\"😀\":4}",
            ),
            (r#"{"a":1,"b":true,"a":{"d":1,"c":2}}"#, r#"{"a":{"c":2,"d":1},"b":true}"#),
            ("1.5", "1.5"),
        ];
        for (json, expected) in cases {
            assert_eq!(form(json).as_deref(), Some(expected), "{json}");
            assert_eq!(form(expected).as_deref(), Some(expected), "again");
        }
    }

    #[test]
    fn what_is_no_json_or_too_deep_has_no_form() {
        for json in
            ["", "{", r#"{"a":01}"#, r#"{"a":"\ud800"}"#, r#"{"a":1} x"#, "{1:2}", "[1,]", "\"\u{1}\""]
        {
            assert_eq!(form(json), None, "{json}");
        }
        assert_eq!(canonical_form(b"\"\xff\""), None);
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(form(&deep(MAX_DEPTH)), Some(deep(MAX_DEPTH)));
        assert_eq!(form(&deep(MAX_DEPTH + 1)), None);
        assert_eq!(form(&deep(1_000_000)), None);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let text = || {
            collection::vec(
                sample::select(vec!["a", "b", "\"", "\\", "\n", "\u{1}", "é", "😀", "\u{ff61}"]),
                0..4,
            )
        };
        let text = move || text().prop_map(|parts| parts.concat());
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Value::from),
            text().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, move |inner| {
            prop_oneof![
                collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                collection::vec((text(), inner), 0..5)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Where the specification has a canonical form, it is that.
        #[test]
        fn it_is_the_form_of_the_specification(value in any_json()) {
            let canonical = CanonicalJsonValue::try_from(value.clone()).expect("is canonical").to_string();
            let escaped: String = value.to_string().chars().map(|c| match c {
                'a' => "\\u0061".to_owned(),
                '\u{ff61}' => "\\uFF61".to_owned(),
                c => c.to_string(),
            }).collect();
            // The words of JSON are left as they are.
            let escaped = escaped.replace("f\\u0061lse", "false");
            for written in [value.to_string(), escaped, serde_json::to_string_pretty(&json!(value)).expect("JSON")] {
                prop_assert_eq!(form(&written), Some(canonical.clone()));
            }
        }
    }
}
