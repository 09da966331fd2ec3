//! The key that a mistyped one was perhaps meant to be.

use super::keys;

/// The key that `name` was perhaps meant to be.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    keys::all()
        .map(|key| {
            let whole = distance(name, key.name);
            // The right key in a wrong section is near, too.
            (whole.min(1 + distance(&last(name), &last(key.name))), key.name)
        })
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, name)| name)
}

/// Letters to insert, remove or replace to get from one to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
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

    #[test]
    fn distance_counts_letters() {
        for (a, b, expected) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("ab", "ba", 2)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
