//! Takes what is due out of the queue and sends it: `PUT /_matrix/federation/v1/send/{txnId}`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode};
use ruma::{OwnedEventId, OwnedServerName, ServerName};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::task::JoinSet;

use super::{
    client::{Client, RequestError},
    device_outbox::{DeviceOutbox, Page},
    edu::{Edu, Key},
    list_outbox::ListOutbox,
    outbox::{Outbox, Pdu},
    presence::Presence,
    queue::{Due, Look, MAX_EDUS, Queue, Transaction},
    room_edus::{RECEIPT, together},
};
use crate::{
    core::{federation::Outcome, time::UnixMillis},
    server::{clock::Clock, config::servers::Policy, metrics::Metrics},
};

/// Where reminders in the brief form go.
pub const BRIEF: &str = "/_matrix/federation/unstable/org.pilotlight/r/";

/// How long the last transactions may take when the server stops.
const LAST_SENDING: Duration = Duration::from_secs(1);

/// The IDs of transactions: never the same again, not after a restart either.
#[derive(Debug)]
pub(super) struct TransactionIds {
    epoch: u64,
    next: AtomicU64,
}

impl TransactionIds {
    /// IDs of the start with the number `epoch`, which is greater after each start.
    pub(super) fn new(epoch: u64) -> Self {
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
    origin_server_ts: UnixMillis,
    pdus: Vec<&'a RawValue>,
    edus: Vec<BodyEdu<'a>>,
}

#[derive(Serialize)]
struct BodyEdu<'a> {
    edu_type: &'static str,
    content: &'a RawValue,
}

/// Why a transaction was not taken.
struct NotTaken {
    /// The destination answers, and says that it is no good.
    is_refused: bool,
    why: String,
}

impl From<String> for NotTaken {
    fn from(why: String) -> Self {
        Self { is_refused: false, why }
    }
}

impl From<RequestError> for NotTaken {
    fn from(error: RequestError) -> Self {
        Self { is_refused: refuses(&error), why: error.to_string() }
    }
}

/// Whether it is the content of a transaction that a server does not take, rather than whose it is, or anything now.
fn refuses(error: &RequestError) -> bool {
    let RequestError::Status(status, _) = error else { return false };
    let of_the_sender = [
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::NOT_FOUND,
        StatusCode::METHOD_NOT_ALLOWED,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    status.is_client_error() && !of_the_sender.contains(status)
}

impl<'a> From<&'a Edu> for BodyEdu<'a> {
    fn from(edu: &'a Edu) -> Self {
        Self { edu_type: edu.kind, content: &edu.content }
    }
}

/// Takes what is due out of the queue, and sends it.
#[derive(Debug)]
pub(super) struct Delivery {
    /// The name of this server.
    pub(super) own: OwnedServerName,
    pub(super) clock: Clock,
    pub(super) client: Client,
    pub(super) policy: Arc<Policy>,
    pub(super) queue: Arc<Queue>,
    pub(super) presence: Arc<Presence>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) lists: Arc<ListOutbox>,
    pub(super) devices: Arc<DeviceOutbox>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) ids: TransactionIds,
}

impl Delivery {
    /// Sends what is queued for other servers, until the task is dropped.
    pub(super) async fn run(self: &Arc<Self>) {
        let mut under_way = JoinSet::new();
        loop {
            let wake = loop {
                match self.queue.next(self.clock.now()) {
                    Ok(Due::Send(transaction)) => {
                        under_way.spawn(Arc::clone(self).deliver(transaction));
                    }
                    Ok(Due::Look(look)) => {
                        under_way.spawn(Arc::clone(self).look_up(look));
                    }
                    Err(wake) => break wake,
                }
            };
            let pause = async {
                match wake {
                    Some(at) => self.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.queue.changed() => {}
                () = pause => {}
                Some(ended) = under_way.join_next() => {
                    if let Err(e) = ended {
                        tracing::error!(error = %e, "a transaction's task ended before its time");
                    }
                }
            }
        }
    }

    /// Before the end: waits until what can be sent is sent, within [`LAST_SENDING`].
    pub(super) async fn settle(&self) {
        self.queue.hurry();
        if tokio::time::timeout(LAST_SENDING, self.queue.settled()).await.is_err() {
            tracing::info!("not everything could be sent to other servers before the end");
        }
    }

    async fn look_up(self: Arc<Self>, look: Look) {
        let found = self.outbox.look_up(&look).await.map_err(|e| e.to_string());
        if let Ok(found) = &found {
            tracing::debug!(destination = %look.destination, events = found.len(), "was away, and is told the newest");
        }
        self.queue.handle_found(self.clock.now(), &look, found);
    }

    async fn deliver(self: Arc<Self>, transaction: Transaction) {
        let destination = &transaction.destination;
        let page = match self.page(&transaction).await {
            Ok(page) => page,
            Err(error) => return self.handle_failed(&transaction, error),
        };
        match self.put(&transaction, &page).await {
            Ok(bytes) => {
                let (events, edus) = (transaction.events.len(), transaction.edus.len());
                tracing::trace!(%destination, events, edus, bytes, "transaction acknowledged");
                self.tell_presence(&transaction, Outcome::Delivered);
                // That the other took something else is a sign of life, too (F9); where there was nothing to say nobody was asked.
                if bytes > 0 && transaction.edus.iter().all(|edu| edu.key != Key::Presence) {
                    self.presence.handle_acknowledged(destination);
                }
                self.lists.handle_delivered(destination, &transaction.edus).await;
                self.devices.handle_delivered(destination, page).await;
                if self.queue.handle_delivered(&transaction, bytes) {
                    tracing::info!(%destination, "a server is reached again");
                }
                self.metrics.sent.count(transaction.edus.len(), bytes);
            }
            Err(NotTaken { is_refused: true, why }) => self.handle_refused(&transaction, page, why).await,
            Err(NotTaken { why, .. }) => self.handle_failed(&transaction, why),
        }
    }

    /// A destination that answers does not take a transaction: what it is about is found, and given up.
    async fn handle_refused(&self, transaction: &Transaction, page: Page, error: String) {
        let Transaction { destination, events, edus, .. } = transaction;
        let of_devices = edus.iter().filter(|edu| edu.key == Key::Devices).count();
        let things = events.len() + edus.len() - of_devices + page.edus.len();
        tracing::debug!(%destination, %error, things, "transaction refused");
        self.tell_presence(transaction, Outcome::Failed);
        self.metrics.failed.add(1);
        // As of what was taken: it is on its way until it is written that it is not to be told again.
        if self.queue.gives_up(transaction, things) {
            tracing::warn!(%destination, %error, "something that a server refuses again and again is given up");
            self.lists.handle_delivered(destination, edus).await;
            self.devices.handle_delivered(destination, page).await;
        }
        self.queue.handle_refused(self.clock.now(), transaction, things, error);
    }

    fn handle_failed(&self, transaction: &Transaction, error: String) {
        tracing::debug!(destination = %transaction.destination, %error, "transaction failed");
        self.tell_presence(transaction, Outcome::Failed);
        // Once, and not at each try.
        if self.queue.handle_failed(self.clock.now(), transaction, error.clone()) {
            tracing::info!(destination = %transaction.destination, ?error, "a server cannot be reached");
        }
        self.metrics.failed.add(1);
    }

    /// What there is to be said of devices, if there is something.
    async fn page(&self, transaction: &Transaction) -> Result<Page, String> {
        match transaction.edus.iter().any(|edu| edu.key == Key::Devices) {
            true => {
                let others = transaction.events.len() + transaction.edus.len() - 1;
                let room =
                    (MAX_EDUS + 1 - transaction.edus.len().min(MAX_EDUS)).min(transaction.most - others);
                self.devices.page(&transaction.destination, room).await.map_err(|e| e.to_string())
            }
            false => Ok(Page::default()),
        }
    }

    /// Tells the engine of presence how a transaction went. What else is to be tried again is kept in the queue.
    fn tell_presence(&self, transaction: &Transaction, outcome: Outcome) {
        for edu in &transaction.edus {
            match edu.key {
                Key::Presence => self.presence.handle_outcome(&transaction.destination, edu.seq, outcome),
                Key::Typing { .. } | Key::Receipt { .. } | Key::List { .. } | Key::Devices => {}
            }
        }
    }

    /// Sends a transaction, or what stands for it; the length of its body, or what went wrong.
    async fn put(&self, transaction: &Transaction, page: &Page) -> Result<usize, NotTaken> {
        let destination = &transaction.destination;
        if !self.policy.speaks_with(destination) || *destination == self.own {
            return Err("this server does not federate with that one".to_owned().into());
        }
        if let ([], [Edu { brief: Some(brief), .. }]) = (&transaction.events[..], &transaction.edus[..]) {
            let path = format!("{BRIEF}{brief}");
            match self.client.tell(destination, &path).await {
                Ok(()) => return Ok(brief.len()),
                // It reads what is sent in full, then.
                Err(RequestError::Status(StatusCode::NOT_FOUND, _)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        let is_receipt = |edu: &&Edu| edu.kind == RECEIPT;
        let receipts = together(transaction.edus.iter().filter(is_receipt).map(|edu| &*edu.content));
        let receipts = receipts.map_err(|e| e.to_string())?;
        let others = transaction.edus.iter().filter(|edu| edu.key != Key::Devices && !is_receipt(edu));
        let receipts = receipts.iter().map(|content| BodyEdu { edu_type: RECEIPT, content });
        let edus = others.map(BodyEdu::from).chain(receipts);
        let of_devices = page.edus.iter().map(|(edu_type, content)| BodyEdu { edu_type, content });
        let edus: Vec<_> = edus.chain(of_devices).collect();
        let pdus = self.outbox.pdus(&transaction.events).await.map_err(|e| e.to_string())?;
        if edus.is_empty() && pdus.is_empty() {
            // It was said already.
            return Ok(0);
        }
        let body = Body {
            origin: &self.own,
            origin_server_ts: self.clock.unix(),
            pdus: pdus.iter().map(|pdu| &*pdu.json).collect(),
            edus,
        };
        let body = Bytes::from(serde_json::to_vec(&body).map_err(|e| e.to_string())?);
        let bytes = body.len();
        let path = format!("/_matrix/federation/v1/send/{}", self.ids.next());
        let answer = self.client.request(destination, Method::PUT, &path, Some(body)).await;
        tell_refused(destination, &pdus, answer?.get());
        Ok(bytes)
    }
}

/// What became of the events of a transaction, by a server that acknowledged it.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    pdus: BTreeMap<OwnedEventId, Verdict>,
}

#[derive(Deserialize)]
struct Verdict {
    error: Option<String>,
}

/// Which events it did not take. They are not sent again: it has judged them, and would again.
fn tell_refused(destination: &ServerName, pdus: &[Pdu], answer: &str) {
    // Answers in another form say nothing.
    let Ok(answer) = serde_json::from_str::<Answer>(answer) else { return };
    for Pdu { event_id, .. } in pdus {
        if let Some(Verdict { error: Some(error) }) = answer.pdus.get(event_id) {
            tracing::info!(%destination, %event_id, ?error, "an event of ours was not taken");
        }
    }
}
