//! What the operator's commands ask a running server: HTTP on a Unix socket in the data folder, which only
//! the server's own user can open. Nothing can be changed through it.

pub mod metrics;
mod peers;

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{Json, Router, extract::State, routing::get};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::{UnixListener, UnixStream};

pub use self::peers::{Peer, Peers};
use crate::server::app::App;

/// The name of the socket.
const SOCKET: &str = "control.sock";

/// How long the server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The socket of a running server; removed when this is dropped.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    file: Removed,
}

/// A file that is removed when this is dropped.
#[derive(Debug)]
struct Removed(PathBuf);

/// Why the running server did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No server runs on this data folder.
    #[error("no server runs on {}", .0.display())]
    NotRunning(PathBuf),
    /// It cannot be asked, or its answer cannot be read; says why.
    #[error("the running server cannot be asked: {0}")]
    Failed(String),
}

impl Control {
    /// Opens the socket in `data_dir`, in place of one that a killed server left. The caller holds the lock
    /// of the folder.
    ///
    /// # Errors
    /// Of the system; a path of more than about 100 bytes is too long for a socket.
    pub fn bind(data_dir: &Path) -> std::io::Result<Self> {
        let (path, unfinished) = (data_dir.join(SOCKET), data_dir.join(format!("{SOCKET}.new")));
        match std::fs::remove_file(&unfinished) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {}
        }
        // Nobody else can open it before its mode is right: it has its name only then.
        let listener = UnixListener::bind(&unfinished)?;
        std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&unfinished, &path)?;
        Ok(Self { listener, file: Removed(path) })
    }

    /// Answers until `shutdown` completes; who is in the middle of asking then has no answer.
    pub async fn serve(self, app: Arc<App>, shutdown: impl Future<Output = ()>) {
        let Self { listener, file } = self;
        let router = Router::new().route("/peers", get(peers)).with_state(app);
        tokio::select! {
            () = shutdown => {}
            ended = axum::serve(listener, router) => {
                if let Err(e) = ended {
                    tracing::warn!(error = %e, "the control socket is closed");
                }
            }
        }
        drop(file);
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_file(&self.0) {
            tracing::debug!(error = %e, "the control socket cannot be removed");
        }
    }
}

async fn peers(State(app): State<Arc<App>>) -> Json<Peers> {
    Json(Peers::read(app.server_name(), app.federation.as_deref(), app.now()))
}

/// Asks the server that runs on `data_dir` how it stands with its peers.
///
/// # Errors
/// [`AskError`], above all when none runs.
pub async fn ask_peers(data_dir: &Path) -> Result<Peers, AskError> {
    tokio::time::timeout(TIMEOUT, ask(data_dir, "/peers"))
        .await
        .unwrap_or_else(|_| Err(AskError::Failed("the server does not answer".to_owned())))
}

async fn ask<T: DeserializeOwned>(data_dir: &Path, path: &str) -> Result<T, AskError> {
    fn failed(e: impl std::fmt::Display) -> AskError {
        AskError::Failed(e.to_string())
    }
    let socket = data_dir.join(SOCKET);
    let stream = UnixStream::connect(&socket).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
            AskError::NotRunning(data_dir.to_owned())
        }
        _ => failed(format_args!("{}: {e}", socket.display())),
    })?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let request = Request::get(path).header(header::HOST, "localhost").body(Empty::<Bytes>::new());
    let exchange = async {
        let response = sender.send_request(request.map_err(failed)?).await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(failed(response.status()));
        }
        let body = response.into_body().collect().await.map_err(failed)?.to_bytes();
        serde_json::from_slice(&body).map_err(failed)
    };
    tokio::select! {
        answer = exchange => answer,
        ended = connection => Err(failed(ended.err().map_or("the server closed".to_owned(), |e| e.to_string()))),
    }
}
