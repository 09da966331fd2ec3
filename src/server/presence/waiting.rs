//! What was said faster than the limit: held, and merged into its last state, until there is room.
//!
//! A rate limit never drops a last state, it delays it: what comes beyond the rate waits, merged into one
//! thing for the user, until there is room, and everybody who said a part of it is answered then. So
//! nothing is refused, and what was answered is on the disk.

use std::{collections::HashMap, time::Duration};

use parking_lot::{Mutex, MutexGuard};
use ruma::OwnedUserId;
use tokio::sync::watch;

use super::said::Said;

/// What waits for the rate limit. Bounded: one thing for each user, as long as a request of theirs is held.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<HashMap<OwnedUserId, Held>>);

/// What is held of one user.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) said: Said,
    /// Whether it was taken.
    pub(super) taken: watch::Sender<Option<bool>>,
}

/// What becomes of something that is said.
pub(super) enum Turn {
    /// It is taken at once.
    Now(Said),
    /// It waits with what was said before; who began to wait has it taken after this time.
    Later(watch::Receiver<Option<bool>>, Option<Duration>),
}

impl Waiting {
    /// What becomes of `said`; `room` counts it, or says after which time there is room for it.
    pub(super) fn turn(
        &self,
        user: &OwnedUserId,
        said: Said,
        room: impl FnOnce() -> Result<(), Duration>,
    ) -> Turn {
        let mut held = self.lock();
        if let Some(held) = held.get_mut(user) {
            held.said.then(said);
            return Turn::Later(held.taken.subscribe(), None);
        }
        match room() {
            Ok(()) => Turn::Now(said),
            Err(wait) => {
                let (taken, receiver) = watch::channel(None);
                held.insert(user.clone(), Held { said, taken });
                Turn::Later(receiver, Some(wait))
            }
        }
    }

    /// What was held of `user`, to be taken.
    pub(super) fn take(&self, user: &OwnedUserId) -> Option<Held> {
        self.lock().remove(user)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OwnedUserId, Held>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use ruma::OwnedDeviceId;

    use super::*;
    use crate::core::{
        presence::{Choice, Decision, StatusMsg, Words},
        time::Instant,
    };

    fn device(n: u8) -> OwnedDeviceId {
        format!("D{n}").into()
    }

    #[test]
    fn what_comes_beyond_the_rate_waits_as_one_and_the_first_has_it_taken() {
        let waiting = Waiting::default();
        let user = ruma::user_id!("@a:x").to_owned();
        let busy = || Said::put(device(0), Words::Ours, Choice::Busy, StatusMsg::Keep, Instant::ZERO);
        let wait = Duration::from_secs(1);
        assert!(matches!(waiting.turn(&user, busy(), || Ok(())), Turn::Now(_)));
        assert!(matches!(waiting.turn(&user, busy(), || Err(wait)), Turn::Later(_, Some(_))));
        let message = StatusMsg::Set("x".into());
        let last = Said::put(device(1), Words::Ours, Choice::Online, message, Instant::ZERO);
        assert!(matches!(waiting.turn(&user, last, || panic!("not asked")), Turn::Later(_, None)));
        let held = waiting.take(&user).expect("is held");
        assert_eq!(held.said.decision, Decision::chosen(Choice::Online));
        assert_eq!(held.said.status_msg, StatusMsg::Set("x".into()));
        assert!(waiting.take(&user).is_none());
    }
}
