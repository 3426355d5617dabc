//! How often something may start, told in another way: of any two starts, whether there was time
//! for all that lie between them.

use actions_domain::throttle::Rate;

use super::dice::Micros;
use super::workload::{KEY_RATE, RATE};
use super::world::World;

pub(super) fn violations(world: &World) -> Vec<String> {
    let ledger = &world.ledger;
    let mut wrong: Vec<String> = (ledger.drawn.iter())
        .filter(|(by, drawn)| {
            // What the store was asked for is not forgotten with the accelerator.
            let empty = Vec::new();
            let again = if by.can_forget() { &ledger.emptied } else { &empty };
            !is_paced(RATE, drawn, again)
        })
        .map(|(by, drawn)| format!("{by:?} gave out too much: {drawn:?}"))
        .collect();
    for ((tenant, part, key), starts) in &ledger.paced_starts {
        let mut starts: Vec<(Micros, u32)> = starts.iter().map(|at| (*at, 1)).collect();
        starts.sort_unstable();
        let takeovers = ledger.takeovers.get(part).map_or(&[][..], Vec::as_slice);
        if !is_paced(KEY_RATE, &starts, takeovers) {
            let text = format!("{key} of tenant {} started too often", tenant.0);
            wrong.push(format!("{text}: {starts:?}, takeovers {takeovers:?}"));
        }
    }
    wrong.extend(limited(world));
    wrong
}

/// Between any two times no more came than the rate allows, its burst, and its burst once more for
/// each time that the count began `again`. So in any minute it is N + N/20 and those bursts.
fn is_paced(rate: Rate, came: &[(Micros, u32)], again: &[Micros]) -> bool {
    let cost = rate.minute().expect("the rate is one per minute").cost;
    let burst = i64::from(rate.burst());
    (0..came.len()).all(|first| {
        let from = came[first].0;
        let mut sum = 0;
        came[first..].iter().all(|(at, count)| {
            sum += i64::from(*count);
            let restarts = again.iter().filter(|time| (from..=*at).contains(*time)).count();
            sum <= (*at - from) / cost + burst * (1 + i64::try_from(restarts).unwrap())
        })
    })
}

/// In no stretch of ten seconds did more start than the rate, its burst, and what each node had
/// drawn before. An emptied ledger lets its burst pass once more, and so does the store's, which
/// for a while is drawn from beside the other.
fn limited(world: &World) -> Option<String> {
    let ledger = &world.ledger;
    let starts = &ledger.limited_starts;
    let burst = usize::try_from(RATE.burst()).unwrap();
    let ledgers = ledger.drawn.len().max(1);
    let most = (10 + burst) * ledgers + burst * (world.nodes.len() + ledger.emptied.len());
    let stretches = starts.windows(most + 1);
    let too_many = stretches.filter(|stretch| stretch[most] - stretch[0] < 10_000_000).count();
    (too_many > 0).then(|| format!("the limited action was started too often: {starts:?}"))
}
