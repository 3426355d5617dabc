//! Jobs that follow one another: chains, fan-outs and fan-ins, as the same graph as everything
//! else.
//!
//! ```
//! use actions_domain::flow::jobs::{Job, flow};
//!
//! let etl = flow("etl", [
//!     Job::new("extract", "etl.extract"),
//!     Job::new("clean", "etl.clean").after(["extract"]).each("{{ steps.extract.output }}", 10),
//!     Job::new("left", "etl.left").after(["clean"]),
//!     Job::new("right", "etl.right").after(["clean"]),
//!     Job::new("report", "etl.report").after(["left", "right"]).gathering(),
//! ])?;
//! assert_eq!(etl.graph().steps.len(), 5);
//! # Ok::<(), Vec<actions_domain::flow::jobs::JobProblem>>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::checked::Flow;
use super::graph::{
    Body, Call, Does, Edge, FailureImpact, FlowGraph, Map, Needs, Step, StepName, StepNameError,
    Target,
};
use super::problem::FlowProblem;
use crate::action::{ActionName, ActionNameError};
use crate::execution::Priority;
use crate::retry::RetryPolicy;

/// One job: an action, what it is called with, and what it comes after.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    name: String,
    action: String,
    input: Value,
    after: Vec<String>,
    needs: Needs,
    items: Option<(String, u32)>,
    is_gathering: bool,
    step: Step,
}

/// One thing that is wrong with jobs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobProblem {
    #[error(transparent)]
    Name(#[from] StepNameError),
    #[error(transparent)]
    Action(#[from] ActionNameError),
    #[error("there are two jobs called {name}")]
    Duplicate { name: StepName },
    #[error(transparent)]
    Graph(#[from] FlowProblem),
}

impl Job {
    /// A job that does an action, with the run's own input.
    pub fn new(name: &str, action: &str) -> Self {
        Self {
            name: name.to_owned(),
            action: action.to_owned(),
            input: Value::Null,
            after: Vec::new(),
            needs: Needs::All,
            items: None,
            is_gathering: false,
            step: Step::new(Does::Gate { needs: Needs::All }),
        }
    }

    /// A template of its input.
    #[must_use]
    pub fn with(self, input: Value) -> Self {
        Self { input, ..self }
    }

    /// Comes after all of these.
    #[must_use]
    pub fn after<const N: usize>(mut self, jobs: [&str; N]) -> Self {
        self.after.extend(jobs.map(str::to_owned));
        self
    }

    /// Comes after the first of these that has ended.
    #[must_use]
    pub fn after_any<const N: usize>(self, jobs: [&str; N]) -> Self {
        Self { needs: Needs::Any, ..self.after(jobs) }
    }

    /// Is done for each item of a list, so many of them at once.
    #[must_use]
    pub fn each(self, items: &str, limit: u32) -> Self {
        Self { items: Some((items.to_owned(), limit)), ..self }
    }

    /// Its input is what the jobs before it left behind, by their names.
    #[must_use]
    pub fn gathering(self) -> Self {
        Self { is_gathering: true, ..self }
    }

    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.step.retry = Some(policy);
        self
    }

    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.step.priority = Some(priority);
        self
    }

    #[must_use]
    pub fn timeout_seconds(mut self, seconds: u32) -> Self {
        self.step.timeout_seconds = Some(seconds);
        self
    }

    #[must_use]
    pub fn condition(mut self, condition: &str) -> Self {
        self.step.condition = Some(condition.to_owned());
        self
    }

    #[must_use]
    pub fn on_failure(mut self, impact: FailureImpact) -> Self {
        self.step.on_failure = Some(impact);
        self
    }

    fn call(&self) -> Result<Call, ActionNameError> {
        let input = if self.is_gathering {
            let each = self.after.iter().map(|name| {
                // A name may have a `-`, which an expression takes for a minus.
                let output = format!("{{{{ steps[\"{name}\"].output }}}}");
                (name.clone(), Value::from(output))
            });
            Value::Object(each.collect())
        } else {
            self.input.clone()
        };
        let target = Target::Action(ActionName::parse(&self.action)?);
        Ok(Call { target, input, is_literal: false, key: None })
    }

    fn does(&self) -> Result<Does, ActionNameError> {
        let call = self.call()?;
        Ok(match &self.items {
            None => Does::Action(call),
            Some((items, limit)) => Does::Map(Map {
                items: Value::from(items.as_str()),
                body: Body::Action(call),
                concurrency: Some(*limit),
                failures_max: 0,
            }),
        })
    }
}

/// Jobs one after the other, each with what the one before it left behind.
pub fn chain(jobs: impl IntoIterator<Item = Job>) -> Vec<Job> {
    let mut chained: Vec<Job> = Vec::new();
    for mut job in jobs {
        if let Some(before) = chained.last() {
            job.after.push(before.name.clone());
            job.is_gathering |= job.input.is_null();
        }
        chained.push(job);
    }
    chained
}

/// Puts jobs together, in whatever order they are.
///
/// # Errors
/// Everything that is wrong: a name, an action, two jobs of one name, a job that is not there,
/// jobs that wait for each other.
pub fn flow(name: &str, jobs: impl IntoIterator<Item = Job>) -> Result<Flow, Vec<JobProblem>> {
    let mut graph = FlowGraph {
        name: name.to_owned(),
        description: None,
        steps: BTreeMap::new(),
        edges: Vec::new(),
        on_failure: FailureImpact::Abort,
        max_total_retries: None,
        dead_letter: None,
        seeds: BTreeSet::new(),
        output: None,
    };
    let mut problems = Vec::new();
    for job in jobs {
        if let Err(problem) = put(&mut graph, &job) {
            problems.push(problem);
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Flow::check(graph).map_err(|problems| problems.into_iter().map(JobProblem::Graph).collect())
}

fn put(graph: &mut FlowGraph, job: &Job) -> Result<(), JobProblem> {
    let name = StepName::parse(&job.name)?;
    let step = Step { does: job.does()?, ..job.step.clone() };
    if graph.steps.insert(name.clone(), step).is_some() {
        return Err(JobProblem::Duplicate { name });
    }
    let mut entrance = name.clone();
    if job.needs == Needs::Any {
        entrance = StepName::parse(&format!("{name}-any"))?;
        let gate = Step::new(Does::Gate { needs: Needs::Any });
        graph.steps.insert(entrance.clone(), gate);
        graph.edges.push(Edge::explicit(entrance.clone(), name));
    }
    for before in &job.after {
        let before = StepName::parse(before)?;
        graph.edges.push(Edge::explicit(before, entrance.clone()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
