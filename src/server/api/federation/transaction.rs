//! What other servers send: `PUT /_matrix/federation/v1/send/{txnId}`.
//!
//! A transaction has an effect once, however often it comes. What cannot be read or is not allowed in one
//! EDU refuses that EDU only. Source: Matrix server-server API, "Transactions".

use std::{sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, ServerName,
    room_version_rules::RoomVersionRules,
};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use super::signed::{Signed, json_object};
use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::Path,
    },
    app::{
        App,
        across::{ANSWER_WITHIN, Answers, NotTaken},
    },
    devices::across::is_device_edu,
    federation::{
        Federation,
        list_edu::is_list_edu,
        presence::PRESENCE,
        room_edus::{RECEIPT, TYPING},
    },
    json::is_list,
};

/// The PDUs and EDUs in one transaction at most, by the specification.
const MAX_PDUS: usize = 50;
const MAX_EDUS: usize = 100;

/// The longest ID of a transaction or an event, in bytes.
const MAX_ID: usize = 255;

/// The longest answer that is remembered whole, in bytes: that all of 50 events were taken. What was wrong with some is
/// said once; a repetition learns that they came.
const LONGEST_REMEMBERED: usize = 4_096;

/// When to come again while too many events wait.
const CROWDED: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Transaction<'a> {
    origin: OwnedServerName,
    #[serde(borrow, default)]
    pdus: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    edus: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Edu<'a> {
    edu_type: String,
    #[serde(borrow)]
    content: &'a RawValue,
}

/// `PUT /_matrix/federation/v1/send/{txnId}`
pub(super) async fn put(
    State(app): State<Arc<App>>,
    Path(transaction_id): Path<String>,
    signed: Signed,
) -> ApiResult<Response> {
    let federation = app.federation.as_ref().ok_or_else(ApiError::unrecognized)?;
    if transaction_id.len() > MAX_ID {
        return Err(ApiError::invalid_param(format!("the transaction's ID has more than {MAX_ID} bytes")));
    }
    let transaction: Transaction<'_> = json_object(&signed.body)?;
    if transaction.origin != signed.origin {
        return Err(ApiError::forbidden("the transaction is of another server than the request"));
    }
    if transaction.pdus.len() > MAX_PDUS || transaction.edus.len() > MAX_EDUS {
        return Err(ApiError::bad_json(format!("more than {MAX_PDUS} PDUs or {MAX_EDUS} EDUs")));
    }
    let turn = federation.answered.of(&signed.origin);
    let mut answered = turn.lock().await;
    let answer = match answered.find(&transaction_id) {
        Some(remembered) => remembered.unwrap_or_else(|| said(&came(&transaction.pdus))),
        None => {
            let edus = transaction.edus.len();
            let events = app.take_events(&signed.origin, &transaction.pdus, event_id).await;
            let events = events.map_err(not_taken)?;
            let receipts = handle_edus(&app, federation, &signed.origin, &transaction.edus).await?;
            app.metrics.received.count(edus, signed.body.len());
            let answers = app.answers(events, ANSWER_WITHIN).await.map_err(not_taken)?;
            // After the events that they may name.
            app.handle_receipt_edus(&signed.origin, &receipts).await.map_err(ApiError::internal)?;
            let answer = said(&answers);
            let remembered = (answer.len() <= LONGEST_REMEMBERED).then(|| Arc::clone(&answer));
            answered.remember(transaction_id, remembered);
            answer
        }
    };
    Ok(([(CONTENT_TYPE, "application/json")], answer.to_string()).into_response())
}

/// `GET /_matrix/federation/unstable/org.pilotlight/r/{reminder}`: a reminder in the brief form. What it
/// leads to, if anything, is sent like everything else.
pub(super) async fn remind(
    State(app): State<Arc<App>>,
    Path(reminder): Path<String>,
    signed: Signed,
) -> ApiResult<StatusCode> {
    let federation = app.federation.as_ref().ok_or_else(ApiError::unrecognized)?;
    federation
        .presence
        .handle_brief(&signed.origin, &reminder)
        .map_err(|e| ApiError::invalid_param(format!("reminder: {e}")))?;
    app.metrics.received.count(1, reminder.len());
    Ok(StatusCode::NO_CONTENT)
}

/// Takes the EDUs of a transaction: first what they say of lists, all of it in one step, then of devices, then the presence
/// that the lists let through; answers what they say of who has read what, for after the events. That one cannot be read, says what it may not, or is of an unknown type is the
/// end of it alone.
///
/// # Errors
/// Only for what is not the sender's fault, so that it sends the transaction again.
async fn handle_edus<'a>(
    app: &Arc<App>,
    federation: &Federation,
    origin: &ServerName,
    edus: &[&'a RawValue],
) -> ApiResult<Vec<&'a RawValue>> {
    let (mut lists, mut devices, mut presence) = (Vec::new(), Vec::new(), Vec::new());
    let (mut typing, mut receipts) = (Vec::new(), Vec::new());
    for edu in edus.iter().filter(|edu| !is_list(edu.get().as_bytes())) {
        match serde_json::from_str(edu.get()) {
            Ok(Edu { edu_type, content }) if is_list(content.get().as_bytes()) => {
                tracing::debug!(%origin, edu_type, "the content of an EDU is no object");
            }
            Ok(Edu { edu_type, content }) if edu_type == PRESENCE => presence.push(content),
            Ok(Edu { edu_type, content }) if edu_type == TYPING => typing.push(content),
            Ok(Edu { edu_type, content }) if edu_type == RECEIPT => receipts.push(content),
            Ok(Edu { edu_type, content }) if is_list_edu(&edu_type) => {
                lists.push((edu_type, content));
            }
            Ok(Edu { edu_type, content }) if is_device_edu(&edu_type) => devices.push((edu_type, content)),
            Ok(Edu { edu_type, .. }) => {
                tracing::trace!(%origin, edu_type, "an EDU of a type that is not known");
            }
            Err(error) => tracing::debug!(%origin, %error, "an EDU cannot be read"),
        }
    }
    if !lists.is_empty() {
        app.handle_list_edus(origin, &lists).await?;
    }
    if !devices.is_empty() {
        app.handle_device_edus(origin, &devices).await?;
    }
    for content in typing {
        app.handle_typing_edu(origin, content).await;
    }
    presence.into_iter().for_each(|content| federation.presence.handle_edu(origin, content));
    Ok(receipts)
}

/// The transaction is to be sent again.
fn not_taken(e: NotTaken) -> ApiError {
    match e {
        NotTaken::Crowded => ApiError::limit_exceeded(CROWDED),
        NotTaken::Interrupted => ApiError::internal(e.to_string()),
        NotTaken::Store(e) => e.into(),
    }
}

/// The answer that says what became of each event.
fn said(answers: &Answers) -> Arc<str> {
    let of_one = |error: &Option<String>| match error {
        Some(error) => json!({ "error": error }),
        None => json!({}),
    };
    let pdus: Map<String, Value> = answers.iter().map(|(id, error)| (id.clone(), of_one(error))).collect();
    json!({ "pdus": pdus }).to_string().into()
}

/// That the events of a transaction came.
fn came(pdus: &[&RawValue]) -> Answers {
    pdus.iter().filter_map(|pdu| Some((event_id(pdu.get())?, None))).collect()
}

/// The ID of a PDU: told in it in the oldest room versions, else the hash. As the version of the room is
/// not known, the hash is that of version 12 where the room's ID has its form, and of version 10 elsewhere.
pub(in crate::server) fn event_id(pdu: &str) -> Option<String> {
    let pdu: CanonicalJsonObject = serde_json::from_str(pdu).ok()?;
    let text = |key| match pdu.get(key) {
        Some(CanonicalJsonValue::String(text)) => Some(text),
        _ => None,
    };
    if let Some(id) = text("event_id") {
        return (id.len() <= MAX_ID).then(|| id.clone());
    }
    let rules = if text("room_id").is_some_and(|id| id.contains(':')) {
        RoomVersionRules::V10
    } else {
        RoomVersionRules::V12
    };
    Some(format!("${}", ruma::signatures::reference_hash(&pdu, &rules).ok()?))
}
