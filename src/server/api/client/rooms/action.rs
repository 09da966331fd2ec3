//! What a client says of an action beside what it is: its ID, and the one before it (M9).

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{header::CONTENT_LENGTH, request::Parts},
};
use ruma::{OwnedTransactionId, TransactionId};

use crate::{
    core::action::ids::MAX_ACTION_ID,
    server::{
        api::error::{ApiError, ApiResult},
        app::App,
        rooms::{Actor, Order},
        session::Session,
    },
};

/// What waits of a request whose head does not say how long it is: as much as an event may have.
const UNKNOWN_BYTES: usize = 64 << 10;

/// What a request says of its place among the actions of its device: `?org.pilotlight.action=`, where the path has no
/// transaction ID, and `?org.pilotlight.after=`.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    action: Option<u64>,
    after: Option<u64>,
    bytes: usize,
}

impl FromRequestParts<Arc<App>> for Asked {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> ApiResult<Self> {
        let query = parts.uri.query().unwrap_or_default();
        let mut asked = Self { action: None, after: None, bytes: UNKNOWN_BYTES };
        if !query.contains("org.pilotlight.a") {
            return Ok(asked);
        }
        let pairs: Vec<(String, String)> =
            serde_html_form::from_str(query).map_err(|_| ApiError::invalid_param("query: not a query"))?;
        for (key, value) in pairs {
            match (&*key, &*value) {
                ("org.pilotlight.action", id) => asked.action = Some(own(id).ok_or_else(no_id)?),
                ("org.pilotlight.after", "" | "0") => asked.after = Some(0),
                ("org.pilotlight.after", id) => asked.after = Some(own(id).ok_or_else(no_id)?),
                _ => {}
            }
        }
        let length = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        asked.bytes = length.unwrap_or(UNKNOWN_BYTES);
        Ok(asked)
    }
}

impl Asked {
    /// Who acts, and where the action stands, when its ID is in the query.
    pub(super) fn of(&self, session: &Session) -> ApiResult<(Actor, Option<Order>)> {
        let action = self.action.map(|id| OwnedTransactionId::from(id.to_string()));
        Ok((Actor::new(session, action), self.order(self.action)?))
    }

    /// Where the action stands, when its ID is in the path.
    pub(super) fn with(&self, transaction: &TransactionId) -> ApiResult<Option<Order>> {
        self.order(own(transaction.as_str()))
    }

    fn order(&self, id: Option<u64>) -> ApiResult<Option<Order>> {
        let (after, bytes) = (self.after, self.bytes);
        match (id, after) {
            (None, None) => Ok(None),
            (None, Some(_)) => {
                Err(ApiError::invalid_param("org.pilotlight.after: this action has no ID that is an integer"))
            }
            (Some(id), Some(after)) if after >= id => Err(ApiError::invalid_param(
                "org.pilotlight.after: an action comes after one with a lower ID",
            )),
            (Some(id), _) => Ok(Some(Order { id, after, bytes })),
        }
    }
}

/// An action ID, in the one form that an integer has.
fn own(id: &str) -> Option<u64> {
    let number = id.parse::<u64>().ok().filter(|id| (1..=MAX_ACTION_ID).contains(id))?;
    (number.to_string() == id).then_some(number)
}

fn no_id() -> ApiError {
    ApiError::invalid_param(format!("an action ID is an integer from 1 to {MAX_ACTION_ID}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_id_is_an_integer_in_one_form() {
        for (text, id) in [
            ("1", Some(1)),
            ("9007199254740991", Some(MAX_ACTION_ID)),
            ("9007199254740992", None),
            ("0", None),
            ("007", None),
            ("+7", None),
            ("-7", None),
            ("7.0", None),
            ("", None),
            ("m17.3", None),
        ] {
            assert_eq!(own(text), id, "{text}");
        }
    }
}
