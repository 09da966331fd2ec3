//! The homeserver: configuration, HTTP, client API, rooms and store; drives the core.
//!
//! A request comes in through [`http`], is parsed into a type and handed to a function in [`api`],
//! which asks the domain modules (`accounts`, `rooms`, `presence`, `sync`). Only [`store`] knows SQL.

pub mod accounts;
pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod contacts;
pub mod control;
pub mod federation;
pub mod http;
pub mod keys;
pub mod log;
pub mod metrics;
pub mod presence;
pub mod receipts;
pub mod rooms;
pub mod simulate;
pub mod store;
pub mod sync;
pub mod to_device;
pub mod typing;
pub mod wake;
pub mod web;

use std::{net::SocketAddr, sync::Arc};

use tokio::{net::TcpListener, sync::watch};
use tokio_rustls::TlsAcceptor;

pub use self::{app::App, config::Config};

/// A homeserver that is listening, but does not answer yet.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    address: SocketAddr,
    federation: Option<(TcpListener, Arc<rustls::ServerConfig>)>,
    metrics: Option<TcpListener>,
    control: Option<control::Control>,
}

impl Server {
    /// Opens the store and takes the addresses.
    ///
    /// # Errors
    /// [`ServeError`] when the store cannot be opened or an address cannot be taken.
    pub async fn bind(config: Config) -> Result<Self, ServeError> {
        let app = App::open(config).await?;
        let (listener, address) = listen(app.config.listen).await?;
        let federation = match &app.config.federation {
            config::Federation {
                listen: Some(at),
                tls_certificate: Some(chain),
                tls_private_key: Some(key),
                ..
            } => {
                let tls = federation::tls::server_config(chain, key)?;
                Some((listen(*at).await?.0, tls))
            }
            _ => None,
        };
        let metrics = match app.config.metrics.listen {
            Some(at) => Some(listen(at).await?.0),
            None => None,
        };
        let control = control::Control::bind(&app.config.data_dir);
        let control = control
            .inspect_err(|e| tracing::warn!(error = %e, "no control socket: `pilotlight peers` cannot ask"))
            .ok();
        Ok(Self { app, listener, address, federation, metrics, control })
    }

    /// The address at which other servers are answered, if they are.
    pub fn federation_address(&self) -> Option<SocketAddr> {
        self.federation.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// The address at which Prometheus is answered, if it is.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// The address it listens at; the actual one, when port 0 was configured.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The parts that handle requests.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Answers requests until `shutdown` completes, finishes those in flight, and closes the store.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        tracing::info!(address = %self.address, server_name = %self.app.server_name(), "serving");
        let (stop, stopped) = watch::channel(false);
        let until_stopped = || {
            let mut stopped = stopped.clone();
            async move {
                if stopped.wait_for(|stop| *stop).await.is_err() {
                    tracing::trace!("nobody is left to say when to stop: this is when");
                }
            }
        };
        let requests = || Arc::clone(&self.app.metrics.requests);
        let clients = http::serve(
            self.listener,
            None,
            http::router(Arc::clone(&self.app)),
            requests(),
            until_stopped(),
        );
        let servers = async {
            if let Some((listener, tls)) = self.federation {
                let router = http::federation_router(Arc::clone(&self.app));
                let tls = Some(TlsAcceptor::from(tls));
                http::serve(listener, tls, router, requests(), until_stopped()).await;
            }
        };
        let metrics = async {
            if let Some(listener) = self.metrics {
                // Counted apart: what is read here is not changed by the reading.
                let router = metrics::router(Arc::clone(&self.app));
                http::serve(listener, None, router, Arc::default(), until_stopped()).await;
            }
        };
        let control = async {
            if let Some(control) = self.control {
                control.serve(Arc::clone(&self.app), until_stopped()).await;
            }
        };
        let stop = async {
            shutdown.await;
            // Long polls answer at once with what they have.
            self.app.wakers.close();
            stop.send_replace(true);
        };
        let timers = tokio::spawn(presence::run(Arc::clone(&self.app)));
        let across = tokio::spawn(federation::presence::run(Arc::clone(&self.app)));
        let deliveries = tokio::spawn(federation::deliver::run(Arc::clone(&self.app)));
        tokio::join!(clients, servers, metrics, control, stop);
        self.app.send_rest().await;
        timers.abort();
        across.abort();
        deliveries.abort();
        self.app.close().await;
        tracing::info!("stopped");
    }
}

/// Why the homeserver could not start.
#[derive(Debug)]
pub enum ServeError {
    /// The database in `data_dir` cannot be used.
    Store(store::OpenError),
    /// A certificate or key file cannot be used.
    Tls(federation::TlsError),
    /// Nothing can listen at this address.
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(e) => write!(f, "{e}"),
            Self::Tls(e) => write!(f, "{e}"),
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

impl From<federation::TlsError> for ServeError {
    fn from(e: federation::TlsError) -> Self {
        Self::Tls(e)
    }
}

/// Takes an address; with port 0 the system chooses the port.
async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let cannot_bind = |source| ServeError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(cannot_bind)?;
    let actual = listener.local_addr().map_err(cannot_bind)?;
    Ok((listener, actual))
}
