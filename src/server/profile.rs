//! What a user is called and looks like, and how long that may be; beside it, the fields that clients make up.

pub mod field;
pub mod status;

use crate::core::federation::ProfileMark;

/// The longest display name of a user or device, in bytes.
pub const MAX_DISPLAYNAME: usize = 256;

/// The longest avatar URL, in bytes.
pub const MAX_AVATAR_URL: usize = 1024;

/// What others see of a user.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Profile {
    /// The display name; `None`: the user has set none.
    pub displayname: Option<String>,
    /// The avatar, an `mxc:` URL.
    pub avatar_url: Option<String>,
}

impl Profile {
    /// What other servers are told of it: enough to see that it is another one (P10).
    pub fn mark(&self) -> ProfileMark {
        ProfileMark::of(self.displayname.as_deref(), self.avatar_url.as_deref())
    }
}

/// A part of a profile.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProfileField {
    /// `displayname`
    Displayname,
    /// `avatar_url`
    AvatarUrl,
}

/// A value is longer than allowed.
#[derive(Clone, Debug, thiserror::Error, Eq, PartialEq)]
#[error("{what} is longer than {max} bytes")]
pub struct TooLong {
    what: String,
    max: usize,
}

/// Refuses a name that is longer than `max` bytes.
///
/// # Errors
/// [`TooLong`] says what.
pub fn check_length(what: &str, value: Option<&str>, max: usize) -> Result<(), TooLong> {
    match value {
        Some(value) if value.len() > max => Err(TooLong { what: what.to_owned(), max }),
        _ => Ok(()),
    }
}
