//! Bodies of other servers' requests, read before anything is proven: within a time, and within a memory
//! that all of them share.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;

/// The largest body that is read from another server, in bytes: a full transaction of 50 events and 100 EDUs.
pub const MAX_TRANSACTION: usize = 10 << 20;

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

impl Default for Bodies {
    /// Nothing is read yet.
    fn default() -> Self {
        Self { free_kib: Arc::new(Semaphore::new(SHARED_KIB)) }
    }
}

impl Bodies {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] beyond [`MAX_TRANSACTION`], [`Refusal::TooSlow`] after [`TIMEOUT`], [`Refusal::Busy`] when
    /// there is no memory for a large one.
    pub async fn read(&self, body: Body) -> Result<(Bytes, Share), Refusal> {
        tokio::time::timeout(TIMEOUT, self.collect(body)).await.unwrap_or(Err(Refusal::TooSlow))
    }

    async fn collect(&self, body: Body) -> Result<(Bytes, Share), Refusal> {
        let (mut bytes, mut share) = (Vec::new(), None);
        let mut body = pin!(body);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| Refusal::Unreadable(e.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            let length = bytes.len() + data.len();
            if length > MAX_TRANSACTION {
                return Err(Refusal::TooLarge(MAX_TRANSACTION));
            }
            if length > SMALL {
                self.grow(&mut share, length)?;
            }
            bytes.extend_from_slice(&data);
        }
        Ok((bytes.into(), share))
    }

    /// Makes `share` large enough for `length` bytes. They are counted twice: as they grow they are copied.
    fn grow(&self, share: &mut Share, length: usize) -> Result<(), Refusal> {
        let needed = length.div_ceil(1 << 10) * 2;
        let held = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Ok(more) = u32::try_from(needed.saturating_sub(held)) else { return Ok(()) };
        let free = Arc::clone(&self.free_kib);
        let more = free.try_acquire_many_owned(more).map_err(|_| Refusal::Busy(TIMEOUT))?;
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

    async fn read(bodies: &Bodies, length: usize) -> Result<(Bytes, Share), Refusal> {
        bodies.read(Body::from(vec![b' '; length])).await
    }

    #[tokio::test]
    async fn a_body_as_large_as_allowed_is_read_and_a_larger_one_is_not() {
        let bodies = Bodies::default();
        for length in [0, 1, SMALL, SMALL + 1, MAX_TRANSACTION] {
            assert_eq!(read(&bodies, length).await.expect("is read").0.len(), length);
        }
        let refused = read(&bodies, MAX_TRANSACTION + 1).await.expect_err("is too large");
        assert_eq!(refused, Refusal::TooLarge(MAX_TRANSACTION));
    }

    #[tokio::test]
    async fn large_bodies_share_a_memory_and_small_ones_need_none_of_it() {
        let bodies = Bodies::default();
        let mut held = Vec::new();
        let refused = loop {
            match read(&bodies, MAX_TRANSACTION).await {
                Ok(body) => held.push(body),
                Err(refused) => break refused,
            }
        };
        assert_eq!((held.len(), refused), (3, Refusal::Busy(TIMEOUT)), "twice 10 MiB each, of 64 MiB");
        read(&bodies, SMALL).await.expect("is small");
        held.pop();
        read(&bodies, MAX_TRANSACTION).await.expect("there is room again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_given_up() {
        let begun = tokio::time::Instant::now();
        let refused = Bodies::default().read(Body::new(Stalled)).await.expect_err("does not end");
        assert_eq!((refused, begun.elapsed()), (Refusal::TooSlow, TIMEOUT));
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
