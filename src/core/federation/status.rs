//! Who and what presence between servers is about: handles of servers and users, and what a user shows.

use std::str::FromStr;
use std::sync::Arc;

use super::digest::Fingerprint;
use crate::core::time::Instant;

/// The longest status message between servers, in bytes.
const MAX_STATUS_MSG: usize = 1_024;

/// The longest word for a device, in bytes.
const MAX_DEVICE_TYPE: usize = 32;

/// A homeserver, by the handle its name was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Server(pub u32);

/// A user: the handle their ID was given, their homeserver, and the fingerprint of their ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct User {
    /// The handle, unique among the users of all servers; handles count up from zero without large gaps.
    pub index: u32,
    /// The homeserver.
    pub server: Server,
    /// The fingerprint of the full user ID: the same on every server.
    pub fingerprint: Fingerprint,
}

/// How available a user lets themselves be seen; what is hidden or unknown cannot be said to a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Availability {
    /// Not connected, or hidden.
    #[default]
    Offline,
    /// Idle or away.
    Unavailable,
    /// Not to be disturbed.
    Busy,
    /// Connected.
    Online,
    /// Willing to talk.
    FreeForChat,
}

impl Availability {
    /// All of them, the least available first.
    pub const ALL: [Self; 5] =
        [Self::Offline, Self::Unavailable, Self::Busy, Self::Online, Self::FreeForChat];

    /// The number in fingerprints, which are part of the wire format.
    const fn code(self) -> u64 {
        match self {
            Self::Offline => 0,
            Self::Unavailable => 1,
            Self::Busy => 2,
            Self::Online => 3,
            Self::FreeForChat => 4,
        }
    }

    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
            Self::Online => "online",
            Self::FreeForChat => "free_for_chat",
        }
    }

    /// The nearest of Matrix's three words (P11).
    pub const fn matrix_word(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Unavailable | Self::Busy => "unavailable",
            Self::Online | Self::FreeForChat => "online",
        }
    }
}

impl FromStr for Availability {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|a| a.as_str() == word).ok_or(())
    }
}

/// A fingerprint of a user's name and picture together (P10): whoever holds another one asks for the profile.
///
/// 32 bits: a change that is missed because two come out alike is one in four billion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileMark(u32);

impl ProfileMark {
    /// The user's server has not said.
    pub const UNTOLD: Self = Self(0);

    /// The user has neither a name nor a picture.
    pub const EMPTY: Self = Self(1);

    /// The mark of a profile.
    pub fn of(displayname: Option<&str>, avatar_url: Option<&str>) -> Self {
        if displayname.is_none() && avatar_url.is_none() {
            return Self::EMPTY;
        }
        let parts = [displayname, avatar_url].map(|part| part.unwrap_or_default().as_bytes());
        let bits = Fingerprint::of_parts(&parts).0;
        Self(u32::try_from(bits & 0xffff_ffff).expect("32 bits").max(2))
    }

    /// The mark that is written as these eight hexadecimal digits, or as nothing.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::EMPTY);
        }
        let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bits = digits.then(|| u32::from_str_radix(text, 16).ok()).flatten()?;
        Some(Self(bits.max(2)))
    }

    /// As it is written.
    pub(super) fn text(self) -> String {
        if self <= Self::EMPTY { String::new() } else { format!("{:08x}", self.0) }
    }

    /// For the digest; `None`: there is nothing to compare.
    pub(super) fn fingerprint(self) -> Option<Fingerprint> {
        (self > Self::EMPTY).then(|| Fingerprint(u64::from(self.0)).mixed())
    }
}

/// What a user shows; a difference here, and only here, is a change that is pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// How available they are.
    pub availability: Availability,
    /// Their own words.
    pub status_msg: Option<Arc<str>>,
    /// The kind of device they are at.
    pub device_type: Option<Arc<str>>,
    /// Matrix's `currently_active`.
    pub currently_active: bool,
    /// What they are called and look like; not in [`Self::fingerprint`].
    pub profile: ProfileMark,
}

/// The parts of a [`Shown`] that not everybody has.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    pub(super) status_msg: Option<Arc<str>>,
    pub(super) device_type: Option<Arc<str>>,
    pub(super) profile: ProfileMark,
}

impl Shown {
    /// What not everybody has, if there is any of it.
    pub(super) fn texts(&self) -> Option<Texts> {
        let told = self.profile != ProfileMark::UNTOLD;
        (told || self.status_msg.is_some() || self.device_type.is_some()).then(|| Texts {
            status_msg: self.status_msg.clone(),
            device_type: self.device_type.clone(),
            profile: self.profile,
        })
    }

    /// With texts cut to what is let over the wire; the same on both sides, lest their digests differ.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        for (text, most) in [(&mut self.status_msg, MAX_STATUS_MSG), (&mut self.device_type, MAX_DEVICE_TYPE)]
        {
            if let Some(long) = text.take_if(|text| text.is_empty() || text.len() > most) {
                let end = (0..=most.min(long.len())).rev().find(|&end| long.is_char_boundary(end));
                let cut = &long[..end.expect("0 is a boundary")];
                *text = (!cut.is_empty()).then(|| cut.into());
            }
        }
        self
    }

    /// The fingerprint of all but the profile, the same on every server.
    pub fn fingerprint(&self) -> Fingerprint {
        let state = Fingerprint(self.availability.code() * 2 + u64::from(self.currently_active) + 1).mixed();
        if self.status_msg.is_none() && self.device_type.is_none() {
            return state;
        }
        let status_msg = self.status_msg.as_deref().unwrap_or_default().as_bytes();
        let device_type = self.device_type.as_deref().unwrap_or_default().as_bytes();
        Fingerprint(state.0 ^ Fingerprint::of_parts(&[status_msg, device_type]).0)
    }
}

/// A user's status with the times that pass by themselves and are no change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// What the user shows.
    pub shown: Shown,
    /// The last pro-active event (P8), on this server's clock.
    pub last_active: Option<Instant>,
    /// On this server's clock, of an offline user when they were last seen (P9); of another one since when nobody
    /// has been at any device (P6), if so.
    pub away_since: Option<Instant>,
}

impl Status {
    /// Whether nobody is at any device of a user who is connected.
    pub fn is_idle(&self) -> bool {
        self.shown.availability != Availability::Offline && self.away_since.is_some()
    }
}

impl From<Availability> for Status {
    /// A status with nothing but the state: active while `Online` or `FreeForChat`.
    fn from(availability: Availability) -> Self {
        let currently_active = matches!(availability, Availability::Online | Availability::FreeForChat);
        Self { shown: Shown { availability, currently_active, ..Shown::default() }, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn fingerprints_of_what_is_shown_are_those_of_the_wire_format() {
        for (availability, currently_active, status_msg, device_type, fingerprint) in [
            (Availability::Offline, false, None, None, 0x5692_161d_100b_05e5),
            (Availability::Online, true, None, None, 0xd56b_1fbb_9ceb_a9e8),
            (Availability::Busy, false, Some("in a meeting"), None, 0x459d_96b8_e4f6_7010),
            (Availability::Busy, false, None, Some("mobile"), 0x7289_9d46_ae16_0c9f),
            (Availability::FreeForChat, true, Some("hi"), Some("web"), 0xfa14_7a9d_f5a0_92e1),
        ] {
            let (status_msg, device_type) = (status_msg.map(Arc::from), device_type.map(Arc::from));
            let shown = Shown { availability, status_msg, device_type, currently_active, ..Shown::default() };
            assert_eq!(shown.fingerprint(), Fingerprint(fingerprint), "{shown:?}");
        }
    }

    #[test]
    fn who_is_there_and_willing_is_active_when_nothing_more_is_said() {
        for availability in Availability::ALL {
            let active = matches!(availability, Availability::Online | Availability::FreeForChat);
            assert_eq!(Status::from(availability).shown.currently_active, active, "{availability:?}");
            assert_eq!(Status::from(availability).shown.availability, availability);
        }
    }
}
