//! Rooms over the wire: what servers that take part in a room ask of each other.

mod directory;
mod entrance;
mod form;
mod graph;
mod invite;
mod spaces;

use std::sync::Arc;

use axum::Router;

use crate::server::app::App;

/// The routes of these modules.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .merge(directory::routes())
        .merge(entrance::routes())
        .merge(graph::routes())
        .merge(invite::routes())
        .merge(spaces::routes())
}
