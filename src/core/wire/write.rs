//! Writing JSON, field by field.

use std::fmt::Write;

/// Writes one JSON value into a text.
#[derive(Debug, Default)]
pub struct Writer {
    out: String,
}

/// Something that has a JSON form.
pub trait ToJson {
    /// Writes it.
    fn write(&self, writer: &mut Writer);

    /// It as a text of its own.
    fn to_json(&self) -> String {
        let mut writer = Writer::default();
        self.write(&mut writer);
        writer.out
    }
}

impl Writer {
    /// The text so far.
    pub fn into_text(self) -> String {
        self.out
    }

    /// An object, with what `fields` writes into it.
    pub fn object(&mut self, fields: impl FnOnce(&mut Fields<'_>)) {
        self.out.push('{');
        fields(&mut Fields { writer: self });
        self.close('}');
    }

    /// An array.
    pub fn array<T: ToJson>(&mut self, elements: impl IntoIterator<Item = T>) {
        self.out.push('[');
        for element in elements {
            element.write(self);
            self.out.push(',');
        }
        self.close(']');
    }

    /// A string.
    pub fn text(&mut self, text: &str) {
        self.out.push('"');
        let mut rest = text;
        while let Some(at) = rest.bytes().position(|byte| byte < 32 || byte == b'"' || byte == b'\\') {
            self.out.push_str(&rest[..at]);
            self.escape(rest.as_bytes()[at]);
            rest = &rest[at + 1..];
        }
        self.out.push_str(rest);
        self.out.push('"');
    }

    /// What is JSON already.
    pub fn raw(&mut self, json: &str) {
        self.out.push_str(json);
    }

    /// An integer.
    pub fn integer(&mut self, number: i64) {
        // A String takes whatever is written to it.
        self.out.write_fmt(format_args!("{number}")).expect("a String takes everything");
    }

    fn escape(&mut self, byte: u8) {
        match byte {
            b'"' => self.out.push_str("\\\""),
            b'\\' => self.out.push_str("\\\\"),
            b'\n' => self.out.push_str("\\n"),
            b'\r' => self.out.push_str("\\r"),
            b'\t' => self.out.push_str("\\t"),
            _ => {
                self.out.push_str("\\u00");
                for nibble in [byte >> 4, byte & 15] {
                    self.out.push(b"0123456789abcdef"[usize::from(nibble)] as char);
                }
            }
        }
    }

    /// Ends a container whose elements each left a comma behind them.
    fn close(&mut self, with: char) {
        if self.out.ends_with(',') {
            self.out.pop();
        }
        self.out.push(with);
    }
}

/// The fields of an object that is being written.
#[derive(Debug)]
pub struct Fields<'a> {
    writer: &'a mut Writer,
}

impl Fields<'_> {
    /// A string.
    pub fn text(&mut self, name: &str, text: &str) {
        self.name(name).text(text);
        self.writer.out.push(',');
    }

    /// A string, or no such field.
    pub fn optional(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// An integer. (Those of this project are all exact in JavaScript.)
    pub fn integer(&mut self, name: &str, number: u64) {
        self.signed(name, i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// An integer that may be negative.
    pub fn signed(&mut self, name: &str, number: i64) {
        self.name(name).integer(number);
        self.writer.out.push(',');
    }

    /// A truth value.
    pub fn flag(&mut self, name: &str, flag: bool) {
        self.raw(name, if flag { "true" } else { "false" });
    }

    /// What is JSON already.
    pub fn raw(&mut self, name: &str, json: &str) {
        self.name(name).raw(json);
        self.writer.out.push(',');
    }

    /// Anything else.
    pub fn value(&mut self, name: &str, value: &(impl ToJson + ?Sized)) {
        value.write(self.name(name));
        self.writer.out.push(',');
    }

    fn name(&mut self, name: &str) -> &mut Writer {
        self.writer.text(name);
        self.writer.out.push(':');
        self.writer
    }
}

/// The JSON of an object.
pub fn object(fields: impl FnOnce(&mut Fields<'_>)) -> String {
    let mut writer = Writer::default();
    writer.object(fields);
    writer.into_text()
}

impl ToJson for str {
    fn write(&self, writer: &mut Writer) {
        writer.text(self);
    }
}

impl ToJson for String {
    fn write(&self, writer: &mut Writer) {
        writer.text(self);
    }
}

impl<T: ToJson + ?Sized> ToJson for &T {
    fn write(&self, writer: &mut Writer) {
        (**self).write(writer);
    }
}

impl<T: ToJson + ?Sized> ToJson for std::sync::Arc<T> {
    fn write(&self, writer: &mut Writer) {
        (**self).write(writer);
    }
}

impl<T: ToJson> ToJson for [T] {
    fn write(&self, writer: &mut Writer) {
        writer.array(self);
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn write(&self, writer: &mut Writer) {
        writer.array(self);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn what_is_written_is_what_was_meant() {
        let text = object(|fields| {
            fields.text("t", "a");
            fields.optional("none", None);
            fields.optional("some", Some("b"));
            fields.integer("n", 9_007_199_254_740_991);
            fields.signed("s", -1);
            fields.flag("f", false);
            fields.raw("r", "{\"x\":[]}");
            fields.value("l", &["x", "y"][..]);
            fields.value("e", &Vec::<String>::new());
        });
        let expected = json!({"t": "a", "some": "b", "n": 9_007_199_254_740_991_i64, "s": -1, "f": false,
            "r": {"x": []}, "l": ["x", "y"], "e": []});
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
        assert_eq!(object(|_| ()), "{}");
    }

    proptest! {
        #![proptest_config(crate::core::testing::config())]

        #[test]
        fn any_string_comes_back(text in any::<String>()) {
            prop_assert_eq!(serde_json::from_str::<String>(&text.to_json()).unwrap(), text);
        }
    }
}
