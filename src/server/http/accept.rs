//! The accept loop: small buffers per connection, and an orderly end.

use std::{
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::TokioIo, rt::TokioTimer, server::graceful::GracefulShutdown, service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_rustls::TlsAcceptor;
use tower::{Service, service_fn};

use super::open_files::most_connections;
use crate::server::metrics::{Class, Requests};

/// How long requests in flight may take to end after the shutdown began.
const DRAIN: Duration = Duration::from_millis(2500);

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take to send its request head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long another server's connection may be silent: longer than [`crate::server::federation::client`] lets
/// it be, and longer than the time between two reminders.
const SERVER_SILENCE: Duration = Duration::from_secs(210);

/// Where a request came from; in the extensions of every request.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddress(pub SocketAddr);

/// All that happens on one connection.
type Connection = Pin<Box<dyn Future<Output = Result<(), hyper::Error>> + Send>>;

/// Serves `router` on `listener` until `shutdown` completes, then lets requests in flight end.
///
/// With `tls`, as between servers, each connection begins with a handshake, and is kept open longer; and
/// answers have no `Date`, which nobody there reads. Answers are counted in `requests`.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    requests: Arc<Requests>,
    shutdown: impl Future<Output = ()>,
) {
    let mut http = http1::Builder::new();
    // A long poll holds its connection for minutes: its memory is these buffers.
    http.max_buf_size(8192).timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    if tls.is_some() {
        http.header_read_timeout(SERVER_SILENCE).auto_date_header(false);
    }
    let connections = GracefulShutdown::new();
    let free = Arc::new(Semaphore::new(most_connections()));
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = async {
            // A place first: who finds none waits in the system's queue, and the files the database needs
            // are not taken.
            let place = Arc::clone(&free).acquire_owned().await;
            (listener.accept().await, place)
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
        if let Err(e) = stream.set_nodelay(true) {
            tracing::debug!(error = %e, "cannot set TCP_NODELAY");
        }
        let (mut router, requests) = (router.clone(), Arc::clone(&requests));
        let service = TowerToHyperService::new(service_fn(move |request: http::Request<Incoming>| {
            let class = Class::of(request.uri().path());
            let mut request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(PeerAddress(peer));
            let (answer, requests) = (router.call(request), Arc::clone(&requests));
            async move {
                let answer = answer.await;
                if let Ok(answer) = &answer {
                    requests.count(class, answer.status());
                }
                answer
            }
        }));
        let (http, watcher) = (http.clone(), connections.watcher());
        // Boxed, each by itself: a task would hold what it is given twice, and room for TLS with it.
        let connection: Connection = match tls.clone() {
            None => Box::pin(watcher.watch(http.serve_connection(TokioIo::new(stream), service))),
            Some(tls) => Box::pin(async move {
                match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        watcher.watch(http.serve_connection(TokioIo::new(stream), service)).await
                    }
                    Ok(Err(e)) => {
                        tracing::debug!(error = %e, "TLS handshake failed");
                        Ok(())
                    }
                    Err(_) => {
                        tracing::debug!("TLS handshake timed out");
                        Ok(())
                    }
                }
            }),
        };
        tokio::spawn(async move {
            if let Err(e) = connection.await {
                tracing::trace!(error = %e, "connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    tokio::select! {
        () = connections.shutdown() => {}
        () = tokio::time::sleep(DRAIN) => tracing::warn!("requests were still in flight at the end"),
    }
}
