//! The names that an application may use: those of a command's arguments, and of the fields of the objects it gives.

use crate::core::wire::object::{Object, elements};

/// What is wrong with a field that `owner` does not have: the nearest one that it has, else all of them.
pub fn unknown_field<'a>(owner: &str, field: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let nearest = known.clone().map(|name| (distance(field, name), name)).min();
    match nearest {
        Some((distance, name))
            if distance <= 2.max(field.len() / 3) || field.starts_with(name) || name.starts_with(field) =>
        {
            [owner, " has no field \"", field, "\": did you mean \"", name, "\"?"].concat()
        }
        _ => [owner, " has no field \"", field, "\"; it may have ", &known.collect::<Vec<_>>().join(", ")]
            .concat(),
    }
}

/// The names of a command's arguments, in order.
pub fn parameters(command: &str) -> &'static [&'static str] {
    match command {
        "setPresence" => &["state", "statusMsg"],
        "setDisplayName" => &["name"],
        "addContact" => &["userId", "acl"],
        "dropContact" => &["userId"],
        "answerRequest" => &["userId", "answer"],
        "setGroup" => &["userId", "group", "inside"],
        "inviteGroup" => &["group", "name"],
        "setPrivacy" => &["privacy"],
        "deliverPresence" => &["enabled"],
        "setNotifySettings" => &["settings"],
        "createRoom" => &["room"],
        "joinRoom" => &["idOrAlias"],
        "leaveRoom" | "forgetRoom" => &["roomId"],
        "invite" => &["roomId", "userId"],
        "kick" => &["roomId", "userId", "reason"],
        "redact" => &["roomId", "eventId", "reason"],
        "scrollBack" => &["roomId", "limit"],
        "jump" | "event" => &["roomId", "eventId"],
        "scrollPast" => &["roomId", "direction", "limit"],
        "publicRooms" => &["search"],
        "request" => &["method", "path", "body"],
        _ => &[],
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// `true` or `false`.
    Flag,
    /// An array of strings.
    Texts,
    /// Left to whoever reads it.
    Any,
}

impl Kind {
    /// Whether a JSON value is of this kind. Null is as good as absent.
    fn fits(self, json: &str) -> bool {
        json == "null"
            || match self {
                Self::Text => json.starts_with('"'),
                Self::Flag => json == "true" || json == "false",
                Self::Texts => {
                    json.starts_with('[') && elements(json).iter().all(|element| element.starts_with('"'))
                }
                Self::Any => true,
            }
    }

    /// What to say that is wanted.
    const fn words(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Flag => "true or false",
            Self::Texts => "an array of strings",
            Self::Any => "a value",
        }
    }
}

/// The fields of the object that a command takes; none where the object may hold anything.
fn fields(command: &str) -> &'static [(&'static str, Kind)] {
    match command {
        "createRoom" => &[
            ("name", Kind::Text),
            ("topic", Kind::Text),
            ("public", Kind::Flag),
            ("alias", Kind::Text),
            ("invite", Kind::Texts),
            ("direct", Kind::Flag),
        ],
        "setPrivacy" => &[("share", Kind::Text), ("autoAccept", Kind::Text), ("invites", Kind::Any)],
        "setNotifySettings" => &[("mutedIn", Kind::Texts), ("groups", Kind::Any)],
        _ => &[],
    }
}

/// What is wrong with the object that a command is given, if anything is.
pub fn misfit(command: &str, given: &Object<'_>) -> Option<String> {
    let known = fields(command);
    let owner = parameters(command).first()?;
    given.fields().find_map(|(field, json)| match known.iter().find(|(name, _)| *name == field) {
        None => Some(unknown_field(owner, field, known.iter().map(|(name, _)| *name))),
        Some((_, kind)) if !kind.fits(json) => Some([owner, ".", field, " must be ", kind.words()].concat()),
        Some(_) => None,
    })
}

/// How many letters have to be changed, added or left out, upper and lower case being one.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.bytes().enumerate() {
            let changed = corner + usize::from(!a.eq_ignore_ascii_case(&b));
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_field_that_there_is_not_is_told_by_the_nearest_that_there_is() {
        let known = ["idleTimeoutMs", "presenceGraceMs", "deviceType", "storage", "trackActivity"];
        for (field, nearest) in [
            ("idleTimout", "idleTimeoutMs"),
            ("idletimeoutms", "idleTimeoutMs"),
            ("idleTimeout", "idleTimeoutMs"),
            ("presenceGrace", "presenceGraceMs"),
            ("devicetype", "deviceType"),
            ("storge", "storage"),
            ("device", "deviceType"),
        ] {
            let words = unknown_field("options", field, known.into_iter());
            let expected = ["options has no field \"", field, "\": did you mean \"", nearest, "\"?"].concat();
            assert_eq!(words, expected);
        }
        let words = unknown_field("options", "colour", known.into_iter());
        assert!(
            words.ends_with(
                "; it may have idleTimeoutMs, presenceGraceMs, deviceType, storage, trackActivity"
            )
        );
    }

    #[test]
    fn a_distance_counts_letters() {
        for (one, other, expected) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("name", "NAME", 0)]
        {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }
}
