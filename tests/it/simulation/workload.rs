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
use actions_domain::terms::{Claim, Conflict, Terms};
use actions_domain::throttle::{Limits, PerKey, Rate, Scope};
use actions_domain::work::{Commit, Dedupe, Ingest, Key, KeyMode, Part, Submission, Work};

use super::dice::{Dice, Micros, instant};
use super::faults::Planted;

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
/// The action that may start as often as [`KEY_RATE`] says with each of its keys.
pub(super) const PACED: ActionId = ActionId(5);
pub(super) const KEY_RATE: Rate = Rate { per_minute: Some(40), per_hour: None };
/// The actions of which one execution stands for all with its key: those that come later yield,
/// take its place, or take its place as long as it waits.
const UNIQUE: ActionId = ActionId(6);
const REPLACED: ActionId = ActionId(7);
const DEBOUNCED: ActionId = ActionId(8);
const DEBOUNCE_WAIT: Duration = Duration::from_secs(2);
const DEBOUNCE_MAX_WAIT: Duration = Duration::from_secs(5);
/// The action whose executions gather, so many at most and for so long.
pub(super) const BATCHED: ActionId = ActionId(9);
pub(super) const BATCH_SIZE: u32 = 4;
pub(super) const BATCH_WAIT: Duration = Duration::from_millis(1_500);
/// Attempts after the first.
pub(super) const RETRIES: u32 = 2;
const BACKOFF_MS: u64 = 700;

const KEYS: [&str; 6] =
    ["order:1", "order:1", "order:1:line:1", "order:1:line:2", "order:2", "user:7"];

/// What nodes are told of limits.
pub(super) fn limits(planted: Planted) -> [(Scope, Limits); 4] {
    let concurrency = |max: usize| Some(u32::try_from(max).unwrap());
    let rate = if planted == Planted::NoRates { Rate::default() } else { RATE };
    let action = Limits { concurrency: concurrency(LIMIT), rate, ..Limits::default() };
    let tenant = Limits { concurrency: concurrency(TENANT_LIMIT), ..Limits::default() };
    let (most, rate) = if planted == Planted::LooseKeys {
        let per_minute = KEY_RATE.per_minute.map(|starts| 2 * starts);
        (KEY_LIMIT + 1, Rate { per_minute, ..KEY_RATE })
    } else {
        (KEY_LIMIT, KEY_RATE)
    };
    let counted = PerKey { concurrency: concurrency(most), ..PerKey::default() };
    let paced = PerKey { rate, ..PerKey::default() };
    [
        (Scope::Action(LIMITED), action),
        (Scope::Tenant(LIMITED_TENANT), tenant),
        (Scope::Action(COUNTED), Limits { per_key: counted, ..Limits::default() }),
        (Scope::Action(PACED), Limits { per_key: paced, ..Limits::default() }),
    ]
}

/// Of a hundred orders, how many are of a family. The others have plain actions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mix {
    counted: u64,
    paced: u64,
    claiming: u64,
    gathering: u64,
}

impl Mix {
    pub(super) fn new(dice: &mut Dice) -> Self {
        let mut mix = Self { counted: 10, paced: 5, claiming: 10, gathering: 8 };
        match dice.below(5) {
            0 => mix.counted = 40,
            1 => mix.paced = 40,
            2 => mix.claiming = 50,
            3 => mix.gathering = 40,
            _ => {}
        }
        mix
    }
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

impl Order {
    fn new(dice: &mut Dice, parts: u16, now: Micros, work: Work) -> Self {
        let part = match &work.key {
            Some(key) => key.part(work.tenant, parts),
            None => Part(u16::try_from(dice.below(u64::from(parts))).unwrap()),
        };
        Self { work: Arc::new(work), part, accepted_at: now, is_poison: false }
    }

    pub(super) fn claim(&self) -> Option<Claim> {
        self.work.terms.as_ref()?.claim
    }
}

pub(super) fn order(dice: &mut Dice, parts: u16, now: Micros, mix: Mix) -> Order {
    let kind = dice.below(100);
    if kind < mix.counted {
        let name = dice.pick(&KEYS[4..]);
        let terms = Terms { concurrency_key: Some(name.into()), ..Terms::default() };
        named(dice, parts, now, (COUNTED, name, terms))
    } else if kind < mix.counted + mix.paced {
        let name = dice.pick(&KEYS[4..]);
        let terms = Terms { throttle_key: Some(name.into()), ..Terms::default() };
        named(dice, parts, now, (PACED, name, terms))
    } else if kind < mix.counted + mix.paced + mix.claiming {
        claiming(dice, parts, now)
    } else if kind < mix.counted + mix.paced + mix.claiming + mix.gathering {
        gathering(dice, parts, now)
    } else {
        plain(dice, parts, now, false)
    }
}

/// All that is counted together has one owner: its name is its key.
fn named(
    dice: &mut Dice,
    parts: u16,
    now: Micros,
    (action, name, terms): (ActionId, &str, Terms),
) -> Order {
    let key = Some(Key::parse(name, KeyMode::Read).unwrap());
    let work = Work { action, key, terms: terms.unless_empty(), ..work(dice, now) };
    Order::new(dice, parts, now, work)
}

/// One that stands for all with its key, or yields, or takes another one's place.
fn claiming(dice: &mut Dice, parts: u16, now: Micros) -> Order {
    let action = dice.pick(&[UNIQUE, REPLACED, DEBOUNCED, DEBOUNCED]);
    let number = u8::try_from(dice.below(2)).unwrap();
    let claim = Claim {
        key: [u8::try_from(action.0).unwrap() * 10 + number; 16],
        until_finished: true,
        period: None,
        on_conflict: if action == UNIQUE { Conflict::Existing } else { Conflict::Replace },
        waits: action == DEBOUNCED,
        max_wait: (action == DEBOUNCED && number == 1).then_some(DEBOUNCE_MAX_WAIT),
    };
    let terms = Terms { claim: Some(claim), ..Terms::default() }.unless_empty();
    let work = work(dice, now);
    let delay = if claim.waits { Some(DEBOUNCE_WAIT) } else { work.delay };
    // Two tenants may use one key.
    let work = Work { action, terms, delay, key: key(dice, 30), ..work };
    Order::new(dice, parts, now, work)
}

/// One that begins a batch, or joins one. Afterwards it is known by its input.
fn gathering(dice: &mut Dice, parts: u16, now: Micros) -> Order {
    let gathering = Gathering { key: Some([0; 16]), size_max: BATCH_SIZE };
    let terms = Terms { gathering: Some(gathering), ..Terms::default() }.unless_empty();
    let work = work(dice, now);
    let input = Some(Json::from_value(&work.id.to_string().into()));
    let work = Work { action: BATCHED, terms, delay: Some(BATCH_WAIT), input, ..work };
    Order::new(dice, parts, now, work)
}

/// One of an action without terms.
pub(super) fn plain(dice: &mut Dice, parts: u16, now: Micros, is_poison: bool) -> Order {
    let action = match dice.below(100) {
        0..=19 => LIMITED,
        // One that ends the process is told from one whose end is unknown.
        20..=39 if !is_poison => ONCE,
        _ => ActionId(1),
    };
    let work = Work { action, key: key(dice, 65), ..work(dice, now) };
    Order { is_poison, ..Order::new(dice, parts, now, work) }
}

fn key(dice: &mut Dice, percent: u64) -> Option<Key> {
    let mode = dice.pick(&[KeyMode::Mutate, KeyMode::Mutate, KeyMode::Read, KeyMode::Create]);
    dice.chance(percent).then(|| Key::parse(dice.pick(&KEYS), mode).unwrap())
}

fn work(dice: &mut Dice, now: Micros) -> Work {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&dice.roll().to_le_bytes());
    Work {
        id: ExecutionId::mint(instant(now), random),
        tenant: TenantId(i32::try_from(1 + dice.below(TENANTS)).unwrap()),
        lane: dice.pick(&[Priority::Low, Priority::Normal, Priority::Critical]),
        action: ActionId(1),
        defs: 0,
        key: None,
        event: None,
        parent: None,
        queued_at: instant(now),
        delay: dice.chance(12).then(|| dice.millis(0, 9_000)),
        input: None,
        depth: 0,
        terms: None,
    }
}

/// The commit that accepts an order. Sent again after an unknown outcome, it changes nothing.
pub(super) fn submission(order: &Order, planted: Planted) -> Commit {
    let id = order.work.id;
    let mut work = Arc::clone(&order.work);
    if planted == Planted::NoClaims {
        work = Arc::new(Work { terms: None, ..(*work).clone() });
    }
    if planted == Planted::NoWait && order.claim().is_some_and(|claim| claim.waits) {
        work = Arc::new(Work { delay: None, ..(*work).clone() });
    }
    let dedupe = Dedupe { key: *id.0.as_bytes(), subject: id.0 };
    let ingest = Ingest {
        event: None,
        dedupe: Some(dedupe),
        works: vec![(order.part, work)],
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
