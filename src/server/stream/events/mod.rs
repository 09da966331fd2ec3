//! The event stream in one list, as `/events` tells it. Client-server API, "Listen on the event stream".
//!
//! A reader is told every event of their rooms that came while they were there, in the order of the log, page by page:
//! there is never a gap. What room events do not say (presence, who types, who has read, the user's own data) follows
//! after those of the page. What a room was before the reader came is asked for apart, by its initial sync.

mod chunk;
mod page;
mod poll;
mod scope;

pub use self::{page::MAX_EVENTS, poll::Poll, scope::Scope};
