//! The shapes of Matrix's identifiers, as far as a client can tell a slip of the pen from a name.

use super::output::Failure;

/// The longest identifier that Matrix allows, in bytes.
const MAX_BYTES: usize = 255;

/// Refuses what cannot be a user ID: `@name:server`.
pub(super) fn check_user(id: &str) -> Result<(), Failure> {
    match has_shape(id, "@") {
        true => Ok(()),
        false => Err(Failure::local("BAD_USER_ID", &["not a user ID like @name:server: ", id].concat())),
    }
}

/// Refuses what can be neither a room's ID nor an alias of one.
pub(super) fn check_room(id: &str) -> Result<(), Failure> {
    // The rooms of room version 12 are of no server.
    let is_room = has_shape(id, "#") || (id.starts_with('!') && id.len() > 1 && is_word(id));
    match is_room {
        true => Ok(()),
        false => Err(Failure::local("BAD_ROOM", &["neither !id nor #alias:server: ", id].concat())),
    }
}

fn has_shape(id: &str, sigil: &str) -> bool {
    let parts = id.strip_prefix(sigil).and_then(|rest| rest.split_once(':'));
    parts.is_some_and(|(name, server)| !name.is_empty() && !server.is_empty()) && is_word(id)
}

fn is_word(id: &str) -> bool {
    id.len() <= MAX_BYTES && !id.bytes().any(|byte| byte <= b' ' || byte == 127)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_no_identifier() {
        for user in ["@a:x", "@A b".replace(' ', "_").as_str(), "@a:[::1]:8448", "@ä:x.org"] {
            assert_eq!(check_user(user).is_ok(), user.contains(':'), "{user}");
        }
        let long = ["@", &"a".repeat(255), ":x"].concat();
        for user in ["", "notanid", "a:x", "@:x", "@a:", "@a", "#a:x", "@a b:x", "@a\n:x", &long] {
            assert_eq!(check_user(user).map_err(|failure| failure.code), Err("BAD_USER_ID".into()), "{user}");
        }
        for room in ["#a:x", "!r:x", "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"] {
            assert_eq!(check_room(room), Ok(()), "{room}");
        }
        for room in ["", "!", "#a", "lunch", "@a:x", "#a b:x"] {
            assert_eq!(check_room(room).map_err(|failure| failure.code), Err("BAD_ROOM".into()), "{room}");
        }
    }
}
