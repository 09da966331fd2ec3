//! Whose presence a reader is told: who changed, whom they came to see, and whom they ceased to.

use std::sync::Arc;

use ruma::UserId;

use super::{
    behind::{Earlier, From},
    look::{Look, Stretch},
    news::PresenceNews,
    sources::Sources,
};
use crate::server::{
    change::position::LivePosition,
    sight::{Sight, rooms::Encounters, since::Sighted},
};

/// The last state of those whose presence changed and of those whom the reader sees for the first time; and of
/// those whom they cannot see any longer, once, that nothing is known (L2). Who goes on from an earlier run of the
/// server is told of everybody whom they may have seen in it, also of those of whom this one has heard nothing: a
/// client never shows more than its server knows. A filter's limit is not applied here: a state that was left out
/// would never be told.
pub(super) fn presence(
    sources: &Sources,
    sight: &Sight,
    look: &Look<'_>,
    encounters: &Encounters,
) -> PresenceNews {
    let (me, filter) = (&look.session.user, look.filter);
    let Some(From { told, log: earlier }) = look.presence.from else { return PresenceNews::default() };
    let since = told.unwrap_or_default();
    let live = Stretch { since, upto: look.live.upto };
    let own = if filter.presence(me) { sources.own_presence(me, since, look.now) } else { None };

    // Who was told nothing yet is told of all who ever showed something, and of nobody else.
    let upto = (look.log.upto, look.live.upto);
    let sighted = told.map(|_| sight.since(me, encounters, told, upto));
    let Sighted { came, went: mut unknown } = sighted.unwrap_or_default();
    if told.is_some() && !sight.is_settled(upto) {
        let later = sources.parts().store.recent_events(look.log.upto, |e| e.membership().is_some());
        let log = (earlier.map_or(look.log.since, Earlier::since), look.log.upto);
        unknown.extend(sight.parted_later(me, &later.unwrap_or_default(), since, log));
    }
    unknown.retain(|user| filter.presence(user));

    let is_told =
        |user: &UserId| user != &**me && filter.presence(user) && sight.may_see_since(me, user, upto);
    let mut seen = match told {
        None => sources.presence_near(me, live.upto),
        // Whoever is seen is among those who came.
        Some(LivePosition::START) => Vec::new(),
        Some(_) => sources.presence_changed(live),
    };
    // Before they are put in order: of all on the server, who comes sees few.
    seen.retain(|(user, _)| is_told(user));
    seen.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    seen.dedup_by(|(a, _), (b, _)| a == b);
    let changed = seen.len();
    for user in came {
        let is_known = seen[..changed].binary_search_by(|(known, _)| (**known).cmp(&user)).is_ok();
        if is_known || !is_told(&user) {
            continue;
        }
        match sources.presence_event(&user) {
            Some(event) => seen.push((Arc::new(user), event)),
            None if told == Some(LivePosition::START) => {
                let unheard = Arc::new(sources.unheard(&user));
                seen.push((Arc::new(user), unheard));
            }
            // Nothing was ever shown of them.
            None => {}
        }
    }
    if seen.len() > changed {
        seen.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    PresenceNews { own, seen, unknown }
}
