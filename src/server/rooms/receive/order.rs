//! Events that name each other, the named ones first.
//!
//! Pure. Server-server API, "PDUs": `prev_events` and `auth_events`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ruma::{EventId, OwnedEventId};

/// Sorts `events` so that each comes after all that it names of them; those that need no order keep the one they have.
/// Answers also with what is left: events that name each other in a circle, or name such, and the second of two alike.
/// Hashes allow no circle; who says that there is one is not believed anything.
pub fn in_order<T>(
    events: Vec<T>,
    id: impl Fn(&T) -> &EventId,
    names: impl Fn(&T) -> Vec<OwnedEventId>,
) -> (Vec<T>, Vec<T>) {
    let (mut index, mut left) = (BTreeMap::<OwnedEventId, usize>::new(), Vec::new());
    let mut all: Vec<Option<T>> = Vec::with_capacity(events.len());
    for event in events {
        if index.contains_key(id(&event)) {
            left.push(event);
            continue;
        }
        index.insert(id(&event).to_owned(), all.len());
        all.push(Some(event));
    }
    let mut waits: Vec<usize> = vec![0; all.len()];
    let mut named_by: Vec<Vec<usize>> = vec![Vec::new(); all.len()];
    for (at, event) in all.iter().enumerate() {
        let named: BTreeSet<usize> =
            event.iter().flat_map(&names).filter_map(|name| index.get(&name).copied()).collect();
        waits[at] = named.len();
        for other in named {
            named_by[other].push(at);
        }
    }
    // Those that wait for nothing go in the order in which they came; who is set free goes right after who did it.
    let mut sorted = Vec::with_capacity(all.len());
    for first in 0..all.len() {
        let mut free = VecDeque::from([first]);
        while let Some(at) = free.pop_front() {
            if waits[at] > 0 {
                continue;
            }
            let Some(event) = all[at].take() else { continue };
            sorted.push(event);
            for &other in &named_by[at] {
                waits[other] -= 1;
                // Later ones are come to anyway.
                if waits[other] == 0 && other < first {
                    free.push_back(other);
                }
            }
        }
    }
    left.extend(all.into_iter().flatten());
    (sorted, left)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event_id(number: usize) -> OwnedEventId {
        OwnedEventId::try_from(format!("$e{number}")).expect("an ID")
    }

    fn sorted(graph: &[(usize, Vec<usize>)]) -> (Vec<usize>, Vec<usize>) {
        let events = graph.iter().map(|(n, names)| (*n, event_id(*n), names.clone())).collect();
        let (sorted, left) =
            in_order(events, |(_, id, _)| id, |(_, _, names)| names.iter().map(|n| event_id(*n)).collect());
        let numbers = |events: Vec<(usize, OwnedEventId, Vec<usize>)>| events.iter().map(|e| e.0).collect();
        (numbers(sorted), numbers(left))
    }

    #[test]
    fn what_is_named_comes_first_and_circles_are_left_out() {
        type Graph<'a> = &'a [(usize, Vec<usize>)];
        let rows: [(&str, Graph<'_>, &[usize], &[usize]); 7] = [
            ("nothing", &[], &[], &[]),
            ("in order already", &[(1, vec![]), (2, vec![1]), (3, vec![2])], &[1, 2, 3], &[]),
            ("backwards", &[(3, vec![2]), (2, vec![1]), (1, vec![])], &[1, 2, 3], &[]),
            ("names what is not there", &[(2, vec![1]), (9, vec![7])], &[2, 9], &[]),
            (
                "a fork keeps the order it came in",
                &[(1, vec![]), (3, vec![1]), (2, vec![1])],
                &[1, 3, 2],
                &[],
            ),
            (
                "a circle, and what rests on it",
                &[(1, vec![2]), (2, vec![1]), (3, vec![1]), (4, vec![])],
                &[4],
                &[1, 2, 3],
            ),
            ("itself, and one twice", &[(1, vec![1]), (2, vec![]), (2, vec![])], &[2], &[2, 1]),
        ];
        for (what, graph, expected, left) in rows {
            assert_eq!(sorted(graph), (expected.to_vec(), left.to_vec()), "{what}");
        }
    }

    proptest! {
        /// However a graph without circles comes: all of it comes out, and nothing before what it names.
        #[test]
        fn any_graph_without_circles_is_put_in_order(
            names in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..4), 1..40),
            shuffle in any::<u64>(),
        ) {
            let mut graph: Vec<(usize, Vec<usize>)> = names
                .iter()
                .enumerate()
                .map(|(n, names)| (n, if n == 0 { vec![] } else { names.iter().map(|i| i.index(n)).collect() }))
                .collect();
            let mut random = shuffle;
            for last in (1..graph.len()).rev() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                graph.swap(last, (random >> 33) as usize % (last + 1));
            }
            let (order, left) = sorted(&graph);
            prop_assert!(left.is_empty());
            prop_assert_eq!(order.len(), graph.len());
            let place = |n: usize| order.iter().position(|o| *o == n).expect("is there");
            for (n, names) in &graph {
                for name in names {
                    prop_assert!(place(*name) < place(*n));
                }
            }
        }
    }
}
