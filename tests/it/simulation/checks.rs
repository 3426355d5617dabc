//! The rules, checked against what was called and what was recorded.

use std::collections::{BTreeMap, BTreeSet};

use actions_domain::execution::{Attempt, AttemptOutcome, Cause, Status};
use actions_domain::ports::history::History;
use actions_domain::work::{Finish, Key, KeyMode, Part, Seq};

use super::ledger::Call;
use super::rates;
use super::workload::{BATCHED, ONCE, Order, RETRIES, backoff};
use super::world::{World, at_once};
use super::{batches, claims};

pub(super) fn violations(world: &World) -> Vec<String> {
    let mut wrong = world.ledger.wrong.clone();
    wrong.extend(homes(world));
    let mut ended: Vec<(&Order, &Finish)> = Vec::new();
    for (id, order) in &world.ledger.accepted {
        let finishes = world.ledger.finishes.get(id).map_or(&[][..], Vec::as_slice);
        match finishes {
            [] => wrong.push(format!("{id} is lost")),
            [finish] => ended.push((order, finish)),
            [first, ..] => {
                let calls = world.ledger.calls.get(id).map_or(&[][..], Vec::as_slice);
                let ends = finishes.iter().map(|finish| {
                    let attempts = tell(&finish.item.attempts, calls);
                    format!("{:?} e{} {attempts}", finish.status, finish.epoch.0)
                });
                let ends: Vec<String> = ends.collect();
                wrong.push(format!("{id} is recorded twice: {ends:?} {:?}", order.work));
                ended.push((order, first));
            }
        }
    }
    for (order, finish) in &ended {
        let calls = world.ledger.calls.get(&order.work.id).map_or(&[][..], Vec::as_slice);
        wrong.extend(life(order, finish, calls));
        let due_at = world.ledger.claims.due_at(order);
        // A batch that is full does not wait.
        if order.work.action != BATCHED
            && calls.iter().any(|call| call.was_made && call.at < due_at)
        {
            wrong.push(format!("{} was called before it was due", order.work.id));
        }
    }
    wrong.extend(numbers(&ended));
    wrong.extend(keys(&ended));
    wrong.extend(rates::violations(world));
    wrong.extend(claims::violations(&world.ledger, &ended));
    wrong.extend(batches::violations(world));
    if !wrong.is_empty() {
        wrong.extend(world.nodes.iter().map(|node| format!("node holds {:?}", node.depths())));
    }
    wrong
}

/// The store agrees: what was accepted is finished there, and nowhere else.
fn homes(world: &World) -> Vec<String> {
    let orders = world.ledger.accepted.values();
    let stored = orders.filter_map(|order| {
        let found = at_once(world.memory.find_execution(order.work.tenant, order.work.id)).unwrap();
        match found {
            None => Some(format!("{} has no home", order.work.id)),
            Some(execution) if execution.status.is_final() => None,
            Some(execution) => Some(format!(
                "{} is {:?}, due {:?}, key {:?}, delay {:?}",
                execution.id, execution.status, execution.due_at, execution.key, order.work.delay
            )),
        }
    });
    stored.collect()
}

/// One execution by itself: its attempts, and the calls that they stand for.
fn life(order: &Order, finish: &Finish, calls: &[Call]) -> Vec<String> {
    let mut wrong = Vec::new();
    let attempts = &finish.item.attempts;
    let mut say = |text: &str| {
        let id = order.work.id;
        wrong.push(format!("{id} ({:?}) {text}: {}", finish.status, tell(attempts, calls)));
    };
    let numbers: Vec<u32> = attempts.iter().map(|attempt| attempt.number).collect();
    if numbers != (1..=u32::try_from(attempts.len()).unwrap()).collect::<Vec<_>>() {
        say("has attempts out of order");
    }
    let judged = attempts.iter().filter(|attempt| is_judged(attempt)).count();
    if judged > usize::try_from(RETRIES).unwrap() + 1 {
        say("was tried too often");
    }
    for epoch in calls.iter().map(|call| call.epoch).collect::<BTreeSet<_>>() {
        let made = calls.iter().filter(|call| call.was_made && call.epoch == epoch).count();
        let told = attempts.iter().filter(|attempt| was_made(attempt) && attempt.epoch == epoch);
        let is_explained = attempts.iter().any(|attempt| {
            let is_lost = !was_made(attempt) && attempt.epoch >= epoch;
            is_lost || attempt.lost_epoch.is_some_and(|lost| lost >= epoch)
        });
        if made > told.count() && !is_explained {
            say("was called without a record");
        }
    }
    for attempt in attempts.iter().filter(|attempt| was_made(attempt)) {
        let started_at = attempt.started_at.timestamp_micros();
        if !calls.iter().any(|call| call.epoch == attempt.epoch && call.at == started_at) {
            say("has a record without a call");
        }
        if attempt.cause == Cause::LeaseLost && attempt.lost_epoch.is_none() {
            say("does not say which epoch was lost");
        }
    }
    let mut failed = 0;
    for pair in attempts.windows(2) {
        failed += u32::from(is_judged(&pair[0]));
        let pause = pair[1].started_at - pair[0].ended_at;
        let is_retry = is_judged(&pair[0]) && pair[1].outcome != AttemptOutcome::Lost;
        let is_called = was_made(&pair[1]);
        if is_retry && is_called && pause.to_std().unwrap_or_default() < backoff(failed) {
            say("was retried too early");
        }
    }
    if finish.status == Status::Completed
        && attempts.last().map(|attempt| attempt.outcome) != Some(AttemptOutcome::Completed)
    {
        say("is completed without an attempt that was");
    }
    let effects = calls.iter().filter(|call| call.has_effect).count();
    if order.work.action == ONCE && effects > 1 {
        say("happened twice");
    }
    if order.work.action == ONCE && finish.status == Status::Completed && effects == 0 {
        say("is completed and never happened");
    }
    if order.is_poison && finish.status != Status::Cancelled {
        let code = finish.error.as_ref().map(|fault| fault.code.as_str());
        if code != Some("execution.poison") {
            say("ends the process and is not set aside");
        }
    }
    wrong
}

fn tell(attempts: &[Attempt], calls: &[Call]) -> String {
    let attempts = attempts.iter().map(|attempt| {
        let at = attempt.started_at.timestamp_micros();
        let Attempt { epoch, cause, lost_epoch, outcome, .. } = attempt;
        format!("[{at} e{} {cause:?} {lost_epoch:?} {outcome:?}]", epoch.0)
    });
    let calls = calls.iter().map(|call| format!("({} e{})", call.at, call.epoch.0));
    attempts.chain(calls).collect::<Vec<_>>().join(" ")
}

/// A call stands behind this record.
fn was_made(attempt: &Attempt) -> bool {
    match attempt.outcome {
        AttemptOutcome::Lost | AttemptOutcome::Unknown => false,
        AttemptOutcome::Completed
        | AttemptOutcome::Failed
        | AttemptOutcome::Timeout
        | AttemptOutcome::Cancelled => true,
    }
}

fn is_judged(attempt: &Attempt) -> bool {
    was_made(attempt) && attempt.outcome != AttemptOutcome::Cancelled
}

/// The ends of each partition are numbered without a gap.
fn numbers(ended: &[(&Order, &Finish)]) -> Vec<String> {
    let mut fins: BTreeMap<Part, Vec<i64>> = BTreeMap::new();
    for (order, finish) in ended {
        fins.entry(order.part).or_default().push(finish.fin);
    }
    let mut wrong = Vec::new();
    for (part, mut fins) in fins {
        fins.sort_unstable();
        if fins != (1..=i64::try_from(fins.len()).unwrap()).collect::<Vec<_>>() {
            wrong.push(format!("the ends of partition {part} are numbered {fins:?}"));
        }
    }
    wrong
}

/// One execution with its key and the times at which it was worked on.
struct Owner<'a> {
    order: &'a Order,
    key: &'a Key,
    ord: Seq,
    was_lost: bool,
    calls: Vec<(i64, i64)>,
}

/// Nobody works at once on what excludes each other, and who came first goes first.
fn keys(ended: &[(&Order, &Finish)]) -> Vec<String> {
    let owner = |(order, finish): &(&'_ Order, &'_ Finish)| -> Option<(Seq, Vec<(i64, i64)>)> {
        order.work.key.as_ref()?;
        let made = finish.item.attempts.iter().filter(|attempt| was_made(attempt));
        let calls: Vec<(i64, i64)> = made
            .map(|attempt| {
                (attempt.started_at.timestamp_micros(), attempt.ended_at.timestamp_micros())
            })
            .collect();
        (!calls.is_empty()).then_some((finish.item.ord, calls))
    };
    let mut owners: Vec<Owner<'_>> = Vec::new();
    for pair in ended {
        if let (Some((ord, calls)), Some(key)) = (owner(pair), &pair.0.work.key) {
            let is_lost = |attempt: &Attempt| {
                matches!(attempt.outcome, AttemptOutcome::Lost | AttemptOutcome::Unknown)
            };
            let was_lost = pair.1.item.attempts.iter().any(is_lost);
            owners.push(Owner { order: pair.0, key, ord, was_lost, calls });
        }
    }
    owners.sort_by_key(|owner| owner.ord);
    let mut wrong = Vec::new();
    for (index, first) in owners.iter().enumerate() {
        for second in &owners[index + 1..] {
            let is_one_tenant = first.order.work.tenant == second.order.work.tenant;
            if is_one_tenant && excludes(first.key, second.key) {
                wrong.extend(pair(first, second));
            }
        }
    }
    wrong
}

fn pair(first: &Owner<'_>, second: &Owner<'_>) -> Option<String> {
    let names = || format!("{:?} and {:?}", first.key, second.key);
    let overlaps =
        |one: &(i64, i64)| second.calls.iter().any(|other| one.0 < other.1 && other.0 < one.1);
    if first.calls.iter().any(overlaps) {
        return Some(format!("{} were worked on at once", names()));
    }
    // What was asked for later joins the queue when its time has come.
    if first.order.work.delay.is_some() || second.order.work.delay.is_some() {
        return None;
    }
    // Who mutates keeps the key to its end, the others give it back between attempts. That
    // holds for an attempt that was lost with its node as well.
    if first.was_lost && first.key.mode != KeyMode::Mutate {
        return None;
    }
    let until = match first.key.mode {
        KeyMode::Mutate => first.calls.last()?.1,
        KeyMode::Read | KeyMode::Create => first.calls.first()?.1,
    };
    let is_overtaken = second.calls.first()?.0 < until;
    is_overtaken.then(|| {
        let (one, other) = ((first.ord.0, &first.calls), (second.ord.0, &second.calls));
        format!("{}: the second overtook the first: {one:?} {other:?}", names())
    })
}

/// The matrix once more, told in another way: by the tokens of the names.
fn excludes(one: &Key, other: &Key) -> bool {
    let (a, b): (Vec<&str>, Vec<&str>) =
        (one.name.split(':').collect(), other.name.split(':').collect());
    let shared = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let is_related = shared == a.len() || shared == b.len();
    let have_one_parent = a.len() == b.len() && a.len() > 2 && shared == a.len() - 1;
    match (one.mode, other.mode) {
        (KeyMode::Read, KeyMode::Read) => false,
        (KeyMode::Read, KeyMode::Create) => shared == b.len(),
        (KeyMode::Create, KeyMode::Read) => shared == a.len(),
        (KeyMode::Create, KeyMode::Create) => is_related || have_one_parent,
        (KeyMode::Mutate, _) | (_, KeyMode::Mutate) => is_related,
    }
}
