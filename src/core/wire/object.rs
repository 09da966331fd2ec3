//! Objects and arrays of which each part stays unread until it is asked for.

use std::borrow::Cow;

use super::read::{Malformed, Reader};

/// An object whose fields are not read until asked for.
#[derive(Clone, Debug, Default)]
pub struct Object<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Object<'a> {
    /// Reads an object; anything else is `None`.
    pub fn parse(json: &'a str) -> Option<Self> {
        let mut reader = Reader::new(json);
        let object = Self::read_only(&mut reader).ok()??;
        reader.end().ok().map(|()| object)
    }

    /// Reads an object; anything else is an empty one.
    pub fn parse_or_empty(json: &'a str) -> Self {
        Self::parse(json).unwrap_or_default()
    }

    /// Reads the object here; anything else is skipped and an empty one.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self::read_only(reader)?.unwrap_or_default())
    }

    /// Adds the fields of another object; what both have stays as it is.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// The fields, unread.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }

    /// A field, unread.
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// A string.
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        Reader::new(self.raw(name)?).text().ok()?
    }

    /// A string of one's own.
    pub fn string(&self, name: &str) -> Option<String> {
        self.text(name).map(Cow::into_owned)
    }

    /// An integer that is not negative.
    pub fn integer(&self, name: &str) -> Option<u64> {
        self.raw(name)?.parse().ok()
    }

    /// Whether the field is `true`.
    pub fn flag(&self, name: &str) -> bool {
        self.raw(name) == Some("true")
    }

    /// An object; an empty one where there is none.
    pub fn object(&self, name: &str) -> Self {
        self.raw(name).map(Self::parse_or_empty).unwrap_or_default()
    }

    /// The elements of an array, unread; none where there is none.
    pub fn list(&self, name: &str) -> Vec<&'a str> {
        self.raw(name).map(elements).unwrap_or_default()
    }

    /// The strings of an array.
    pub fn strings(&self, name: &str) -> Vec<String> {
        self.raw(name).map(strings).unwrap_or_default()
    }

    /// Reads the object here; anything else is skipped and `None`.
    fn read_only(reader: &mut Reader<'a>) -> Result<Option<Self>, Malformed> {
        if !reader.enter_object()? {
            return Ok(None);
        }
        let mut fields = Vec::new();
        while let Some(name) = reader.next_key()? {
            fields.push((name, reader.raw()?));
        }
        Ok(Some(Self(fields)))
    }
}

/// The elements of an array, unread; none if it is no array.
pub fn elements(json: &str) -> Vec<&str> {
    let mut reader = Reader::new(json);
    read_elements(&mut reader).unwrap_or_default()
}

/// The elements of the array here, unread; none if it is no array.
pub fn read_elements<'a>(reader: &mut Reader<'a>) -> Result<Vec<&'a str>, Malformed> {
    let mut elements = Vec::new();
    if reader.enter_array()? {
        while reader.next_element()? {
            elements.push(reader.raw()?);
        }
    }
    Ok(elements)
}

/// The strings among the elements of an array.
pub fn strings(json: &str) -> Vec<String> {
    let texts = elements(json).into_iter().filter_map(|value| Reader::new(value).text().ok().flatten());
    texts.map(Cow::into_owned).collect()
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_field_of_the_wrong_type_is_absent() {
        let json =
            r#" {"s":"a\"b","n":7,"neg":-1,"big":1e400,"t":true,"f":"true","o":{"x":"y"},"l":["a",1,"b"]} "#;
        let object = Object::parse(json).unwrap();
        assert_eq!(object.string("s").as_deref(), Some("a\"b"));
        assert_eq!(object.integer("n"), Some(7));
        for absent in ["s", "neg", "big", "o", "nothing"] {
            assert_eq!(object.integer(absent), None, "{absent}");
        }
        assert!(object.flag("t") && !object.flag("f") && !object.flag("nothing"));
        assert_eq!(object.object("o").string("x").as_deref(), Some("y"));
        assert_eq!(object.object("l").string("x"), None);
        assert_eq!(object.strings("l"), ["a", "b"]);
        assert!(object.list("o").is_empty());
    }
}
