//! The running homeserver: listeners, tasks, and the order of stopping.

use std::{net::SocketAddr, sync::Arc};

use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::{
    api::control,
    app::{App, error::ServeError},
    clock::Clock,
    config::{self, Config},
    http::{Connections, Door, Places, proxies::Proxies},
    outgoing::tls,
    router,
};

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
        Self::bind_with(config, Clock::system()).await
    }

    /// The same on the time of `clock`.
    ///
    /// # Errors
    /// As for [`Self::bind`].
    pub async fn bind_with(config: Config, clock: Clock) -> Result<Self, ServeError> {
        let app = App::open(config, clock).await?;
        let (listener, address) = listen(app.config.listen).await?;
        let federation = match &app.config.federation {
            config::Federation {
                listen: Some(at),
                tls_certificate: Some(chain),
                tls_private_key: Some(key),
                ..
            } => {
                let tls = tls::server_config(chain, key)?;
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
        let federation = self.federation_address().map(tracing::field::display);
        tracing::info!(address = %self.address, federation, server_name = %self.app.server_name(), "serving");
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
        let allowed = Connections::allowed();
        let for_one = usize::try_from(self.app.config.connections.per_address).unwrap_or(usize::MAX);
        let proxies = Proxies::new(self.app.config.trusted_proxies.clone());
        let door = |listener, tls, places| Door {
            listener,
            tls,
            places: Places::new(places, for_one),
            proxies: proxies.clone(),
            requests: requests(),
            shortcut: None,
        };
        let shortcut = Some(router::shortcut(Arc::clone(&self.app)));
        let clients = Door { shortcut, ..door(self.listener, None, allowed.clients) }
            .serve(router::router(Arc::clone(&self.app)), until_stopped());
        let servers = async {
            if let Some((listener, tls)) = self.federation {
                let router = router::federation_router(Arc::clone(&self.app));
                let door = door(listener, Some(tls), allowed.servers);
                door.serve(router, until_stopped()).await;
            }
        };
        let metrics = async {
            if let Some(listener) = self.metrics {
                // Counted apart: what is read here is not changed by the reading.
                let router = control::metrics::router(Arc::clone(&self.app));
                let door = Door { requests: Arc::default(), ..door(listener, None, allowed.operator) };
                door.serve(router, until_stopped()).await;
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
        let tasks = Tasks::start(&self.app);
        tokio::join!(clients, servers, metrics, control, stop);
        if let Some(federation) = &self.app.federation {
            federation.send_rest().await;
        }
        self.app.push.settle().await;
        drop(tasks);
        self.app.rooms.stop_receiving();
        self.app.close().await;
        tracing::info!("stopped");
    }
}

/// What runs beside the requests, until this is dropped.
#[derive(Debug)]
struct Tasks(Vec<JoinHandle<()>>);

impl Tasks {
    fn start(app: &Arc<App>) -> Self {
        let (presence, typing) = (Arc::clone(&app.presence), Arc::clone(&app.typing));
        let app_services = Arc::clone(&app.app_services);
        let mut tasks = vec![
            tokio::spawn(async move { presence.run().await }),
            tokio::spawn(async move { typing.run().await }),
            tokio::spawn(app_services.run()),
            tokio::spawn(Arc::clone(app).see_guests_off()),
            tokio::spawn({
                let push = Arc::clone(&app.push);
                async move { push.run().await }
            }),
        ];
        if let Some(federation) = app.federation.clone() {
            tasks.push(tokio::spawn(async move { federation.run().await }));
            tasks.push(tokio::spawn(Arc::clone(app).look_again()));
            tasks.push(tokio::spawn(Arc::clone(app).tell_of_devices()));
            tasks.push(tokio::spawn(Arc::clone(app).take_up_events()));
        }
        Self(tasks)
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Takes an address; with port 0 the system chooses the port.
async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let cannot_bind = |source| ServeError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(cannot_bind)?;
    let actual = listener.local_addr().map_err(cannot_bind)?;
    Ok((listener, actual))
}
