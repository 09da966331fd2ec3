//! Who uploads how much at this moment, and how much everybody has uploaded.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use ruma::OwnedUserId;
use tokio::time::Instant;

use super::{
    refusal::Refusal,
    under_way::{Place, UnderWay},
};
use crate::server::config;

/// Uploads at once, of all users and of one.
const MAX_UPLOADS: usize = 64;
const MAX_UPLOADS_OF_ONE: usize = 16;

/// When to come again while there are as many.
const BUSY: Duration = Duration::from_secs(2);

/// What may be uploaded, and what is.
#[derive(Debug)]
pub(super) struct Desk {
    limits: config::Media,
    held: Mutex<Held>,
}

/// What is uploaded.
#[derive(Debug)]
struct Held {
    coming: UnderWay,
    /// The bytes of the files that are kept.
    kept: u64,
}

/// One upload, until dropped.
#[derive(Debug)]
pub(super) struct Turn {
    desk: Arc<Desk>,
    user: OwnedUserId,
    /// What the user's files have that are kept.
    used: u64,
    place: Place,
}

impl Desk {
    /// Files of so many bytes are `kept` already.
    pub(super) fn new(limits: config::Media, kept: u64) -> Self {
        let coming = UnderWay::new(MAX_UPLOADS, MAX_UPLOADS_OF_ONE);
        Self { limits, held: Mutex::new(Held { coming, kept }) }
    }

    /// What the files of one user may have, in bytes.
    pub(super) fn user_quota(&self) -> u64 {
        unless_none(self.limits.user_quota)
    }

    /// Begins an upload of `user`, whose files have `used` bytes.
    pub(super) fn begin(self: &Arc<Self>, user: &OwnedUserId, used: u64) -> Result<Turn, Refusal> {
        let place = self.held.lock().coming.begin(user, Instant::now()).ok_or(Refusal::Busy(BUSY))?;
        Ok(Turn { desk: Arc::clone(self), user: user.clone(), used, place })
    }
}

impl Turn {
    /// The file has, or will have, `bytes`.
    pub(super) fn grow_to(&self, bytes: u64) -> Result<(), Refusal> {
        let limits = &self.desk.limits;
        if bytes > limits.max_upload_size {
            return Err(Refusal::TooLarge(limits.max_upload_size));
        }
        let mut held = self.desk.held.lock();
        let (others, own) = held.coming.bytes_beside(&self.place, &self.user);
        if self.used.saturating_add(own + bytes) > unless_none(limits.user_quota) {
            return Err(Refusal::UserFull);
        }
        if held.kept.saturating_add(others + bytes) > unless_none(limits.quota) {
            return Err(Refusal::ServerFull);
        }
        if held.coming.count_as(&self.place, bytes) { Ok(()) } else { Err(Refusal::TooSlow) }
    }

    /// So many bytes have come.
    pub(super) fn note(&self, came: u64) -> Result<(), Refusal> {
        if self.desk.held.lock().coming.note(&self.place, came) { Ok(()) } else { Err(Refusal::TooSlow) }
    }

    /// All of it has come: it makes room for no other.
    pub(super) fn note_whole(&self) -> Result<(), Refusal> {
        if self.desk.held.lock().coming.note_whole(&self.place) { Ok(()) } else { Err(Refusal::TooSlow) }
    }

    /// Returns when it has to make room for another.
    pub(super) async fn ended(&self) {
        self.place.ended().await;
    }

    /// The file is kept, and has `bytes`.
    pub(super) fn kept(self, bytes: u64) {
        self.desk.held.lock().kept += bytes;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.desk.held.lock().coming.end(&self.place);
    }
}

fn unless_none(limit: u64) -> u64 {
    if limit == 0 { u64::MAX } else { limit }
}

#[cfg(test)]
mod tests {
    use ruma::owned_user_id;

    use super::*;

    fn desk(limits: config::Media) -> Arc<Desk> {
        Arc::new(Desk::new(limits, 0))
    }

    #[test]
    fn what_is_on_its_way_counts_like_what_is_kept_and_is_given_back_when_it_does_not_come() {
        let limits =
            config::Media { max_upload_size: 100, user_quota: 150, quota: 200, ..Default::default() };
        let desk = desk(limits);
        let (alice, bob) = (owned_user_id!("@alice:x"), owned_user_id!("@bob:x"));
        let first = desk.begin(&alice, 0).expect("there is room");
        assert!(matches!(first.grow_to(101), Err(Refusal::TooLarge(100))));
        first.grow_to(100).expect("there is room");
        let second = desk.begin(&alice, 0).expect("there is room");
        second.grow_to(50).expect("there is room");
        assert!(matches!(second.grow_to(51), Err(Refusal::UserFull)));
        let third = desk.begin(&bob, 0).expect("there is room");
        assert!(matches!(third.grow_to(51), Err(Refusal::ServerFull)));
        drop(second);
        third.grow_to(100).expect("there is room again");
        third.kept(100);
        first.kept(100);
        assert!(matches!(desk.begin(&bob, 100).expect("a turn").grow_to(1), Err(Refusal::ServerFull)));
        assert!(desk.begin(&bob, 0).expect("a turn").grow_to(0).is_ok(), "nothing else is on its way");
    }

    #[test]
    fn nobody_takes_every_turn() {
        let desk = desk(config::Media::default());
        let name = |n: usize| ruma::OwnedUserId::try_from(format!("@u{n}:x")).expect("an ID");
        let turns = |of: usize| (0..MAX_UPLOADS).map_while(|_| desk.begin(&name(of), 0).ok()).collect();
        let first: Vec<Turn> = turns(0);
        assert_eq!(first.len(), MAX_UPLOADS_OF_ONE);
        let others: Vec<Vec<Turn>> = (1..4).map(turns).collect();
        assert_eq!(first.len() + others.iter().map(Vec::len).sum::<usize>(), MAX_UPLOADS);
        let late: Vec<Turn> = turns(4);
        assert_eq!(late.len(), 12, "one fewer than the four others are left with");
        assert_eq!(first.iter().filter(|turn| turn.note(1).is_err()).count(), 3);
        drop(first);
        assert!(desk.begin(&name(5), 0).is_ok());
    }
}
