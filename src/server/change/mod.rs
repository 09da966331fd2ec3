//! What happened, in order: the feed, positions, and who waits for news.

pub mod bell;
pub mod feed;
pub mod position;
pub mod wakers;
