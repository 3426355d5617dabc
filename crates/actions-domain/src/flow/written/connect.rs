//! Puts the steps into the graph, with what stands before and behind them, and the ways between
//! them.

use std::collections::{BTreeMap, BTreeSet};

use super::places::Places;
use super::reader::Reader;
use super::steps::{Raw, Turn};
use crate::flow::checked::Hints;
use crate::flow::graph::{Contract, Does, Edge, FlowGraph, Reason, Step, StepName, Wait};
use crate::flow::problem::FlowProblem;

/// What a step comes after, each with the place that says so.
type Before = BTreeMap<StepName, String>;

/// One of the steps that a written one becomes.
struct Part {
    name: StepName,
    step: Step,
    pointer: String,
    /// Whether the next part comes.
    guard: Option<String>,
}

impl Reader<'_> {
    pub(super) fn connect(&mut self, raw: Vec<Raw>, graph: &mut FlowGraph, places: &mut Places) {
        self.check_beside(&raw);
        let before = dependencies(&raw);
        let produced = self.produced(&raw, graph, &before);
        let exits: BTreeMap<StepName, Exit> = raw.iter().map(Exit::of).collect();
        let mut ends = Vec::new();
        for raw in raw {
            let parts = self.parts(&raw);
            ends.push((raw, parts));
        }
        let entrances: BTreeMap<StepName, StepName> = (ends.iter())
            .filter_map(|(raw, parts)| Some((raw.name.clone(), parts.first()?.name.clone())))
            .collect();
        let entrance = |name: &StepName| entrances.get(name).unwrap_or(name).clone();
        for (raw, mut parts) in ends {
            // A way leads to the first part of what is chosen.
            if let Some(Does::Choice { ways }) = parts.last_mut().map(|part| &mut part.step.does) {
                ways.iter_mut().for_each(|way| *way = entrance(way));
            }
            let to = entrance(&raw.name);
            for (from, key) in produced.get(&raw.name).into_iter().flatten() {
                let reasons = BTreeSet::from([Reason::Context(key.clone())]);
                let edge = Edge { reasons, ..Edge::explicit(from.clone(), to.clone()) };
                places.edge(graph, edge, format!("{}/requires", raw.at));
            }
            let froms = before.get(&raw.name).into_iter().flatten();
            for (from, pointer) in froms {
                let exit = exits.get(from);
                // What comes otherwise has a way already.
                if exit.is_some_and(|exit| exit.otherwise.as_ref() == Some(&raw.name)) {
                    continue;
                }
                let guard = exit.and_then(|exit| exit.guard.clone());
                let edge = Edge { guard, ..Edge::explicit(from.clone(), to.clone()) };
                places.edge(graph, edge, pointer.clone());
            }
            put_turn(&raw, &parts, entrance, graph, places);
            put_parts(parts, graph, places);
        }
    }

    /// A step with its delay before it, or as many signals as there have to be approvals. The
    /// last part has its name.
    fn parts(&mut self, raw: &Raw) -> Vec<Part> {
        let mut parts = Vec::new();
        if let Some(delay) = raw.delay {
            let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            let step = Step::new(Does::Timer(Wait::ForMs(millis)));
            let pointer = format!("{}/delay", raw.at);
            let name = self.before(raw, "delay", &pointer);
            parts.extend(name.map(|name| Part { name, step, pointer, guard: None }));
        }
        let step = raw.step.clone();
        if let Turn::Approval { count, .. } = raw.turn {
            for number in 1..count {
                let pointer = format!("{}/approval", raw.at);
                let Some(name) = self.before(raw, &number.to_string(), &pointer) else { break };
                let guard = Some(granted(&name));
                parts.push(Part { name, step: step.clone(), pointer, guard });
            }
        }
        parts.push(Part { name: raw.name.clone(), step, pointer: raw.at.clone(), guard: None });
        parts
    }

    /// The name of a part before a step.
    fn before(&mut self, raw: &Raw, part: &str, pointer: &str) -> Option<StepName> {
        let name = StepName::parse(&format!("{}-{part}", raw.name)).ok();
        if name.is_none() {
            let message =
                format!("the name {} is too long for a step that becomes several", raw.name);
            self.wrong(pointer.to_owned(), "workflow.step_name", message);
        }
        name
    }

    /// Nothing comes after a step beside which another one runs, so the graph would not show it.
    fn check_beside(&mut self, raw: &[Raw]) {
        let names: BTreeSet<&StepName> = raw.iter().map(|raw| &raw.name).collect();
        let mut hints = Hints::default();
        for raw in raw {
            let others = raw.parallel_with.iter();
            for (unknown, pointer) in others.filter(|(other, _)| !names.contains(other)) {
                let problem = FlowProblem::UnknownStep {
                    step: raw.name.clone(),
                    unknown: unknown.clone(),
                    like: hints.similar(unknown, names.iter().copied()),
                };
                self.wrong(pointer.clone(), problem.code(), problem.to_string());
            }
        }
    }

    /// Who produces what each step requires, where it does not come after a producer anyway.
    fn produced(
        &mut self,
        raw: &[Raw],
        graph: &FlowGraph,
        before: &BTreeMap<StepName, Before>,
    ) -> BTreeMap<StepName, Vec<(StepName, String)>> {
        let mut producers: BTreeMap<&str, Vec<&StepName>> = BTreeMap::new();
        for raw in raw {
            for key in &raw.step.contract.produces {
                producers.entry(key).or_default().push(&raw.name);
            }
        }
        let mut found: BTreeMap<StepName, Vec<(StepName, String)>> = BTreeMap::new();
        for raw in raw {
            let Contract { requires, .. } = &raw.step.contract;
            for key in requires {
                let of_key = producers.get(key.as_str()).map(Vec::as_slice).unwrap_or_default();
                let is_before = |name: &StepName| {
                    before.get(&raw.name).is_some_and(|before| before.contains_key(name))
                };
                if of_key.iter().any(|name| is_before(name)) {
                    continue;
                }
                let pointer = format!("{}/requires", raw.at);
                match of_key {
                    [one] => {
                        let needed = ((*one).clone(), key.clone());
                        found.entry(raw.name.clone()).or_default().push(needed);
                    }
                    [] if graph.seeds.contains(key) => {}
                    [] => {
                        let message = format!(
                            "step {} needs {key}, which no step produces and no seed is",
                            raw.name
                        );
                        self.wrong(pointer, "workflow.missing_producer", message);
                    }
                    several => {
                        let names: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
                        let message = format!(
                            "step {} needs {key}, which {} produce",
                            raw.name,
                            names.join(", ")
                        );
                        self.wrong(pointer, "workflow.ambiguous_producer", message);
                    }
                }
            }
        }
        found
    }
}

/// Puts the ways into the graph that a step itself leads on.
fn put_turn(
    raw: &Raw,
    parts: &[Part],
    entrance: impl Fn(&StepName) -> StepName,
    graph: &mut FlowGraph,
    places: &mut Places,
) {
    match &raw.turn {
        Turn::Nothing | Turn::Approval { otherwise: None, .. } => {}
        Turn::Choice(ways) => {
            for way in ways {
                let guard = way.guard.clone();
                let to = entrance(&way.to);
                let edge = Edge { guard, ..Edge::explicit(raw.name.clone(), to) };
                places.edge(graph, edge, way.pointer.clone());
            }
        }
        Turn::Approval { otherwise: Some((to, pointer)), .. } => {
            let asks = |part: &&Part| matches!(part.step.does, Does::WaitSignal { .. });
            for part in parts.iter().filter(asks) {
                let guard = Some(format!("!({})", granted(&part.name)));
                let edge = Edge { guard, ..Edge::explicit(part.name.clone(), entrance(to)) };
                places.edge(graph, edge, pointer.clone());
            }
        }
    }
}

/// Puts the parts of a step into the graph, one behind the other.
fn put_parts(parts: Vec<Part>, graph: &mut FlowGraph, places: &mut Places) {
    let names: Vec<StepName> = parts.iter().map(|part| part.name.clone()).collect();
    for (index, part) in parts.into_iter().enumerate() {
        if let Some(next) = names.get(index + 1) {
            let edge =
                Edge { guard: part.guard, ..Edge::explicit(part.name.clone(), next.clone()) };
            places.edge(graph, edge, part.pointer.clone());
        }
        places.steps.insert(part.name.clone(), part.pointer);
        graph.steps.insert(part.name, part.step);
    }
}

/// Who may come after a step, as its kind says.
struct Exit {
    guard: Option<String>,
    otherwise: Option<StepName>,
}

impl Exit {
    fn of(raw: &Raw) -> (StepName, Self) {
        let exit = match &raw.turn {
            Turn::Nothing | Turn::Choice(_) => Self { guard: None, otherwise: None },
            Turn::Approval { otherwise, .. } => Self {
                guard: Some(granted(&raw.name)),
                otherwise: otherwise.as_ref().map(|(name, _)| name.clone()),
            },
        };
        (raw.name.clone(), exit)
    }
}

/// Whether an approval was granted, or not asked for at all.
fn granted(step: &StepName) -> String {
    format!(
        "steps[\"{step}\"].status == \"skipped\" || (steps[\"{step}\"].status == \"completed\" && steps[\"{step}\"].output.approved == true)"
    )
}

/// What each step comes after: its own dependencies, and those of the steps beside which it runs,
/// which may themselves run beside others. The place is the step's own, where it has one.
fn dependencies(raw: &[Raw]) -> BTreeMap<StepName, Before> {
    let by_name: BTreeMap<&StepName, &Raw> = raw.iter().map(|raw| (&raw.name, raw)).collect();
    let before_of = |start: &Raw| {
        let mut beside = BTreeSet::from([&start.name]);
        let mut open = vec![start];
        let mut before = Before::new();
        while let Some(raw) = open.pop() {
            for (name, pointer) in &raw.depends_on {
                before.entry(name.clone()).or_insert_with(|| pointer.clone());
            }
            let others = raw.parallel_with.iter().filter_map(|(other, _)| by_name.get(other));
            open.extend(others.filter(|other| beside.insert(&other.name)));
        }
        before
    };
    raw.iter().map(|raw| (raw.name.clone(), before_of(raw))).collect()
}
