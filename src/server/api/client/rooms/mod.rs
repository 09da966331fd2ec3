//! Rooms over HTTP: one module per subject, one thin function per endpoint.

mod create;
mod directory;
mod membership;
mod messages;
mod send;
mod state;

use std::sync::Arc;

use axum::Router;
use serde_json::value::RawValue;

use crate::server::{
    api::error::{ApiError, ApiResult},
    app::App,
    change::position::LogPosition,
    event::{
        client::{ClientFormat, client_event},
        stored::StoredEvent,
    },
    session::Session,
    stream::Token,
};

/// The routes of these modules.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .merge(create::routes())
        .merge(directory::routes())
        .merge(membership::routes())
        .merge(messages::routes())
        .merge(send::routes())
        .merge(state::routes())
}

/// An event by itself, as the session's device sees it.
fn client_json(app: &App, session: &Session, event: &StoredEvent) -> Box<RawValue> {
    client_event(event, session, app.unix_ms(), ClientFormat::Full, None)
}

/// The position in the log that a client's token means.
fn position(token: &str) -> ApiResult<LogPosition> {
    token
        .parse()
        .map(|token: Token| token.log())
        .map_err(|_| ApiError::invalid_param("this is not a token of this server"))
}

/// The token of a position in the log; a stream that goes on from it is told everything live.
fn token(position: LogPosition) -> String {
    Token::at(position).to_string()
}
