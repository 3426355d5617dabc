//! `actions tenant`.

use std::time::Duration;

use actions_domain::limits::PAGE_MAX;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::Context;
use super::client::{Call, Client};
use super::error::CliError;
use super::exit::Exit;
use super::output::{Column, column, wide};
use super::progress::Progress;

mod export;
mod limits;

const COLUMNS: [Column; 8] = [
    column("slug", "/slug"),
    column("name", "/name"),
    column("paused", "/paused_at"),
    column("suspended", "/suspension/at"),
    wide("why", "/suspension/reason"),
    column("created", "/created_at"),
    wide("id", "/id"),
    wide("definitions", "/defs_version"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Tenant {
    /// List all tenants
    #[command(visible_alias = "ls")]
    List,
    /// Create a tenant
    Create(Create),
    /// Print one tenant
    Show(One),
    /// Print or change what a tenant may use, and who says so
    Limits(limits::Limits),
    /// Print what came in for a tenant on each day
    Usage(limits::Usage),
    /// Print or change how long a tenant's history stays
    Retention(Retention),
    /// Print or change where a tenant's handlers may connect to
    Egress(Egress),
    /// Let nothing more of a tenant start for a while; what comes in waits
    Pause(Pause),
    /// Let a paused tenant go on
    Resume(One),
    /// Let nothing of a tenant start, and accept nothing for it
    Suspend(Pause),
    /// Let a suspended tenant go on where it was
    Reinstate(One),
    /// Print everything that a tenant has, one thing to a line
    Export(One),
    /// Delete a suspended tenant for good, and wait until nothing of it is left
    Delete(Delete),
    /// Print how far the deletion of a tenant is, and its certificate
    Deletion(One),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Its name in paths: a lower-case letter, then letters, digits and '_'
    #[arg(value_name = "SLUG")]
    slug: String,
    /// Its name for people
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct One {
    #[arg(value_name = "SLUG")]
    slug: String,
}

#[derive(Debug, Args)]
pub(super) struct Pause {
    #[arg(value_name = "SLUG")]
    slug: String,
    /// Why, for whoever looks at it later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    #[arg(value_name = "SLUG")]
    slug: String,
    /// Why, for whoever looks at it later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// The slug once more, where nobody can be asked
    #[arg(long, value_name = "SLUG")]
    confirm: Option<String>,
    /// Do not wait
    #[arg(long)]
    no_wait: bool,
}

const DELETION: [Column; 9] = [
    column("slug", "/slug"),
    column("state", "/state"),
    column("requested", "/requested_at"),
    column("by", "/requested_by"),
    column("reason", "/reason"),
    column("finished", "/certificate/finished_at"),
    column("digest", "/certificate/digest"),
    column("intact", "/certificate/intact"),
    column("audit head", "/audit_head"),
];

/// How often it is asked how far a deletion is.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What is not given stays as it is; `none` keeps as long as the installation.
#[derive(Debug, Args)]
pub(super) struct Retention {
    #[arg(value_name = "SLUG")]
    slug: String,
    /// Days of events, executions and dead letters; none keeps them as long as the installation
    #[arg(long, value_name = "DAYS", value_parser = limit)]
    keep_days: Option<Limit>,
    /// Days after which a dead letter expires; none keeps it as long as its execution
    #[arg(long, value_name = "DAYS", value_parser = limit)]
    dead_letter_days: Option<Limit>,
}

/// What is not given stays as it is; `none` empties a list.
#[derive(Debug, Args)]
pub(super) struct Egress {
    #[arg(value_name = "SLUG")]
    slug: String,
    /// Networks that are open although they are not public, joined by commas; none closes them
    #[arg(long, value_name = "NETWORKS", value_delimiter = ',')]
    allow: Option<Vec<String>>,
    /// Hosts and networks beside which nothing is called, joined by commas; none takes that away
    #[arg(long, value_name = "PLACES", value_delimiter = ',')]
    only: Option<Vec<String>>,
    /// Hosts and networks that are never called, joined by commas; none takes that away
    #[arg(long, value_name = "PLACES", value_delimiter = ',')]
    deny: Option<Vec<String>>,
}

/// A limit as it is given. `None`: there is to be none.
#[derive(Debug, Clone, Copy)]
struct Limit(Option<u64>);

fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "none" | "0" => Ok(Limit(None)),
        number => match number.parse() {
            Ok(number) => Ok(Limit(Some(number))),
            Err(_) => Err("expected a whole number, or none".to_owned()),
        },
    }
}

const RETENTION: [Column; 2] = [
    column("keep days", "/retention/keep_days"),
    column("dead letter days", "/retention/dead_letter_days"),
];

const EGRESS: [Column; 3] = [
    column("allow", "/egress/allow"),
    column("only", "/egress/only"),
    column("deny", "/egress/deny"),
];

/// The path of a tenant's controls, whatever tenant the command line is set to.
fn controls<'a>(slug: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&["v1", "tenants", slug], rest].concat()
}

async fn retention(cx: &Context, args: Retention) -> Result<(), CliError> {
    let given = [("keep_days", args.keep_days), ("dead_letter_days", args.dead_letter_days)];
    let known = set(cx, &args.slug, "retention", &given).await?;
    let is_set =
        known.get("retention").and_then(Value::as_object).is_some_and(|set| !set.is_empty());
    if !is_set && !cx.output.wants_data() {
        return cx.output.print("history stays as long as in the installation");
    }
    cx.output.one(&RETENTION, "/retention", &known)
}

async fn egress(cx: &Context, args: Egress) -> Result<(), CliError> {
    let given = [("allow", args.allow), ("only", args.only), ("deny", args.deny)];
    let client = cx.client()?;
    let mut known = client.send(Call::get(&controls(&args.slug, &["controls"]))).await?.json()?;
    if given.iter().any(|(_, places)| places.is_some()) {
        let mut wanted =
            known.get("egress").and_then(Value::as_object).cloned().unwrap_or_default();
        for (list, places) in given {
            match places {
                None => {}
                Some(places) if places == ["none"] => drop(wanted.remove(list)),
                Some(places) => drop(wanted.insert(list.to_owned(), json!(places))),
            }
        }
        let path = controls(&args.slug, &["controls", "egress"]);
        let call = Call::new(reqwest::Method::PUT, &path);
        let call = call.body("application/json", Value::Object(wanted).to_string());
        known = client.send(call).await?.json()?;
    }
    let is_set = known.get("egress").and_then(Value::as_object).is_some_and(|set| !set.is_empty());
    if !is_set && !cx.output.wants_data() {
        return cx
            .output
            .print("its handlers may connect to where the installation lets everybody");
    }
    cx.output.one(&EGRESS, "/egress", &known)
}

/// Changes what is given of one part of a tenant's controls, and answers them.
async fn set(
    cx: &Context,
    slug: &str,
    part: &str,
    given: &[(&str, Option<Limit>)],
) -> Result<Value, CliError> {
    let client = cx.client()?;
    let known = client.send(Call::get(&controls(slug, &["controls"]))).await?.json()?;
    if given.iter().all(|(_, value)| value.is_none()) {
        return Ok(known);
    }
    let wanted = merged(known.get(part), given);
    let path = controls(slug, &["controls", part]);
    let call = Call::new(reqwest::Method::PUT, &path);
    let call = call.body("application/json", wanted.to_string());
    client.send(call).await?.json()
}

/// What is set, with what is given.
fn merged(known: Option<&Value>, given: &[(&str, Option<Limit>)]) -> Value {
    let mut wanted = known.and_then(Value::as_object).cloned().unwrap_or_default();
    for (field, value) in given {
        match value {
            None => {}
            Some(Limit(None)) => drop(wanted.remove(*field)),
            Some(Limit(Some(value))) => drop(wanted.insert((*field).to_owned(), json!(value))),
        }
    }
    Value::Object(wanted)
}

/// Deletes a tenant, and waits for its certificate.
async fn delete(cx: &Context, client: &Client, args: Delete) -> Result<(), CliError> {
    let slug = args.slug.as_str();
    if args.confirm.is_none() {
        let what = format!("delete the tenant {slug} and all that it has, for good");
        cx.confirm.ask(&what, &[])?;
    }
    let confirm = args.confirm.as_deref().unwrap_or(slug);
    let path = ["v1", "admin", "tenants", slug];
    let call = Call::new(reqwest::Method::DELETE, &path).query("confirm", confirm);
    let call = call.query_if("reason", args.reason.as_deref());
    let mut deletion = client.send(call).await?.json()?;
    if args.no_wait {
        let text = format!("tenant {slug} is being deleted");
        return cx.output.text_or_data(&text, "/state", &deletion);
    }
    let path = ["v1", "admin", "tenants", slug, "deletion"];
    let (clock, mut said) = (crate::wiring::clock(), 0);
    let _progress = Progress::step(cx, format!("what {slug} had is being removed"));
    while deletion.get("certificate").is_none_or(Value::is_null) {
        clock.sleep(LOOK_EVERY).await;
        deletion = client.send(Call::get(&path)).await?.json()?;
        let rows = rows(&deletion);
        if rows > said {
            said = rows;
            cx.output.note(&format!("{rows} rows removed"));
        }
    }
    print_deletion(cx, &deletion)
}

/// How many rows were removed, of all tables.
fn rows(deletion: &Value) -> u64 {
    let removed = deletion.get("removed").and_then(Value::as_object);
    removed.into_iter().flatten().filter_map(|(_, rows)| rows.as_u64()).sum()
}

fn print_deletion(cx: &Context, deletion: &Value) -> Result<(), CliError> {
    cx.output.one(&DELETION, "/state", deletion)?;
    if !cx.output.wants_data() {
        cx.output.note(&format!("{} rows removed", rows(deletion)));
    }
    Ok(())
}

pub(super) async fn run(cx: &Context, command: Tenant) -> Result<Exit, CliError> {
    let client = cx.client()?;
    match command {
        Tenant::List => {
            let (mut items, mut cursor) = (Vec::new(), None::<String>);
            loop {
                let call = Call::get(&["v1", "admin", "tenants"]).query("limit", PAGE_MAX);
                let call = call.query_if("cursor", cursor.as_deref());
                let page = client.send(call).await?.json()?;
                items.extend(
                    page.get("items").and_then(Value::as_array).into_iter().flatten().cloned(),
                );
                cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
                if cursor.is_none() {
                    break;
                }
            }
            cx.output.list(&COLUMNS, "/slug", &items)?;
        }
        Tenant::Create(args) => {
            let mut body = Map::from_iter([("slug".to_owned(), json!(args.slug))]);
            if let Some(name) = args.name {
                body.insert("name".to_owned(), json!(name));
            }
            let call = Call::post(&["v1", "admin", "tenants"], &Value::Object(body));
            let tenant = client.send(call).await?.json()?;
            cx.output.text_or_data(&format!("tenant {} created", args.slug), "/slug", &tenant)?;
        }
        Tenant::Limits(args) => limits::limits(cx, args).await?,
        Tenant::Usage(args) => limits::usage(cx, args).await?,
        Tenant::Retention(args) => retention(cx, args).await?,
        Tenant::Egress(args) => egress(cx, args).await?,
        Tenant::Pause(args) => {
            let path = controls(&args.slug, &["controls:pause"]);
            let call = Call::post(&path, &json!({ "reason": args.reason }));
            let changed = client.send(call).await?.json()?;
            let text = format!("tenant {} paused; what comes in waits", args.slug);
            cx.output.text_or_data(&text, "/pause/at", &changed)?;
        }
        Tenant::Resume(args) => {
            let path = controls(&args.slug, &["controls:resume"]);
            let changed = client.send(Call::post(&path, &json!({}))).await?.json()?;
            let text = format!("tenant {} goes on", args.slug);
            cx.output.text_or_data(&text, "/pause/at", &changed)?;
        }
        Tenant::Suspend(args) => {
            cx.confirm.ask(&format!("suspend the tenant {}", args.slug), &[])?;
            let path = ["v1", "admin", "tenants", &format!("{}:suspend", args.slug)];
            let call = Call::post(&path, &json!({ "reason": args.reason }));
            let changed = client.send(call).await?.json()?;
            let text = format!("tenant {} suspended; nothing is accepted for it", args.slug);
            cx.output.text_or_data(&text, "/suspension/at", &changed)?;
        }
        Tenant::Reinstate(args) => {
            let path = ["v1", "admin", "tenants", &format!("{}:resume", args.slug)];
            let changed = client.send(Call::post(&path, &json!({}))).await?.json()?;
            let text = format!("tenant {} goes on", args.slug);
            cx.output.text_or_data(&text, "/slug", &changed)?;
        }
        Tenant::Delete(args) => delete(cx, &client, args).await?,
        Tenant::Deletion(args) => {
            let path = ["v1", "admin", "tenants", &args.slug, "deletion"];
            print_deletion(cx, &client.send(Call::get(&path)).await?.json()?)?;
        }
        Tenant::Export(args) => {
            let lines = export::export(cx, &client, &args.slug).await?;
            cx.output.note(&format!("{lines} lines"));
        }
        Tenant::Show(args) => {
            let call = Call::get(&["v1", "admin", "tenants", &args.slug]);
            let tenant = client.send(call).await?.json()?;
            cx.output.one(&COLUMNS.map(Column::everywhere), "/slug", &tenant)?;
        }
    }
    Ok(Exit::Done)
}
