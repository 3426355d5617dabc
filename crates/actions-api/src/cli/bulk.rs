//! `actions bulk`: one thing done to many executions or dead letters, by the server.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::client::{Call, Client};
use super::error::CliError;
use super::exit::Exit;
use super::output::{Column, column, shown, wide};
use super::page::at_least_one;
use super::progress::Progress;
use super::{Context, page};

const COLUMNS: [Column; 13] = [
    column("id", "/id"),
    column("op", "/op"),
    column("state", "/state"),
    column("total", "/total"),
    column("done", "/done"),
    column("refused", "/refused"),
    column("by", "/started_by"),
    column("started", "/created_at"),
    wide("where", "/where"),
    wide("group", "/group"),
    wide("rate", "/rate"),
    wide("reason", "/reason"),
    wide("ended", "/ended_at"),
];

/// How often a bulk that is watched is asked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Refusals that are told beside a bulk.
const REFUSALS: usize = 20;

#[derive(Debug, Subcommand)]
pub(super) enum Bulk {
    /// Cancel executions, or requeue or discard dead letters, many at once
    Start(Box<Start>),
    /// List bulks, newest first
    #[command(visible_alias = "ls")]
    List(List),
    /// Print one bulk with what it refused
    Show(Show),
    /// Let a bulk begin nothing more until it is resumed
    Pause(One),
    /// Let a paused bulk go on, also after its canary
    Resume(One),
    /// End a bulk; what was done stays done
    Cancel(One),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Operation {
    /// Ask executions to end
    Cancel,
    /// Run dead letters again
    Requeue,
    /// Forget dead letters
    Discard,
}

/// Cancel executions, or requeue or discard dead letters, many at once
///
/// Examples:
///   actions bulk start requeue --where 'action:ship error:http.status' --canary 10 --rate 50
///   actions bulk start discard --group 5f2c9a --reason 'the customer is gone'
///   actions bulk start cancel --where 'action:report since:1h' --watch
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
#[command(group = ArgGroup::new("which").required(true).args(["ids", "group", "where"]))]
pub(super) struct Start {
    #[arg(value_name = "OPERATION")]
    op: Operation,
    /// Their ids
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// All that a list with this filter shows; '' means all
    #[arg(long, value_name = "FILTER")]
    r#where: Option<String>,
    /// All dead letters of this group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    #[command(flatten)]
    how: How,
}

/// How a bulk goes about it.
#[derive(Debug, Args)]
pub(super) struct How {
    /// At most so many, newest first
    #[arg(long, default_value_t = 500, value_name = "N", value_parser = at_least_one)]
    limit: usize,
    /// Do so many first, and wait to be resumed
    #[arg(long, value_name = "N")]
    canary: Option<u32>,
    /// At most so many in a second
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Show how far it is until it pauses or has ended
    #[arg(long)]
    watch: bool,
}

impl How {
    /// Nothing is asked for that only a bulk can do.
    pub(super) fn is_plain(&self) -> bool {
        self.canary.is_none() && self.rate.is_none() && self.reason.is_none() && !self.watch
    }
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// At most so many
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = at_least_one)]
    limit: usize,
}

#[derive(Debug, Args)]
pub(super) struct One {
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    #[arg(value_name = "ID")]
    id: String,
    /// Show how far it is until it pauses or has ended
    #[arg(long)]
    watch: bool,
}

pub(super) async fn run(cx: &Context, command: Bulk) -> Result<Exit, CliError> {
    let client = cx.client()?;
    match command {
        Bulk::Start(args) => {
            let Start { op, ids, r#where, group, how } = *args;
            let which = match (r#where, group) {
                (Some(filter), _) => ("where", json!(filter)),
                (None, Some(group)) => ("group", json!(group)),
                (None, None) => ("ids", json!(ids)),
            };
            start(cx, &client, op, which, &how).await
        }
        Bulk::List(args) => {
            let listed = page::list(&client, args.limit, || Call::get(&["bulk"])).await?;
            listed.print(cx, &COLUMNS, "/id")?;
            Ok(Exit::Done)
        }
        Bulk::Show(args) => {
            let bulk = find(&client, &args.id).await?;
            let bulk = if args.watch { watch(cx, &client, bulk).await? } else { bulk };
            report(cx, &client, &bulk).await?;
            Ok(if args.watch { exit_of(&bulk) } else { Exit::Done })
        }
        Bulk::Pause(args) => change(cx, &client, &args.id, "pause").await,
        Bulk::Resume(args) => change(cx, &client, &args.id, "resume").await,
        Bulk::Cancel(args) => change(cx, &client, &args.id, "cancel").await,
    }
}

/// Shows what a bulk would be about, asks, and starts it.
pub(super) async fn start(
    cx: &Context,
    client: &Client,
    op: Operation,
    (name, which): (&str, Value),
    how: &How,
) -> Result<Exit, CliError> {
    let (verb, things) = match op {
        Operation::Cancel => ("cancel", "executions"),
        Operation::Requeue => ("requeue", "dead letters"),
        Operation::Discard => ("discard", "dead letters"),
    };
    let given = [
        ("op", Some(json!(verb))),
        (name, Some(which)),
        ("max", Some(json!(how.limit))),
        ("canary", how.canary.map(|count| json!(count))),
        ("rate", how.rate.map(|rate| json!(rate))),
        ("reason", how.reason.as_ref().map(|reason| json!(reason))),
    ];
    let given = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let mut body = Value::Object(Map::from_iter(given));
    body["dry_run"] = json!(true);
    let preview = client.in_tenant(Call::post(&["bulk"], &body)).await?.json()?;
    let count = shown(preview.get("count"));
    if preview.get("count") == Some(&json!(0)) {
        return Err(CliError::new(Exit::NotFound, format!("there are no such {things}")));
    }
    let samples = preview.get("samples").and_then(Value::as_array);
    let samples: Vec<String> = samples.into_iter().flatten().map(sample).collect();
    cx.confirm.ask(&format!("{verb} {count} {things}"), &samples)?;
    body["dry_run"] = json!(false);
    let bulk = client.in_tenant(Call::post(&["bulk"], &body)).await?.json()?;
    if bulk.get("more") == Some(&json!(true)) {
        cx.output.note(&format!("there are more than these {count}; --limit takes more"));
    }
    if how.watch {
        let bulk = watch(cx, client, bulk).await?;
        report(cx, client, &bulk).await?;
        return Ok(exit_of(&bulk));
    }
    let id = shown(bulk.get("id"));
    let text = format!("bulk {id}: {verb} {} {things}", shown(bulk.get("total")));
    cx.output.text_or_data(&text, "/id", &bulk)?;
    if !cx.output.wants_data() {
        let command = cx.again(&format!("bulk show {id} --watch"));
        cx.output.note(&format!("{command} shows how far it is"));
    }
    Ok(Exit::Done)
}

fn sample(sample: &Value) -> String {
    let about = sample.pointer("/error/message").or_else(|| sample.get("status"));
    format!("{}  {}  {}", shown(sample.get("id")), shown(sample.get("action")), shown(about))
}

async fn find(client: &Client, id: &str) -> Result<Value, CliError> {
    client.in_tenant(Call::get(&["bulk", id])).await?.json()
}

fn handled(bulk: &Value) -> u64 {
    let count = |name: &str| bulk.get(name).and_then(Value::as_u64).unwrap_or(0);
    count("done") + count("refused")
}

/// Waits until a bulk does not go on by itself.
async fn watch(cx: &Context, client: &Client, mut bulk: Value) -> Result<Value, CliError> {
    let clock = crate::wiring::clock();
    let total = bulk.get("total").and_then(Value::as_u64).unwrap_or(0);
    let id = shown(bulk.get("id"));
    let mut progress = Progress::count(cx, total, "items");
    progress.add(handled(&bulk));
    while bulk.get("state") == Some(&json!("running")) {
        clock.sleep(LOOK_EVERY).await;
        let now = find(client, &id).await?;
        progress.add(handled(&now).saturating_sub(handled(&bulk)));
        bulk = now;
    }
    Ok(bulk)
}

/// Prints a bulk, and the first of what it refused.
async fn report(cx: &Context, client: &Client, bulk: &Value) -> Result<(), CliError> {
    cx.output.one(&COLUMNS.map(Column::everywhere), "/id", bulk)?;
    if cx.output.wants_data() {
        return Ok(());
    }
    let id = shown(bulk.get("id"));
    if bulk.get("refused") != Some(&json!(0)) {
        let refused = page::list(client, REFUSALS, || {
            Call::get(&["bulk", &id, "items"]).query("outcome", "refused")
        });
        for item in refused.await?.items {
            let (target, reason) = (shown(item.get("target_id")), shown(item.get("reason")));
            cx.output.note(&format!("{target}  {reason}"));
        }
    }
    if bulk.get("state") == Some(&json!("paused")) {
        let why = if bulk.get("after_canary") == Some(&json!(true)) {
            "its canary is done; "
        } else {
            ""
        };
        let command = cx.again(&format!("bulk resume {id}"));
        cx.output.note(&format!("{why}{command} lets it go on"));
    }
    Ok(())
}

/// What was not done fails the command.
fn exit_of(bulk: &Value) -> Exit {
    let is_whole =
        bulk.get("refused") == Some(&json!(0)) && bulk.get("state") != Some(&json!("cancelled"));
    if is_whole { Exit::Done } else { Exit::Conflict }
}

async fn change(cx: &Context, client: &Client, id: &str, verb: &str) -> Result<Exit, CliError> {
    let call = Call::post(&["bulk", &format!("{id}:{verb}")], &json!({}));
    let bulk = client.in_tenant(call).await?.json()?;
    let (state, total) = (shown(bulk.get("state")), shown(bulk.get("total")));
    let text = format!("bulk {id} is {state}: {} of {total} handled", handled(&bulk));
    cx.output.text_or_data(&text, "/state", &bulk)?;
    Ok(Exit::Done)
}
