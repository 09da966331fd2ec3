//! What has begun is brought to its end.

use crate::server::api::error::{ApiError, ApiResult};

/// Runs `work` to its end, even if the client that asked for it goes away: what follows a change on the
/// disk (a session forgotten, a reader woken) is not left out.
pub async fn finish<T: Send + 'static>(
    work: impl Future<Output = ApiResult<T>> + Send + 'static,
) -> ApiResult<T> {
    tokio::spawn(work).await.unwrap_or_else(|e| Err(ApiError::internal(e)))
}
