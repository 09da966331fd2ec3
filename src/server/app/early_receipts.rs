//! Receipts of other servers' users for events that have not come yet.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

use crate::server::store::Receipt;

/// Receipts that are kept: beyond that the oldest go.
const MAX_KEPT: usize = 1_000;

/// Receipts that wait for their events.
#[derive(Debug, Default)]
pub(super) struct EarlyReceipts(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    by_event: HashMap<String, Vec<Receipt>>,
    /// The event of each, the oldest first.
    order: VecDeque<String>,
}

impl EarlyReceipts {
    pub(super) fn keep(&self, receipts: Vec<Receipt>) {
        let mut kept = self.0.lock();
        for receipt in receipts {
            if kept.order.len() >= MAX_KEPT
                && let Some(oldest) = kept.order.pop_front()
            {
                kept.forget_one(&oldest);
            }
            kept.order.push_back(receipt.event.clone());
            kept.by_event.entry(receipt.event.clone()).or_default().push(receipt);
        }
    }

    /// Whether some wait for an event.
    pub(super) fn has(&self, event: &str) -> bool {
        self.0.lock().by_event.contains_key(event)
    }

    /// Those of an event that came.
    pub(super) fn take(&self, event: &str) -> Vec<Receipt> {
        let mut kept = self.0.lock();
        let taken = kept.by_event.remove(event).unwrap_or_default();
        if !taken.is_empty() {
            kept.order.retain(|kept| kept != event);
        }
        taken
    }
}

impl Kept {
    fn forget_one(&mut self, event: &str) {
        if let Some(receipts) = self.by_event.get_mut(event) {
            receipts.remove(0);
            if receipts.is_empty() {
                self.by_event.remove(event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ruma::{room_id, user_id};

    use super::*;

    fn receipt(event: &str, thread: &str) -> Receipt {
        Receipt {
            room: room_id!("!r:x").to_owned(),
            user: user_id!("@u:x").to_owned(),
            kind: "m.read".to_owned(),
            thread: thread.to_owned(),
            event: event.to_owned(),
            ts_ms: 1,
            shown: true,
        }
    }

    #[test]
    fn receipts_wait_for_their_event_and_the_oldest_go_when_there_are_too_many() {
        let early = EarlyReceipts::default();
        early.keep(vec![receipt("$a", ""), receipt("$b", ""), receipt("$a", "main")]);
        assert_eq!(early.take("$a").len(), 2);
        assert_eq!(early.take("$a").len(), 0);
        early.keep((1..MAX_KEPT).map(|n| receipt(&format!("${n}"), "")).collect());
        assert_eq!(early.0.lock().order.len(), MAX_KEPT);
        early.keep(vec![receipt("$c", "")]);
        assert_eq!(early.take("$b").len(), 0, "the oldest is gone");
        assert_eq!((early.take("$1").len(), early.take("$c").len()), (1, 1));
        assert_eq!(early.0.lock().order.len(), MAX_KEPT - 2);
    }
}
