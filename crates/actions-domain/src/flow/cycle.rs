//! The shortest way back: what is reported of a graph that goes round in circles.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Finds one cycle in each part of a graph that has any: a shortest one of that part, from its
/// first name in order. Parts come in the order of these names.
///
/// Edges from a vertex to itself are left to the caller: they have a problem of their own.
pub fn shortest_cycles<T: Ord + Clone>(ways: &BTreeMap<T, BTreeSet<T>>) -> Vec<Vec<T>> {
    let mut cycles: Vec<Vec<T>> =
        knots(ways).iter().filter_map(|knot| shortest_in(knot, ways)).collect();
    cycles.sort();
    cycles
}

/// What is left after everything that leads nowhere or comes from nowhere was taken away, in
/// parts within which every vertex reaches every other one.
fn knots<T: Ord + Clone>(ways: &BTreeMap<T, BTreeSet<T>>) -> Vec<BTreeSet<T>> {
    let mut back: BTreeMap<T, BTreeSet<T>> = BTreeMap::new();
    for (from, to) in ways.iter().flat_map(|(from, tos)| tos.iter().map(move |to| (from, to))) {
        back.entry(to.clone()).or_default().insert(from.clone());
    }
    let mut left: BTreeSet<T> = ways.keys().chain(back.keys()).cloned().collect();
    peel(&mut left, ways, &back);
    peel(&mut left, &back, ways);

    let mut knots = Vec::new();
    while let Some(first) = left.first().cloned() {
        let ahead = reached(&first, ways, &left);
        let behind = reached(&first, &back, &left);
        let knot: BTreeSet<T> = ahead.intersection(&behind).cloned().collect();
        left.remove(&first);
        left.retain(|vertex| !knot.contains(vertex));
        if knot.len() > 1 {
            knots.push(knot);
        }
    }
    knots
}

/// Takes away, again and again, what no way leads to.
fn peel<T: Ord + Clone>(
    left: &mut BTreeSet<T>,
    ways: &BTreeMap<T, BTreeSet<T>>,
    back: &BTreeMap<T, BTreeSet<T>>,
) {
    let count = |vertex: &T, left: &BTreeSet<T>| {
        back.get(vertex).map_or(0, |froms| froms.iter().filter(|from| left.contains(*from)).count())
    };
    let mut counts: BTreeMap<T, usize> =
        left.iter().map(|vertex| (vertex.clone(), count(vertex, left))).collect();
    let mut free: Vec<T> =
        counts.iter().filter(|(_, count)| **count == 0).map(|(vertex, _)| vertex.clone()).collect();
    while let Some(vertex) = free.pop() {
        left.remove(&vertex);
        for to in ways.get(&vertex).into_iter().flatten() {
            let Some(count) = counts.get_mut(to).filter(|count| **count > 0) else { continue };
            *count -= 1;
            if *count == 0 {
                free.push(to.clone());
            }
        }
    }
}

/// All vertices that ways lead to from `start`, and itself.
fn reached<T: Ord + Clone>(
    start: &T,
    ways: &BTreeMap<T, BTreeSet<T>>,
    within: &BTreeSet<T>,
) -> BTreeSet<T> {
    let mut seen = BTreeSet::from([start.clone()]);
    let mut open = vec![start.clone()];
    while let Some(vertex) = open.pop() {
        for to in ways.get(&vertex).into_iter().flatten().filter(|to| within.contains(*to)) {
            if seen.insert(to.clone()) {
                open.push(to.clone());
            }
        }
    }
    seen
}

/// A shortest cycle through any vertex; of several, the one whose first name comes first.
fn shortest_in<T: Ord + Clone>(
    knot: &BTreeSet<T>,
    ways: &BTreeMap<T, BTreeSet<T>>,
) -> Option<Vec<T>> {
    let mut best: Option<Vec<T>> = None;
    for start in knot {
        let max = best.as_ref().map_or(usize::MAX, Vec::len);
        if let Some(found) = way_back(start, ways, knot, max) {
            best = Some(found);
        }
        // Nothing is shorter than two.
        if best.as_ref().is_some_and(|best| best.len() == 2) {
            break;
        }
    }
    best
}

/// A shortest cycle through `start` with fewer than `max` vertices.
fn way_back<T: Ord + Clone>(
    start: &T,
    ways: &BTreeMap<T, BTreeSet<T>>,
    knot: &BTreeSet<T>,
    max: usize,
) -> Option<Vec<T>> {
    let mut came_from: BTreeMap<&T, &T> = BTreeMap::new();
    let mut open = VecDeque::from([(start, 1)]);
    while let Some((vertex, length)) = open.pop_front() {
        if length >= max {
            return None;
        }
        for to in ways.get(vertex).into_iter().flatten().filter(|to| knot.contains(*to)) {
            if to == start {
                let mut cycle = vec![vertex];
                while let Some(before) = came_from.get(cycle[cycle.len() - 1]) {
                    cycle.push(before);
                }
                cycle.reverse();
                return Some(cycle.into_iter().cloned().collect());
            }
            if !came_from.contains_key(to) {
                came_from.insert(to, vertex);
                open.push_back((to, length + 1));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
