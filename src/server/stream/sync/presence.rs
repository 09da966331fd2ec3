//! The presence part of the answer.

use crate::{
    core::time::Instant,
    server::{json::Writer, presence::write_unknown, stream::news::PresenceNews},
};

pub(super) fn write_presence(out: &mut Writer, news: &PresenceNews, now: Instant) {
    let part = out.open("presence");
    let events = out.open_array("events");
    for event in news.own.iter().chain(news.seen.iter().map(|(_, event)| &**event)) {
        out.element_with(|out| event.write(out, now));
    }
    for user in &news.unknown {
        out.element_with(|out| write_unknown(out, user.as_str()));
    }
    out.end(events);
    out.end(part);
}
