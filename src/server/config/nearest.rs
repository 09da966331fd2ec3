//! The key that a mistyped one was perhaps meant to be.

use super::keys;

/// The longest name that is compared, in bytes: a longer one is no slip of any key.
const LONGEST: usize = 64;

/// How many letters may be wrong.
const FURTHEST: usize = 3;

/// The key that `name` was perhaps meant to be.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    if name.len() > LONGEST {
        return None;
    }
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    keys::all()
        .map(|key| {
            let whole = strsim::levenshtein(name, key.name);
            // The right key in a wrong section is near, too; of several the one in the nearest section.
            let part = strsim::levenshtein(&last(name), &last(key.name));
            // Of a short name more than half would be wrong.
            let elsewhere = if part > last(name).len() / 2 { usize::MAX } else { 1 + part };
            (whole.min(elsewhere), whole, key.name)
        })
        .min()
        .filter(|(distance, ..)| *distance <= FURTHEST)
        .map(|(.., name)| name)
}

/// The section that `name` was perhaps meant to be.
pub(super) fn nearest_section(name: &str) -> Option<&'static str> {
    if name.len() > LONGEST {
        return None;
    }
    keys::all()
        .filter_map(|key| Some(key.name.split_once('.')?.0))
        .map(|section| (strsim::levenshtein(name, section), section))
        .min()
        // Of a short name more than half would be wrong.
        .filter(|(distance, _)| *distance <= FURTHEST.min(name.len() / 2))
        .map(|(_, section)| section)
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
            ("metric.listen", Some("metrics.listen")),
            ("federatoin.listen", Some("federation.listen")),
            ("presnce.idle_timeout", Some("presence.idle_timeout")),
            ("rate_limit.user_burst", Some("rate_limits.user_burst")),
            ("logs.level", Some("log.level")),
            ("Listen", Some("listen")),
            ("database.url", None),
            ("", None),
        ];
        for (name, meant) in table {
            assert_eq!(nearest(name), meant, "{name}");
        }
    }

    #[test]
    fn a_section_with_a_slip_is_understood() {
        let table = [
            ("presnce", Some("presence")),
            ("metric", Some("metrics")),
            ("rate_limit", Some("rate_limits")),
            ("Federation", Some("federation")),
            ("database", None),
            ("logs", Some("log")),
            ("zzz", None),
            ("", None),
        ];
        for (name, meant) in table {
            assert_eq!(nearest_section(name), meant, "{name}");
        }
    }
}
