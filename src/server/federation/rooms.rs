//! What this server asks of others about rooms that it is not in, or brings to them.
//!
//! What comes back is believed nowhere before it is checked. Server-server API, "Joining rooms", "Knocking upon a room",
//! "Inviting to a room", "Leaving rooms", "Public room directory", "Spaces".

use std::{fs::File, io::Write, time::Duration};

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use ruma::{
    EventId, OwnedEventId, OwnedRoomId, OwnedServerName, RoomAliasId, RoomId, RoomVersionId, ServerName,
    UserId,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};
use tokio::time::Instant;

use super::{
    client::{Answer, Bounds, RequestError},
    parts::Federation,
    path::path,
    room_answer::RoomAnswer,
};
use crate::server::outgoing::shares::Held;

/// The template of an event, an alias, a signed event.
const SMALL: Bounds = Bounds { bytes: 512 << 10, time: Duration::from_secs(20) };

/// A page of a directory, of a space, of the past.
const PAGE: Bounds = Bounds { bytes: 16 << 20, time: Duration::from_secs(30) };

/// How long a server may take to look at a join before its answer begins, and then from one piece of it to the next.
const JOIN_BEGINS: Duration = Duration::from_secs(120);
const GOES_ON: Duration = Duration::from_secs(30);

/// Bytes of such an answer that come in a second at least, on the whole.
const BYTES_A_SECOND: u64 = 128 << 10;

/// Bytes of the answer to a join, at most. A room of a hundred thousand members has some 150 MB.
const MAX_JOIN_ANSWER: u64 = 1 << 30;

/// The same of a state, or of what allows an event: when it is to have begun to come, and to be there, the wait for its turn
/// included.
const STATE_BEGINS: Duration = Duration::from_secs(60);
const STATE_TIME: Duration = Duration::from_secs(120);

/// Bytes of a state with its events, and of an auth chain, at most.
const MAX_STATE: u64 = 256 << 20;
const MAX_AUTH_CHAIN: u64 = 64 << 20;

/// What somebody becomes by an event that another server takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// `make_join`, `send_join`
    Join,
    /// `make_leave`, `send_leave`
    Leave,
    /// `make_knock`, `send_knock`
    Knock,
}

impl Step {
    fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Knock => "knock",
        }
    }
}

/// What is to be signed.
#[derive(Debug, Deserialize)]
pub struct Made {
    /// The version of the room; absent from servers that know no other than the first two.
    pub room_version: Option<RoomVersionId>,
    /// The event.
    pub event: Box<RawValue>,
}

/// Where an alias leads.
#[derive(Debug, Deserialize)]
pub struct Found {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Servers that are in it.
    #[serde(default)]
    pub servers: Vec<OwnedServerName>,
}

/// The event of a room nearest to a time.
#[derive(Debug, Deserialize)]
pub struct Near {
    /// The event.
    pub event_id: OwnedEventId,
    /// When it was sent, it says.
    pub origin_server_ts: u64,
}

impl Federation {
    /// `GET /make_join`, `/make_leave`, `/make_knock`: what `user` would have to sign.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn make(
        &self,
        server: &ServerName,
        step: Step,
        (room, user): (&RoomId, &UserId),
        versions: &[RoomVersionId],
    ) -> Result<Made, RequestError> {
        let template = format!("/_matrix/federation/v1/make_{}/{{}}/{{}}", step.as_str());
        let mut path = path(&template, &[room.as_str(), user.as_str()]);
        if step != Step::Leave {
            let versions: Vec<_> = versions.iter().map(|version| ("ver", version.as_str())).collect();
            path = format!("{path}?{}", query(&versions)?);
        }
        self.get(server, &path, SMALL).await
    }

    /// `PUT /send_join`: the room as it is before `event`, the signed join. The answer goes into `file`, as long as there is room for it
    /// beside others.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn send_join(
        &self,
        server: &ServerName,
        (room, id): (&RoomId, &EventId),
        event: &Bytes,
        file: File,
    ) -> Result<RoomAnswer, RequestError> {
        self.check(server)?;
        let parts = [room.as_str(), id.as_str()];
        let [v2, v1] = ["v2", "v1"]
            .map(|version| path(&format!("/_matrix/federation/{version}/send_join/{{}}/{{}}"), &parts));
        let ask = |path: String| async move {
            self.client.open_with(server, (Method::PUT, &path), Some(event.clone()), JOIN_BEGINS).await
        };
        let answer = match ask(v2).await {
            Err(e) if e.is_unrecognized() => ask(v1).await?,
            answer => answer?,
        };
        spooled(answer, file, (JOIN_BEGINS, MAX_JOIN_ANSWER), self.joins.open(server.as_str())).await
    }

    /// `GET /state`: the state of a room before an event, and all that allows it. The answer goes into `file`, as long as there is room for
    /// it beside others.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn state_before(
        &self,
        server: &ServerName,
        room: &RoomId,
        before: &EventId,
        file: File,
    ) -> Result<RoomAnswer, RequestError> {
        let path = path("/_matrix/federation/v1/state/{}?event_id={}", &[room.as_str(), before.as_str()]);
        self.get_spooled(server, &path, MAX_STATE, file).await
    }

    /// `GET /event_auth`: all that allows an event, in the same way.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn event_auth(
        &self,
        server: &ServerName,
        room: &RoomId,
        event: &EventId,
        file: File,
    ) -> Result<RoomAnswer, RequestError> {
        let path = path("/_matrix/federation/v1/event_auth/{}/{}", &[room.as_str(), event.as_str()]);
        self.get_spooled(server, &path, MAX_AUTH_CHAIN, file).await
    }

    async fn get_spooled(
        &self,
        server: &ServerName,
        path: &str,
        most: u64,
        file: File,
    ) -> Result<RoomAnswer, RequestError> {
        self.check(server)?;
        let reading = async {
            let held = self.on_disk.open(server.as_str());
            let answer = self.client.open_with(server, (Method::GET, path), None, STATE_BEGINS).await?;
            spooled(answer, file, (STATE_BEGINS, most), held).await
        };
        let in_time = tokio::time::timeout(STATE_TIME, reading).await;
        in_time.unwrap_or_else(|_| Err(RequestError::Network("timed out".to_owned())))
    }

    /// `PUT /send_leave`: brings a signed leave.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn send_leave(
        &self,
        server: &ServerName,
        (room, id): (&RoomId, &EventId),
        event: &Bytes,
    ) -> Result<(), RequestError> {
        let parts = [room.as_str(), id.as_str()];
        let put = |version: &str| {
            let path = path(&format!("/_matrix/federation/{version}/send_leave/{{}}/{{}}"), &parts);
            async move { self.put::<Value>(server, &path, event.clone()).await.map(drop) }
        };
        match put("v2").await {
            Err(e) if e.is_unrecognized() => put("v1").await,
            answer => answer,
        }
    }

    /// `PUT /send_knock`: brings a signed knock; answers with what the room shows of itself.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn send_knock(
        &self,
        server: &ServerName,
        (room, id): (&RoomId, &EventId),
        event: &Bytes,
    ) -> Result<Vec<Box<RawValue>>, RequestError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            knock_room_state: Vec<Box<RawValue>>,
            /// As older servers call it, which some say as well.
            #[serde(default)]
            knock_state_events: Vec<Box<RawValue>>,
        }
        let path = path("/_matrix/federation/v1/send_knock/{}/{}", &[room.as_str(), id.as_str()]);
        let answer: Answer = self.put(server, &path, event.clone()).await?;
        let is_old = answer.knock_room_state.is_empty();
        Ok(if is_old { answer.knock_state_events } else { answer.knock_room_state })
    }

    /// `PUT /invite`: brings a signed invite to the server of who is invited; answers with the event as it signed it.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn send_invite(
        &self,
        server: &ServerName,
        (room, id): (&RoomId, &EventId),
        version: &RoomVersionId,
        (event, shown): (&RawValue, &[Box<RawValue>]),
    ) -> Result<Box<RawValue>, RequestError> {
        #[derive(Deserialize)]
        struct Answer {
            event: Box<RawValue>,
        }
        let path = path("/_matrix/federation/v2/invite/{}/{}", &[room.as_str(), id.as_str()]);
        let body = json!({ "room_version": version, "event": event, "invite_room_state": shown });
        let body = serde_json::to_vec(&body).map_err(|e| RequestError::Answer(e.to_string()))?;
        self.put::<Answer>(server, &path, body.into()).await.map(|answer| answer.event)
    }

    /// `GET /query/directory`: where an alias leads, by its server.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn find_alias(&self, alias: &RoomAliasId) -> Result<Found, RequestError> {
        let query = query(&[("room_alias", alias.as_str())])?;
        let path = format!("/_matrix/federation/v1/query/directory?{query}");
        self.get(alias.server_name(), &path, SMALL).await
    }

    /// `POST /publicRooms`: a page of a server's directory, as it says it.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn public_rooms(&self, server: &ServerName, wanted: &Value) -> Result<Answer, RequestError> {
        self.check(server)?;
        let body = serde_json::to_vec(wanted).map_err(|e| RequestError::Answer(e.to_string()))?;
        let path = "/_matrix/federation/v1/publicRooms";
        self.client.ask(server, (Method::POST, path), Some(body.into()), PAGE).await
    }

    /// `GET /hierarchy`: a room, and the rooms in it, as a server knows them.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn hierarchy<T: DeserializeOwned>(
        &self,
        server: &ServerName,
        room: &RoomId,
        suggested_only: bool,
    ) -> Result<T, RequestError> {
        let path = path("/_matrix/federation/v1/hierarchy/{}?suggested_only=", &[room.as_str()]);
        self.get(server, &format!("{path}{suggested_only}"), PAGE).await
    }

    /// `GET /timestamp_to_event`: the event of a room nearest to a time, as a server knows it.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn event_near(
        &self,
        server: &ServerName,
        room: &RoomId,
        (unix_ms, direction): (u64, &str),
    ) -> Result<Near, RequestError> {
        let path =
            path("/_matrix/federation/v1/timestamp_to_event/{}?dir={}&ts=", &[room.as_str(), direction]);
        self.get(server, &format!("{path}{unix_ms}"), SMALL).await
    }

    /// `GET /backfill`: up to `limit` events of a room, from some of them backwards.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn backfill(
        &self,
        server: &ServerName,
        room: &RoomId,
        from: &[OwnedEventId],
        limit: usize,
    ) -> Result<Vec<Box<RawValue>>, RequestError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            pdus: Vec<Box<RawValue>>,
        }
        let mut pairs: Vec<(&str, &str)> = from.iter().map(|id| ("v", id.as_str())).collect();
        let limit = limit.to_string();
        pairs.push(("limit", &limit));
        let path = path("/_matrix/federation/v1/backfill/{}", &[room.as_str()]);
        self.get::<Answer>(server, &format!("{path}?{}", query(&pairs)?), PAGE)
            .await
            .map(|answer| answer.pdus)
    }

    async fn get<T: DeserializeOwned>(
        &self,
        server: &ServerName,
        path: &str,
        bounds: Bounds,
    ) -> Result<T, RequestError> {
        self.check(server)?;
        let answer = self.client.ask(server, (Method::GET, path), None, bounds).await?;
        serde_json::from_str(answer.get()).map_err(|e| RequestError::Answer(e.to_string()))
    }

    async fn put<T: DeserializeOwned>(
        &self,
        server: &ServerName,
        path: &str,
        body: Bytes,
    ) -> Result<T, RequestError> {
        self.check(server)?;
        let answer = self.client.ask(server, (Method::PUT, path), Some(body), SMALL).await?;
        serde_json::from_str(answer.get()).map_err(|e| RequestError::Answer(e.to_string()))
    }

    fn check(&self, server: &ServerName) -> Result<(), RequestError> {
        if self.policy.speaks_with(server) { Ok(()) } else { Err(RequestError::Refused) }
    }
}

/// Writes an answer into a file as it comes: `begins` and some more for each piece are for it, up to `most` bytes.
async fn spooled(
    answer: Response<Incoming>,
    mut file: File,
    (begins, most): (Duration, u64),
    mut held: Held,
) -> Result<RoomAnswer, RequestError> {
    let (mut body, mut len, began) = (answer.into_body(), 0_u64, Instant::now());
    let failed = |e: &dyn std::fmt::Display| RequestError::Network(e.to_string());
    loop {
        if began.elapsed() > begins + Duration::from_secs(len / BYTES_A_SECOND) {
            return Err(failed(&"the answer comes too slowly"));
        }
        let frame = tokio::time::timeout(GOES_ON, body.frame());
        let frame = held.or_lost(frame).await?;
        let Some(frame) = frame.map_err(|_| failed(&"the answer stopped"))? else { break };
        let Ok(piece) = frame.map_err(|e| failed(&e))?.into_data() else { continue };
        len += piece.len() as u64;
        if len > most {
            return Err(RequestError::Answer(format!("it has more than {most} bytes")));
        }
        held.grow(len as usize).await?;
        // A piece is some KiB, which the system takes into its cache.
        file.write_all(&piece).map_err(|e| failed(&e))?;
    }
    held.shrink(len as usize);
    Ok(RoomAnswer::new(file, len, held))
}

fn query(pairs: &[(&str, &str)]) -> Result<String, RequestError> {
    serde_html_form::to_string(pairs).map_err(|e| RequestError::Answer(e.to_string()))
}
