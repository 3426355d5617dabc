//! How a step begins.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{Command, Decider, Start, spent};
use crate::Timestamp;
use crate::execution::Fault;
use crate::flow::expression::{Item, Scope};
use crate::flow::fault::FlowFault;
use crate::flow::graph::{
    Body, Call, Child, Contract, Does, FailureImpact, Reason, Step, StepName, Wait,
};
use crate::flow::journal::{CallId, Cause, Completed, Place, Scheduled, Skip, What};
use crate::flow::run::{CallKind, StepStatus};
use crate::json::Json;
use crate::limits::{EVENT_BYTES_MAX, FLOW_DEPTH_MAX, RUN_OPEN_MAX, SCHEDULE_AHEAD_MAX};
use crate::retry::RetryPolicy;
use crate::work::KeyMode;

impl Decider<'_> {
    /// Begins a step whose turn it is, unless the run has no room for it now.
    pub(super) fn begin(&mut self, name: &StepName) {
        let flow = self.flow;
        let Some(step) = flow.step(name) else { return };
        if !self.has_room() {
            return;
        }
        if self.is_needless(name, step) {
            self.note(What::StepSkipped { step: name.clone(), why: Skip::Needless });
            return self.ended.push_back(name.clone());
        }
        if let Some(condition) = &step.condition {
            match self.with.holds(condition, &self.scope()) {
                Ok(true) => {}
                Ok(false) => {
                    let why = Skip::Condition;
                    self.note(What::StepSkipped { step: name.clone(), why });
                    return self.ended.push_back(name.clone());
                }
                Err(why) => {
                    let what = "the condition";
                    let fault = FlowFault::Expression { step: name.clone(), what, why };
                    return self.fail(Place::step(name), None, fault.into());
                }
            }
        }
        if let Some(fault) = self.missing(name, &step.contract) {
            return self.fail(Place::step(name), None, fault.into());
        }
        let place = Place::step(name);
        match &step.does {
            Does::Action(call) => self.start(Attempt::first(place), step, call),
            Does::SubFlow(child) => self.start_child(Attempt::first(place), step, child),
            Does::Timer(wait) => self.start_timer(place, wait),
            Does::WaitSignal { signal } => self.await_signal(place, step, signal),
            Does::Map(map) => self.expand(name, map),
            Does::Gate { .. } => self.open_gate(name),
            Does::Choice { ways } => self.choose(name, ways),
        }
    }

    /// Whether one more thing may be under way. Stops the run when its history is full.
    pub(super) fn has_room(&mut self) -> bool {
        if let Some(fault) = spent(self.run) {
            let compensate = self.flow.graph().on_failure == FailureImpact::Compensate;
            self.stop(Cause::Run { fault: fault.into() }, compensate);
            return false;
        }
        self.run.open_count() < RUN_OPEN_MAX
    }

    /// Starts what a step or one of its items performs, once more or for the first time.
    pub(super) fn start_performed(&mut self, attempt: Attempt, step: &Step) {
        match &step.does {
            Does::Action(call) => self.start(attempt, step, call),
            Does::SubFlow(child) => self.start_child(attempt, step, child),
            Does::Map(map) => match &map.body {
                Body::Action(call) => self.start(attempt, step, call),
                Body::SubFlow(child) => self.start_child(attempt, step, child),
            },
            Does::Timer(_) | Does::WaitSignal { .. } | Does::Gate { .. } | Does::Choice { .. } => {}
        }
    }

    fn start(&mut self, attempt: Attempt, step: &Step, call: &Call) {
        let (input, key) = match self.call_texts(&attempt.place, call, None) {
            Ok(texts) => texts,
            Err(fault) => return self.fail(attempt.place, attempt.timer, fault),
        };
        // With a budget over all steps, only the run can say whether there is another try.
        let is_budgeted = self.flow.graph().max_total_retries.is_some();
        let retry = if is_budgeted { RetryPolicy::preset("no_retry") } else { step.retry.clone() };
        let id = self.next_call();
        let start = Start {
            call: id,
            place: attempt.place.clone(),
            is_compensation: false,
            attempt: attempt.number,
            target: call.target.clone(),
            input,
            context: self.required(&step.contract),
            key,
            priority: step.priority,
            retry,
            timeout_seconds: step.timeout_seconds,
        };
        self.note(What::StepScheduled(attempt.scheduled(id, None)));
        self.command(Command::Start(start));
    }

    fn start_child(&mut self, attempt: Attempt, step: &Step, child: &Child) {
        let depth = self.run.depth() + 1;
        if depth > FLOW_DEPTH_MAX {
            return self.fail(attempt.place, attempt.timer, FlowFault::Depth.into());
        }
        let input = match self.input(&attempt.place, &child.input, None) {
            Ok(input) => input,
            Err(fault) => return self.fail(attempt.place, attempt.timer, fault),
        };
        let call = self.next_call();
        let due_at = step.timeout_seconds.map(|seconds| self.after_seconds(seconds));
        let (place, flow) = (attempt.place.clone(), child.flow.clone());
        self.note(What::ChildScheduled(attempt.scheduled(call, due_at)));
        self.command(Command::StartChild { call, place, flow, input, depth });
        if let Some(due_at) = due_at {
            self.command(Command::SetTimer { call, due_at });
        }
    }

    fn start_timer(&mut self, place: Place, wait: &Wait) {
        let due_at = match wait {
            Wait::ForMs(millis) => after(self.now, Duration::from_millis(*millis)),
            Wait::Until(template) => match self.instant(&place.step, template) {
                Ok(due_at) => due_at,
                Err(fault) => return self.fail(place, None, fault.into()),
            },
        };
        let call = self.next_call();
        self.note(What::TimerCreated(Attempt::first(place).scheduled(call, Some(due_at))));
        self.command(Command::SetTimer { call, due_at });
    }

    fn instant(&self, step: &StepName, template: &str) -> Result<Timestamp, FlowFault> {
        let filled = self.with.fill(&Value::from(template), &self.scope()).map_err(|why| {
            FlowFault::Expression { step: step.clone(), what: "the instant", why }
        })?;
        let filled = filled.to_value();
        let given = filled.as_str().map_or_else(|| filled.to_string(), str::to_owned);
        let instant = DateTime::parse_from_rfc3339(&given).map(|at| at.with_timezone(&Utc));
        let instant = instant.map_err(|_| {
            let given = given.chars().take(64).collect();
            FlowFault::NoInstant { step: step.clone(), given }
        })?;
        if instant > after(self.now, SCHEDULE_AHEAD_MAX) {
            return Err(FlowFault::TooFar { step: step.clone(), until: instant });
        }
        Ok(instant)
    }

    fn await_signal(&mut self, place: Place, step: &Step, name: &str) {
        if let Some(signal) = self.run.signal(name) {
            let name = place.step;
            self.note(What::SignalTaken { step: name.clone(), call: None, signal });
            return self.ended.push_back(name);
        }
        let call = self.next_call();
        let due_at = step.timeout_seconds.map(|seconds| self.after_seconds(seconds));
        self.note(What::SignalAwaited(Attempt::first(place).scheduled(call, due_at)));
        if let Some(due_at) = due_at {
            self.command(Command::SetTimer { call, due_at });
        }
    }

    /// Whether a step would only wait for a gate that is open already.
    fn is_needless(&self, name: &StepName, step: &Step) -> bool {
        let waits = matches!(step.does, Does::Timer(_) | Does::WaitSignal { .. });
        let Some(gate) = self.only_gate_after(name).filter(|_| waits) else { return false };
        self.run.status(gate) == StepStatus::Completed
    }

    /// The gate to which the only way from a step leads.
    fn only_gate_after(&self, name: &StepName) -> Option<&StepName> {
        let [(only, _)] = self.flow.after(name) else { return None };
        self.flow.step(only)?.does.as_gate().map(|_| only)
    }

    /// Waits before a gate that lead nowhere else are given up: nobody would look at them.
    fn open_gate(&mut self, name: &StepName) {
        self.note(What::StepCompleted(Completed {
            place: Place::step(name),
            call: None,
            output: Json::null(),
            context: BTreeMap::new(),
        }));
        self.ended.push_back(name.clone());
        let needless: Vec<(CallId, Place, bool)> = (self.run.calls())
            .filter(|(_, call)| matches!(call.kind, CallKind::Timer | CallKind::Signal))
            .filter(|(_, call)| self.only_gate_after(&call.place.step) == Some(name))
            .map(|(id, call)| (id, call.place.clone(), call.due_at.is_some()))
            .collect();
        for (call, place, has_timer) in needless {
            self.ended.push_back(place.step.clone());
            self.note(What::StepCancelled { place, call: Some(call) });
            if has_timer {
                self.command(Command::ClearTimer { call });
            }
        }
    }

    fn choose(&mut self, name: &StepName, ways: &[StepName]) {
        for to in ways {
            let way = self.flow.after(name).iter().find(|(known, _)| known == to);
            let guard = way.and_then(|(_, guard)| guard.as_ref());
            let holds = guard.map_or(Ok(true), |guard| self.with.holds(guard, &self.scope()));
            match holds {
                Ok(false) => {}
                Ok(true) => {
                    self.note(What::ChoiceMade { step: name.clone(), to: to.clone() });
                    return self.ended.push_back(name.clone());
                }
                Err(why) => {
                    let what = "the guard of a way";
                    let fault = FlowFault::Expression { step: name.clone(), what, why };
                    return self.fail(Place::step(name), None, fault.into());
                }
            }
        }
        let fault = FlowFault::NoChoice { step: name.clone() };
        self.fail(Place::step(name), None, fault.into());
    }

    /// The input and the key of a call.
    pub(super) fn call_texts(
        &self,
        place: &Place,
        call: &Call,
        undone: Option<&Json>,
    ) -> Result<(Json, Option<(String, KeyMode)>), Fault> {
        let input = if call.is_literal {
            Json::from_value(&call.input)
        } else {
            self.input(place, &call.input, undone)?
        };
        let Some(key) = &call.key else { return Ok((input, None)) };
        let name = self.with.name(&key.text, &self.scope_at(place, undone)).map_err(|why| {
            FlowFault::Expression { step: place.step.clone(), what: "the key", why }
        })?;
        Ok((input, Some((name, key.mode))))
    }

    /// What a template says; without one, the item, what is undone, or the run's own input.
    fn input(&self, place: &Place, template: &Value, undone: Option<&Json>) -> Result<Json, Fault> {
        let scope = self.scope_at(place, undone);
        let input = if template.is_null() {
            let item = scope.item.map(|item| item.value);
            item.or(undone).unwrap_or_else(|| self.run.input()).clone()
        } else {
            self.with.fill(template, &scope).map_err(|why| FlowFault::Expression {
                step: place.step.clone(),
                what: "the input",
                why,
            })?
        };
        let given = input.as_str().len();
        if given > EVENT_BYTES_MAX {
            let (step, max) = (place.step.clone(), EVENT_BYTES_MAX);
            return Err(FlowFault::Payload { step, what: "the input", given, max }.into());
        }
        Ok(input)
    }

    fn scope_at<'s>(&'s self, place: &Place, undone: Option<&'s Json>) -> Scope<'s> {
        let item = place.item.and_then(|index| {
            let items = self.run.items_of(&place.step)?;
            let value = items.get(usize::try_from(index).ok()?)?;
            Some(Item { index, value })
        });
        Scope { run: self.run, item, undone }
    }

    fn required(&self, contract: &Contract) -> BTreeMap<String, Json> {
        let values = contract.requires.iter();
        values.filter_map(|key| Some((key.clone(), self.run.value_of(key)?.clone()))).collect()
    }

    /// The first key that a step needs and nobody has put, with the reason.
    fn missing(&self, name: &StepName, contract: &Contract) -> Option<FlowFault> {
        let key = contract.requires.iter().find(|key| self.run.value_of(key).is_none())?;
        let reason = Reason::Context(key.clone());
        let edges = self.flow.graph().edges.iter();
        let mut producers = edges.filter(|edge| edge.to == *name && edge.reasons.contains(&reason));
        let cause = producers.next().map_or_else(
            || "no step produces it".to_owned(),
            |edge| self.why_not_produced(&edge.from),
        );
        Some(FlowFault::ContextMissing { step: name.clone(), key: key.clone(), cause })
    }

    fn why_not_produced(&self, producer: &StepName) -> String {
        match self.run.status(producer) {
            StepStatus::Failed => {
                let message = self.run.fault_of(producer).map_or("", |fault| &fault.message);
                format!("step {producer}, which produces it, failed: {message}")
            }
            status @ (StepStatus::Waiting
            | StepStatus::Open
            | StepStatus::Completed
            | StepStatus::Skipped
            | StepStatus::Cancelled) => {
                format!("step {producer}, which produces it, is {}", status.word())
            }
        }
    }

    fn after_seconds(&self, seconds: u32) -> Timestamp {
        after(self.now, Duration::from_secs(seconds.into()))
    }
}

/// One try of a step or an item.
pub(super) struct Attempt {
    pub(super) place: Place,
    pub(super) number: u32,
    /// The timer that it waited for.
    pub(super) timer: Option<CallId>,
}

impl Attempt {
    pub(super) fn first(place: Place) -> Self {
        Self { place, number: 1, timer: None }
    }

    fn scheduled(self, call: CallId, due_at: Option<Timestamp>) -> Scheduled {
        Scheduled { place: self.place, call, attempt: self.number, due_at, timer: self.timer }
    }
}

/// The instant after a pause, or the end of time.
pub(super) fn after(now: Timestamp, pause: Duration) -> Timestamp {
    TimeDelta::from_std(pause)
        .ok()
        .and_then(|pause| now.checked_add_signed(pause))
        .unwrap_or(Timestamp::MAX_UTC)
}
