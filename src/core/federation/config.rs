//! The times and bounds of presence between homeservers.

use std::time::Duration;

/// What an operator can set; the defaults are those of the source document where it names one.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How long changes are collected for a peer before they are sent (F8). Default 10 s; 10 to 60 s
    /// are sensible. Longer: fewer messages, later news.
    pub batch_window: Duration,
    /// How long a message that answers a person's login waits for what else the login brings, so that
    /// one message holds the status and the poll (F2). Default 200 ms.
    pub settle: Duration,
    /// Silence of a peer after which it is reminded and asked (F4). Default 1 min.
    pub short_watchdog: Duration,
    /// Time without a reminder after which the peer is reminded and asked, however chatty it is (F4).
    /// Default 1 h.
    pub long_watchdog: Duration,
    /// The part of the long watchdog, 0 to 1, by which it is shortened at random at each start, so that
    /// those of many peers spread out (F7). Default 0.25.
    pub long_stagger: f64,
    /// How long what we push holds without a sign of life from us; said in our messages (F6). Default
    /// 2 min. Must exceed the short watchdog.
    pub promise: Duration,
    /// The shortest and the longest promise of a peer that is believed. Default 30 s and 1 h.
    pub promise_bounds: (Duration, Duration),
    /// How long the push of a stock Matrix server holds, which promises nothing. Default 30 min, the
    /// time Synapse itself allows.
    pub stock_promise: Duration,
    /// How often a stock server is told of those who are online, lest it take them for gone. Default
    /// 25 min, Synapse's own interval.
    pub stock_refresh: Duration,
    /// How long a peer may leave a first poll unanswered before it counts as a stock server (F10).
    /// Default 1 min.
    pub poll_patience: Duration,
    /// How long the transport may be silent about a message before it counts as lost. Default 2 min.
    pub send_timeout: Duration,
    /// The first and the longest pause after a failure; it doubles in between. Default 5 s and 1 h.
    pub backoff: (Duration, Duration),
    /// The most users one of our messages names; more go into the next. Default 512: whoever has 500 contacts
    /// on a server logs in with one message.
    pub max_users_per_edu: usize,
    /// The most bytes of content one of our messages is allowed to have, about. Default 48 KiB.
    pub max_edu_bytes: usize,
    /// The most polls kept of one peer for users it may not see, or who do not exist. Default 1,000.
    pub max_blind_polls: usize,
    /// The most servers that are remembered though nobody here watches or may be watched by anybody
    /// there, because they polled: their polls may be ahead of what will permit them. Default 1,000.
    pub max_strangers: usize,
}

impl Default for Config {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        const HOUR: Duration = Duration::from_secs(3_600);
        Self {
            batch_window: Duration::from_secs(10),
            settle: Duration::from_millis(200),
            short_watchdog: MINUTE,
            long_watchdog: HOUR,
            long_stagger: 0.25,
            promise: Duration::from_secs(120),
            promise_bounds: (Duration::from_secs(30), HOUR),
            stock_promise: Duration::from_secs(30 * 60),
            stock_refresh: Duration::from_secs(25 * 60),
            poll_patience: MINUTE,
            send_timeout: Duration::from_secs(120),
            backoff: (Duration::from_secs(5), HOUR),
            max_users_per_edu: 512,
            max_edu_bytes: 48 * 1024,
            max_blind_polls: 1_000,
            max_strangers: 1_000,
        }
    }
}
