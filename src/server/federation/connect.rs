//! One TLS connection to another server: the first address that answers, within a time limit.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{ClientConfig, pki_types::ServerName as TlsName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How we introduce ourselves to other servers.
pub(super) const USER_AGENT: &str = concat!("pilotlight/", env!("CARGO_PKG_VERSION"));

/// How long one address may take to accept, and to finish the TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Addresses of one server that are tried at most.
pub(super) const ADDRESSES: usize = 4;

/// Connects to the first of `addresses` that answers and shows a certificate for `tls_name`.
///
/// # Errors
/// Of the address tried last.
pub(super) async fn connect(
    addresses: &[SocketAddr],
    tls_name: &TlsName<'static>,
    tls: &Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses.iter().take(ADDRESSES) {
        match connect_to(*address, tls_name, tls).await {
            Ok(stream) => return Ok(stream),
            Err(e) => failure = e,
        }
    }
    Err(failure)
}

/// Connects to `address`, which must show a certificate for `tls_name`.
///
/// # Errors
/// Of the system, or of TLS: then the source of the error says what is wrong with the certificate.
pub(super) async fn connect_to(
    address: SocketAddr,
    tls_name: &TlsName<'static>,
    tls: &Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let attempt = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(Arc::clone(tls)).connect(tls_name.clone(), stream).await
    };
    tokio::time::timeout(CONNECT_TIMEOUT, attempt)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
