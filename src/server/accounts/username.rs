//! Which user names can be registered.

use ruma::{OwnedUserId, ServerName, UserId};

use super::refusal::Refusal;

/// The longest user identifier, with `@`, name and server, in bytes.
const MAX_USER_ID: usize = 255;

/// The identifier that `name` would have on `server`. Capitals become small letters.
///
/// # Errors
/// `M_INVALID_USERNAME`: empty, too long, letters outside `a-z 0-9 . _ = - / +`, or a first `_`
/// (kept for bridges).
pub fn username(name: &str, server: &ServerName) -> Result<OwnedUserId, Refusal> {
    if name.starts_with('_') {
        return Err(Refusal::InvalidUsername("user names that begin with _ are kept for bridges".into()));
    }
    bridged_username(name, server)
}

/// The same for a user of an application service.
///
/// # Errors
/// As for [`username`]; names may begin with `_`.
pub fn bridged_username(name: &str, server: &ServerName) -> Result<OwnedUserId, Refusal> {
    let name = name.to_ascii_lowercase();
    let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '=' | '-' | '/' | '+');
    if name.is_empty() {
        return Err(Refusal::InvalidUsername("a user name has at least one letter".into()));
    }
    if !name.chars().all(allowed) {
        return Err(Refusal::InvalidUsername(
            "a user name has only the letters a-z, 0-9 and . _ = - / +".into(),
        ));
    }
    if "@:".len() + name.len() + server.as_str().len() > MAX_USER_ID {
        return Err(Refusal::InvalidUsername(
            format!("a user identifier has at most {MAX_USER_ID} bytes").into(),
        ));
    }
    UserId::parse_with_server_name(name, server).map_err(|e| Refusal::InvalidUsername(e.to_string().into()))
}

/// A name for somebody who asks for none.
pub fn random_username() -> String {
    (0..12).map(|_| char::from(rand::random_range(b'a'..=b'z'))).collect()
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::*;

    #[test]
    fn names_are_accepted_lowered_or_refused() {
        let long = "x".repeat(250);
        let table: &[(&str, Option<&str>)] = &[
            ("alice", Some("@alice:test")),
            ("Alice", Some("@alice:test")),
            ("a.b_c=d-e/f+1", Some("@a.b_c=d-e/f+1:test")),
            ("12345", Some("@12345:test")),
            ("", None),
            ("_bridge", None),
            ("@alice", None),
            ("alice:test", None),
            ("al ice", None),
            ("älice", None),
            ("a\0b", None),
            (&long, None),
        ];
        for (name, expected) in table {
            let parsed = username(name, server_name!("test"));
            match expected {
                Some(id) => assert_eq!(parsed.expect(name).as_str(), *id),
                None => assert!(matches!(parsed.expect_err(name), Refusal::InvalidUsername(_)), "{name}"),
            }
        }
        assert!(username(&random_username(), server_name!("test")).is_ok());
    }
}
