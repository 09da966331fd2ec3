//! Takes what is due out of the queue and sends it: `PUT /_matrix/federation/v1/send/{txnId}`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode};
use ruma::ServerName;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::task::JoinSet;

use super::{
    Federation,
    client::RequestError,
    queue::{Edu, Key, Transaction},
};
use crate::{core::federation::Outcome, server::app::App};

/// Where reminders in the brief form go.
pub const BRIEF: &str = "/_matrix/federation/unstable/org.pilotlight/r/";

/// How long the last transactions may take when the server stops.
const LAST_SENDING: Duration = Duration::from_secs(1);

/// The IDs of transactions: never the same again, not after a restart either.
#[derive(Debug)]
pub struct TransactionIds {
    epoch: u64,
    next: AtomicU64,
}

impl TransactionIds {
    /// IDs of the start with the number `epoch`, which is greater after each start.
    pub fn new(epoch: u64) -> Self {
        Self { epoch, next: AtomicU64::new(1) }
    }

    fn next(&self) -> String {
        format!("{:x}.{:x}", self.epoch, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// The body of a transaction.
#[derive(Serialize)]
struct Body<'a> {
    origin: &'a ServerName,
    origin_server_ts: u64,
    pdus: [&'a RawValue; 0],
    edus: Vec<BodyEdu<'a>>,
}

#[derive(Serialize)]
struct BodyEdu<'a> {
    edu_type: &'static str,
    content: &'a RawValue,
}

impl<'a> From<&'a Edu> for BodyEdu<'a> {
    fn from(edu: &'a Edu) -> Self {
        Self { edu_type: edu.kind, content: &edu.content }
    }
}

/// Sends what is queued for other servers, until the task is dropped.
pub async fn run(app: Arc<App>) {
    let Some(federation) = &app.federation else { return };
    if let Err(error) = app.resume_list_messages().await {
        tracing::error!(%error, "messages about presence lists cannot be read");
    }
    let mut under_way = JoinSet::new();
    loop {
        let wake = loop {
            match federation.queue.next(app.now()) {
                Ok(transaction) => {
                    under_way.spawn(deliver(Arc::clone(&app), transaction));
                }
                Err(wake) => break wake,
            }
        };
        let pause = async {
            match wake {
                Some(at) => app.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = federation.queue.changed() => {}
            () = pause => {}
            Some(ended) = under_way.join_next() => {
                if let Err(e) = ended {
                    tracing::error!(error = %e, "a transaction's task ended before its time");
                }
            }
        }
    }
}

async fn deliver(app: Arc<App>, transaction: Transaction) {
    let Some(federation) = &app.federation else { return };
    let destination = &transaction.destination;
    match put(&app, federation, &transaction).await {
        Ok(bytes) => {
            tracing::trace!(%destination, edus = transaction.edus.len(), bytes, "transaction acknowledged");
            app.handle_outcome(&transaction, Outcome::Delivered).await;
            federation.queue.handle_delivered(&transaction, bytes);
            app.metrics.sent.count(transaction.edus.len(), bytes);
        }
        Err(error) => {
            tracing::debug!(%destination, %error, "transaction failed");
            app.handle_outcome(&transaction, Outcome::Failed).await;
            federation.queue.handle_failed(app.now(), &transaction, error);
            app.metrics.failed.add(1);
        }
    }
}

/// Sends a transaction, or what stands for it; the length of its body, or what went wrong.
async fn put(app: &App, federation: &Federation, transaction: &Transaction) -> Result<usize, String> {
    let destination = &transaction.destination;
    if !federation.policy.speaks_with(destination) || destination == app.server_name() {
        return Err("this server does not federate with that one".to_owned());
    }
    if let [Edu { brief: Some(brief), .. }] = &transaction.edus[..] {
        let path = format!("{BRIEF}{brief}");
        match federation.client.tell(destination, &path).await {
            Ok(()) => return Ok(brief.len()),
            // It reads what is sent in full, then.
            Err(RequestError::Status(StatusCode::NOT_FOUND, _)) => {}
            Err(e) => return Err(e.to_string()),
        }
    }
    let body = Body {
        origin: app.server_name(),
        origin_server_ts: app.unix_ms(),
        pdus: [],
        edus: transaction.edus.iter().map(BodyEdu::from).collect(),
    };
    let body = Bytes::from(serde_json::to_vec(&body).map_err(|e| e.to_string())?);
    let bytes = body.len();
    let path = format!("/_matrix/federation/v1/send/{}", federation.transaction_ids.next());
    let answer = federation.client.request(destination, Method::PUT, &path, Some(body)).await;
    answer.map(|_| bytes).map_err(|e| e.to_string())
}

impl App {
    /// Before the end: sends what waits for servers that can be reached, within [`LAST_SENDING`].
    pub async fn send_rest(&self) {
        let Some(federation) = &self.federation else { return };
        self.flush_across();
        if tokio::time::timeout(LAST_SENDING, federation.queue.settled()).await.is_err() {
            tracing::info!("not everything could be sent to other servers before the end");
        }
    }

    /// Tells the senders of its EDUs how a transaction went; what is to be tried again is kept in the queue.
    async fn handle_outcome(&self, transaction: &Transaction, outcome: Outcome) {
        for edu in &transaction.edus {
            match edu.key {
                Key::Presence => self.take_outcome(&transaction.destination, edu.seq, outcome),
                Key::List { .. } => {}
            }
        }
        if outcome == Outcome::Delivered {
            self.handle_list_edus_delivered(&transaction.destination, &transaction.edus).await;
        }
    }
}
