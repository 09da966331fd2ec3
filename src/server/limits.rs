//! Limits on how often somebody may ask: token buckets per user, per address and per login.
//!
//! A request with a valid access token counts for its user, so that users behind one proxy do not
//! share a bucket; any other counts for the address it came from. What is refused is told so, with the
//! time after which to come again: nothing that a client sent is dropped without its knowing. What users
//! say of their presence has a bucket of its own and is never refused, but waits (`presence::waiting`).

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use parking_lot::Mutex;
use ruma::{OwnedServerName, OwnedUserId, ServerName};

use crate::server::config;

/// Buckets of one kind, at most. When there would be more, those that are full again are dropped, and if there are
/// too few of these, the fuller half: who has asked often is not forgotten for others who ask once.
const MAX_BUCKETS: usize = 100_000;

/// One request too many: come again after this time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooMany(pub Duration);

/// The buckets of everybody who asked lately.
#[derive(Debug)]
pub struct RateLimits {
    settings: config::RateLimits,
    users: Buckets<OwnedUserId>,
    presence: Buckets<OwnedUserId>,
    addresses: Buckets<IpAddr>,
    servers: Buckets<OwnedServerName>,
    logins: Buckets<(String, IpAddr)>,
}

/// Where a request came from, as far as limits are concerned: an IPv4 address, or the /64 network of an
/// IPv6 one. In the extensions of every request to the API.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Origin(IpAddr);

impl RateLimits {
    /// No buckets yet.
    pub fn new(settings: config::RateLimits) -> Self {
        Self {
            settings,
            users: Buckets::default(),
            presence: Buckets::default(),
            addresses: Buckets::default(),
            servers: Buckets::default(),
            logins: Buckets::default(),
        }
    }

    /// Counts an attempt to log in to the account `name`, before its password is looked at.
    ///
    /// # Errors
    /// [`TooMany`] when there were too many from this origin.
    pub fn login(&self, name: &str, origin: Origin, now_ms: u64) -> Result<(), TooMany> {
        let rate = Rate { per_minute: self.settings.login_per_minute, burst: self.settings.login_burst };
        self.count(&self.logins, (name.to_lowercase(), origin.0), rate, now_ms)
    }

    /// Takes an attempt back: the password was right.
    pub fn login_succeeded(&self, name: &str, origin: Origin) {
        self.logins.refund(&(name.to_lowercase(), origin.0));
    }

    /// Counts something that a user says of their presence.
    ///
    /// # Errors
    /// The time after which there is room for it.
    pub fn presence(&self, user: &OwnedUserId, now_ms: u64) -> Result<(), Duration> {
        if !self.settings.enabled {
            return Ok(());
        }
        let rate =
            Rate { per_minute: self.settings.presence_per_second * 60, burst: self.settings.presence_burst };
        self.presence.take(user.clone(), rate, now_ms)
    }

    /// Counts a request that proved to be of another server; it does not count for its address any longer.
    ///
    /// # Errors
    /// [`TooMany`] when there were too many of this server.
    pub fn server(&self, server: &ServerName, origin: Option<Origin>, now_ms: u64) -> Result<(), TooMany> {
        if let Some(Origin(address)) = origin {
            self.addresses.refund(&address);
        }
        let rate =
            Rate { per_minute: self.settings.server_per_second * 60, burst: self.settings.server_burst };
        self.count(&self.servers, server.to_owned(), rate, now_ms)
    }

    /// Counts a request of a user.
    ///
    /// # Errors
    /// [`TooMany`] when there were too many of this user.
    pub fn user(&self, user: &OwnedUserId, now_ms: u64) -> Result<(), TooMany> {
        let rate = Rate { per_minute: self.settings.user_per_second * 60, burst: self.settings.user_burst };
        self.count(&self.users, user.clone(), rate, now_ms)
    }

    /// Counts a request of nobody who is known, for where it came from.
    ///
    /// # Errors
    /// [`TooMany`] when there were too many from there.
    pub fn address(&self, origin: Origin, now_ms: u64) -> Result<(), TooMany> {
        let rate =
            Rate { per_minute: self.settings.address_per_second * 60, burst: self.settings.address_burst };
        self.count(&self.addresses, origin.0, rate, now_ms)
    }

    fn count<K: Eq + Hash>(
        &self,
        buckets: &Buckets<K>,
        key: K,
        rate: Rate,
        now_ms: u64,
    ) -> Result<(), TooMany> {
        if !self.settings.enabled {
            return Ok(());
        }
        buckets.take(key, rate, now_ms).map_err(TooMany)
    }
}

impl Origin {
    /// That of this address.
    pub fn new(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(IpAddr::V4(address)),
            // One household or server has a /64.
            IpAddr::V6(address) => Self(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))),
        }
    }
}

/// How many, and how many at once.
#[derive(Clone, Copy, Debug)]
struct Rate {
    per_minute: u32,
    burst: u32,
}

#[derive(Debug)]
struct Buckets<K>(Mutex<HashMap<K, Bucket>>);

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// What is left, in thousandths of a minute's share: exact, so that nothing is lost in small steps.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: u64,
    at_ms: u64,
    full_at_ms: u64,
}

/// One request, in the bucket's units.
const ONE: u64 = 60_000;

impl<K: Eq + Hash> Buckets<K> {
    /// Takes one from the bucket of `key`, or says after which time there is one.
    fn take(&self, key: K, rate: Rate, now_ms: u64) -> Result<(), Duration> {
        let mut buckets = self.0.lock();
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(&key) {
            make_room(&mut buckets, now_ms);
        }
        let (share, full) = (u64::from(rate.per_minute.max(1)), u64::from(rate.burst.max(1)) * ONE);
        let bucket = buckets.entry(key).or_insert(Bucket { left: full, at_ms: now_ms, full_at_ms: now_ms });
        let gained = now_ms.saturating_sub(bucket.at_ms).saturating_mul(share);
        bucket.left = bucket.left.saturating_add(gained).min(full);
        bucket.at_ms = now_ms.max(bucket.at_ms);
        match bucket.left.checked_sub(ONE) {
            Some(left) => {
                bucket.left = left;
                bucket.full_at_ms = now_ms + (full - left).div_ceil(share);
                Ok(())
            }
            None => Err(Duration::from_millis((ONE - bucket.left).div_ceil(share))),
        }
    }

    fn refund(&self, key: &K) {
        let mut buckets = self.0.lock();
        if let Some(bucket) = buckets.get_mut(key) {
            // Cut to what is full with the next take.
            bucket.left += ONE;
        }
    }
}

/// Drops the buckets that are full, or else the half of them that will be so first. Either way there is room for so
/// many more that looking through all of them costs each newcomer little.
fn make_room<K>(buckets: &mut HashMap<K, Bucket>, now_ms: u64) {
    let mut times = Vec::new();
    buckets.retain(|_, bucket| {
        let stays = bucket.full_at_ms > now_ms;
        times.extend(stays.then_some(bucket.full_at_ms));
        stays
    });
    if times.len() <= MAX_BUCKETS / 2 {
        return;
    }
    let half = times.len() / 2;
    let (_, &mut median, _) = times.select_nth_unstable(half);
    let mut may_go = half;
    buckets.retain(|_, bucket| {
        let goes = may_go > 0 && bucket.full_at_ms <= median;
        may_go -= usize::from(goes);
        !goes
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate { per_minute: 60, burst: 3 };

    #[test]
    fn a_burst_passes_and_then_one_a_second() {
        let buckets = Buckets::default();
        let take = |now_ms| buckets.take("a", RATE, now_ms);
        assert_eq!([take(0), take(0), take(0)], [Ok(()); 3]);
        assert_eq!(take(0), Err(Duration::from_secs(1)));
        assert_eq!(take(250), Err(Duration::from_millis(750)));
        assert_eq!(take(1000), Ok(()));
        assert_eq!(take(1000), Err(Duration::from_secs(1)));
        assert_eq!([take(60_000), take(60_000), take(60_000)], [Ok(()); 3]);
        assert!(take(60_000).is_err(), "never more than the burst");
        assert_eq!(buckets.take("b", RATE, 60_000), Ok(()), "others have their own");
    }

    #[test]
    fn what_is_refunded_can_be_taken_again_and_never_overflows_the_bucket() {
        let buckets = Buckets::default();
        for _ in 0..10 {
            assert_eq!(buckets.take("a", RATE, 0), Ok(()));
            buckets.refund(&"a");
        }
        let passed = (0..10).filter(|_| buckets.take("a", RATE, 0).is_ok()).count();
        assert_eq!(passed, 3);
    }

    #[test]
    fn the_number_of_buckets_is_bounded() {
        let buckets = Buckets::default();
        for n in 0..MAX_BUCKETS + 10 {
            assert_eq!(buckets.take(n, RATE, 0), Ok(()));
        }
        assert!(buckets.0.lock().len() <= MAX_BUCKETS);
    }

    #[test]
    fn whoever_asked_too_often_is_remembered_however_many_others_ask_once() {
        let buckets = Buckets::default();
        for _ in 0..3 {
            assert_eq!(buckets.take(usize::MAX, RATE, 0), Ok(()));
        }
        for n in 0..3 * MAX_BUCKETS {
            assert_eq!(buckets.take(n, RATE, 0), Ok(()), "others are let in");
            assert!(n % 1_000 > 0 || buckets.take(usize::MAX, RATE, 0).is_err(), "after {n} others");
        }
        assert!(buckets.0.lock().len() <= MAX_BUCKETS);
    }

    proptest! {
        #[test]
        fn waiting_as_long_as_told_is_enough(
            per_minute in 1..100_000_u32,
            burst in 1..50_u32,
            steps in prop::collection::vec(0..2_000_u64, 1..60),
        ) {
            let (buckets, rate) = (Buckets::default(), Rate { per_minute, burst });
            let mut now_ms = 0;
            for step in steps {
                now_ms += step;
                if let Err(wait) = buckets.take((), rate, now_ms) {
                    now_ms += u64::try_from(wait.as_millis()).expect("short");
                    prop_assert_eq!(buckets.take((), rate, now_ms), Ok(()));
                }
            }
        }
    }
}
