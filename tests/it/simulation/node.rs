//! The node around a dispatcher, as small as it can be: what it hears, and what it carries out
//! against the store.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use actions_domain::dispatch::{Depths, Dispatcher, Effect, Input, Settings, Token};
use actions_domain::id::NodeId;
use actions_domain::placement::{Judge, SILENT_BEATS_MIN};
use actions_domain::ports::leases::Leases;
use actions_domain::ports::store::Store;
use actions_domain::throttle::{Limits, Scope};
use actions_domain::work::{Epoch, Fence, Part, Seq};

use super::attempts::Running;
use super::dice::{Micros, instant};
use super::faults::Planted;
use super::workload::{LIMITED, limits};
use super::world::{World, at_once};
use super::writer::{Failure, Write};

const POLL: Duration = Duration::from_secs(1);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(6);

pub(super) struct Node {
    pub(super) name: String,
    /// Counts the starts of this node. Words to an earlier one are not heard.
    pub(super) session: u64,
    pub(super) frozen_until: Micros,
    /// Until then its beats do not reach the store, but its commits do.
    pub(super) mute_until: Micros,
    /// Goes on when it is not heard, instead of ending its session.
    pub(super) is_stubborn: bool,
    pub(super) live: Option<Session>,
}

pub(super) struct Session {
    pub(super) id: NodeId,
    pub(super) dispatcher: Dispatcher,
    pub(super) owned: BTreeMap<Part, Epoch>,
    pub(super) judge: Judge,
    pub(super) heard_at: Micros,
    pub(super) writes: VecDeque<Write>,
    pub(super) is_writing: bool,
    pub(super) running: BTreeMap<Token, Running>,
    tick_at: Option<Micros>,
    pub(super) is_draining: bool,
    /// It has noticed that it was not heard for too long.
    pub(super) is_doomed: bool,
    /// Until then it does not ask the accelerator for rates.
    pub(super) shuns_until: Micros,
    /// When it last heard from the store who is to end.
    pub(super) polled_at: Micros,
    /// Starts of the limited action that it has drawn and not used.
    pub(super) limited_drawn: u32,
    /// When the dispatcher let an attempt start, which may have to be written down first.
    pub(super) let_at: BTreeMap<Token, Micros>,
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
            Word::Tick => self.tick(node),
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
    pub(super) fn end_session(&mut self, node: usize) {
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
            shuns_until: 0,
            polled_at: -1,
            limited_drawn: 0,
            let_at: BTreeMap::new(),
        });
        for (scope, limits) in limits(self.planted) {
            self.step(node, Input::Limits { scope, limits });
        }
        self.tell(node, Duration::ZERO, Word::Beat);
        self.tell(node, Duration::ZERO, Word::Poll);
    }

    fn poll(&mut self, node: usize) {
        let (session, at) = (self.nodes[node].session, self.now());
        if !self.is_down() {
            for (part, tail) in at_once(self.memory.tails()).unwrap() {
                self.step(node, Input::TailSeen { part, tail });
            }
            // Somebody pauses and resumes the limited action, as long as there is trouble.
            let is_paused = self.is_troubled() && self.dice.chance(15);
            let (scope, limits) = limits(self.planted)[0];
            self.step(node, Input::Limits { scope, limits: Limits { is_paused, ..limits } });
            let is_deaf = self.planted == Planted::DeafToSuperseding;
            let cancels = at_once(self.memory.cancels()).unwrap();
            for cancel in cancels.iter().filter(|cancel| cancel.by.is_none() || !is_deaf) {
                self.step(node, Input::from(cancel));
            }
            if let Some(live) = &mut self.nodes[node].live {
                live.polled_at = at;
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
        let (at, now) = (self.now(), instant(self.now()));
        let Some(live) = &mut self.nodes[node].live else { return };
        if let Input::Drawn(drawn) = &input {
            let limited = drawn.iter().filter(|drawn| drawn.scope == Scope::Action(LIMITED));
            limited.for_each(|drawn| live.limited_drawn = drawn.count);
        }
        if let Input::Claimed(lease) = &input {
            self.ledger.takeovers.entry(lease.part).or_default().push(at);
        }
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

    /// An earlier one was planned since, where this one is not the next any more.
    fn tick(&mut self, node: usize) {
        let now = self.now();
        let Some(live) = &mut self.nodes[node].live else { return };
        if live.tick_at.take_if(|at| *at <= now).is_some() {
            self.step(node, Input::Tick);
        }
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
            Effect::Start(start) => {
                self.is_let(node, start.token, &start.item);
                self.start(node, &start);
            }
            Effect::Abort(token) => {
                if let Some(live) = &mut self.nodes[node].live {
                    live.running.remove(&token);
                }
            }
            Effect::Mark { fence, items } => {
                items.iter().for_each(|(token, item)| self.is_let(node, *token, item));
                self.queue(node, Write::Mark { fence, items });
            }
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

    pub(super) fn latency(&mut self) -> Duration {
        if self.dice.chance(3) { self.dice.millis(50, 2_000) } else { self.dice.millis(0, 15) }
    }
}
