//! Whom a reader came to see, or ceased to, since they were told.

use std::collections::BTreeSet;

use ruma::{OwnedUserId, UserId};

use super::{
    encounters::Encounters,
    look::{Look, Stretch},
    sources::Sources,
};
use crate::{core::visibility::Share, server::change::position::LivePosition};

/// Those whom the reader perhaps sees for the first time, some of them more than once. Whether the reader may see
/// them is still to be asked.
pub(super) fn perhaps_in_sight(
    sources: &Sources,
    look: &Look<'_>,
    live: Stretch<LivePosition>,
    encounters: Encounters,
) -> impl Iterator<Item = OwnedUserId> {
    let me = &look.session.user;
    let by_list = sources.sight_changes(me, live);
    let by_share =
        share_changes(sources, live).filter(|(user, before)| !sources.might_see(me, user, *before));
    let by_share = by_share.map(|(user, _)| user);
    encounters.met.into_iter().chain(encounters.crossed).chain(by_list).chain(by_share)
}

/// Those whom the reader could see at the token, and cannot see any longer.
pub(super) fn out_of_sight(
    sources: &Sources,
    look: &Look<'_>,
    live: Stretch<LivePosition>,
    encounters: &Encounters,
) -> BTreeSet<OwnedUserId> {
    let me = &look.session.user;
    if look.is_first {
        return BTreeSet::new();
    }
    let mut lost: BTreeSet<OwnedUserId> = if live.since == LivePosition::START {
        perhaps_seen_before_the_start(sources, me)
    } else {
        let by_share =
            share_changes(sources, live).filter(|(user, before)| sources.might_see(me, user, *before));
        let by_list = sources.sight_changes(me, live);
        by_list.into_iter().chain(by_share.map(|(user, _)| user)).collect()
    };
    let by_room = encounters.dimmed.iter();
    lost.extend(by_room.filter(|user| sources.share_at(user, live.since) == Share::SharedRooms).cloned());
    lost.retain(|user| user != me && !sources.may_see(me, user));
    lost
}

/// Those who share with others than at the token, and with whom they shared then.
fn share_changes(
    sources: &Sources,
    live: Stretch<LivePosition>,
) -> impl Iterator<Item = (OwnedUserId, Share)> {
    sources.share_changes(live).into_iter().map(move |user| {
        let before = sources.share_at(&user, live.since);
        (user, before)
    })
}

/// What this run of the server knows of changes begins with it. A reader with a token of an earlier one,
/// or whose device was told nothing for a while, is told again whom they cannot see, of all that they may have seen then.
fn perhaps_seen_before_the_start(sources: &Sources, me: &UserId) -> BTreeSet<OwnedUserId> {
    let mut users: BTreeSet<OwnedUserId> = sources.known_to(me).into_iter().collect();
    sources.parts().members.each_room_mate(me, |user| {
        users.insert(user.clone());
    });
    users
}
