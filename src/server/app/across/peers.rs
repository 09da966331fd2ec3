//! Other servers, as rooms ask them while they receive.

use std::{sync::Arc, time::Duration};

use http::Method;
use ruma::{EventId, OwnedEventId, RoomId, ServerName};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{json, value::RawValue};

use crate::server::{
    app::parts::App,
    federation::{Federation, client::Bounds, path::path},
    keys::{EventKeys, NeededKeys},
    rooms::receive::{
        Elsewhere,
        elsewhere::{Between, StateBefore, Unanswered},
    },
};

/// One event, or some.
const SOME: Bounds = Bounds { bytes: 4 << 20, time: Duration::from_secs(30) };

/// IDs of a whole state, or an auth chain: half a million of either.
const IDS: Bounds = Bounds { bytes: 64 << 20, time: Duration::from_secs(60) };

/// A whole state with its events.
const WHOLE: Bounds = Bounds { bytes: 256 << 20, time: Duration::from_secs(120) };

/// Asks other servers.
#[derive(Debug)]
pub struct Peers {
    federation: Arc<Federation>,
}

impl App {
    /// Other servers, for rooms to ask; `None`: this server is on its own.
    pub fn peers(&self) -> Option<Arc<Peers>> {
        Some(Arc::new(Peers { federation: Arc::clone(self.federation.as_ref()?) }))
    }
}

impl Peers {
    async fn ask<T: DeserializeOwned>(
        &self,
        server: &ServerName,
        (method, path): (Method, &str),
        body: Option<serde_json::Value>,
        bounds: Bounds,
    ) -> Result<T, Unanswered> {
        if !self.federation.policy.speaks_with(server) {
            return Err(Unanswered(format!("this server does not federate with {server}")));
        }
        let body = body.map(|body| body.to_string().into());
        let answer = self.federation.client.ask(server, (method, path), body, bounds).await;
        let answer = answer.map_err(|e| Unanswered(e.to_string()))?;
        serde_json::from_str(answer.get()).map_err(|e| Unanswered(format!("not as it has to be: {e}")))
    }

    async fn get<T: DeserializeOwned>(
        &self,
        server: &ServerName,
        path: &str,
        bounds: Bounds,
    ) -> Result<T, Unanswered> {
        self.ask(server, (Method::GET, path), None, bounds).await
    }
}

impl Elsewhere for Peers {
    async fn keys(&self, needed: NeededKeys) -> EventKeys {
        match self.federation.keyring.event_keys(&needed).await {
            Ok(keys) => keys,
            Err(error) => {
                tracing::error!(%error, "keys of other servers cannot be read");
                EventKeys::default()
            }
        }
    }

    async fn missing_events(
        &self,
        server: &ServerName,
        room: &RoomId,
        between: Between,
    ) -> Result<Vec<Box<RawValue>>, Unanswered> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            events: Vec<Box<RawValue>>,
        }
        let path = path("/_matrix/federation/v1/get_missing_events/{}", &[room.as_str()]);
        let Between { earliest, latest, limit, min_depth } = between;
        let body = json!({
            "earliest_events": earliest, "latest_events": latest, "limit": limit, "min_depth": min_depth,
        });
        let answer = self.ask::<Answer>(server, (Method::POST, &path), Some(body), SOME).await?;
        Ok(answer.events)
    }

    async fn state_ids(
        &self,
        server: &ServerName,
        room: &RoomId,
        before: &EventId,
    ) -> Result<StateBefore, Unanswered> {
        #[derive(Deserialize)]
        struct Answer {
            pdu_ids: Vec<OwnedEventId>,
            auth_chain_ids: Vec<OwnedEventId>,
        }
        let path = path("/_matrix/federation/v1/state_ids/{}?event_id={}", &[room.as_str(), before.as_str()]);
        let answer = self.get::<Answer>(server, &path, IDS).await?;
        Ok(StateBefore { state: answer.pdu_ids, auth_chain: answer.auth_chain_ids })
    }

    async fn state(
        &self,
        server: &ServerName,
        room: &RoomId,
        before: &EventId,
    ) -> Result<Vec<Box<RawValue>>, Unanswered> {
        #[derive(Deserialize)]
        struct Answer {
            pdus: Vec<Box<RawValue>>,
            auth_chain: Vec<Box<RawValue>>,
        }
        let path = path("/_matrix/federation/v1/state/{}?event_id={}", &[room.as_str(), before.as_str()]);
        let mut answer = self.get::<Answer>(server, &path, WHOLE).await?;
        answer.pdus.append(&mut answer.auth_chain);
        Ok(answer.pdus)
    }

    async fn event(&self, server: &ServerName, event: &EventId) -> Result<Box<RawValue>, Unanswered> {
        #[derive(Deserialize)]
        struct Answer {
            pdus: Vec<Box<RawValue>>,
        }
        let path = path("/_matrix/federation/v1/event/{}", &[event.as_str()]);
        let mut answer = self.get::<Answer>(server, &path, SOME).await?;
        answer.pdus.pop().ok_or_else(|| Unanswered("no event in the answer".into()))
    }

    async fn event_auth(
        &self,
        server: &ServerName,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Vec<Box<RawValue>>, Unanswered> {
        #[derive(Deserialize)]
        struct Answer {
            auth_chain: Vec<Box<RawValue>>,
        }
        let path = path("/_matrix/federation/v1/event_auth/{}/{}", &[room.as_str(), event.as_str()]);
        Ok(self.get::<Answer>(server, &path, WHOLE).await?.auth_chain)
    }
}
