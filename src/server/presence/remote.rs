//! What is known of the presence of other servers' users, beside that of this server's own.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::MutexGuard;
use ruma::{OwnedUserId, UserId};

use super::{Presence, PresenceEvent, event::Facts};
use crate::{
    core::{
        federation::{Availability, Shown, Status},
        presence::{State, activity::coarse},
        time::Instant,
    },
    server::change::position::{Live, LivePosition},
};

/// An event for each remote user of whom something was ever known in this run of the server, which are
/// some of those who are on this server's lists.
#[derive(Debug, Default)]
pub(super) struct Remotes {
    users: HashMap<OwnedUserId, Remote>,
    /// Each at the live position of their last change.
    changed: BTreeMap<LivePosition, Arc<OwnedUserId>>,
}

#[derive(Debug)]
struct Remote {
    position: LivePosition,
    event: Arc<PresenceEvent>,
}

impl Presence {
    /// A remote user shows something else; `None`: it is not known what.
    pub fn show_remote(&self, user: &UserId, status: Option<&Status>, live: &Live) {
        let event = PresenceEvent::encode(&facts(user, status));
        let mut remotes = self.remotes();
        let position = live.advance();
        let remote = Remote { position, event: Arc::new(event) };
        if let Some(before) = remotes.users.insert(user.to_owned(), remote) {
            remotes.changed.remove(&before.position);
        }
        remotes.changed.insert(position, Arc::new(user.to_owned()));
    }

    /// What a user of this server shows to other servers; offline if they were never connected.
    pub fn status_across(&self, user: &UserId, now: Instant) -> Status {
        let inner = self.lock();
        let Some(key) = inner.keys.get(user) else { return Status::default() };
        let view = inner.engine.view(*key, now);
        let availability = availability(view.state);
        let shown = Shown {
            availability,
            status_msg: view.status_msg,
            device_type: view.device_type.map(|device| device.as_str().into()),
            currently_active: view.currently_active,
        };
        // Of who is offline others see the times in coarse steps only (P9), other servers too.
        let step = |ago| if availability == Availability::Offline { coarse(ago) } else { ago };
        Status {
            shown,
            last_active: view.last_active_ago.map(|ago| now - step(ago)),
            last_seen: view.last_seen_ago.map(|ago| now - ago),
        }
    }

    pub(super) fn remotes(&self) -> MutexGuard<'_, Remotes> {
        self.remotes.lock()
    }
}

impl Remotes {
    /// The last event of one user.
    pub(super) fn event(&self, user: &UserId) -> Option<Arc<PresenceEvent>> {
        self.users.get(user).map(|remote| Arc::clone(&remote.event))
    }

    /// Those who changed after the live position `since`, up to and including `upto`.
    pub(super) fn changed(
        &self,
        since: LivePosition,
        upto: LivePosition,
    ) -> impl Iterator<Item = (Arc<OwnedUserId>, Arc<PresenceEvent>)> {
        let range = self.changed.range(since.next()..=upto);
        range.filter_map(|(_, user)| Some((Arc::clone(user), self.event(user)?)))
    }
}

fn facts<'a>(user: &'a UserId, status: Option<&'a Status>) -> Facts<'a> {
    let shown = status.map(|status| &status.shown);
    Facts {
        user: user.as_str(),
        state: shown.map_or(State::Unknown, |shown| state(shown.availability)),
        choice: None,
        status_msg: shown.and_then(|shown| shown.status_msg.as_deref()),
        displayname: None,
        avatar_url: None,
        device_type: shown.and_then(|shown| shown.device_type.as_deref()),
        last_active: status.and_then(|status| status.last_active),
        currently_active: shown.is_some_and(|shown| shown.currently_active),
        last_seen: status.and_then(|status| status.last_seen),
    }
}

const fn state(availability: Availability) -> State {
    match availability {
        Availability::Offline => State::Offline,
        Availability::Unavailable => State::Unavailable,
        Availability::Busy => State::Busy,
        Availability::Online => State::Online,
        Availability::FreeForChat => State::FreeForChat,
    }
}

const fn availability(state: State) -> Availability {
    match state {
        State::Offline | State::Hidden | State::Unknown => Availability::Offline,
        State::Unavailable => Availability::Unavailable,
        State::Busy => Availability::Busy,
        State::Online => Availability::Online,
        State::FreeForChat => Availability::FreeForChat,
    }
}
