//! How what one shows is written: a user's view as an event, as a status for other servers, and a status
//! that came from one as an event.

use ruma::UserId;

use super::event::{Facts, PresenceEvent};
use crate::{
    core::{
        federation::{Availability, Shown, Status},
        presence::{OwnView, State, View},
        time::Instant,
    },
    server::profile::Profile,
};

/// The event of a user of this server, as others see them at `now`.
pub(super) fn own(
    user: &UserId,
    view: &View,
    profile: &Profile,
    last_seen: Option<Instant>,
    now: Instant,
) -> PresenceEvent {
    PresenceEvent::encode(&Facts {
        user: user.as_str(),
        state: view.state,
        choice: None,
        status_msg: view.status_msg.as_deref(),
        displayname: profile.displayname.as_deref(),
        avatar_url: profile.avatar_url.as_deref(),
        device_type: view.device_type.as_ref().map(|d| d.as_str()),
        last_active: view.last_active_ago.map(|ago| now - ago),
        currently_active: view.currently_active,
        last_seen,
        idle_since: view.idle_for.map(|idle| now - idle),
    })
}

/// The same for the user's own devices.
pub(super) fn for_own_devices(
    user: &UserId,
    view: &OwnView,
    profile: &Profile,
    last_seen: Option<Instant>,
    now: Instant,
) -> PresenceEvent {
    PresenceEvent::encode(&Facts {
        user: user.as_str(),
        state: view.state,
        choice: Some(view.choice.state()),
        status_msg: view.status_msg.as_deref(),
        displayname: profile.displayname.as_deref(),
        avatar_url: profile.avatar_url.as_deref(),
        device_type: view.device_type.as_ref().map(|d| d.as_str()),
        last_active: view.last_active_ago.map(|ago| now - ago),
        currently_active: view.currently_active,
        last_seen,
        idle_since: view.idle_for.map(|idle| now - idle),
    })
}

/// What a user of this server shows to other servers.
pub(super) fn status(view: View, profile: &Profile, last_seen: Option<Instant>, now: Instant) -> Status {
    let availability = availability(view.state);
    Status {
        last_active: view.last_active_ago.map(|ago| now - ago),
        away_since: match availability {
            Availability::Offline => last_seen,
            _ => view.idle_for.map(|idle| now - idle),
        },
        shown: Shown {
            availability,
            status_msg: view.status_msg,
            device_type: view.device_type.map(|device| device.as_str().into()),
            currently_active: view.currently_active,
            profile: profile.mark(),
        },
    }
}

/// The event of a user of another server; `None`: it is not known what they show.
pub(super) fn event(user: &UserId, status: Option<&Status>, profile: &Profile) -> PresenceEvent {
    let shown = status.map(|status| &status.shown);
    let away_since = status.and_then(|status| status.away_since);
    PresenceEvent::encode(&Facts {
        user: user.as_str(),
        state: shown.map_or(State::Unknown, |shown| state(shown.availability)),
        choice: None,
        status_msg: shown.and_then(|shown| shown.status_msg.as_deref()),
        displayname: profile.displayname.as_deref(),
        avatar_url: profile.avatar_url.as_deref(),
        device_type: shown.and_then(|shown| shown.device_type.as_deref()),
        last_active: status.and_then(|status| status.last_active),
        currently_active: shown.is_some_and(|shown| shown.currently_active),
        last_seen: away_since,
        idle_since: away_since,
    })
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
