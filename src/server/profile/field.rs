//! Fields of a profile beyond name and picture: how they are called, and how much there may be of them.
//!
//! Source: Matrix client-server API, "Profiles"; appendices, "Common Namespaced Identifier Grammar".

/// The longest name of a field, in bytes.
pub const MAX_FIELD_NAME: usize = 255;

/// All of a profile as JSON, in bytes: less than this.
pub const MAX_PROFILE: usize = 64 << 10;

/// Fields that clients in use call otherwise than the specification will: how they say it, and what is meant.
const OTHER_NAMES: [(&str, &str); 2] =
    [("org.matrix.msc4426.status", FieldName::STATUS), ("org.matrix.msc4426.call", FieldName::CALL)];

/// The name of a field, as it is kept.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct FieldName(String);

/// Not a name of a field.
#[derive(Clone, Copy, Debug, thiserror::Error, Eq, PartialEq)]
pub enum BadFieldName {
    /// It is longer than [`MAX_FIELD_NAME`].
    #[error("the name of a profile field has at most {MAX_FIELD_NAME} bytes")]
    TooLong,
    /// It is not of the grammar.
    #[error(
        "the name of a profile field begins with one of a to z, and has only these, 0 to 9, \".\", \"_\" and \"-\""
    )]
    Grammar,
}

impl FieldName {
    /// What the user is doing, in words and a picture of one character (MSC4426).
    pub const STATUS: &str = "m.status";

    /// That the user is in a call (MSC4426).
    pub const CALL: &str = "m.call";

    /// Reads a name; one that a client says otherwise is that which is meant.
    ///
    /// # Errors
    /// [`BadFieldName`] says what is wrong.
    pub fn new(name: &str) -> Result<Self, BadFieldName> {
        if name.len() > MAX_FIELD_NAME {
            return Err(BadFieldName::TooLong);
        }
        let is_inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        let begins = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        if !begins || !name.bytes().all(is_inside) {
            return Err(BadFieldName::Grammar);
        }
        let meant = OTHER_NAMES.iter().find(|(other, _)| *other == name).map_or(name, |(_, meant)| meant);
        Ok(Self(meant.to_owned()))
    }

    /// The name as it is kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Every name by which clients ask for it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let others = OTHER_NAMES.iter().filter(|(_, meant)| *meant == self.0).map(|(other, _)| *other);
        std::iter::once(self.as_str()).chain(others)
    }

    /// Whether the field of this name, as it is kept, is seen by who sees the user's presence, of which it is a part.
    pub fn is_of_presence(name: &str) -> bool {
        [Self::STATUS, Self::CALL].contains(&name)
    }
}

impl From<FieldName> for String {
    fn from(FieldName(name): FieldName) -> Self {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l5_a_field_is_called_by_the_grammar_of_namespaced_names() {
        for name in ["m.tz", "a", "org.example.a_b-c.1", "us.cloke.msc4175.tz", &"a".repeat(MAX_FIELD_NAME)] {
            assert_eq!(FieldName::new(name).expect("is a name").as_str(), name);
        }
        for name in ["", ".a", "1a", "_a", "A", "aB", "a b", "a/b", "é", "a\n", "a\0"] {
            assert_eq!(FieldName::new(name), Err(BadFieldName::Grammar), "{name:?}");
        }
        assert_eq!(FieldName::new(&"a".repeat(MAX_FIELD_NAME + 1)), Err(BadFieldName::TooLong));
    }

    #[test]
    fn l5_a_field_that_clients_call_otherwise_is_the_same_field() {
        for (other, meant) in OTHER_NAMES {
            let name = FieldName::new(other).expect("is a name");
            assert_eq!(name, FieldName::new(meant).expect("is a name"));
            assert_eq!(name.names().collect::<Vec<_>>(), [meant, other]);
            assert!(FieldName::is_of_presence(name.as_str()));
        }
        let plain = FieldName::new("m.tz").expect("is a name");
        assert_eq!(plain.names().collect::<Vec<_>>(), ["m.tz"]);
        assert!(!FieldName::is_of_presence(plain.as_str()));
    }
}
