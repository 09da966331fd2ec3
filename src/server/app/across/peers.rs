//! Other servers, as rooms ask them while they receive.

use std::{fs::File, path::PathBuf, sync::Arc, time::Duration};

use http::Method;
use ruma::{EventId, OwnedEventId, RoomId, ServerName};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{json, value::RawValue};

use crate::server::{
    app::parts::App,
    federation::{
        Federation,
        client::Bounds,
        path::path,
        room_answer::{Part, RoomAnswer},
    },
    keys::{EventKeys, NeededKeys},
    outgoing::shares::Held,
    rooms::receive::{
        Elsewhere,
        elsewhere::{Between, EachText, StateBefore, Texts, Unanswered},
    },
};

/// One event, or some.
const SOME: Bounds = Bounds { bytes: 4 << 20, time: Duration::from_secs(30) };

/// IDs of a whole state with its auth chain: half a million.
const IDS: Bounds = Bounds { bytes: 24 << 20, time: Duration::from_secs(60) };

/// Asks other servers.
#[derive(Debug)]
pub struct Peers {
    federation: Arc<Federation>,
    /// Where answers go that are too large for memory.
    folder: PathBuf,
}

impl App {
    /// Other servers, for rooms to ask; `None`: this server is on its own.
    pub fn peers(&self) -> Option<Arc<Peers>> {
        let federation = Arc::clone(self.federation.as_ref()?);
        Some(Arc::new(Peers { federation, folder: self.config.data_dir.clone() }))
    }
}

impl Peers {
    async fn ask<T: DeserializeOwned + Send + 'static>(
        &self,
        server: &ServerName,
        (method, path): (Method, &str),
        body: Option<serde_json::Value>,
        bounds: Bounds,
    ) -> Result<(T, Option<Held>), Unanswered> {
        if !self.federation.policy.speaks_with(server) {
            return Err(Unanswered(format!("this server does not federate with {server}")));
        }
        let body = body.map(|body| body.to_string().into());
        let answer = self.federation.client.ask(server, (method, path), body, bounds).await;
        let answer = answer.map_err(|e| Unanswered(e.to_string()))?;
        let is_large = answer.is_large();
        let parse = move || {
            let said = serde_json::from_str(answer.get());
            let said = said.map_err(|e| Unanswered(format!("not as it has to be: {e}")))?;
            Ok((said, answer.held()))
        };
        // What is large takes a while.
        match is_large {
            true => tokio::task::spawn_blocking(parse).await.map_err(|e| Unanswered(e.to_string()))?,
            false => parse(),
        }
    }

    async fn get<T: DeserializeOwned + Send + 'static>(
        &self,
        server: &ServerName,
        path: &str,
        bounds: Bounds,
    ) -> Result<(T, Option<Held>), Unanswered> {
        self.ask(server, (Method::GET, path), None, bounds).await
    }

    fn blank(&self) -> Result<File, Unanswered> {
        RoomAnswer::blank(&self.folder).map_err(|e| Unanswered(format!("no file for the answer: {e}")))
    }
}

impl Elsewhere for Peers {
    type Texts = Events;

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
        let (answer, _) = self.ask::<Answer>(server, (Method::POST, &path), Some(body), SOME).await?;
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
        let (answer, held) = self.get::<Answer>(server, &path, IDS).await?;
        Ok(StateBefore { state: answer.pdu_ids, auth_chain: answer.auth_chain_ids, held })
    }

    async fn state(
        &self,
        server: &ServerName,
        room: &RoomId,
        before: &EventId,
    ) -> Result<Events, Unanswered> {
        let answer = self.federation.state_before(server, room, before, self.blank()?).await;
        answer.map(Events).map_err(|e| Unanswered(e.to_string()))
    }

    async fn event(&self, server: &ServerName, event: &EventId) -> Result<Box<RawValue>, Unanswered> {
        #[derive(Deserialize)]
        struct Answer {
            pdus: Vec<Box<RawValue>>,
        }
        let path = path("/_matrix/federation/v1/event/{}", &[event.as_str()]);
        let (mut answer, _) = self.get::<Answer>(server, &path, SOME).await?;
        answer.pdus.pop().ok_or_else(|| Unanswered("no event in the answer".into()))
    }

    async fn event_auth(
        &self,
        server: &ServerName,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Events, Unanswered> {
        let answer = self.federation.event_auth(server, room, event, self.blank()?).await;
        answer.map(Events).map_err(|e| Unanswered(e.to_string()))
    }
}

/// The state or the auth chain that an answer has.
#[derive(Debug)]
pub struct Events(RoomAnswer);

impl Texts for Events {
    fn walk(&mut self, each: &mut EachText<'_>) -> Result<(), String> {
        self.0.walk(|part, at, text| match part {
            Part::State | Part::AuthChain => each(at, text),
            Part::Event => Ok(()),
        })
    }

    fn text_at(&mut self, at: u64, len: usize) -> Result<Box<RawValue>, String> {
        self.0.event_at(at, len)
    }
}
