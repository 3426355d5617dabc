//! `actions run`.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::Call;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Column, column, shown, wide};
use super::page::at_least_one;
use super::{Context, data, page};

const COLUMNS: [Column; 7] = [
    column("id", "/id"),
    column("status", "/status"),
    column("workflow", "/workflow"),
    column("started", "/started_at"),
    column("duration ms", "/duration_ms"),
    column("error", "/error"),
    wide("parent", "/parent_id"),
];
const HEAD: [Column; 8] = [
    column("run", "/id"),
    column("workflow", "/workflow"),
    column("status", "/status"),
    column("parent", "/parent_id"),
    column("started", "/started_at"),
    column("ended", "/ended_at"),
    column("output", "/output"),
    column("error", "/error"),
];
const STEPS: [Column; 4] = [
    column("step", "/name"),
    column("status", "/status"),
    column("execution", "/execution"),
    column("error", "/error"),
];
const ENTRIES: [Column; 4] = [
    column("number", "/number"),
    column("at", "/at"),
    column("entry", "/entry"),
    column("data", "/data"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Run {
    /// List runs, newest first
    #[command(visible_alias = "ls")]
    List(List),
    /// Print one run with its steps and its timeline
    Show(One),
    /// Print the journal of a run
    Journal(Journal),
    /// Send a run a signal
    Signal(Signal),
    /// Let a run begin nothing more until it is resumed
    Pause(Because),
    /// Let a paused run go on
    Resume(One),
    /// Stop a run
    Cancel(Cancel),
    /// Let a run that has failed go on from a step
    Retry(Retry),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those of this workflow
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,
    /// Only those with one of these statuses, joined by commas
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
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
pub(super) struct Journal {
    #[arg(value_name = "ID")]
    id: String,
    /// At most so many entries
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = at_least_one)]
    limit: usize,
}

/// Send a run a signal
///
/// Examples:
///   actions run signal 0197… approved by=ada --id approval-1
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Signal {
    #[arg(value_name = "ID")]
    id: String,
    #[arg(value_name = "NAME")]
    name: String,
    /// The payload as key=text or key:=json
    #[arg(value_name = "KEY=TEXT")]
    words: Vec<String>,
    /// The payload as JSON: a text, @FILE, or @- for standard input
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// A signal that is sent again with the same id counts once
    #[arg(long = "id", value_name = "TEXT")]
    signal_id: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Because {
    #[arg(value_name = "ID")]
    id: String,
    /// Why, for whoever wonders later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Cancel {
    #[command(flatten)]
    run: Because,
    /// Undo what was done
    #[arg(long)]
    compensate: bool,
}

#[derive(Debug, Args)]
pub(super) struct Retry {
    #[arg(value_name = "ID")]
    id: String,
    /// It and all that comes after it run again
    #[arg(long, value_name = "STEP")]
    from: String,
}

pub(super) async fn run(cx: &Context, command: Run) -> Result<Exit, CliError> {
    match command {
        Run::List(args) => {
            let client = cx.client()?;
            let listed = page::list(&client, args.limit, || {
                Call::get(&["runs"])
                    .query_if("workflow", args.workflow.as_deref())
                    .query_if("status", args.status.as_deref())
            })
            .await?;
            listed.print(cx, &COLUMNS, "/id")?;
        }
        Run::Show(args) => show(cx, &args.id).await?,
        Run::Journal(args) => {
            let (client, path) = (cx.client()?, ["runs", &args.id, "journal"]);
            let listed = page::list(&client, args.limit, || Call::get(&path)).await?;
            listed.print(cx, &ENTRIES, "/number")?;
        }
        Run::Signal(args) => {
            let payload = data::data(args.data.as_deref(), &args.words)?;
            let mut rest = Map::from_iter([("name".to_owned(), json!(args.name))]);
            if let Some(id) = &args.signal_id {
                rest.insert("id".to_owned(), json!(id));
            }
            let body = data::with_raw(rest, "payload", &payload);
            tell(cx, &args.id, "signal", body).await?;
        }
        Run::Pause(args) => {
            tell(cx, &args.id, "pause", json!({ "reason": args.reason }).to_string()).await?;
        }
        Run::Resume(args) => tell(cx, &args.id, "resume", "{}".to_owned()).await?,
        Run::Cancel(Cancel { run, compensate }) => {
            let body = json!({ "reason": run.reason, "compensate": compensate });
            tell(cx, &run.id, "cancel", body.to_string()).await?;
        }
        Run::Retry(args) => {
            tell(cx, &args.id, "retry", json!({ "step": args.from }).to_string()).await?;
        }
    }
    Ok(Exit::Done)
}

async fn show(cx: &Context, id: &str) -> Result<(), CliError> {
    let client = cx.client()?;
    let answer = client.in_tenant(Call::get(&["runs", id])).await?;
    if cx.output.exact(&answer.text())? {
        return Ok(());
    }
    let run = answer.json()?;
    if cx.output.wants_data() {
        return cx.output.text_or_data("", "/id", &run);
    }
    cx.output.one(&HEAD, "/id", &run)?;
    let steps = run.get("steps").and_then(Value::as_array).cloned().unwrap_or_default();
    cx.output.print("")?;
    cx.output.list(&STEPS, "/name", &steps)?;
    let call = Call::get(&["runs", id, "timeline"]).header("accept", "text/plain");
    let timeline = client.in_tenant(call).await?.text();
    cx.output.print(&format!("\n{}", timeline.trim_end()))
}

async fn tell(cx: &Context, id: &str, verb: &str, body: String) -> Result<(), CliError> {
    let path = ["runs", &format!("{id}:{verb}")];
    let call = Call::new(reqwest::Method::POST, &path).body("application/json", body);
    let answer = cx.client()?.in_tenant(call).await?.json()?;
    let text = format!("run {} is told: {verb}", shown(answer.get("id")));
    cx.output.text_or_data(&text, "/id", &answer)
}
