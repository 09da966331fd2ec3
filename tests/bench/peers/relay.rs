//! Stands before a homeserver's federation port, with its name and its certificate: counts what comes on
//! the wire and the transactions in it, and passes everything on. TLS ends here and begins anew.

use std::{
    io,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector, client,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig, crypto,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

use crate::Error;

/// What went to one server so far, in both directions of its connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Transactions.
    pub transactions: u64,
    /// Reminders in the brief form, which are no transactions.
    pub reminders: u64,
    /// The bytes of their bodies.
    pub body: u64,
    /// Bytes of TCP payload: TLS and HTTP with it, answers too.
    pub wire: u64,
    /// Connections that were opened.
    pub connections: u64,
}

#[derive(Debug, Default)]
struct Counters {
    transactions: AtomicU64,
    reminders: AtomicU64,
    body: AtomicU64,
    wire: AtomicU64,
    connections: AtomicU64,
}

/// A running relay; it ends with the process.
pub struct Relay(Arc<Counters>);

/// How both sides of a relay speak TLS.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl Tls {
    /// With the certificate of `localhost` that `scripts/make-ca.sh` made in `dir`.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        let provider = Arc::new(crypto::ring::default_provider());
        let chain = CertificateDer::pem_file_iter(dir.join("localhost.pem"))?.collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_file(dir.join("localhost.key"))?;
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(dir.join("ca.pem"))?)?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { acceptor: Arc::new(server).into(), connector: Arc::new(client).into() })
    }
}

impl Relay {
    /// Listens at `port` of loopback and passes on to `target` there.
    pub async fn start(port: u16, target: u16, tls: Tls) -> Result<Self, Error> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let counters: Arc<Counters> = Arc::default();
        let relay = Self(Arc::clone(&counters));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (tls, counters) = (tls.clone(), Arc::clone(&counters));
                tokio::spawn(async move {
                    if let Err(error) = pass(socket, target, &tls, &counters).await {
                        eprintln!("relay: {error}");
                    }
                });
            }
        });
        Ok(relay)
    }

    /// What went through so far.
    pub fn count(&self) -> Count {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Count {
            transactions: value(&self.0.transactions),
            reminders: value(&self.0.reminders),
            body: value(&self.0.body),
            wire: value(&self.0.wire),
            connections: value(&self.0.connections),
        }
    }
}

impl std::ops::Sub for Count {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            transactions: self.transactions - before.transactions,
            reminders: self.reminders - before.reminders,
            body: self.body - before.body,
            wire: self.wire - before.wire,
            connections: self.connections - before.connections,
        }
    }
}

/// One connection: requests and answers in turn, until the client closes it.
async fn pass(socket: TcpStream, target: u16, tls: &Tls, counters: &Arc<Counters>) -> Result<(), Error> {
    socket.set_nodelay(true)?;
    counters.connections.fetch_add(1, Ordering::Relaxed);
    let mut near = tls.acceptor.accept(Counting { socket, counters: Arc::clone(counters) }).await?;
    let mut far: Option<client::TlsStream<TcpStream>> = None;
    while let Some(request) = message(&mut near).await? {
        note(&request, counters);
        let far = match &mut far {
            Some(far) => far,
            None => {
                let socket = TcpStream::connect(("127.0.0.1", target)).await?;
                socket.set_nodelay(true)?;
                let name = ServerName::try_from("localhost")?;
                far.insert(tls.connector.connect(name, socket).await?)
            }
        };
        far.write_all(&request).await?;
        far.flush().await?;
        let answer = message(far).await?.ok_or("the server behind the relay hung up")?;
        near.write_all(&answer).await?;
        near.flush().await?;
    }
    near.shutdown().await?;
    Ok(())
}

/// The bytes of one request or answer; `None` if the connection ends before it.
async fn message(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Vec<u8>>, Error> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        match stream.read_buf(&mut bytes).await {
            Ok(0) if bytes.is_empty() => return Ok(None),
            Err(error) if bytes.is_empty() && error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(None);
            }
            Ok(0) => return Err("a message ends in its head".into()),
            read => drop(read?),
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    if text.contains("\r\ntransfer-encoding:") {
        return Err("a message in chunks".into());
    }
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    while bytes.len() < head + length.unwrap_or(0) {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err("a message ends in its body".into());
        }
    }
    Ok(Some(bytes))
}

fn note(request: &[u8], counters: &Counters) {
    if request.starts_with(b"GET /_matrix/federation/unstable/org.pilotlight/r/") {
        counters.reminders.fetch_add(1, Ordering::Relaxed);
    } else if request.starts_with(b"PUT /_matrix/federation/v1/send/") {
        let head = request.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |end| end + 4);
        counters.transactions.fetch_add(1, Ordering::Relaxed);
        counters.body.fetch_add((request.len() - head) as u64, Ordering::Relaxed);
    }
}

/// A connection whose bytes are counted.
struct Counting {
    socket: TcpStream,
    counters: Arc<Counters>,
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        self.counters.wire.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.socket).poll_write(cx, bytes))?;
        self.counters.wire.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
