//! A stretch of a room's past, apart from its live timeline: where somebody looks up one event, and on from
//! there in both directions. Where it reaches the live timeline the two become one.
//!
//! Bound: one stretch a room; forwards it drops its old end as a timeline does, backwards it grows with
//! what is asked for.

use super::timeline::Timeline;

/// The stretch.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) timeline: Timeline,
    /// From where to go on towards the present.
    pub(super) forward: String,
}
