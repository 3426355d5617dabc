//! A small interpreter to compare with. It looks at all steps again after each input until
//! nothing changes, and keeps no history.
//!
//! Of a wait whose only way leads to a gate it knows less: when both come to their end in one
//! turn, either may have been first, and nothing depends on it.

use std::collections::{BTreeMap, BTreeSet};

use crate::flow::graph::{Body, Does, Edge, FailureImpact, FlowGraph, Step, StepName};
use crate::flow::journal::Place;
use crate::flow::run::StepStatus;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Open,
    Done,
    Failed(FailureImpact),
    /// Skipped by its condition: what comes after it goes on.
    Passed,
    NotChosen,
    Dependency,
    Given,
}

/// What an execution or a child answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Completed,
    Failed,
    Cancelled,
}

#[derive(Debug, Clone, Default)]
struct Items {
    count: u32,
    next: u32,
    open: BTreeSet<u32>,
    failed: u32,
    cancelled: u32,
}

#[derive(Debug)]
pub(super) struct Reference<'g> {
    graph: &'g FlowGraph,
    before: BTreeMap<&'g StepName, Vec<&'g Edge>>,
    after: BTreeMap<&'g StepName, Vec<&'g Edge>>,
    states: BTreeMap<StepName, State>,
    chosen: BTreeMap<StepName, StepName>,
    items: BTreeMap<StepName, Items>,
    item_count: u32,
    signals: BTreeSet<String>,
    /// What was begun, and what was completed and may have to be undone, in order.
    pub(super) begun: BTreeSet<Place>,
    pub(super) completed: Vec<Place>,
    /// Whether it stops, and whether it undoes what was done.
    pub(super) stops: Option<bool>,
    pub(super) is_paused: bool,
    has_failed: bool,
    pub(super) is_cancelled: bool,
}

impl<'g> Reference<'g> {
    /// Every map of the graph has so many items.
    pub(super) fn new(graph: &'g FlowGraph, item_count: u32) -> Self {
        let at = |name: &StepName, end: fn(&Edge) -> &StepName| -> Vec<&Edge> {
            graph.edges.iter().filter(|edge| end(edge) == name).collect()
        };
        let mut reference = Self {
            graph,
            before: graph.steps.keys().map(|name| (name, at(name, |edge| &edge.to))).collect(),
            after: graph.steps.keys().map(|name| (name, at(name, |edge| &edge.from))).collect(),
            states: graph.steps.keys().map(|name| (name.clone(), State::Waiting)).collect(),
            chosen: BTreeMap::new(),
            items: BTreeMap::new(),
            item_count,
            signals: BTreeSet::new(),
            begun: BTreeSet::new(),
            completed: Vec::new(),
            stops: None,
            is_paused: false,
            has_failed: false,
            is_cancelled: false,
        };
        reference.settle();
        reference
    }

    pub(super) fn answer(&mut self, place: &Place, answer: Answer) {
        let step = &self.graph.steps[&place.step];
        if answer == Answer::Completed {
            self.completed.push(place.clone());
        }
        match place.item {
            Some(item) => {
                let is_given_up = self.stops.is_some() || self.is_over(&place.step, step);
                let items = self.items.get_mut(&place.step).unwrap();
                items.open.remove(&item);
                match answer {
                    Answer::Completed => {}
                    Answer::Cancelled if is_given_up => items.cancelled += 1,
                    Answer::Cancelled | Answer::Failed => items.failed += 1,
                }
                self.close_map(&place.step, step);
            }
            None => match answer {
                Answer::Completed => self.set(&place.step, State::Done),
                Answer::Cancelled if self.stops.is_some() => self.set(&place.step, State::Given),
                Answer::Cancelled | Answer::Failed => self.fail(&place.step),
            },
        }
        self.settle();
    }

    pub(super) fn fire(&mut self, step: &StepName) {
        if self.states[step] == State::Open {
            self.set(step, State::Done);
        }
        self.settle();
    }

    pub(super) fn signal(&mut self, signal: &str) {
        self.signals.insert(signal.to_owned());
        for (name, step) in &self.graph.steps {
            let is_for_it =
                matches!(&step.does, Does::WaitSignal { signal: known } if known == signal);
            if is_for_it && self.states[name] == State::Open {
                self.set(name, State::Done);
            }
        }
        self.settle();
    }

    pub(super) fn cancel(&mut self, compensate: bool) {
        self.is_cancelled = true;
        self.stop(compensate);
        self.settle();
    }

    pub(super) fn resume(&mut self) {
        self.is_paused = false;
        self.settle();
    }

    /// The word for how it ends.
    pub(super) fn outcome(&self) -> &'static str {
        match self.stops {
            Some(_) if self.is_cancelled => "cancelled",
            Some(_) => "failed",
            None if self.has_failed => "failed",
            None => "completed",
        }
    }

    pub(super) fn agrees(&self, name: &StepName, status: StepStatus) -> bool {
        let expected = match self.states[name] {
            State::Waiting => StepStatus::Waiting,
            State::Open => StepStatus::Open,
            State::Done => StepStatus::Completed,
            State::Failed(_) => StepStatus::Failed,
            State::Passed | State::NotChosen | State::Dependency => StepStatus::Skipped,
            State::Given => StepStatus::Cancelled,
        };
        let step = &self.graph.steps[name];
        let waits = matches!(step.does, Does::Timer(_) | Does::WaitSignal { .. });
        status == expected
            || (waits
                && self.leads_to_open_gate(name)
                && matches!(
                    status,
                    StepStatus::Completed | StepStatus::Cancelled | StepStatus::Skipped
                ))
    }

    /// What is undone, in order: the last first.
    pub(super) fn to_undo(&self) -> Vec<Place> {
        let has_undo = |place: &&Place| self.graph.steps[&place.step].compensation.is_some();
        self.completed.iter().filter(has_undo).rev().cloned().collect()
    }

    fn set(&mut self, name: &StepName, state: State) {
        self.states.insert(name.clone(), state);
    }

    fn fail(&mut self, name: &StepName) {
        let impact = self.graph.steps[name].on_failure.unwrap_or(self.graph.on_failure);
        self.set(name, State::Failed(impact));
        match impact {
            FailureImpact::Abort => self.stop(false),
            FailureImpact::Compensate => self.stop(true),
            FailureImpact::SkipDependents => self.has_failed = true,
            FailureImpact::Ignore => {}
        }
    }

    fn stop(&mut self, compensate: bool) {
        self.stops = Some(self.stops.unwrap_or(false) || compensate);
        for (name, step) in &self.graph.steps {
            let is_open = self.states[name] == State::Open;
            let is_idle_map = self.items.get(name).is_some_and(|items| items.open.is_empty());
            if is_open && (!step.does.is_performed() || is_idle_map) {
                self.set(name, State::Given);
            }
        }
    }

    fn settle(&mut self) {
        while self.look_at_all() {}
    }

    fn look_at_all(&mut self) -> bool {
        let mut has_changed = false;
        for (name, step) in &self.graph.steps {
            if self.stops.is_some() {
                continue;
            }
            let before = (self.states[name], self.begun.len());
            match before.0 {
                State::Waiting if self.asks_in_vain(name) => self.fail(name),
                State::Waiting if !self.is_paused => self.look(name, step),
                State::Open if self.is_wait(step) && self.leads_to_open_gate(name) => {
                    self.set(name, State::Given);
                }
                State::Open if matches!(step.does, Does::Map(_)) && !self.is_paused => {
                    self.fill(name, step);
                }
                State::Waiting
                | State::Open
                | State::Done
                | State::Failed(_)
                | State::Passed
                | State::NotChosen
                | State::Dependency
                | State::Given => {}
            }
            has_changed |= before != (self.states[name], self.begun.len());
        }
        has_changed
    }

    fn is_wait(&self, step: &Step) -> bool {
        matches!(step.does, Does::Timer(_) | Does::WaitSignal { .. })
    }

    fn leads_to_open_gate(&self, name: &StepName) -> bool {
        let [only] = self.after[name].as_slice() else { return false };
        matches!(self.graph.steps[&only.to].does, Does::Gate { .. })
            && self.states[&only.to] == State::Done
    }

    /// Whether a guard on a way to it has no answer.
    fn asks_in_vain(&self, name: &StepName) -> bool {
        self.before[name].iter().any(|edge| {
            let from = self.states[&edge.from];
            edge.guard.as_deref() == Some("error")
                && matches!(
                    from,
                    State::Done | State::Passed | State::Failed(FailureImpact::Ignore)
                )
                && !matches!(self.graph.steps[&edge.from].does, Does::Choice { .. })
        })
    }

    fn look(&mut self, name: &StepName, step: &Step) {
        let (mut open, mut undecided, mut broken, mut all) = (0, 0, 0, 0);
        for edge in &self.before[name] {
            all += 1;
            let is_choice = matches!(self.graph.steps[&edge.from].does, Does::Choice { .. });
            match self.states[&edge.from] {
                State::Waiting | State::Open => undecided += 1,
                State::Dependency => broken += 1,
                State::Failed(impact) if impact != FailureImpact::Ignore => broken += 1,
                State::NotChosen | State::Given => {}
                State::Done | State::Passed | State::Failed(_) if is_choice => {
                    open += u32::from(self.chosen.get(&edge.from) == Some(name));
                }
                State::Done | State::Passed | State::Failed(_) => {
                    open += u32::from(edge.guard.as_deref() != Some("false"));
                }
            }
        }
        let skipped = if broken > 0 { State::Dependency } else { State::NotChosen };
        if let Does::Gate { needs } = &step.does {
            let needs = u32::try_from(needs.of(all)).unwrap();
            if open >= needs {
                self.begin(name, step);
            } else if undecided == 0 {
                self.set(name, skipped);
            }
        } else if undecided == 0 && (broken > 0 || (open == 0 && all > 0)) {
            self.set(name, skipped);
        } else if undecided == 0 {
            self.begin(name, step);
        }
    }

    fn begin(&mut self, name: &StepName, step: &Step) {
        if self.is_wait(step) && self.leads_to_open_gate(name) {
            return self.set(name, State::Given);
        }
        match step.condition.as_deref() {
            Some("false") => return self.set(name, State::Passed),
            Some("error") => return self.fail(name),
            _ => {}
        }
        match &step.does {
            Does::Gate { .. } => self.set(name, State::Done),
            Does::WaitSignal { signal } if self.signals.contains(signal) => {
                self.set(name, State::Done);
            }
            Does::Timer(_) | Does::WaitSignal { .. } => self.set(name, State::Open),
            Does::Action(_) | Does::SubFlow(_) => {
                assert!(self.begun.insert(Place::step(name)));
                self.set(name, State::Open);
            }
            Does::Choice { ways } => self.choose(name, ways),
            Does::Map(_) => {
                let items = Items { count: self.item_count, ..Items::default() };
                self.items.insert(name.clone(), items);
                self.set(name, State::Open);
                self.fill(name, step);
            }
        }
    }

    fn choose(&mut self, name: &StepName, ways: &[StepName]) {
        for to in ways {
            let edge = self.after[name].iter().find(|edge| edge.to == *to);
            match edge.unwrap().guard.as_deref() {
                Some("false") => {}
                Some("error") => return self.fail(name),
                _ => {
                    self.chosen.insert(name.clone(), to.clone());
                    return self.set(name, State::Done);
                }
            }
        }
        self.fail(name);
    }

    fn fill(&mut self, name: &StepName, step: &Step) {
        let Does::Map(map) = &step.does else { panic!("{name} is no map") };
        assert!(matches!(map.body, Body::Action(_)));
        let is_over = self.is_over(name, step);
        let items = self.items.get_mut(name).unwrap();
        let max = map.concurrency.map_or(usize::MAX, |max| usize::try_from(max).unwrap());
        while !is_over && items.next < items.count && items.open.len() < max {
            assert!(self.begun.insert(Place::item(name, items.next)));
            items.open.insert(items.next);
            items.next += 1;
        }
        self.close_map(name, step);
    }

    fn is_over(&self, name: &StepName, step: &Step) -> bool {
        let Does::Map(map) = &step.does else { panic!("{name} is no map") };
        self.items[name].failed > map.failures_max
    }

    fn close_map(&mut self, name: &StepName, step: &Step) {
        let is_over = self.is_over(name, step);
        let items = &self.items[name];
        if !items.open.is_empty() {
        } else if is_over {
            self.fail(name);
        } else if items.next == items.count && items.cancelled == 0 {
            self.set(name, State::Done);
        } else if self.stops.is_some() {
            self.set(name, State::Given);
        }
    }
}
