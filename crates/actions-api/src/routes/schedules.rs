//! `…/schedules`

use actions_app::commands::fire_schedule::{Fired, backfill_schedule, fire_schedule};
use actions_app::commands::save_action::Change;
use actions_app::commands::save_schedule::{
    SaveSchedule, SavedSchedule, delete_schedule, save_schedule, switch_schedule,
};
use actions_app::queries::QueryError;
use actions_app::queries::schedules::{ShownSchedule, find_schedule, list_schedules, next_times};
use actions_domain::Timestamp;
use actions_domain::action::ActionName;
use actions_domain::event::EventType;
use actions_domain::json::Json;
use actions_domain::limits::{BODY_BYTES_MAX, NEXT_TIMES_MAX};
use actions_domain::ports::definitions::Expected;
use actions_domain::schedule::{Missed, Overlap, ScheduleName, ScheduleSpec, Target, When};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::SubsecRound;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::{JsonBody, checked, decode_raw, read, require_json};
use crate::caller::Caller;
use crate::extract::{Params, Precondition, Segments, etag};
use crate::page::{ListParams, ListQuery, PageView, json};
use crate::problem::{FieldError, Problem, SCHEDULE_INVALID};
use crate::routes::Api;
use crate::time::Time;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, replace, delete))
        .routes(routes!(next))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(fire))
        .routes(routes!(backfill))
}

/// A schedule as a person writes it. What reading it shows beyond that may be sent back, and is
/// ignored.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "nightly", "action": "report", "cron": "30 2 * * *", "timezone": "Europe/Berlin"}))]
struct ScheduleBody {
    /// Letters, digits, `_`, `-` and `.`. In a path it need not be repeated.
    name: Option<String>,
    description: Option<String>,
    /// The action that runs as a job. Either this or `event_type`.
    action: Option<String>,
    /// The type of the event that is emitted.
    event_type: Option<String>,
    /// The job's input, or the event's data.
    #[serde(default = "Json::null")]
    #[schema(value_type = Object)]
    data: Json,
    /// Minute, hour, day, month and weekday, perhaps with seconds before them. One of `cron`,
    /// `every_seconds` and `at`.
    cron: Option<String>,
    /// Whose clocks `cron` speaks of, like Europe/Berlin. UTC if it is missing.
    timezone: Option<String>,
    /// On a grid from 1970-01-01T00:00:00Z.
    every_seconds: Option<u32>,
    /// Once.
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
    /// What becomes of times that were missed: `skip`, `once` (the latest) or `all`.
    #[serde(default)]
    #[schema(value_type = String)]
    missed: Missed,
    /// Whether it fires while its last execution is unfinished: `allow` or `skip`.
    #[serde(default)]
    #[schema(value_type = String)]
    overlap: Overlap,
    is_active: Option<bool>,

    // What only we write.
    #[serde(rename = "version", default)]
    #[schema(ignore)]
    _version: Option<IgnoredAny>,
    #[serde(rename = "created_at", default)]
    #[schema(ignore)]
    _created_at: Option<IgnoredAny>,
    #[serde(rename = "updated_at", default)]
    #[schema(ignore)]
    _updated_at: Option<IgnoredAny>,
    #[serde(rename = "next_at", default)]
    #[schema(ignore)]
    _next_at: Option<IgnoredAny>,
    #[serde(rename = "last_at", default)]
    #[schema(ignore)]
    _last_at: Option<IgnoredAny>,
    #[serde(rename = "last_execution", default)]
    #[schema(ignore)]
    _last_execution: Option<IgnoredAny>,
    #[serde(rename = "last_error", default)]
    #[schema(ignore)]
    _last_error: Option<IgnoredAny>,
}

/// A schedule as it is stored, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
struct ScheduleView {
    name: String,
    description: Option<String>,
    action: Option<String>,
    event_type: Option<String>,
    #[schema(value_type = Object)]
    data: Json,
    cron: Option<String>,
    timezone: Option<String>,
    every_seconds: Option<u32>,
    at: Option<Time>,
    #[schema(value_type = String)]
    missed: Missed,
    #[schema(value_type = String)]
    overlap: Overlap,
    is_active: bool,
    /// Also the `ETag`.
    version: i64,
    created_at: Time,
    updated_at: Time,
    /// The next time at which it fires.
    next_at: Option<Time>,
    /// The last time that was fired.
    last_at: Option<Time>,
    /// The job of that time.
    last_execution: Option<Uuid>,
    /// Why the last time did not lead to anything, if it did not.
    last_error: Option<String>,
}

/// What one time has led to.
#[derive(Debug, Serialize, ToSchema)]
struct FiredView {
    at: Time,
    /// It had been fired before, and this is what became of it then.
    duplicate: bool,
    event: Option<Uuid>,
    executions: Vec<Uuid>,
}

/// Coming times.
#[derive(Debug, Serialize, ToSchema)]
struct TimesView {
    times: Vec<Time>,
}

/// What a backfill has led to, oldest first.
#[derive(Debug, Serialize, ToSchema)]
struct BackfilledView {
    fired: Vec<FiredView>,
}

/// Which times to fire: from `from` on, and before `to`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BackfillBody {
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
}

/// Which schedule.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct SchedulePath {
    /// The schedule's name.
    schedule: String,
}

/// How many times to show.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct NextParams {
    /// 1 to 100, 5 if it is missing.
    #[param(minimum = 1, maximum = 100)]
    count: Option<usize>,
}

fn invalid(pointer: &str, message: impl ToString) -> Problem {
    let message = message.to_string();
    Problem::new(&SCHEDULE_INVALID, &message).with_error(FieldError::new(pointer, message))
}

impl ScheduleBody {
    /// With the name that the path gives, if it gives one.
    fn into_spec(self, named: Option<&str>) -> Result<ScheduleSpec, Problem> {
        let name = match (self.name.as_deref(), named) {
            (Some(name), Some(named)) if name != named => {
                return Err(invalid("/name", format!("the path says {named:?}")));
            }
            (Some(name), _) | (None, Some(name)) => name,
            (None, None) => return Err(invalid("/name", "a schedule needs a name")),
        };
        let name = ScheduleName::parse(name).map_err(|error| invalid("/name", error))?;
        let target = match (self.action, self.event_type) {
            (Some(action), None) => Target::Action(
                ActionName::parse(&action).map_err(|error| invalid("/action", error))?,
            ),
            (None, Some(event_type)) => Target::Event(
                EventType::parse(&event_type).map_err(|error| invalid("/event_type", error))?,
            ),
            (Some(_), Some(_)) => {
                return Err(invalid("/event_type", "either action or event_type, not both"));
            }
            (None, None) => return Err(invalid("", "it needs an action or an event_type")),
        };
        let timezone = self.timezone;
        let when = match (self.cron, self.every_seconds, self.at) {
            (Some(text), None, None) => {
                let timezone = timezone.unwrap_or_else(|| "UTC".to_owned());
                When::Cron { text, timezone }
            }
            (None, ..) if timezone.is_some() => {
                return Err(invalid("/timezone", "only cron speaks of a time zone"));
            }
            (None, Some(every), None) => When::EverySeconds(every),
            // Stores and answers keep microseconds.
            (None, None, Some(at)) => When::At(at.trunc_subsecs(6)),
            _ => return Err(invalid("", "it needs exactly one of cron, every_seconds and at")),
        };
        Ok(ScheduleSpec {
            name,
            description: self.description,
            target,
            data: self.data,
            when,
            missed: self.missed,
            overlap: self.overlap,
            is_active: self.is_active.unwrap_or(true),
        })
    }
}

impl From<ShownSchedule> for ScheduleView {
    fn from(shown: ShownSchedule) -> Self {
        let ShownSchedule { schedule, next_at } = shown;
        let (spec, progress) = (schedule.spec, schedule.progress);
        let (action, event_type) = match spec.target {
            Target::Action(action) => (Some(action.to_string()), None),
            Target::Event(event_type) => (None, Some(event_type.to_string())),
        };
        let (cron, timezone, every_seconds, at) = match spec.when {
            When::Cron { text, timezone } => (Some(text), Some(timezone), None, None),
            When::EverySeconds(every) => (None, None, Some(every), None),
            When::At(at) => (None, None, None, Some(at.into())),
        };
        Self {
            name: spec.name.to_string(),
            description: spec.description,
            action,
            event_type,
            data: spec.data,
            cron,
            timezone,
            every_seconds,
            at,
            missed: spec.missed,
            overlap: spec.overlap,
            is_active: spec.is_active,
            version: schedule.version,
            created_at: schedule.created_at.into(),
            updated_at: schedule.updated_at.into(),
            next_at: next_at.map(Time),
            last_at: progress.last_at.map(Time),
            last_execution: progress.last_execution.map(|id| id.0),
            last_error: progress.last_error,
        }
    }
}

impl From<Fired> for FiredView {
    fn from(fired: Fired) -> Self {
        Self {
            at: fired.at.into(),
            duplicate: fired.duplicate,
            event: fired.event.map(|id| id.0),
            executions: fired.executions.into_iter().map(|id| id.0).collect(),
        }
    }
}

/// Lists schedules by name, with their next and last times.
#[utoipa::path(get, path = "/schedules", tag = "schedules", operation_id = "list_schedules",
    params(ListParams), responses((status = 200, body = PageView<ScheduleView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, Problem> {
    query.check_unfiltered()?;
    let after = query.place(caller.slug())?;
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let page = list_schedules(&api.app, authorization, tenant, after, query.limit).await?;
    let items = page.items.into_iter().map(ScheduleView::from).collect();
    query.answer(caller.slug(), items, page.next)
}

/// Creates a schedule. Its times count from now on.
#[utoipa::path(post, path = "/schedules", tag = "schedules", operation_id = "create_schedule",
    request_body = ScheduleBody, responses((status = 201, body = ScheduleView)))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let spec = body_of(&api, request).await?.into_spec(None)?;
    save(&api, &caller, spec, Expected::Absent).await
}

/// Shows a schedule.
#[utoipa::path(get, path = "/schedules/{schedule}", tag = "schedules",
    operation_id = "get_schedule", params(SchedulePath),
    responses((status = 200, body = ScheduleView)))]
async fn show(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<SchedulePath>,
) -> Result<Response, Problem> {
    let found = find(&api, &caller, &path.schedule).await?;
    Ok((etag(found.schedule.version), json(&ScheduleView::from(found))).into_response())
}

/// Creates or replaces a schedule. What exists is replaced by somebody who knows its version
/// (`If-Match`). New times count from now on.
#[utoipa::path(put, path = "/schedules/{schedule}", tag = "schedules",
    operation_id = "replace_schedule",
    params(SchedulePath, ("If-Match" = Option<String>, Header), ("If-None-Match" = Option<String>, Header)),
    request_body = ScheduleBody,
    responses((status = 200, body = ScheduleView), (status = 201, body = ScheduleView)))]
async fn replace(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<SchedulePath>,
    precondition: Precondition,
    request: Request,
) -> Result<Response, Problem> {
    let current = match find(&api, &caller, &path.schedule).await {
        Ok(found) => Some(found.schedule.version),
        Err(QueryError::NotFound { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let expected = precondition.expected(current)?;
    let spec = body_of(&api, request).await?.into_spec(Some(&path.schedule))?;
    save(&api, &caller, spec, expected).await
}

/// Deletes a schedule. What it has started goes on.
#[utoipa::path(delete, path = "/schedules/{schedule}", tag = "schedules",
    operation_id = "delete_schedule",
    params(SchedulePath, ("If-Match" = Option<String>, Header)), responses((status = 204)))]
async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<SchedulePath>,
    precondition: Precondition,
) -> Result<StatusCode, Problem> {
    let found = find(&api, &caller, &path.schedule).await?.schedule;
    let expected = precondition.expected(Some(found.version))?;
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    delete_schedule(&api.app, authorization, tenant, &found.spec.name, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Shows the coming times of a schedule, also of one that is paused.
#[utoipa::path(get, path = "/schedules/{schedule}/next", tag = "schedules",
    operation_id = "next_schedule_times", params(SchedulePath, NextParams),
    responses((status = 200, body = TimesView)))]
async fn next(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<SchedulePath>,
    Params(params): Params<NextParams>,
) -> Result<Response, Problem> {
    let count = params.count.unwrap_or(5);
    if !(1..=NEXT_TIMES_MAX).contains(&count) {
        return Err(Problem::parameter("count", format!("1 to {NEXT_TIMES_MAX}")));
    }
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let times = next_times(&api.app, authorization, tenant, &path.schedule, count).await?;
    Ok(json(&TimesView { times: times.into_iter().map(Time).collect() }))
}

/// Lets a schedule fire nothing more until it is resumed.
#[utoipa::path(post, path = "/schedules/{schedule}/~pause", tag = "schedules",
    operation_id = "pause_schedule", params(SchedulePath),
    responses((status = 200, body = ScheduleView)))]
async fn pause(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<SchedulePath>,
) -> Result<Response, Problem> {
    switch(&api, &caller, &path.schedule, false).await
}

/// Lets a paused schedule go on. What would have been meanwhile is not made up for.
#[utoipa::path(post, path = "/schedules/{schedule}/~resume", tag = "schedules",
    operation_id = "resume_schedule", params(SchedulePath),
    responses((status = 200, body = ScheduleView)))]
async fn resume(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<SchedulePath>,
) -> Result<Response, Problem> {
    switch(&api, &caller, &path.schedule, true).await
}

/// Starts what a schedule asks for once, now, beside its times.
#[utoipa::path(post, path = "/schedules/{schedule}/~fire", tag = "schedules",
    operation_id = "fire_schedule", params(SchedulePath),
    responses((status = 202, body = FiredView)))]
async fn fire(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<SchedulePath>,
) -> Result<Response, Problem> {
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let fired = fire_schedule(&api.app, authorization, tenant, &path.schedule).await?;
    Ok((StatusCode::ACCEPTED, json(&FiredView::from(fired))).into_response())
}

/// Starts what a schedule asks for at each of its times from `from` and before `to`. What was
/// fired less than a day ago is not fired again.
#[utoipa::path(post, path = "/schedules/{schedule}/~backfill", tag = "schedules",
    operation_id = "backfill_schedule", params(SchedulePath), request_body = BackfillBody,
    responses((status = 202, body = BackfilledView)))]
async fn backfill(
    State(api): State<Api>,
    caller: Caller,
    Segments(path): Segments<SchedulePath>,
    JsonBody(body): JsonBody<BackfillBody>,
) -> Result<Response, Problem> {
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let BackfillBody { from, to } = body;
    let fired =
        backfill_schedule(&api.app, authorization, tenant, &path.schedule, from, to).await?;
    let fired = fired.into_iter().map(FiredView::from).collect();
    Ok((StatusCode::ACCEPTED, json(&BackfilledView { fired })).into_response())
}

async fn find(api: &Api, caller: &Caller, name: &str) -> Result<ShownSchedule, QueryError> {
    find_schedule(&api.app, &caller.authorization, caller.tenant, name).await
}

/// Data is kept as it was written, so the body is read as text.
async fn body_of(api: &Api, request: Request) -> Result<ScheduleBody, Problem> {
    require_json(request.headers())?;
    let bytes = read(request, api, BODY_BYTES_MAX).await?;
    decode_raw(checked(&bytes)?.as_str())
}

async fn save(
    api: &Api,
    caller: &Caller,
    spec: ScheduleSpec,
    expected: Expected,
) -> Result<Response, Problem> {
    let request = SaveSchedule { tenant: caller.tenant, spec, expected };
    let saved = save_schedule(&api.app, &caller.authorization, request).await?;
    Ok(saved_answer(api, caller, saved))
}

async fn switch(api: &Api, caller: &Caller, name: &str, on: bool) -> Result<Response, Problem> {
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let saved = switch_schedule(&api.app, authorization, tenant, name, on).await?;
    Ok(saved_answer(api, caller, saved))
}

fn saved_answer(api: &Api, caller: &Caller, saved: SavedSchedule) -> Response {
    let tag = etag(saved.schedule.version);
    let location = caller.href(&format!("schedules/{}", saved.schedule.spec.name));
    let view = ScheduleView::from(ShownSchedule::of(&api.app, saved.schedule));
    if saved.change != Change::Created {
        return (tag, json(&view)).into_response();
    }
    let mut response = (StatusCode::CREATED, tag, json(&view)).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
