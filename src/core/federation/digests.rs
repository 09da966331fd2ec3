//! What two servers compare of each other's users: what they show, and which profiles they have.

use super::digest::{Digest, Fingerprint};
use super::status::ProfileMark;

/// Two digests of a set of users: of what they show, and of the profiles of those who have one.
///
/// Their sum is what servers compare that know of profiles; to others the first is said alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digests {
    pub(super) shown: Digest,
    profiles: Digest,
}

impl Digests {
    /// Takes in a user.
    pub(super) fn add(&mut self, user: Fingerprint, shown: Fingerprint, profile: ProfileMark) {
        self.shown.add(user, shown);
        if let Some(profile) = profile.fingerprint() {
            self.profiles.add(user, profile);
        }
    }

    /// Takes out a user that was added with the same.
    pub(super) fn remove(&mut self, user: Fingerprint, shown: Fingerprint, profile: ProfileMark) {
        self.shown.remove(user, shown);
        if let Some(profile) = profile.fingerprint() {
            self.profiles.remove(user, profile);
        }
    }

    /// With the profiles.
    pub(super) const fn whole(&self) -> Digest {
        Digest::from_bits(self.shown.bits().wrapping_add(self.profiles.bits()))
    }
}
