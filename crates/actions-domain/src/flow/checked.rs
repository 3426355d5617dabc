//! A graph in which nothing is wrong, with what a decision looks up.

use std::collections::{BTreeMap, BTreeSet};

use super::cycle::shortest_cycles;
use super::digest::FlowDigest;
use super::graph::{
    Body, Call, Contract, Does, Edge, FlowGraph, Map, Repeat, Step, StepName, Wait,
};
use super::problem::FlowProblem;
use crate::action::ActionName;
use crate::limits::{
    CEL_BYTES_MAX, FLOW_BYTES_MAX, FLOW_EDGES_MAX, FLOW_RETRIES_MAX, FLOW_ROUNDS_MAX,
    FLOW_STEPS_MAX, KEY_BYTES_MAX, KEY_TOKENS_MAX, NAME_BYTES_MAX, RUN_OPEN_MAX,
    SCHEDULE_AHEAD_MAX, TIMEOUT_MAX,
};

/// A graph that was checked. Decisions take no other.
#[derive(Debug, Clone, PartialEq)]
pub struct Flow {
    graph: FlowGraph,
    digest: FlowDigest,
    ways: BTreeMap<StepName, Ways>,
}

/// What leads to a step and away from it, each in the order of names.
#[derive(Debug, Clone, PartialEq, Default)]
struct Ways {
    before: Vec<StepName>,
    after: Vec<(StepName, Option<String>)>,
}

impl Flow {
    /// Checks a graph, all but the syntax of its expressions and templates.
    ///
    /// # Errors
    /// Everything that is wrong, in an order that does not depend on how it was written.
    pub fn check(graph: FlowGraph) -> Result<Self, Vec<FlowProblem>> {
        let graph = graph.normalised();
        let mut problems = sizes(&graph);
        // Much too large: looking at it more closely would only cost time.
        if problems.is_empty() {
            problems.extend(edges(&graph));
            problems.extend(cycles(&graph));
            problems.extend(graph.steps.iter().flat_map(|(name, step)| check(&graph, name, step)));
        }
        if !problems.is_empty() {
            problems.sort();
            return Err(problems);
        }
        let mut ways: BTreeMap<StepName, Ways> =
            graph.steps.keys().map(|name| (name.clone(), Ways::default())).collect();
        for edge in &graph.edges {
            if let Some(known) = ways.get_mut(&edge.from) {
                known.after.push((edge.to.clone(), edge.guard.clone()));
            }
            if let Some(known) = ways.get_mut(&edge.to) {
                known.before.push(edge.from.clone());
            }
        }
        Ok(Self { digest: graph.digest(), graph, ways })
    }

    pub fn graph(&self) -> &FlowGraph {
        &self.graph
    }

    pub fn digest(&self) -> FlowDigest {
        self.digest
    }

    pub fn step(&self, name: &StepName) -> Option<&Step> {
        self.graph.steps.get(name)
    }

    /// The steps from which ways lead to this one.
    pub fn before(&self, name: &StepName) -> &[StepName] {
        self.ways.get(name).map_or(&[], |ways| &ways.before)
    }

    /// The steps to which ways lead from this one, with the guards of the ways.
    pub fn after(&self, name: &StepName) -> &[(StepName, Option<String>)] {
        self.ways.get(name).map_or(&[], |ways| &ways.after)
    }

    /// Steps from which nothing has to be done before.
    pub fn first_steps(&self) -> impl Iterator<Item = &StepName> {
        self.ways.iter().filter(|(_, ways)| ways.before.is_empty()).map(|(name, _)| name)
    }

    /// The steps and all that come after them.
    pub fn downstream(&self, of: impl IntoIterator<Item = StepName>) -> BTreeSet<StepName> {
        let mut open: Vec<StepName> = of.into_iter().collect();
        let mut found = BTreeSet::new();
        while let Some(name) = open.pop() {
            if found.insert(name.clone()) {
                open.extend(self.after(&name).iter().map(|(to, _)| to.clone()));
            }
        }
        found
    }

    /// All steps, each after those it waits for, and by name where that leaves a choice.
    pub fn order(&self) -> Vec<&StepName> {
        let mut counts: BTreeMap<&StepName, usize> =
            self.ways.iter().map(|(name, ways)| (name, ways.before.len())).collect();
        let mut free: BTreeSet<&StepName> = self.first_steps().collect();
        let mut order = Vec::with_capacity(counts.len());
        while let Some(name) = free.pop_first() {
            order.push(name);
            for (to, _) in self.after(name) {
                let Some((to, count)) = counts.get_key_value(to) else { continue };
                let (to, left) = (*to, count.saturating_sub(1));
                counts.insert(to, left);
                if left == 0 {
                    free.insert(to);
                }
            }
        }
        order
    }
}

fn sizes(graph: &FlowGraph) -> Vec<FlowProblem> {
    let mut problems = Vec::new();
    if ActionName::parse(&graph.name).is_err() {
        problems.push(FlowProblem::Name { given: shortened(&graph.name) });
    }
    match graph.steps.len() {
        0 => problems.push(FlowProblem::NoSteps),
        1..=FLOW_STEPS_MAX => {}
        given => problems.push(FlowProblem::Steps { given }),
    }
    if graph.edges.len() > FLOW_EDGES_MAX {
        problems.push(FlowProblem::Edges { given: graph.edges.len() });
    }
    let bytes = graph.canonical().len();
    if bytes > FLOW_BYTES_MAX {
        problems.push(FlowProblem::Bytes { given: bytes });
    }
    if let Some(given) = graph.max_total_retries.filter(|given| *given > FLOW_RETRIES_MAX) {
        problems.push(FlowProblem::TotalRetries { given });
    }
    problems
}

fn edges(graph: &FlowGraph) -> Vec<FlowProblem> {
    let mut problems = Vec::new();
    let is_known = |name: &StepName| graph.steps.contains_key(name);
    let mut last: Option<&Edge> = None;
    let mut hints = Hints::default();
    for edge in &graph.edges {
        let Edge { from, to, guard, .. } = edge;
        for (step, unknown) in [(to, from), (from, to)] {
            if !is_known(unknown) {
                problems.push(FlowProblem::UnknownStep {
                    step: step.clone(),
                    unknown: unknown.clone(),
                    like: hints.similar(unknown, graph.steps.keys()),
                });
            }
        }
        if from == to {
            problems.push(FlowProblem::SelfDependency { step: from.clone() });
        }
        if last.is_some_and(|last| (&last.from, &last.to) == (from, to)) {
            problems.push(FlowProblem::Guards { step: from.clone(), to: to.clone() });
        }
        if let Some(guard) = guard {
            problems.extend(expression(from, "the guard of a way", guard));
        }
        last = Some(edge);
    }
    problems.dedup();
    problems
}

fn cycles(graph: &FlowGraph) -> Vec<FlowProblem> {
    let mut ways: BTreeMap<StepName, BTreeSet<StepName>> = BTreeMap::new();
    for edge in graph.edges.iter().filter(|edge| edge.from != edge.to) {
        ways.entry(edge.from.clone()).or_default().insert(edge.to.clone());
    }
    shortest_cycles(&ways).into_iter().map(|steps| FlowProblem::Cycle { steps }).collect()
}

fn check(graph: &FlowGraph, name: &StepName, step: &Step) -> Vec<FlowProblem> {
    let mut problems = Vec::new();
    if let Some(condition) = &step.condition {
        problems.extend(expression(name, "the condition", condition));
    }
    if let Some(policy) = &step.retry
        && let Err(why) = policy.check()
    {
        problems.push(FlowProblem::Retry { step: name.clone(), why: why.into() });
    }
    problems.extend(placing(name, step));
    problems.extend(timeout(name, step));
    problems.extend(repeat(name, step));
    if let Some(call) = &step.compensation {
        problems.extend(key(name, call));
    }
    match &step.does {
        Does::Action(call) => problems.extend(key(name, call)),
        Does::SubFlow(child) => problems.extend(child_name(name, &child.flow)),
        Does::Timer(Wait::ForMs(given)) => {
            let longest = u64::try_from(SCHEDULE_AHEAD_MAX.as_millis()).unwrap_or(u64::MAX);
            if !(1..=longest).contains(given) {
                problems.push(FlowProblem::Wait { step: name.clone(), given: *given });
            }
        }
        Does::Timer(Wait::Until(template)) => {
            problems.extend(expression(name, "the instant", template));
        }
        Does::WaitSignal { signal } => {
            if !(1..=NAME_BYTES_MAX).contains(&signal.len()) {
                let given = shortened(signal);
                problems.push(FlowProblem::Signal { step: name.clone(), given });
            }
        }
        Does::Map(map) => problems.extend(check_map(name, map)),
        Does::Gate { needs } => {
            let given = graph.edges.iter().filter(|edge| edge.to == *name).count();
            let needs = needs.of(given);
            if !(1..=given).contains(&needs) {
                problems.push(FlowProblem::Gate { step: name.clone(), needs, given });
            }
        }
        Does::Choice { ways } => problems.extend(choice(graph, name, ways)),
    }
    problems
}

fn check_map(name: &StepName, map: &Map) -> Vec<FlowProblem> {
    let mut problems = Vec::new();
    if let Some(given) = map.concurrency {
        let is_allowed = given > 0 && usize::try_from(given).is_ok_and(|n| n <= RUN_OPEN_MAX);
        if !is_allowed {
            problems.push(FlowProblem::Concurrency { step: name.clone(), given });
        }
    }
    match &map.body {
        Body::Action(call) => problems.extend(key(name, call)),
        Body::SubFlow(child) => problems.extend(child_name(name, &child.flow)),
    }
    problems
}

/// Fields that would be read by nobody.
fn placing(name: &StepName, step: &Step) -> Vec<FlowProblem> {
    let waits = matches!(step.does, Does::WaitSignal { .. });
    let is_performed = step.does.is_performed();
    let has_context = matches!(step.does, Does::Action(_) | Does::SubFlow(_));
    let is_choice = matches!(step.does, Does::Choice { .. });
    let fields = [
        // Which way would be taken from a choice that is skipped?
        ("a condition", step.condition.is_some() && is_choice),
        ("a repetition", step.repeat.is_some() && !has_context),
        ("a contract", step.contract != Contract::default() && !has_context),
        ("a retry policy", step.retry.is_some() && !is_performed),
        ("a compensation", step.compensation.is_some() && !is_performed),
        ("a timeout", step.timeout_seconds.is_some() && !is_performed && !waits),
    ];
    let misplaced = fields.into_iter().filter(|(_, is_misplaced)| *is_misplaced);
    misplaced.map(|(field, _)| FlowProblem::Misplaced { step: name.clone(), field }).collect()
}

fn repeat(name: &StepName, step: &Step) -> Vec<FlowProblem> {
    let Some(Repeat { until, every_ms, rounds_max }) = &step.repeat else { return Vec::new() };
    let mut problems: Vec<_> =
        expression(name, "the end of the rounds", until).into_iter().collect();
    if !(1..=FLOW_ROUNDS_MAX).contains(rounds_max) {
        problems.push(FlowProblem::Rounds { step: name.clone(), given: *rounds_max });
    }
    if u128::from(*every_ms) > SCHEDULE_AHEAD_MAX.as_millis() {
        problems.push(FlowProblem::Every { step: name.clone(), given: *every_ms });
    }
    problems
}

/// An attempt lasts no longer than those of any action. Signals and workflows may take their time.
fn timeout(name: &StepName, step: &Step) -> Option<FlowProblem> {
    let given = step.timeout_seconds?;
    let is_attempt = match &step.does {
        Does::Action(_) => true,
        Does::Map(map) => matches!(map.body, Body::Action(_)),
        Does::SubFlow(_)
        | Does::Timer(_)
        | Does::WaitSignal { .. }
        | Does::Gate { .. }
        | Does::Choice { .. } => false,
    };
    let max = if is_attempt { TIMEOUT_MAX } else { SCHEDULE_AHEAD_MAX }.as_secs();
    let is_allowed = (1..=max).contains(&u64::from(given));
    (!is_allowed).then(|| FlowProblem::Timeout { step: name.clone(), given, max })
}

fn choice(graph: &FlowGraph, name: &StepName, ways: &[StepName]) -> Vec<FlowProblem> {
    let guards: BTreeMap<&StepName, bool> = (graph.edges.iter())
        .filter(|edge| edge.from == *name)
        .map(|edge| (&edge.to, edge.guard.is_some()))
        .collect();
    let step = || name.clone();
    let mut problems = Vec::new();
    if ways.is_empty() {
        problems.push(FlowProblem::NoWays { step: step() });
    }
    for (index, to) in ways.iter().enumerate() {
        match guards.get(to) {
            None => problems.push(FlowProblem::ChoiceWithoutWay { step: step(), to: to.clone() }),
            Some(false) if index + 1 < ways.len() => {
                problems.push(FlowProblem::ChoiceOrder { step: step(), to: to.clone() });
            }
            Some(_) => {}
        }
    }
    let mut counts: BTreeMap<&StepName, usize> = BTreeMap::new();
    ways.iter().for_each(|way| *counts.entry(way).or_default() += 1);
    for to in guards.keys() {
        if counts.get(to) != Some(&1) {
            problems.push(FlowProblem::WayWithoutChoice { step: step(), to: (*to).clone() });
        }
    }
    problems
}

fn key(name: &StepName, call: &Call) -> Option<FlowProblem> {
    let text = &call.key.as_ref()?.text;
    let tokens = text.split(':').count();
    let is_valid = (2..=KEY_TOKENS_MAX).contains(&tokens)
        && text.split(':').all(|token| !token.is_empty())
        && text.len() <= KEY_BYTES_MAX;
    (!is_valid).then(|| FlowProblem::Key { step: name.clone(), given: shortened(text) })
}

fn child_name(name: &StepName, flow: &str) -> Option<FlowProblem> {
    let is_wrong = ActionName::parse(flow).is_err();
    is_wrong.then(|| FlowProblem::Child { step: name.clone(), given: shortened(flow) })
}

fn expression(name: &StepName, what: &'static str, text: &str) -> Option<FlowProblem> {
    let given = text.len();
    let is_wrong = !(1..=CEL_BYTES_MAX).contains(&given);
    is_wrong.then(|| FlowProblem::Expression { step: name.clone(), what, given })
}

/// What somebody wrote, short enough for a message.
fn shortened(text: &str) -> String {
    text.chars().take(NAME_BYTES_MAX).collect()
}

/// What somebody may have meant. Said of a few names only: all steps are compared for each.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    given: usize,
}

const HINTS_MAX: usize = 10;

impl Hints {
    pub(crate) fn similar<'n>(
        &mut self,
        wrong: &StepName,
        known: impl Iterator<Item = &'n StepName>,
    ) -> Option<StepName> {
        self.given += 1;
        if self.given > HINTS_MAX { None } else { similar(wrong, known) }
    }
}

/// The name that differs from `wrong` in the fewest places, when that is few enough to be a slip.
fn similar<'n>(wrong: &StepName, known: impl Iterator<Item = &'n StepName>) -> Option<StepName> {
    let near = known.map(|name| (distance(wrong.as_str(), name.as_str()), name)).min()?;
    (near.0 <= 1 + wrong.as_str().len() / 4).then(|| near.1.clone())
}

/// How many bytes have to be put in, taken out or changed (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, a) in left.bytes().enumerate() {
        let mut corner = above;
        row[0] = above + 1;
        for (column, b) in right.bytes().enumerate() {
            let changed = corner + usize::from(a != b);
            corner = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(corner + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
