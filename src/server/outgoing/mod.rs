//! Speaking to others over HTTP: which addresses may be dialled, whose certificates are believed, and how many connections
//! there may be. On it stand federation, push gateways and application services.

pub mod addresses;
pub mod client;
pub mod connect;
pub mod lines;
pub mod look_ups;
pub mod pool;
pub mod shares;
pub mod tls;
