//! Counters and gauges.

use std::sync::atomic::{AtomicU64, Ordering};

/// Transactions in one direction.
#[derive(Debug, Default)]
pub struct Traffic {
    /// How many.
    pub transactions: Counter,
    /// In them.
    pub edus: Counter,
    /// Of their bodies.
    pub bytes: Counter,
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

    /// How many.
    pub fn value(&self) -> u64 {
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

    /// How many.
    pub fn value(&self) -> u64 {
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
