//! What has begun is brought to its end.

/// The work panicked, or the server ended.
#[derive(Debug, thiserror::Error)]
#[error("interrupted: {0}")]
pub struct Interrupted(tokio::task::JoinError);

/// Runs `work` to its end, even if the client that asked for it goes away: of an act of several steps none is
/// left out.
///
/// # Errors
/// Those of `work`, and [`Interrupted`].
pub async fn finish<T, E>(work: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Interrupted> + Send + 'static,
{
    tokio::spawn(work).await.unwrap_or_else(|e| Err(Interrupted(e).into()))
}
