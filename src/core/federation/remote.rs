//! A user of a peer's, and what is known of them.

use super::digest::Fingerprint;
use super::status::{Availability, ProfileMark, Shown, Status, Texts, User};
use crate::core::time::Instant;

/// A user of a peer's, wanted or once wanted here.
///
/// One line of the processor's cache, because a server may know very many and a message is about any few of
/// them.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Remote {
    pub(super) user: User,
    /// The slot of the peer.
    pub(super) peer: u32,
    /// How many observers have a client.
    pub(super) active: u32,
    /// The round of polls in which the status was last said.
    pub(super) round: u16,
    /// The peer was polled for the user, or pushed them.
    pub(super) asked: bool,
    /// It is not certain that the peer knows whether the user is asked for.
    pub(super) unsure: bool,
    /// Listed in `Peer::repoll`.
    pub(super) listed: bool,
    currently_active: bool,
    /// `None`: what the user shows is unknown, and the fields around it mean nothing.
    availability: Option<Availability>,
    fingerprint: Fingerprint,
    texts: Option<Box<Texts>>,
    /// `Instant::MAX` stands for never, as below.
    last_active: Instant,
    away_since: Instant,
}

const _: () = assert!(size_of::<Remote>() == 64);

impl Remote {
    /// Nobody wants the user, and nothing is known.
    pub(super) const fn new(user: User, peer: u32) -> Self {
        Self {
            user,
            peer,
            active: 0,
            round: 0,
            asked: false,
            unsure: false,
            listed: false,
            currently_active: false,
            availability: None,
            fingerprint: Fingerprint::UNKNOWN,
            texts: None,
            last_active: Instant::MAX,
            away_since: Instant::MAX,
        }
    }

    /// The fingerprint of what the user shows; `UNKNOWN` if that is unknown.
    pub(super) const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The mark of the user's profile, as far as their server said.
    pub(super) fn profile(&self) -> ProfileMark {
        self.texts.as_ref().map_or(ProfileMark::UNTOLD, |texts| texts.profile)
    }

    /// Whether it is known what the user shows.
    pub(super) const fn is_known(&self) -> bool {
        self.availability.is_some()
    }

    /// Whether nobody is at any device of the user, who is connected.
    pub(super) fn is_idle(&self) -> bool {
        self.availability.is_some_and(|a| a != Availability::Offline) && self.away_since < Instant::MAX
    }

    /// What the user shows, as far as is known.
    pub(super) fn status(&self) -> Option<Status> {
        let texts = self.texts.as_deref().cloned().unwrap_or_default();
        let time = |at: Instant| (at < Instant::MAX).then_some(at);
        Some(Status {
            shown: Shown {
                availability: self.availability?,
                status_msg: texts.status_msg,
                device_type: texts.device_type,
                currently_active: self.currently_active,
                profile: texts.profile,
            },
            last_active: time(self.last_active),
            away_since: time(self.away_since),
        })
    }

    /// Notes what the user shows, and its fingerprint.
    pub(super) fn know(&mut self, status: &Status, fingerprint: Fingerprint) {
        let shown = &status.shown;
        self.availability = Some(shown.availability);
        self.currently_active = shown.currently_active;
        self.texts = shown.texts().map(Box::new);
        self.fingerprint = fingerprint;
        self.last_active = status.last_active.unwrap_or(Instant::MAX);
        self.away_since = status.away_since.unwrap_or(Instant::MAX);
    }

    /// Notes that it is unknown what the user shows.
    pub(super) fn forget(&mut self) {
        self.availability = None;
        self.texts = None;
        self.fingerprint = Fingerprint::UNKNOWN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::federation::Server;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn what_is_known_comes_back_whole_until_it_is_forgotten() {
        let user = User { index: 1, server: Server(2), fingerprint: Fingerprint::of(b"@bob:b.example") };
        let mut remote = Remote::new(user, 0);
        assert_eq!(remote.status(), None);
        let bare = Status::from(Availability::Busy);
        let mut full = Status::from(Availability::Online);
        full.shown.status_msg = Some("in a meeting".into());
        full.last_active = Some(Instant::ZERO);
        let mut mobile = full.clone();
        mobile.shown.device_type = Some("mobile".into());
        mobile.away_since = Some(Instant::from_millis(7));
        let mut named = mobile.clone();
        named.shown.profile = ProfileMark::of(Some("Bob"), None);
        for status in [bare, full, mobile, named] {
            remote.know(&status, status.shown.fingerprint());
            assert_eq!(remote.fingerprint(), status.shown.fingerprint());
            assert_eq!(remote.profile(), status.shown.profile);
            assert_eq!(remote.status(), Some(status));
        }
        remote.forget();
        assert_eq!((remote.status(), remote.fingerprint()), (None, Fingerprint::UNKNOWN));
    }
}
