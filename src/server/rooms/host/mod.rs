//! Rooms that this server takes part in, for other servers: who may ask about them, what they are shown, and what they
//! bring: joins, leaves, knocks and invites.
//!
//! Server-server API, "Joining rooms", "Knocking upon a room", "Inviting to a room", "Leaving rooms", "Backfilling and
//! retrieving missing events", "Retrieving events".

mod accept;
mod bring;
mod invite;
mod part;
mod reads;
mod seen;
mod shown;
mod template;

pub use self::{accept::Entered, bring::Drawn, invite::Brought, reads::StateAt, template::Template};
