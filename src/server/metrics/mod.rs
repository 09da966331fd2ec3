//! What the server counts, and the page on which Prometheus reads it: `GET /metrics` on a listener of its own.
//!
//! Labels have few fixed values: no user, room or server is named.

mod page;
mod process;
mod requests;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};

pub use self::requests::{Class, Requests};
use super::app::App;

/// Everything that is counted as it happens; the rest is looked up when the page is read.
#[derive(Debug, Default)]
pub struct Metrics {
    /// HTTP requests that were answered.
    pub requests: Arc<Requests>,
    /// Requests that wait for news.
    pub open_polls: Gauge,
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

/// Transactions in one direction.
#[derive(Debug, Default)]
pub struct Traffic {
    transactions: Counter,
    edus: Counter,
    bytes: Counter,
}

/// A number that grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// A number of things that begin and end.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

/// Something counted by a [`Gauge`] until this is dropped.
#[derive(Debug)]
pub struct Inside<'a>(&'a Gauge);

impl Counter {
    /// `n` more.
    pub fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauge {
    /// One more, until what is returned is dropped.
    #[must_use]
    pub fn enter(&self) -> Inside<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Inside(self)
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Traffic {
    /// One more transaction, with so many EDUs, and a body of so many bytes.
    pub fn count(&self, edus: usize, bytes: usize) {
        self.transactions.add(1);
        self.edus.add(edus);
        self.bytes.add(bytes);
    }
}

/// The one route of the listener for Prometheus.
pub fn router(app: Arc<App>) -> Router {
    Router::new().route("/metrics", get(read)).with_state(app)
}

async fn read(State(app): State<Arc<App>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page::write(&app))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside_is_counted_until_it_is_dropped() {
        let gauge = Gauge::default();
        let first = gauge.enter();
        let second = gauge.enter();
        assert_eq!(gauge.value(), 2);
        drop(first);
        assert_eq!(gauge.value(), 1);
        drop(second);
        assert_eq!(gauge.value(), 0);
    }
}
