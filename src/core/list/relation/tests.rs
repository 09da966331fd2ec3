use std::collections::BTreeMap;

use super::*;
use crate::core::testing;
use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const N: u64 = 5;

fn observer(observing: Observing) -> Relation {
    Relation { observing, asked: N, ..Relation::default() }
}

fn observed(observed: Observed) -> Relation {
    Relation { observed, heard: N, ..Relation::default() }
}

fn sent(effects: &[Effect]) -> Vec<Message> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send(message) => Some(*message),
            Effect::Listed(_) | Effect::Standing(_) => None,
        })
        .collect()
}

/// Seen from the observer: state × answer × (older, same, newer number) → state, number, message sent.
#[test]
fn l2_the_observers_table() {
    use Kind::{Accept, Deny, Drop};
    use Observing::{Asked, Denied, No, Yes};
    type Row = (Observing, Kind, [(Observing, u64, Option<Kind>); 3]);
    const TABLE: [Row; 8] = [
        (No, Accept, [(No, 5, Some(Drop)), (No, 5, Some(Drop)), (No, 6, Some(Drop))]),
        (No, Deny, [(No, 5, None), (No, 5, None), (No, 6, None)]),
        (Asked, Accept, [(Asked, 5, None), (Yes, 5, None), (Yes, 6, None)]),
        (Asked, Deny, [(Asked, 5, None), (Denied, 5, None), (Denied, 6, None)]),
        (Yes, Accept, [(Yes, 5, None), (Yes, 5, None), (Yes, 6, None)]),
        (Yes, Deny, [(Yes, 5, None), (Denied, 5, None), (Denied, 6, None)]),
        (Denied, Accept, [(Denied, 5, None), (Denied, 5, None), (Yes, 6, None)]),
        (Denied, Deny, [(Denied, 5, None), (Denied, 5, None), (Denied, 6, None)]),
    ];
    for (state, kind, outcomes) in TABLE {
        for (seq, (after, asked, answer)) in (N - 1..=N + 1).zip(outcomes) {
            let mut r = observer(state);
            let effects = r.handle_message(kind, Some(seq), AutoAccept::Reverse);
            let row = format!("{state:?} × {kind:?} {seq}");
            assert_eq!(r, Relation { observing: after, asked, ..Relation::default() }, "{row}");
            let expected: Vec<_> = answer.map(|kind| Message { kind, seq: asked }).into_iter().collect();
            assert_eq!(sent(&effects), expected, "{row}");
            assert_eq!(effects.contains(&Effect::Listed(after)), after != state, "{row}");
        }
    }
}

/// Seen from the observed: state × request × (older, same, newer number) → state, number, message sent;
/// last, what becomes of a newer request where this user observes the asker (L3).
#[test]
fn l2_l3_the_observeds_table() {
    use Kind::{Accept, Deny, Drop, Invite};
    use Observed::{Asked, Denied, No, Yes};
    type Row = (Observed, Kind, [(Observed, u64, Option<Kind>); 3], Observed);
    const TABLE: [Row; 8] = [
        (No, Invite, [(No, 5, Some(Deny)), (No, 5, None), (Asked, 6, None)], Yes),
        (No, Drop, [(No, 5, None), (No, 5, None), (No, 6, None)], No),
        (Asked, Invite, [(Asked, 5, None), (Asked, 5, None), (Asked, 6, None)], Yes),
        (Asked, Drop, [(Asked, 5, None), (No, 5, None), (No, 6, None)], No),
        (Yes, Invite, [(Yes, 5, Some(Accept)), (Yes, 5, Some(Accept)), (Asked, 6, None)], Yes),
        (Yes, Drop, [(Yes, 5, None), (No, 5, None), (No, 6, None)], No),
        (Denied, Invite, [(Denied, 5, Some(Deny)), (Denied, 5, Some(Deny)), (Asked, 6, None)], Yes),
        (Denied, Drop, [(Denied, 5, None), (Denied, 5, None), (No, 6, None)], No),
    ];
    for (state, kind, outcomes, with_reverse) in TABLE {
        for (seq, (after, heard, answer)) in (N - 1..=N + 1).zip(outcomes) {
            let mut r = observed(state);
            let effects = r.handle_message(kind, Some(seq), AutoAccept::Reverse);
            let row = format!("{state:?} × {kind:?} {seq}");
            assert_eq!(r, Relation { observed: after, heard, ..Relation::default() }, "{row}");
            let expected: Vec<_> = answer.map(|kind| Message { kind, seq: heard }).into_iter().collect();
            assert_eq!(sent(&effects), expected, "{row}");
            let anew = after != state || (heard != N && after != No);
            assert_eq!(effects.contains(&Effect::Standing(after)), anew, "{row}");
        }
        for (observing, auto) in
            [(Observing::Yes, AutoAccept::Reverse), (Observing::No, AutoAccept::Everybody)]
        {
            let mut r = Relation { observing, ..observed(state) };
            let effects = r.handle_message(kind, Some(N + 1), auto);
            assert_eq!(r.observed(), with_reverse, "{state:?} × {kind:?}, {observing:?}, {auto:?}");
            let accept = Effect::Send(Message { kind: Accept, seq: N + 1 });
            assert_eq!(effects.contains(&accept), with_reverse == Yes);
        }
    }
}

#[test]
fn l2_the_table_of_wishes() {
    use Kind::{Accept, Deny, Drop, Invite};
    type Row = (Wish, Relation, Relation, Option<Kind>);
    let asked_again = |observing| Relation { observing, asked: N + 1, ..Relation::default() };
    let rows: [Row; 16] = [
        (Wish::Add, observer(Observing::No), asked_again(Observing::Asked), Some(Invite)),
        (Wish::Add, observer(Observing::Asked), observer(Observing::Asked), None),
        (Wish::Add, observer(Observing::Yes), observer(Observing::Yes), None),
        (Wish::Add, observer(Observing::Denied), asked_again(Observing::Asked), Some(Invite)),
        (Wish::Remove, observer(Observing::No), observer(Observing::No), None),
        (Wish::Remove, observer(Observing::Asked), observer(Observing::No), Some(Drop)),
        (Wish::Remove, observer(Observing::Yes), observer(Observing::No), Some(Drop)),
        (Wish::Remove, observer(Observing::Denied), observer(Observing::No), None),
        (Wish::Accept, observed(Observed::No), observed(Observed::No), None),
        (Wish::Accept, observed(Observed::Asked), observed(Observed::Yes), Some(Accept)),
        (Wish::Accept, observed(Observed::Yes), observed(Observed::Yes), None),
        (Wish::Accept, observed(Observed::Denied), observed(Observed::Denied), None),
        (Wish::Deny, observed(Observed::No), observed(Observed::No), None),
        (Wish::Deny, observed(Observed::Asked), observed(Observed::Denied), Some(Deny)),
        (Wish::Deny, observed(Observed::Yes), observed(Observed::Denied), Some(Deny)),
        (Wish::Deny, observed(Observed::Denied), observed(Observed::Denied), None),
    ];
    for (wish, before, after, message) in rows {
        let mut r = before;
        let effects = r.handle_wish(wish, AutoAccept::Reverse);
        assert_eq!(r, after, "{wish:?} in {before:?}");
        let sent: Vec<_> = sent(&effects).into_iter().map(|message| message.kind).collect();
        assert_eq!(sent, message.into_iter().collect::<Vec<_>>(), "{wish:?} in {before:?}");
    }
}

#[test]
fn l3_a_request_that_waits_is_accepted_when_the_reverse_one_is() {
    let mut r = Relation::default();
    r.handle_wish(Wish::Add, AutoAccept::Reverse);
    r.handle_message(Kind::Invite, Some(1), AutoAccept::Reverse);
    assert_eq!(r.observed(), Observed::Asked, "to have asked is no subscription");
    let effects = r.handle_message(Kind::Accept, Some(1), AutoAccept::Reverse);
    assert_eq!((r.observing(), r.observed()), (Observing::Yes, Observed::Yes));
    assert_eq!(sent(&effects), [Message { kind: Kind::Accept, seq: 1 }]);
}

#[test]
fn l2_messages_without_numbers_are_about_the_last_request() {
    let auto = AutoAccept::Reverse;
    let mut r = Relation::default();
    r.handle_message(Kind::Invite, None, auto);
    r.handle_message(Kind::Invite, None, auto);
    assert_eq!((r.observed(), r.heard), (Observed::Asked, 1));
    r.handle_wish(Wish::Deny, auto);
    r.handle_message(Kind::Invite, None, auto);
    assert_eq!((r.observed(), r.heard), (Observed::Asked, 2));
    r.handle_wish(Wish::Add, auto);
    r.handle_message(Kind::Accept, None, auto);
    assert_eq!((r.observing(), r.observed()), (Observing::Yes, Observed::Yes));
    r.handle_message(Kind::Drop, None, auto);
    r.handle_message(Kind::Deny, None, auto);
    assert_eq!((r.observing(), r.observed()), (Observing::Denied, Observed::No));
}

#[test]
fn a_number_at_the_end_of_the_range_does_no_harm() {
    let mut r = Relation::default();
    r.handle_message(Kind::Invite, Some(u64::MAX), AutoAccept::Reverse);
    r.handle_wish(Wish::Deny, AutoAccept::Reverse);
    r.handle_message(Kind::Invite, None, AutoAccept::Reverse);
    assert_eq!((r.observed(), r.heard), (Observed::Denied, u64::MAX));
}

#[derive(Clone, Debug)]
enum Step {
    Wish(bool, Wish),
    /// Delivers a message in flight and keeps it there, or takes it away.
    Deliver(prop::sample::Index, bool),
    Lose(prop::sample::Index),
    Restart(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let wish = prop::sample::select(vec![Wish::Add, Wish::Remove, Wish::Accept, Wish::Deny]);
    prop_oneof![
        4 => (any::<bool>(), wish).prop_map(|(side, wish)| Step::Wish(side, wish)),
        4 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(i, keep)| Step::Deliver(i, keep)),
        1 => any::<prop::sample::Index>().prop_map(Step::Lose),
        1 => any::<bool>().prop_map(Step::Restart),
    ]
}

/// Two servers' halves of one relation, and the messages on their way between them.
#[derive(Default)]
struct Link {
    ends: [Relation; 2],
    in_flight: Vec<(usize, Message)>,
}

impl Link {
    fn send(&mut self, from: usize, effects: &[Effect]) {
        self.in_flight.extend(sent(effects).into_iter().map(|message| (1 - from, message)));
    }

    fn deliver(&mut self, to: usize, message: Message) {
        let effects = self.ends[to].handle_message(message.kind, Some(message.seq), AutoAccept::Reverse);
        self.send(to, &effects);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Wish(side, wish) => {
                let side = usize::from(*side);
                let effects = self.ends[side].handle_wish(*wish, AutoAccept::Reverse);
                self.send(side, &effects);
            }
            Step::Restart(side) => self.claim(usize::from(*side)),
            Step::Deliver(..) | Step::Lose(_) if self.in_flight.is_empty() => {}
            Step::Deliver(index, keep) => {
                let index = index.index(self.in_flight.len());
                let (to, message) =
                    if *keep { self.in_flight[index] } else { self.in_flight.swap_remove(index) };
                self.deliver(to, message);
            }
            Step::Lose(index) => {
                let index = index.index(self.in_flight.len());
                self.in_flight.swap_remove(index);
            }
        }
    }

    fn claim(&mut self, side: usize) {
        let claims: Vec<_> = self.ends[side].claims().map(Effect::Send).collect();
        self.send(side, &claims);
    }

    /// Delivers everything; answers how many messages that took.
    fn settle(&mut self) -> usize {
        let mut delivered = 0;
        while let Some((to, message)) = self.in_flight.pop() {
            self.deliver(to, message);
            delivered += 1;
            assert!(delivered < 1_000, "the ends go on answering each other");
        }
        delivered
    }
}

/// Two servers with an outbox each: of each half the latest message, until it was acknowledged.
#[derive(Default)]
struct Posted {
    ends: [Relation; 2],
    outboxes: [BTreeMap<Half, Message>; 2],
    /// Copies on their way, by who sent them.
    in_flight: Vec<(usize, Message)>,
}

impl Posted {
    fn post(&mut self, from: usize, effects: &[Effect]) {
        for message in sent(effects) {
            self.outboxes[from].insert(message.kind.half(), message);
        }
    }

    /// Sends what is in an outbox, as after a pause or a restart.
    fn send(&mut self, from: usize) {
        self.in_flight.extend(self.outboxes[from].values().map(|message| (from, *message)));
    }

    fn arrive(&mut self, from: usize, message: Message) {
        let effects =
            self.ends[1 - from].handle_message(message.kind, Some(message.seq), AutoAccept::Reverse);
        self.post(1 - from, &effects);
    }

    fn acknowledge(&mut self, from: usize, message: Message) {
        let half = message.kind.half();
        if self.outboxes[from].get(&half) == Some(&message) {
            self.outboxes[from].remove(&half);
        }
    }

    fn step(&mut self, step: &Step) {
        let flying = self.in_flight.len();
        match step {
            Step::Wish(side, wish) => {
                let side = usize::from(*side);
                let effects = self.ends[side].handle_wish(*wish, AutoAccept::Reverse);
                self.post(side, &effects);
            }
            Step::Restart(side) => self.send(usize::from(*side)),
            Step::Deliver(..) | Step::Lose(_) if flying == 0 => {}
            // It stays there as a copy that comes again, and the acknowledgement is lost.
            Step::Deliver(index, true) => {
                let (from, message) = self.in_flight[index.index(flying)];
                self.arrive(from, message);
            }
            Step::Deliver(index, false) => {
                let (from, message) = self.in_flight.swap_remove(index.index(flying));
                self.arrive(from, message);
                self.acknowledge(from, message);
            }
            Step::Lose(index) => {
                self.in_flight.swap_remove(index.index(flying));
            }
        }
    }

    /// Lets both send until everything is acknowledged.
    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 20, "the ends go on answering each other");
            self.send(0);
            self.send(1);
            if self.in_flight.is_empty() {
                return;
            }
            for (from, message) in std::mem::take(&mut self.in_flight) {
                self.arrive(from, message);
                self.acknowledge(from, message);
            }
        }
    }
}

/// Whether an observer's half and the observed's say the same.
const fn agree(observer: Observing, observed: Observed) -> bool {
    matches!(
        (observer, observed),
        (Observing::Yes, Observed::Yes)
            | (Observing::Asked, Observed::Asked)
            | (Observing::No | Observing::Denied, Observed::No | Observed::Denied)
    )
}

proptest! {
    #![proptest_config(testing::config())]

    #[test]
    fn l2_the_latest_message_of_each_half_is_enough_if_it_arrives_some_time(
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let mut posted = Posted::default();
        for step in &steps {
            posted.step(step);
        }
        posted.settle();
        for (observer, observed) in [(0, 1), (1, 0)] {
            let pair = (posted.ends[observer].observing(), posted.ends[observed].observed());
            prop_assert!(agree(pair.0, pair.1), "{pair:?}");
        }
    }

    #[test]
    fn l2_both_servers_end_up_with_the_same_whatever_happens_between_them(
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let mut link = Link::default();
        for step in &steps {
            link.step(step);
        }
        link.settle();
        link.claim(0);
        link.claim(1);
        link.settle();
        for (observer, observed) in [(0, 1), (1, 0)] {
            let pair = (link.ends[observer].observing(), link.ends[observed].observed());
            prop_assert!(agree(pair.0, pair.1), "{pair:?}");
            // L3: who observes lets observe.
            let end = &link.ends[observer];
            prop_assert!(end.observing() != Observing::Yes || end.observed() != Observed::Asked);
        }
        let settled = link.ends;
        link.claim(0);
        link.claim(1);
        prop_assert!(link.settle() <= 8);
        prop_assert_eq!(link.ends, settled, "claims change nothing where all agree");
    }

    #[test]
    fn l2_every_message_is_idempotent(
        steps in prop::collection::vec(step(), 0..20),
        kind in prop::sample::select(vec![Kind::Invite, Kind::Drop, Kind::Accept, Kind::Deny]),
        seq in 0u64..6,
    ) {
        let mut link = Link::default();
        for step in &steps {
            link.step(step);
        }
        let mut r = link.ends[0];
        r.handle_message(kind, Some(seq), AutoAccept::Reverse);
        let once = r;
        let effects = r.handle_message(kind, Some(seq), AutoAccept::Reverse);
        prop_assert_eq!(r, once);
        prop_assert!(effects.iter().all(|effect| matches!(effect, Effect::Send(_))));
    }

    #[test]
    fn l2_nobody_observes_whom_they_were_not_accepted_by(steps in prop::collection::vec(step(), 0..40)) {
        let mut link = Link::default();
        let mut accepted = [false; 2];
        for step in &steps {
            if let Step::Wish(side, Wish::Accept) = step {
                accepted[usize::from(*side)] |= link.ends[usize::from(*side)].observed() == Observed::Asked;
            }
            link.step(step);
            for (end, other) in [(0, 1), (1, 0)] {
                let reverse = accepted[end];
                let observes = link.ends[end].observing() == Observing::Yes;
                prop_assert!(!observes || accepted[other] || reverse);
            }
        }
    }
}
