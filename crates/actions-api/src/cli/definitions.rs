//! `actions apply`, `diff`, `export` and `validate`: definitions as files.

use std::path::{Path, PathBuf};

use actions_app::commands::apply_definitions::DefinitionSet;
use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::client::{Call, Client};
use super::error::CliError;
use super::exit::Exit;
use super::output::{column, counted, shown};
use super::progress::Progress;
use crate::definition_file::{DefinitionFile, find_key};

/// Files of a folder that are read.
const EXTENSIONS: [&str; 2] = ["yaml", "yml"];
/// Samples that a question shows.
const SAMPLES: usize = 5;

#[derive(Debug, Args)]
pub(super) struct Files {
    /// A file, a folder, or - for standard input; may be given several times
    #[arg(short = 'f', long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Also read the folders below
    #[arg(short = 'R', long)]
    recursive: bool,
}

#[derive(Debug, Args)]
pub(super) struct Diff {
    #[command(flatten)]
    files: Files,
    /// Also show what the files do not name
    #[arg(long)]
    prune: bool,
}

#[derive(Debug, Args)]
pub(super) struct Apply {
    #[command(flatten)]
    files: Files,
    /// Also delete the actions that the files do not name
    #[arg(long)]
    prune: bool,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Only this action
    #[arg(long, value_name = "NAME")]
    action: Option<String>,
}

/// All files as one set, and where each action of it stands.
#[derive(Default)]
struct Local {
    set: DefinitionSet,
    /// File and line of each action.
    places: Vec<(usize, u64)>,
    /// Name and text of each file.
    texts: Vec<(String, String)>,
}

impl Local {
    /// Reads every file and tells all mistakes of all of them.
    fn read(files: &Files) -> Result<Self, CliError> {
        let mut local = Self::default();
        let mut mistakes = Vec::new();
        for path in found(files)? {
            let name = path.display().to_string();
            let text = match name.as_str() {
                "-" => super::data::read("-")?,
                _ => super::data::read_file(&path)?,
            };
            match DefinitionFile::parse(&text) {
                Ok(file) => {
                    let number = local.texts.len();
                    local.places.extend(file.lines.iter().map(|line| (number, *line)));
                    local.set.actions.extend(file.set.actions);
                }
                Err(found) => mistakes.extend(found.iter().map(|mistake| mistake.at(&name))),
            }
            local.texts.push((name, text));
        }
        if mistakes.is_empty() { Ok(local) } else { Err(CliError::usage(mistakes.join("\n"))) }
    }

    /// A refusal of the server, with the places of what it refuses.
    fn placed(&self, error: CliError) -> CliError {
        let errors = error.problem.as_ref().and_then(|problem| problem.get("errors"));
        let lines: Vec<String> = errors
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|one| self.place_of(one))
            .collect();
        if lines.is_empty() { error } else { CliError { message: lines.join("\n"), ..error } }
    }

    /// `/actions/3/config/url` of the set, in the file that the third action came from.
    fn place_of(&self, error: &Value) -> Option<String> {
        let part = |name: &str| error.get(name).and_then(Value::as_str);
        let pointer = part("pointer")?;
        let below = pointer.split_once("/actions/")?.1;
        let (index, rest) = below.split_once('/').unwrap_or((below, ""));
        let (file, line) = *self.places.get(index.parse::<usize>().ok()?)?;
        let (name, text) = self.texts.get(file)?;
        let (line, column) = find_key(text, line, rest).unwrap_or((line, 1));
        Some(format!("{name}:{line}:{column}: {}", part("message").unwrap_or_default()))
    }

    fn body(&self, rest: Value) -> Result<Value, CliError> {
        let mut body =
            serde_json::to_value(&self.set).map_err(|error| CliError::failed(error.to_string()))?;
        if let (Value::Object(body), Value::Object(rest)) = (&mut body, rest) {
            body.extend(rest);
        }
        Ok(body)
    }
}

fn found(files: &Files) -> Result<Vec<PathBuf>, CliError> {
    let mut found = Vec::new();
    for path in &files.files {
        if path.is_dir() {
            folder(path, files.recursive, &mut found)?;
        } else {
            found.push(path.clone());
        }
    }
    if found.is_empty() {
        return Err(CliError::usage("there is no .yaml or .yml file"));
    }
    Ok(found)
}

fn folder(path: &Path, recursive: bool, found: &mut Vec<PathBuf>) -> Result<(), CliError> {
    let unreadable = |error| CliError::usage(format!("{}: {error}", path.display()));
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        entries.push(entry.map_err(unreadable)?.path());
    }
    entries.sort();
    for entry in entries {
        let is_ours = entry.extension().is_some_and(|has| EXTENSIONS.iter().any(|is| has == *is));
        if entry.is_dir() {
            if recursive {
                folder(&entry, recursive, found)?;
            }
        } else if is_ours {
            found.push(entry);
        }
    }
    Ok(())
}

async fn post(client: &Client, verb: &str, body: &Value) -> Result<Value, CliError> {
    let path = format!("definitions:{verb}");
    client.in_tenant(Call::post(&[&path], body)).await?.json()
}

fn changes(plan: &Value) -> Vec<Value> {
    let changes = plan.get("changes").or_else(|| plan.get("items"));
    changes.and_then(Value::as_array).cloned().unwrap_or_default()
}

fn word(change: &Value) -> &str {
    change.get("change").and_then(Value::as_str).unwrap_or_default()
}

/// `action/welcome created`
fn line(change: &Value) -> String {
    format!("{}/{} {}", shown(change.get("kind")), shown(change.get("name")), word(change))
}

pub(super) async fn validate(cx: &Context, files: Files) -> Result<Exit, CliError> {
    // What is wrong is the answer here, not a wrong use.
    let negative = |error: CliError| {
        let exit = if error.exit == Exit::Usage { Exit::Failed } else { error.exit };
        CliError { exit, ..error }
    };
    let local = Local::read(&files).map_err(negative)?;
    let answer = post(&cx.client()?, "validate", &local.body(json!({}))?).await;
    let answer = answer.map_err(|error| negative(local.placed(error)))?;
    let wrong: Vec<String> = answer
        .get("errors")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|error| local.place_of(error))
        .collect();
    if !wrong.is_empty() {
        return Err(CliError::failed(wrong.join("\n")));
    }
    warn(cx, &local, &answer);
    let count = local.set.actions.len();
    let verb = if count == 1 { "is" } else { "are" };
    cx.output.text_or_data(
        &format!("{} {verb} valid", counted(count, "action", "actions")),
        "/actions",
        &json!({ "actions": count }),
    )?;
    Ok(Exit::Done)
}

/// Tells what the server finds doubtful.
fn warn(cx: &Context, local: &Local, answer: &Value) {
    for warning in answer.get("warnings").and_then(Value::as_array).into_iter().flatten() {
        let text = local.place_of(warning).unwrap_or_else(|| shown(Some(warning)));
        cx.output.note(&format!("warning: {text}"));
    }
}

pub(super) async fn diff(cx: &Context, args: Diff) -> Result<Exit, CliError> {
    let local = Local::read(&args.files)?;
    let body = local.body(json!({ "prune": args.prune }))?;
    let plan = post(&cx.client()?, "diff", &body).await;
    let plan = plan.map_err(|error| local.placed(error))?;
    let differing: Vec<Value> =
        changes(&plan).into_iter().filter(|change| word(change) != "unchanged").collect();
    if cx.output.wants_data() {
        cx.output.list(&[column("name", "/name")], "/name", &differing)?;
    } else {
        for change in &differing {
            cx.output.print(&difference(change))?;
        }
    }
    Ok(if differing.is_empty() { Exit::Done } else { Exit::Failed })
}

/// One definition's difference, member by member.
fn difference(change: &Value) -> String {
    let mut text = line(change);
    let differences = change.get("differences").and_then(Value::as_array);
    for one in differences.into_iter().flatten() {
        let pointer = shown(one.get("pointer"));
        for (mark, side) in [('-', "before"), ('+', "after")] {
            if let Some(value) = one.get(side).filter(|value| !value.is_null()) {
                text.push_str(&format!("\n{mark}   {pointer}: {}", shown(Some(value))));
            }
        }
    }
    text
}

pub(super) async fn export(cx: &Context, args: Export) -> Result<Exit, CliError> {
    let mut set = cx.client()?.in_tenant(Call::get(&["definitions"])).await?.json()?;
    if let Some(wanted) = &args.action {
        let Some(Value::Array(actions)) = set.get_mut("actions") else {
            return Err(CliError::failed("the server's answer is no set of definitions"));
        };
        actions.retain(|action| action.get("name").and_then(Value::as_str) == Some(wanted));
        if actions.is_empty() {
            return Err(CliError::new(Exit::NotFound, format!("there is no action {wanted}")));
        }
    }
    let text =
        serde_saphyr::to_string(&set).map_err(|error| CliError::failed(error.to_string()))?;
    cx.output.text_or_data(text.trim_end(), "/actions/0/name", &set)?;
    Ok(Exit::Done)
}

pub(super) async fn apply(cx: &Context, args: Apply) -> Result<Exit, CliError> {
    let local = Local::read(&args.files)?;
    let client = cx.client()?;
    let body = local.body(json!({ "prune": args.prune }))?;
    if args.prune && !args.dry_run {
        ask_to_delete(cx, &client, &local, &body).await?;
    }
    let verb = if args.dry_run { "diff" } else { "apply" };
    let (count, files) = (local.set.actions.len(), local.texts.len());
    let (actions, files) = (counted(count, "action", "actions"), counted(files, "file", "files"));
    let progress = Progress::step(cx, format!("{verb}: {actions} of {files}"));
    let plan = post(&client, verb, &body).await.map_err(|error| local.placed(error))?;
    drop(progress);
    warn(cx, &local, &plan);
    let done = changes(&plan);
    if cx.output.wants_data() {
        let columns =
            [column("kind", "/kind"), column("name", "/name"), column("change", "/change")];
        cx.output.list(&columns, "/name", &done)?;
    } else {
        for change in &done {
            cx.output.print(&line(change))?;
        }
    }
    if args.dry_run {
        cx.output.note("nothing was changed: this was a dry run");
    }
    Ok(Exit::Done)
}

/// Deleting is asked for with the names of what would go.
async fn ask_to_delete(
    cx: &Context,
    client: &Client,
    local: &Local,
    body: &Value,
) -> Result<(), CliError> {
    let plan = post(client, "diff", body).await.map_err(|error| local.placed(error))?;
    let gone: Vec<String> =
        changes(&plan).iter().filter(|change| word(change) == "deleted").map(line).collect();
    if gone.is_empty() {
        return Ok(());
    }
    let samples: Vec<String> = gone.iter().take(SAMPLES).cloned().collect();
    let what = counted(gone.len(), "definition", "definitions");
    cx.confirm.ask(&format!("delete {what} that no file names"), &samples)
}
