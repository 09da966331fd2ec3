//! The settings of privacy (L6, L7), in the words of the wire and in the application's.

use crate::core::wire::object::Object;
use crate::core::wire::write;

const ON_THE_WIRE: [&str; 3] = ["share", "auto_accept", "invites"];
const IN_AN_APPLICATION: [&str; 3] = ["share", "autoAccept", "invites"];

/// What the server answers, in the application's words.
pub(super) fn for_application(body: &str) -> String {
    renamed(&Object::parse_or_empty(body), ON_THE_WIRE, IN_AN_APPLICATION)
}

/// What the application gives, in the words of the wire.
pub(super) fn for_wire(privacy: &Object<'_>) -> String {
    renamed(privacy, IN_AN_APPLICATION, ON_THE_WIRE)
}

fn renamed(object: &Object<'_>, from: [&str; 3], to: [&str; 3]) -> String {
    write::object(|fields| {
        for (from, to) in from.into_iter().zip(to) {
            if let Some(json) = object.raw(from) {
                fields.raw(to, json);
            }
        }
    })
}
