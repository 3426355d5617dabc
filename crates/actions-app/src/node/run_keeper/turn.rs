//! One turn of one run: what it was told is taken in order, and what it asks for is made ready to be
//! written in the same commit.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use actions_domain::Timestamp;
use actions_domain::action::Action;
use actions_domain::execution::Fault;
use actions_domain::flow::decide::{CallResult, Command, Input, Refusal, Start, decide};
use actions_domain::flow::graph::Target;
use actions_domain::flow::journal::{CallId, Cause, Entry, What};
use actions_domain::flow::record::{
    NewRun, ParentCall, RunEntry, RunState, RunStatus, RunTurn, StepOf, Tell, WorkflowVersion,
};
use actions_domain::flow::told::{CallEnd, Told};
use actions_domain::id::{ExecutionId, RunId, TenantId};
use actions_domain::json::Json;
use actions_domain::retry::Jitter;
use actions_domain::terms::Terms;
use actions_domain::work::{Cancel, Ingest, Part, Work};
use serde_json::{Value, json};
use tracing::debug;

use super::Taking;
use super::cache::{Loaded, Made};
use crate::app::App;
use crate::catalogue::TenantDefinitions;
use crate::commands::key::{key_for_job, named, terms_of, wants_data};

/// What a turn leads to, before it is written.
pub(super) struct Outcome {
    pub(super) turn: RunTurn,
    pub(super) works: Vec<Ingest>,
    pub(super) starts: Vec<NewRun>,
    pub(super) tells: Vec<Tell>,
    pub(super) cancels: Vec<Cancel>,
    loaded: Option<Box<Loaded>>,
}

impl Outcome {
    pub(super) fn run(&self) -> RunId {
        self.turn.run
    }

    pub(super) fn has_ended(&self) -> bool {
        self.turn.state.as_ref().is_some_and(|state| state.status.is_final())
    }

    pub(super) fn into_loaded(self) -> Option<Box<Loaded>> {
        self.loaded
    }
}

/// The turn while it is made.
pub(super) struct Turning<'a> {
    app: &'a App,
    tenant: TenantId,
    run: RunId,
    now: Timestamp,
    entries: Vec<RunEntry>,
    timers_set: BTreeMap<CallId, Timestamp>,
    timers_cleared: BTreeSet<CallId>,
    works: Vec<Ingest>,
    starts: Vec<NewRun>,
    tells: Vec<Tell>,
    cancels: Vec<Cancel>,
    /// What the run is told by itself.
    own: VecDeque<Input>,
    refused_start: Option<Refusal>,
}

impl<'a> Turning<'a> {
    pub(super) fn new(app: &'a App, run: RunId, taking: &Taking, now: Timestamp) -> Self {
        Self {
            app,
            tenant: taking.tenant,
            run,
            now,
            entries: Vec::new(),
            timers_set: BTreeMap::new(),
            timers_cleared: taking.timers.iter().map(|timer| timer.call).collect(),
            works: Vec::new(),
            starts: Vec::new(),
            tells: Vec::new(),
            cancels: Vec::new(),
            own: VecDeque::new(),
            refused_start: None,
        }
    }

    /// Takes everything that the run was told. One that is gone takes it as well, and nothing
    /// follows.
    pub(super) fn take(mut self, loaded: Option<Box<Loaded>>, taking: Taking) -> Outcome {
        let Taking { part, waiting, timers, .. } = taking;
        let places = waiting.iter().map(|row| row.place).collect();
        let Some(mut loaded) = loaded else {
            return self.outcome(part, places, 0, None, None);
        };
        let first = loaded.run.entry_count();
        for row in waiting {
            let jitter = Jitter(self.app.ports.dice.roll());
            let input = row.told.into_input(&loaded.flow, &loaded.run, jitter);
            self.decide(&mut loaded, input);
        }
        for timer in timers {
            self.decide(&mut loaded, Input::TimerFired { call: timer.call });
        }
        // Where nothing happened, it stands as it stood: a run that has ended keeps its end.
        let has_changed = !self.entries.is_empty() || self.refused_start.is_some();
        let state = has_changed.then(|| self.state(&loaded));
        if let Some(state) = &state {
            loaded.record.state = state.clone();
        }
        loaded.forget_ended();
        let kept = self.refused_start.is_none().then_some(loaded);
        self.outcome(part, places, first, state, kept)
    }

    fn outcome(
        self,
        part: Part,
        taken: Vec<i64>,
        first: u32,
        state: Option<RunState>,
        loaded: Option<Box<Loaded>>,
    ) -> Outcome {
        let turn = RunTurn {
            tenant: self.tenant,
            part,
            run: self.run,
            taken,
            timers_cleared: self.timers_cleared.into_iter().collect(),
            timers_set: self.timers_set.into_iter().collect(),
            first,
            entries: self.entries,
            state,
        };
        let Self { works, starts, tells, cancels, .. } = self;
        Outcome { turn, works, starts, tells, cancels, loaded }
    }

    fn state(&mut self, loaded: &Loaded) -> RunState {
        let state = RunState::of(&loaded.run, self.now);
        let Some(refusal) = &self.refused_start else { return state };
        let message = refusal.to_string();
        let fault = Fault::handler(refusal.code(), message.as_str());
        let end = CallEnd::Failed { fault, may_retry: false };
        self.tell_parent(loaded.record.parent, end);
        let ended_at = Some(self.now);
        RunState { status: RunStatus::Failed, ended_at, error: Some(message), ..state }
    }

    fn decide(&mut self, loaded: &mut Loaded, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next {
            let is_start = matches!(input, Input::Start { .. });
            let flow = Arc::clone(&loaded.flow);
            let expressions = self.app.workflows.expressions();
            match decide(&flow, &mut loaded.run, input, self.now, expressions) {
                Ok(turn) => {
                    for entry in turn.entries {
                        loaded.note(&entry);
                        self.entries.push(self.made_by(entry));
                    }
                    for command in turn.commands {
                        self.carry_out(loaded, command);
                    }
                }
                Err(refusal) if is_start && loaded.run.entry_count() == 0 => {
                    self.refused_start = Some(refusal);
                }
                // Whoever asked was told already, or has nothing to do with it any more.
                Err(refusal) => debug!(run = %self.run, %refusal, "a run passes something over"),
            }
            next = self.own.pop_front();
        }
    }

    fn made_by(&self, entry: Entry) -> RunEntry {
        let mut execution = None;
        if let What::StepScheduled(scheduled) | What::CompensationScheduled(scheduled) = &entry.what
        {
            execution = Some(self.run.execution(scheduled.call, entry.at));
        }
        RunEntry { entry, execution }
    }

    fn carry_out(&mut self, loaded: &Loaded, command: Command) {
        match command {
            Command::Start(start) => {
                let call = start.call;
                if let Err(fault) = self.start(loaded, start) {
                    self.fail(call, fault);
                }
            }
            Command::StartChild { call, flow, input, depth, place: _ } => {
                if let Err(fault) = self.start_child(loaded, call, &flow, input, depth) {
                    self.fail(call, fault);
                }
            }
            Command::Cancel { call } => self.cancel(loaded, call),
            Command::SetTimer { call, due_at } => {
                self.timers_set.insert(call, due_at);
            }
            Command::ClearTimer { call } => {
                if self.timers_set.remove(&call).is_none() {
                    self.timers_cleared.insert(call);
                }
            }
            Command::DeadLetter { target, cause } => self.tell_of_failure(loaded, &target, &cause),
            Command::Continue { input, signals } => self.start_next(loaded, input, signals),
            Command::End => {
                if let Some(end) = CallEnd::of_run(loaded.run.phase()) {
                    self.tell_parent(loaded.record.parent, end);
                }
            }
        }
    }

    /// What was asked for cannot even be begun.
    fn fail(&mut self, call: CallId, fault: Fault) {
        let result = CallResult::Failed { fault, may_retry: false, jitter: Jitter::ZERO };
        self.own.push_back(Input::Ended { call, result });
    }

    fn tell_parent(&mut self, parent: Option<ParentCall>, end: CallEnd) {
        let Some(ParentCall { run, part, call }) = parent else { return };
        self.tells.push(Tell { tenant: self.tenant, part, run, told: Told::Ended { call, end } });
    }

    fn start(&mut self, loaded: &Loaded, start: Start) -> Result<(), Fault> {
        let (action, defs) = self.target(loaded, &start.target)?;
        let is_budgeted = loaded.flow.graph().max_total_retries.is_some();
        let step = StepOf {
            call: Some(start.call),
            step: Some(start.place.step.clone()),
            undoes: start.is_compensation,
            once: is_budgeted && !start.is_compensation,
            ..loaded.step_of()
        };
        let id = self.run.execution(start.call, self.now);
        let input = input_of(&start);
        let key = start.key.as_ref().map(|(name, mode)| named(name, *mode));
        let own_key = || match start.target {
            Target::Action(_) => key_for_job(&action, &input),
            Target::Handler { .. } => None,
        };
        let key = key.or_else(own_key);
        let part = match &key {
            Some(key) => self.app.live.part_of(self.tenant, Some(key)),
            None => loaded.record.part,
        };
        let terms = self.terms(&start.target, &action, &input, step);
        self.submit(
            part,
            Work {
                id,
                tenant: self.tenant,
                lane: start.priority.unwrap_or(action.spec.priority),
                action: action.id,
                defs,
                key,
                event: None,
                parent: None,
                queued_at: self.now,
                delay: None,
                input: Some(input),
                depth: loaded.run.depth(),
                terms,
            },
        );
        Ok(())
    }

    fn submit(&mut self, part: Part, work: Work) {
        // The commit that takes what made it is the only one that has it, so nothing can repeat it.
        let works = vec![(part, Arc::new(work))];
        self.works.push(Ingest { event: None, dedupe: None, works, requeue_of: None });
    }

    /// The action that a step's execution names, and the version of the definitions to run it with.
    /// For a handler that is the workflow itself.
    fn target(&self, loaded: &Loaded, target: &Target) -> Result<(Arc<Action>, i64), Fault> {
        match target {
            Target::Handler { .. } => Ok((Arc::clone(&loaded.action), loaded.workflow().defs)),
            Target::Action(name) => {
                let known = self.definitions()?;
                let action = known.action_named(name.as_str()).ok_or_else(|| {
                    let message = format!("there is no action {name}");
                    Fault::handler("flow.action_not_found", message)
                })?;
                Ok((action, known.version()))
            }
        }
    }

    fn definitions(&self) -> Result<Arc<TenantDefinitions>, Fault> {
        self.app
            .catalogue
            .find(self.tenant)
            .ok_or_else(|| Fault::handler("tenant.not_found", "the tenant does not exist any more"))
    }

    /// A step is counted like any execution of its action. It stands for no other one and gathers
    /// nothing: its run waits for its own end.
    fn terms(
        &self,
        target: &Target,
        action: &Action,
        input: &Json,
        step: StepOf,
    ) -> Option<Arc<Terms>> {
        let counted = match target {
            Target::Action(_) => {
                let data = if wants_data(action) { input.to_value() } else { Value::Null };
                terms_of(action, None, &data)
            }
            Target::Handler { .. } => None,
        };
        let counted = counted.as_deref().cloned().unwrap_or_default();
        Terms { claim: None, step: Some(step), ..counted }.unless_empty()
    }

    fn start_child(
        &mut self,
        loaded: &Loaded,
        call: CallId,
        workflow: &str,
        input: Json,
        depth: u8,
    ) -> Result<(), Fault> {
        let known = self.definitions()?;
        let action = known.action_named(workflow).filter(|action| action.spec.is_workflow());
        let action = action.ok_or_else(|| {
            let message = format!("there is no workflow {workflow}");
            Fault::handler("flow.workflow_not_found", message)
        })?;
        let id = self.run.child(call, self.now);
        self.starts.push(NewRun {
            id,
            tenant: self.tenant,
            part: id.part(self.tenant, self.app.live.part_count()),
            name: workflow.to_owned(),
            workflow: WorkflowVersion { action: action.id, defs: known.version() },
            parent: Some(ParentCall { run: self.run, part: loaded.record.part, call }),
            started_at: self.now,
            input,
            context: BTreeMap::new(),
            depth,
        });
        Ok(())
    }

    /// The run that takes the place of this one, also for whoever waits for it.
    fn start_next(&mut self, loaded: &Loaded, input: Json, signals: Vec<(String, Json)>) {
        let record = &loaded.record;
        let id = self.run.child(CallId(loaded.run.entry_count()), self.now);
        let part = id.part(self.tenant, self.app.live.part_count());
        self.starts.push(NewRun {
            id,
            tenant: self.tenant,
            part,
            name: record.name.clone(),
            workflow: record.workflow,
            parent: record.parent,
            started_at: self.now,
            input,
            context: BTreeMap::new(),
            depth: loaded.run.depth(),
        });
        let told = |(name, payload)| Told::Signal { name, id: None, payload };
        let tell = |told| Tell { tenant: self.tenant, part, run: id, told };
        self.tells.extend(signals.into_iter().map(told).map(tell));
    }

    fn cancel(&mut self, loaded: &Loaded, call: CallId) {
        match loaded.made.get(&call) {
            Some(Made::Execution(at)) => {
                let execution: ExecutionId = self.run.execution(call, *at);
                self.cancels.push(Cancel { tenant: self.tenant, execution, by: None });
            }
            Some(Made::Child(at)) => {
                let run = self.run.child(call, *at);
                let part = run.part(self.tenant, self.app.live.part_count());
                let reason = Some("the run that started it does not need it any more".to_owned());
                let told = Told::Cancel { reason, compensate: true };
                self.tells.push(Tell { tenant: self.tenant, part, run, told });
            }
            None => {}
        }
    }

    /// Calls somebody once with the failure of the run. Nobody waits for the answer.
    fn tell_of_failure(&mut self, loaded: &Loaded, target: &Target, cause: &Cause) {
        let (action, defs) = match self.target(loaded, target) {
            Ok(target) => target,
            Err(fault) => {
                let why = fault.message;
                tracing::warn!(run = %self.run, why, "nobody is told that a run has failed");
                return;
            }
        };
        let fault = cause.fault();
        let input = Json::from_value(&json!({
            "run": self.run,
            "workflow": loaded.record.name,
            "error": { "code": fault.code, "message": cause.to_string() },
            "input": loaded.run.input().to_value(),
        }));
        let terms = self.terms(target, &action, &input, loaded.step_of());
        let call = CallId(loaded.run.entry_count());
        self.submit(
            loaded.record.part,
            Work {
                id: self.run.execution(call, self.now),
                tenant: self.tenant,
                lane: action.spec.priority,
                action: action.id,
                defs,
                key: None,
                event: None,
                parent: None,
                queued_at: self.now,
                delay: None,
                input: Some(input),
                depth: loaded.run.depth(),
                // What an action does is not said by the workflow.
                terms: terms.filter(|_| matches!(target, Target::Handler { .. })),
            },
        );
    }
}

/// The input of a step, with the values that it needs from the run's context beside it.
fn input_of(start: &Start) -> Json {
    if start.context.is_empty() {
        return start.input.clone();
    }
    let context = start.context.iter().map(|(key, value)| (key.clone(), value.to_value()));
    let context = Value::Object(context.collect());
    let given = start.input.to_value();
    let input = if let Value::Object(mut members) = given {
        members.insert("context".to_owned(), context);
        Value::Object(members)
    } else if given.is_null() {
        json!({ "context": context })
    } else {
        json!({ "input": given, "context": context })
    };
    Json::from_value(&input)
}
