//! The key that a mistyped one was perhaps meant to be.

use super::keys;

/// The longest name that is compared, in bytes: a longer one is no slip of any key.
const LONGEST: usize = 64;

/// The key that `name` was perhaps meant to be.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    if name.len() > LONGEST {
        return None;
    }
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    keys::all()
        .map(|key| {
            let whole = strsim::levenshtein(name, key.name);
            // The right key in a wrong section is near, too.
            (whole.min(1 + strsim::levenshtein(&last(name), &last(key.name))), key.name)
        })
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_a_stranger_is_not() {
        let table = [
            ("serve_name", Some("server_name")),
            ("presence.idletimeout", Some("presence.idle_timeout")),
            ("idle_timeout", Some("presence.idle_timeout")),
            ("rooms.idle_timeout", Some("presence.idle_timeout")),
            ("regstration", Some("registration")),
            ("database.url", None),
            ("", None),
        ];
        for (name, meant) in table {
            assert_eq!(nearest(name), meant, "{name}");
        }
    }
}
