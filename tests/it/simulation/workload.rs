//! What is asked of the engine, and how the handlers behave.

use std::sync::Arc;
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::dispatch::End;
use actions_domain::execution::{AttemptOutcome, Fault, Priority};
use actions_domain::gathering::Gathering;
use actions_domain::id::{ActionId, ExecutionId, TenantId};
use actions_domain::json::Json;
use actions_domain::retry::{Backoff, Jitter, RetryPolicy};
use actions_domain::terms::Terms;
use actions_domain::throttle::{Limits, PerKey, Rate, Scope};
use actions_domain::work::{Commit, Dedupe, Ingest, Key, KeyMode, Part, Submission, Work};

use super::dice::{Dice, Micros, instant};

pub(super) const TENANTS: u64 = 3;
/// The action that may run once at a time, over all nodes, and as often as [`RATE`] says.
pub(super) const LIMITED: ActionId = ActionId(2);
pub(super) const LIMIT: usize = 1;
pub(super) const RATE: Rate = Rate { per_minute: Some(60), per_hour: None };
/// The action that must not happen twice.
pub(super) const ONCE: ActionId = ActionId(3);
/// The tenant that may run two at a time, over all nodes.
pub(super) const LIMITED_TENANT: TenantId = TenantId(3);
pub(super) const TENANT_LIMIT: usize = 2;
/// The action that may run two at a time with each of its keys.
pub(super) const COUNTED: ActionId = ActionId(4);
pub(super) const KEY_LIMIT: usize = 2;
/// The action whose executions gather, so many at most.
pub(super) const BATCHED: ActionId = ActionId(5);
pub(super) const BATCH_SIZE: u32 = 4;
pub(super) const BATCH_WAIT: Duration = Duration::from_millis(1_500);
/// Attempts after the first.
pub(super) const RETRIES: u32 = 2;
const BACKOFF_MS: u64 = 700;

const KEYS: [&str; 6] =
    ["order:1", "order:1", "order:1:line:1", "order:1:line:2", "order:2", "user:7"];

pub(super) fn limits() -> [(Scope, Limits); 3] {
    let concurrency = |max: usize| Some(u32::try_from(max).unwrap());
    let action = Limits { concurrency: concurrency(LIMIT), rate: RATE, ..Limits::default() };
    let tenant = Limits { concurrency: concurrency(TENANT_LIMIT), ..Limits::default() };
    let per_key = PerKey { concurrency: concurrency(KEY_LIMIT), ..PerKey::default() };
    let counted = Limits { per_key, ..Limits::default() };
    [
        (Scope::Action(LIMITED), action),
        (Scope::Tenant(LIMITED_TENANT), tenant),
        (Scope::Action(COUNTED), counted),
    ]
}

/// One execution that somebody asked for.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) work: Arc<Work>,
    pub(super) part: Part,
    pub(super) accepted_at: Micros,
    /// Its handler ends the process.
    pub(super) is_poison: bool,
}

pub(super) fn order(dice: &mut Dice, parts: u16, now: Micros, can_poison: bool) -> Order {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&dice.roll().to_le_bytes());
    let id = ExecutionId::mint(instant(now), random);
    let tenant = TenantId(i32::try_from(1 + dice.below(TENANTS)).unwrap());
    let mode = dice.pick(&[KeyMode::Mutate, KeyMode::Mutate, KeyMode::Read, KeyMode::Create]);
    let counted = dice.chance(15).then(|| dice.pick(&KEYS[4..]));
    let action = match (counted, dice.below(100)) {
        (Some(_), _) => COUNTED,
        (None, 0..=19) => LIMITED,
        // One that ends the process is told from one whose end is unknown.
        (None, 20..=39) if !can_poison => ONCE,
        (None, 40..=54) if !can_poison => BATCHED,
        (None, _) => ActionId(1),
    };
    let is_batched = action == BATCHED;
    let key = (!is_batched && dice.chance(65)).then(|| Key::parse(dice.pick(&KEYS), mode).unwrap());
    // All that is counted together has one owner.
    let counted_key = |name| Key::parse(name, KeyMode::Read).unwrap();
    let key = counted.map_or(key, |name| Some(counted_key(name)));
    let part = match &key {
        Some(key) => key.part(tenant, parts),
        None => Part(u16::try_from(dice.below(u64::from(parts))).unwrap()),
    };
    let delay = dice.chance(12).then(|| dice.millis(0, 9_000));
    let gathering = Gathering { key: Some([0; 16]), size_max: BATCH_SIZE };
    let work = Work {
        id,
        tenant,
        lane: dice.pick(&[Priority::Low, Priority::Normal, Priority::Critical]),
        action,
        defs: 0,
        key,
        event: None,
        parent: None,
        queued_at: instant(now),
        delay: if is_batched { Some(BATCH_WAIT) } else { delay },
        // What joins a batch is known by this.
        input: is_batched.then(|| Json::from_value(&id.to_string().into())),
        depth: 0,
        terms: Terms {
            concurrency_key: counted.map(Into::into),
            gathering: is_batched.then_some(gathering),
            ..Terms::default()
        }
        .unless_empty(),
    };
    Order { work: Arc::new(work), part, accepted_at: now, is_poison: can_poison }
}

/// The commit that accepts an order. Sent again after an unknown outcome, it changes nothing.
pub(super) fn submission(order: &Order) -> Commit {
    let id = order.work.id;
    let dedupe = Dedupe { key: *id.0.as_bytes(), subject: id.0 };
    let ingest = Ingest {
        event: None,
        dedupe: Some(dedupe),
        works: vec![(order.part, Arc::clone(&order.work))],
        requeue_of: None,
    };
    let tenant = order.work.tenant;
    let submissions = vec![Submission::new(tenant, None, vec![ingest])];
    Commit { submissions, ..Commit::default() }
}

/// How long an attempt takes, and how it ends.
pub(super) fn behaviour(dice: &mut Dice) -> (Duration, AttemptOutcome, bool) {
    let took = if dice.chance(10) { dice.millis(1_000, 14_000) } else { dice.millis(1, 400) };
    let outcome = match dice.below(100) {
        0..=13 => AttemptOutcome::Failed,
        14..=18 => AttemptOutcome::Timeout,
        _ => AttemptOutcome::Completed,
    };
    (took, outcome, dice.chance(15))
}

pub(super) fn end(
    started_at: Timestamp,
    ended_at: Timestamp,
    outcome: AttemptOutcome,
    rejected: bool,
    jitter: u64,
) -> End {
    let fault = match outcome {
        AttemptOutcome::Failed => Some(Fault::handler("sim.failed", "it did not work")),
        AttemptOutcome::Timeout => Some(Fault::timeout(Duration::from_secs(1))),
        AttemptOutcome::Unknown => Some(Fault::unknown("simulated")),
        AttemptOutcome::Completed | AttemptOutcome::Cancelled | AttemptOutcome::Lost => None,
    };
    End {
        started_at,
        ended_at,
        outcome,
        output: None,
        fault,
        rejected: rejected && outcome == AttemptOutcome::Failed,
        cpu_ms: None,
        memory_mb: None,
        policy: RetryPolicy {
            max_retries: RETRIES,
            backoff: Backoff::Linear,
            initial_delay_ms: BACKOFF_MS,
            ..RetryPolicy::default()
        },
        jitter: Jitter(jitter),
    }
}

/// Whether a call has its effect, which happens at its beginning.
pub(super) fn has_effect(dice: &mut Dice, outcome: AttemptOutcome) -> bool {
    match outcome {
        AttemptOutcome::Completed => true,
        // The other side may have acted before the time was over.
        AttemptOutcome::Timeout => dice.chance(50),
        AttemptOutcome::Failed
        | AttemptOutcome::Cancelled
        | AttemptOutcome::Lost
        | AttemptOutcome::Unknown => false,
    }
}

/// The least pause before the attempt after this number.
pub(super) fn backoff(failed: u32) -> Duration {
    Duration::from_millis(BACKOFF_MS * u64::from(failed))
}
