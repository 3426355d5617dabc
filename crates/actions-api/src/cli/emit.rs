//! `actions emit`.

use std::time::Duration;

use actions_domain::limits::PAGE_MAX;
use actions_domain::ports::clock::Clock;
use clap::Args;
use serde_json::{Map, Value, json};

use super::client::{Call, Client};
use super::error::CliError;
use super::execution::why_text;
use super::exit::Exit;
use super::output::{counted, shown};
use super::progress::Progress;
use super::{Context, data};
use crate::config::duration;

/// How long `--wait` waits unless it says.
const WAIT_DEFAULT: &str = "30s";

/// Send an event
///
/// Data is typed as key=text or key:=json. Dots make objects: order.total:=12.
///
/// Examples:
///   actions emit users.created email=user@example.com --wait
///   actions emit orders.placed --data @order.json
///   actions emit orders.placed order_id=9 --key order:9 --count 100 --rate 20
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Emit {
    /// What happened, like users.created
    #[arg(value_name = "TYPE")]
    event_type: String,
    /// Data as key=text or key:=json
    #[arg(value_name = "KEY=TEXT")]
    words: Vec<String>,
    /// Data as JSON: a text, @FILE, or @- for standard input
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// Where it happened
    #[arg(long, default_value = "cli", value_name = "SOURCE")]
    source: String,
    /// Your own id for it: a second event with the same source and id changes nothing
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// What it is about
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// The affinity key of what it leads to
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// What it leads to starts no earlier than this long after now, or than this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Wait until everything that it led to has ended
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = WAIT_DEFAULT, value_parser = duration)]
    wait: Option<Duration>,
    /// How many to send
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    count: u64,
    /// How many to send in a second, at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: Option<u32>,
}

pub(super) async fn run(cx: &Context, args: Emit) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let body = body(&args)?;
    if args.count == 1 {
        let answer = send(&client, &body, args.wait).await?;
        cx.output.text_or_data(&told(cx, &client, &answer).await, "/id", &answer)?;
        return Ok(exit_of(&answer, args.wait.is_some()));
    }
    if args.id.is_some() {
        return Err(CliError::usage("--id names one event, so it cannot go with --count"));
    }
    many(cx, &client, &body, &args).await
}

/// The request, with the data byte for byte as it was given.
fn body(args: &Emit) -> Result<String, CliError> {
    let data = data::data(args.data.as_deref(), &args.words)?;
    let mut rest = Map::new();
    rest.insert("type".to_owned(), json!(args.event_type));
    rest.insert("source".to_owned(), json!(args.source));
    let texts = [("id", &args.id), ("subject", &args.subject), ("partitionkey", &args.key)];
    for (name, text) in texts {
        if let Some(text) = text {
            rest.insert(name.to_owned(), json!(text));
        }
    }
    if let Some(at) = &args.at {
        let (name, value) = data::start(at)?;
        rest.insert(name.to_owned(), value);
    }
    Ok(data::with_raw(rest, "data", &data))
}

async fn send(client: &Client, body: &str, wait: Option<Duration>) -> Result<Value, CliError> {
    let mut call = Call::new(reqwest::Method::POST, &["events"]).body("application/json", body);
    if let Some(wait) = wait {
        call = call.wait(wait);
    }
    client.in_tenant(call).await?.json()
}

fn executions(answer: &Value) -> impl Iterator<Item = &Value> {
    answer.get("executions").and_then(Value::as_array).into_iter().flatten()
}

/// What became of one event.
async fn told(cx: &Context, client: &Client, answer: &Value) -> String {
    let is_repeated = answer.get("duplicate").and_then(Value::as_bool).unwrap_or(false);
    let mut text = format!(
        "event {}{}",
        shown(answer.get("id")),
        if is_repeated { " (it was there already)" } else { "" }
    );
    let mut count = 0;
    for made in executions(answer) {
        count += 1;
        text.push_str(&format!("\n  {}  {}", shown(made.get("id")), shown(made.get("action"))));
        if let Some(status) = made.get("status").and_then(Value::as_str) {
            text.push_str(&format!("  {status}"));
            if count <= WHY_MAX && matches!(status, "pending" | "retrying") {
                text.push_str(&why_not_yet(client, &shown(made.get("id"))).await);
            }
        }
        if let Some(message) = made.pointer("/error/message") {
            text.push_str(&format!("  {}", shown(Some(message))));
        }
    }
    for (list, how) in [("joined", "its batch takes it along"), ("yielded", "stands for it")] {
        for other in answer.get(list).and_then(Value::as_array).into_iter().flatten() {
            count += 1;
            let (execution, action) = (shown(other.get("execution")), shown(other.get("action")));
            text.push_str(&format!("\n  {execution}  {action}  {how}"));
        }
    }
    if count == 0 && !cx.output.wants_data() {
        text.push_str(&why_nothing(cx, client, &shown(answer.get("id"))).await);
    }
    text
}

/// Executions of one event whose wait is explained.
const WHY_MAX: usize = 5;

/// What keeps an execution from running after all this time.
async fn why_not_yet(client: &Client, execution: &str) -> String {
    // Whoever may send events may not be allowed to ask.
    match client.in_tenant(Call::get(&["executions", execution, "why"])).await {
        Ok(answer) => format!(": {}", why_text(&answer.json().unwrap_or_default())),
        Err(_) => String::new(),
    }
}

/// What only keeps an action from running, and what ends it.
const BLOCKS: [(&str, &str, &str); 3] = [
    ("action_active", "action enable {}", "switches it on"),
    ("action_healthy", "action show {}", "tells of its health"),
    ("handler_installed", "handler list", "shows what is installed"),
];

/// Why an event led to nothing: an action that would run is blocked, or none is meant.
async fn why_nothing(cx: &Context, client: &Client, event: &str) -> String {
    let call = Call::get(&["events", event, "matches"]).query("all", true).query("limit", PAGE_MAX);
    // Whoever may send events may not be allowed to ask; then the hint has to do.
    let explained = match client.in_tenant(call).await {
        Ok(answer) => answer.json().unwrap_or_default(),
        Err(_) => Value::Null,
    };
    let mut text = String::new();
    let ways = explained.get("items").and_then(Value::as_array).into_iter().flatten();
    for way in ways {
        let last = way.get("checks").and_then(Value::as_array).and_then(|checks| checks.last());
        let stopped = last.filter(|check| check.get("passed") == Some(&Value::Bool(false)));
        let check = stopped.and_then(|check| check.get("check")).and_then(Value::as_str);
        let block = BLOCKS.iter().find(|(name, ..)| Some(*name) == check);
        let Some((_, command, does)) = block else { continue };
        let (action, because) = (shown(way.get("action")), shown(way.get("because")));
        let command = cx.again(&command.replace("{}", &action));
        let line = format!("\n  {action} is blocked: {because}; `{command}` {does}");
        // Several ways may lead to one action.
        if !text.contains(&line) {
            text.push_str(&line);
        }
    }
    if text.is_empty() {
        let command = cx.again(&format!("explain {event} --all"));
        text = format!("\n  no action matched; `{command}` says why");
    }
    text
}

/// Sends the same event again and again, at most so many a second.
async fn many(cx: &Context, client: &Client, body: &str, args: &Emit) -> Result<Exit, CliError> {
    let clock = crate::wiring::clock();
    let mut progress = Progress::count(cx, args.count, "events sent");
    let begun = clock.now();
    let mut worst = Exit::Done;
    for sent in 0..args.count {
        if let Some(rate) = args.rate {
            pace(clock.as_ref(), begun, sent, rate).await;
        }
        let answer = send(client, body, args.wait).await?;
        if cx.output.wants_data() {
            cx.output.verbatim(&answer.to_string())?;
        }
        if let Exit::WorkFailed | Exit::WaitTimedOut = exit_of(&answer, args.wait.is_some()) {
            worst = exit_of(&answer, true);
        }
        progress.add(1);
    }
    drop(progress);
    let count = usize::try_from(args.count).unwrap_or(usize::MAX);
    cx.output.note(&format!("{} sent", counted(count, "event", "events")));
    Ok(worst)
}

fn exit_of(answer: &Value, waited: bool) -> Exit {
    if !waited {
        return Exit::Done;
    }
    let status = |made: &Value| made.get("status").and_then(Value::as_str).map(str::to_owned);
    let all: Vec<String> = executions(answer).filter_map(status).collect();
    if all.iter().any(|status| matches!(status.as_str(), "failed" | "timeout" | "cancelled")) {
        Exit::WorkFailed
    } else if all.iter().any(|status| !matches!(status.as_str(), "completed" | "skipped")) {
        Exit::WaitTimedOut
    } else {
        Exit::Done
    }
}

/// Waits until the `sent`th event is due.
async fn pace(clock: &dyn Clock, begun: actions_domain::Timestamp, sent: u64, rate: u32) {
    let due = Duration::from_secs(1).mul_f64(sent as f64 / f64::from(rate));
    let passed = (clock.now() - begun).to_std().unwrap_or_default();
    if let Some(pause) = due.checked_sub(passed) {
        clock.sleep(pause).await;
    }
}
