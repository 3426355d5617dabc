//! `actions action`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Call, Client};
use super::error::CliError;
use super::exit::Exit;
use super::output::{Column, column, shown, wide};
use super::page::at_least_one;
use super::{Context, data, page};

const COLUMNS: [Column; 9] = [
    column("name", "/name"),
    column("handler", "/handler"),
    column("patterns", "/event_patterns"),
    column("active", "/is_active"),
    column("status", "/status"),
    wide("type", "/action_type"),
    wide("priority", "/priority"),
    wide("version", "/version"),
    wide("blocked", "/blocked_reason"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// List the actions of the tenant
    #[command(visible_alias = "ls")]
    List(List),
    /// Print one action
    Show(One),
    /// Let an action run again
    Enable(One),
    /// Let an action start nothing more
    Disable(One),
    /// Let an action start nothing more for a while; what comes in waits
    Pause(Pause),
    /// Let a paused action go on
    Resume(One),
    /// Show what an event would do to one action, without doing it
    Test(Test),
    /// Delete an action with its subscriptions
    Delete(One),
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
pub(super) struct Pause {
    #[arg(value_name = "NAME")]
    name: String,
    /// Why, for whoever looks at it later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Test {
    #[arg(value_name = "NAME")]
    name: String,
    /// The event's type
    #[arg(value_name = "TYPE")]
    event_type: String,
    /// The event's data as key=text or key:=json
    #[arg(value_name = "KEY=TEXT")]
    words: Vec<String>,
    /// The event's data as JSON: a text, @FILE, or @- for standard input
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
}

pub(super) async fn run(cx: &Context, command: Action) -> Result<Exit, CliError> {
    let client = cx.client()?;
    match command {
        Action::List(args) => {
            let listed = page::list(&client, args.limit, || Call::get(&["actions"])).await?;
            listed.print(cx, &COLUMNS, "/name")?;
        }
        Action::Show(args) => {
            let action = client.in_tenant(Call::get(&["actions", &args.name])).await?.json()?;
            let text = serde_saphyr::to_string(&action)
                .map_err(|error| CliError::failed(error.to_string()))?;
            cx.output.text_or_data(text.trim_end(), "/name", &action)?;
        }
        Action::Enable(args) => switch(cx, &client, &args.name, "enable").await?,
        Action::Disable(args) => switch(cx, &client, &args.name, "disable").await?,
        Action::Pause(args) => {
            let path = format!("{}:pause", args.name);
            let call = Call::post(&["actions", &path], &json!({ "reason": args.reason }));
            let controls = client.in_tenant(call).await?.json()?;
            let text = format!("action {} paused; what comes in waits", args.name);
            cx.output.text_or_data(&text, "/paused_actions", &controls)?;
        }
        Action::Resume(args) => {
            let path = format!("{}:resume", args.name);
            let call = Call::post(&["actions", &path], &json!({}));
            let controls = client.in_tenant(call).await?.json()?;
            let text = format!("action {} goes on", args.name);
            cx.output.text_or_data(&text, "/paused_actions", &controls)?;
        }
        Action::Delete(args) => {
            cx.confirm.ask(&format!("delete the action {}", args.name), &[])?;
            let found = client.in_tenant(Call::get(&["actions", &args.name])).await?;
            let tag = found.header("etag").unwrap_or("*").to_owned();
            let call = Call::new(reqwest::Method::DELETE, &["actions", &args.name]);
            client.in_tenant(call.header("if-match", tag)).await?;
            let name = json!({ "name": args.name });
            cx.output.text_or_data(&format!("action {} deleted", args.name), "/name", &name)?;
        }
        Action::Test(args) => return test(cx, &client, args).await,
    }
    Ok(Exit::Done)
}

async fn switch(cx: &Context, client: &Client, name: &str, verb: &str) -> Result<(), CliError> {
    let path = format!("{name}:{verb}");
    let call = Call::post(&["actions", &path], &json!({}));
    let action = client.in_tenant(call).await?.json()?;
    cx.output.text_or_data(&format!("action {name} {verb}d"), "/name", &action)
}

async fn test(cx: &Context, client: &Client, args: Test) -> Result<Exit, CliError> {
    let data = data::data(args.data.as_deref(), &args.words)?;
    let path = format!("{}:test", args.name);
    let event = format!("{{\"type\":{},\"data\":{data}}}", json!(args.event_type));
    let body = format!("{{\"event\":{event}}}");
    let call = Call::new(reqwest::Method::POST, &["actions", &path]);
    let answer = client.in_tenant(call.body("application/json", body)).await?.json()?;
    cx.output.text_or_data(&tested(&answer), "/action", &answer)?;
    let matched = answer.get("matched").and_then(Value::as_bool).unwrap_or(false);
    Ok(if matched { Exit::Done } else { Exit::Failed })
}

fn tested(answer: &Value) -> String {
    let explanations = answer.get("explanations").and_then(Value::as_array);
    let ways = explanations.into_iter().flatten().map(super::explain::told);
    std::iter::once(shown(answer.get("reason"))).chain(ways).collect::<Vec<_>>().join("\n")
}
