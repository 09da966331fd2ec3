//! Asking other servers for the devices and keys of their users.
//!
//! Source: Matrix server-server API, "Device Management", "End-to-End Encryption".

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::Method;
use ruma::{OwnedUserId, ServerName, UserId};
use serde::Serialize;
use serde_json::json;

use super::{
    client::{Answer, Bounds, RequestError},
    parts::Federation,
    path::path,
};

/// Bytes of all devices of one user, at most.
const MAX_DEVICES_OF_ONE: usize = 2 << 20;

/// Bytes of the devices of several users, or of keys that are claimed, at most.
const MAX_KEYS: usize = 4 << 20;

/// Who waited for less learned nothing of whether a server can be reached.
const ENOUGH: Duration = Duration::from_secs(5);

/// Why a server does not say what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The operator does not want that server to be spoken with.
    #[error("this server does not federate with that one")]
    Refused,
    /// It could not be reached a moment ago.
    #[error("the server could not be reached a moment ago")]
    Away,
    /// It could not be asked.
    #[error("{0}")]
    Request(RequestError),
    /// Its answer is not what was asked for.
    #[error("the server's answer cannot be used: {0}")]
    Answer(&'static str),
}

impl Federation {
    /// Asks for all devices of one user.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn user_devices(&self, user: &UserId, patience: Duration) -> Result<Answer, AskError> {
        let path = path("/_matrix/federation/v1/user/devices/{}", &[user.as_str()]);
        let bounds = Bounds { bytes: MAX_DEVICES_OF_ONE, time: patience };
        self.ask_kindly(user.server_name(), (Method::GET, &path), None, bounds).await
    }

    /// Asks for all devices of users of one server.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn users_keys(
        &self,
        server: &ServerName,
        users: &[OwnedUserId],
        patience: Duration,
    ) -> Result<Answer, AskError> {
        let device_keys: BTreeMap<_, [&str; 0]> = users.iter().map(|user| (user, [])).collect();
        self.post(server, "query", &json!({ "device_keys": device_keys }), patience).await
    }

    /// Claims a key of each of these devices of users of one server: by user, device, the algorithm.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn claim_keys(
        &self,
        server: &ServerName,
        wanted: &BTreeMap<OwnedUserId, BTreeMap<String, String>>,
        patience: Duration,
    ) -> Result<Answer, AskError> {
        self.post(server, "claim", &json!({ "one_time_keys": wanted }), patience).await
    }

    async fn post(
        &self,
        server: &ServerName,
        what: &str,
        body: &impl Serialize,
        time: Duration,
    ) -> Result<Answer, AskError> {
        let path = format!("/_matrix/federation/v1/user/keys/{what}");
        let body = serde_json::to_vec(body).map_err(|_| AskError::Answer("the question is no JSON"))?;
        let bounds = Bounds { bytes: MAX_KEYS, time };
        self.ask_kindly(server, (Method::POST, &path), Some(Bytes::from(body)), bounds).await
    }

    /// Asks a server with which one speaks, unless it could not be reached a moment ago.
    async fn ask_kindly(
        &self,
        server: &ServerName,
        what: (Method, &str),
        body: Option<Bytes>,
        bounds: Bounds,
    ) -> Result<Answer, AskError> {
        if !self.policy.speaks_with(server) {
            return Err(AskError::Refused);
        }
        if self.away.has(server, self.now()) {
            return Err(AskError::Away);
        }
        let answer = self.client.ask(server, what, body, bounds).await;
        if let Err(RequestError::Resolve(_) | RequestError::Network(_)) = &answer
            && bounds.time >= ENOUGH
        {
            self.away.handle_failure(server, self.now());
        }
        answer.map_err(AskError::Request)
    }
}
