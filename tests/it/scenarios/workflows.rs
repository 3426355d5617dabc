//! Workflows from their events to the ends of their runs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actions_domain::execution::{Fault, Outcome, Output};
use actions_domain::ports::handler::{Call, Delivery, Descriptor, Handler};
use async_trait::async_trait;
use axum::http::Method;
use serde_json::{Value, json};

use crate::support::app::{TestApp, in_tenant};
use crate::support::engine::Answer as Told;

/// The document of the founding plan, word for word.
const FOUNDING: &str = r#"
action:
  name: "advanced_user_onboarding"
  description: "Complex user onboarding with multiple steps"
  triggers:
    - event_pattern: "users.created"
      conditions:
        - "event.data.subscription_tier == 'premium'"
  workflow:
    steps:
      - name: "validate_user_data"
        handler: "validation.user_data_validator"
        input_mapping:
          user_data: "{{ event.data }}"
        retry_policy:
          max_retries: 3
          backoff: "exponential"
      - name: "setup_premium_features"
        handler: "premium.feature_activator"
        depends_on: ["validate_user_data"]
        condition: "{{ steps.validate_user_data.output.is_valid }}"
      - name: "send_welcome_sequence"
        handler: "email.sequence_sender"
        config:
          template_sequence: "premium_welcome"
          delay_between_emails: "2 hours"
        parallel_with: ["setup_premium_features"]
  error_handling:
    strategy: "retry_then_deadletter"
    max_total_retries: 5
    deadletter_action: "admin.manual_review"
"#;

/// A handler that answers each call with the next of its answers, or with the same thing.
struct Stub {
    descriptor: Descriptor,
    answers: Mutex<Vec<Outcome>>,
    answer: Value,
    calls: Mutex<Vec<Call>>,
}

impl Stub {
    fn install(app: &TestApp, id: &'static str, answer: Value) -> Arc<Self> {
        let descriptor = Descriptor {
            id,
            aliases: &[],
            version: "1.0.0",
            title: "Answers",
            handler_type: "native",
            capabilities: &[],
            action_types: &[],
            delivery: Delivery::AtLeastOnce,
            config_schema: json!({}),
            input_schema: json!({}),
            output_schema: json!({}),
        };
        let (answers, calls) = (Mutex::default(), Mutex::default());
        let stub = Arc::new(Self { descriptor, answers, answer, calls });
        app.engine.app.handlers.register(stub.clone());
        stub
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

#[async_trait]
impl Handler for Stub {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    async fn execute(&self, call: &Call) -> Outcome {
        self.calls.lock().unwrap().push(call.clone());
        let next = self.answers.lock().unwrap().pop();
        next.unwrap_or_else(|| Outcome::Done(Output::new(self.answer.clone())))
    }
}

async fn put(app: &TestApp, name: &str, document: Value) -> Value {
    let answer = app.put(&format!("workflows/{name}"), &[], document).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.body()
}

/// Puts a workflow of these steps, which call the scripted handler unless they say otherwise.
async fn given(app: &TestApp, name: &str, steps: Value, more: Value) -> Value {
    let mut action = json!({ "name": name, "workflow": { "steps": steps } });
    for (field, value) in more.as_object().unwrap() {
        action[field] = value.clone();
    }
    for step in action["workflow"]["steps"].as_array_mut().unwrap() {
        if step.get("action").is_none() {
            step["handler"] = step.get("handler").cloned().unwrap_or_else(|| json!("test.script"));
        }
        if step.get("retry_policy").is_none() {
            step["retry_policy"] = json!({ "max_retries": 0 });
        }
    }
    put(app, name, json!({ "action": action })).await
}

async fn started(app: &TestApp, name: &str, body: Value) -> String {
    let answer = app.post(&format!("workflows/{name}/runs"), body).await;
    assert!(answer.status.is_success(), "{}", answer.text);
    app.engine.settle().await;
    answer.body()["id"].as_str().unwrap().to_owned()
}

async fn shown(app: &TestApp, run: &str) -> Value {
    let answer = app.get(&format!("runs/{run}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body()
}

async fn tell(app: &TestApp, run: &str, verb: &str, body: Value) {
    let answer = app.post(&format!("runs/{run}:{verb}"), body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    app.engine.settle().await;
}

/// The steps of a run with their statuses.
fn steps(run: &Value) -> String {
    let steps = run["steps"].as_array().unwrap().iter();
    let step = |step: &Value| {
        format!("{} {}", step["name"].as_str().unwrap(), step["status"].as_str().unwrap())
    };
    steps.map(step).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn the_founding_document_runs_word_for_word() {
    let app = TestApp::start().await;
    let valid = Stub::install(&app, "validation.user_data_validator", json!({ "is_valid": true }));
    let premium = Stub::install(&app, "premium.feature_activator", json!("on"));
    let mail = Stub::install(&app, "email.sequence_sender", json!("sent"));
    app.given_action("admin.manual_review", "never.matched", json!({})).await;
    let document: Value = serde_saphyr::from_str(FOUNDING).unwrap();
    put(&app, "advanced_user_onboarding", document).await;

    app.emit("users.created", json!({ "subscription_tier": "free" })).await;
    assert_eq!(app.get("runs").await.body()["items"], json!([]), "its condition does not hold");

    let data = json!({ "subscription_tier": "premium", "email": "ada@example.com" });
    let accepted = app.emit("users.created", data.clone()).await;
    app.advance(Duration::from_secs(1)).await;
    let runs = app.get("runs").await.body()["items"].clone();
    assert_eq!(runs.as_array().unwrap().len(), 1, "{runs}");
    // The run has the number of the execution that started it.
    assert_eq!(runs[0]["id"], accepted["executions"][0]["id"], "{accepted}");
    let run = shown(&app, runs[0]["id"].as_str().unwrap()).await;
    assert_eq!(run["status"], "completed", "{run}");
    assert_eq!(
        steps(&run),
        "validate_user_data completed, send_welcome_sequence completed, \
         setup_premium_features completed"
    );
    assert_eq!(valid.calls()[0].input, json!({ "user_data": data }));
    assert_eq!(mail.calls()[0].config["template_sequence"], "premium_welcome");
    assert_eq!((valid.calls().len(), premium.calls().len(), mail.calls().len()), (1, 1, 1));

    // Each step is an ordinary execution, which knows its run.
    let id = run["steps"][0]["execution"].as_str().unwrap();
    let execution = app.get(&format!("executions/{id}")).await.body();
    assert_eq!(execution["status"], "completed");
    assert_eq!(execution["run"], json!({ "id": run["id"], "step": "validate_user_data" }));
}

#[tokio::test]
async fn a_failed_run_has_its_budget_of_retries_and_tells_somebody_once() {
    let app = TestApp::start().await;
    let valid = Stub::install(&app, "validation.user_data_validator", json!({ "is_valid": true }));
    Stub::install(&app, "premium.feature_activator", json!("on"));
    Stub::install(&app, "email.sequence_sender", json!("sent"));
    app.given_action("admin.manual_review", "never.matched", json!({})).await;
    let document: Value = serde_saphyr::from_str(FOUNDING).unwrap();
    put(&app, "advanced_user_onboarding", document).await;
    let busy = || Outcome::Retry(Fault::handler("test.failed", "it is busy"));
    *valid.answers.lock().unwrap() = (0..9).map(|_| busy()).collect();

    app.emit("users.created", json!({ "subscription_tier": "premium" })).await;
    app.advance(Duration::from_secs(90)).await;

    let runs = app.get("runs?status=failed").await.body()["items"].clone();
    let run = shown(&app, runs[0]["id"].as_str().unwrap()).await;
    assert_eq!(run["error"], "step validate_user_data failed: it is busy");
    assert_eq!(valid.calls().len(), 4, "one attempt and three retries");
    let told = app.engine.script.calls();
    assert_eq!(told.len(), 1, "the review is asked for once");
    assert_eq!(told[0].input["run"], run["id"]);
    assert_eq!(told[0].input["error"]["message"], run["error"]);
    // The run is what a person looks at; its steps are no dead letters.
    assert_eq!(app.get("dead-letters").await.body()["items"], json!([]));
}

#[tokio::test]
async fn what_a_handler_rejects_is_not_tried_again() {
    let app = TestApp::start().await;
    let more = json!({ "error_handling": { "max_total_retries": 5 } });
    given(&app, "once", json!([{ "name": "only", "retry_policy": { "max_retries": 3 } }]), more)
        .await;
    app.engine.script.answer([Told::Reject(Fault::handler("test.bad", "never"))]);
    let run = started(&app, "once", json!({})).await;
    app.advance(Duration::from_secs(60)).await;
    assert_eq!(shown(&app, &run).await["error"], "step only failed: never");
    assert_eq!(app.engine.script.calls().len(), 1);
}

#[tokio::test]
async fn a_run_survives_the_end_of_its_process_between_any_two_of_its_steps() {
    let mut app = TestApp::start().await;
    let chain = json!([
        { "name": "a" }, { "name": "b", "depends_on": ["a"] }, { "name": "c", "depends_on": ["b"] },
    ]);
    given(&app, "chain", chain, json!({})).await;
    for step in 1..=3 {
        let before = app.engine.script.calls().len();
        // The step hangs until its process ends; the next one makes it again.
        let done = (1..step).map(|_| Told::Done(json!("done")));
        app.engine.script.answer(done.chain([Told::Hang]));
        let run = started(&app, "chain", json!({ "id": format!("run-{step}") })).await;
        assert_eq!(shown(&app, &run).await["status"], "running");

        app.engine.crash_and_restart().await;
        app.engine.advance(Duration::from_secs(20)).await;

        let over = app.again().await;
        let run = shown(&over, &run).await;
        assert_eq!(
            (&run["status"], steps(&run)),
            (&json!("completed"), "a completed, b completed, c completed".to_owned())
        );
        assert_eq!(over.engine.script.calls().len() - before, 4, "the hanging one was made again");
        app = over;
    }
}

#[tokio::test]
async fn a_start_with_the_same_id_is_the_same_run() {
    let app = TestApp::start().await;
    given(&app, "one", json!([{ "name": "a" }]), json!({})).await;
    let first = app.post("workflows/one/runs", json!({ "id": "order-9" })).await.body();
    app.engine.settle().await;
    let again = app.post("workflows/one/runs", json!({ "id": "order-9" })).await.body();
    assert_eq!((&again["id"], &again["duplicate"]), (&first["id"], &json!(true)));
    app.engine.settle().await;
    assert_eq!(app.engine.script.calls().len(), 1);
    let other = app.post("workflows/one/runs", json!({ "id": "order-10" })).await.body();
    assert_ne!(other["id"], first["id"]);
}

#[tokio::test]
async fn a_delay_waits_for_its_time_also_over_a_crash() {
    let mut app = TestApp::start().await;
    let later =
        json!([{ "name": "a" }, { "name": "b", "depends_on": ["a"], "delay": "2 minutes" }]);
    given(&app, "later", later, json!({})).await;
    let run = started(&app, "later", json!({})).await;
    assert_eq!(shown(&app, &run).await["waits_for"][0]["what"], "timer");
    app.advance(Duration::from_secs(60)).await;
    app.engine.crash_and_restart().await;
    app = app.again().await;
    app.advance(Duration::from_secs(55)).await;
    assert_eq!(app.engine.script.calls().len(), 1);
    app.advance(Duration::from_secs(11)).await;
    assert_eq!(app.engine.script.calls().len(), 2);
    assert_eq!(shown(&app, &run).await["status"], "completed");
}

#[tokio::test]
async fn what_was_done_is_undone_in_reverse_when_a_step_fails() {
    let app = TestApp::start().await;
    let undo = |word: &str| json!({ "handler": "test.script", "input_mapping": { "undo": word } });
    let saga = json!([
        { "name": "reserve", "input_mapping": { "do": "reserve" }, "compensation": undo("reserve") },
        { "name": "pay", "input_mapping": { "do": "pay" }, "compensation": undo("pay"), "depends_on": ["reserve"] },
        { "name": "ship", "input_mapping": { "do": "ship" }, "depends_on": ["pay"] },
    ]);
    let more = json!({ "error_handling": { "strategy": "compensate" } });
    given(&app, "saga", saga, more).await;
    let done = || Told::Done(json!(null));
    app.engine.script.answer([done(), done(), Told::Reject(Fault::handler("test.bad", "no van"))]);
    let run = started(&app, "saga", json!({})).await;
    app.advance(Duration::from_secs(5)).await;
    let run = shown(&app, &run).await;
    assert_eq!(
        (&run["status"], &run["error"]),
        (&json!("failed"), &json!("step ship failed: no van"))
    );
    let inputs: Vec<Value> =
        app.engine.script.calls().iter().map(|call| call.input.clone()).collect();
    assert_eq!(
        inputs,
        [
            json!({ "do": "reserve" }),
            json!({ "do": "pay" }),
            json!({ "do": "ship" }),
            json!({ "undo": "pay" }),
            json!({ "undo": "reserve" }),
        ]
    );
}

/// A graph, for what documents cannot say.
async fn given_graph(app: &TestApp, name: &str, steps: Value, edges: Value) {
    let graph = json!({ "name": name, "steps": steps, "edges": edges });
    put(app, name, json!({ "graph": graph })).await;
}

fn calls(input: Value) -> Value {
    let target = json!({ "handler": { "id": "test.script" } });
    json!({ "target": target, "input": input })
}

#[tokio::test]
async fn a_run_waits_for_a_signal_and_takes_each_once() {
    let app = TestApp::start().await;
    let steps_of = json!({
        "approval": { "does": { "wait_signal": { "signal": "approved" } } },
        "go": { "does": { "action": calls(json!({ "by": "{{ steps.approval.output.by }}" })) } },
    });
    given_graph(&app, "approval", steps_of, json!([{ "from": "approval", "to": "go" }])).await;
    let run = started(&app, "approval", json!({})).await;
    let waits = shown(&app, &run).await["waits_for"][0].clone();
    assert_eq!((&waits["what"], &waits["signal"]), (&json!("signal"), &json!("approved")));

    tell(&app, &run, "signal", json!({ "name": "other" })).await;
    assert_eq!(app.engine.script.calls().len(), 0);
    tell(
        &app,
        &run,
        "signal",
        json!({ "name": "approved", "id": "1", "payload": { "by": "ada" } }),
    )
    .await;
    let over = shown(&app, &run).await;
    assert_eq!(over["status"], "completed", "{over}");
    assert_eq!(app.engine.script.calls()[0].input, json!({ "by": "ada" }));
    let late = app.post(&format!("runs/{run}:signal"), json!({ "name": "approved" })).await;
    insta::assert_snapshot!(late.problem(), @"409 run.state");
}

#[tokio::test]
async fn a_paused_run_begins_nothing_until_it_is_resumed() {
    let app = TestApp::start().await;
    let steps_of = json!({
        "wait": { "does": { "wait_signal": { "signal": "go" } } },
        "act": { "does": { "action": calls(Value::Null) } },
    });
    given_graph(&app, "held", steps_of, json!([{ "from": "wait", "to": "act" }])).await;
    let run = started(&app, "held", json!({})).await;
    tell(&app, &run, "pause", json!({ "reason": "maintenance" })).await;
    assert_eq!(shown(&app, &run).await["status"], "paused");
    let again = app.post(&format!("runs/{run}:pause"), json!({})).await;
    insta::assert_snapshot!(again.problem(), @"409 run.state");
    tell(&app, &run, "signal", json!({ "name": "go" })).await;
    assert_eq!(app.engine.script.calls().len(), 0);
    tell(&app, &run, "resume", json!({})).await;
    assert_eq!(app.engine.script.calls().len(), 1);
    assert_eq!(shown(&app, &run).await["status"], "completed");
}

#[tokio::test]
async fn a_cancelled_run_gives_up_what_waits_and_a_failed_one_goes_on_from_a_step() {
    let app = TestApp::start().await;
    given(&app, "pair", json!([{ "name": "a" }, { "name": "b", "depends_on": ["a"] }]), json!({}))
        .await;
    app.engine
        .script
        .answer([Told::Done(json!(1)), Told::Reject(Fault::handler("test.bad", "no"))]);
    let run = started(&app, "pair", json!({})).await;
    assert_eq!(shown(&app, &run).await["status"], "failed");
    tell(&app, &run, "retry", json!({ "step": "b" })).await;
    let over = shown(&app, &run).await;
    assert_eq!(over["status"], "completed", "{over}");
    assert_eq!(app.engine.script.calls().len(), 3, "a was not called again");

    app.engine.script.answer([Told::Hang]);
    let run = started(&app, "pair", json!({})).await;
    tell(&app, &run, "cancel", json!({ "reason": "not wanted" })).await;
    app.advance(Duration::from_secs(2)).await;
    let over = shown(&app, &run).await;
    assert_eq!(over["status"], "cancelled", "{over}");
    assert_eq!(app.engine.script.calls().len(), 4, "b was never begun");
}

#[tokio::test]
async fn a_workflow_starts_others_for_each_item_and_takes_their_ends() {
    let app = TestApp::start().await;
    let steps_of =
        json!({ "act": { "does": { "action": calls(json!({ "n": "{{ input.n }}" })) } } });
    let graph = json!({
        "name": "child", "steps": steps_of, "output": { "twice": "{{ input.n * 2 }}" },
    });
    put(&app, "child", json!({ "graph": graph })).await;
    let each = json!({ "map": {
        "items": "{{ input.list }}",
        "concurrency": 2,
        "body": { "sub_flow": { "flow": "child", "input": { "n": "{{ item }}" } } },
    }});
    let graph = json!({
        "name": "parent",
        "steps": { "each": { "does": each } },
        "output": "{{ steps.each.output }}",
    });
    put(&app, "parent", json!({ "graph": graph })).await;
    let run = started(&app, "parent", json!({ "input": { "list": [1, 2, 3] } })).await;
    app.advance(Duration::from_secs(5)).await;
    let over = shown(&app, &run).await;
    assert_eq!(over["status"], "completed", "{over}");
    assert_eq!(over["output"], json!([{ "twice": 2 }, { "twice": 4 }, { "twice": 6 }]));
    let children = app.get("runs?workflow=child").await.body()["items"].clone();
    assert_eq!(children.as_array().unwrap().len(), 3);
    assert!(children.as_array().unwrap().iter().all(|child| child["parent_id"] == over["id"]));
}

#[tokio::test]
async fn a_step_of_an_action_runs_as_the_action_says() {
    let app = TestApp::start().await;
    let changes = json!({ "affinity": { "key": "user:{data.user}" }, "priority": "high" });
    app.given_action("greet", "never.matched", changes).await;
    let steps_of = json!([{ "name": "hello", "action": "greet", "input_mapping": { "user": "{{ input.id }}" } }]);
    given(&app, "greeting", steps_of, json!({})).await;
    let run = started(&app, "greeting", json!({ "input": { "id": 7 } })).await;
    app.advance(Duration::from_secs(1)).await;
    let run = shown(&app, &run).await;
    let id = run["steps"][0]["execution"].as_str().unwrap();
    let execution = app.get(&format!("executions/{id}")).await.body();
    assert_eq!(execution["action"], "greet");
    assert_eq!(
        (&execution["key"]["name"], &execution["priority"]),
        (&json!("user:7"), &json!("high"))
    );

    // Without its action, a step fails and says so.
    let gone = app.delete("actions/greet", &[("if-match", "*")]).await;
    assert_eq!(gone.status, 204, "{}", gone.text);
    let run = started(&app, "greeting", json!({ "input": { "id": 7 } })).await;
    assert_eq!(shown(&app, &run).await["error"], "step hello failed: there is no action greet");
}

#[tokio::test]
async fn a_run_follows_the_version_that_it_started_with() {
    let app = TestApp::start().await;
    let steps_of = |word: &str| {
        json!({
            "wait": { "does": { "wait_signal": { "signal": "go" } } },
            "act": { "does": { "action": calls(json!({ "is": word })) } },
        })
    };
    let ways = json!([{ "from": "wait", "to": "act" }]);
    given_graph(&app, "pinned", steps_of("old"), ways.clone()).await;
    let old = started(&app, "pinned", json!({})).await;
    let graph = json!({ "name": "pinned", "steps": steps_of("new"), "edges": ways });
    let changed =
        app.put("workflows/pinned", &[("if-match", "*")], json!({ "graph": graph })).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let new = started(&app, "pinned", json!({})).await;
    // Deleting it lets both come to their ends.
    let gone =
        app.send(Method::DELETE, &in_tenant("workflows/pinned"), &[("if-match", "*")], "").await;
    assert_eq!(gone.status, 204, "{}", gone.text);
    tell(&app, &old, "signal", json!({ "name": "go" })).await;
    tell(&app, &new, "signal", json!({ "name": "go" })).await;
    app.advance(Duration::from_secs(1)).await;
    let inputs: Vec<Value> =
        app.engine.script.calls().iter().map(|call| call.input.clone()).collect();
    assert_eq!(inputs, [json!({ "is": "old" }), json!({ "is": "new" })]);
    for run in [&old, &new] {
        assert_eq!(shown(&app, run).await["status"], "completed");
    }
}
