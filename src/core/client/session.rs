//! Getting a session: the requests of registration and login, and what their answers mean.

use serde::{Deserialize, Serialize};

use crate::core::wire::read::Object;
use crate::core::wire::write;

/// A device of a user, logged in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// The homeserver, without a slash at the end.
    pub base_url: String,
    /// The user.
    pub user_id: String,
    /// The device; the scope of its action IDs.
    pub device_id: String,
    /// What authorises its requests.
    pub access_token: String,
}

/// What a registration asks for.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// The local part of the user ID.
    pub username: String,
    /// The password.
    pub password: String,
    /// The name of this device, for the user to tell it from others.
    pub device_name: Option<String>,
}

/// What a login asks for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Login {
    /// The user ID or its local part.
    pub user: String,
    /// The password.
    pub password: String,
    /// The name of this device.
    pub device_name: Option<String>,
    /// A device to go on as.
    pub device_id: Option<String>,
}

/// Where registrations go (`POST`).
pub const REGISTER_PATH: &str = "/_matrix/client/v3/register";
/// Where logins go (`POST`).
pub const LOGIN_PATH: &str = "/_matrix/client/v3/login";

impl Session {
    /// The session, its homeserver without slashes at the end.
    pub fn without_slash(mut self) -> Self {
        self.base_url.truncate(self.base_url.trim_end_matches('/').len());
        self
    }
}

impl Registration {
    /// The body; `session` continues what a 401 began (see [`dummy_session`]).
    pub fn body(&self, session: Option<&str>) -> String {
        write::object(|body| {
            body.text("username", &self.username);
            body.text("password", &self.password);
            body.optional("initial_device_display_name", self.device_name.as_deref());
            let auth = write::object(|auth| {
                auth.text("type", "m.login.dummy");
                auth.optional("session", session);
            });
            body.raw("auth", &auth);
        })
    }
}

impl Login {
    /// The body.
    pub fn body(&self) -> String {
        write::object(|body| {
            body.text("type", "m.login.password");
            let identifier = write::object(|identifier| {
                identifier.text("type", "m.id.user");
                identifier.text("user", &self.user);
            });
            body.raw("identifier", &identifier);
            body.text("password", &self.password);
            body.optional("initial_device_display_name", self.device_name.as_deref());
            body.optional("device_id", self.device_id.as_deref());
        })
    }
}

/// The session of user-interactive authentication that a 401 opened, if asking for nothing may end it.
pub fn dummy_session(body: &str) -> Option<String> {
    let challenge = Object::parse(body)?;
    let flows = challenge.list("flows");
    let dummy = |flow: &&str| Object::parse_or_empty(flow).strings("stages") == ["m.login.dummy"];
    flows.iter().any(dummy).then(|| challenge.string("session"))?
}

/// The session that a registration or a login answers.
pub fn session_of(base_url: &str, body: &str) -> Option<Session> {
    let answer = Object::parse(body)?;
    Some(Session {
        base_url: base_url.trim_end_matches('/').to_owned(),
        user_id: answer.string("user_id")?,
        device_id: answer.string("device_id")?,
        access_token: answer.string("access_token")?,
    })
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn only_a_flow_of_nothing_but_the_dummy_stage_is_taken_up() {
        let dummy = r#"{"session":"s1","flows":[{"stages":["m.login.terms"]},{"stages":["m.login.dummy"]}]}"#;
        assert_eq!(dummy_session(dummy).as_deref(), Some("s1"));
        let token = r#"{"session":"s1","flows":[{"stages":["m.login.registration_token"]}]}"#;
        assert_eq!(dummy_session(token), None);
        assert_eq!(dummy_session(r#"{"errcode":"M_USER_IN_USE"}"#), None);
    }

    #[test]
    fn what_an_application_gives_is_read_back_or_refused_by_the_missing_field() {
        let given = r#"{"baseUrl":"http://x//","userId":"@a:x","deviceId":"D","accessToken":"t","more":1}"#;
        let session = serde_json::from_str::<Session>(given).unwrap().without_slash();
        assert_eq!(session.base_url, "http://x");
        assert_eq!(
            serde_json::from_str::<Session>(&serde_json::to_string(&session).unwrap()).unwrap(),
            session
        );
        for (given, words) in [("{}", "baseUrl"), (r#"{"baseUrl":"b","userId":5}"#, "string")] {
            let wrong = serde_json::from_str::<Session>(given).unwrap_err().to_string();
            assert!(wrong.contains(words), "{wrong}");
        }
        let without_password = r#"{"user":"a","username":"a"}"#;
        assert!(serde_json::from_str::<Login>(without_password).is_err());
        assert!(serde_json::from_str::<Registration>(without_password).is_err());
    }

    #[test]
    fn a_session_needs_all_its_parts() {
        let body = r#"{"user_id":"@a:x","device_id":"D","access_token":"t","home_server":"x"}"#;
        assert_eq!(session_of("http://x/", body).unwrap().base_url, "http://x");
        assert_eq!(session_of("http://x", r#"{"user_id":"@a:x"}"#), None);
    }
}
