//! `actions explain`.

use actions_domain::limits::PAGE_MAX;
use clap::Args;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::client::Call;
use super::error::CliError;
use super::exit::Exit;
use super::output::{column, shown};
use super::{Context, data};

/// Tell for every subscription why an event matches it or not
///
/// Those that match come first. Exits with 1 when nothing matches.
///
/// Examples:
///   actions explain users.created tier=premium --all
///   actions explain orders.placed --source-service shop
///   actions explain 0199c2f0-5e5b-7c5e-9d7d-0e2b9c3d4f5a
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Explain {
    /// The type of a sample event, or the id of a stored one
    #[arg(value_name = "TYPE|EVENT_ID")]
    what: String,
    #[command(flatten)]
    sample: Sample,
    /// Also those that do not match
    #[arg(long)]
    all: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = PAGE_MAX, value_parser = clap::value_parser!(u32).range(1..=i64::from(PAGE_MAX)))]
    limit: u32,
}

/// What a sample event has beside its type.
#[derive(Debug, Args)]
struct Sample {
    /// The sample's data as key=text or key:=json
    #[arg(value_name = "KEY=TEXT")]
    words: Vec<String>,
    /// The sample's data as JSON: a text, @FILE, or @- for standard input
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// Where the sample happened
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// The service that the sample comes from, as filters see it
    #[arg(long, value_name = "NAME")]
    source_service: Option<String>,
    /// The user that the sample is about, as filters see it
    #[arg(long, value_name = "UUID")]
    user: Option<String>,
    /// The organization that the sample belongs to, as filters see it
    #[arg(long, value_name = "UUID")]
    organization: Option<String>,
}

impl Sample {
    fn is_empty(&self) -> bool {
        let texts =
            [&self.data, &self.source, &self.source_service, &self.user, &self.organization];
        self.words.is_empty() && texts.iter().all(|text| text.is_none())
    }

    /// The event, with the data byte for byte as it was given.
    fn body(&self, event_type: &str) -> Result<String, CliError> {
        let data = data::data(self.data.as_deref(), &self.words)?;
        let mut rest = Map::new();
        rest.insert("type".to_owned(), json!(event_type));
        let texts = [
            ("source", &self.source),
            ("source_service", &self.source_service),
            ("user_id", &self.user),
            ("organization_id", &self.organization),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                rest.insert(name.to_owned(), json!(text));
            }
        }
        Ok(data::with_raw(rest, "data", &data))
    }
}

pub(super) async fn run(cx: &Context, args: Explain) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let call = if args.what.parse::<Uuid>().is_ok() {
        if !args.sample.is_empty() {
            let message = "a stored event has its own data and attributes, so none can be given";
            return Err(CliError::usage(message)
                .with_hint("give a type like users.created instead of an id"));
        }
        Call::get(&["events", &args.what, "matches"]).query("all", args.all)
    } else {
        let body = args.sample.body(&args.what)?;
        let path = ["events:explain"];
        Call::new(reqwest::Method::POST, &path).body("application/json", body)
    };
    let answer = client.in_tenant(call.query("limit", args.limit)).await?.json()?;
    let found = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    let matched = |one: &Value| one.get("matched").and_then(Value::as_bool).unwrap_or(false);
    let shown: Vec<Value> = found.into_iter().filter(|one| args.all || matched(one)).collect();
    let counted = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or(0);
    let (matching, total) = (counted("matching"), counted("total"));
    if cx.output.wants_data() || cx.output.format == super::output::Format::Name {
        let columns = [column("action", "/action"), column("matched", "/matched")];
        cx.output.list(&columns, "/action", &shown)?;
    } else {
        for one in &shown {
            cx.output.print(&told(one))?;
        }
    }
    let wanted = if args.all { total } else { matching };
    let more = wanted.saturating_sub(shown.len() as u64);
    if more > 0 {
        cx.output.note(&format!(
            "{more} more; --limit shows up to {PAGE_MAX}, `actions action test` answers for one action"
        ));
    }
    let others = total.saturating_sub(matching);
    if matching == 0 {
        let hint = if args.all || total == 0 { "" } else { "; --all says why" };
        cx.output.note(&match total {
            0 => "the tenant has no subscription and no action with a pattern".to_owned(),
            1 => format!("the only subscription does not match{hint}"),
            _ => format!("none of {total} subscriptions matches{hint}"),
        });
    } else if others > 0 && !args.all {
        let verb = if others == 1 { "subscription does" } else { "subscriptions do" };
        cx.output.note(&format!("{others} other {verb} not match; --all says why"));
    }
    Ok(if matching == 0 { Exit::Failed } else { Exit::Done })
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
