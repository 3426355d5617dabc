//! `actions execute`.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::client::Call;
use super::error::CliError;
use super::exit::Exit;
use super::output::shown;
use super::{Context, data};
use crate::config::duration;

/// Run an action without an event
///
/// Examples:
///   actions execute welcome email=user@example.com --wait
///   actions execute report --at 10m --priority low
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Execute {
    #[arg(value_name = "ACTION")]
    action: String,
    /// The input as key=text or key:=json
    #[arg(value_name = "KEY=TEXT")]
    words: Vec<String>,
    /// The input as JSON: a text, @FILE, or @- for standard input
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// How urgent it is: low, normal, high, very_high or critical
    #[arg(long, value_name = "PRIORITY")]
    priority: Option<String>,
    /// Start no earlier than this long after now, or than this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Wait until it has ended
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s", value_parser = duration)]
    wait: Option<Duration>,
}

pub(super) async fn run(cx: &Context, args: Execute) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let input = data::data(args.data.as_deref(), &args.words)?;
    let mut rest = serde_json::Map::new();
    if let Some(priority) = &args.priority {
        rest.insert("priority".to_owned(), Value::String(priority.clone()));
    }
    if let Some(at) = &args.at {
        let (name, value) = data::start(at)?;
        rest.insert(name.to_owned(), value);
    }
    let path = format!("{}:execute", args.action);
    let body = data::with_raw(rest, "input", &input);
    let mut call =
        Call::new(reqwest::Method::POST, &["actions", &path]).body("application/json", body);
    if let Some(wait) = args.wait {
        call = call.wait(wait);
    }
    let answer = client.in_tenant(call).await?.json()?;
    let status = answer.get("status").and_then(Value::as_str).unwrap_or("pending");
    let mut text = format!("execution {}  {status}", shown(answer.get("id")));
    if let Some(message) = answer.pointer("/error/message") {
        text.push_str(&format!("\n  {}", shown(Some(message))));
    } else if let Some(output) = answer.get("output").filter(|output| !output.is_null()) {
        text.push_str(&format!("\n  {}", shown(Some(output))));
    }
    cx.output.text_or_data(&text, "/id", &answer)?;
    Ok(match (args.wait, status) {
        (None, _) | (_, "completed" | "skipped") => Exit::Done,
        (Some(_), "failed" | "timeout" | "cancelled") => Exit::WorkFailed,
        (Some(_), _) => Exit::WaitTimedOut,
    })
}
