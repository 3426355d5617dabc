//! Tries code out without an engine: activities are answered by functions, and time passes when
//! it is told to.
//!
//! Each turn follows the code from its beginning, so a rehearsal also finds code that does not do
//! the same twice.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::fmt::Write;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::Value;
use uuid::Uuid;

use super::recorded::Recorded;
use super::{Orchestration, Past, Trouble, decide, query};
use crate::Timestamp;
use crate::execution::Fault;
use crate::flow::decide::{CallResult, Command, Input, Refusal, Turn};
use crate::flow::graph::Target;
use crate::flow::journal::CallId;
use crate::flow::run::{Phase, Run};
use crate::json::Json;
use crate::retry::Jitter;

type Answer = Box<dyn FnMut(&Value) -> Result<Value, Fault> + Send>;

/// One run of an orchestration, with everything that it asks for.
pub struct Rehearsal {
    code: Orchestration,
    id: Uuid,
    entries: Vec<crate::flow::journal::Entry>,
    run: Run,
    now: Timestamp,
    answers: BTreeMap<String, Answer>,
    /// What was asked for and not answered, in order.
    open: VecDeque<Open>,
    timers: BTreeMap<CallId, Timestamp>,
    called: Vec<String>,
    /// Runs that went on as new ones.
    before: Vec<Recorded>,
}

struct Open {
    call: CallId,
    name: String,
    input: Json,
}

impl Rehearsal {
    pub fn new(code: Orchestration) -> Self {
        Self {
            code,
            id: Uuid::from_u128(1),
            entries: Vec::new(),
            run: Run::default(),
            now: Timestamp::UNIX_EPOCH,
            answers: BTreeMap::new(),
            open: VecDeque::new(),
            timers: BTreeMap::new(),
            called: Vec::new(),
            before: Vec::new(),
        }
    }

    /// Answers calls of this action or workflow. Others stay open.
    #[must_use]
    pub fn answering<F>(mut self, name: &str, answer: F) -> Self
    where
        F: FnMut(&Value) -> Result<Value, Fault> + Send + 'static,
    {
        self.answers.insert(name.to_owned(), Box::new(answer));
        self
    }

    /// Starts the run, and answers everything that it asks for.
    pub fn start(&mut self, input: &Value) {
        let input = Json::from_value(input);
        self.begin(input);
        self.settle();
    }

    fn begin(&mut self, input: Json) {
        let start = Input::Start { input, context: BTreeMap::new(), depth: 0 };
        // A run that is new can be started.
        let _ = self.tell(start);
    }

    /// # Errors
    /// The run takes no signal now.
    pub fn signal(&mut self, name: &str, payload: &Value) -> Result<(), Refusal> {
        let (name, payload) = (name.to_owned(), Json::from_value(payload));
        self.tell(Input::Signal { name, id: None, payload })?;
        self.settle();
        Ok(())
    }

    /// Lets time pass. What is due in it fires, in order.
    pub fn advance(&mut self, pause: Duration) {
        let end = self.now + TimeDelta::from_std(pause).unwrap_or_default();
        while let Some((call, due_at)) = self.next_timer().filter(|(_, due_at)| *due_at <= end) {
            self.now = self.now.max(due_at);
            self.timers.remove(&call);
            let _ = self.tell(Input::TimerFired { call });
            self.settle();
        }
        self.now = end;
    }

    fn next_timer(&self) -> Option<(CallId, Timestamp)> {
        let timers = self.timers.iter().map(|(call, due_at)| (*call, *due_at));
        timers.min_by_key(|(call, due_at)| (*due_at, *call))
    }

    /// Answers what is open, until nothing more follows.
    pub fn settle(&mut self) {
        while let Some(index) =
            self.open.iter().position(|open| self.answers.contains_key(&open.name))
        {
            let Some(open) = self.open.remove(index) else { return };
            let Some(answer) = self.answers.get_mut(&open.name) else { return };
            let result = match answer(&open.input.to_value()) {
                Ok(output) => CallResult::Completed {
                    output: Json::from_value(&output),
                    context: BTreeMap::new(),
                },
                Err(fault) => CallResult::Failed { fault, may_retry: false, jitter: Jitter::ZERO },
            };
            // Answers are never refused.
            let _ = self.tell(Input::Ended { call: open.call, result });
        }
    }

    /// Tells the run something, and takes down what it asks for.
    ///
    /// # Errors
    /// Why the run cannot take it as it is now.
    pub fn tell(&mut self, input: Input) -> Result<Turn, Refusal> {
        let turn = decide(&self.code, self.past(), input, self.now)?;
        for entry in &turn.entries {
            self.run.evolve(entry);
            self.entries.push(entry.clone());
        }
        turn.commands.iter().for_each(|command| self.obey(command));
        Ok(turn)
    }

    fn obey(&mut self, command: &Command) {
        match command {
            Command::Start(start) => {
                let name = match &start.target {
                    Target::Action(name) => name.as_str().to_owned(),
                    Target::Handler { id, .. } => id.as_str().to_owned(),
                };
                self.ask(start.call, name, &start.input);
            }
            Command::StartChild { call, flow, input, .. } => self.ask(*call, flow.clone(), input),
            Command::Cancel { call } => {
                let is_open = self.open.iter().any(|open| open.call == *call);
                self.open.retain(|open| open.call != *call);
                if is_open {
                    let (call, result) = (*call, CallResult::Cancelled);
                    let _ = self.tell(Input::Ended { call, result });
                }
            }
            Command::SetTimer { call, due_at } => {
                self.timers.insert(*call, *due_at);
            }
            Command::ClearTimer { call } => {
                self.timers.remove(call);
            }
            Command::Continue { input, signals } => self.go_on(input, signals),
            Command::DeadLetter { .. } | Command::End => {}
        }
    }

    fn ask(&mut self, call: CallId, name: String, input: &Json) {
        self.called.push(name.clone());
        self.open.push_back(Open { call, name, input: input.clone() });
    }

    fn go_on(&mut self, input: &Json, signals: &[(String, Json)]) {
        self.before.push(self.history());
        self.id = Uuid::from_u128(self.id.as_u128() + 1);
        self.entries.clear();
        self.run = Run::default();
        self.open.clear();
        self.timers.clear();
        self.begin(input.clone());
        for (name, payload) in signals.iter().cloned() {
            let _ = self.tell(Input::Signal { name, id: None, payload });
        }
    }

    /// Goes on with other code, as after an upgrade.
    pub fn change(&mut self, code: Orchestration) {
        self.code = code;
    }

    fn past(&self) -> Past<'_> {
        Past { run: self.id, entries: &self.entries }
    }

    /// # Errors
    /// Why the code cannot be followed.
    pub fn query(&self, name: &str) -> Result<Option<Value>, Trouble> {
        query(&self.code, self.past(), name).map(|found| found.map(|json| json.to_value()))
    }

    pub fn run(&self) -> &Run {
        &self.run
    }

    /// What the run came to, when it has completed.
    pub fn output(&self) -> Option<Value> {
        if let Phase::Completed { output } = self.run.phase() {
            return Some(output.to_value());
        }
        None
    }

    /// The actions and workflows that were called, in order.
    pub fn called(&self) -> Vec<&str> {
        self.called.iter().map(String::as_str).collect()
    }

    /// The history of the run, to be kept and replayed.
    pub fn history(&self) -> Recorded {
        Recorded { run: self.id, entries: self.entries.clone() }
    }

    /// The histories of the runs before this one, which went on as new ones.
    pub fn before(&self) -> &[Recorded] {
        &self.before
    }

    /// The history as text: one entry a line, with the seconds since the start.
    pub fn timeline(&self) -> String {
        let mut text = String::new();
        for entry in &self.entries {
            let seconds = entry.at.timestamp();
            let what = serde_json::to_value(&entry.what).unwrap_or_default();
            let name = what.as_object().and_then(|members| members.keys().next().cloned());
            let name = name.or_else(|| what.as_str().map(str::to_owned)).unwrap_or_default();
            let step = what.pointer(&format!("/{name}/place/step"));
            let step = step.or_else(|| what.pointer(&format!("/{name}/step")));
            let step = step.and_then(Value::as_str).unwrap_or_default();
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{seconds:>6} s  {name} {step}");
        }
        text
    }
}

impl fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.timeline())
    }
}
