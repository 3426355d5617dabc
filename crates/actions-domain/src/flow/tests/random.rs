//! Any workflow, with answers in any order: as the reference says, each step once, and the same
//! when the history is read again.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::reference::{Answer, Reference};
use super::world::{World, action, call, failed, graph, json_text, name, shown};
use crate::flow::decide::{CallResult, Command, Input};
use crate::flow::graph::{
    Body, Does, Edge, FailureImpact, FlowGraph, Map, Needs, Step, StepName, Wait,
};
use crate::flow::journal::{CallId, Place, What};
use crate::flow::run::{CallKind, Run, StepStatus};

/// The same numbers for the same seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    /// Happens in so many cases of a hundred.
    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }
}

const ITEMS: u32 = 4;

fn step_name(index: usize) -> StepName {
    name(&format!("s{index:03}"))
}

/// A graph in which everything occurs. `calm`: hardly anything goes wrong, so runs get far.
fn any_graph(numbers: &mut Numbers, size: usize, calm: bool) -> FlowGraph {
    let mut graph = graph([], &[]);
    for index in 0..size {
        let does = any_step(numbers, index);
        let mut step = Step { does, ..action() };
        if !matches!(step.does, Does::Choice { .. }) {
            step.condition = match numbers.below(20) {
                0 => Some("false".to_owned()),
                1 => Some("error".to_owned()),
                2 | 3 => Some("true".to_owned()),
                _ => None,
            };
        }
        if step.does.is_performed() && numbers.chance(60) {
            step.compensation = Some(call("undo"));
        }
        graph.steps.insert(step_name(index), step);
        if index > 0 {
            let parents: BTreeSet<usize> =
                (0..numbers.below(4)).map(|_| index - 1 - numbers.below(index.min(15))).collect();
            for parent in parents {
                let guard = match numbers.below(20) {
                    0 | 1 => Some("false".to_owned()),
                    2 => Some("error".to_owned()),
                    3 | 4 => Some("true".to_owned()),
                    _ => None,
                };
                let edge = Edge::explicit(step_name(parent), step_name(index));
                graph.edges.push(Edge { guard, ..edge });
            }
        }
    }
    mend(numbers, &mut graph);
    let names: Vec<StepName> = graph.steps.keys().cloned().collect();
    for name in names {
        let impact = any_impact(numbers, calm || fails_at_once(&graph, &name));
        graph.steps.get_mut(&name).unwrap().on_failure = Some(impact);
    }
    graph
}

fn any_step(numbers: &mut Numbers, index: usize) -> Does {
    match numbers.below(20) {
        0 | 1 => Does::Timer(Wait::ForMs(1_000)),
        2 | 3 => Does::WaitSignal { signal: format!("signal-{index}") },
        4 | 5 => Does::Gate { needs: *numbers.pick(&[Needs::All, Needs::Any, Needs::Count(2)]) },
        6 | 7 => Does::Choice { ways: Vec::new() },
        8 | 9 => Does::Map(Map {
            items: json!([0, 1, 2, 3]),
            body: Body::Action(call("act")),
            concurrency: *numbers.pick(&[None, Some(1), Some(2)]),
            failures_max: *numbers.pick(&[0, 1, 4]),
        }),
        _ => Does::Action(call("act")),
    }
}

/// Turns what cannot be as it was rolled into what can.
fn mend(numbers: &mut Numbers, graph: &mut FlowGraph) {
    let names: Vec<StepName> = graph.steps.keys().cloned().collect();
    for name in &names {
        let before = graph.edges.iter().filter(|edge| edge.to == *name).count();
        let mut after: Vec<StepName> = Vec::new();
        for edge in graph.edges.iter().filter(|edge| edge.from == *name) {
            after.insert(numbers.below(after.len() + 1), edge.to.clone());
        }
        let step = graph.steps.get_mut(name).unwrap();
        let is_short =
            step.does.as_gate().is_some_and(|needs| !(1..=before).contains(&needs.of(before)));
        let is_choice = matches!(step.does, Does::Choice { .. });
        if is_short || (is_choice && after.is_empty()) {
            step.does = Does::Action(call("act"));
        } else if is_choice {
            step.does = Does::Choice { ways: after.clone() };
            for edge in graph.edges.iter_mut().filter(|edge| edge.from == *name) {
                let is_last = after.last() == Some(&edge.to);
                if !is_last && edge.guard.is_none() {
                    edge.guard = Some((*numbers.pick(&["true", "false"])).to_owned());
                }
            }
        }
    }
    // Whether a gate opened before a guard failed would depend on the order within a turn.
    for edge in &mut graph.edges {
        let is_gate = matches!(graph.steps[&edge.to].does, Does::Gate { .. });
        if is_gate && edge.guard.as_deref() == Some("error") {
            edge.guard = Some("true".to_owned());
        }
    }
}

/// Whether a step may fail before it is begun. What else begins in the same turn would depend on
/// the order, so it must not stop the run.
fn fails_at_once(graph: &FlowGraph, name: &StepName) -> bool {
    let step = &graph.steps[name];
    let is_asked = |edge: &&Edge| edge.to == *name && edge.guard.as_deref() == Some("error");
    step.condition.as_deref() == Some("error")
        || matches!(step.does, Does::Choice { .. })
        || graph.edges.iter().any(|edge| is_asked(&edge))
}

fn any_impact(numbers: &mut Numbers, goes_on: bool) -> FailureImpact {
    if goes_on {
        return *numbers.pick(&[FailureImpact::SkipDependents, FailureImpact::Ignore]);
    }
    *numbers.pick(&[
        FailureImpact::SkipDependents,
        FailureImpact::Ignore,
        FailureImpact::Abort,
        FailureImpact::Compensate,
    ])
}

fn result_of(answer: Answer) -> CallResult {
    match answer {
        Answer::Completed => {
            CallResult::Completed { output: json_text(json!(1)), context: BTreeMap::new() }
        }
        Answer::Failed => failed(),
        Answer::Cancelled => CallResult::Cancelled,
    }
}

/// Plays a run to its end, and compares.
struct Play<'g> {
    numbers: Numbers,
    world: World,
    reference: Reference<'g>,
    answered: Vec<CallId>,
    undone: Vec<Place>,
    failure_percent: usize,
}

impl Play<'_> {
    fn turn(&mut self) {
        if self.numbers.chance(10) {
            self.repeat_or_make_up();
        }
        if self.numbers.chance(5) {
            self.read_again();
        }
        match self.numbers.below(100) {
            0 if self.world.phase() == "running" => {
                let compensate = self.numbers.chance(50);
                self.reference.cancel(compensate);
                self.tell(Input::Cancel { reason: None, compensate });
            }
            1..=4 if !self.world.run.is_paused() => {
                self.reference.is_paused = true;
                self.tell(Input::Pause { reason: None });
            }
            5..=14 if self.world.phase() == "running" => self.signal_any(),
            _ => self.answer_any(),
        }
    }

    fn tell(&mut self, input: Input) -> crate::flow::decide::Turn {
        self.world.try_tell_light(input).unwrap()
    }

    /// Signals come at any time, each once.
    fn signal_any(&mut self) {
        let index = self.numbers.below(self.world.flow.graph().steps.len());
        let signal = format!("signal-{index}");
        if self.world.flow.graph().steps.contains_key(&step_name(index)) {
            self.send(signal);
        }
    }

    fn send(&mut self, signal: String) {
        let (id, payload) = (Some(signal.clone()), json_text(json!(1)));
        let turn = self.tell(Input::Signal { name: signal.clone(), id, payload });
        if !turn.is_empty() {
            self.reference.signal(&signal);
        }
    }

    fn answer_any(&mut self) {
        let open: Vec<CallId> = self.world.run.calls().map(|(id, _)| id).collect();
        if open.is_empty() {
            assert!(self.world.run.is_paused(), "it hangs: {:?}", self.world.run);
            self.tell(Input::Resume);
            return self.reference.resume();
        }
        let id = *self.numbers.pick(&open);
        let call = self.world.run.call(id).unwrap().clone();
        match call.kind {
            CallKind::Timer => {
                self.tell(Input::TimerFired { call: id });
                self.reference.fire(&call.place.step);
            }
            CallKind::Signal => {
                let Does::WaitSignal { signal } =
                    &self.world.flow.graph().steps[&call.place.step].does
                else {
                    panic!("{call:?}");
                };
                self.send(signal.clone());
            }
            CallKind::Compensation => {
                self.undone.push(call.place.clone());
                let answer =
                    if self.numbers.chance(20) { Answer::Failed } else { Answer::Completed };
                self.tell(Input::Ended { call: id, result: result_of(answer) });
            }
            CallKind::Execution | CallKind::Child => {
                let answer = self.any_answer();
                self.tell(Input::Ended { call: id, result: result_of(answer) });
                self.reference.answer(&call.place, answer);
            }
            CallKind::Retry { .. } => panic!("nothing is retried here: {call:?}"),
        }
        self.answered.push(id);
    }

    /// Now and then somebody cancels an execution on its own account.
    fn any_answer(&mut self) -> Answer {
        let cancelled = if self.world.phase() == "stopping" { 50 } else { 1 };
        match self.numbers.below(100) {
            percent if percent < cancelled => Answer::Cancelled,
            _ if self.numbers.chance(self.failure_percent) => Answer::Failed,
            _ => Answer::Completed,
        }
    }

    /// An answer that came already, with another content, or to something that nobody asked.
    fn repeat_or_make_up(&mut self) {
        let known = if self.answered.is_empty() {
            CallId(1_000_000)
        } else {
            *self.numbers.pick(&self.answered)
        };
        let result =
            result_of(*self.numbers.pick(&[Answer::Completed, Answer::Failed, Answer::Cancelled]));
        let before = self.world.run.clone();
        assert!(self.tell(Input::Ended { call: known, result }).is_empty());
        assert!(self.tell(Input::TimerFired { call: known }).is_empty());
        assert_eq!(self.world.run, before);
    }

    /// A crash: the run is read from its history, or from a snapshot, and goes on.
    fn read_again(&mut self) {
        let texts: Vec<String> = (self.world.journal.iter())
            .map(|entry| serde_json::to_string(entry).unwrap())
            .collect();
        let entries: Vec<_> =
            texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        assert_eq!(entries, self.world.journal);
        let replayed = Run::replay(&entries);
        assert_eq!(replayed, self.world.run);
        let snapshot = serde_json::to_string(&replayed).unwrap();
        assert_eq!(serde_json::from_str::<Run>(&snapshot).unwrap(), replayed);
        self.world.run = replayed;
    }

    fn compare(&self) {
        let graph = self.world.flow.graph();
        assert_eq!(self.world.phase(), self.reference.outcome());
        for name in graph.steps.keys() {
            let status = self.world.run.status(name);
            assert!(self.reference.agrees(name, status), "{name} is {status:?}");
        }
        let starts = self.world.starts.iter().filter(|start| !start.is_compensation);
        let begun: Vec<String> = starts.map(|start| shown(&start.place)).collect();
        let once: BTreeSet<String> = begun.iter().cloned().collect();
        assert_eq!(begun.len(), once.len(), "each step once");
        assert_eq!(once, self.reference.begun.iter().map(shown).collect());
        let expected =
            if self.reference.stops == Some(true) { self.reference.to_undo() } else { Vec::new() };
        assert_eq!(self.undone, expected);
        let ends = self.world.commands.iter().filter(|command| **command == Command::End).count();
        assert_eq!(ends, 1);
    }
}

/// Plays one run. Answers how it ended.
fn play(seed: u64, size: usize, calm: bool) -> &'static str {
    let mut numbers = Numbers(seed);
    let graph = any_graph(&mut numbers, size, calm);
    let mut world = World::started(graph);
    let pristine = world.flow.clone();
    world.flow = pristine.clone();
    let failure_percent = if calm { 10 } else { 3 };
    let reference = Reference::new(pristine.graph(), ITEMS);
    let (answered, undone) = (Vec::new(), Vec::new());
    let mut play = Play { numbers, world, reference, answered, undone, failure_percent };
    for _ in 0..20_000 {
        if play.world.run.phase().is_final() {
            break;
        }
        play.turn();
    }
    play.repeat_or_make_up();
    play.read_again();
    play.compare();
    play.world.phase()
}

proptest! {
    #[test]
    fn any_run_is_what_the_reference_says(seed in any::<u64>(), size in 1_usize..60, calm: bool) {
        play(seed, size, calm);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_large_run_is_what_the_reference_says(
        seed in any::<u64>(), size in 100_usize..=200, calm: bool,
    ) {
        play(seed, size, calm);
    }
}

/// The comparison is worth something only when runs end in each of the ways, and get far.
#[test]
fn random_runs_end_in_every_way() {
    let ends: BTreeSet<&str> = (0..60).map(|seed| play(seed, 12, seed % 2 == 0)).collect();
    assert_eq!(ends, BTreeSet::from(["completed", "failed", "cancelled"]));
}

/// Answers everything that is open until the run has ended, in any order.
fn end_somehow(world: &mut World, numbers: &mut Numbers, failure_percent: usize) {
    while !world.run.phase().is_final() {
        let open: Vec<CallId> = world.run.calls().map(|(id, _)| id).collect();
        let id = *numbers.pick(&open);
        let call = world.run.call(id).unwrap().clone();
        let input = match call.kind {
            CallKind::Timer => Input::TimerFired { call: id },
            CallKind::Signal => {
                let step = world.flow.step(&call.place.step).unwrap();
                let name = step.does.as_signal().unwrap().to_owned();
                Input::Signal { name, id: None, payload: json_text(json!(1)) }
            }
            CallKind::Execution | CallKind::Child | CallKind::Compensation => {
                let fails = numbers.chance(failure_percent);
                let answer = if fails { Answer::Failed } else { Answer::Completed };
                Input::Ended { call: id, result: result_of(answer) }
            }
            CallKind::Retry { .. } => panic!("nothing is retried here: {call:?}"),
        };
        world.try_tell_light(input).unwrap();
    }
}

proptest! {
    /// What is retried runs again, what is kept does not, and what fails no more is through.
    #[test]
    fn a_retried_run_repeats_what_it_has_to_and_nothing_else(
        seed in any::<u64>(), size in 1_usize..40,
    ) {
        let mut numbers = Numbers(seed);
        let mut world = World::started(any_graph(&mut numbers, size, false));
        end_somehow(&mut world, &mut numbers, 10);
        for _ in 0..3 {
            if world.phase() != "failed" {
                break;
            }
            let names: Vec<StepName> = world.flow.graph().steps.keys().cloned().collect();
            let step = numbers.pick(&names).clone();
            let before = world.starts.len();
            let turn = world.try_tell_light(Input::RetryFrom { step: step.clone() }).unwrap();
            let What::RunRetried { steps, .. } = &turn.entries[0].what else {
                panic!("{:?}", turn.entries[0]);
            };
            prop_assert!(steps.contains(&step));
            let kept: BTreeMap<StepName, StepStatus> = (world.run.steps())
                .filter(|(name, status)| !steps.contains(name) && *status != StepStatus::Open)
                .map(|(name, status)| (name.clone(), status))
                .collect();
            end_somehow(&mut world, &mut numbers, 0);
            for start in world.starts[before..].iter().filter(|start| !start.is_compensation) {
                prop_assert!(!kept.contains_key(&start.place.step), "{:?}", start.place);
            }
            for (name, status) in kept {
                prop_assert_eq!(world.run.status(&name), status, "{}", name);
            }
            prop_assert_eq!(Run::replay(&world.journal), world.run.clone());
        }
        // Expressions without an answer fail again.
        let texts = world.flow.graph().canonical();
        if !texts.contains("\"error\"") && !texts.contains("\"choice\"") {
            prop_assert_eq!(world.phase(), "completed");
        }
    }

    /// Reading a history cannot fail, not even one that nobody could have written.
    #[test]
    fn any_entries_in_any_order_can_be_read(seed in any::<u64>(), size in 1_usize..20) {
        let mut numbers = Numbers(seed);
        let mut world = World::started(any_graph(&mut numbers, size, false));
        end_somehow(&mut world, &mut numbers, 10);
        if world.phase() == "failed" {
            let step = step_name(0);
            world.try_tell_light(Input::RetryFrom { step }).unwrap();
            end_somehow(&mut world, &mut numbers, 10);
        }
        let mut run = Run::default();
        for _ in 0..3 * world.journal.len() {
            run.evolve(numbers.pick(&world.journal));
        }
        prop_assert_eq!(run.entry_count() as usize, 3 * world.journal.len());
    }
}
