//! One connection to another server: the first address that answers, within a time limit.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{ClientConfig, pki_types::ServerName as TlsName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How we introduce ourselves to other servers, of whatever kind.
pub const USER_AGENT: &str = concat!("pilotlight/", env!("CARGO_PKG_VERSION"));

/// How long one address may take to accept, and to finish the TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Addresses of one server that are tried at most.
pub const ADDRESSES: usize = 4;

/// Connects to the first of `addresses` that answers and shows a certificate for `tls_name`.
///
/// # Errors
/// Of the address tried last.
pub async fn connect(
    addresses: &[SocketAddr],
    tls_name: &TlsName<'static>,
    tls: &Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    first(addresses, |address| connect_to(address, tls_name, tls)).await
}

/// Connects to the first of `addresses` that answers, without TLS.
///
/// # Errors
/// Of the address tried last.
pub async fn connect_plain(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    first(addresses, |address| in_time(reach(address))).await
}

/// Connects to `address`, which must show a certificate for `tls_name`.
///
/// # Errors
/// Of the system, or of TLS: then the source of the error says what is wrong with the certificate.
pub async fn connect_to(
    address: SocketAddr,
    tls_name: &TlsName<'static>,
    tls: &Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    in_time(async {
        let stream = reach(address).await?;
        TlsConnector::from(Arc::clone(tls)).connect(tls_name.clone(), stream).await
    })
    .await
}

async fn first<S, F: Future<Output = io::Result<S>>>(
    addresses: &[SocketAddr],
    attempt: impl Fn(SocketAddr) -> F,
) -> io::Result<S> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses.iter().take(ADDRESSES) {
        match attempt(*address).await {
            Ok(stream) => return Ok(stream),
            Err(e) => failure = e,
        }
    }
    Err(failure)
}

async fn reach(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn in_time<S>(attempt: impl Future<Output = io::Result<S>>) -> io::Result<S> {
    tokio::time::timeout(CONNECT_TIMEOUT, attempt)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
