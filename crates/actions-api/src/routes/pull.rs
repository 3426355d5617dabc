//! `/v1/internal/pull`: tasks for workers outside of this program, in whatever language.
//! `?tenant=` names the tenant; without it, it is the platform's own.

use std::time::Duration;

use actions_app::commands::claim_tasks::{ClaimTasks, claim_tasks};
use actions_app::commands::tell_of_task::{TellOfTask, tell_of_task};
use actions_domain::json::Json;
use actions_domain::limits::ERROR_BYTES_MAX;
use actions_domain::ports::pull_queue::{Answer, Claimed, Word};
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::internal::TenantParams;
use crate::body::JsonBody;
use crate::caller::{Caller, Proof};
use crate::page::json;
use crate::problem::Problem;
use crate::routes::Api;

/// How long a worker may say nothing, unless it asks for something else.
const LEASE_SECONDS_DEFAULT: u64 = 30;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(claim))
        .routes(routes!(extend))
        .routes(routes!(progress))
        .routes(routes!(complete))
        .routes(routes!(fail))
}

/// What a worker asks for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "queues": ["thumbnails"], "worker": "resizer-1", "max": 4, "wait": 30 }))]
struct ClaimBody {
    /// Names of queues, as `queue` of the actions' configs. Earlier tasks come first.
    queues: Vec<String>,
    /// The worker's name, for people.
    worker: String,
    /// How many at most: 1 to `pull_claim` of `GET /v1/limits`.
    #[serde(default = "one")]
    max: u32,
    /// How many seconds to wait for the first task: 0 to `wait_seconds`.
    #[serde(default)]
    wait: u64,
    /// How long the worker may say nothing about a task before another one gets it.
    #[serde(default = "lease_seconds_default")]
    lease_seconds: u64,
}

/// Tasks that the worker has now.
#[derive(Debug, Serialize, ToSchema)]
struct TasksView {
    items: Vec<TaskView>,
}

/// A task that the worker has now.
#[derive(Debug, Serialize, ToSchema)]
struct TaskView {
    /// Names this claim in whatever the worker says of the task.
    token: String,
    queue: String,
    /// `execution_id` (the same over all attempts: the key for deduplication), `attempt`,
    /// `action`, `input`, `settings` of the action's config, `event` (`id`, `type`, `source`) if
    /// there is one, `checkpoint` (what was left by whoever had it before), and `deadline`.
    #[schema(value_type = Object)]
    task: Json,
    /// What the worker before has left in this attempt. It is younger than that of the task.
    #[schema(value_type = Option<Object>)]
    checkpoint: Option<Json>,
    /// How long the worker may say nothing.
    lease_seconds: u64,
}

/// What a worker says to keep a task.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExtendBody {
    token: String,
    /// From now on. Without it, as before.
    lease_seconds: Option<u64>,
}

/// How a task goes on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProgressBody {
    token: String,
    /// How much is done, from 0 to 1.
    progress: Option<f64>,
    /// A few words for a person.
    note: Option<String>,
    /// Where the next one goes on, if this one does not finish. Without it, the one before stands.
    #[schema(value_type = Option<Object>)]
    checkpoint: Option<Json>,
}

/// The result of a task.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CompleteBody {
    token: String,
    /// Becomes the execution's output.
    #[serde(default = "Json::null")]
    #[schema(value_type = Object)]
    output: Json,
}

/// Why a task failed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FailBody {
    token: String,
    message: String,
    /// `area.reason`, stable: dead letters are grouped by it.
    #[serde(default = "failed")]
    code: String,
    /// Another try may help. The action's retry policy decides.
    #[serde(default = "yes")]
    retryable: bool,
    /// Not earlier than this.
    retry_after_seconds: Option<u32>,
}

/// The claim holds.
#[derive(Debug, Serialize, ToSchema)]
struct HeldView {
    /// How long the worker may say nothing from now on.
    lease_seconds: u64,
}

fn one() -> u32 {
    1
}

fn lease_seconds_default() -> u64 {
    LEASE_SECONDS_DEFAULT
}

fn failed() -> String {
    "worker.failed".to_owned()
}

fn yes() -> bool {
    true
}

/// Takes tasks, and waits for the first one. An empty list means: ask again.
#[utoipa::path(post, path = "/pull/~claim", tag = "internal", operation_id = "claim_tasks",
    params(TenantParams), request_body = ClaimBody, responses((status = 200, body = TasksView)))]
async fn claim(
    State(api): State<Api>,
    caller: Caller,
    proof: Proof,
    JsonBody(body): JsonBody<ClaimBody>,
) -> Result<Response, Problem> {
    let ClaimBody { queues, worker, max, wait, lease_seconds } = body;
    let (lease, wait) = (Duration::from_secs(lease_seconds), Duration::from_secs(wait));
    let request = ClaimTasks { tenant: caller.tenant, queues, max, worker, lease, wait };
    let claim = async { Ok(claim_tasks(&api.app, &caller.authorization, request).await?) };
    // A server that stops hands out nothing more, and nobody waits for it.
    let claimed = tokio::select! {
        claimed = proof.holds_during(&api, claim) => claimed?,
        () = api.draining.cancelled() => Vec::new(),
    };
    let view = |Claimed { token, queue, body, checkpoint }: Claimed| TaskView {
        token: token.to_string(),
        queue,
        task: body,
        checkpoint,
        lease_seconds,
    };
    Ok(json(&TasksView { items: claimed.into_iter().map(view).collect() }))
}

/// Keeps a task for as long again as the worker may say nothing.
#[utoipa::path(post, path = "/pull/~extend", tag = "internal", operation_id = "extend_task",
    params(TenantParams), request_body = ExtendBody, responses((status = 200, body = HeldView)))]
async fn extend(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(body): JsonBody<ExtendBody>,
) -> Result<Response, Problem> {
    let lease = body.lease_seconds.map(Duration::from_secs);
    tell(&api, &caller, body.token, Word::Extend(lease)).await
}

/// Says how a task goes on. The claim is extended as well.
#[utoipa::path(post, path = "/pull/~progress", tag = "internal", operation_id = "report_task",
    params(TenantParams), request_body = ProgressBody, responses((status = 200, body = HeldView)))]
async fn progress(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(body): JsonBody<ProgressBody>,
) -> Result<Response, Problem> {
    let ProgressBody { token, progress, note, checkpoint } = body;
    // Cut to what the execution shows of it, and to what every store can keep.
    let note = note.map(|note| note.replace('\0', "\u{fffd}").chars().take(255).collect());
    tell(&api, &caller, token, Word::Progress { done: progress, note, checkpoint }).await
}

/// Ends a task with its result.
#[utoipa::path(post, path = "/pull/~complete", tag = "internal", operation_id = "complete_task",
    params(TenantParams), request_body = CompleteBody, responses((status = 200, body = HeldView)))]
async fn complete(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(body): JsonBody<CompleteBody>,
) -> Result<Response, Problem> {
    let output = body.output.as_str().to_owned();
    tell(&api, &caller, body.token, Word::Answer(Answer::Done { output })).await
}

/// Ends a task without a result.
#[utoipa::path(post, path = "/pull/~fail", tag = "internal", operation_id = "fail_task",
    params(TenantParams), request_body = FailBody, responses((status = 200, body = HeldView)))]
async fn fail(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(body): JsonBody<FailBody>,
) -> Result<Response, Problem> {
    let FailBody { token, message, code, retryable, retry_after_seconds } = body;
    let message = message.replace('\0', "\u{fffd}").chars().take(ERROR_BYTES_MAX).collect();
    let retry_after_ms = retry_after_seconds.map(|seconds| u64::from(seconds) * 1_000);
    let answer = Answer::Failed { code, message, retryable, retry_after_ms };
    tell(&api, &caller, token, Word::Answer(answer)).await
}

async fn tell(api: &Api, caller: &Caller, token: String, word: Word) -> Result<Response, Problem> {
    let request = TellOfTask { tenant: caller.tenant, token, word };
    let lease = tell_of_task(&api.app, &caller.authorization, request).await?;
    Ok(json(&HeldView { lease_seconds: lease.as_secs() }))
}
