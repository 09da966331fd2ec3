//! The client-server API: one module per subject, one thin function per endpoint.
//!
//! A function here parses, asks a service, and answers; rules live in the services.

mod account;
mod account_data;
mod app_services;
mod capabilities;
mod contacts;
mod cross_signing;
mod devices;
mod events;
mod filter;
mod key_backup;
mod keys;
mod media;
mod openid;
mod presence;
mod profile;
mod push_rules;
mod pushers;
mod receipts;
mod register;
mod report;
mod rooms;
mod session;
pub mod sliding;
mod stream;
mod sync;
mod to_device;
mod turn;
mod typing;
pub mod uia;
mod user_directory;
mod versions;

use std::sync::Arc;

use axum::{Router, http::Request};

use crate::server::{app::App, http::Making};

/// Answers, without a router, those requests that come most; `None`: it is another, or needs more to be answered. Says and
/// counts what the router does.
pub fn shortcut(app: &Arc<App>, request: &Request<()>) -> Option<Making> {
    sync::shortcut(app, request)
}

/// Every route of the client-server API.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .merge(account::routes())
        .merge(account_data::routes())
        .merge(app_services::routes())
        .merge(capabilities::routes())
        .merge(contacts::routes())
        .merge(cross_signing::routes())
        .merge(devices::routes())
        .merge(events::routes())
        .merge(filter::routes())
        .merge(presence::routes())
        .merge(key_backup::routes())
        .merge(keys::routes())
        .merge(openid::routes())
        .merge(media::routes())
        .merge(profile::routes())
        .merge(push_rules::routes())
        .merge(pushers::routes())
        .merge(receipts::routes())
        .merge(register::routes())
        .merge(report::routes())
        .merge(rooms::routes())
        .merge(session::routes())
        .merge(sliding::routes())
        .merge(stream::routes())
        .merge(sync::routes())
        .merge(to_device::routes())
        .merge(turn::routes())
        .merge(typing::routes())
        .merge(user_directory::routes())
        .merge(versions::routes())
}
