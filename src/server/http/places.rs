//! Room for connections: so many in all, and so many for one address.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::server::limits::Origin;

/// What somebody is told who has too many connections or requests under way, and when to come again.
pub(super) const TOO_MANY: &str = r#"{"errcode":"M_LIMIT_EXCEEDED","error":"too many connections from one address","retry_after_ms":10000}"#;
pub(super) const RETRY_AFTER_S: u64 = 10;

/// The places of one listener.
#[derive(Clone, Debug)]
pub struct Places {
    free: Arc<Semaphore>,
    crowd: Arc<Crowd>,
    for_one: usize,
}

/// How many each address has. Bounded by the number of places, and of requests under way.
type Crowd = Mutex<HashMap<Origin, usize>>;

/// One of those that an address may have, until dropped.
#[derive(Debug)]
pub struct Guest {
    crowd: Arc<Crowd>,
    origin: Origin,
}

impl Places {
    /// `all` places; one address has at most `for_one` of them, and never more than half.
    pub fn new(all: usize, for_one: usize) -> Self {
        let for_one = for_one.min(all / 2).max(1);
        Self { free: Arc::new(Semaphore::new(all)), crowd: Arc::default(), for_one }
    }

    /// Waits for a free place.
    pub async fn free(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// Lets somebody from `origin` in, unless there are enough from there.
    pub fn admit(&self, origin: Origin) -> Option<Guest> {
        let mut crowd = self.crowd.lock();
        let count = crowd.entry(origin).or_default();
        if *count >= self.for_one {
            return None;
        }
        *count += 1;
        Some(Guest { crowd: Arc::clone(&self.crowd), origin })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut crowd = self.crowd.lock();
        if let Some(count) = crowd.get_mut(&self.origin) {
            *count -= 1;
            if *count == 0 {
                crowd.remove(&self.origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_so_many_places_and_never_more_than_half() {
        let origin = |last: u8| Origin::new([192, 0, 2, last].into());
        for (all, for_one, expected) in [(100, 3, 3), (4, 3, 2), (1, 3, 1)] {
            let places = Places::new(all, for_one);
            let mut guests: Vec<_> = std::iter::from_fn(|| places.admit(origin(1))).collect();
            assert_eq!(guests.len(), expected, "{for_one} of {all}");
            assert!(places.admit(origin(2)).is_some(), "others have their own");
            guests.pop();
            assert!(places.admit(origin(1)).is_some());
            drop(guests);
            assert!(places.crowd.lock().is_empty(), "nobody is remembered");
        }
    }
}
