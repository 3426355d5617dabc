//! The dispatcher as a whole: what an input leads to.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use uuid::Uuid;

use super::{Dispatcher, Effect, End, Input, Settings, Start, Token, Waiting};
use crate::Timestamp;
use crate::execution::{AttemptOutcome, Cause, Fault, Priority, Status};
use crate::id::{ActionId, ExecutionId, NodeId, TenantId};
use crate::limits::LOSSES_MAX;
use crate::ports::leases::Lease;
use crate::retry::{Backoff, Jitter, RetryPolicy};
use crate::throttle::{Limits, Scope, Share};
use crate::work::{Epoch, Finish, Home, Item, Key, KeyMode, Later, Part, Seq, Why, Work};

mod batches;
mod key_counts;
mod leaving;
mod life;
mod limits;
mod order;
mod takeover;

const PART: Part = Part(0);

fn settings() -> Settings {
    Settings {
        node: NodeId(1),
        slots: 4,
        tenant_share: 75,
        window_bytes: 1024 * 1024,
        lane_items: 16,
        load_items: 8,
        marked_for: Duration::from_secs(60),
        mark_items: 2,
        ageing: Duration::from_secs(30),
        due_ahead: Duration::from_secs(60),
        leave_within: Duration::from_secs(10),
        stay_for: Duration::from_secs(60),
    }
}

/// A node with one partition, and the time.
struct Node {
    dispatcher: Dispatcher,
    now: Timestamp,
    next: i64,
    /// What it asked for and nobody has looked at yet.
    effects: Vec<Effect>,
}

impl Node {
    fn new(settings: Settings) -> Self {
        Self::with_lease(settings, lease(true))
    }

    fn with_lease(settings: Settings, lease: Lease) -> Self {
        let mut node = Self {
            dispatcher: Dispatcher::new(settings),
            now: Timestamp::from_timestamp(1_000, 0).unwrap(),
            next: lease.tail.0,
            effects: Vec::new(),
        };
        node.step(Input::Claimed(lease));
        node
    }

    /// A node that knows that nothing waits among the later items.
    fn ready(settings: Settings) -> Self {
        let mut node = Self::new(settings);
        node.due(Vec::new());
        node.effects.clear();
        node
    }

    fn step(&mut self, input: Input) {
        self.effects.extend(self.dispatcher.step(input, self.now));
    }

    /// Sets a limit and holds all of it.
    fn limit(&mut self, action: ActionId, max: Option<u32>) {
        let scope = Scope::Action(action);
        self.step(Input::Limits {
            scope,
            limits: Limits { concurrency: max, ..Limits::default() },
        });
        let amount = max.unwrap_or(0);
        self.step(Input::Shares(vec![Share { scope, amount, cap: amount }]));
    }

    fn due(&mut self, laters: Vec<Later>) {
        self.step(Input::Due { part: PART, laters, complete: true });
    }

    fn advance(&mut self, pause: Duration) {
        self.now += TimeDelta::from_std(pause).unwrap();
        self.step(Input::Tick);
    }

    /// Hands the next items of the log over.
    fn hand_over(&mut self, works: Vec<Work>) -> Vec<ExecutionId> {
        let from = Seq(self.next);
        let ids = works.iter().map(|work| work.id).collect();
        let items = works.into_iter().map(|work| {
            self.next += 1;
            item(work, self.next - 1, Home::Log)
        });
        let items = items.collect();
        self.step(Input::Arrived { part: PART, from, next: Seq(self.next), items });
        ids
    }

    fn starts(&mut self) -> Vec<Start> {
        let starts = self.effects.extract_if(.., |effect| matches!(effect, Effect::Start(_)));
        starts
            .filter_map(|effect| if let Effect::Start(start) = effect { Some(start) } else { None })
            .collect()
    }

    fn started(&mut self) -> Vec<ExecutionId> {
        self.starts().iter().map(|start| start.item.work.id).collect()
    }

    fn finishes(&mut self) -> Vec<Finish> {
        let ends = self.effects.extract_if(.., |effect| matches!(effect, Effect::Finish(_)));
        ends.filter_map(|effect| if let Effect::Finish(end) = effect { Some(*end) } else { None })
            .collect()
    }

    fn retries(&mut self) -> Vec<Later> {
        let ends = self.effects.extract_if(.., |effect| matches!(effect, Effect::Retry { .. }));
        ends.filter_map(
            |effect| if let Effect::Retry { later, .. } = effect { Some(*later) } else { None },
        )
        .collect()
    }

    fn end(&mut self, token: Token, outcome: AttemptOutcome) {
        let end = self.ending(outcome);
        self.step(Input::Ended { token, end });
    }

    fn ending(&self, outcome: AttemptOutcome) -> End {
        let fault = match outcome {
            AttemptOutcome::Timeout => Some(Fault::timeout(Duration::from_secs(1))),
            AttemptOutcome::Failed => Some(Fault::handler("test.failed", "no luck")),
            AttemptOutcome::Completed
            | AttemptOutcome::Cancelled
            | AttemptOutcome::Lost
            | AttemptOutcome::Unknown => None,
        };
        End {
            started_at: self.now,
            ended_at: self.now,
            outcome,
            output: None,
            fault,
            rejected: false,
            cpu_ms: None,
            memory_mb: None,
            policy: RetryPolicy {
                max_retries: 2,
                backoff: Backoff::Fixed,
                initial_delay_ms: 1_000,
                ..RetryPolicy::default()
            },
            jitter: Jitter::ZERO,
        }
    }

    /// Ends what was started in this way and commits what follows.
    fn run(&mut self, outcome: AttemptOutcome) -> Vec<ExecutionId> {
        let starts = self.starts();
        for start in &starts {
            self.end(start.token, outcome);
        }
        let ids: Vec<_> = starts.iter().map(|start| start.item.work.id).collect();
        self.step(Input::Committed(ids.clone()));
        ids
    }
}

fn lease(clean: bool) -> Lease {
    Lease { part: PART, epoch: Epoch(5), clean, low: Seq(1), tail: Seq(1), next_fin: 1 }
}

fn id(number: u128) -> ExecutionId {
    ExecutionId(Uuid::from_u128(number))
}

fn work(number: u128) -> Work {
    Work {
        id: id(number),
        tenant: TenantId(7),
        lane: Priority::Normal,
        action: ActionId(3),
        defs: 1,
        key: None,
        event: None,
        parent: None,
        queued_at: Timestamp::UNIX_EPOCH,
        delay: None,
        input: None,
        depth: 0,
        terms: None,
    }
}

fn mutate(number: u128, name: &str) -> Work {
    Work { key: Some(Key::parse(name, KeyMode::Mutate).unwrap()), ..work(number) }
}

fn item(work: Work, ord: i64, home: Home) -> Item {
    Item {
        work: Arc::new(work),
        part: PART,
        ord: Seq(ord),
        home,
        attempts: Vec::new(),
        losses: 0,
        event: None,
    }
}

fn later(work: Work, ord: i64, seconds: u64) -> Later {
    let delay = Duration::from_secs(seconds);
    Later { item: item(work, ord, Home::Later), delay, why: Why::Delay, hold: false }
}
