//! What a client asks a connection of sliding sync for, in both forms.

use ruma::user_id;

use crate::server::{
    api::client::sliding::{
        accepted::{self, Accepted},
        before::{self, Before, Parameters},
    },
    stream::{
        Pos,
        sliding::request::{MAX_LISTS, MAX_NAMES, MAX_TIMELINE, Request},
    },
};

/// What is taken is within bounds, and says where it goes on as it was said.
pub(super) fn sliding_request(data: &[u8]) {
    if let Ok(body) = serde_json::from_slice::<Accepted>(data)
        && let Ok(request) = accepted::parse(body)
    {
        check(&request);
    }
    if let Ok(body) = serde_json::from_slice::<Before>(data)
        && let Ok(request) = before::parse(Parameters::default(), body, user_id!("@bob:b.example"))
    {
        check(&request);
    }
}

fn check(request: &Request) {
    let Request { pos, wanted, extensions, conn_id, .. } = request;
    assert!(wanted.lists.len() <= MAX_LISTS && wanted.subscriptions.len() <= 500 && conn_id.len() <= 255);
    let configs = wanted.lists.values().map(|list| &list.config).chain(wanted.subscriptions.values());
    assert!(configs.into_iter().all(|config| config.timeline_limit <= MAX_TIMELINE));
    let ranges = wanted.lists.values().filter_map(|list| list.ranges.as_ref()).flatten();
    assert!(ranges.into_iter().all(|(first, last)| first <= last));
    let filters = || wanted.lists.values().map(|list| &list.filters);
    let types = filters().flat_map(|f| [&f.room_types, &f.not_room_types]).flatten().map(|types| types.len());
    let tags = filters().flat_map(|f| [&f.tags, &f.not_tags]).flatten().map(|tags| tags.len());
    let spaces = filters().filter_map(|f| f.spaces.as_ref()).map(|spaces| spaces.len());
    assert!(types.chain(tags).chain(spaces).all(|count| count <= MAX_NAMES));
    assert!(extensions.to_device.is_none_or(|asked| (1..=100).contains(&asked.limit)));
    if let Some(pos) = pos {
        assert_eq!(pos.to_string().parse(), Ok::<Pos, _>(pos.clone()));
    }
}
