//! `actions tenant limits` and `actions tenant usage`.

use clap::Args;
use serde_json::Value;

use super::{Limit, controls, limit, merged, set};
use crate::cli::Context;
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::output::{Column, column, shown, wide};
use crate::config::byte_count;

/// What is not given stays as it is; `none` takes a value away, and a weaker layer's holds.
#[derive(Debug, Args)]
pub(in crate::cli) struct Limits {
    #[arg(value_name = "SLUG", required_unless_present = "all")]
    slug: Option<String>,
    /// Instead of one tenant: what holds for every tenant that has nothing of its own
    #[arg(long, conflicts_with = "slug")]
    all: bool,
    /// Attempts that run at once, over all nodes
    #[arg(long, value_name = "N", value_parser = limit)]
    concurrency: Option<Limit>,
    /// Attempts that start in a minute, over all nodes
    #[arg(long, value_name = "N", value_parser = limit)]
    per_minute: Option<Limit>,
    /// Attempts that start in an hour, over all nodes
    #[arg(long, value_name = "N", value_parser = limit)]
    per_hour: Option<Limit>,
    /// Turns that it gets where others get one; none means one
    #[arg(long, value_name = "N", value_parser = limit)]
    weight: Option<Limit>,
    /// Events that are taken in, over all nodes; more are refused
    #[arg(long, value_name = "N", value_parser = limit)]
    events_per_second: Option<Limit>,
    /// Executions that have not ended; with so many, new events are refused
    #[arg(long, value_name = "N", value_parser = limit)]
    waiting_executions: Option<Limit>,
    /// Events that are kept, like 10GB; with so much, new events are refused
    #[arg(long, value_name = "SIZE", value_parser = size)]
    stored_bytes: Option<Limit>,
    /// Actions that there may be
    #[arg(long, value_name = "N", value_parser = limit)]
    actions: Option<Limit>,
    /// Subscriptions that there may be
    #[arg(long, value_name = "N", value_parser = limit)]
    subscriptions: Option<Limit>,
    /// Schedules that there may be
    #[arg(long, value_name = "N", value_parser = limit)]
    schedules: Option<Limit>,
    /// Secrets that there may be
    #[arg(long, value_name = "N", value_parser = limit)]
    secrets: Option<Limit>,
    /// API keys that hold
    #[arg(long, value_name = "N", value_parser = limit)]
    api_keys: Option<Limit>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Usage {
    #[arg(value_name = "SLUG")]
    slug: String,
    /// How many days, today included
    #[arg(long, value_name = "N", default_value_t = 30)]
    days: u32,
}

const SETTINGS: [Column; 6] = [
    column("limit", "/name"),
    column("value", "/value"),
    column("used", "/used"),
    column("layer", "/layer"),
    column("capped by", "/capped_by"),
    wide("most", "/max"),
];

const OF_ALL: [Column; 2] = [column("limit", "/name"), column("value", "/value")];

const DAYS: [Column; 4] = [
    column("day", "/day"),
    column("events", "/events"),
    column("bytes", "/bytes"),
    column("executions", "/executions"),
];

/// `10GB`, or `none`.
fn size(text: &str) -> Result<Limit, String> {
    match text {
        "none" | "0" => Ok(Limit(None)),
        size => byte_count(size).map(|bytes| Limit(Some(bytes))),
    }
}

pub(super) async fn limits(cx: &Context, args: Limits) -> Result<(), CliError> {
    let given = [
        ("max_concurrent_executions", args.concurrency),
        ("rate_limit_per_minute", args.per_minute),
        ("rate_limit_per_hour", args.per_hour),
        ("weight", args.weight),
        ("events_per_second", args.events_per_second),
        ("waiting_executions", args.waiting_executions),
        ("stored_bytes", args.stored_bytes),
        ("actions", args.actions),
        ("subscriptions", args.subscriptions),
        ("schedules", args.schedules),
        ("secrets", args.secrets),
        ("api_keys", args.api_keys),
    ];
    let Some(slug) = args.slug.filter(|_| !args.all) else { return of_all(cx, &given).await };
    let changed = set(cx, &slug, "limits", &given).await?;
    if cx.output.wants_data() {
        return cx.output.one(&[], "/limits", &changed);
    }
    let call = Call::get(&controls(&slug, &["limits"]));
    let limits = cx.client()?.send(call).await?.json()?;
    let settings = limits.get("settings").and_then(Value::as_array);
    cx.output.list(&SETTINGS, "/name", settings.map_or(&[], Vec::as_slice))?;
    if let Some(pause) = changed.get("pause").filter(|pause| !pause.is_null()) {
        let said = |name| shown(pause.get(name));
        let (at, by, reason) = (said("at"), said("by"), said("reason"));
        cx.output.note(&format!("paused since {at} by {by}: {reason}"));
    }
    Ok(())
}

/// What holds for every tenant that has nothing of its own.
async fn of_all(cx: &Context, given: &[(&str, Option<Limit>)]) -> Result<(), CliError> {
    let (client, path) = (cx.client()?, ["v1", "admin", "tenant-limits"]);
    let mut known = client.send(Call::get(&path)).await?.json()?;
    if given.iter().any(|(_, value)| value.is_some()) {
        let wanted = merged(Some(&known), given);
        let call = Call::new(reqwest::Method::PUT, &path);
        let call = call.body("application/json", wanted.to_string());
        known = client.send(call).await?.json()?;
    }
    if cx.output.wants_data() {
        return cx.output.one(&[], "", &known);
    }
    let set = known.as_object().into_iter().flatten();
    let items: Vec<Value> =
        set.map(|(name, value)| serde_json::json!({ "name": name, "value": value })).collect();
    if items.is_empty() {
        return cx.output.print("nothing is set for all tenants");
    }
    cx.output.list(&OF_ALL, "/name", &items)
}

pub(super) async fn usage(cx: &Context, args: Usage) -> Result<(), CliError> {
    let call = Call::get(&controls(&args.slug, &["usage"])).query("days", args.days);
    let usage = cx.client()?.send(call).await?.json()?;
    let days = usage.get("items").and_then(Value::as_array);
    cx.output.list(&DAYS, "/day", days.map_or(&[], Vec::as_slice))?;
    cx.output.note(&format!("{} bytes are kept", shown(usage.get("stored_bytes"))));
    Ok(())
}
