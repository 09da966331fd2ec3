//! Small files over HTTPS from hosts named by strangers: bounded in size, time and redirects.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName as TlsName};

use crate::server::outgoing::{
    addresses::Allowed,
    connect::{USER_AGENT, connect},
    lines::Lines,
    look_ups::LookUps,
};

/// The largest file that is read, in bytes.
const MAX_SIZE: usize = 50 * 1024;

/// Redirects followed at most.
const MAX_REDIRECTS: usize = 5;

/// How long one hop may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Fetches public files.
#[derive(Clone, Debug)]
pub struct Fetch {
    tls: Arc<ClientConfig>,
    lines: Lines,
    look_ups: LookUps,
}

/// A file, and how long its server says that it holds.
#[derive(Debug)]
pub struct Fetched {
    /// The content.
    pub body: Bytes,
    /// `Cache-Control: max-age`, if given.
    pub max_age: Option<Duration>,
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FetchError(String);

impl Fetch {
    /// Fetches with the certification authorities of `tls`, over some of `lines`, what `look_ups` find.
    pub fn new(tls: Arc<ClientConfig>, lines: Lines, look_ups: LookUps) -> Self {
        Self { tls, lines, look_ups }
    }

    /// Gets `https://{host}{path}`, following redirects to other `https` places.
    ///
    /// # Errors
    /// [`FetchError`] when any bound is passed, an address may not be dialled, or the answer is not 200.
    pub async fn get(&self, host: &str, path: &str, allowed: &Allowed) -> Result<Fetched, FetchError> {
        let mut uri: Uri = format!("https://{host}{path}").parse().map_err(FetchError::new)?;
        for _ in 0..=MAX_REDIRECTS {
            let hop = tokio::time::timeout(TIMEOUT, self.hop(&uri, allowed));
            match hop.await.map_err(|_| FetchError::new("timed out"))?? {
                Hop::File(file) => return Ok(file),
                Hop::Redirect(location) => uri = location,
            }
        }
        Err(FetchError::new("too many redirects"))
    }

    async fn hop(&self, uri: &Uri, allowed: &Allowed) -> Result<Hop, FetchError> {
        let host = uri.host().ok_or_else(|| FetchError::new("no host"))?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found = self.look_ups.find(bare, uri.port_u16().unwrap_or(443)).await.map_err(FetchError::new)?;
        let addresses = allowed.among(&found).map_err(FetchError::new)?;
        let tls_name = TlsName::try_from(bare.to_owned()).map_err(FetchError::new)?;
        let _line = self.lines.take().await.map_err(FetchError::new)?;
        let stream = connect(&addresses, &tls_name, &self.tls).await.map_err(FetchError::new)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(FetchError::new)?;
        let request = Request::get(uri.path_and_query().map_or("/", |p| p.as_str()))
            .header(header::HOST, uri.authority().map_or(host, |a| a.as_str()))
            .header(header::USER_AGENT, USER_AGENT)
            .body(Empty::<Bytes>::new())
            .map_err(FetchError::new)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(FetchError::new)?;
            let status = response.status();
            if status.is_redirection() {
                let location = response.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
                return location
                    .and_then(|l| redirect(uri, l))
                    .map(Hop::Redirect)
                    .ok_or_else(|| FetchError::new("bad redirect"));
            }
            if status != StatusCode::OK {
                return Err(FetchError::new(status));
            }
            let max_age =
                response.headers().get(header::CACHE_CONTROL).and_then(|v| max_age(v.to_str().ok()?));
            let body = Limited::new(response.into_body(), MAX_SIZE)
                .collect()
                .await
                .map_err(FetchError::new)?
                .to_bytes();
            Ok(Hop::File(Fetched { body, max_age }))
        };
        tokio::select! {
            result = exchange => result,
            // The connection ends before the answer is complete only by an error.
            ended = connection => Err(FetchError::new(ended.err().map_or("connection closed".to_owned(), |e| e.to_string()))),
        }
    }
}

/// What one request leads to.
enum Hop {
    File(Fetched),
    Redirect(Uri),
}

/// Where `location` points to, seen from `from`. Only `https` is followed.
pub(in crate::server) fn redirect(from: &Uri, location: &str) -> Option<Uri> {
    let to: Uri = if location.starts_with('/') && !location.starts_with("//") {
        format!("https://{}{location}", from.authority()?).parse().ok()?
    } else {
        location.parse().ok()?
    };
    let has_host = to.host().is_some_and(|host| !host.is_empty());
    (to.scheme_str() == Some("https") && has_host).then_some(to)
}

/// The `max-age` of a `Cache-Control` header.
pub(in crate::server) fn max_age(header: &str) -> Option<Duration> {
    let value = header.split(',').find_map(|part| part.trim().strip_prefix("max-age="))?;
    value.parse().ok().map(Duration::from_secs)
}

impl FetchError {
    fn new(e: impl std::fmt::Display) -> Self {
        Self(e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_redirects_are_followed() {
        let from: Uri = "https://a.example/x".parse().unwrap();
        for (location, to) in [
            ("/y", Some("https://a.example/y")),
            ("https://b.example/z", Some("https://b.example/z")),
            ("http://b.example/z", None),
            ("//b.example/z", None),
            ("y", None),
            ("https://:8448/z", None),
            ("https://:.example/z", None),
        ] {
            assert_eq!(redirect(&from, location).map(|u| u.to_string()).as_deref(), to, "{location}");
        }
    }

    #[test]
    fn the_age_is_read_from_cache_control() {
        assert_eq!(max_age("public, max-age=60"), Some(Duration::from_secs(60)));
        assert_eq!(max_age("no-store"), None);
    }
}
