//! Getting a session: the requests of registration and login, and what their answers mean.

use serde::Serialize;

use super::output::Failure;
use crate::core::wire::object::Object;
use crate::core::wire::write;

/// A device of a user, logged in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Debug)]
pub struct Registration {
    /// The local part of the user ID.
    pub username: String,
    /// The password.
    pub password: String,
    /// The name of this device, for the user to tell it from others.
    pub device_name: Option<String>,
    /// A word that whoever runs the server gave out.
    pub token: Option<String>,
}

/// What a login asks for.
#[derive(Debug)]
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
/// The code where a registration needs a token and none was given.
pub const TOKEN_NEEDED: &str = "REGISTRATION_TOKEN_NEEDED";
/// Where logins go (`POST`).
pub const LOGIN_PATH: &str = "/_matrix/client/v3/login";

impl Session {
    /// The session, its homeserver without slashes at the end.
    pub fn without_slash(mut self) -> Self {
        self.base_url.truncate(self.base_url.trim_end_matches('/').len());
        self
    }
}

/// A stage of user-interactive authentication that can be passed without asking anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Asks for nothing.
    Dummy,
    /// Asks for the registration token.
    Token,
}

impl Stage {
    const ALL: [Self; 2] = [Self::Dummy, Self::Token];

    const fn name(self) -> &'static str {
        match self {
            Self::Dummy => "m.login.dummy",
            Self::Token => "m.login.registration_token",
        }
    }
}

/// What a registration does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The stage to pass.
    pub stage: Stage,
    /// The session that the server began; none in a first request, which tries whether asking for nothing is enough.
    pub session: Option<String>,
    /// How many came before it.
    pub before: u8,
}

/// The most steps of one registration: a server that always asks for more gets no account out of it.
const MAX_STEPS: u8 = 5;

impl Step {
    /// The first one.
    pub const FIRST: Self = Self { stage: Stage::Dummy, session: None, before: 0 };
}

impl Registration {
    /// The body of one step.
    pub fn body(&self, step: &Step) -> String {
        write::object(|body| {
            body.text("username", &self.username);
            body.text("password", &self.password);
            body.optional("initial_device_display_name", self.device_name.as_deref());
            let auth = write::object(|auth| {
                auth.text("type", step.stage.name());
                auth.optional("session", step.session.as_deref());
                if step.stage == Stage::Token {
                    auth.optional("token", self.token.as_deref());
                }
            });
            body.raw("auth", &auth);
        })
    }

    /// What to do after `step` was answered by a 401: the next stage of a flow that can be gone through, or what to say.
    pub fn next(&self, step: &Step, answer: Failure, body: &str) -> Result<Step, Failure> {
        let challenge = Object::parse_or_empty(body);
        let completed = challenge.strings("completed");
        let known = |name: &String| Stage::ALL.into_iter().find(|stage| *name == stage.name());
        let flows = challenge.list("flows").into_iter().filter_map(|flow| {
            let stages = Object::parse_or_empty(flow).strings("stages");
            stages.iter().all(|name| known(name).is_some()).then_some(stages)
        });
        let left =
            flows.map(|flow| flow.into_iter().filter(|name| !completed.contains(name)).collect::<Vec<_>>());
        let Some(stage) = left.min_by_key(Vec::len).and_then(|left| known(left.first()?)) else {
            return Err(answer);
        };
        if stage == Stage::Token && self.token.is_none() {
            let words = "this server asks for a registration token";
            return Err(Failure { status: answer.status, ..Failure::local(TOKEN_NEEDED, words) });
        }
        // The same again would be answered the same.
        let tried = step.session.is_some() && step.stage == stage || step.before + 1 >= MAX_STEPS;
        match challenge.string("session") {
            Some(session) if !tried => Ok(Step { stage, session: Some(session), before: step.before + 1 }),
            _ => Err(answer),
        }
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

    fn registration(token: Option<&str>) -> Registration {
        let [username, password] = ["ann", "secret"].map(String::from);
        Registration { username, password, device_name: None, token: token.map(str::to_owned) }
    }

    #[test]
    fn a_registration_goes_through_the_stages_that_it_can_pass_and_no_others() {
        let dummy = r#"{"session":"s","flows":[{"stages":["m.login.terms"]},{"stages":["m.login.dummy"]}]}"#;
        let token = r#"{"session":"s","flows":[{"stages":["m.login.registration_token"]}],"errcode":"M_UNRECOGNIZED"}"#;
        let both = r#"{"session":"s","flows":[{"stages":["m.login.registration_token","m.login.dummy"]}]}"#;
        let half = r#"{"session":"s","flows":[{"stages":["m.login.registration_token","m.login.dummy"]}],
            "completed":["m.login.registration_token"]}"#;
        let either = r#"{"session":"s","flows":[{"stages":["m.login.registration_token","m.login.dummy"]},
            {"stages":["m.login.dummy"]}]}"#;
        let at = |stage| Step { stage, session: Some(String::from("s")), before: 1 };
        let further = |stage| Step { before: 2, ..at(stage) };
        let (first, passed) = (Step::FIRST, at(Stage::Token));
        for (step, given, challenge, expected) in [
            (&first, None, dummy, Ok(Stage::Dummy)),
            (&first, Some("sesame"), token, Ok(Stage::Token)),
            (&first, None, token, Err(TOKEN_NEEDED)),
            (&passed, Some("wrong"), token, Err("M_UNRECOGNIZED")),
            (&first, Some("sesame"), both, Ok(Stage::Token)),
            (&passed, Some("sesame"), half, Ok(Stage::Dummy)),
            (&first, None, either, Ok(Stage::Dummy)),
            (&first, None, r#"{"session":"s","flows":[{"stages":["m.login.terms"]}]}"#, Err("BAD_ANSWER")),
            (&first, None, r#"{"flows":[{"stages":["m.login.dummy"]}]}"#, Err("BAD_ANSWER")),
            (&first, None, r#"{"errcode":"M_USER_IN_USE"}"#, Err("M_USER_IN_USE")),
            (&first, None, "no json", Err("BAD_ANSWER")),
        ] {
            let answer = Failure::of_answer(401, None, challenge);
            let next = registration(given).next(step, answer, challenge);
            let at = |stage| if step.before == 0 { at(stage) } else { further(stage) };
            assert_eq!(
                next.as_ref().map_err(|failure| &*failure.code),
                expected.map(at).as_ref().map_err(|e| *e),
                "{challenge}"
            );
        }
    }

    #[test]
    fn a_server_that_always_asks_for_more_is_given_up() {
        let asking = |stage: Stage| {
            let done = if stage == Stage::Dummy { "m.login.registration_token" } else { "m.login.dummy" };
            let flow = r#"["m.login.registration_token","m.login.dummy"]"#;
            [r#"{"session":"s","flows":[{"stages":"#, flow, r#"}],"completed":[""#, done, r#""]}"#].concat()
        };
        let mut step = Step { stage: Stage::Token, ..Step::FIRST };
        let mut steps = 0;
        loop {
            let wanted = if step.stage == Stage::Token { Stage::Dummy } else { Stage::Token };
            let body = asking(wanted);
            match registration(Some("sesame")).next(&step, Failure::of_answer(401, None, &body), &body) {
                Ok(next) => step = next,
                Err(_) => break,
            }
            steps += 1;
        }
        assert_eq!(steps, usize::from(MAX_STEPS) - 1);
    }

    #[test]
    fn the_token_is_shown_at_its_stage_only() {
        let registration = registration(Some("sesame"));
        assert!(!registration.body(&Step::FIRST).contains("sesame"));
        let step = Step { stage: Stage::Token, session: Some(String::from("s")), before: 1 };
        assert!(
            registration
                .body(&step)
                .ends_with(r#""auth":{"type":"m.login.registration_token","session":"s","token":"sesame"}}"#)
        );
    }

    #[test]
    fn a_session_needs_all_its_parts() {
        let body = r#"{"user_id":"@a:x","device_id":"D","access_token":"t","home_server":"x"}"#;
        assert_eq!(session_of("http://x/", body).unwrap().base_url, "http://x");
        assert_eq!(session_of("http://x", r#"{"user_id":"@a:x"}"#), None);
    }
}
