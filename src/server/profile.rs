//! What a user is called and looks like, and how long that may be.

use crate::server::api::error::{ApiError, ApiResult};

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

/// A part of a profile.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProfileField {
    /// `displayname`
    Displayname,
    /// `avatar_url`
    AvatarUrl,
}

/// Refuses a name that is longer than `max` bytes.
pub fn check_length(what: &str, value: Option<&str>, max: usize) -> ApiResult<()> {
    match value {
        Some(value) if value.len() > max => {
            Err(ApiError::invalid_param(format!("{what} is longer than {max} bytes")))
        }
        _ => Ok(()),
    }
}
