//! Which files of other servers are on their way, and for whom.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use ruma::{OwnedServerName, UserId};
use tokio::time::Instant;

use super::{
    refusal::Refusal,
    under_way::{Place, UnderWay},
};

/// Files that are fetched at once, for all users and for one, and when to come again while there are as many.
const MOST: usize = 32;
const MOST_FOR_ONE: usize = 8;
const BUSY: Duration = Duration::from_secs(2);

/// The address of a file.
pub(super) type Address = (OwnedServerName, String);

/// Which files are being fetched.
#[derive(Debug)]
pub(super) struct Fetching(Mutex<Held>);

#[derive(Debug)]
struct Held {
    coming: UnderWay,
    /// Bounded by who waits for them to end: those of [`UnderWay`], and those that have just made room there.
    addresses: BTreeMap<Address, Place>,
}

impl Default for Fetching {
    fn default() -> Self {
        let coming = UnderWay::new(MOST, MOST_FOR_ONE);
        Self(Mutex::new(Held { coming, addresses: BTreeMap::new() }))
    }
}

impl Fetching {
    /// Begins for `who`; `None`: somebody does so already.
    pub(super) fn begin(&self, who: &UserId, address: &Address) -> Result<Option<Place>, Refusal> {
        let mut held = self.0.lock();
        if held.addresses.contains_key(address) {
            return Ok(None);
        }
        let place = held.coming.begin(who, Instant::now()).ok_or(Refusal::Busy(BUSY))?;
        held.addresses.insert(address.clone(), place.clone());
        Ok(Some(place))
    }

    /// So many bytes have come.
    pub(super) fn note(&self, place: &Place, came: u64) -> Result<(), Refusal> {
        if self.0.lock().coming.note(place, came) { Ok(()) } else { Err(Refusal::TooSlow) }
    }

    /// Ends.
    pub(super) fn end(&self, address: &Address) {
        let mut held = self.0.lock();
        if let Some(place) = held.addresses.remove(address) {
            held.coming.end(&place);
        }
    }

    /// Whether a file is being fetched.
    pub(super) fn has(&self, server: &str, id: &str) -> bool {
        self.0.lock().place(server, id).is_some()
    }

    /// Whether some of a file has come.
    pub(super) fn has_begun(&self, server: &str, id: &str) -> bool {
        let held = self.0.lock();
        held.place(server, id).is_some_and(|place| held.coming.has_begun(place))
    }
}

impl Held {
    fn place(&self, server: &str, id: &str) -> Option<&Place> {
        let mut all = self.addresses.iter();
        all.find(|((of, file), _)| of == server && file == id).map(|(_, place)| place)
    }
}
