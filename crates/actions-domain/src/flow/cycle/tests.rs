use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::shortest_cycles;

fn ways(edges: &[(u8, u8)]) -> BTreeMap<u8, BTreeSet<u8>> {
    let mut ways: BTreeMap<u8, BTreeSet<u8>> = BTreeMap::new();
    for (from, to) in edges {
        ways.entry(*from).or_default().insert(*to);
    }
    ways
}

#[test]
fn each_knot_gives_its_shortest_circle_from_its_first_name() {
    let none: Vec<Vec<u8>> = Vec::new();
    assert_eq!(shortest_cycles(&ways(&[(1, 2), (2, 3), (1, 3)])), none);
    assert_eq!(shortest_cycles(&ways(&[(1, 1)])), none, "that is said in another way");
    assert_eq!(shortest_cycles(&ways(&[(3, 1), (1, 2), (2, 3)])), [[1, 2, 3]]);
    // A long way round and a short one.
    let knot = [(1, 2), (2, 3), (3, 4), (4, 1), (3, 2)];
    assert_eq!(shortest_cycles(&ways(&knot)), [[2, 3]]);
    let two = [(5, 6), (6, 5), (1, 2), (2, 1), (2, 5)];
    assert_eq!(shortest_cycles(&ways(&two)), [[1, 2], [5, 6]]);
}

/// The length of the shortest circle, by trying all ways of each length.
fn shortest_by_force(ways: &BTreeMap<u8, BTreeSet<u8>>) -> Option<usize> {
    let step = |from: &BTreeSet<u8>| -> BTreeSet<u8> {
        from.iter().flat_map(|at| ways.get(at).into_iter().flatten().copied()).collect()
    };
    let length_from = |start: u8| {
        let mut reached = BTreeSet::from([start]);
        (1..=ways.len()).find(|_| {
            reached = step(&reached);
            reached.contains(&start)
        })
    };
    ways.keys().filter_map(|start| length_from(*start)).min()
}

proptest! {
    #[test]
    fn no_circle_is_overlooked_and_none_is_shorter(
        edges in proptest::collection::vec((0_u8..12, 0_u8..12), 0..30),
    ) {
        let edges: Vec<_> = edges.into_iter().filter(|(from, to)| from != to).collect();
        let ways = ways(&edges);
        let cycles = shortest_cycles(&ways);
        prop_assert_eq!(cycles.iter().map(Vec::len).min(), shortest_by_force(&ways));
        for cycle in &cycles {
            let next = cycle.iter().cycle().skip(1);
            for (from, to) in cycle.iter().zip(next) {
                prop_assert!(ways[from].contains(to));
            }
        }
    }
}
