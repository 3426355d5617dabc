//! A whole engine in the test's process, over the memory store and a held clock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actions_app::app::{App, Ports};
use actions_app::commands::submit_event::{
    AcceptedEvent, NewEvent, SubmitEvents, SubmitEventsError, submit_events,
};
use actions_app::handlers::Handlers;
use actions_app::node::{self, Node, NodeConfig};
use actions_domain::action::{Action, ActionSpec};
use actions_domain::authorization::AuthorizationContext;
use actions_domain::event::{Attributes, EventType};
use actions_domain::execution::{Execution, Fault, Outcome, Output};
use actions_domain::id::{ExecutionId, TenantId};
use actions_domain::json::Json;
use actions_domain::ports::authorizer::Authorizer;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::definitions::{Definitions, Expected};
use actions_domain::ports::handler::{Call, Delivery, Descriptor, Handler, Probe};
use actions_domain::ports::pull_queue::PullQueue;
use actions_handlers::worker::WorkerPull;
use actions_infra::matching::{CelExpressions, IndexedMatcherFactory};
use actions_infra::memory::{Memory, MemoryHints, MemoryPullQueue};
use actions_infra::system::SystemDice;
use actions_infra::vault::{Envelopes, LocalKeys};
use async_trait::async_trait;
use chrono::TimeDelta;
use serde_json::{Value, json};
use uuid::Uuid;

use super::clock::{CountingDice, HeldClock};
use super::faults::Faults;
use super::passwords::PlainPasswords;

/// When every test begins.
const START: &str = "2026-01-01T00:00:00Z";
/// Of every engine here unless it says otherwise.
pub const MASTER_KEY: &str = "test:bWFzdGVyIGtleSBvZiB0aGUgdGVzdHMsIDMyIGJ5dGU=";
/// Turns of the other tasks after which nothing more happens by itself.
const SETTLE_TURNS: usize = 200;

/// An engine with one tenant, one scripted handler `test.script`, and time that stands still.
pub struct TestEngine {
    pub app: App,
    pub clock: Arc<HeldClock>,
    pub script: Arc<Script>,
    pub tenant: TenantId,
    pub faults: Arc<Faults>,
    /// Of remote workers. It outlives a process, as a server would.
    pub tasks: Arc<MemoryPullQueue>,
    /// Of the next process, as the setting takes them. There may be none.
    pub master_keys: String,
    authorizer: Option<Arc<dyn Authorizer>>,
    memory: Arc<Memory>,
    hints: MemoryHints,
    node: Option<Node>,
}

impl TestEngine {
    pub async fn start() -> Self {
        Self::start_with_keys(MASTER_KEY).await
    }

    /// Starts an engine with these master keys.
    pub async fn start_with_keys(keys: &str) -> Self {
        Self::start_judged_by(keys, None).await
    }

    /// The same, with somebody who is asked after the roles.
    pub async fn start_judged_by(keys: &str, authorizer: Option<Arc<dyn Authorizer>>) -> Self {
        let clock = HeldClock::at(START);
        let memory = Arc::new(Memory::new(clock.clone(), 4));
        let script = Arc::new(Script::default());
        let faults = Arc::new(Faults::over(memory.clone()));
        let hints = MemoryHints::default();
        let tasks = Arc::new(MemoryPullQueue::new(clock.clone()));
        let app =
            app_over(&memory, &faults, &clock, &script, &tasks, &hints, (keys, authorizer.clone()))
                .await;
        let slug = "acme".parse().unwrap();
        let tenant = memory.create_tenant(Uuid::from_u128(7), &slug, "Acme", None).await.unwrap();
        let mut engine = Self {
            app,
            clock,
            script,
            tenant: tenant.id,
            faults,
            tasks,
            master_keys: keys.to_owned(),
            authorizer,
            memory,
            hints,
            node: None,
        };
        engine.start_node().await;
        engine
    }

    /// Starts a node where none runs, and lets it find its partitions.
    pub async fn start_node(&mut self) {
        self.node = Some(node::start(self.app.clone(), config()));
        self.settle().await;
    }

    /// Stops the node in an orderly way.
    pub async fn stop_node(&mut self) -> Result<(), node::DrainTimeout> {
        let node = self.node.take().expect("a node runs");
        let stopping = tokio::spawn(node.stop());
        // Somebody has to move the clock while it drains.
        while !stopping.is_finished() {
            self.settle().await;
            self.clock.move_to_next(self.clock.now() + TimeDelta::seconds(60));
        }
        stopping.await.unwrap()
    }

    /// Ends the process, and starts another one over the same store.
    pub async fn crash_and_restart(&mut self) {
        self.node.take().expect("a node runs").kill();
        self.settle().await;
        self.app = self.other_process().await;
        self.start_node().await;
    }

    /// Another process over the same store, in which no node runs.
    pub async fn other_process(&self) -> App {
        let app = app_over(
            &self.memory,
            &self.faults,
            &self.clock,
            &self.script,
            &self.tasks,
            &self.hints,
            (&self.master_keys, self.authorizer.clone()),
        )
        .await;
        app.catalogue.refresh_all().await.unwrap();
        app
    }

    /// Defines an action for the scripted handler. `changes` are merged into its specification.
    pub async fn define(&self, name: &str, pattern: &str, changes: Value) -> Action {
        let saved = self.save(name, pattern, changes).await;
        self.app.catalogue.refresh(self.tenant, saved.version).await.unwrap();
        saved
    }

    /// Stores an action, of which the engine does not know yet.
    pub async fn save(&self, name: &str, pattern: &str, changes: Value) -> Action {
        let mut spec = json!({
            "name": name,
            "action_type": "custom",
            "handler": "test.script",
            "event_patterns": [pattern],
        });
        for (field, value) in changes.as_object().unwrap() {
            spec[field] = value.clone();
        }
        let spec: ActionSpec = serde_json::from_value(spec).unwrap();
        let definitions = &self.app.ports.definitions;
        let uuid = Uuid::from_u128(u128::from(name.len() as u64));
        definitions.save_action(self.tenant, uuid, &spec, Expected::Anything, None).await.unwrap()
    }

    /// Leaves an event in the intake, as a user's own transaction does.
    pub fn leave(&self, tenant: TenantId, body: &str) {
        self.memory.insert_intake(tenant, Json::from_record(body.to_owned()));
    }

    pub async fn emit(&self, event_type: &str, data: Value) -> AcceptedEvent {
        let mut accepted = self.submit(vec![given_event(event_type, data)]).await.unwrap();
        self.settle().await;
        accepted.remove(0)
    }

    pub async fn submit(
        &self,
        events: Vec<NewEvent>,
    ) -> Result<Vec<AcceptedEvent>, SubmitEventsError> {
        let request = SubmitEvents { tenant: self.tenant, events, idempotency: None };
        submit_events(&self.app, &caller(self.tenant), request).await
    }

    pub async fn execution(&self, id: ExecutionId) -> Execution {
        let found = self.app.ports.history.find_execution(self.tenant, id).await.unwrap();
        found.expect("the execution exists")
    }

    /// Moves time on, and lets everything happen that is due on the way.
    pub async fn advance(&self, pause: Duration) {
        let limit = self.clock.now() + TimeDelta::from_std(pause).unwrap();
        self.settle().await;
        while self.clock.move_to_next(limit) {
            self.settle().await;
        }
        self.settle().await;
    }

    /// Lets every task go on until it waits for time.
    pub async fn settle(&self) {
        for _ in 0..SETTLE_TURNS {
            tokio::task::yield_now().await;
        }
    }

    /// The attempts of an execution, one line each, with times since the start of the test.
    pub async fn timeline(&self, id: ExecutionId) -> String {
        let execution = self.execution(id).await;
        let start: actions_domain::Timestamp = START.parse().unwrap();
        let mut lines: Vec<String> = execution
            .attempts
            .iter()
            .map(|attempt| {
                let at = attempt.started_at - start;
                let fault = attempt.error.as_ref().map(|fault| format!(": {}", fault.message));
                format!(
                    "{:02}:{:02} attempt {} ({:?}) {:?}{}",
                    at.num_minutes(),
                    at.num_seconds() % 60,
                    attempt.number,
                    attempt.cause,
                    attempt.outcome,
                    fault.unwrap_or_default(),
                )
            })
            .collect();
        lines.push(execution.status.word().to_owned());
        lines.join("\n")
    }
}

pub fn given_event(event_type: &str, data: Value) -> NewEvent {
    NewEvent {
        event_type: EventType::parse(event_type).unwrap(),
        source: Some("test".to_owned()),
        external_id: None,
        data: Json::from_value(&data),
        attributes: Attributes::default(),
        delay: None,
    }
}

pub fn caller(tenant: TenantId) -> AuthorizationContext {
    AuthorizationContext::of_library("test", tenant, "test")
}

fn config() -> NodeConfig {
    NodeConfig { name: "test-node".to_owned(), slots: 8, ..NodeConfig::default() }
}

async fn app_over(
    memory: &Arc<Memory>,
    faults: &Arc<Faults>,
    clock: &Arc<HeldClock>,
    script: &Arc<Script>,
    tasks: &Arc<MemoryPullQueue>,
    hints: &MemoryHints,
    (master_keys, authorizer): (&str, Option<Arc<dyn Authorizer>>),
) -> App {
    let dice = Arc::new(SystemDice);
    let keys = match master_keys {
        "" => LocalKeys::none(dice.clone()),
        keys => LocalKeys::parse(keys, dice.clone()).unwrap(),
    };
    let pull_queue: Arc<dyn PullQueue> = tasks.clone();
    let pull = Arc::new(WorkerPull::new(pull_queue.clone(), clock.clone()));
    let handlers = Arc::new(Handlers::new([script.clone() as Arc<dyn Handler>, pull]));
    let installed = handlers.clone();
    let ports = Ports {
        clock: clock.clone(),
        dice: Arc::new(CountingDice::default()),
        store: faults.clone(),
        leases: faults.clone(),
        permits: faults.clone(),
        schedules: faults.clone(),
        traces: None,
        pull_queue,
        bulks: faults.clone(),
        api_keys: faults.clone(),
        accounts: memory.clone(),
        passwords: Arc::new(PlainPasswords::default()),
        authorizer,
        audit: memory.clone(),
        secrets: memory.clone(),
        deletions: memory.clone(),
        usages: memory.clone(),
        runs: memory.clone(),
        expressions: Arc::new(CelExpressions::default()),
        vault: Arc::new(Envelopes::new(Arc::new(keys), dice)),
        definitions: memory.clone(),
        history: memory.clone(),
        schemas: Arc::new(actions_infra::schemas::JsonSchemas::default()),
        hints: Arc::new(hints.other_end()),
        matchers: Arc::new(IndexedMatcherFactory::new(Arc::new(move |id| {
            installed.is_installed(id)
        }))),
    };
    App::start(ports, handlers).await.unwrap()
}

/// A handler that answers as it was told, and writes down every call.
pub struct Script {
    descriptor: Descriptor,
    answers: Mutex<VecDeque<Answer>>,
    probes: Mutex<VecDeque<Probe>>,
    calls: Mutex<Vec<Call>>,
    overlap: Mutex<Overlap>,
}

/// What the handler does with one call.
#[derive(Clone)]
pub enum Answer {
    Done(Value),
    Retry(Fault),
    Reject(Fault),
    /// Never answers.
    Hang,
    Panic,
}

#[derive(Default)]
struct Overlap {
    now: usize,
    most: usize,
}

impl Script {
    /// The answers to the next calls. Afterwards every call succeeds.
    pub fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.answers.lock().unwrap().extend(answers);
    }

    /// What the next probes find out. Afterwards they cannot tell.
    pub fn find(&self, probes: impl IntoIterator<Item = Probe>) {
        self.probes.lock().unwrap().extend(probes);
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// The most calls that were under way at one time.
    pub fn most_at_once(&self) -> usize {
        self.overlap.lock().unwrap().most
    }
}

impl Default for Script {
    fn default() -> Self {
        let descriptor = Descriptor {
            id: "test.script",
            aliases: &[],
            version: "1.0.0",
            title: "Answers as it was told",
            handler_type: "native",
            capabilities: &["async"],
            action_types: &[],
            delivery: Delivery::AtLeastOnce,
            config_schema: json!({ "type": "object" }),
            input_schema: json!(true),
            output_schema: json!(true),
        };
        Self {
            descriptor,
            answers: Mutex::default(),
            probes: Mutex::default(),
            calls: Mutex::default(),
            overlap: Mutex::default(),
        }
    }
}

#[async_trait]
impl Handler for Script {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    async fn probe(&self, _call: &Call) -> Probe {
        self.probes.lock().unwrap().pop_front().unwrap_or(Probe::CannotTell)
    }

    async fn execute(&self, call: &Call) -> Outcome {
        self.calls.lock().unwrap().push(call.clone());
        let answer = self.answers.lock().unwrap().pop_front();
        {
            let mut overlap = self.overlap.lock().unwrap();
            overlap.now += 1;
            overlap.most = overlap.most.max(overlap.now);
        }
        // Gives others the chance to overlap.
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        self.overlap.lock().unwrap().now -= 1;
        match answer {
            None => Outcome::Done(Output::new(json!({ "ok": true }))),
            Some(Answer::Done(data)) => Outcome::Done(Output::new(data)),
            Some(Answer::Retry(fault)) => Outcome::Retry(fault),
            Some(Answer::Reject(fault)) => Outcome::Reject(fault),
            Some(Answer::Hang) => std::future::pending().await,
            Some(Answer::Panic) => panic!("told to"),
        }
    }
}
