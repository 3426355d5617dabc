//! `actions doctor`.

use std::path::Path;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::client::Call;
use super::error::CliError;
use super::exit::Exit;
use super::output::shown;
use super::{Context, EngineFlags};
use crate::config::{Config, Database, DatabaseDefault, Problems};
use crate::wiring;

/// Find out what is wrong
///
/// Without a name all probes are made. One probe alone is silent when all is well, so that
/// `actions doctor health` can be the health check of a container.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[arg(value_enum)]
    probe: Option<Probe>,
    #[command(flatten)]
    engine: EngineFlags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Probe {
    /// The server answers and can take and run work
    Health,
    /// The server knows the token, and the tenant
    Token,
    /// The settings can be read
    Config,
    /// The database can be reached and has this program's schema
    Db,
    /// Redis can be reached, is new enough and keeps what it is given; only where one is set
    Redis,
}

/// What a probe found.
struct Finding {
    probe: &'static str,
    result: Result<String, (String, &'static str)>,
}

pub(super) async fn run(cx: &Context, args: Doctor) -> Result<Exit, CliError> {
    let is_wanted = |probe| args.probe.is_none_or(|wanted| wanted == probe);
    let mut findings = Vec::new();
    if is_wanted(Probe::Config) {
        findings.push(settings(cx, &args.engine));
    }
    if is_wanted(Probe::Db) {
        findings.extend(database(cx, &args.engine, args.probe.is_some()).await);
    }
    if is_wanted(Probe::Redis) {
        findings.extend(redis(cx, &args.engine, args.probe.is_some()).await);
    }
    if is_wanted(Probe::Health) {
        findings.push(health(cx).await);
    }
    // Without a server that answers, there is nobody to ask.
    let answers = findings.last().is_none_or(|last| last.probe != "health" || last.result.is_ok());
    if is_wanted(Probe::Token) && (answers || args.probe.is_some()) {
        findings.extend(token(cx, args.probe.is_some()).await);
    }
    let is_well = findings.iter().all(|finding| finding.result.is_ok());
    if cx.output.wants_data() {
        let rows: Vec<Value> = findings.iter().map(row).collect();
        cx.output.list(&[], "/probe", &rows)?;
    } else if args.probe.is_none() || !is_well {
        for finding in &findings {
            cx.output.print(&line(finding))?;
        }
    }
    Ok(if is_well { Exit::Done } else { Exit::Failed })
}

fn row(finding: &Finding) -> Value {
    match &finding.result {
        Ok(text) => json!({ "probe": finding.probe, "ok": true, "detail": text }),
        Err((text, remedy)) => {
            json!({ "probe": finding.probe, "ok": false, "detail": text, "remedy": remedy })
        }
    }
}

fn line(finding: &Finding) -> String {
    match &finding.result {
        Ok(text) => format!("✓ {}  {text}", finding.probe),
        Err((text, remedy)) => format!("✗ {}  {text}\n  {remedy}", finding.probe),
    }
}

fn settings(cx: &Context, flags: &EngineFlags) -> Finding {
    let result = match read(cx, flags) {
        Ok(_) => Ok("every setting can be read".to_owned()),
        Err(problems) => {
            let text = problems.0.join("; ");
            Err((text, "actions config show lists every setting and its origin"))
        }
    };
    Finding { probe: "config", result }
}

/// The database of `dev`, where none is named.
const DEV_FILE: &str = "./.actions/actions.db";

/// The settings, with the database of `dev` where none is named.
fn read(cx: &Context, flags: &EngineFlags) -> Result<Config, Problems> {
    Config::read(&flags.0, &cx.environment, DatabaseDefault::Unset(Path::new(DEV_FILE)))
}

/// Whether the database is as it should be. Where none is named and none was left by `dev`, as
/// in any folder but the server's, nothing is asked, unless it was wanted.
async fn database(cx: &Context, flags: &EngineFlags, is_asked_for: bool) -> Option<Finding> {
    let found = |result| Some(Finding { probe: "db", result });
    let config = match read(cx, flags) {
        Ok(config) => config.engine,
        Err(problems) => return found(Err((problems.to_string(), "correct the settings first"))),
    };
    let is_left_by_dev =
        matches!(&config.database, Database::Sqlite(path) if path == Path::new(DEV_FILE));
    if is_left_by_dev && !Path::new(DEV_FILE).exists() {
        let text = format!("no database is named, and there is no {DEV_FILE} here");
        let remedy = "name it with DATABASE_URL, or ask in the server's folder";
        return if is_asked_for { found(Err((text, remedy))) } else { None };
    }
    let place = config.database.place();
    let result = match wiring::schema_steps(&config).await {
        Ok(steps) => match steps.iter().filter(|step| !step.is_applied).count() {
            0 => Ok(format!("{place} has this program's schema")),
            missing => Err((
                format!("{place} lacks {missing} of {} schema steps", steps.len()),
                "actions migrate up brings it up to date",
            )),
        },
        Err(error) => Err((
            format!("{place}: {}", super::server::chain(&error)),
            "is the database running, and is DATABASE_URL right?",
        )),
    };
    found(result)
}

/// Whether Redis is as it should be. Without one nothing is asked, unless it was wanted.
async fn redis(cx: &Context, flags: &EngineFlags, is_asked_for: bool) -> Option<Finding> {
    let found = |result| Some(Finding { probe: "redis", result });
    // What is wrong with the settings, another probe says.
    let report = match read(cx, flags) {
        Ok(config) => wiring::redis_report(&config.engine).await,
        Err(_) if !is_asked_for => return None,
        Err(problems) => return found(Err((problems.to_string(), "correct the settings first"))),
    };
    match report {
        None if !is_asked_for => None,
        None => found(Ok("none is set, and none is needed".to_owned())),
        Some(Err(error)) => found(Err((
            error,
            "is it running, and is ACTIONS_REDIS_URL right? nothing is lost meanwhile",
        ))),
        Some(Ok(report)) => found(match report.problem {
            Some(problem) => Err(problem),
            None => Ok(format!("version {} answers, and evicts nothing", report.version)),
        }),
    }
}

/// Whether the server takes the token. Without one nothing is asked, unless it was wanted.
async fn token(cx: &Context, is_asked_for: bool) -> Option<Finding> {
    let found = |result| Some(Finding { probe: "token", result });
    match cx.token() {
        Ok(None) if !is_asked_for => return None,
        Ok(_) => {}
        Err(error) => return found(Err((error.message, "ACTIONS_TOKEN_FILE or --token-file"))),
    }
    let answer = match cx.client() {
        Ok(client) => {
            let asked = client.in_tenant(Call::get(&["actions"]).query("limit", 1)).await;
            asked.map(|_| client.tenant().to_owned())
        }
        Err(error) => Err(error),
    };
    found(match answer {
        Ok(tenant) => Ok(format!("the server takes it, and knows the tenant {tenant}")),
        Err(error) if is_about_role(&error) => {
            Ok(format!("the server takes it: {}", error.message))
        }
        Err(error) if error.exit == Exit::NotFound => {
            Err((error.message, "--tenant or ACTIONS_TENANT names a tenant that there is"))
        }
        Err(error) => Err((error.message, "ACTIONS_TOKEN, ACTIONS_TOKEN_FILE or --token-file")),
    })
}

/// The token is good, and for something else than reading definitions.
fn is_about_role(error: &CliError) -> bool {
    let code = error.problem.as_ref().and_then(|problem| problem.get("code"));
    code.is_some_and(|code| code == "auth.role")
}

async fn health(cx: &Context) -> Finding {
    let remedy = "is the server running? --url or ACTIONS_URL names it";
    let answer = match cx.client() {
        Ok(client) => client.send(Call::get(&["readyz"])).await,
        Err(error) => Err(error),
    };
    let result = match answer {
        Ok(_) => Ok("the server takes and runs work".to_owned()),
        Err(error) => {
            let detail = error.problem.as_ref().and_then(|problem| problem.get("detail"));
            let text = detail.map_or(error.message, |detail| shown(Some(detail)));
            Err((text, remedy))
        }
    };
    Finding { probe: "health", result }
}
