//! What the server counts; the page on which Prometheus reads it is `api::control::metrics`.

pub mod counter;
pub mod process;
mod requests;

use std::sync::Arc;

pub use self::counter::{Counter, Gauge, Traffic};
pub use self::requests::{Class, Requests};

/// Everything that is counted as it happens; the rest is looked up when the page is read.
#[derive(Debug, Default)]
pub struct Metrics {
    /// HTTP requests that were answered.
    pub requests: Arc<Requests>,
    /// Requests that wait for news.
    pub open_polls: Gauge,
    /// Held streams.
    pub open_streams: Gauge,
    /// Changes of this server's users that others can see.
    pub presence_changes: Counter,
    /// Presence events written to readers.
    pub presence_delivered: Counter,
    /// Transactions of other servers that were taken.
    pub received: Traffic,
    /// Transactions that other servers acknowledged.
    pub sent: Traffic,
    /// Transactions that were sent and not acknowledged.
    pub failed: Counter,
}
