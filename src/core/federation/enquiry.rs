//! Users who are asked for once: their status now, and no promise of what comes after (L8).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::status::Status;
use crate::core::time::Instant;

/// What is kept of enquiries to one peer and from it.
///
/// Bounded: one entry for each of the peer's users who was asked for within the last lifetime, and one for each of this
/// server's users whom the peer may see.
#[derive(Clone, Debug, Default)]
pub(super) struct Enquiries {
    /// By the slot of the remote user.
    entries: BTreeMap<u32, Enquiry>,
    /// When an entry ends, unless the entry itself says later.
    ends: VecDeque<(Instant, u32)>,
    /// Those who are to be named in the next message.
    waiting: Vec<u32>,
    /// The slots of those whom the peer asked for, and who may be told to it.
    pub(super) answers: BTreeSet<u32>,
}

#[derive(Clone, Debug)]
struct Enquiry {
    since: Instant,
    ends: Instant,
    told: Option<Status>,
}

impl Enquiries {
    /// Asks for the user, unless that was done within `lifetime`. Answers since when an answer is awaited.
    pub(super) fn ask(&mut self, now: Instant, remote: u32, lifetime: Duration) -> Option<Instant> {
        if let Some(known) = self.entries.get(&remote) {
            return known.told.is_none().then_some(known.since);
        }
        let ends = now + lifetime;
        self.entries.insert(remote, Enquiry { since: now, ends, told: None });
        self.ends.push_back((ends, remote));
        self.waiting.push(remote);
        Some(now)
    }

    /// Whether somebody is to be asked for in the next message.
    pub(super) const fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes one of those who are to be asked for in the next message.
    pub(super) fn next_waiting(&mut self) -> Option<u32> {
        self.waiting.pop()
    }

    /// The message that asked did not arrive: whoever reads again may ask again.
    pub(super) fn handle_failed(&mut self, remote: u32) {
        if self.entries.get(&remote).is_some_and(|entry| entry.told.is_none()) {
            self.entries.remove(&remote);
        }
    }

    /// Takes an answer, which holds for `lifetime`; false if nobody asked.
    pub(super) fn handle_told(
        &mut self,
        now: Instant,
        remote: u32,
        status: Status,
        lifetime: Duration,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(&remote) else { return false };
        entry.told = Some(status);
        entry.ends = now + lifetime;
        self.ends.push_back((entry.ends, remote));
        true
    }

    /// Whether the user was asked for, and nothing was told yet.
    pub(super) fn is_awaited(&self, remote: u32) -> bool {
        self.entries.get(&remote).is_some_and(|entry| entry.told.is_none())
    }

    /// What was told of the user, while it holds.
    pub(super) fn told(&self, remote: u32) -> Option<&Status> {
        self.entries.get(&remote)?.told.as_ref()
    }

    /// What was told does not hold any more; whether anything was.
    pub(super) fn forget(&mut self, remote: u32) -> bool {
        self.entries.get_mut(&remote).is_some_and(|entry| entry.told.take().is_some())
    }

    /// When the next entry may end.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.ends.front().map(|(at, _)| *at)
    }

    /// Takes out the next entry that has ended; answers whom it was about, and whether their status was told.
    pub(super) fn pop_ended(&mut self, now: Instant) -> Option<(u32, bool)> {
        while let Some(&(at, remote)) = self.ends.front()
            && at <= now
        {
            self.ends.pop_front();
            if let Some(entry) = self.entries.get(&remote)
                && entry.ends <= now
            {
                let told = entry.told.is_some();
                self.entries.remove(&remote);
                return Some((remote, told));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::federation::Availability;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    #[test]
    fn somebody_is_asked_for_once_a_lifetime_however_many_read() {
        let mut enquiries = Enquiries::default();
        for second in 0..60 {
            assert_eq!(enquiries.ask(at(second), 7, MINUTE), Some(at(0)), "still awaited");
        }
        assert_eq!((enquiries.next_waiting(), enquiries.next_waiting()), (Some(7), None));
        assert_eq!(enquiries.pop_ended(at(59)), None);
        assert_eq!(enquiries.pop_ended(at(60)), Some((7, false)));
        assert_eq!(enquiries.ask(at(60), 7, MINUTE), Some(at(60)));
    }

    #[test]
    fn an_answer_holds_for_a_lifetime_and_one_that_nobody_asked_for_is_none() {
        let mut enquiries = Enquiries::default();
        let status = || Status::from(Availability::Busy);
        assert!(!enquiries.handle_told(at(0), 7, status(), MINUTE));
        enquiries.ask(at(0), 7, MINUTE);
        assert!(enquiries.handle_told(at(10), 7, status(), MINUTE));
        assert_eq!(enquiries.ask(at(69), 7, MINUTE), None, "nothing is awaited");
        assert_eq!(enquiries.pop_ended(at(69)), None);
        assert_eq!(enquiries.told(7), Some(&status()));
        assert_eq!(enquiries.pop_ended(at(70)), Some((7, true)));
        assert_eq!((enquiries.told(7), enquiries.deadline()), (None, None));
    }

    #[test]
    fn a_message_that_failed_may_be_repeated_by_the_next_who_reads() {
        let mut enquiries = Enquiries::default();
        enquiries.ask(at(0), 7, MINUTE);
        enquiries.next_waiting();
        enquiries.handle_failed(7);
        assert_eq!(enquiries.ask(at(1), 7, MINUTE), Some(at(1)));
        assert_eq!(enquiries.next_waiting(), Some(7));
    }
}
