//! `actions workflow`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::client::{Call, Client};
use super::error::CliError;
use super::exit::Exit;
use super::output::{Column, column, shown, wide};
use super::page::at_least_one;
use super::{Context, data, page};
use crate::config::duration;
use crate::wiring;
use crate::workflow_file::read_workflow;

const COLUMNS: [Column; 6] = [
    column("name", "/name"),
    column("steps", "/step_count"),
    column("triggers", "/triggers"),
    column("active", "/is_active"),
    column("version", "/version"),
    wide("digest", "/digest"),
];
const VERSIONS: [Column; 4] = [
    column("version", "/version"),
    column("steps", "/step_count"),
    column("updated", "/updated_at"),
    column("digest", "/digest"),
];
const STEPS: [Column; 4] = [
    column("step", "/name"),
    column("does", "/does"),
    column("calls", "/calls"),
    column("after", "/after"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Workflow {
    /// List the workflows of the tenant
    #[command(visible_alias = "ls")]
    List(List),
    /// Print the steps of a workflow
    Show(One),
    /// Create or replace a workflow as a file says
    Put(File),
    /// Find what is wrong with a file, without changing anything
    Validate(File),
    /// List the versions of a workflow, newest first
    Versions(One),
    /// Draw a workflow
    Graph(Graph),
    /// Delete a workflow; runs that go on come to their end
    Delete(One),
    /// Start a run of a workflow
    Start(Start),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// At most so many
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = at_least_one)]
    limit: usize,
}

#[derive(Debug, Args)]
pub(super) struct One {
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct File {
    /// A YAML or JSON file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Graph {
    #[arg(value_name = "NAME")]
    name: String,
    /// For what
    #[arg(long, value_enum, default_value_t = Drawing::Mermaid, value_name = "FORMAT")]
    format: Drawing,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Drawing {
    Mermaid,
    Dot,
}

/// Start a run of a workflow
///
/// Examples:
///   actions workflow start onboarding --id user-9 data.id:=9 --wait
///   actions workflow start etl --data @input.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Start {
    #[arg(value_name = "NAME")]
    name: String,
    /// The input as key=text or key:=json
    #[arg(value_name = "KEY=TEXT")]
    words: Vec<String>,
    /// The input as JSON: a text, @FILE, or @- for standard input
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// Your own name for the run: what is started again with it is the same run
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Wait until it has ended
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s", value_parser = duration)]
    wait: Option<Duration>,
}

pub(super) async fn run(cx: &Context, command: Workflow) -> Result<Exit, CliError> {
    let client = cx.client()?;
    match command {
        Workflow::List(args) => {
            let mut listed = page::list(&client, args.limit, || Call::get(&["workflows"])).await?;
            listed.items.iter_mut().for_each(count_steps);
            listed.print(cx, &COLUMNS, "/name")?;
        }
        Workflow::Show(args) => show(cx, &client, &args.name).await?,
        Workflow::Put(args) => put(cx, &client, &args.file).await?,
        Workflow::Validate(args) => {
            let body = read(&args.file)?;
            let call = Call::post(&["workflows:validate"], &body);
            let answer = client.in_tenant(call).await.map_err(|error| placed(error, &args.file))?;
            let answer = answer.json()?;
            warn(cx, &answer);
            let text = format!("{} is valid", args.file.display());
            cx.output.text_or_data(&text, "/valid", &answer)?;
        }
        Workflow::Versions(args) => {
            let path = ["workflows", &args.name, "versions"];
            let mut listed = page::list(&client, 200, || Call::get(&path)).await?;
            listed.items.iter_mut().for_each(count_steps);
            listed.print(cx, &VERSIONS, "/version")?;
        }
        Workflow::Graph(args) => {
            let format = args.format.to_possible_value();
            let format = format.map(|value| value.get_name().to_owned()).unwrap_or_default();
            let call = Call::get(&["workflows", &args.name, "graph"]).query("format", format);
            let drawn = client.in_tenant(call).await?.text();
            cx.output.print(drawn.trim_end())?;
        }
        Workflow::Delete(args) => {
            cx.confirm.ask(&format!("delete the workflow {}", args.name), &[])?;
            let found = client.in_tenant(Call::get(&["workflows", &args.name])).await?;
            let tag = found.header("etag").unwrap_or("*").to_owned();
            let call = Call::new(reqwest::Method::DELETE, &["workflows", &args.name]);
            client.in_tenant(call.header("if-match", tag)).await?;
            let name = json!({ "name": args.name });
            cx.output.text_or_data(&format!("workflow {} deleted", args.name), "/name", &name)?;
        }
        Workflow::Start(args) => return start(cx, &client, args).await,
    }
    Ok(Exit::Done)
}

async fn show(cx: &Context, client: &Client, name: &str) -> Result<(), CliError> {
    let found = client.in_tenant(Call::get(&["workflows", name])).await?.json()?;
    if cx.output.wants_data() {
        return cx.output.text_or_data("", "/name", &found);
    }
    let steps = found.get("steps").and_then(Value::as_array).cloned().unwrap_or_default();
    cx.output.list(&STEPS, "/name", &steps)
}

async fn put(cx: &Context, client: &Client, file: &Path) -> Result<(), CliError> {
    let body = read(file)?;
    let named =
        ["/action/name", "/action", "/document/action/name", "/document/action", "/graph/name"];
    let name = named
        .iter()
        .find_map(|place| body.pointer(place)?.as_str())
        .ok_or_else(|| CliError::usage(format!("{}: the workflow has no name", file.display())))?;
    let path = ["workflows", name];
    // What is there is replaced as it is now; whoever changes it meanwhile is not overwritten.
    let found = client.in_tenant(Call::get(&path)).await;
    let call = Call::new(reqwest::Method::PUT, &path).json(&body);
    let call = match found {
        Ok(found) => call.header("if-match", found.header("etag").unwrap_or("*").to_owned()),
        Err(error) if error.exit == Exit::NotFound => call.header("if-none-match", "*"),
        Err(error) => return Err(error),
    };
    let answer = client.in_tenant(call).await.map_err(|error| placed(error, file))?;
    let word = if answer.status == 201 { "created" } else { "stored" };
    let saved = answer.json()?;
    warn(cx, &saved);
    let version = shown(saved.get("version"));
    cx.output.text_or_data(&format!("workflow {name} {word}, version {version}"), "/name", &saved)
}

async fn start(cx: &Context, client: &Client, args: Start) -> Result<Exit, CliError> {
    let input = data::data(args.data.as_deref(), &args.words)?;
    let mut rest = Map::new();
    if let Some(id) = &args.id {
        rest.insert("id".to_owned(), Value::String(id.clone()));
    }
    let body = data::with_raw(rest, "input", &input);
    let path = ["workflows", &args.name, "runs"];
    let mut call = Call::new(reqwest::Method::POST, &path).body("application/json", body);
    if let Some(wait) = args.wait {
        call = call.wait(wait);
    }
    let answer = client.in_tenant(call).await?.json()?;
    let status = answer.get("status").and_then(Value::as_str).unwrap_or("pending");
    let mut text = format!("run {}  {status}", shown(answer.get("id")));
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        text.push_str(&format!("\n  {}", shown(Some(error))));
    }
    cx.output.text_or_data(&text, "/id", &answer)?;
    Ok(match (args.wait, status) {
        (None, _) | (_, "completed") => Exit::Done,
        (Some(_), "failed" | "cancelled") => Exit::WorkFailed,
        (Some(_), _) => Exit::WaitTimedOut,
    })
}

/// YAML reads JSON as well.
/// The body of a file. What is wrong with a workflow is told here, because the server does not see
/// where in the file it stands.
fn read(file: &Path) -> Result<Value, CliError> {
    let text = data::read_file(file)?;
    let name = file.display().to_string();
    let body: Value = serde_saphyr::from_str(&text)
        .map_err(|error| CliError::usage(format!("{name}: {error}")))?;
    let is_config = ["document", "graph"].iter().any(|member| body.get(member).is_some());
    if is_config {
        return Ok(body);
    }
    match read_workflow(&text, &wiring::syntax()) {
        Ok(_) => Ok(body),
        Err(mistakes) => {
            let lines: Vec<String> = mistakes.iter().map(|mistake| mistake.at(&name)).collect();
            Err(CliError::usage(lines.join("\n")))
        }
    }
}

/// A refusal with the places in the file.
fn placed(mut error: CliError, file: &Path) -> CliError {
    let problem = error.problem.as_ref();
    let errors = problem.and_then(|problem| problem.get("errors")?.as_array().cloned());
    let lines: Vec<String> = (errors.into_iter().flatten())
        .map(|one| {
            let code = one.get("code").and_then(Value::as_str).unwrap_or_default();
            format!("  {} {} {code}", shown(one.get("pointer")), shown(one.get("message")))
        })
        .collect();
    if !lines.is_empty() {
        error.message = format!("{}:\n{}", file.display(), lines.join("\n"));
    }
    error
}

fn warn(cx: &Context, answer: &Value) {
    let warnings = answer.get("warnings").and_then(Value::as_array);
    for warning in warnings.into_iter().flatten() {
        cx.output.note(&format!(
            "warning: {} {}",
            shown(warning.get("pointer")),
            shown(warning.get("message"))
        ));
    }
}

fn count_steps(workflow: &mut Value) {
    let count = workflow.get("steps").and_then(Value::as_array).map(Vec::len);
    workflow["step_count"] = json!(count);
}
