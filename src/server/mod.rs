//! The homeserver: configuration, HTTP, client API, rooms and store; drives the core.
//!
//! A request comes in through [`http`], is parsed into a type and handed to a function in [`api`],
//! which asks the domain modules (`accounts`, `rooms`, `presence`, `sync`). Only [`store`] knows SQL.

pub mod api;
pub mod app;
pub mod config;
pub mod http;
pub mod receipts;
pub mod store;
pub mod sync;
pub mod to_device;
pub mod typing;
pub mod wake;

use std::sync::Arc;

use tokio::net::TcpListener;

pub use self::{app::App, config::Config};

/// Runs the homeserver until `shutdown` completes.
///
/// # Errors
/// [`ServeError`] when the store cannot be opened or the address cannot be bound.
pub async fn serve(
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let address = config.listen;
    let app = App::open(config)?;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Bind { address: address.to_string(), source })?;
    tracing::info!(address = %listener.local_addr().map_or_else(|_| address, |a| a), server_name = %app.config.server_name, "serving");
    http::serve(listener, http::router(Arc::clone(&app)), shutdown).await;
    app.close().await;
    Ok(())
}

/// Why the homeserver could not start.
#[derive(Debug)]
pub enum ServeError {
    /// The database in `data_dir` cannot be used.
    Store(store::OpenError),
    /// Nothing can listen at this address.
    Bind {
        /// The address asked for.
        address: String,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(e) => write!(f, "{e}"),
            Self::Bind { address, source } => write!(f, "cannot listen on {address}: {source}"),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<store::OpenError> for ServeError {
    fn from(e: store::OpenError) -> Self {
        Self::Store(e)
    }
}
