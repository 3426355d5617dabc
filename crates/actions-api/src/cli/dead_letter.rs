//! `actions dead-letter`: triage of what failed for good, by cause.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Call, Client};
use super::error::CliError;
use super::exit::Exit;
use super::output::{Column, column, shown, wide};
use super::page::{Listed, at_least_one};
use super::progress::Progress;
use super::{Context, page};

const GROUPS: [Column; 6] = [
    column("group", "/fingerprint"),
    column("count", "/count"),
    column("action", "/action"),
    column("first", "/first_at"),
    column("last", "/last_at"),
    column("message", "/sample/message"),
];

const LETTERS: [Column; 6] = [
    column("id", "/id"),
    column("action", "/action"),
    column("died", "/died_at"),
    column("attempts", "/attempt_count"),
    column("message", "/error/message"),
    wide("group", "/fingerprint"),
];

/// Dead letters of one request.
const PIECE: usize = 200;
/// Samples that a question shows.
const SAMPLES: usize = 5;

#[derive(Debug, Subcommand)]
pub(super) enum DeadLetter {
    /// Show the causes, the largest first
    Groups,
    /// List dead letters, newest first
    #[command(visible_alias = "ls")]
    List(List),
    /// Print one dead letter
    Show(One),
    /// Run dead letters again
    Requeue(Selection),
    /// Forget dead letters
    Discard(Discard),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those of this group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Only those of this action
    #[arg(long, value_name = "NAME")]
    action: Option<String>,
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
pub(super) struct Selection {
    /// Their ids
    #[arg(value_name = "ID", required_unless_present = "group")]
    ids: Vec<String>,
    /// All of a group instead
    #[arg(long, value_name = "GROUP", conflicts_with = "ids")]
    group: Option<String>,
    /// At most so many of the group
    #[arg(long, default_value_t = 500, value_name = "N", value_parser = at_least_one)]
    limit: usize,
}

#[derive(Debug, Args)]
pub(super) struct Discard {
    #[command(flatten)]
    selection: Selection,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(super) async fn run(cx: &Context, command: DeadLetter) -> Result<Exit, CliError> {
    let client = cx.client()?;
    match command {
        DeadLetter::Groups => {
            let answer = client.in_tenant(Call::get(&["dead-letters", "groups"])).await?.json()?;
            let items = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
            cx.output.list(&GROUPS, "/fingerprint", &items)?;
        }
        DeadLetter::List(args) => {
            let (group, action) = (args.group.as_deref(), args.action.as_deref());
            let listed = letters(&client, args.limit, group, action).await?;
            listed.print(cx, &LETTERS, "/id")?;
        }
        DeadLetter::Show(args) => {
            let letter = client.in_tenant(Call::get(&["dead-letters", &args.id])).await?.json()?;
            cx.output.one(&LETTERS.map(Column::everywhere), "/id", &letter)?;
            if !cx.output.wants_data() {
                let command = cx.again(&format!("execution show {}", args.id));
                cx.output.note(&format!("{command} has its timeline"));
            }
        }
        DeadLetter::Requeue(selection) => {
            return apply(cx, &client, "requeue", &selection, None).await;
        }
        DeadLetter::Discard(args) => {
            let reason = Some(args.reason.as_str());
            return apply(cx, &client, "discard", &args.selection, reason).await;
        }
    }
    Ok(Exit::Done)
}

async fn letters(
    client: &Client,
    limit: usize,
    group: Option<&str>,
    action: Option<&str>,
) -> Result<Listed, CliError> {
    page::list(client, limit, || {
        Call::get(&["dead-letters"]).query_if("fingerprint", group).query_if("action", action)
    })
    .await
}

/// Shows what would be changed, asks, and changes it in pieces.
async fn apply(
    cx: &Context,
    client: &Client,
    verb: &str,
    selection: &Selection,
    reason: Option<&str>,
) -> Result<Exit, CliError> {
    let ids = chosen(cx, client, verb, selection).await?;
    if let [id] = ids.as_slice() {
        let path = format!("{id}:{verb}");
        let body = reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
        let answer = client.in_tenant(Call::post(&["dead-letters", &path], &body)).await?.json()?;
        return report(cx, verb, &ids, &[answer]);
    }
    let mut progress = Progress::count(cx, ids.len() as u64, "dead letters");
    let path = format!("dead-letters:{verb}");
    let mut answers = Vec::new();
    for piece in ids.chunks(PIECE) {
        let mut body = json!({ "ids": piece });
        if let Some(reason) = reason {
            body["reason"] = json!(reason);
        }
        answers.push(client.in_tenant(Call::post(&[&path], &body)).await?.json()?);
        progress.add(piece.len() as u64);
    }
    drop(progress);
    report(cx, verb, &ids, &answers)
}

/// Prints what became of each, and how many there were. What was not done fails the command.
fn report(cx: &Context, verb: &str, ids: &[String], answers: &[Value]) -> Result<Exit, CliError> {
    let listed = |name: &str| {
        let lists = answers.iter().filter_map(|answer| answer.get(name)?.as_array());
        lists.flatten().cloned().collect::<Vec<Value>>()
    };
    let (executions, refused) = (listed("executions"), listed("refused"));
    let counted = |name: &str| -> usize {
        let counts = answers.iter().filter_map(|answer| answer.get(name)?.as_u64());
        usize::try_from(counts.sum::<u64>()).unwrap_or(usize::MAX)
    };
    let done = counted("requeued") + counted("discarded");
    if verb == "requeue" {
        let columns = [column("dead", "/dead_id"), column("execution", "/execution_id")];
        cx.output.list(&columns, "/execution_id", &executions)?;
    } else if cx.output.wants_data() {
        cx.output.list(&[], "", &[json!({ "discarded": done })])?;
    }
    for one in &refused {
        cx.output.note(&format!("{}  {}", shown(one.get("id")), shown(one.get("reason"))));
    }
    let asked: BTreeSet<String> = ids.iter().map(|id| id.to_ascii_lowercase()).collect();
    let left = asked.len().saturating_sub(done);
    let unknown = left.saturating_sub(refused.len());
    if verb == "requeue" {
        let answered = executions.iter().filter_map(|one| one.get("dead_id")?.as_str());
        let answered = answered.chain(refused.iter().filter_map(|one| one.get("id")?.as_str()));
        let answered: BTreeSet<&str> = answered.collect();
        for id in asked.iter().filter(|id| !answered.contains(id.as_str())) {
            cx.output.note(&format!("{id}  is no dead letter"));
        }
    }
    cx.output.note(&format!("{verb}: {done} done, {} refused, {unknown} unknown", refused.len()));
    Ok(match (left, unknown) {
        (0, _) => Exit::Done,
        (_, 0) => Exit::Conflict,
        _ => Exit::NotFound,
    })
}

/// The ids, after the caller agreed to touch more than one.
async fn chosen(
    cx: &Context,
    client: &Client,
    verb: &str,
    selection: &Selection,
) -> Result<Vec<String>, CliError> {
    let Some(group) = &selection.group else {
        if selection.ids.len() > 1 {
            let what = format!("{verb} {} dead letters", selection.ids.len());
            let samples: Vec<String> = selection.ids.iter().take(SAMPLES).cloned().collect();
            cx.confirm.ask(&what, &samples)?;
        }
        return Ok(selection.ids.clone());
    };
    let Listed { items: letters, is_cut } =
        letters(client, selection.limit, Some(group), None).await?;
    if letters.is_empty() {
        return Err(CliError::new(
            Exit::NotFound,
            format!("there is no dead letter in group {group}"),
        ));
    }
    let sample = |letter: &Value| {
        format!("{}  {}", shown(letter.get("id")), shown(letter.pointer("/error/message")))
    };
    let samples: Vec<String> = letters.iter().take(SAMPLES).map(sample).collect();
    cx.confirm.ask(&format!("{verb} {} dead letters of group {group}", letters.len()), &samples)?;
    if is_cut {
        cx.output
            .note(&format!("the group has more than these {}; --limit takes more", letters.len()));
    }
    Ok(letters.iter().filter_map(|letter| Some(letter.get("id")?.as_str()?.to_owned())).collect())
}
