//! `…/audit`: who did what.

use actions_app::queries::audit::{AuditList, export_audit, list_audit, verify_audit};
use actions_domain::audit::{Broken, Entry, Head};
use actions_domain::json::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::extract::Params;
use crate::page::{ListParams, ListQuery, PageView, json};
use crate::problem::Problem;
use crate::routes::Api;
use crate::time::Time;

/// What the store notes as the newest entry.
const HEAD: &str = "actions-audit-head";
/// Heads that one check may compare with.
const NOTED_MAX: usize = 100;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(export)).routes(routes!(verify))
}

/// One thing that somebody did.
#[derive(Debug, Serialize, ToSchema)]
struct AuditEntryView {
    /// Its place in the stream, from 1, without gaps.
    seq: i64,
    at: Time,
    /// The number of the tenant whose stream it is.
    stream: i32,
    #[schema(examples("key:deployer"))]
    actor: String,
    /// `bootstrap_token`, `api_key`, `local_dev`, `stream`, `engine`, `command_line` or `library`.
    actor_kind: String,
    /// Of an API key.
    actor_id: Option<String>,
    role: String,
    /// `http`, `stream`, `engine`, `command_line` or `library`.
    ingress: String,
    request_id: String,
    #[schema(examples("action.updated"))]
    act: String,
    #[schema(examples("action:ship"))]
    subject: String,
    /// The state before, without secrets. Nothing where there was none.
    #[schema(value_type = Option<Object>)]
    before: Option<Json>,
    #[schema(value_type = Option<Object>)]
    after: Option<Json>,
    reason: Option<String>,
    /// The hash of the entry before.
    previous: String,
    hash: String,
}

/// How far a stream holds.
#[derive(Debug, Serialize, ToSchema)]
struct AuditCheckView {
    /// Nothing is wrong with what was checked.
    ok: bool,
    checked: u32,
    /// The last entry that holds, as `NUMBER:HASH`. Noted somewhere else, it tells later whether
    /// something is missing or was written anew.
    head: String,
    /// There are more entries than one check reads: go on with `after` as this head.
    more: bool,
    /// What is wrong first.
    broken: Option<BrokenView>,
}

#[derive(Debug, Serialize, ToSchema)]
struct BrokenView {
    /// The number of the first entry that is not what or where it should be.
    position: i64,
    /// `altered`, `missing`, `reordered`, `unlinked`, `foreign`, `replaced` or `cut`.
    kind: &'static str,
    message: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ExportParams {
    /// The number behind which it begins: that of the last line of the answer before.
    #[param(minimum = 0, default = 0)]
    after: Option<i64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct VerifyParams {
    /// A head, as `NUMBER:HASH`, that is trusted: the check begins behind it.
    after: Option<String>,
    /// Heads that were noted before, joined by commas.
    noted: Option<String>,
}

impl From<Entry> for AuditEntryView {
    fn from(entry: Entry) -> Self {
        Self {
            seq: entry.seq,
            at: entry.at.into(),
            stream: entry.stream.0,
            actor: entry.actor,
            actor_kind: entry.actor_kind,
            actor_id: entry.actor_id,
            role: entry.role,
            ingress: entry.ingress,
            request_id: entry.request_id,
            act: entry.act,
            subject: entry.subject,
            before: entry.before,
            after: entry.after,
            reason: entry.reason,
            previous: entry.previous.to_string(),
            hash: entry.hash.to_string(),
        }
    }
}

impl From<Broken> for BrokenView {
    fn from(broken: Broken) -> Self {
        let (position, kind) = (broken.position(), broken.word());
        Self { position, kind, message: broken.to_string() }
    }
}

/// Lists who did what, newest first.
#[utoipa::path(get, path = "/audit", tag = "audit", operation_id = "list_audit",
    params(ListParams), responses((status = 200, body = PageView<AuditEntryView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    query: ListQuery,
) -> Result<Response, Problem> {
    let list = AuditList {
        tenant: caller.tenant,
        filter: query.filter.clone(),
        before: query.place(caller.slug())?,
        limit: query.limit,
    };
    let page = list_audit(&api.app, &caller.authorization, list).await?;
    let items = page.items.into_iter().map(AuditEntryView::from).collect();
    query.answer(caller.slug(), items, page.next)
}

/// Writes entries down one to a line, oldest first, as many as one answer holds. An empty answer
/// says that there are no more. The header `Actions-Audit-Head` is the newest entry.
#[utoipa::path(get, path = "/audit/~export", tag = "audit", operation_id = "export_audit",
    params(ExportParams),
    responses((status = 200, body = String, content_type = "application/x-ndjson")))]
async fn export(
    State(api): State<Api>,
    caller: Caller,
    Params(params): Params<ExportParams>,
) -> Result<Response, Problem> {
    let after = params.after.unwrap_or(0);
    if after < 0 {
        return Err(Problem::parameter("after", "expected a number from 0 on"));
    }
    let (head, entries) =
        export_audit(&api.app, &caller.authorization, caller.tenant, after).await?;
    let mut lines = Vec::new();
    for entry in entries {
        let written = serde_json::to_writer(&mut lines, &entry);
        written.map_err(|error| Problem::internal(error.to_string()))?;
        lines.push(b'\n');
    }
    let media = HeaderValue::from_static("application/x-ndjson");
    let mut response = ([(header::CONTENT_TYPE, media)], lines).into_response();
    if let Ok(head) = HeaderValue::from_str(&head.to_string()) {
        response.headers_mut().insert(HEAD, head);
    }
    Ok(response)
}

/// Checks that nothing was changed, left out or moved.
#[utoipa::path(get, path = "/audit/~verify", tag = "audit", operation_id = "verify_audit",
    params(VerifyParams), responses((status = 200, body = AuditCheckView)))]
async fn verify(
    State(api): State<Api>,
    caller: Caller,
    Params(params): Params<VerifyParams>,
) -> Result<Response, Problem> {
    let head = |name: &str, raw: &str| {
        raw.parse::<Head>().map_err(|error| Problem::parameter(name, error.to_string()))
    };
    let after = params.after.as_deref().map(|raw| head("after", raw)).transpose()?;
    let noted =
        params.noted.as_deref().unwrap_or_default().split(',').filter(|raw| !raw.is_empty());
    let noted = noted.map(|raw| head("noted", raw)).collect::<Result<Vec<_>, _>>()?;
    if noted.len() > NOTED_MAX {
        return Err(Problem::parameter("noted", format!("expected at most {NOTED_MAX} heads")));
    }
    let (authorization, tenant) = (&caller.authorization, caller.tenant);
    let check =
        verify_audit(&api.app, authorization, tenant, after.unwrap_or_default(), noted).await?;
    Ok(json(&AuditCheckView {
        ok: check.broken.is_none(),
        checked: check.checked,
        head: check.head.to_string(),
        more: check.more,
        broken: check.broken.map(BrokenView::from),
    }))
}
