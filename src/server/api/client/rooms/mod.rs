//! Rooms over HTTP: one module per subject, one thin function per endpoint.

mod action;
mod create;
mod directory;
mod entry;
mod form;
mod initial_sync;
mod membership;
mod messages;
mod search;
mod send;
mod state;
mod summary;
mod threads;
mod via;

pub(super) use self::{form::with_relations, messages::check_heard};

use std::sync::Arc;

use axum::Router;

use crate::server::app::App;

/// The routes of these modules.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .merge(create::routes())
        .merge(directory::routes())
        .merge(initial_sync::routes())
        .merge(membership::routes())
        .merge(messages::routes())
        .merge(search::routes())
        .merge(summary::routes())
        .merge(threads::routes())
        .merge(send::routes())
        .merge(state::routes())
}
