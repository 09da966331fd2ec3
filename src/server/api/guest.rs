//! What guests may do.
//!
//! Client-server API, "Guest Access"; and what stock clients ask for beside it on their way in.

use axum::{
    extract::{MatchedPath, Request},
    http::Method,
};

use super::error::ApiError;

/// By method and the end of a route's path.
const ALLOWED: &[(Method, &str)] = &[
    // Reading.
    (Method::GET, "/rooms/{room_id}/state"),
    (Method::GET, "/rooms/{room_id}/state/{event_type}"),
    (Method::GET, "/rooms/{room_id}/state/{event_type}/"),
    (Method::GET, "/rooms/{room_id}/state/{event_type}/{state_key}"),
    (Method::GET, "/rooms/{room_id}/context/{event_id}"),
    (Method::GET, "/rooms/{room_id}/event/{event_id}"),
    (Method::GET, "/rooms/{room_id}/messages"),
    (Method::GET, "/rooms/{room_id}/members"),
    (Method::GET, "/rooms/{room_id}/joined_members"),
    (Method::GET, "/rooms/{room_id}/initialSync"),
    (Method::GET, "/rooms/{room_id}/aliases"),
    (Method::GET, "/rooms/{room_id}/relations/{event_id}"),
    (Method::GET, "/rooms/{room_id}/relations/{event_id}/{rel_type}"),
    (Method::GET, "/rooms/{room_id}/relations/{event_id}/{rel_type}/{event_type}"),
    (Method::GET, "/joined_rooms"),
    (Method::GET, "/publicRooms"),
    (Method::GET, "/rooms/{room}/hierarchy"),
    // What needs no account, guests are not kept from.
    (Method::GET, "/directory/room/{room_alias}"),
    (Method::GET, "/directory/list/room/{room_id}"),
    (Method::GET, "/room_summary/{room}"),
    (Method::GET, "/unstable/im.nheko.summary/summary/{room}"),
    (Method::GET, "/unstable/im.nheko.summary/rooms/{room}/summary"),
    (Method::GET, "/register/available"),
    (Method::GET, "/register/m.login.registration_token/validity"),
    (Method::GET, "/sync"),
    (Method::GET, "/events"),
    (Method::GET, "/initialSync"),
    // Being there.
    (Method::POST, "/rooms/{room_id}/join"),
    (Method::POST, "/join/{room_id_or_alias}"),
    (Method::POST, "/rooms/{room_id}/leave"),
    (Method::PUT, "/rooms/{room_id}/send/{event_type}/{txn_id}"),
    (Method::POST, "/rooms/{room_id}/send/{event_type}"),
    (Method::PUT, "/rooms/{room_id}/state/{event_type}"),
    (Method::PUT, "/rooms/{room_id}/state/{event_type}/"),
    (Method::PUT, "/rooms/{room_id}/state/{event_type}/{state_key}"),
    (Method::PUT, "/rooms/{room_id}/typing/{user_id}"),
    (Method::POST, "/rooms/{room_id}/receipt/{receipt_type}/{event_id}"),
    (Method::POST, "/rooms/{room_id}/read_markers"),
    (Method::PUT, "/sendToDevice/{event_type}/{txn_id}"),
    // Themselves.
    (Method::GET, "/profile/{user_id}"),
    (Method::GET, "/profile/{user_id}/{field}"),
    (Method::GET, "/devices"),
    (Method::GET, "/devices/{device_id}"),
    (Method::PUT, "/devices/{device_id}"),
    (Method::GET, "/account/whoami"),
    (Method::POST, "/logout"),
    (Method::POST, "/logout/all"),
    (Method::GET, "/capabilities"),
    (Method::GET, "/versions"),
    (Method::GET, "/pushrules/"),
    (Method::GET, "/pushrules"),
    (Method::POST, "/user/{user_id}/filter"),
    (Method::GET, "/user/{user_id}/filter/{filter_id}"),
    (Method::GET, "/login"),
    (Method::POST, "/login"),
    (Method::POST, "/register"),
    // Encryption.
    (Method::POST, "/keys/upload"),
    (Method::POST, "/keys/upload/{device_id}"),
    (Method::POST, "/keys/query"),
    (Method::POST, "/keys/claim"),
    (Method::GET, "/keys/changes"),
];

/// Whether a guest may ask for this.
///
/// # Errors
/// `M_GUEST_ACCESS_FORBIDDEN`.
pub(super) fn check(request: &Request) -> Result<(), ApiError> {
    let Some(path) = request.extensions().get::<MatchedPath>() else { return Ok(()) };
    if is_allowed(request.method(), path.as_str(), request.uri().path()) {
        return Ok(());
    }
    Err(ApiError::guest_access_forbidden("guests may not do this"))
}

/// By the path of the route, and the one that is asked for.
fn is_allowed(method: &Method, route: &str, path: &str) -> bool {
    let asked = if *method == Method::HEAD { &Method::GET } else { method };
    // Names in braces are the route's own.
    let shape = |path: &str| -> Vec<String> {
        let parts = path.split('/');
        parts.map(|part| if part.starts_with('{') { "{}".to_owned() } else { part.to_owned() }).collect()
    };
    let Some((_, end)) = route.strip_prefix("/_matrix/").and_then(|rest| rest.split_once('/')) else {
        return true;
    };
    let end = format!(
        "/{}",
        end.split_once('/').map_or(end, |(version, rest)| {
            if version.starts_with(['r', 'v']) && version[1..].bytes().all(|b| b.is_ascii_digit()) {
                rest
            } else {
                end
            }
        })
    );
    let is_own_name = matches!(*asked, Method::PUT | Method::DELETE)
        && route.contains("/profile/{")
        && path.ends_with("/displayname");
    let is_file = *asked == Method::GET && route.contains("/media/");
    let is_listed = || ALLOWED.iter().any(|(method, path)| method == asked && shape(path) == shape(&end));
    is_own_name || is_file || is_listed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_the_list_is_allowed_in_every_version_and_nothing_else_is() {
        for (method, route, allowed) in [
            (Method::GET, "/_matrix/client/v3/sync", true),
            (Method::HEAD, "/_matrix/client/v3/sync", true),
            (Method::GET, "/_matrix/client/r0/rooms/{room}/messages", true),
            (Method::GET, "/_matrix/client/v1/rooms/{room}/relations/{e}/{r}", true),
            (Method::GET, "/_matrix/client/versions", true),
            (Method::GET, "/_matrix/client/v1/room_summary/{room}", true),
            (Method::GET, "/_matrix/client/unstable/im.nheko.summary/rooms/{room}/summary", true),
            (Method::GET, "/_matrix/client/v1/register/m.login.registration_token/validity", true),
            (Method::POST, "/_matrix/client/v3/createRoom", false),
            (Method::POST, "/_matrix/client/v3/rooms/{room}/invite", false),
            (Method::POST, "/_matrix/client/v3/account/password", false),
            (Method::POST, "/_matrix/client/v3/pushers/set", false),
            (Method::POST, "/_matrix/media/v3/upload", false),
            (Method::GET, "/_matrix/client/v3/voip/turnServer", false),
            (Method::GET, "/_matrix/client/v1/media/download/{s}/{m}", true),
            (Method::PUT, "/_matrix/client/v3/user/{u}/account_data/{kind}", false),
            (Method::DELETE, "/_matrix/client/v3/devices/{device}", false),
            (Method::GET, "/.well-known/matrix/client", true),
        ] {
            assert_eq!(is_allowed(&method, route, route), allowed, "{method} {route}");
        }
        let of_profile = "/_matrix/client/v3/profile/{user}/{key}";
        for (field, allowed) in [("displayname", true), ("avatar_url", false)] {
            let path = format!("/_matrix/client/v3/profile/@a:x/{field}");
            assert_eq!(is_allowed(&Method::PUT, of_profile, &path), allowed);
        }
    }
}
