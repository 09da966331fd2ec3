//! Getting a session: the requests of registration and login, and what their answers mean.

use serde::{Deserialize, Serialize};

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
#[derive(Debug, Deserialize)]
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

#[derive(Serialize)]
struct RegisterBody<'a> {
    username: &'a str,
    password: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    initial_device_display_name: Option<&'a str>,
    auth: Auth<'a>,
}

#[derive(Serialize)]
struct Auth<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
}

#[derive(Serialize)]
struct LoginBody<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    identifier: Identifier<'a>,
    password: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    initial_device_display_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Identifier<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    user: &'a str,
}

impl Registration {
    /// The body; `session` continues what a 401 began (see [`dummy_session`]).
    pub fn body(&self, session: Option<&str>) -> String {
        to_json(&RegisterBody {
            username: &self.username,
            password: &self.password,
            initial_device_display_name: self.device_name.as_deref(),
            auth: Auth { kind: "m.login.dummy", session },
        })
    }
}

impl Login {
    /// The body.
    pub fn body(&self) -> String {
        to_json(&LoginBody {
            kind: "m.login.password",
            identifier: Identifier { kind: "m.id.user", user: &self.user },
            password: &self.password,
            initial_device_display_name: self.device_name.as_deref(),
            device_id: self.device_id.as_deref(),
        })
    }
}

/// The session of user-interactive authentication that a 401 opened, if asking for nothing may end it.
pub fn dummy_session(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Challenge {
        session: String,
        flows: Vec<Flow>,
    }
    #[derive(Deserialize)]
    struct Flow {
        stages: Vec<String>,
    }
    let challenge: Challenge = serde_json::from_slice(body).ok()?;
    challenge.flows.iter().any(|flow| flow.stages == ["m.login.dummy"]).then_some(challenge.session)
}

/// The session that a registration or a login answers.
pub fn session_of(base_url: &str, body: &[u8]) -> Option<Session> {
    #[derive(Deserialize)]
    struct Answer {
        user_id: String,
        device_id: String,
        access_token: String,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    Some(Session {
        base_url: base_url.trim_end_matches('/').to_owned(),
        user_id: answer.user_id,
        device_id: answer.device_id,
        access_token: answer.access_token,
    })
}

/// JSON of a value that has no failing parts: no maps with odd keys, no foreign serializers.
pub(super) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("a value of plain structs and strings is JSON")
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn only_a_flow_of_nothing_but_the_dummy_stage_is_taken_up() {
        let dummy =
            br#"{"session":"s1","flows":[{"stages":["m.login.terms"]},{"stages":["m.login.dummy"]}]}"#;
        assert_eq!(dummy_session(dummy).as_deref(), Some("s1"));
        let token = br#"{"session":"s1","flows":[{"stages":["m.login.registration_token"]}]}"#;
        assert_eq!(dummy_session(token), None);
        assert_eq!(dummy_session(br#"{"errcode":"M_USER_IN_USE"}"#), None);
    }

    #[test]
    fn a_session_needs_all_its_parts() {
        let body = br#"{"user_id":"@a:x","device_id":"D","access_token":"t","home_server":"x"}"#;
        assert_eq!(session_of("http://x/", body).unwrap().base_url, "http://x");
        assert_eq!(session_of("http://x", br#"{"user_id":"@a:x"}"#), None);
    }
}
