//! How much of a wide fork is taken at once.
//!
//! Pure. An event can be placed when the states around it are known, or when it is said what the state before it is: that
//! costs a question. A fork has many events that follow nothing known, so as many of the last events are taken as a few
//! questions are enough for; what was before them is asked for again from there.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{EventId, OwnedEventId};

/// An event that waits for what it follows.
pub(super) struct Waits {
    pub(super) id: OwnedEventId,
    /// What it follows.
    pub(super) prev: BTreeSet<OwnedEventId>,
    /// That of it after which the state is not known.
    pub(super) missing: BTreeSet<OwnedEventId>,
}

/// Of `events`, in an order in which each comes after those that it follows: before which the state has to be said so that
/// as many of the last of them as possible can be placed, in up to `max` questions. Those of one question follow the same
/// events, so the state before them is the same.
pub(super) fn cut(events: &[Waits], max: usize) -> Vec<Vec<OwnedEventId>> {
    let mut followed_by: BTreeMap<&EventId, Vec<&Waits>> = BTreeMap::new();
    // How much of what each of those that are taken lacks is not taken.
    let mut lacks: BTreeMap<&EventId, usize> = BTreeMap::new();
    let mut questions: BTreeMap<&BTreeSet<OwnedEventId>, BTreeSet<&OwnedEventId>> = BTreeMap::new();
    let mut best = Vec::new();
    for event in events.iter().rev() {
        for follower in followed_by.remove(&*event.id).unwrap_or_default() {
            let Some(left) = lacks.get_mut(&*follower.id) else { continue };
            *left -= 1;
            if *left == 0
                && let Some(alike) = questions.get_mut(&follower.prev)
            {
                alike.remove(&follower.id);
                if alike.is_empty() {
                    questions.remove(&follower.prev);
                }
            }
        }
        if !event.missing.is_empty() {
            event.missing.iter().for_each(|id| followed_by.entry(id).or_default().push(event));
            lacks.insert(&event.id, event.missing.len());
            questions.entry(&event.prev).or_default().insert(&event.id);
        }
        if questions.len() <= max {
            best = questions.values().map(|alike| alike.iter().copied().cloned().collect()).collect();
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event_id(number: usize) -> OwnedEventId {
        OwnedEventId::try_from(format!("$e{number:03}")).expect("an ID")
    }

    /// Events by number, and what each follows; of what is below 100 the state is known.
    fn waits(graph: &[(usize, Vec<usize>)]) -> Vec<Waits> {
        let ids = |numbers: &[usize]| numbers.iter().copied().map(event_id).collect::<BTreeSet<_>>();
        let missing = |prev: &[usize]| prev.iter().copied().filter(|n| *n >= 100).collect::<Vec<_>>();
        let of = |(n, prev): &(usize, Vec<usize>)| Waits {
            id: event_id(*n),
            prev: ids(prev),
            missing: ids(&missing(prev)),
        };
        graph.iter().map(of).collect()
    }

    #[test]
    fn the_state_is_asked_for_where_a_fork_is_narrow_enough() {
        type Graph<'a> = &'a [(usize, Vec<usize>)];
        let rows: [(&str, Graph<'_>, usize, &[&[usize]]); 10] = [
            ("nothing", &[], 2, &[]),
            ("a line", &[(201, vec![100]), (202, vec![201]), (203, vec![202])], 1, &[&[201]]),
            ("what is known needs nothing", &[(201, vec![1]), (202, vec![201])], 1, &[]),
            ("no question is left", &[(201, vec![100]), (202, vec![201])], 0, &[]),
            (
                "those that follow the same are one question",
                &[(201, vec![100]), (202, vec![100]), (203, vec![100]), (204, vec![201, 202, 203])],
                1,
                &[&[201, 202, 203]],
            ),
            (
                "not those of which one follows more, though that is known",
                &[(201, vec![100]), (202, vec![1, 100]), (203, vec![201, 202])],
                2,
                &[&[202], &[201]],
            ),
            (
                "a fork that is too wide, from where it meets",
                &[
                    (201, vec![101]),
                    (202, vec![102]),
                    (203, vec![103]),
                    (204, vec![201, 202, 203]),
                    (205, vec![204]),
                ],
                2,
                &[&[203], &[204]],
            ),
            (
                "a fork that is wide further back",
                &[
                    (201, vec![101]),
                    (202, vec![102]),
                    (203, vec![103]),
                    (204, vec![201, 202]),
                    (205, vec![203]),
                ],
                2,
                &[&[203], &[204]],
            ),
            (
                "some of many lines",
                &[(201, vec![101]), (202, vec![102]), (203, vec![201]), (204, vec![202])],
                1,
                &[&[204]],
            ),
            ("one that follows what is here and what is not", &[(201, vec![1, 101])], 1, &[&[201]]),
        ];
        for (what, graph, max, expected) in rows {
            let expected: Vec<Vec<_>> =
                expected.iter().map(|alike| alike.iter().copied().map(event_id).collect()).collect();
            assert_eq!(cut(&waits(graph), max), expected, "{what}");
        }
    }

    proptest! {
        /// However a graph is forked: no more is asked than may be, and what is answered is enough for some of the last
        /// events without a hole; for all of them where the questions are enough for each.
        #[test]
        fn any_graph_gets_on(
            names in prop::collection::vec(prop::collection::btree_set(0_usize..60, 1..5), 1..60),
            max in 1_usize..12,
        ) {
            let graph: Vec<(usize, Vec<usize>)> = names
                .iter()
                .enumerate()
                .map(|(n, names)| {
                    // Of itself and those after it there is nothing to follow: what is elsewhere stands for them.
                    (200 + n, names.iter().map(|name| if *name < n { 200 + name } else { 100 + name }).collect())
                })
                .collect();
            let events = waits(&graph);
            let questions = cut(&events, max);
            prop_assert!(questions.len() <= max);
            let said: BTreeSet<&OwnedEventId> = questions.iter().flatten().collect();
            let mut placed: BTreeSet<&OwnedEventId> = BTreeSet::new();
            for event in &events {
                if said.contains(&event.id) || event.missing.iter().all(|id| placed.contains(id)) {
                    placed.insert(&event.id);
                }
            }
            let first = events.iter().position(|event| placed.contains(&event.id)).expect("some are placed");
            prop_assert!(events[first..].iter().all(|event| placed.contains(&event.id)), "no hole");
            let kinds: BTreeSet<_> = events.iter().map(|event| &event.prev).collect();
            if kinds.len() <= max {
                prop_assert_eq!(placed.len(), events.len());
            }
        }
    }
}
