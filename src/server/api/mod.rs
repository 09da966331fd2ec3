//! The client-server API: one module per subject, one thin function per endpoint.
//!
//! A function here parses, asks a domain module, and answers; rules live in the domain modules.

mod account;
mod devices;
mod profile;
mod register;
mod rooms;
mod session;
mod versions;

use std::sync::Arc;

use axum::Router;

use super::app::App;

/// Every route of the client-server API.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .merge(account::routes())
        .merge(devices::routes())
        .merge(profile::routes())
        .merge(register::routes())
        .merge(rooms::routes())
        .merge(session::routes())
        .merge(versions::routes())
}
