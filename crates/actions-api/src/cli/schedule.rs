//! `actions schedule`.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::client::Call;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Column, column, shown, wide};
use super::page::at_least_one;
use super::{Context, data, page};
use crate::config::duration;

const COLUMNS: [Column; 11] = [
    column("name", "/name"),
    column("action", "/action"),
    column("event", "/event_type"),
    column("cron", "/cron"),
    column("active", "/is_active"),
    column("next", "/next_at"),
    column("last", "/last_at"),
    wide("timezone", "/timezone"),
    wide("every s", "/every_seconds"),
    wide("execution", "/last_execution"),
    wide("error", "/last_error"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Schedule {
    /// List the schedules of the tenant with their next and last times
    #[command(visible_alias = "ls")]
    List(List),
    /// Print one schedule
    Show(One),
    /// Create a schedule
    Create(Box<Create>),
    /// Delete a schedule; what it has started goes on
    Delete(One),
    /// Let a schedule fire nothing more until it is resumed
    Pause(One),
    /// Let a paused schedule go on; nothing is made up for
    Resume(One),
    /// Start what a schedule asks for once, now
    Fire(One),
    /// Print the coming times of a schedule
    Next(Next),
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
pub(super) struct Next {
    #[arg(value_name = "NAME")]
    name: String,
    /// So many
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = at_least_one)]
    count: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Missed {
    Skip,
    Once,
    All,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Overlap {
    Allow,
    Skip,
}

/// Create a schedule
///
/// Examples:
///   actions schedule create nightly --action report --cron '30 2 * * *' --timezone Europe/Berlin
///   actions schedule create beat --event system.beat --every 30s
///   actions schedule create launch --action announce --at 2030-01-01T09:00:00Z text=hello
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
#[command(group = ArgGroup::new("when").required(true).args(["cron", "every", "at"]))]
#[command(group = ArgGroup::new("target").required(true).args(["action", "event"]))]
pub(super) struct Create {
    #[arg(value_name = "NAME")]
    name: String,
    /// The job's input, or the event's data, as key=text or key:=json
    #[arg(value_name = "KEY=TEXT")]
    words: Vec<String>,
    /// The same as JSON: a text, @FILE, or @- for standard input
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// The action to run as a job
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// The type of the event to emit
    #[arg(long, value_name = "TYPE")]
    event: Option<String>,
    /// Minute, hour, day, month and weekday
    #[arg(long, value_name = "CRON")]
    cron: Option<String>,
    /// Whose clocks the cron text speaks of; UTC if it is not given
    #[arg(long, value_name = "ZONE", requires = "cron")]
    timezone: Option<String>,
    /// Every so often, in whole seconds
    #[arg(long, value_name = "TIME", value_parser = duration)]
    every: Option<Duration>,
    /// Once (RFC 3339)
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// What becomes of times that were missed
    #[arg(long, value_name = "POLICY")]
    missed: Option<Missed>,
    /// Whether it fires while its last execution is unfinished
    #[arg(long, value_name = "POLICY")]
    overlap: Option<Overlap>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

pub(super) async fn run(cx: &Context, command: Schedule) -> Result<Exit, CliError> {
    let client = cx.client()?;
    match command {
        Schedule::List(args) => {
            let listed = page::list(&client, args.limit, || Call::get(&["schedules"])).await?;
            listed.print(cx, &COLUMNS, "/name")?;
        }
        Schedule::Show(args) => {
            let found = client.in_tenant(Call::get(&["schedules", &args.name])).await?.json()?;
            let text = serde_saphyr::to_string(&found)
                .map_err(|error| CliError::failed(error.to_string()))?;
            cx.output.text_or_data(text.trim_end(), "/name", &found)?;
        }
        Schedule::Create(args) => {
            let body = args.body()?;
            let call = Call::new(reqwest::Method::POST, &["schedules"]);
            let made = client.in_tenant(call.body("application/json", body)).await?.json()?;
            let next = shown(made.get("next_at"));
            let text = format!("schedule {} created; it fires next at {next}", args.name);
            cx.output.text_or_data(&text, "/name", &made)?;
        }
        Schedule::Delete(args) => {
            cx.confirm.ask(&format!("delete the schedule {}", args.name), &[])?;
            let found = client.in_tenant(Call::get(&["schedules", &args.name])).await?;
            let tag = found.header("etag").unwrap_or("*").to_owned();
            let call = Call::new(reqwest::Method::DELETE, &["schedules", &args.name]);
            client.in_tenant(call.header("if-match", tag)).await?;
            let name = json!({ "name": args.name });
            cx.output.text_or_data(&format!("schedule {} deleted", args.name), "/name", &name)?;
        }
        Schedule::Pause(args) => {
            let paused = client.in_tenant(verb(&args.name, "pause")).await?.json()?;
            cx.output.text_or_data(&format!("schedule {} paused", args.name), "/name", &paused)?;
        }
        Schedule::Resume(args) => {
            let resumed = client.in_tenant(verb(&args.name, "resume")).await?.json()?;
            let next = shown(resumed.get("next_at"));
            let text = format!("schedule {} goes on; it fires next at {next}", args.name);
            cx.output.text_or_data(&text, "/name", &resumed)?;
        }
        Schedule::Fire(args) => {
            let fired = client.in_tenant(verb(&args.name, "fire")).await?.json()?;
            let started = fired.get("executions").and_then(Value::as_array);
            let started: Vec<String> =
                started.into_iter().flatten().map(|id| shown(Some(id))).collect();
            let text = format!("schedule {} fired: {}", args.name, started.join(" "));
            cx.output.text_or_data(&text, "/executions/0", &fired)?;
        }
        Schedule::Next(args) => {
            let call = Call::get(&["schedules", &args.name, "next"]).query("count", args.count);
            let found = client.in_tenant(call).await?.json()?;
            let times = found.get("times").and_then(Value::as_array);
            let times: Vec<Value> =
                times.into_iter().flatten().map(|time| json!({ "time": time })).collect();
            cx.output.list(&[column("time", "/time")], "/time", &times)?;
        }
    }
    Ok(Exit::Done)
}

fn verb(name: &str, verb: &str) -> Call {
    Call::post(&["schedules", &format!("{name}:{verb}")], &json!({}))
}

impl Create {
    fn body(&self) -> Result<String, CliError> {
        let every = match self.every {
            Some(every) if every.subsec_nanos() != 0 => {
                return Err(CliError::usage("--every takes whole seconds"));
            }
            every => every.map(|every| json!(every.as_secs())),
        };
        let given = [
            ("name", Some(json!(self.name))),
            ("action", self.action.as_ref().map(|text| json!(text))),
            ("event_type", self.event.as_ref().map(|text| json!(text))),
            ("cron", self.cron.as_ref().map(|text| json!(text))),
            ("timezone", self.timezone.as_ref().map(|text| json!(text))),
            ("every_seconds", every),
            ("at", self.at.as_ref().map(|text| json!(text))),
            ("missed", self.missed.map(value_name)),
            ("overlap", self.overlap.map(value_name)),
            ("description", self.description.as_ref().map(|text| json!(text))),
        ];
        let given = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let data = data::data(self.data.as_deref(), &self.words)?;
        Ok(data::with_raw(Map::from_iter(given), "data", &data))
    }
}

fn value_name(value: impl ValueEnum) -> Value {
    json!(value.to_possible_value().map(|value| value.get_name().to_owned()))
}
