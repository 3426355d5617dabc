//! `actions execution`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Call;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Column, Format, column, cut, shown, wide};
use super::page::at_least_one;
use super::{Context, bulk, exact, page};

const COLUMNS: [Column; 8] = [
    column("id", "/id"),
    column("status", "/status"),
    column("action", "/action"),
    column("attempts", "/attempt_count"),
    column("queued", "/queued_at"),
    column("duration ms", "/duration_ms"),
    column("error", "/error/message"),
    wide("event", "/event_id"),
];

/// What stands above the timeline of one execution.
const HEAD: [Column; 16] = [
    column("execution", "/id"),
    column("action", "/action"),
    column("tenant", "/tenant"),
    column("status", "/status"),
    column("event", "/event_id"),
    column("repeats", "/parent_id"),
    column("key", "/key/name"),
    column("queued", "/queued_at"),
    column("started", "/started_at"),
    column("ended", "/ended_at"),
    column("progress", "/report/progress"),
    column("note", "/report/note"),
    column("input", "/input"),
    column("output", "/output"),
    column("error", "/error/shown"),
    column("details", "/error/details"),
];
/// More of an answer is worth `-o wide` or `-o json`.
const SHOWN_CHARS_MAX: usize = 1_000;

#[derive(Debug, Subcommand)]
pub(super) enum Execution {
    /// List executions, newest first
    #[command(visible_alias = "ls")]
    List(List),
    /// Print one execution with the timeline of its attempts
    Show(One),
    /// Say what an execution waits for
    Why(One),
    /// Cancel executions that have not ended
    Cancel(Some),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those of this action
    #[arg(long, value_name = "NAME")]
    action: Option<String>,
    /// Only those with one of these statuses, joined by commas
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Only those of this event
    #[arg(long, value_name = "ID")]
    event: Option<String>,
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
pub(super) struct Some {
    #[arg(value_name = "ID", required_unless_present = "where")]
    ids: Vec<String>,
    /// All that a list with this filter shows, as a bulk; '' means all
    #[arg(long, value_name = "FILTER", conflicts_with = "ids")]
    r#where: Option<String>,
    #[command(flatten)]
    how: bulk::How,
}

pub(super) async fn run(cx: &Context, command: Execution) -> Result<Exit, CliError> {
    match command {
        Execution::List(args) => list(cx, args).await,
        Execution::Show(args) => show(cx, &args.id).await,
        Execution::Why(args) => why(cx, &args.id).await,
        Execution::Cancel(args) => match args.r#where {
            None if args.how.is_plain() => cancel(cx, &args.ids).await,
            None => {
                let (op, which) = (bulk::Operation::Cancel, ("ids", json!(args.ids)));
                bulk::start(cx, &cx.client()?, op, which, &args.how).await
            }
            Some(filter) => {
                let (op, which) = (bulk::Operation::Cancel, ("where", json!(filter)));
                bulk::start(cx, &cx.client()?, op, which, &args.how).await
            }
        },
    }
}

async fn list(cx: &Context, args: List) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let listed = page::list(&client, args.limit, || {
        Call::get(&["executions"])
            .query_if("action", args.action.as_deref())
            .query_if("status", args.status.as_deref())
            .query_if("event", args.event.as_deref())
    })
    .await?;
    listed.print(cx, &COLUMNS, "/id")?;
    Ok(Exit::Done)
}

async fn show(cx: &Context, id: &str) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let answer = client.in_tenant(Call::get(&["executions", id])).await?;
    if cx.output.exact(&answer.text())? {
        return Ok(Exit::Done);
    }
    let mut execution = answer.json()?;
    if matches!(cx.output.format, Format::Table | Format::Wide) {
        let call = Call::get(&["executions", id, "timeline"]).header("accept", "text/plain");
        let timeline = client.in_tenant(call).await?.text();
        execution["tenant"] = client.tenant().into();
        let chars_max = if cx.output.format == Format::Wide { usize::MAX } else { SHOWN_CHARS_MAX };
        for name in ["input", "output"] {
            // The server's own text: a tree would alter long numbers.
            let text = exact::member(&answer.text(), name).filter(|text| text != "null");
            execution[name] = text.map(|text| cut(&text, chars_max)).into();
        }
        if let Some(error) = execution.get_mut("error").filter(|error| error.is_object()) {
            let text = format!("{}: {}", shown(error.get("code")), shown(error.get("message")));
            error["shown"] = text.into();
            if let Some(details) = error.get("details").filter(|details| !details.is_null()) {
                error["details"] = cut(&details.to_string(), chars_max).into();
            }
        }
        cx.output.one(&HEAD, "/id", &execution)?;
        cx.output.print(&format!("\n{}", timeline.trim_end()))?;
    } else {
        cx.output.text_or_data("", "/id", &execution)?;
    }
    Ok(Exit::Done)
}

async fn why(cx: &Context, id: &str) -> Result<Exit, CliError> {
    let answer = cx.client()?.in_tenant(Call::get(&["executions", id, "why"])).await?.json()?;
    let text = why_text(&answer);
    cx.output.text_or_data(&text, "/id", &answer)?;
    Ok(Exit::Done)
}

/// `the attempt before failed, … until 12:00:03Z (retry_policy)`
pub(super) fn why_text(why: &Value) -> String {
    let known = |name: &str| why.get(name).filter(|value| !value.is_null());
    let mut text = shown(why.get("because"));
    if let Some(until) = known("until") {
        text.push_str(&format!("; until {}", shown(Some(until))));
    }
    if let Some(setting) = known("setting") {
        text.push_str(&format!(" ({})", shown(Some(setting))));
    }
    text
}

async fn cancel(cx: &Context, ids: &[String]) -> Result<Exit, CliError> {
    if ids.len() > 1 {
        let samples: Vec<String> = ids.iter().take(5).cloned().collect();
        cx.confirm.ask(&format!("cancel {} executions", ids.len()), &samples)?;
    }
    let client = cx.client()?;
    let mut answers = Vec::new();
    let mut refusals = Vec::new();
    for id in ids {
        let verb = format!("{id}:cancel");
        let call = Call::post(&["executions", &verb], &json!({}));
        match client.in_tenant(call).await {
            Ok(answer) => answers.push(answer.json()?),
            Err(refusal) if ids.len() == 1 || refusal.exit == Exit::Unavailable => {
                return Err(refusal);
            }
            // What was cancelled before it has to be told as well.
            Err(refusal) => refusals.push((id, refusal)),
        }
    }
    match answers.as_slice() {
        [one] if ids.len() == 1 => cx.output.text_or_data(&asked(one), "/id", one)?,
        many => {
            let columns = [column("id", "/id"), column("cancellation", "/cancellation")];
            cx.output.list(&columns, "/id", many)?;
        }
    }
    for (id, refusal) in &refusals {
        cx.output.note(&format!("{id}  {}", refusal.message));
    }
    Ok(refusals.first().map_or(Exit::Done, |(_, refusal)| refusal.exit))
}

fn asked(answer: &Value) -> String {
    format!("{} is asked to end", shown(answer.get("id")))
}
