//! The node around a dispatcher, as small as it can be: carries effects out against the store,
//! with a writer, readings that take time, a lease keeper, and handlers that are only times.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use actions_domain::dispatch::{
    Depths, Dispatcher, Effect, Input, Settings, Start, Token, recovery,
};
use actions_domain::execution::AttemptOutcome;
use actions_domain::id::{ActionId, ExecutionId, NodeId, TenantId};
use actions_domain::placement::{Balance, Judge, SILENT_BEATS_MIN, balance, share};
use actions_domain::ports::leases::{Lease, Leases, Peer, Vitals};
use actions_domain::ports::permits::Permits;
use actions_domain::ports::store::{DueQuery, Store, StoreError};
use actions_domain::throttle::Limits;
use actions_domain::work::{Commit, Epoch, Fence, Finish, Item, Later, Part, Seq};

use super::dice::{Micros, instant};
use super::ledger::Call;
use super::workload::{
    BATCHED, KEY_LIMIT, LIMIT, LIMITED, LIMITED_TENANT, ONCE, TENANT_LIMIT, behaviour, end,
    has_effect, limits,
};
use super::world::{World, at_once};

const BEAT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_secs(1);
/// A node that was not heard for so long starts nothing more. Others take its partitions later.
const TRUSTED: Micros = 5_000_000;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(6);

pub(super) struct Node {
    name: String,
    /// Counts the starts of this node. Words to an earlier one are not heard.
    pub(super) session: u64,
    pub(super) frozen_until: Micros,
    /// Until then its beats do not reach the store, but its commits do.
    pub(super) mute_until: Micros,
    /// Goes on when it is not heard, instead of ending its session.
    pub(super) is_stubborn: bool,
    live: Option<Session>,
}

struct Session {
    id: NodeId,
    dispatcher: Dispatcher,
    owned: BTreeMap<Part, Epoch>,
    judge: Judge,
    heard_at: Micros,
    writes: VecDeque<Write>,
    is_writing: bool,
    running: BTreeMap<Token, Running>,
    tick_at: Option<Micros>,
    is_draining: bool,
    /// It has noticed that it was not heard for too long.
    is_doomed: bool,
}

#[derive(Debug, Clone)]
struct Running {
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

#[derive(Debug, Clone)]
pub(super) enum Write {
    Mark { fence: Fence, items: Vec<(Token, Item)> },
    Finish(Box<Finish>),
    Retry { fence: Fence, later: Box<Later> },
}

/// What a node hears, or the store does for it.
pub(super) enum Word {
    Join,
    Beat,
    Poll,
    Tick,
    DrainTimeout,
    Ended(Token),
    Hint(Box<Input>),
    /// A batch reaches the store.
    Write {
        by: NodeId,
        writes: Vec<Write>,
    },
    Written(Result<Vec<Write>, Failure>),
    /// A reading reaches the store.
    Read(Effect),
    GiveBack {
        fence: Fence,
        low: Seq,
    },
    Answer(Box<Input>),
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

/// Why a session ends with a commit.
#[derive(Debug, Clone, Copy)]
pub(super) enum Failure {
    Fenced,
    Unknown,
}

impl Word {
    /// Happens in the store, whether or not the node is well.
    pub(super) fn is_of_the_store(&self) -> bool {
        matches!(self, Self::Write { .. } | Self::Read(_))
    }

    pub(super) fn number(&self) -> u8 {
        match self {
            Self::Join => 0,
            Self::Beat => 1,
            Self::Poll => 2,
            Self::Tick => 3,
            Self::DrainTimeout => 4,
            Self::Ended(_) => 5,
            Self::Hint(_) => 6,
            Self::Write { .. } => 7,
            Self::Written(_) => 8,
            Self::Read(_) => 9,
            Self::Answer(_) => 10,
            Self::GiveBack { .. } => 11,
        }
    }
}

impl Node {
    pub(super) fn new(name: String) -> Self {
        Self { name, session: 0, frozen_until: 0, mute_until: 0, is_stubborn: false, live: None }
    }

    /// It runs, has nothing to do, and remembers nothing that is over.
    pub(super) fn is_at_rest(&self) -> bool {
        self.live.as_ref().is_some_and(|session| {
            session.dispatcher.is_idle() && session.dispatcher.depths() == Depths::default()
        })
    }

    /// What its dispatcher holds, for a report.
    pub(super) fn depths(&self) -> Option<Depths> {
        self.live.as_ref().map(|session| session.dispatcher.depths())
    }
}

impl Session {
    fn vitals(&self) -> Vitals {
        Vitals { is_draining: self.is_draining, ..Vitals::default() }
    }
}

impl World {
    pub(super) fn hear(&mut self, node: usize, session: u64, word: Word) {
        let is_current = self.nodes[node].session == session;
        match word {
            Word::Write { by, writes } => {
                // A batch of a dead process may have been on its way.
                if is_current || self.dice.chance(50) {
                    self.write(node, session, by, writes);
                }
            }
            _ if !is_current => {}
            Word::Join => self.join(node),
            Word::Beat => self.beat(node),
            Word::Poll => self.poll(node),
            Word::Tick => {
                if let Some(live) = &mut self.nodes[node].live {
                    live.tick_at = None;
                }
                self.step(node, Input::Tick);
            }
            Word::DrainTimeout => self.end_session(node),
            Word::Ended(token) => self.ended(node, token),
            Word::Hint(input) | Word::Answer(input) => self.step(node, *input),
            Word::Written(result) => self.written(node, result),
            Word::Read(effect) => self.read(node, effect),
            Word::GiveBack { fence, low } => self.give_back(node, fence, low),
        }
    }

    pub(super) fn crash(&mut self, node: usize) {
        if self.nodes[node].live.is_some() {
            self.ledger.met.crashes += 1;
            self.end_session(node);
        }
    }

    /// The process ends or starts anew: whatever it knew and ran is gone.
    fn end_session(&mut self, node: usize) {
        self.nodes[node].live = None;
        self.nodes[node].session += 1;
        self.nodes[node].is_stubborn = false;
        let pause = self.dice.millis(100, 4_000);
        self.tell(node, pause, Word::Join);
    }

    fn join(&mut self, node: usize) {
        if self.is_down() {
            return self.tell(node, Duration::from_millis(200), Word::Join);
        }
        let id = at_once(self.memory.join(&self.nodes[node].name)).unwrap();
        let settings = Settings { node: id, ..self.settings };
        self.nodes[node].live = Some(Session {
            id,
            dispatcher: Dispatcher::new(settings),
            owned: BTreeMap::new(),
            judge: Judge::new(SILENT_BEATS_MIN),
            heard_at: self.now(),
            writes: VecDeque::new(),
            is_writing: false,
            running: BTreeMap::new(),
            tick_at: None,
            is_draining: false,
            is_doomed: false,
        });
        for (scope, limits) in limits() {
            self.step(node, Input::Limits { scope, limits });
        }
        self.tell(node, Duration::ZERO, Word::Beat);
        self.tell(node, Duration::ZERO, Word::Poll);
    }

    fn beat(&mut self, node: usize) {
        let session = self.nodes[node].session;
        let (now, is_down) = (self.now(), self.is_down());
        let is_mute = now < self.nodes[node].mute_until;
        let is_stubborn = self.nodes[node].is_stubborn;
        let Some(live) = &mut self.nodes[node].live else { return };
        let is_silent = now - live.heard_at >= TRUSTED;
        let has_work = !live.running.is_empty() || live.is_writing;
        live.is_doomed |= is_silent;
        if is_down || is_mute {
            live.judge.doubt();
            if is_silent && !is_stubborn {
                return self.end_session(node);
            }
        } else if let (Ok(peers), false) =
            (at_once(self.memory.beat(live.id, &live.vitals())), live.is_doomed)
        {
            live.heard_at = now;
            let dead = live.judge.observe(live.id, &peers);
            self.hold_share(node, &peers, &dead);
        } else if !(is_stubborn && has_work) {
            return self.end_session(node);
        } else {
            // A zombie: it goes on writing what it had begun.
            live.is_doomed = true;
        }
        // A claim that was cut short has ended the session, and the next one beats by itself.
        if self.nodes[node].session == session {
            self.tell(node, BEAT, Word::Beat);
        }
    }

    /// Takes what is missing of the node's share, or lets go of what others should have.
    fn hold_share(&mut self, node: usize, peers: &[Peer], dead: &[NodeId]) {
        let Some(live) = self.nodes[node].live.as_ref().filter(|live| !live.is_draining) else {
            return;
        };
        let is_sharing = |peer: &&Peer| peer.is_taking_part() && !dead.contains(&peer.node);
        let others = peers.iter().filter(is_sharing).map(|peer| peer.node);
        let missing = match balance(live.owned.len(), share(self.parts, live.id, others)) {
            Balance::Take(count) => count,
            Balance::Give(count) => {
                self.ledger.met.given_up += 1;
                self.step(node, Input::GiveUp(count));
                0
            }
            Balance::Keep => 0,
        };
        if missing > 0 || !dead.is_empty() {
            self.claim(node, dead, missing);
        }
    }

    /// Nothing runs in a partition that others should have.
    fn give_back(&mut self, node: usize, fence: Fence, low: Seq) {
        if self.is_down() {
            return self.tell(node, Duration::from_millis(120), Word::GiveBack { fence, low });
        }
        let Some(live) = &mut self.nodes[node].live else { return };
        self.ledger.met.given_back += 1;
        at_once(self.memory.note_low(live.id, &[(fence, low)])).unwrap();
        at_once(self.memory.release(live.id, &[fence])).unwrap();
        live.owned.remove(&fence.part);
        self.step(node, Input::Lost(fence.part));
    }

    fn claim(&mut self, node: usize, dead: &[NodeId], most: u16) {
        let Some(live) = &self.nodes[node].live else { return };
        let id = live.id;
        let Ok(leases) = at_once(self.memory.claim(id, dead, most)) else { return };
        for lease in leases {
            let fence = Fence { part: lease.part, epoch: lease.epoch };
            self.owners.insert(lease.part, (id, fence));
            // A takeover can be cut short like everything else.
            if self.is_troubled() && self.dice.chance(5) {
                return self.crash(node);
            }
            if !self.take_over(id, lease, fence) {
                return self.end_session(node);
            }
            let Some(live) = &mut self.nodes[node].live else { return };
            live.owned.insert(lease.part, lease.epoch);
            self.step(node, Input::Claimed(lease));
        }
    }

    /// Carries over what was marked. False: somebody else was quicker, or the store is away.
    fn take_over(&mut self, id: NodeId, lease: Lease, fence: Fence) -> bool {
        if lease.clean {
            self.ledger.met.clean_claims += 1;
            return true;
        }
        self.ledger.met.unclean_claims += 1;
        let marked = at_once(self.memory.marked(lease.part)).unwrap();
        let is_once = |item: &Item| item.work.action == ONCE;
        let now = instant(self.now());
        let retries = recovery::carried(marked, lease, false, is_once, id, now);
        self.ledger.met.carried += u32::try_from(retries.len()).unwrap();
        let fences = vec![fence];
        self.commit(&Commit { node: Some(id), fences, retries, ..Commit::default() }).is_ok()
    }

    fn poll(&mut self, node: usize) {
        let session = self.nodes[node].session;
        if !self.is_down() {
            for (part, tail) in at_once(self.memory.tails()).unwrap() {
                self.step(node, Input::TailSeen { part, tail });
            }
            // Somebody pauses and resumes the limited action, as long as there is trouble.
            let is_paused = self.is_troubled() && self.dice.chance(15);
            let (scope, limits) = limits()[0];
            self.step(node, Input::Limits { scope, limits: Limits { is_paused, ..limits } });
            for cancel in at_once(self.memory.cancels()).unwrap() {
                self.step(node, Input::from(&cancel));
            }
            if let Some(live) = &self.nodes[node].live {
                at_once(self.memory.note_low(live.id, &live.dispatcher.lows())).unwrap();
            }
            self.look_for_free(node);
        }
        if self.nodes[node].session == session {
            self.tell(node, POLL, Word::Poll);
        }
    }

    fn look_for_free(&mut self, node: usize) {
        let Some(live) = self.nodes[node].live.as_ref().filter(|live| !live.is_doomed) else {
            return;
        };
        if at_once(self.memory.has_free()).unwrap() {
            let own = live.id;
            let mut peers = at_once(self.memory.nodes()).unwrap();
            peers.retain(|peer| peer.node != own);
            self.hold_share(node, &peers, &[]);
        }
    }

    pub(super) fn drain(&mut self, node: usize) {
        let Some(live) = &mut self.nodes[node].live else { return };
        if std::mem::replace(&mut live.is_draining, true) {
            return;
        }
        self.ledger.met.drains += 1;
        self.tell(node, DRAIN_TIMEOUT, Word::DrainTimeout);
        self.step(node, Input::Drain);
    }

    /// Gives everything back when nothing runs any more.
    fn hand_over(&mut self, node: usize) {
        let is_down = self.is_down();
        let Some(live) = &self.nodes[node].live else { return };
        if !live.is_draining || !live.dispatcher.is_idle() || is_down {
            return;
        }
        let fences = live.dispatcher.clean();
        at_once(self.memory.note_low(live.id, &live.dispatcher.lows())).unwrap();
        at_once(self.memory.release(live.id, &fences)).unwrap();
        at_once(self.memory.leave(live.id)).unwrap();
        self.end_session(node);
    }

    pub(super) fn step(&mut self, node: usize, input: Input) {
        let now = instant(self.now());
        let Some(live) = &mut self.nodes[node].live else { return };
        let leaving = live.dispatcher.leaving().count();
        let is_lost = matches!(input, Input::Lost(_) | Input::Claimed(_));
        let effects = live.dispatcher.step(input, now);
        let is_kept = !is_lost && live.dispatcher.leaving().count() < leaving;
        self.ledger.met.kept += u32::from(is_kept);
        for effect in effects {
            self.carry_out(node, effect);
        }
        self.plan_tick(node);
        self.hand_over(node);
    }

    fn plan_tick(&mut self, node: usize) {
        let now = self.now();
        let Some(live) = &mut self.nodes[node].live else { return };
        let Some(next) = live.dispatcher.next_tick() else { return };
        let next = next.timestamp_micros();
        assert!(next > now, "a tick at once, again and again");
        if live.tick_at.is_none_or(|at| next < at) {
            live.tick_at = Some(next);
            let pause = Duration::from_micros(u64::try_from(next - now).unwrap());
            self.tell(node, pause, Word::Tick);
        }
    }

    fn carry_out(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Start(start) => self.start(node, &start),
            Effect::Abort(token) => {
                if let Some(live) = &mut self.nodes[node].live {
                    live.running.remove(&token);
                }
            }
            Effect::Mark { fence, items } => self.queue(node, Write::Mark { fence, items }),
            Effect::Finish(finish) => self.queue(node, Write::Finish(finish)),
            Effect::Retry { fence, later } => self.queue(node, Write::Retry { fence, later }),
            Effect::Load { from, .. } => {
                self.ledger.note(from);
                let pause = self.latency();
                self.tell(node, pause, Word::Read(effect));
            }
            Effect::GiveBack { fence, low } => {
                let pause = self.latency();
                self.tell(node, pause, Word::GiveBack { fence, low });
            }
            Effect::LoadDue { .. } | Effect::Exchange(_) | Effect::Draw(_) => {
                let pause = self.latency();
                self.tell(node, pause, Word::Read(effect));
            }
        }
    }

    fn latency(&mut self) -> Duration {
        if self.dice.chance(3) { self.dice.millis(50, 2_000) } else { self.dice.millis(0, 15) }
    }

    fn start(&mut self, node: usize, start: &Start) {
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
        let count = live.running.len();
        let is_alone = live.running.values().any(|other| other.is_alone);
        if count > self.settings.slots {
            self.ledger.wrong.push(format!("{count} run at once on a node"));
        }
        if work.action == LIMITED {
            self.ledger.limited_starts.push(now);
        }
        if work.action == BATCHED {
            let members = at_once(self.memory.members(work.id)).unwrap();
            self.ledger.gathered.entry(work.id).or_default().push(members);
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
        let running: Vec<Running> =
            trusted.flat_map(|live| live.running.values().cloned()).collect();
        let of_action = running.iter().filter(|running| running.action == LIMITED).count();
        let of_tenant = running.iter().filter(|running| running.tenant == LIMITED_TENANT).count();
        if of_action > LIMIT || of_tenant > TENANT_LIMIT {
            let text = format!("{of_action} of the action run, {of_tenant} of the tenant");
            self.ledger.wrong.push(text);
        }
        let mut of_keys: BTreeMap<(TenantId, Arc<str>), usize> = BTreeMap::new();
        for running in running {
            if let Some(key) = running.counted {
                *of_keys.entry((running.tenant, key)).or_default() += 1;
            }
        }
        self.ledger.met.full_keys += u32::from(of_keys.values().any(|count| *count == KEY_LIMIT));
        if let Some((key, count)) = of_keys.iter().find(|(_, count)| **count > KEY_LIMIT) {
            self.ledger.wrong.push(format!("{count} with the key {key:?} run at once"));
        }
    }

    fn ended(&mut self, node: usize, token: Token) {
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

    fn queue(&mut self, node: usize, write: Write) {
        if let Some(live) = &mut self.nodes[node].live {
            live.writes.push_back(write);
        }
        self.send_writes(node);
    }

    /// One batch at a time, with whatever has gathered meanwhile.
    fn send_writes(&mut self, node: usize) {
        let most = 1 + self.dice.index(12);
        let pause = self.latency();
        let Some(live) = &mut self.nodes[node].live else { return };
        if live.is_writing || live.writes.is_empty() {
            return;
        }
        live.is_writing = true;
        let writes = live.writes.drain(..most.min(live.writes.len())).collect();
        let by = live.id;
        self.tell(node, pause, Word::Write { by, writes });
    }

    /// A batch has reached the store.
    fn write(&mut self, node: usize, session: u64, by: NodeId, writes: Vec<Write>) {
        let is_current = self.nodes[node].session == session;
        if self.is_down() {
            if is_current {
                self.tell(node, Duration::from_millis(120), Word::Write { by, writes });
            }
            return;
        }
        let is_unknown = self.is_troubled() && self.dice.chance(1);
        let is_written = !is_unknown || self.dice.chance(50);
        let outcome =
            if is_written { self.commit(&commit_of(by, &writes)) } else { Ok(<_>::default()) };
        let outcome = match outcome {
            Err(StoreError::Fenced { .. }) => {
                self.ledger.met.fenced += 1;
                Err(Failure::Fenced)
            }
            Err(error) => panic!("a commit that cannot be: {error}"),
            Ok(_) if is_unknown => {
                self.ledger.met.unknown_commits += 1;
                Err(Failure::Unknown)
            }
            Ok(_) => Ok(writes),
        };
        if is_current {
            let pause = self.latency();
            self.tell(node, pause, Word::Written(outcome));
        }
    }

    fn written(&mut self, node: usize, outcome: Result<Vec<Write>, Failure>) {
        let Ok(writes) = outcome else {
            return self.end_session(node);
        };
        if let Some(live) = &mut self.nodes[node].live {
            live.is_writing = false;
        }
        let mut committed = Vec::new();
        for write in writes {
            match write {
                Write::Mark { items, .. } => {
                    let tokens = items.iter().map(|(token, _)| *token).collect();
                    self.step(node, Input::Marked(tokens));
                }
                Write::Finish(finish) => committed.push(finish.item.work.id),
                Write::Retry { later, .. } => committed.push(later.item.work.id),
            }
        }
        self.step(node, Input::Committed(committed));
        self.send_writes(node);
    }

    /// A reading has reached the store.
    fn read(&mut self, node: usize, effect: Effect) {
        if self.is_down() {
            return self.tell(node, Duration::from_millis(120), Word::Read(effect));
        }
        let answer = match effect {
            Effect::Load { part, from, limit } => {
                let window = at_once(self.memory.window(part, from, limit)).unwrap();
                let tail = at_once(self.memory.tails()).unwrap()[usize::from(part.0)].1;
                let next = window.next.unwrap_or(from);
                self.ledger.met.refills += u32::from(next < tail);
                Input::Loaded { part, from, next, items: window.items }
            }
            Effect::LoadDue { part, ahead, limit } => {
                let laters = at_once(self.memory.due(DueQuery { part, ahead, limit })).unwrap();
                let complete = laters.len() < usize::try_from(limit).unwrap();
                Input::Due { part, laters, complete }
            }
            Effect::Exchange(asks) => {
                let Some(id) = self.nodes[node].live.as_ref().map(|live| live.id) else { return };
                let Ok(shares) = at_once(self.memory.exchange(id, &asks)) else {
                    return self.tell(node, Duration::ZERO, Word::Written(Err(Failure::Fenced)));
                };
                let is_shared = shares.iter().any(|share| share.cap < share.amount);
                self.ledger.met.shared_limits += u32::from(is_shared);
                Input::Shares(shares)
            }
            Effect::Draw(draws) => {
                let drawn = at_once(self.memory.draw(&draws)).unwrap();
                let is_short = drawn.iter().any(|drawn| !drawn.again_in.is_zero());
                self.ledger.met.paced += u32::from(is_short);
                Input::Drawn(drawn)
            }
            Effect::Start(_)
            | Effect::Abort(_)
            | Effect::Mark { .. }
            | Effect::Finish(_)
            | Effect::GiveBack { .. }
            | Effect::Retry { .. } => return,
        };
        let pause = self.latency();
        self.tell(node, pause, Word::Answer(Box::new(answer)));
    }
}

fn commit_of(node: NodeId, writes: &[Write]) -> Commit {
    let mut commit = Commit { node: Some(node), ..Commit::default() };
    let mut fences = BTreeMap::new();
    for write in writes {
        let fence = match write {
            Write::Mark { fence, items } => {
                commit.marks.extend(items.iter().map(|(_, item)| item.clone()));
                *fence
            }
            Write::Finish(finish) => {
                commit.finishes.push((**finish).clone());
                Fence { part: finish.item.part, epoch: finish.epoch }
            }
            Write::Retry { fence, later } => {
                commit.retries.push((**later).clone());
                *fence
            }
        };
        fences.insert(fence, ());
    }
    commit.fences = fences.into_keys().collect();
    commit
}
