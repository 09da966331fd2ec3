//! Connections that are kept for the next request, each on one of the lines.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connect, Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::lines::Line;

/// Connections that a dialer makes, and keeps.
pub type Pool<C> = Client<C, Full<Bytes>>;

/// Connections made by `dialer`, of which so many to one host are kept; one that was not used for as long as `idle` is
/// closed.
pub fn pool<C: Connect + Clone>(dialer: C, kept: usize, idle: Duration) -> Pool<C> {
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(kept)
        .pool_idle_timeout(idle)
        // Without it nobody looks for those that are idle for too long.
        .pool_timer(TokioTimer::new())
        .build(dialer)
}

/// The cause at the bottom of an error: "certificate expired" rather than "client error".
pub fn innermost(mut e: &(dyn std::error::Error + 'static)) -> String {
    while let Some(source) = e.source() {
        e = source;
    }
    e.to_string()
}

/// A connection on its line, with what the pool asks of it.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    line: Line,
}

#[derive(Debug)]
enum Stream {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Wire {
    /// A connection with TLS.
    pub fn tls(stream: TlsStream<TcpStream>, line: Line) -> Self {
        Self { stream: Stream::Tls(Box::new(TokioIo::new(stream))), line }
    }

    /// A connection that everybody on the way can read.
    pub fn plain(stream: TcpStream, line: Line) -> Self {
        Self { stream: Stream::Plain(TokioIo::new(stream)), line }
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if !self.line.is_kept() {
            // Good for one request: there has to be a line for the next host.
            connected.poison();
        }
        connected
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use http::{Request, StatusCode, Uri};

    use super::*;

    #[tokio::test]
    async fn a_connection_on_which_nothing_is_said_is_closed() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut head = [0; 4096];
            assert!(stream.read(&mut head).expect("a request") > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("is sent");
            stream.set_read_timeout(Some(Duration::from_secs(60))).expect("can be set");
            stream.read(&mut head).expect("is closed in time")
        });
        let dialer = tower::service_fn(move |_: Uri| {
            Box::pin(async move { TcpStream::connect(address).await.map(TokioIo::new) })
        });
        let pool = pool(dialer, 1, Duration::from_millis(100));
        let request = Request::get("http://peer/").body(Full::default()).expect("a request");
        assert_eq!(pool.request(request).await.expect("is answered").status(), StatusCode::OK);
        let closed = tokio::task::spawn_blocking(move || peer.join().expect("no panic"));
        assert_eq!(closed.await.expect("ends"), 0);
    }
}
