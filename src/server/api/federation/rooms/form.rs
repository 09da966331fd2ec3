//! The forms that these modules share: lists of PDUs, and what says that they are ours.

use ruma::OwnedEventId;
use serde_json::{Value, json, value::RawValue};

use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        large::Written,
    },
    app::App,
};

/// Events that are read and written at once.
const PAGE: usize = 100;

/// Writes the PDUs of these events into an array, page by page.
pub(super) async fn write_pdus(
    app: &App,
    key: &str,
    ids: impl IntoIterator<Item = OwnedEventId>,
    answer: &mut Written,
) -> ApiResult<()> {
    let list = answer.out.open_array(key);
    let mut ids = ids.into_iter();
    loop {
        let page: Vec<OwnedEventId> = ids.by_ref().take(PAGE).collect();
        if page.is_empty() {
            break;
        }
        for pdu in app.rooms.pdus(&page).await? {
            answer.out.element(&pdu);
        }
        answer.take().await?;
    }
    answer.out.end_even_if_empty(list);
    Ok(())
}

/// PDUs as a transaction has them.
pub(super) fn transaction(app: &App, pdus: Vec<Box<str>>) -> ApiResult<Value> {
    Ok(json!({
        "origin": app.server_name(),
        "origin_server_ts": app.unix_ms(),
        "pdus": raw(pdus)?,
    }))
}

/// PDUs as JSON.
pub(super) fn raw(pdus: Vec<Box<str>>) -> ApiResult<Vec<Box<RawValue>>> {
    pdus.into_iter()
        .map(|pdu| RawValue::from_string(pdu.into()))
        .collect::<Result<_, _>>()
        .map_err(ApiError::internal)
}

/// An answer in the form of the first version of an endpoint: the status beside it.
pub(super) fn with_status(body: &Value) -> Value {
    json!([200, body])
}
