//! The whole engine below its handlers, in simulated time: the dispatchers of several nodes over
//! one memory store, with crashes, stalls, zombies, outages, hints that are lost or repeated, and a
//! Redis that goes away or forgets.
//!
//! A run follows from its seed alone. After the last fault everything has to come to an end, and
//! then the rules are checked against what was called and what was recorded.
//! `ACTIONS_SIM_SEEDS` says how many seeds are tried, `ACTIONS_SIM_SEED` names a single one.

mod accelerator;
mod attempts;
mod batches;
mod checks;
mod claims;
mod dice;
mod faults;
mod forger;
mod ledger;
mod membership;
mod node;
mod rates;
mod reader;
mod users;
mod workload;
mod world;
mod writer;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use checks::violations;
use faults::Planted;
use world::World;

const SEEDS: u64 = 5_000;
/// Among so many seeds a planted bug has to show. Most show in the first few.
const PLANTED_SEEDS: u64 = 200;

/// Runs one seed and answers what was wrong, and a hash of everything that happened.
fn run(seed: u64, planted: Planted) -> (Vec<String>, u64) {
    let mut world = World::new(seed, planted);
    world.run();
    (violations(&world), world.ledger.trace())
}

#[expect(clippy::disallowed_methods, reason = "a person may ask for more seeds, or for one")]
fn number_from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_fails_nothing_is_lost_or_done_out_of_order() {
    if let Some(seed) = number_from_environment("ACTIONS_SIM_SEED") {
        let (wrong, _) = run(seed, Planted::Nothing);
        assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
        return;
    }
    let seeds = number_from_environment("ACTIONS_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let failures: Vec<(u64, Vec<String>)> = thread::scope(|scope| {
        let work = || {
            let mut failures = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds || failures.len() > 2 {
                    return failures;
                }
                let (wrong, _) = run(seed, Planted::Nothing);
                if !wrong.is_empty() {
                    failures.push((seed, wrong));
                }
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn a_run_follows_from_its_seed() {
    for seed in [3, 14, 15] {
        assert_eq!(run(seed, Planted::Nothing), run(seed, Planted::Nothing));
    }
    assert_ne!(run(3, Planted::Nothing).1, run(14, Planted::Nothing).1);
}

/// Plants a bug and looks for a run that notices it. If none did, the rule would prove nothing.
fn is_caught(planted: Planted, told: &[&str]) {
    let is_told = |text: &String| told.iter().any(|told| text.contains(told));
    let caught = (0..PLANTED_SEEDS).find(|seed| run(*seed, planted).0.iter().any(is_told));
    assert!(caught.is_some(), "{PLANTED_SEEDS} seeds with {planted:?}, and nobody said {told:?}");
}

/// Without the comparison of epochs a node that was given up goes on writing.
#[test]
fn a_store_that_does_not_compare_fences_is_caught() {
    is_caught(Planted::NoFences, &["recorded twice", "at once"]);
}

#[test]
fn rates_that_do_not_hold_are_caught() {
    is_caught(Planted::LedgerThatForgets, &["gave out too much"]);
    is_caught(Planted::NoRates, &["no start was drawn"]);
    is_caught(Planted::LooseKeys, &["with one key run at once"]);
    is_caught(Planted::LooseKeys, &["started too often"]);
}

#[test]
fn claims_that_do_not_hold_are_caught() {
    is_caught(Planted::NoClaims, &["stand at once"]);
    is_caught(Planted::NoWait, &["before it was due"]);
    is_caught(Planted::DeafToSuperseding, &["after it lost its place"]);
    is_caught(Planted::SkipsWhatStarted, &["skipped after it was called"]);
}

#[test]
fn a_call_without_all_that_has_joined_is_caught() {
    is_caught(Planted::ShortBatches, &["and not all that has joined"]);
}

/// The faults have to happen, or the runs show nothing.
#[test]
fn the_runs_meet_what_they_are_made_for() {
    let mut met = ledger::Met::default();
    for seed in 0..120 {
        let mut world = World::new(seed, Planted::Nothing);
        world.run();
        met += world.ledger.met;
    }
    let missing = met.missing();
    assert!(missing.is_empty(), "never happened in 120 seeds: {missing:?}; {met:?}");
}
