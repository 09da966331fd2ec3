//! The accept loop: small buffers per connection, a place for each, and an orderly end.

use std::{
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use super::{
    connection::{Connection, House, Shortcut, http},
    handover::Talk,
    patience::{Patient, Phase},
    places::{Guest, Places, RETRY_AFTER_S, TOO_MANY},
    proxies::Proxies,
};
use crate::server::metrics::Requests;

/// How long requests in flight may take to end after the shutdown began.
const DRAIN: Duration = Duration::from_millis(2500);

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client's connection may be silent between two requests: longer than those who keep connections for
/// themselves, as proxies and clients do, so that it is they who end one, and none is ended while a request begins.
const CLIENT_SILENCE: Duration = Duration::from_secs(120);

/// How long another server's connection may be silent: longer than [`crate::server::federation::client`] lets
/// it be, and longer than the time between two reminders.
const SERVER_SILENCE: Duration = Duration::from_secs(210);

/// One listener's door.
pub struct Door {
    /// Where connections come in.
    pub listener: TcpListener,
    /// With it, as between servers, each connection begins with a handshake, and is kept open longer; and answers
    /// have no `Date`, which nobody there reads.
    pub tls: Option<Arc<ServerConfig>>,
    /// How many there may be.
    pub places: Places,
    /// Who is believed about others' addresses.
    pub proxies: Proxies,
    /// Counts the answers.
    pub requests: Arc<Requests>,
    /// Answers what needs no router; `None`: everything needs it.
    pub shortcut: Option<Shortcut>,
}

/// All that is done on one connection but for a talk that takes it for itself.
type Served = Pin<Box<dyn Future<Output = Result<Option<Talk>, hyper::Error>> + Send>>;

impl Door {
    /// Serves `router` until `shutdown` completes, then lets requests in flight end.
    pub async fn serve(self, router: Router, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        let house = Arc::new(House {
            router,
            shortcut: self.shortcut.clone(),
            places: self.places.clone(),
            proxies: self.proxies.clone(),
            requests: Arc::clone(&self.requests),
        });
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = async {
                // A place first: who finds none waits in the system's queue, and the files the database needs
                // are not taken.
                let place = self.places.free().await;
                (self.listener.accept().await, place)
            };
            let ((stream, peer), place) = tokio::select! {
                () = &mut shutdown => break,
                accepted = accepted => match accepted {
                    (Ok(accepted), place) => (accepted, place),
                    (Err(e), _) => {
                        // Out of file descriptors, or a connection gone before it was accepted: go on, slowly.
                        tracing::warn!(error = %e, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            let Some(guest) = self.admit(peer) else {
                tracing::debug!("too many connections from one address");
                self.turn_away(&stream);
                continue;
            };
            if let Err(e) = stream.set_nodelay(true) {
                tracing::debug!(error = %e, "cannot set TCP_NODELAY");
            }
            let connection = self.connection(&house, stream, peer, stopped.clone());
            let open = stopped.clone();
            tokio::spawn(async move {
                match connection.await {
                    Ok(Some(talk)) => talk.await,
                    Ok(None) => {}
                    Err(e) => tracing::trace!(error = %e, "connection ended early"),
                }
                drop((place, guest, open));
            });
        }
        drop((self.listener, stopped));
        stop.send_replace(true);
        tokio::select! {
            () = stop.closed() => {}
            () = tokio::time::sleep(DRAIN) => tracing::warn!("requests were still in flight at the end"),
        }
    }

    /// Lets a connection in, unless there are enough of its address. A proxy's are as many as it likes: what it
    /// hands in counts for others.
    fn admit(&self, peer: SocketAddr) -> Option<Option<Guest>> {
        if self.proxies.contain(peer.ip()) {
            return Some(None);
        }
        self.places.admit(self.proxies.origin(Some(peer.ip()), &http::HeaderMap::new())).map(Some)
    }

    /// Tells a client why it is not let in, if that can be done at once.
    fn turn_away(&self, stream: &TcpStream) {
        if self.tls.is_some() {
            return;
        }
        let length = TOO_MANY.len();
        let answer = format!(
            "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
             access-control-allow-origin: *\r\nretry-after: {RETRY_AFTER_S}\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n{TOO_MANY}"
        );
        if let Err(e) = stream.try_write(answer.as_bytes()) {
            tracing::trace!(error = %e, "who is not let in is not told");
        }
    }

    /// What is done with a connection. Boxed, each kind by itself: a task would hold what it is given twice, and
    /// room for TLS with it.
    fn connection(
        &self,
        house: &Arc<House>,
        stream: TcpStream,
        peer: SocketAddr,
        stopped: watch::Receiver<bool>,
    ) -> Served {
        let phase = Phase::new();
        let connection = Connection { house: Arc::clone(house), peer, phase: Arc::clone(&phase), stopped };
        match self.tls.clone() {
            None => Box::pin(connection.serve_client(Patient::new(stream, phase, CLIENT_SILENCE))),
            Some(tls) => Box::pin(async move {
                let handshake = TlsAcceptor::from(tls).accept(stream);
                match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
                    Ok(Ok(stream)) => {
                        let mut http = http();
                        http.auto_date_header(false);
                        let stream = Patient::new(stream, phase, SERVER_SILENCE);
                        connection.serve_server(http, stream).await?;
                        Ok(None)
                    }
                    Ok(Err(e)) => {
                        tracing::debug!(error = %e, "TLS handshake failed");
                        Ok(None)
                    }
                    Err(_) => {
                        tracing::debug!("TLS handshake timed out");
                        Ok(None)
                    }
                }
            }),
        }
    }
}
