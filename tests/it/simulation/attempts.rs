//! Attempts of a simulated node: handlers that are only times, and what is looked at when one
//! starts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actions_domain::dispatch::{Input, Start, Token};
use actions_domain::execution::{AttemptOutcome, Cause};
use actions_domain::id::{ActionId, ExecutionId, TenantId};
use actions_domain::work::{Epoch, Item};

use super::dice::{Micros, instant};
use super::ledger::Call;
use super::membership::TRUSTED;
use super::node::Word;
use super::workload::{
    BATCHED, KEY_LIMIT, LIMIT, LIMITED, LIMITED_TENANT, ONCE, TENANT_LIMIT, behaviour, end,
    has_effect,
};
use super::world::World;

#[derive(Debug, Clone)]
pub(super) struct Running {
    execution: ExecutionId,
    action: ActionId,
    tenant: TenantId,
    counted: Option<Arc<str>>,
    is_alone: bool,
    started_at: Micros,
    outcome: AttemptOutcome,
    rejected: bool,
    is_poison: bool,
}

/// What a probe answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Effect,
    Nothing,
    Doubt,
}

fn not_made(epoch: Epoch, at: Micros) -> Call {
    Call { epoch, at, was_made: false, has_effect: false }
}

impl World {
    /// Notes when the dispatcher let an attempt start, for what it counts it by.
    pub(super) fn is_let(&mut self, node: usize, token: Token, item: &Item) {
        let now = self.now();
        let Some(live) = &mut self.nodes[node].live else { return };
        let is_known = live.let_at.contains_key(&token);
        live.let_at.entry(token).or_insert(now);
        if is_known || item.work.action != LIMITED {
            return;
        }
        if live.limited_drawn == 0 {
            self.ledger.wrong.push(format!("{} starts, and no start was drawn", item.work.id));
        }
        live.limited_drawn = live.limited_drawn.saturating_sub(1);
    }

    pub(super) fn start(&mut self, node: usize, start: &Start) {
        let now = self.now();
        let work = &start.item.work;
        let (took, outcome, rejected) = behaviour(&mut self.dice);
        let is_poison = self.ledger.accepted.get(&work.id).is_some_and(|order| order.is_poison);
        let Some(live) = &mut self.nodes[node].live else { return };
        // The last look at the clock before a handler is called.
        if live.is_doomed || now - live.heard_at >= TRUSTED {
            live.is_doomed = true;
            return self.ledger.call(work.id, not_made(start.epoch, now));
        }
        let (mut outcome, mut took) = (outcome, took);
        let is_once = work.action == ONCE;
        let last = start.item.attempts.last().map(|attempt| attempt.outcome);
        let found = if is_once && last == Some(AttemptOutcome::Unknown) {
            self.probe(work.id)
        } else {
            Found::Nothing
        };
        let is_called = found == Found::Nothing;
        match found {
            Found::Nothing if is_once && !start.is_marked => {
                // A cancel that comes before the answer leaves the record of this.
                self.ledger.call(work.id, not_made(start.epoch, now));
                let input = Box::new(Input::MarkFirst(start.token));
                return self.tell(node, Duration::ZERO, Word::Answer(input));
            }
            Found::Nothing => {}
            Found::Effect => (outcome, took) = (AttemptOutcome::Completed, Duration::ZERO),
            Found::Doubt => (outcome, took) = (AttemptOutcome::Unknown, Duration::ZERO),
        }
        let has_effect = is_called && !is_poison && has_effect(&mut self.dice, outcome);
        let Some(live) = &mut self.nodes[node].live else { return };
        let running = Running {
            execution: work.id,
            action: work.action,
            tenant: work.tenant,
            counted: work.terms.as_ref().and_then(|terms| terms.concurrency_key.clone()),
            is_alone: start.item.losses > 0,
            started_at: now,
            outcome,
            rejected,
            is_poison,
        };
        live.running.insert(start.token, running);
        let let_at = live.let_at.get(&start.token).copied().unwrap_or(now);
        let heard_at = live.polled_at;
        let count = live.running.len();
        let is_alone = live.running.values().any(|other| other.is_alone);
        if count > self.settings.slots {
            self.ledger.wrong.push(format!("{count} run at once on a node"));
        }
        if work.action == BATCHED {
            self.call_batch(work.id);
        }
        if work.action == LIMITED {
            self.ledger.limited_starts.push(now);
        }
        if let Some(key) = work.terms.as_ref().and_then(|terms| terms.throttle_key.clone()) {
            let key = (work.tenant, start.item.part, key);
            self.ledger.paced_starts.entry(key).or_default().push(let_at);
        }
        // What a former owner may have started is left alone.
        let is_first = start.cause == Cause::First;
        let superseded_at = self.ledger.claims.superseded_at(work.id);
        if is_first && superseded_at.is_some_and(|at| at <= heard_at && heard_at < let_at) {
            self.ledger.wrong.push(format!("{} starts after it lost its place", work.id));
        }
        self.check_limits();
        if is_alone && count > 1 {
            self.ledger.wrong.push(format!("{} does not run alone", work.id));
        }
        self.ledger.met.timeouts += u32::from(outcome == AttemptOutcome::Timeout);
        self.ledger.note((work.id, start.number, start.epoch));
        let call = Call { was_made: is_called, has_effect, ..not_made(start.epoch, now) };
        self.ledger.call(work.id, call);
        self.tell(node, took, Word::Ended(start.token));
    }

    /// Asks what became of a call whose end nobody knows: the truth, or that nobody can tell.
    fn probe(&mut self, id: ExecutionId) -> Found {
        self.ledger.met.probes += 1;
        if self.dice.chance(40) {
            return Found::Doubt;
        }
        let calls = self.ledger.calls.get(&id).map_or(&[][..], Vec::as_slice);
        if calls.iter().any(|call| call.has_effect) { Found::Effect } else { Found::Nothing }
    }

    /// Over all nodes that may still believe in themselves. One that was not heard for too long
    /// has stopped, or is a zombie whose calls nobody can take back.
    fn check_limits(&mut self) {
        let now = self.now();
        let trusted = self
            .nodes
            .iter()
            .filter_map(|node| node.live.as_ref())
            .filter(|live| !live.is_doomed && now - live.heard_at < TRUSTED);
        let running: Vec<&Running> = trusted.flat_map(|live| live.running.values()).collect();
        let of_action = running.iter().filter(|running| running.action == LIMITED).count();
        let of_tenant = running.iter().filter(|running| running.tenant == LIMITED_TENANT).count();
        if of_action > LIMIT || of_tenant > TENANT_LIMIT {
            let text = format!("{of_action} of the action run, {of_tenant} of the tenant");
            self.ledger.wrong.push(text);
        }
        let mut of_keys: BTreeMap<(TenantId, &str), usize> = BTreeMap::new();
        for running in &running {
            if let Some(key) = &running.counted {
                *of_keys.entry((running.tenant, key)).or_default() += 1;
            }
        }
        let most = of_keys.values().max().copied().unwrap_or(0);
        if most > KEY_LIMIT {
            self.ledger.wrong.push(format!("{most} with one key run at once: {of_keys:?}"));
        }
        self.ledger.met.full_keys += u32::from(most == KEY_LIMIT);
    }

    pub(super) fn ended(&mut self, node: usize, token: Token) {
        let now = self.now();
        let jitter = self.dice.roll();
        let Some(live) = &mut self.nodes[node].live else { return };
        let Some(running) = live.running.remove(&token) else { return };
        self.ledger.note(running.execution);
        if running.is_poison {
            return self.crash(node);
        }
        let Running { started_at, mut outcome, rejected, .. } = running;
        if running.action == ONCE && outcome == AttemptOutcome::Timeout {
            outcome = match self.probe(running.execution) {
                Found::Nothing => outcome,
                Found::Effect => AttemptOutcome::Completed,
                Found::Doubt => AttemptOutcome::Unknown,
            };
        }
        let end = end(instant(started_at), instant(now), outcome, rejected, jitter);
        self.step(node, Input::Ended { token, end });
    }
}
