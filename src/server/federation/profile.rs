//! Profiles of other servers' users, asked of their server.
//!
//! Source: Matrix server-server API, "Querying for information".

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use ruma::UserId;
use serde::Deserialize;
use serde_json::Value;

use super::{
    client::{Client, RequestError},
    parts::Federation,
};
use crate::server::{
    config::servers::Policy,
    profile::{MAX_AVATAR_URL, MAX_DISPLAYNAME, Profile, field::FieldName},
};

/// The query that says for whom a profile is asked: a server vouches for its own users.
pub const READER: &str = "org.pilotlight.reader";

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The operator does not want that server to be spoken with.
    #[error("this server does not federate with the user's")]
    Refused,
    /// That server knows no such user, or does not show them.
    #[error("the user's server shows no such user")]
    Unknown,
    /// That server could not be asked.
    #[error("the user's server cannot be asked: {0}")]
    Request(RequestError),
}

/// What a server answers.
#[derive(Deserialize)]
struct Answer {
    displayname: Option<String>,
    avatar_url: Option<String>,
    #[serde(flatten)]
    further: BTreeMap<String, Value>,
}

/// A profile, and its further fields.
pub type WholeProfile = (Profile, BTreeMap<String, Value>);

impl Federation {
    /// Asks a user's server for the user's profile, for `reader`. Where it cannot be asked, what was known of a user
    /// whom somebody here observes will do.
    ///
    /// # Errors
    /// [`ProfileError`] says whether the operator, the peer or the way there was at fault.
    pub async fn profile(&self, user: &UserId, reader: &UserId) -> Result<WholeProfile, ProfileError> {
        let asked = self.presence.ask_for_profile();
        match ask_whole(&self.client, &self.policy, user, Some(reader)).await {
            Ok(whole) => {
                self.presence.handle_profile_seen(user, asked, &whole.0);
                Ok(whole)
            }
            Err(ProfileError::Request(error)) => {
                let known = self.presence.profile(user);
                if *known == Profile::default() {
                    return Err(ProfileError::Request(error));
                }
                Ok(((*known).clone(), BTreeMap::new()))
            }
            Err(error) => Err(error),
        }
    }
}

/// Asks a user's server what the user is called and looks like.
/// A name or avatar that would be too long for a user of this server is left out.
///
/// # Errors
/// [`ProfileError`] says whether the operator, the peer or the way there was at fault.
pub(super) async fn ask(client: &Client, policy: &Policy, user: &UserId) -> Result<Profile, ProfileError> {
    ask_whole(client, policy, user, None).await.map(|(profile, _)| profile)
}

/// The same with all fields, those among them that the user's server shows to `reader` only.
async fn ask_whole(
    client: &Client,
    policy: &Policy,
    user: &UserId,
    reader: Option<&UserId>,
) -> Result<WholeProfile, ProfileError> {
    let server = user.server_name();
    if !policy.speaks_with(server) {
        return Err(ProfileError::Refused);
    }
    let mut query = vec![("user_id", user.as_str())];
    query.extend(reader.map(|reader| (READER, reader.as_str())));
    let query = serde_html_form::to_string(query)
        .map_err(|e| ProfileError::Request(RequestError::Answer(e.to_string())))?;
    let path = format!("/_matrix/federation/v1/query/profile?{query}");
    let answer = client.request(server, Method::GET, &path, None).await.map_err(|e| match e {
        RequestError::Status(StatusCode::NOT_FOUND | StatusCode::FORBIDDEN, _) => ProfileError::Unknown,
        e => ProfileError::Request(e),
    })?;
    let Answer { displayname, avatar_url, further } = serde_json::from_str(answer.get())
        .map_err(|e| ProfileError::Request(RequestError::Answer(e.to_string())))?;
    let profile = Profile {
        displayname: displayname.filter(|name| name.len() <= MAX_DISPLAYNAME),
        avatar_url: avatar_url.filter(|url| url.len() <= MAX_AVATAR_URL),
    };
    let named = |(name, value): (String, Value)| FieldName::new(&name).ok().map(|name| (name.into(), value));
    Ok((profile, further.into_iter().filter_map(named).collect()))
}
