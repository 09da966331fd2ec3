//! The keys of the TURN server that calls go through where two clients do not reach each other.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use super::{
    duration,
    error::ConfigError,
    key::{Key, Shown},
    settings::{Secret, Turn},
};

/// How long credentials may hold: a call that lasts longer asks again.
const LIFETIME: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(7 * 86_400);

/// `turn:HOST…` or `turns:HOST…`, without what a list or a header could not hold.
fn is_uri(text: &str) -> bool {
    let rest = text.strip_prefix("turn:").or_else(|| text.strip_prefix("turns:"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
    })
}

fn word(text: &str) -> Option<&str> {
    (!text.is_empty() && text.len() <= 512 && !text.chars().any(char::is_control)).then_some(text)
}

/// What of these settings does not go together.
pub(super) fn contradiction(turn: &Turn) -> Option<&'static str> {
    let shared = turn.shared_secret.is_some() || turn.shared_secret_file.is_some();
    let fixed = turn.username.is_some() || turn.password.is_some();
    if turn.shared_secret.is_some() && turn.shared_secret_file.is_some() {
        Some("turn.shared_secret and turn.shared_secret_file exclude each other")
    } else if shared && fixed {
        Some("turn.username and turn.password are for a TURN server without a shared secret")
    } else if turn.username.is_some() != turn.password.is_some() {
        Some("turn.username needs turn.password, and the other way round")
    } else if !turn.uris.is_empty() && !shared && !fixed {
        Some(
            "turn.uris needs turn.shared_secret, turn.shared_secret_file, or turn.username and turn.password",
        )
    } else if turn.uris.is_empty() && (shared || fixed) {
        Some("turn.shared_secret, turn.shared_secret_file, turn.username and turn.password need turn.uris")
    } else {
        None
    }
}

/// Reads the file that holds the shared secret, if one is named.
pub(super) fn read_secret(turn: &mut Turn) -> Result<(), ConfigError> {
    let Some(path) = &turn.shared_secret_file else { return Ok(()) };
    let text = std::fs::read_to_string(path).map_err(|e| ConfigError::Unreadable(path.clone(), e))?;
    let secret = word(text.trim());
    let secret = secret.ok_or(ConfigError::Contradiction(
        "turn.shared_secret_file names a file that holds no text of 1 to 512 bytes",
    ))?;
    turn.shared_secret = Some(Secret::new(secret));
    Ok(())
}

/// The keys.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "turn.uris",
        help: "The TURN server through which calls go where two clients do not reach each other, in all ways to it.\nWithout it calls work between people who do.",
        allowed: "addresses that begin with turn: or turns:, such as turn:turn.example.org:3478?transport=udp",
        set: |c, v| {
            let uris = if v.is_empty() {
                Vec::new()
            } else {
                v.split(',').map(|uri| uri.trim().to_owned()).collect()
            };
            uris.iter().all(|uri: &String| is_uri(uri)).then(|| c.turn.uris = uris)
        },
        show: |c| Shown::List(c.turn.uris.clone()),
    },
    Key {
        name: "turn.shared_secret",
        help: "What the TURN server knows too (coturn: use-auth-secret, static-auth-secret): of it each user is made\nnames and passwords that end by themselves.",
        allowed: "a text of 1 to 512 bytes",
        set: |c, v| word(v).map(|word| c.turn.shared_secret = Some(Secret::new(word))),
        // What a file holds stays there.
        show: |c| match &c.turn.shared_secret {
            Some(word) if c.turn.shared_secret_file.is_none() => Shown::Text(word.as_str().into()),
            _ => Shown::Unset,
        },
    },
    Key {
        name: "turn.shared_secret_file",
        help: "The same from a file, which is read at the start; space around it does not count.",
        allowed: "the path of a file",
        set: |c, v| (!v.is_empty()).then(|| c.turn.shared_secret_file = Some(PathBuf::from(v))),
        show: |c| {
            let path = c.turn.shared_secret_file.as_ref();
            path.map_or(Shown::Unset, |path| Shown::Text(path.to_string_lossy().into_owned()))
        },
    },
    Key {
        name: "turn.user_lifetime",
        help: "For how long what a user is told of the TURN server holds.",
        allowed: "a duration from 1m to 168h, such as 1h",
        set: |c, v| duration::parse(v).filter(|d| LIFETIME.contains(d)).map(|d| c.turn.user_lifetime = d),
        show: |c| Shown::Text(duration::show(c.turn.user_lifetime)),
    },
    Key {
        name: "turn.username",
        help: "For a TURN server without a shared secret: the name that all users have there.",
        allowed: "a text of 1 to 512 bytes",
        set: |c, v| word(v).map(|word| c.turn.username = Some(word.to_owned())),
        show: |c| c.turn.username.clone().map_or(Shown::Unset, Shown::Text),
    },
    Key {
        name: "turn.password",
        help: "The password to it. Every user of this server is told it.",
        allowed: "a text of 1 to 512 bytes",
        set: |c, v| word(v).map(|word| c.turn.password = Some(Secret::new(word))),
        show: |c| c.turn.password.as_ref().map_or(Shown::Unset, |word| Shown::Text(word.as_str().into())),
    },
];
