//! Bodies of other servers' requests, read before anything is proven: within a time, and within a memory
//! that all of them share.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::StatusCode,
};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::server::{api::error::ApiError, router::MAX_TRANSACTION};

/// How long a body may take to arrive.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What every body may have, in bytes: a full transaction of presence.
const SMALL: usize = 64 << 10;

/// What all larger bodies may have together, in KiB.
const SHARED_KIB: usize = 64 << 10;

/// The memory for larger bodies.
#[derive(Debug)]
pub struct Bodies {
    free_kib: Arc<Semaphore>,
}

/// A share of the memory, given back when dropped.
pub type Share = Option<OwnedSemaphorePermit>;

impl Bodies {
    /// Nothing is read yet.
    pub fn new() -> Self {
        Self { free_kib: Arc::new(Semaphore::new(SHARED_KIB)) }
    }

    /// Reads a body.
    ///
    /// # Errors
    /// 413 `M_TOO_LARGE` beyond [`MAX_TRANSACTION`], 408 after [`TIMEOUT`], 429 `M_LIMIT_EXCEEDED` when there is no
    /// memory for a large one.
    pub async fn read(&self, body: Body) -> Result<(Bytes, Share), ApiError> {
        tokio::time::timeout(TIMEOUT, self.collect(body)).await.unwrap_or_else(|_| {
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "M_UNKNOWN", "the body took too long"))
        })
    }

    async fn collect(&self, body: Body) -> Result<(Bytes, Share), ApiError> {
        let (mut bytes, mut share) = (Vec::new(), None);
        let mut body = pin!(body);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| ApiError::unknown(format!("the body cannot be read: {e}")))?;
            let Ok(data) = frame.into_data() else { continue };
            let length = bytes.len() + data.len();
            if length > MAX_TRANSACTION {
                return Err(ApiError::too_large(format!("the body is larger than {MAX_TRANSACTION} bytes")));
            }
            if length > SMALL {
                self.grow(&mut share, length)?;
            }
            bytes.extend_from_slice(&data);
        }
        Ok((bytes.into(), share))
    }

    /// Makes `share` large enough for `length` bytes. They are counted twice: as they grow they are copied.
    fn grow(&self, share: &mut Share, length: usize) -> Result<(), ApiError> {
        let needed = length.div_ceil(1 << 10) * 2;
        let held = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Ok(more) = u32::try_from(needed.saturating_sub(held)) else { return Ok(()) };
        let free = Arc::clone(&self.free_kib);
        let more = free.try_acquire_many_owned(more).map_err(|_| ApiError::limit_exceeded(TIMEOUT))?;
        match share {
            Some(share) => share.merge(more),
            None => *share = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use hyper::body::Frame;

    use super::*;

    async fn read(bodies: &Bodies, length: usize) -> Result<(Bytes, Share), (u16, &'static str)> {
        bodies.read(Body::from(vec![b' '; length])).await.map_err(|e| (e.status.as_u16(), e.errcode))
    }

    #[tokio::test]
    async fn a_body_as_large_as_allowed_is_read_and_a_larger_one_is_not() {
        let bodies = Bodies::new();
        for length in [0, 1, SMALL, SMALL + 1, MAX_TRANSACTION] {
            assert_eq!(read(&bodies, length).await.expect("is read").0.len(), length);
        }
        let refused = read(&bodies, MAX_TRANSACTION + 1).await.expect_err("is too large");
        assert_eq!(refused, (413, "M_TOO_LARGE"));
    }

    #[tokio::test]
    async fn large_bodies_share_a_memory_and_small_ones_need_none_of_it() {
        let bodies = Bodies::new();
        let mut held = Vec::new();
        let refused = loop {
            match read(&bodies, MAX_TRANSACTION).await {
                Ok(body) => held.push(body),
                Err(refused) => break refused,
            }
        };
        assert_eq!((held.len(), refused), (3, (429, "M_LIMIT_EXCEEDED")), "twice 10 MiB each, of 64 MiB");
        read(&bodies, SMALL).await.expect("is small");
        held.pop();
        read(&bodies, MAX_TRANSACTION).await.expect("there is room again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_given_up() {
        let begun = tokio::time::Instant::now();
        let refused = Bodies::new().read(Body::new(Stalled)).await.expect_err("does not end");
        assert_eq!((refused.status.as_u16(), begun.elapsed()), (408, TIMEOUT));
    }

    /// Neither data nor an end.
    struct Stalled;

    impl hyper::body::Body for Stalled {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }
}
