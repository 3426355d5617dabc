//! What a node does next. Inputs go in, effects come out; no I/O, no clock, no dice, so the
//! simulator and production run the same code.
//!
//! One [`Dispatcher`] serves all partitions that a node owns: tenants share the node's slots,
//! not a partition's. A partition has its own log position, key lock table and later items.
//!
//! The rules, in the order in which they are asked: an item waits for its time, then for its
//! key (first in, first out per key), then for its turn in the ring of tenants (by lane inside a
//! tenant, with ageing), and there for what limits and pauses its tenant and its action. Keys are
//! held until the end of the item is committed, so the next owner of a key sees what the one
//! before it did. Slots are free as soon as the attempt has ended.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;

use crate::Timestamp;
use crate::execution::{AttemptOutcome, Cause, Fault};
use crate::id::{ExecutionId, NodeId, TenantId};
use crate::json::Json;
use crate::ports::leases::Lease;
use crate::retry::{Jitter, RetryPolicy};
use crate::throttle::{Draw, Drawn, Limits, Scope, Share, ShareAsk};
use crate::work::{Cancel, Epoch, Fence, Finish, Item, Later, Part, Seq, Skip};

mod admission;
mod attempts;
mod entries;
mod fair_queue;
mod gates;
mod horizon;
mod key_gates;
mod leaving;
mod lock_table;
mod partition;
mod recent;
pub mod recovery;
mod timers;
mod verdict;
mod window;

use entries::{Entries, GateId, Slot, Stage};
use fair_queue::FairQueue;
use gates::{Bar, Gates};
use key_gates::{KeyBar, KeyGates};
use partition::Partition;
use recent::Recent;
use timers::Timers;

/// Cancellations of unknown executions that are remembered, in case these arrive.
const CANCELS_MAX: usize = 16_384;
/// Finished executions that are remembered, in case word of them comes again.
const DONE_MAX: usize = 16_384;

/// Names one start of one attempt. A result with a token that is not current is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// How large the node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    pub node: NodeId,
    /// Attempts that run at once.
    pub slots: usize,
    /// Percentage of the slots that one tenant may hold while others wait.
    pub tenant_share: u8,
    /// Bytes of waiting items, with their events, that are kept in memory.
    pub window_bytes: usize,
    /// Waiting items of one (partition, tenant, lane) that are kept in memory.
    pub lane_items: usize,
    /// Items that one `Load` asks for.
    pub load_items: u32,
    /// How long an unclean takeover writes starts down before they happen.
    pub marked_for: Duration,
    /// Items of one `Mark`.
    pub mark_items: usize,
    /// After this long in its lane, an item counts as one lane higher.
    pub ageing: Duration,
    /// How far ahead later items are kept in memory.
    pub due_ahead: Duration,
    /// How long a partition that others should have waits for what runs there.
    pub leave_within: Duration,
    /// How long one that was kept after all is left alone.
    pub stay_for: Duration,
}

/// Something the dispatcher has to know.
#[derive(Debug, Clone)]
pub enum Input {
    /// A partition is ours. Items before [`Lease::tail`] may have been started by its former
    /// owner, unless that gave it back.
    Claimed(Lease),
    /// A partition is ours no longer. Whatever still runs there is aborted and forgotten.
    Lost(Part),
    /// Start nothing more. Running attempts may end.
    Drain,
    /// Others should own so many of the partitions that are ours. Those are given back that can
    /// be soon.
    GiveUp(usize),
    /// New items at the end of a partition's log, in order, as they were committed: everything
    /// from `from` until `next`.
    Arrived { part: Part, from: Seq, next: Seq, items: Vec<Item> },
    /// A stretch of a partition's log as a `Load` found it: everything from `from` until `next`
    /// that is not finished or moved, in order, without what the `Load` wanted skipped.
    Loaded { part: Part, from: Seq, next: Seq, items: Vec<Item>, skipped: Arc<[Skip]> },
    /// The log of a partition reaches until `tail`, as somebody noticed.
    TailSeen { part: Part, tail: Seq },
    /// Later items as a `LoadDue` found them; `complete` when there were no more in its range.
    Due { part: Part, laters: Vec<Later>, complete: bool },
    /// New later items, as committed.
    Deferred(Vec<Later>),
    /// Somebody has added later items to a partition, as somebody noticed. They are looked for.
    LaterSeen(Part),
    /// This attempt must be written down before its handler is called. It is given out again
    /// when that is committed.
    MarkFirst(Token),
    /// The marks of these attempts are committed: they may start.
    Marked(Vec<Token>),
    /// An attempt has ended.
    Ended { token: Token, end: End },
    /// The end, retry or cancellation of these items is committed.
    Committed(Vec<ExecutionId>),
    /// Somebody wants this execution cancelled. It may be unknown here, or arrive later.
    Cancel(ExecutionId),
    /// Another execution takes the place of this one, if it has not started.
    Supersede { execution: ExecutionId, by: ExecutionId },
    /// The limits of a tenant, an action or a subscription.
    Limits { scope: Scope, limits: Limits },
    /// The tenant is gone for good. What waits is dropped, and what runs is cut off.
    Forget(TenantId),
    /// How many turns a tenant gets in a round.
    Weight { tenant: TenantId, weight: u32 },
    /// The answer to [`Effect::Exchange`].
    Shares(Vec<Share>),
    /// The answer to [`Effect::Draw`].
    Drawn(Vec<Drawn>),
    /// Time has passed.
    Tick,
}

impl From<&Cancel> for Input {
    fn from(cancel: &Cancel) -> Self {
        let execution = cancel.execution;
        match cancel.by {
            Some(by) => Self::Supersede { execution, by },
            None => Self::Cancel(execution),
        }
    }
}

/// How an attempt ended, with what is needed to decide what follows.
#[derive(Debug, Clone)]
pub struct End {
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub outcome: AttemptOutcome,
    pub output: Option<Json>,
    pub fault: Option<Fault>,
    /// The handler said that another try is pointless.
    pub rejected: bool,
    pub cpu_ms: Option<u64>,
    pub memory_mb: Option<u64>,
    pub policy: RetryPolicy,
    pub jitter: Jitter,
}

/// Something the node has to do.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Make an attempt.
    Start(Start),
    /// Stop an attempt. Its result, if one comes, is not wanted.
    Abort(Token),
    /// Write down that these are about to start, then answer [`Input::Marked`].
    Mark { fence: Fence, items: Vec<(Token, Item)> },
    /// Read a partition's log, then answer [`Input::Loaded`].
    Load { part: Part, from: Seq, limit: u32, skip: Arc<[Skip]> },
    /// Read a partition's later items, then answer [`Input::Due`].
    LoadDue { part: Part, ahead: Duration, limit: u32 },
    /// Commit the end of an item, then answer [`Input::Committed`].
    Finish(Box<Finish>),
    /// Compare this node's shares with the others', then answer [`Input::Shares`].
    Exchange(Vec<ShareAsk>),
    /// Draw starts from the ledger of rates, then answer [`Input::Drawn`].
    Draw(Vec<Draw>),
    /// Commit the return of an item to the later ones, then answer [`Input::Committed`].
    Retry { fence: Fence, later: Box<Later> },
    /// Nothing runs in a partition that is to be given back: note where its log may be read
    /// from, release its lease as clean, then answer [`Input::Lost`].
    GiveBack { fence: Fence, low: Seq },
}

/// An attempt to make.
#[derive(Debug, Clone)]
pub struct Start {
    pub token: Token,
    pub item: Item,
    /// From 1.
    pub number: u32,
    pub cause: Cause,
    /// Who may have started it before, for [`Cause::LeaseLost`].
    pub lost_epoch: Option<Epoch>,
    pub epoch: Epoch,
    /// It is written down that it starts.
    pub is_marked: bool,
}

/// What a node's queues hold, for metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Depths {
    pub waiting: usize,
    pub running: usize,
    pub later: usize,
    pub window_bytes: usize,
    /// Waiting and running, per tenant.
    pub tenants: Vec<(TenantId, usize, usize)>,
}

/// Why an execution that this node holds is not running, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    ForTime(Timestamp),
    /// Behind this holder of its key.
    ForKey {
        holder: ExecutionId,
    },
    /// The scope runs as much at once as it may, over all nodes.
    ForConcurrency {
        scope: Scope,
        max: u32,
    },
    /// The scope has started as much as it may in the time.
    ForRate {
        scope: Scope,
    },
    /// So many of its action run with this key as may.
    ForKeyConcurrency {
        key: Arc<str>,
        running: u32,
        max: u32,
    },
    /// As many of its action were started with this key as may be.
    ForKeyRate {
        key: Arc<str>,
        until: Timestamp,
    },
    /// The scope is paused.
    ForResume {
        scope: Scope,
    },
    ForSlot,
    Running {
        since_attempt: u32,
    },
}

/// The scheduler of one node.
///
/// Answers to [`Effect::Load`] and [`Effect::LoadDue`] must be read after the effect was given
/// out, and must not be handed in after the partition was lost: an answer does not say which
/// epoch it was read for. Ends of one partition are committed in the order in which they are
/// given out.
#[derive(Debug)]
pub struct Dispatcher {
    settings: Settings,
    is_draining: bool,
    token_count: u64,
    serial: u64,
    entries: Entries,
    tokens: HashMap<Token, Slot>,
    partitions: BTreeMap<Part, Partition>,
    queue: FairQueue,
    gates: Gates,
    key_gates: KeyGates,
    timers: Timers,
    /// Items that run alone, by order of arrival.
    solitary: BTreeMap<u64, Slot>,
    /// One of them is running.
    is_alone: bool,
    /// Other items that may start before the next of them.
    others_first: usize,
    /// Slots that are taken, in all and by tenant.
    busy: usize,
    busy_of: HashMap<TenantId, usize>,
    /// Weight of what waits in memory.
    bytes: usize,
    /// Ends and retries that are being committed.
    committing: usize,
    cancels: Recent,
    done: Recent,
    /// Tenants that are gone. What is read of them was on its way.
    gone: HashSet<TenantId>,
    /// Marks and effects of the step that is under way.
    marks: BTreeMap<Part, Vec<(Token, Item)>>,
    effects: Vec<Effect>,
}

impl Dispatcher {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            is_draining: false,
            token_count: 0,
            serial: 0,
            entries: Entries::default(),
            tokens: HashMap::new(),
            partitions: BTreeMap::new(),
            queue: FairQueue::default(),
            gates: Gates::default(),
            key_gates: KeyGates::default(),
            timers: Timers::default(),
            solitary: BTreeMap::new(),
            is_alone: false,
            others_first: 0,
            busy: 0,
            busy_of: HashMap::new(),
            bytes: 0,
            committing: 0,
            cancels: Recent::new(CANCELS_MAX),
            done: Recent::new(DONE_MAX),
            gone: HashSet::new(),
            marks: BTreeMap::new(),
            effects: Vec::new(),
        }
    }

    /// Takes one input and answers what to do about it.
    pub fn step(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        let called = self.key_gates.tick(now);
        self.wake(called);
        self.take(input, now);
        self.ring(now);
        self.start_ready(now);
        self.look_at_leaving(now);
        self.ask_for_more(now);
        self.load_more(now);
        std::mem::take(&mut self.effects)
    }

    fn take(&mut self, input: Input, now: Timestamp) {
        match input {
            Input::Claimed(lease) => self.claim(&lease, now),
            Input::Lost(part) => self.lose(part),
            Input::Drain => self.drain(),
            Input::GiveUp(count) => self.give_up(count, now),
            Input::Arrived { part, from, next, items } => {
                self.arrive(part, from, next, items, now);
            }
            Input::Loaded { part, from, next, items, skipped } => {
                self.loaded(part, from, next, items, &skipped, now);
            }
            Input::TailSeen { part, tail } => self.see_tail(part, tail),
            Input::Due { part, laters, complete } => {
                self.receive_due(part, laters, complete, now);
            }
            Input::Deferred(laters) => {
                laters.into_iter().for_each(|later| self.receive_deferred(later, now));
            }
            Input::LaterSeen(part) => {
                if let Some(partition) = self.partitions.get_mut(&part) {
                    partition.horizon.want();
                }
            }
            Input::MarkFirst(token) => self.mark_first(token),
            Input::Marked(tokens) => {
                tokens.into_iter().for_each(|token| self.marked(token, now));
            }
            Input::Ended { token, end } => self.end(token, end),
            Input::Committed(ids) => ids.into_iter().for_each(|id| self.committed(id, now)),
            Input::Cancel(id) => self.cancel(id, now),
            Input::Supersede { execution, by } => self.supersede(execution, by, now),
            Input::Limits { scope, limits } => {
                let called = self.gates.set(scope, limits);
                self.reopen(scope, called);
                if let Scope::Action(action) = scope {
                    let called = self.key_gates.set(action, limits.per_key);
                    self.wake(called);
                }
            }
            Input::Forget(tenant) => self.forget_tenant(tenant, now),
            Input::Weight { tenant, weight } => self.queue.set_weight(tenant, weight),
            Input::Shares(shares) => {
                for share in shares {
                    let called = self.gates.receive_share(share, now);
                    self.reopen(share.scope, called);
                }
            }
            Input::Drawn(drawn) => {
                for drawn in drawn {
                    let called = self.gates.receive_drawn(drawn, now);
                    self.reopen(drawn.scope, called);
                }
            }
            Input::Tick => {}
        }
    }

    fn ask_for_more(&mut self, now: Timestamp) {
        let (queue, solitary, entries) = (&self.queue, &self.solitary, &self.entries);
        let (asks, draws) = self.gates.asks(now, |scope| match scope {
            Scope::Tenant(tenant) => {
                let alone = solitary.values().filter_map(|slot| entries.get(*slot));
                let alone = alone.filter(|entry| entry.item.work.tenant == tenant).count();
                queue.len_of(tenant) + alone
            }
            Scope::Action(_) | Scope::Subscription(..) | Scope::Events(_) => 0,
        });
        if !asks.is_empty() {
            self.effects.push(Effect::Exchange(asks));
        }
        if !draws.is_empty() {
            self.effects.push(Effect::Draw(draws));
        }
    }

    /// When to come back with a [`Input::Tick`] at the latest.
    pub fn next_tick(&self) -> Option<Timestamp> {
        if self.is_draining {
            return self.gates.next_at();
        }
        let partitions = self.partitions.values().filter_map(Partition::next_at);
        let gates = self.gates.next_at().into_iter().chain(self.key_gates.next_at());
        partitions.chain(self.timers.next()).chain(gates).min()
    }

    /// Where each owned partition's log may be read from after a restart: everything before is
    /// finished or moved, and committed.
    pub fn lows(&self) -> Vec<(Fence, Seq)> {
        self.partitions.values().map(|partition| (partition.fence, partition.low())).collect()
    }

    /// The partitions that may be given back as clean once the node [is idle](Self::is_idle):
    /// nothing is left in them that a former owner may have started.
    ///
    /// The others are kept until the node leaves, so that their next owner is as careful as
    /// this one was.
    pub fn clean(&self) -> Vec<Fence> {
        let suspects = self.suspects();
        let owned = self.partitions.iter().filter(|(part, _)| !suspects.contains(part));
        owned.filter(|(_, partition)| partition.knows_suspects()).map(|(_, p)| p.fence).collect()
    }

    pub fn depths(&self) -> Depths {
        let mut tenants: BTreeMap<TenantId, (usize, usize)> = BTreeMap::new();
        let mut later = 0;
        for (_, entry) in self.entries.iter() {
            let counts = tenants.entry(entry.item.work.tenant).or_default();
            match entry.stage {
                Stage::ForTime { .. } => later += 1,
                Stage::ForKey | Stage::ForAction | Stage::Ready | Stage::ForSolitude => {
                    counts.0 += 1;
                }
                Stage::Marking(_) | Stage::Running(_) => counts.1 += 1,
                Stage::Finishing | Stage::Retrying { .. } => {}
            }
        }
        let listed = tenants.into_iter().filter(|(_, counts)| *counts != (0, 0));
        let tenants: Vec<_> =
            listed.map(|(tenant, (waiting, running))| (tenant, waiting, running)).collect();
        Depths {
            waiting: tenants.iter().map(|(_, waiting, _)| waiting).sum(),
            running: self.busy,
            later,
            window_bytes: self.bytes,
            tenants,
        }
    }

    /// Where an execution stands here. `None`: this node does not hold it. One whose end is
    /// being committed counts as running.
    pub fn waiting(&self, execution: ExecutionId) -> Option<Waiting> {
        let entry = self.entries.get(self.entries.find(execution)?)?;
        let work = &entry.item.work;
        Some(match entry.stage {
            Stage::ForTime { due_at } => Waiting::ForTime(due_at),
            Stage::ForKey => {
                let partition = self.partitions.get(&entry.item.part)?;
                Waiting::ForKey { holder: partition.blocker(&entry.item)? }
            }
            Stage::ForAction => match entry.gate.of(work) {
                Some(GateId::Scope(scope)) => self.barred(scope),
                Some(GateId::Key(id)) => self.key_gates.bar(&id).map(|bar| match bar {
                    KeyBar::Running { running, max } => {
                        Waiting::ForKeyConcurrency { key: id.key, running, max }
                    }
                    KeyBar::Starts { until } => Waiting::ForKeyRate { key: id.key, until },
                }),
                None => None,
            }
            .unwrap_or(Waiting::ForSlot),
            Stage::Ready | Stage::ForSolitude => {
                self.barred(Scope::Tenant(work.tenant)).unwrap_or(Waiting::ForSlot)
            }
            Stage::Marking(attempt) | Stage::Running(attempt) => {
                Waiting::Running { since_attempt: attempt.number }
            }
            Stage::Finishing | Stage::Retrying { .. } => {
                let attempts = u32::try_from(entry.item.attempts.len()).unwrap_or(u32::MAX);
                Waiting::Running { since_attempt: attempts }
            }
        })
    }

    fn barred(&self, scope: Scope) -> Option<Waiting> {
        Some(match self.gates.bar(scope)? {
            Bar::Paused => Waiting::ForResume { scope },
            Bar::Concurrency { max } => Waiting::ForConcurrency { scope, max },
            Bar::Rate => Waiting::ForRate { scope },
        })
    }

    /// Nothing runs and nothing waits for a commit.
    pub fn is_idle(&self) -> bool {
        self.under_way() == 0
    }

    /// Attempts that run, and ends and retries that are being committed.
    pub fn under_way(&self) -> usize {
        self.busy + self.committing
    }

    /// How many attempts run, and how many items wait in memory for anything.
    pub fn load(&self) -> (usize, usize) {
        (self.busy, self.entries.len().saturating_sub(self.under_way()))
    }

    fn partition_of(&mut self, slot: Slot) -> Option<&mut Partition> {
        let part = self.entries.get(slot)?.item.part;
        self.partitions.get_mut(&part)
    }
}

/// The instant after a pause, or the end of time.
fn after(now: Timestamp, pause: Duration) -> Timestamp {
    TimeDelta::from_std(pause)
        .ok()
        .and_then(|pause| now.checked_add_signed(pause))
        .unwrap_or(Timestamp::MAX_UTC)
}

#[cfg(test)]
mod tests;
