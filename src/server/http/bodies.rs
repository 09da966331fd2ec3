//! Bodies of requests, read before much is known of who sends them: within a time, and within a memory that all of
//! a kind share.

use std::{
    collections::HashMap,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use parking_lot::Mutex;

/// How much of a body that is refused is read all the same, in bytes.
const PASSED_OVER: usize = 2 << 20;

/// How much is read, of whom and for how long. All sizes in bytes.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// The largest body.
    pub largest: usize,
    /// What every body may have, whoever else sends one.
    pub small: usize,
    /// What all larger bodies may have together. They are counted twice: as they grow they are copied.
    pub shared: usize,
    /// How much of that one sender may have.
    pub for_one: usize,
    /// How long a body may take to arrive.
    pub timeout: Duration,
}

/// The memory for larger bodies of senders `K`.
#[derive(Debug)]
pub struct Bodies<K> {
    limits: BodyLimits,
    held: Arc<Mutex<Held<K>>>,
}

/// Who has how much. Bounded by what all may have together.
#[derive(Debug)]
struct Held<K> {
    all: usize,
    by_sender: HashMap<K, usize>,
}

/// A share of the memory, given back when dropped.
#[derive(Debug)]
pub struct Share<K: std::hash::Hash + Eq> {
    held: Arc<Mutex<Held<K>>>,
    sender: Option<K>,
    bytes: usize,
}

/// Why a body is not read.
#[derive(Clone, Debug, Eq, thiserror::Error, PartialEq)]
pub enum BodyError {
    /// It is larger than this many bytes.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// It took too long to arrive.
    #[error("the body did not come in time")]
    TooSlow,
    /// Other large ones take all the memory there is for them: come again after this time.
    #[error("too many requests")]
    Busy(Duration),
    /// It breaks off; says why.
    #[error("the body cannot be read: {0}")]
    Unreadable(String),
}

impl<K: Clone + Eq + std::hash::Hash> Bodies<K> {
    /// Nothing is read yet.
    pub fn new(limits: BodyLimits) -> Self {
        let held = Held { all: 0, by_sender: HashMap::new() };
        Self { limits, held: Arc::new(Mutex::new(held)) }
    }

    /// Reads a body that `sender` sends; `None`: somebody who stands for many.
    ///
    /// # Errors
    /// [`BodyError`], as soon as it shows.
    pub async fn read(&self, body: Body, sender: Option<K>) -> Result<(Bytes, Share<K>), BodyError> {
        let read = tokio::time::timeout(self.limits.timeout, self.collect(body, sender));
        read.await.unwrap_or(Err(BodyError::TooSlow))
    }

    async fn collect(&self, body: Body, sender: Option<K>) -> Result<(Bytes, Share<K>), BodyError> {
        let BodyLimits { largest, small, .. } = self.limits;
        let mut bytes = Vec::new();
        let mut share = Share { held: Arc::clone(&self.held), sender, bytes: 0 };
        let mut body = pin!(body);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| BodyError::Unreadable(e.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            let length = bytes.len() + data.len();
            let refused = match length {
                _ if length > largest => Err(BodyError::TooLarge(largest)),
                _ if length > small => self.grow(&mut share, 2 * length),
                _ => Ok(()),
            };
            if let Err(refused) = refused {
                drop((bytes, share));
                pass_over(body).await;
                return Err(refused);
            }
            bytes.extend_from_slice(&data);
        }
        Ok((bytes.into(), share))
    }

    /// Makes `share` as large as `bytes`.
    fn grow(&self, share: &mut Share<K>, bytes: usize) -> Result<(), BodyError> {
        let busy = BodyError::Busy(self.limits.timeout);
        let more = bytes.saturating_sub(share.bytes);
        let mut held = self.held.lock();
        if held.all + more > self.limits.shared {
            return Err(busy);
        }
        if let Some(sender) = &share.sender {
            let of_sender = held.by_sender.get(sender).copied().unwrap_or_default() + more;
            if of_sender > self.limits.for_one {
                return Err(busy);
            }
            held.by_sender.insert(sender.clone(), of_sender);
        }
        held.all += more;
        share.bytes += more;
        Ok(())
    }
}

/// Reads on for a while without keeping anything: who still sends does not listen, and would find the connection
/// broken instead of an answer.
async fn pass_over(mut body: Pin<&mut Body>) {
    let mut passed = 0;
    while passed < PASSED_OVER
        && let Some(Ok(frame)) = body.frame().await
    {
        passed += frame.data_ref().map_or(0, Bytes::len);
    }
}

impl<K: Eq + std::hash::Hash> Drop for Share<K> {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut held = self.held.lock();
        held.all -= self.bytes;
        if let Some(sender) = &self.sender
            && let Some(of_sender) = held.by_sender.get_mut(sender)
        {
            *of_sender -= self.bytes;
            if *of_sender == 0 {
                held.by_sender.remove(sender);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        task::{Context, Poll},
    };

    use hyper::body::Frame;

    use super::*;

    const LIMITS: BodyLimits = BodyLimits {
        largest: 10 << 20,
        small: 64 << 10,
        shared: 64 << 20,
        for_one: 24 << 20,
        timeout: Duration::from_secs(30),
    };

    async fn read(
        bodies: &Bodies<u8>,
        length: usize,
        sender: Option<u8>,
    ) -> Result<(Bytes, Share<u8>), BodyError> {
        bodies.read(Body::from(vec![b' '; length]), sender).await
    }

    #[tokio::test]
    async fn a_body_as_large_as_allowed_is_read_and_a_larger_one_is_not() {
        let bodies = Bodies::new(LIMITS);
        for length in [0, 1, LIMITS.small, LIMITS.small + 1, LIMITS.largest] {
            assert_eq!(read(&bodies, length, Some(1)).await.expect("is read").0.len(), length);
        }
        let refused = read(&bodies, LIMITS.largest + 1, Some(1)).await.expect_err("is too large");
        assert_eq!(refused, BodyError::TooLarge(LIMITS.largest));
    }

    #[tokio::test]
    async fn large_bodies_share_a_memory_nobody_has_all_of_it_and_small_ones_need_none_of_it() {
        let bodies = Bodies::new(LIMITS);
        let busy = BodyError::Busy(LIMITS.timeout);
        let mut held = vec![read(&bodies, LIMITS.largest, Some(1)).await.expect("there is room")];
        assert_eq!(read(&bodies, LIMITS.largest, Some(1)).await.err(), Some(busy.clone()), "for the same");
        for sender in [Some(2), None] {
            held.push(read(&bodies, LIMITS.largest, sender).await.expect("there is room"));
        }
        for sender in [Some(3), None] {
            let refused = read(&bodies, LIMITS.largest, sender).await.err();
            assert_eq!(refused, Some(busy.clone()), "twice 10 MiB each, of 64 MiB");
        }
        read(&bodies, LIMITS.small, Some(1)).await.expect("is small");
        held.pop();
        read(&bodies, LIMITS.largest, Some(3)).await.expect("there is room again");
        held.clear();
        let held = bodies.held.lock();
        assert_eq!((held.all, held.by_sender.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_given_up() {
        let begun = tokio::time::Instant::now();
        let bodies = Bodies::<u8>::new(LIMITS);
        let refused = bodies.read(Body::new(Stalled), None).await.expect_err("does not end");
        assert_eq!((refused, begun.elapsed()), (BodyError::TooSlow, LIMITS.timeout));
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
