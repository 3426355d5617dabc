//! `actions explain`.

use clap::Args;
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::Call;
use super::error::CliError;
use super::exit::Exit;
use super::output::{column, shown};
use super::{Context, data};

/// Tell for every subscription why an event matches it or not
///
/// Exits with 1 when nothing matches.
///
/// Examples:
///   actions explain users.created tier=premium --all
///   actions explain 0199c2f0-5e5b-7c5e-9d7d-0e2b9c3d4f5a
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Explain {
    /// The type of a sample event, or the id of a stored one
    #[arg(value_name = "TYPE|EVENT_ID")]
    what: String,
    /// The sample's data as key=text or key:=json
    #[arg(value_name = "KEY=TEXT")]
    words: Vec<String>,
    /// The sample's data as JSON: a text, @FILE, or @- for standard input
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// Also those that do not match
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(cx: &Context, args: Explain) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let call = if args.what.parse::<Uuid>().is_ok() {
        Call::get(&["events", &args.what, "matches"]).query("all", args.all)
    } else {
        let data = data::data(args.data.as_deref(), &args.words)?;
        let body = format!("{{\"type\":{},\"data\":{data}}}", json!(args.what));
        Call::new(reqwest::Method::POST, &["events:explain"]).body("application/json", body)
    };
    let answer = client.in_tenant(call).await?.json()?;
    let found = answer.get("items").or_else(|| answer.get("explanations"));
    let found = found.and_then(Value::as_array).cloned().unwrap_or_default();
    let matched = |one: &Value| one.get("matched").and_then(Value::as_bool).unwrap_or(false);
    let count = found.iter().filter(|one| matched(one)).count();
    let shown: Vec<Value> = found.into_iter().filter(|one| args.all || matched(one)).collect();
    if cx.output.wants_data() || cx.output.format == super::output::Format::Name {
        let columns = [column("action", "/action"), column("matched", "/matched")];
        cx.output.list(&columns, "/action", &shown)?;
    } else {
        for one in &shown {
            cx.output.print(&told(one))?;
        }
        if count == 0 {
            let hint = if args.all { "" } else { "; --all says why" };
            cx.output.note(&format!("nothing matches{hint}"));
        }
    }
    Ok(if count == 0 { Exit::Failed } else { Exit::Done })
}

/// One way to an action as a small tree.
pub(super) fn told(explanation: &Value) -> String {
    let matched = explanation.get("matched").and_then(Value::as_bool).unwrap_or(false);
    let mut text = format!(
        "{} {}  {}",
        if matched { "✓" } else { "✗" },
        shown(explanation.get("action")),
        shown(explanation.get("because")),
    );
    for check in explanation.get("checks").and_then(Value::as_array).into_iter().flatten() {
        let passed = check.get("passed").and_then(Value::as_bool).unwrap_or(false);
        text.push_str(&format!(
            "\n    {} {}: {}",
            if passed { "✓" } else { "✗" },
            shown(check.get("check")),
            shown(check.get("detail")),
        ));
    }
    text
}
