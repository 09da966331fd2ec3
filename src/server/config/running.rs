//! The keys of how the server runs: how often it may be asked, and what it says of itself.

use super::{
    key::{Key, Shown},
    settings::LogFormat,
};

/// What a rate or a burst may be.
const COUNT: &str = "a whole number from 1 to 1000000";

fn count(text: &str) -> Option<u32> {
    text.parse().ok().filter(|n| (1..=1_000_000).contains(n))
}

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "connections.per_address",
        help: "Connections from one address (IPv6: from one /64 network) at once, at each listener, and no more than half\nof all that the system allows. Of trusted_proxies there are as many as they like; there, requests under\nway count for the address in X-Forwarded-For.",
        allowed: COUNT,
        set: |c, v| count(v).map(|n| c.connections.per_address = n),
        show: |c| Shown::Bare(c.connections.per_address.to_string()),
    },
    Key {
        name: "rate_limits.enabled",
        help: "Whether requests are limited per user and per address; docs/LIMITS.md has the figures.",
        allowed: "true or false",
        set: |c, v| v.parse().ok().map(|enabled| c.rate_limits.enabled = enabled),
        show: |c| Shown::Bare(c.rate_limits.enabled.to_string()),
    },
    Key {
        name: "rate_limits.user_per_second",
        help: "Requests of one user, on all devices together, a second in the long run.",
        allowed: COUNT,
        set: |c, v| count(v).map(|n| c.rate_limits.user_per_second = n),
        show: |c| Shown::Bare(c.rate_limits.user_per_second.to_string()),
    },
    Key {
        name: "rate_limits.user_burst",
        help: "Requests of one user at once.",
        allowed: COUNT,
        set: |c, v| count(v).map(|n| c.rate_limits.user_burst = n),
        show: |c| Shown::Bare(c.rate_limits.user_burst.to_string()),
    },
    Key {
        name: "rate_limits.presence_per_second",
        help: "What one user says of their presence, on all devices together, a second in the long run. Beyond it\nnothing is refused: the last state waits for its turn.",
        allowed: COUNT,
        set: |c, v| count(v).map(|n| c.rate_limits.presence_per_second = n),
        show: |c| Shown::Bare(c.rate_limits.presence_per_second.to_string()),
    },
    Key {
        name: "rate_limits.presence_burst",
        help: "What one user says of their presence at once.",
        allowed: COUNT,
        set: |c, v| count(v).map(|n| c.rate_limits.presence_burst = n),
        show: |c| Shown::Bare(c.rate_limits.presence_burst.to_string()),
    },
    Key {
        name: "rate_limits.address_per_second",
        help: "Requests without a valid access token from one address (IPv6: from one /64 network), a second in\nthe long run. Behind a proxy on this machine the address in its X-Forwarded-For counts.",
        allowed: COUNT,
        set: |c, v| count(v).map(|n| c.rate_limits.address_per_second = n),
        show: |c| Shown::Bare(c.rate_limits.address_per_second.to_string()),
    },
    Key {
        name: "rate_limits.address_burst",
        help: "Requests without a valid access token from one address at once.",
        allowed: COUNT,
        set: |c, v| count(v).map(|n| c.rate_limits.address_burst = n),
        show: |c| Shown::Bare(c.rate_limits.address_burst.to_string()),
    },
    Key {
        name: "rate_limits.server_per_second",
        help: "Requests of one other server that proved to be it, a second in the long run. All else that comes\nto federation.listen counts for its address.",
        allowed: COUNT,
        set: |c, v| count(v).map(|n| c.rate_limits.server_per_second = n),
        show: |c| Shown::Bare(c.rate_limits.server_per_second.to_string()),
    },
    Key {
        name: "rate_limits.server_burst",
        help: "Requests of one other server at once.",
        allowed: COUNT,
        set: |c, v| count(v).map(|n| c.rate_limits.server_burst = n),
        show: |c| Shown::Bare(c.rate_limits.server_burst.to_string()),
    },
    Key {
        name: "rate_limits.login_per_minute",
        help: "Wrong passwords for one account from one address, a minute in the long run.",
        allowed: COUNT,
        set: |c, v| count(v).map(|n| c.rate_limits.login_per_minute = n),
        show: |c| Shown::Bare(c.rate_limits.login_per_minute.to_string()),
    },
    Key {
        name: "rate_limits.login_burst",
        help: "Wrong passwords for one account from one address at once.",
        allowed: COUNT,
        set: |c, v| count(v).map(|n| c.rate_limits.login_burst = n),
        show: |c| Shown::Bare(c.rate_limits.login_burst.to_string()),
    },
    Key {
        name: "log.format",
        help: "How a line of the log looks: for a person (human) or one JSON object a line (json).",
        allowed: "human or json",
        set: |c, v| {
            c.log.format = match v {
                "human" => LogFormat::Human,
                "json" => LogFormat::Json,
                _ => return None,
            };
            Some(())
        },
        show: |c| {
            Shown::Text(
                match c.log.format {
                    LogFormat::Human => "human",
                    LogFormat::Json => "json",
                }
                .into(),
            )
        },
    },
    Key {
        name: "log.level",
        help: "The least important thing that is logged. User identifiers are logged at debug and below only;\npasswords, tokens and messages never.",
        allowed: "error, warn, info, debug or trace",
        set: |c, v| {
            let known = ["error", "warn", "info", "debug", "trace"].contains(&v);
            known.then_some(v)?.parse().ok().map(|level| c.log.level = level)
        },
        show: |c| Shown::Text(c.log.level.to_string().to_lowercase()),
    },
];
