//! What follows from an input: entries for the history, and commands for the engine.
//!
//! A turn is one commit: its entries, what it asks for, and the input that it took belong
//! together. Whoever cannot commit drops the run and replays its history. An answer that nobody
//! waits for, because it is late or repeated, leads to an empty turn.
//!
//! Steps that may begin are begun in the order of their names, so the same input to the same run
//! always leads to the same turn.

use std::collections::{BTreeMap, VecDeque};

use super::checked::Flow;
use super::expression::{Expressions, Scope};
use super::fault::FlowFault;
use super::graph::{Does, StepName, Target};
use super::journal::{CallId, Cause, Entry, Limit, Place, Skip, What};
use super::run::{Phase, Run, Way};
use crate::Timestamp;
use crate::execution::{Fault, Priority};
use crate::json::Json;
use crate::limits::{
    RUN_BYTES_MAX, RUN_BYTES_WARN, RUN_ENTRIES_MAX, RUN_ENTRIES_WARN, RUN_OPEN_MAX,
};
use crate::retry::{Jitter, RetryPolicy};
use crate::work::KeyMode;

mod answers;
mod maps;
mod refusals;
mod starts;
mod stops;

use refusals::refuse;
pub(super) use refusals::refuse_any;
pub use refusals::{Refusal, check_words};

/// Something that a run is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    Start {
        input: Json,
        /// What is in the context from the start.
        context: BTreeMap<String, Json>,
        /// How many workflows led here.
        depth: u8,
    },
    /// What was asked for has come to its end.
    Ended {
        call: CallId,
        result: CallResult,
    },
    TimerFired {
        call: CallId,
    },
    Signal {
        name: String,
        /// A signal that is sent again with the same id counts once.
        id: Option<String>,
        payload: Json,
    },
    /// Nothing more is started, compensation included. What is under way goes on.
    Pause {
        reason: Option<String>,
    },
    Resume,
    Cancel {
        reason: Option<String>,
        compensate: bool,
    },
    /// Runs a step again and all that comes after it. What failed, was cancelled or was undone
    /// runs again as well, for nothing else could come after it.
    RetryFrom {
        step: StepName,
    },
}

/// How an execution or a child came to its end.
#[derive(Debug, Clone, PartialEq)]
pub enum CallResult {
    Completed {
        output: Json,
        /// What it put into the context.
        context: BTreeMap<String, Json>,
    },
    Failed {
        fault: Fault,
        /// Whether another try is of use, as far as the other side knows.
        may_retry: bool,
        /// Spreads the retry, where one is decided here.
        jitter: Jitter,
    },
    Cancelled,
}

/// Something that a run asks for. Committed together with the entries that say so.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    Start(Start),
    StartChild {
        call: CallId,
        place: Place,
        flow: String,
        input: Json,
        depth: u8,
    },
    /// Not needed any more. The answer is waited for all the same, unless the time was over.
    Cancel {
        call: CallId,
    },
    SetTimer {
        call: CallId,
        due_at: Timestamp,
    },
    ClearTimer {
        call: CallId,
    },
    /// The run has failed: somebody is to be told once.
    DeadLetter {
        target: Target,
        cause: Cause,
    },
    /// The run has ended, and a new one of the same workflow takes its place: with this input and
    /// the signals that nobody has taken, for whoever waits for the old one.
    Continue {
        input: Json,
        signals: Vec<(String, Json)>,
    },
    /// Nothing follows any more. Whoever started the run is told.
    End,
}

/// An execution that is to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    pub call: CallId,
    pub place: Place,
    pub is_compensation: bool,
    /// From 1: retries that the run decided.
    pub attempt: u32,
    pub target: Target,
    pub input: Json,
    /// The values of the keys that the step requires.
    pub context: BTreeMap<String, Json>,
    pub key: Option<(String, KeyMode)>,
    /// `None`: that of the action.
    pub priority: Option<Priority>,
    /// `None`: that of the action.
    pub retry: Option<RetryPolicy>,
    pub timeout_seconds: Option<u32>,
}

/// What a turn leads to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Turn {
    pub entries: Vec<Entry>,
    pub commands: Vec<Command>,
}

impl Turn {
    /// Nobody waited for the input.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.commands.is_empty()
    }
}

/// Takes an input and answers what follows. `run` is afterwards what its history and the entries
/// of the turn say; when the input is refused, it is as before.
///
/// # Errors
/// Why the run cannot take the input as it is now.
pub fn decide(
    flow: &Flow,
    run: &mut Run,
    input: Input,
    now: Timestamp,
    with: &dyn Expressions,
) -> Result<Turn, Refusal> {
    refuse(flow, run, &input)?;
    let was_full = run.open_count() >= RUN_OPEN_MAX;
    let mut decider = Decider {
        flow,
        run,
        with,
        now,
        turn: Turn::default(),
        ended: VecDeque::new(),
        looks: VecDeque::new(),
    };
    decider.take(input);
    if was_full {
        decider.look_at_all();
    }
    decider.settle();
    Ok(decider.turn)
}

/// Why nothing more may be started. What ends a run always finds room.
pub(super) fn spent(run: &Run) -> Option<FlowFault> {
    if run.entry_count() >= RUN_ENTRIES_MAX {
        return Some(FlowFault::Entries { given: run.entry_count() });
    }
    (run.bytes() >= RUN_BYTES_MAX).then(|| FlowFault::Bytes { given: run.bytes() })
}

/// One turn while it is made.
struct Decider<'t> {
    flow: &'t Flow,
    run: &'t mut Run,
    with: &'t dyn Expressions,
    now: Timestamp,
    turn: Turn,
    /// Steps that have come to their end, whose ways have not been decided.
    ended: VecDeque<StepName>,
    /// Steps that may have something to do.
    looks: VecDeque<StepName>,
}

impl Decider<'_> {
    fn take(&mut self, input: Input) {
        match input {
            Input::Start { input, context, depth } => {
                let flow = self.flow.digest();
                self.note(What::RunStarted { flow, input, context, depth });
                self.looks.extend(self.flow.first_steps().cloned());
            }
            Input::Ended { call, result } => self.answered(call, result),
            Input::TimerFired { call } => self.timer_fired(call),
            Input::Signal { name, id, payload } => self.signalled(name, id, payload),
            Input::Pause { reason } => self.note(What::RunPaused { reason }),
            Input::Resume => {
                self.note(What::RunResumed);
                self.look_at_all();
            }
            Input::Cancel { reason, compensate } => {
                self.stop(Cause::Cancelled { reason }, compensate);
            }
            Input::RetryFrom { step } => self.retry_from(step),
        }
    }

    /// Goes on until nothing more follows. Ways are decided before any step looks at them.
    fn settle(&mut self) {
        loop {
            if let Some(step) = self.ended.pop_front() {
                self.decide_ways(&step);
            } else if let Some(step) = self.looks.pop_front() {
                self.look(&step);
            } else {
                break;
            }
        }
        self.conclude();
        self.warn();
    }

    /// Writes an entry down, and takes it in.
    fn note(&mut self, what: What) {
        let entry = Entry { at: self.now, what };
        self.run.evolve(&entry);
        self.turn.entries.push(entry);
    }

    fn command(&mut self, command: Command) {
        self.turn.commands.push(command);
    }

    /// The number of the entry that comes next.
    fn next_call(&self) -> CallId {
        CallId(self.run.entry_count())
    }

    fn may_start(&self) -> bool {
        *self.run.phase() == Phase::Running && !self.run.is_paused()
    }

    fn scope(&self) -> Scope<'_> {
        Scope { run: self.run, item: None, undone: None }
    }

    /// Steps that were left behind for want of room, or while the run was paused.
    fn look_at_all(&mut self) {
        self.restart_due();
        let steps: Vec<StepName> = self.flow.order().into_iter().cloned().collect();
        self.looks.extend(steps);
    }

    /// Evaluates the guards of the ways from a step once, when it has ended. In a run that stops
    /// nobody needs the answer.
    fn decide_ways(&mut self, step: &StepName) {
        if *self.run.phase() != Phase::Running {
            return;
        }
        let after = self.flow.after(step);
        let mut closed = Vec::new();
        let mut undecidable = Vec::new();
        for (to, guard) in after {
            // What is through does not ask any more, and a way that is closed or broken is decided.
            if self.run.state(to).is_some() || self.run.way(step, to) != Way::Open {
                continue;
            }
            // A choice has chosen already, unless it failed.
            if self.is_choice(step) {
                if self.run.output_of(step).is_none() {
                    closed.push(to.clone());
                }
                continue;
            }
            let Some(guard) = guard else { continue };
            match self.with.holds(guard, &self.scope()) {
                Ok(true) => {}
                Ok(false) => closed.push(to.clone()),
                Err(why) => undecidable.push((to.clone(), why)),
            }
        }
        if !closed.is_empty() {
            self.note(What::WaysClosed { from: step.clone(), to: closed });
        }
        for (to, why) in undecidable {
            let what = "the guard of a way";
            let fault = FlowFault::Expression { step: to.clone(), what, why };
            self.fail(Place::step(&to), None, fault.into());
        }
        self.looks.extend(after.iter().map(|(to, _)| to.clone()));
    }

    fn is_choice(&self, step: &StepName) -> bool {
        self.flow.step(step).is_some_and(|step| matches!(step.does, Does::Choice { .. }))
    }

    fn look(&mut self, step: &StepName) {
        if self.run.mapping(step).is_some() {
            self.tend_map(step);
        } else if self.run.state(step).is_none() && self.may_start() {
            match self.join(step) {
                Join::Wait => {}
                Join::Go => self.begin(step),
                Join::Skip(why) => {
                    self.note(What::StepSkipped { step: step.clone(), why });
                    self.ended.push_back(step.clone());
                }
            }
        }
    }

    /// What the ways to a step say. A gate goes on as soon as enough of them are open. Every other
    /// step waits until all are decided: it is skipped when one is broken, or none is open.
    fn join(&self, step: &StepName) -> Join {
        let before = self.flow.before(step);
        let ways = before.iter().map(|from| self.run.way(from, step));
        let (mut open, mut undecided, mut broken) = (0_usize, 0_usize, 0_usize);
        for way in ways {
            match way {
                Way::Open => open += 1,
                Way::Undecided => undecided += 1,
                Way::Broken => broken += 1,
                Way::Closed => {}
            }
        }
        let skip = if broken > 0 { Skip::Dependency } else { Skip::NotChosen };
        let gate = self.flow.step(step).and_then(|step| step.does.as_gate());
        let gate = gate.map(|needs| needs.of(before.len()));
        match gate {
            Some(needs) if open >= needs => Join::Go,
            Some(_) | None if undecided > 0 => Join::Wait,
            Some(_) => Join::Skip(skip),
            None if broken > 0 || (open == 0 && !before.is_empty()) => Join::Skip(skip),
            None => Join::Go,
        }
    }

    /// Says once that a limit is near.
    fn warn(&mut self) {
        let near = [
            (Limit::Entries, self.run.entry_count() >= RUN_ENTRIES_WARN),
            (Limit::Bytes, self.run.bytes() >= RUN_BYTES_WARN),
        ];
        for (limit, is_near) in near {
            if is_near && !self.run.is_warned(limit) && !self.run.phase().is_final() {
                self.note(What::LimitNeared { limit });
            }
        }
    }
}

/// Whether a step may begin, as far as the ways to it say.
enum Join {
    Wait,
    Go,
    Skip(Skip),
}
