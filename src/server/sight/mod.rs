//! Who sees whom, and who came to or ceased to since a position.
//!
//! One question ([`Sight::may_see`]) is asked at every way out (L6). What ties an observer to those they see
//! is owned by others: lists by `contacts`, memberships by `rooms`. Here is kept, by position, when ties by list
//! came and went in this run, so that each reader is told once (L2). Wakes nobody, and knows no status.

mod across;
mod lists;
pub mod rooms;
pub mod since;
mod visibility;

pub use self::visibility::Sight;

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
