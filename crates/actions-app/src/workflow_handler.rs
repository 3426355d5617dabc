//! The handler of actions that are workflows: it starts a run.

use std::sync::Arc;

use actions_domain::action::{ActionType, WORKFLOW_HANDLER};
use actions_domain::execution::{Fault, Outcome, Output};
use actions_domain::flow::record::NewRun;
use actions_domain::ports::handler::{
    Call, ConfigReport, Delivery, Descriptor, FieldNote, Handler,
};
use actions_domain::ports::store::StoreError;
use actions_domain::work::Commit;
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::app::App;
use crate::workflows::Workflows;

/// What is known of workflows before one is started. Each start has a [`RunStarter`] of its own.
pub(crate) struct WorkflowHandler {
    descriptor: Descriptor,
    workflows: Arc<Workflows>,
}

impl WorkflowHandler {
    pub(crate) fn new(workflows: Arc<Workflows>) -> Self {
        Self { descriptor: descriptor(), workflows }
    }
}

#[async_trait]
impl Handler for WorkflowHandler {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn check_config(&self, config: &Value) -> ConfigReport {
        let problems = self.workflows.check(config).err().unwrap_or_default();
        let errors = problems.into_iter().map(|problem| {
            FieldNote::new(problem.pointer, format!("{} ({})", problem.message, problem.code))
        });
        ConfigReport { errors: errors.collect(), warnings: Vec::new() }
    }

    async fn execute(&self, _call: &Call) -> Outcome {
        Outcome::Reject(Fault::system("workflow.run", "nobody said which run to start"))
    }
}

/// Starts the run that an execution asks for. It has the execution's number, so it is the same run
/// however often it is started.
pub(crate) struct RunStarter {
    app: App,
    descriptor: Descriptor,
    start: NewRun,
}

impl RunStarter {
    pub(crate) fn new(app: &App, start: NewRun) -> Self {
        Self { app: app.clone(), descriptor: descriptor(), start }
    }
}

#[async_trait]
impl Handler for RunStarter {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    async fn execute(&self, _call: &Call) -> Outcome {
        let commit = Commit { starts: vec![self.start.clone()], ..Commit::default() };
        match self.app.ports.store.commit(commit).await {
            Ok(_) => {
                self.app.tell_of_runs([self.start.part]);
                Outcome::Done(Output::new(json!({ "run": self.start.id })))
            }
            Err(StoreError::Refused { reason }) => {
                Outcome::Reject(Fault::system("workflow.refused", reason))
            }
            Err(error) => Outcome::Retry(Fault::system("store.unavailable", error.to_string())),
        }
    }
}

fn descriptor() -> Descriptor {
    Descriptor {
        id: WORKFLOW_HANDLER,
        aliases: &[],
        version: "1.0.0",
        title: "Starts a run of a workflow",
        handler_type: "native",
        capabilities: &["async"],
        action_types: &[ActionType::WorkflowTrigger],
        delivery: Delivery::OnceRecorded,
        config_schema: json!({
            "type": "object",
            "properties": {
                "document": {
                    "type": "object",
                    "description": "The workflow as people write it",
                },
                "graph": { "type": "object", "description": "The workflow as programs make it" },
            },
            "additionalProperties": false,
        }),
        input_schema: json!({}),
        output_schema: json!({
            "type": "object",
            "properties": { "run": { "type": "string", "format": "uuid" } },
        }),
    }
}
