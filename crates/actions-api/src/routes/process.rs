//! `/`, `/healthz`, `/readyz`, `/metrics`, `/version`, `/openapi.json`, `/v1/limits`, `/docs/errors`:
//! about the process, not about a tenant.

use std::time::Duration;

use actions_domain::authorization::Permission;
use actions_domain::id::TenantId;
use actions_domain::limits;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Operator;
use crate::extract::{Params, Segments};
use crate::page::json;
use crate::problem::{AUTH_ROLE, DRAINING, NOT_READY, Problem};
use crate::routes::Api;

/// What every code means. Problems lead here.
const ERRORS: &str = include_str!("../../../../docs/errors.md");
/// How long the store may take to say that it is there.
const STORE_ANSWER_MAX: Duration = Duration::from_secs(2);
const RETRY_PAUSE: Duration = Duration::from_secs(2);

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(index))
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(show_metrics))
        .routes(routes!(version))
        .routes(routes!(openapi))
        .routes(routes!(show_limits))
        .routes(routes!(show_errors))
        .routes(routes!(show_error))
}

/// Whether more is told.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct VerboseParams {
    /// `?verbose` lists what was looked at.
    verbose: Option<String>,
}

/// The process is alive.
#[derive(Debug, Serialize, ToSchema)]
struct AliveView {
    status: &'static str,
}

/// The process can take and run work.
#[derive(Debug, Serialize, ToSchema)]
struct ReadyView {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Vec<ReadyCheckView>>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ReadyCheckView {
    check: &'static str,
    detail: String,
}

/// What is running.
#[derive(Debug, Serialize, ToSchema)]
struct VersionView {
    name: &'static str,
    version: &'static str,
}

/// What is running, and where to go on from here.
#[derive(Debug, Serialize, ToSchema)]
struct IndexView {
    name: &'static str,
    version: &'static str,
    links: LinksView,
}

/// Paths of this server. In braces stands what the caller puts in.
#[derive(Debug, Serialize, ToSchema)]
struct LinksView {
    events: &'static str,
    actions: &'static str,
    executions: &'static str,
    dead_letters: &'static str,
    tenants: &'static str,
    limits: &'static str,
    openapi: &'static str,
    errors: &'static str,
    alive: &'static str,
    ready: &'static str,
    metrics: &'static str,
}

const LINKS: LinksView = LinksView {
    events: "/v1/tenants/{tenant}/events",
    actions: "/v1/tenants/{tenant}/actions",
    executions: "/v1/tenants/{tenant}/executions",
    dead_letters: "/v1/tenants/{tenant}/dead-letters",
    tenants: "/v1/admin/tenants",
    limits: "/v1/limits",
    openapi: "/openapi.json",
    errors: "/docs/errors",
    alive: "/healthz",
    ready: "/readyz",
    metrics: "/metrics",
};

/// Every limit that a caller can hit. Sizes are bytes, times are seconds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LimitsView {
    event_bytes: usize,
    batch_events: usize,
    batch_bytes: usize,
    json_depth: usize,
    event_type_bytes: usize,
    pattern_bytes: usize,
    event_attribute_bytes: usize,
    regex_compiled_bytes: usize,
    cel_bytes: usize,
    cel_depth: usize,
    condition_nodes: usize,
    chain_depth: u8,
    fan_out: usize,
    name_bytes: usize,
    handler_id_bytes: usize,
    idempotency_key_bytes: usize,
    dedupe_window_seconds: u64,
    timeout_default_seconds: u64,
    timeout_max_seconds: u64,
    retries: u32,
    retry_delay_seconds: u64,
    max_concurrent_executions: u32,
    rate_limit: u32,
    /// Of `unique` and `debounce`: the longest period and the longest wait.
    unique_seconds: u64,
    /// Of `batch`: the largest `max_size`, and bytes of what gathers in one execution.
    gathered: u32,
    gathered_bytes: usize,
    /// Of `batch`: the longest `max_wait_seconds`.
    gathered_wait_seconds: u64,
    weight: u32,
    /// Of one tenant, paused one by one.
    paused_actions: usize,
    /// Of each list of where a tenant may connect to, and bytes of one entry.
    egress_places: usize,
    egress_place_bytes: usize,
    /// Of a pause.
    reason_bytes: usize,
    keep_days_min: u32,
    /// Days that a tenant may keep its history or its dead letters.
    retention_days: u32,
    output_bytes: usize,
    /// Of a running attempt.
    checkpoint_bytes: usize,
    progress_note_bytes: usize,
    /// Of remote workers.
    pull_queues: usize,
    pull_claim: u32,
    pull_lease_seconds: u64,
    error_bytes: usize,
    error_details_bytes: usize,
    key_bytes: usize,
    key_token_bytes: usize,
    key_tokens: usize,
    slug_bytes: usize,
    page_default: u32,
    page_max: u32,
    wait_seconds: u64,
    schedule_ahead_seconds: u64,
    config_bytes: usize,
    /// Of one tenant, like those below, which quotas may make fewer.
    actions: usize,
    subscriptions: usize,
    schedules: usize,
    /// Of one tenant, while they hold.
    api_keys: usize,
    /// Of one API key, while they hold.
    api_key_tokens: usize,
    api_key_lifetime_seconds: u64,
    /// How long old tokens may hold after a rotation.
    api_key_overlap_seconds: u64,
    api_key_overlap_default_seconds: u64,
    /// Of one tenant, still listed when they hold no more.
    api_keys_ended: usize,
    /// A revocation holds on every node within this time.
    api_key_trust_seconds: u64,
    /// Of one tenant.
    accounts: usize,
    account_name_bytes: usize,
    password_chars_min: usize,
    password_bytes: usize,
    /// Passwords that a process hashes at once, and that wait for it. More logins are told to come
    /// again.
    password_hashes: usize,
    password_waits: usize,
    login_bytes: usize,
    /// Sessions of one account that hold. One more ends the oldest.
    account_sessions: usize,
    session_seconds: u64,
    /// Unused for so long, a session holds no more.
    session_idle_seconds: u64,
    /// Wrong tokens and passwords of one address, and passwords of one account from there, that cost
    /// no time.
    guesses_free: u32,
    /// Right logins to one account; beyond, one a minute.
    account_logins_free: u32,
    account_guesses_free: u32,
    /// Wrong passwords of one account, from wherever, after which each address has one free.
    account_guesses_hot: u32,
    guess_wait_seconds: u64,
    /// Proxies of one request that are looked at.
    forwarded_hops: usize,
    /// Of a policy service: how long it may take, how long its yes counts, bytes of its answer, and
    /// questions that a process asks at once.
    policy_answer_seconds: u64,
    policy_trust_seconds: u64,
    policy_answer_bytes: usize,
    policy_questions: usize,
    /// Of a token of the identity provider.
    identity_token_bytes: usize,
    /// Unknown API keys that a node asks its store about, at once and then in a second.
    api_key_asks: u32,
    api_key_asks_per_second: u32,
    /// Of one tenant.
    secrets: usize,
    secret_bytes: usize,
    /// How long the version before may be used after a new one was put.
    secret_overlap_seconds: u64,
    secret_overlap_default_seconds: u64,
    /// A new version is used on every node within this time.
    secret_trust_seconds: u64,
    /// Shorter secrets are not masked in what executions leave behind.
    secret_masked_bytes_min: usize,
    /// Data keys that one request wraps anew.
    secret_rewraps: u32,
    /// Of one process.
    master_keys: usize,
    master_key_id_bytes: usize,
    schedule_data_bytes: usize,
    schedule_description_bytes: usize,
    cron_bytes: usize,
    timezone_bytes: usize,
    every_seconds_min: u64,
    every_seconds_max: u64,
    /// Times that a schedule makes up for at once, and that one backfill may ask for.
    catch_up: usize,
    next_times: usize,
    attributes_bytes: usize,
    /// `tracestate` that is kept and passed on.
    tracestate_bytes: usize,
    extension_name_bytes: usize,
    members: usize,
    body_bytes: usize,
    bulk_jobs: usize,
    bulk_bytes: usize,
    /// Executions or dead letters of one bulk.
    bulk_items: u32,
    /// Of one bulk, named one by one.
    bulk_ids: usize,
    /// Items of a bulk in a second.
    bulk_rate: u32,
    /// Bulks of a tenant that have not ended.
    bulks_open: usize,
    definitions_per_call: usize,
    definitions_bytes: usize,
    dead_letters_per_call: u32,
    audit_state_bytes: usize,
    audit_export: u32,
    audit_export_bytes: usize,
    audit_verify: u32,
    filter_bytes: usize,
    filter_terms: usize,
    window_seconds: u64,
    condition_values: usize,
    cel_tree_depth: usize,
    cel_items: usize,
    cel_copy_bytes: usize,
    cel_read_bytes: usize,
    listed_bytes: usize,
    wait_executions: usize,
    request_seconds: u64,
    /// Of a request: its address and its headers.
    head_bytes: usize,
    body_arrival_seconds: u64,
    /// Of all that waits to be stored. Callers beyond are asked to come back.
    ingress_bytes: usize,
    connections: u32,
    connection_quiet_seconds: u64,
    /// What quotas of a tenant can be set to.
    events_per_second: u32,
    waiting_executions: u64,
    stored_bytes: u64,
    /// Days of usage that one request may ask for.
    usage_days: u32,
    /// Of one workflow.
    workflow_steps: usize,
    /// Ways between its steps.
    workflow_edges: usize,
    /// `max_total_retries`.
    workflow_retries: u32,
    workflow_bytes: usize,
    step_name_bytes: usize,
    /// Workflows that start one another.
    workflow_depth: u8,
    /// Rounds of one step that is repeated.
    workflow_rounds: u32,
    /// Lists and objects of a workflow's file inside one another.
    workflow_nesting: usize,
    /// Of one run's journal. Beyond, nothing more begins.
    run_entries: u32,
    run_bytes: u64,
    /// From here on a warning is noted.
    run_entries_warn: u32,
    run_bytes_warn: u64,
    /// Steps and items of one run that are under way at once.
    run_open: usize,
    /// Signals of one run that no step has taken.
    run_signals: usize,
    /// Of an output or a signal.
    run_payload_bytes: usize,
    map_items: usize,
}

pub(crate) fn limits_view() -> LimitsView {
    LimitsView {
        event_bytes: limits::EVENT_BYTES_MAX,
        batch_events: limits::BATCH_EVENTS_MAX,
        batch_bytes: limits::BATCH_BYTES_MAX,
        json_depth: limits::JSON_DEPTH_MAX,
        event_type_bytes: limits::EVENT_TYPE_BYTES_MAX,
        pattern_bytes: limits::PATTERN_BYTES_MAX,
        event_attribute_bytes: limits::EVENT_ATTRIBUTE_BYTES_MAX,
        regex_compiled_bytes: limits::REGEX_COMPILED_BYTES_MAX,
        cel_bytes: limits::CEL_BYTES_MAX,
        cel_depth: limits::CEL_DEPTH_MAX,
        condition_nodes: limits::CONDITION_NODES_MAX,
        chain_depth: limits::CHAIN_DEPTH_MAX,
        fan_out: limits::FAN_OUT_MAX,
        name_bytes: limits::NAME_BYTES_MAX,
        handler_id_bytes: limits::HANDLER_ID_BYTES_MAX,
        idempotency_key_bytes: limits::IDEMPOTENCY_KEY_BYTES_MAX,
        dedupe_window_seconds: limits::DEDUPE_WINDOW.as_secs(),
        timeout_default_seconds: limits::TIMEOUT_DEFAULT.as_secs(),
        timeout_max_seconds: limits::TIMEOUT_MAX.as_secs(),
        retries: limits::RETRIES_MAX,
        retry_delay_seconds: limits::RETRY_DELAY_MAX.as_secs(),
        max_concurrent_executions: limits::CONCURRENCY_MAX,
        rate_limit: limits::RATE_MAX,
        unique_seconds: limits::UNIQUE_MAX.as_secs(),
        gathered: limits::GATHERED_MAX,
        gathered_bytes: limits::GATHERED_BYTES_MAX,
        gathered_wait_seconds: limits::GATHERED_WAIT_MAX.as_secs(),
        weight: limits::WEIGHT_MAX,
        paused_actions: limits::PAUSED_ACTIONS_MAX,
        egress_places: limits::REACH_PLACES_MAX,
        egress_place_bytes: limits::REACH_PLACE_BYTES_MAX,
        reason_bytes: limits::REASON_BYTES_MAX,
        keep_days_min: limits::KEEP_DAYS_MIN,
        retention_days: limits::RETENTION_DAYS_MAX,
        output_bytes: limits::OUTPUT_BYTES_MAX,
        checkpoint_bytes: limits::CHECKPOINT_BYTES_MAX,
        progress_note_bytes: limits::PROGRESS_NOTE_BYTES_MAX,
        pull_queues: limits::PULL_QUEUES_MAX,
        pull_claim: limits::PULL_CLAIM_MAX,
        pull_lease_seconds: limits::PULL_LEASE_MAX.as_secs(),
        error_bytes: limits::ERROR_BYTES_MAX,
        error_details_bytes: limits::ERROR_DETAILS_BYTES_MAX,
        key_bytes: limits::KEY_BYTES_MAX,
        key_token_bytes: limits::KEY_TOKEN_BYTES_MAX,
        key_tokens: limits::KEY_TOKENS_MAX,
        slug_bytes: limits::SLUG_BYTES_MAX,
        page_default: limits::PAGE_DEFAULT,
        page_max: limits::PAGE_MAX,
        wait_seconds: limits::WAIT_MAX.as_secs(),
        schedule_ahead_seconds: limits::SCHEDULE_AHEAD_MAX.as_secs(),
        config_bytes: limits::CONFIG_BYTES_MAX,
        actions: limits::ACTIONS_MAX,
        subscriptions: limits::SUBSCRIPTIONS_MAX,
        schedules: limits::SCHEDULES_MAX,
        api_keys: limits::API_KEYS_MAX,
        api_key_tokens: limits::API_KEY_TOKENS_MAX,
        api_key_lifetime_seconds: limits::API_KEY_LIFETIME_MAX.as_secs(),
        api_key_overlap_seconds: limits::API_KEY_OVERLAP_MAX.as_secs(),
        api_key_overlap_default_seconds: limits::API_KEY_OVERLAP_DEFAULT.as_secs(),
        api_keys_ended: limits::API_KEYS_ENDED_MAX,
        api_key_trust_seconds: limits::API_KEY_TRUST_MAX.as_secs(),
        accounts: limits::ACCOUNTS_MAX,
        account_name_bytes: limits::ACCOUNT_NAME_BYTES_MAX,
        password_chars_min: limits::PASSWORD_CHARS_MIN,
        password_bytes: limits::PASSWORD_BYTES_MAX,
        password_hashes: limits::PASSWORD_HASHES_MAX,
        password_waits: limits::PASSWORD_WAITS_MAX,
        login_bytes: limits::LOGIN_BYTES_MAX,
        account_sessions: limits::ACCOUNT_SESSIONS_MAX,
        session_seconds: limits::SESSION_LIFETIME.as_secs(),
        session_idle_seconds: limits::SESSION_IDLE_MAX.as_secs(),
        guesses_free: limits::GUESSES_FREE,
        account_logins_free: limits::ACCOUNT_LOGINS_FREE,
        account_guesses_free: limits::ACCOUNT_GUESSES_FREE,
        account_guesses_hot: limits::ACCOUNT_GUESSES_HOT,
        guess_wait_seconds: limits::GUESS_WAIT_MAX.as_secs(),
        forwarded_hops: limits::FORWARDED_HOPS_MAX,
        policy_answer_seconds: limits::POLICY_ANSWER_MAX.as_secs(),
        policy_trust_seconds: limits::POLICY_TRUST_MAX.as_secs(),
        policy_answer_bytes: limits::POLICY_ANSWER_BYTES_MAX,
        policy_questions: limits::POLICY_QUESTIONS_MAX,
        identity_token_bytes: limits::IDENTITY_TOKEN_BYTES_MAX,
        api_key_asks: limits::API_KEY_ASKS_MAX,
        api_key_asks_per_second: limits::API_KEY_ASKS_PER_SECOND,
        secrets: limits::SECRETS_MAX,
        secret_bytes: limits::SECRET_BYTES_MAX,
        secret_overlap_seconds: limits::SECRET_OVERLAP_MAX.as_secs(),
        secret_overlap_default_seconds: limits::SECRET_OVERLAP_DEFAULT.as_secs(),
        secret_trust_seconds: limits::SECRET_TRUST_MAX.as_secs(),
        secret_masked_bytes_min: limits::SECRET_MASKED_BYTES_MIN,
        secret_rewraps: limits::SECRET_REWRAPS_MAX,
        master_keys: limits::MASTER_KEYS_MAX,
        master_key_id_bytes: limits::MASTER_KEY_ID_BYTES_MAX,
        schedule_data_bytes: limits::SCHEDULE_DATA_BYTES_MAX,
        schedule_description_bytes: limits::SCHEDULE_DESCRIPTION_BYTES_MAX,
        cron_bytes: limits::CRON_BYTES_MAX,
        timezone_bytes: limits::TIMEZONE_BYTES_MAX,
        every_seconds_min: limits::EVERY_MIN.as_secs(),
        every_seconds_max: limits::EVERY_MAX.as_secs(),
        catch_up: limits::CATCH_UP_MAX,
        next_times: limits::NEXT_TIMES_MAX,
        attributes_bytes: limits::ATTRIBUTES_BYTES_MAX,
        tracestate_bytes: limits::TRACESTATE_BYTES_MAX,
        extension_name_bytes: limits::EXTENSION_NAME_BYTES_MAX,
        members: limits::MEMBERS_MAX,
        body_bytes: limits::BODY_BYTES_MAX,
        bulk_jobs: limits::BULK_JOBS_MAX,
        bulk_bytes: limits::BULK_BYTES_MAX,
        bulk_items: limits::BULK_ITEMS_MAX,
        bulk_ids: limits::BULK_IDS_MAX,
        bulk_rate: limits::BULK_RATE_MAX,
        bulks_open: limits::BULKS_OPEN_MAX,
        definitions_per_call: limits::DEFINITIONS_PER_CALL_MAX,
        definitions_bytes: limits::DEFINITIONS_BYTES_MAX,
        dead_letters_per_call: limits::DEAD_LETTERS_PER_CALL_MAX,
        audit_state_bytes: limits::AUDIT_STATE_BYTES_MAX,
        audit_export: limits::AUDIT_EXPORT_MAX,
        audit_export_bytes: limits::AUDIT_EXPORT_BYTES_MAX,
        audit_verify: limits::AUDIT_VERIFY_MAX,
        filter_bytes: limits::FILTER_BYTES_MAX,
        filter_terms: limits::FILTER_TERMS_MAX,
        window_seconds: limits::WINDOW_MAX.as_secs(),
        condition_values: limits::CONDITION_VALUES_MAX,
        cel_tree_depth: limits::CEL_TREE_DEPTH_MAX,
        cel_items: limits::CEL_ITEMS_MAX,
        cel_copy_bytes: limits::CEL_COPY_BYTES_MAX,
        cel_read_bytes: limits::CEL_READ_BYTES_MAX,
        listed_bytes: limits::LISTED_BYTES_MAX,
        wait_executions: limits::WAIT_EXECUTIONS_MAX,
        request_seconds: limits::REQUEST_MAX.as_secs(),
        head_bytes: limits::HEAD_BYTES_MAX,
        body_arrival_seconds: limits::BODY_ARRIVAL_MAX.as_secs(),
        ingress_bytes: limits::INGRESS_BYTES_MAX,
        connections: limits::CONNECTIONS_MAX,
        connection_quiet_seconds: limits::CONNECTION_QUIET_MAX.as_secs(),
        events_per_second: limits::EVENTS_PER_SECOND_MAX,
        waiting_executions: limits::WAITING_EXECUTIONS_MAX,
        stored_bytes: limits::STORED_BYTES_MAX,
        usage_days: limits::USAGE_DAYS_MAX,
        workflow_steps: limits::FLOW_STEPS_MAX,
        workflow_edges: limits::FLOW_EDGES_MAX,
        workflow_retries: limits::FLOW_RETRIES_MAX,
        workflow_bytes: limits::FLOW_BYTES_MAX,
        step_name_bytes: limits::STEP_NAME_BYTES_MAX,
        workflow_depth: limits::FLOW_DEPTH_MAX,
        workflow_rounds: limits::FLOW_ROUNDS_MAX,
        workflow_nesting: limits::FLOW_NESTING_MAX,
        run_entries: limits::RUN_ENTRIES_MAX,
        run_bytes: limits::RUN_BYTES_MAX,
        run_entries_warn: limits::RUN_ENTRIES_WARN,
        run_bytes_warn: limits::RUN_BYTES_WARN,
        run_open: limits::RUN_OPEN_MAX,
        run_signals: limits::RUN_SIGNALS_MAX,
        run_payload_bytes: limits::RUN_PAYLOAD_BYTES_MAX,
        map_items: limits::MAP_ITEMS_MAX,
    }
}

/// Says what this is, and where to go on.
#[utoipa::path(get, path = "/", tag = "process", operation_id = "get_index",
    responses((status = 200, body = IndexView)))]
async fn index() -> Response {
    json(&IndexView { name: "actions", version: env!("CARGO_PKG_VERSION"), links: LINKS })
}

/// Says that the process is alive. Asks nothing else.
#[utoipa::path(get, path = "/healthz", tag = "process", operation_id = "get_health",
    responses((status = 200, body = AliveView)))]
async fn healthz() -> Response {
    json(&AliveView { status: "alive" })
}

/// Says whether the process can take and run work.
#[utoipa::path(get, path = "/readyz", tag = "process", operation_id = "get_readiness",
    params(VerboseParams), responses((status = 200, body = ReadyView)))]
async fn readyz(
    State(api): State<Api>,
    Params(params): Params<VerboseParams>,
) -> Result<Response, Problem> {
    if api.draining.is_cancelled() {
        let problem = Problem::new(&DRAINING, "it finishes what runs and takes nothing new");
        return Err(problem.with_retry_after(RETRY_PAUSE));
    }
    let node = api.app.live.node();
    if api.has_node && node.is_none() {
        let problem = Problem::new(&NOT_READY, "its node has not joined yet");
        return Err(problem.with_retry_after(RETRY_PAUSE));
    }
    let store_time = tokio::select! {
        answer = api.app.ports.store.now() => answer?,
        () = api.app.ports.clock.sleep(STORE_ANSWER_MAX) => {
            let problem = Problem::new(&NOT_READY, "the store does not answer in time");
            return Err(problem.with_retry_after(RETRY_PAUSE));
        }
    };
    let checks = params.verbose.map(|_| {
        let difference = (api.app.ports.clock.now() - store_time).num_milliseconds();
        let parts = api.app.live.parts().len();
        vec![
            ReadyCheckView {
                check: "store",
                detail: format!("answers; its clock differs by {difference} ms"),
            },
            ReadyCheckView {
                check: "node",
                detail: match node {
                    Some(node) => format!("node {node} owns {parts} partitions"),
                    None => "none runs in this process".to_owned(),
                },
            },
            ReadyCheckView {
                check: "tenants",
                detail: format!("{} are known", api.app.catalogue.list().len()),
            },
        ]
    });
    Ok(json(&ReadyView { status: "ready", checks }))
}

/// Shows the process's metrics in the format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "process", operation_id = "get_metrics",
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn show_metrics(
    State(api): State<Api>,
    Operator(caller): Operator,
) -> Result<Response, Problem> {
    // They speak of all tenants.
    if caller.require(Permission::ReadMetrics, TenantId::ADMIN).is_err() {
        let detail = "these figures are of all tenants; use an API key of the tenant admin, a viewer's is enough";
        return Err(Problem::new(&AUTH_ROLE, detail));
    }
    api.app.require(&caller, Permission::ReadMetrics, TenantId::ADMIN).await?;
    let media = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((media, api.metrics.render()).into_response())
}

/// Says what is running.
#[utoipa::path(get, path = "/version", tag = "process", operation_id = "get_version",
    responses((status = 200, body = VersionView)))]
async fn version() -> Response {
    json(&VersionView { name: "actions", version: env!("CARGO_PKG_VERSION") })
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "process", operation_id = "get_openapi",
    responses((status = 200, body = Object)))]
async fn openapi(State(api): State<Api>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], api.openapi.to_string()).into_response()
}

/// Publishes every limit that a caller can hit.
#[utoipa::path(get, path = "/v1/limits", tag = "process", operation_id = "get_limits",
    responses((status = 200, body = LimitsView)))]
async fn show_limits() -> Response {
    json(&limits_view())
}

/// Explains all codes of problems and faults.
#[utoipa::path(get, path = "/docs/errors", tag = "process", operation_id = "list_errors",
    responses((status = 200, body = String, content_type = "text/markdown")))]
async fn show_errors() -> Response {
    markdown(ERRORS.to_owned())
}

/// Which code.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct CodePath {
    /// Of a problem or a fault.
    code: String,
}

/// Explains one code. Some are both a problem's and a fault's.
#[utoipa::path(get, path = "/docs/errors/{code}", tag = "process", operation_id = "get_error",
    params(CodePath),
    responses((status = 200, body = String, content_type = "text/markdown")))]
async fn show_error(Segments(path): Segments<CodePath>) -> Result<Response, Problem> {
    let row = format!("| `{}` |", path.code);
    let (mut title, mut found) = ("", String::new());
    let mut head = Vec::new();
    for line in ERRORS.lines() {
        match line {
            _ if line.starts_with("## ") => (title, head) = (line, Vec::new()),
            _ if line.starts_with('|') && head.len() < 2 => head.push(line),
            _ if line.starts_with(&row) => {
                found.push_str(&format!("{title}\n\n{}\n{line}\n\n", head.join("\n")));
            }
            _ => {}
        }
    }
    if found.is_empty() { Err(Problem::not_found("code")) } else { Ok(markdown(found)) }
}

fn markdown(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], text).into_response()
}
