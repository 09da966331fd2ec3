//! Rooms over HTTP: one module per subject, one thin function per endpoint.

mod action;
mod create;
mod directory;
mod entry;
mod form;
mod membership;
mod messages;
mod send;
mod state;

use std::sync::Arc;

use axum::Router;

use crate::server::app::App;

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
