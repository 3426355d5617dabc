//! `actions seed`.

use std::path::PathBuf;

use actions_app::app::App;
use actions_app::commands::apply_definitions::ApplyDefinitionsError;
use actions_app::commands::seed::seed;
use actions_domain::authorization::AuthorizationContext;
use actions_domain::id::{EventId, TenantId};
use clap::Args;
use serde_json::{Value, json};

use super::error::CliError;
use super::exit::Exit;
use super::output::column;
use super::server;
use super::{Context, EngineFlags, data};
use crate::config::EngineConfig;
use crate::definition_file::DefinitionFile;
use crate::wiring;

/// The platform's own actions.
const PLATFORM: &str = include_str!("../../../../seeds/platform_actions.yaml");

/// What a dry run says of an action that is missing.
const WOULD_CREATE: &str = "would create";

/// Write the platform's own actions
///
/// Repeating it changes nothing, and what a person changed since stays as it is.
#[derive(Debug, Args)]
pub(super) struct Seed {
    /// A file of your own instead of the platform's
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Say what is missing, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    engine: EngineFlags,
}

pub(super) async fn run(cx: &Context, args: Seed) -> Result<Exit, CliError> {
    let config = args.engine.read(cx)?;
    let file = match &args.file {
        Some(path) => parse(&path.display().to_string(), &data::read_file(path)?)?,
        None => platform()?,
    };
    let rows = if args.dry_run {
        dry_run(&config.engine, &file).await?
    } else {
        let engine = server::engine(&config.engine).await?;
        let rows = write(&engine.app, &file).await;
        engine.close().await;
        rows?
    };
    cx.output.list(&[column("name", "/name"), column("change", "/change")], "/name", &rows)?;
    if args.dry_run {
        cx.output.note("nothing was changed: this was a dry run");
    }
    Ok(Exit::Done)
}

fn parse(name: &str, text: &str) -> Result<DefinitionFile, CliError> {
    DefinitionFile::parse(text).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(|mistake| mistake.at(name)).collect();
        CliError::usage(lines.join("\n"))
    })
}

/// The platform's own actions, as this program ships them.
pub(super) fn platform() -> Result<DefinitionFile, CliError> {
    parse("seeds/platform_actions.yaml", PLATFORM)
}

/// Creates what is missing in the tenant `admin`.
pub(super) async fn write(app: &App, file: &DefinitionFile) -> Result<Vec<Value>, CliError> {
    let seeded = seed(app, &operator(app, TenantId::ADMIN), &file.set).await;
    let seeded = seeded.map_err(|error| CliError::failed(explained(&error)))?;
    Ok(seeded.iter().map(|one| row(&one.name, one.created, "created")).collect())
}

/// What is missing. Opening an engine would bring the schema up to date, so that is looked at
/// first.
async fn dry_run(config: &EngineConfig, file: &DefinitionFile) -> Result<Vec<Value>, CliError> {
    let place = config.database.place();
    let steps = wiring::schema_steps(config).await;
    let steps = steps.map_err(|error| server::refused(&place, &error))?;
    let applied = steps.iter().filter(|step| step.is_applied).count();
    let names = file.set.actions.iter().map(|entry| entry.action.name.as_str());
    if applied == 0 {
        return Ok(names.map(|name| row(name, true, WOULD_CREATE)).collect());
    }
    if applied < steps.len() {
        let missing = steps.len() - applied;
        return Err(CliError::failed(format!("{place} lacks {missing} schema steps"))
            .with_hint("actions migrate up brings it up to date; a dry run changes nothing"));
    }
    let engine = server::engine(config).await?;
    let admin = engine.app.catalogue.find(TenantId::ADMIN);
    let is_there = |name: &str| admin.as_ref().is_some_and(|a| a.action_named(name).is_some());
    let rows = names.map(|name| row(name, !is_there(name), WOULD_CREATE)).collect();
    engine.close().await;
    Ok(rows)
}

fn row(name: &str, is_new: bool, created: &str) -> Value {
    json!({ "name": name, "change": if is_new { created } else { "unchanged" } })
}

/// All findings in one text.
pub(super) fn explained(error: &ApplyDefinitionsError) -> String {
    let mut text = server::chain(error);
    if let ApplyDefinitionsError::Invalid(findings) = error {
        for finding in findings {
            text.push_str(&format!("\n  {}: {}", finding.pointer, finding.message));
        }
    }
    text
}

/// Whoever runs this program on the store's own machine may do everything.
pub(super) fn operator(app: &App, tenant: TenantId) -> AuthorizationContext {
    let request_id = EventId::mint(app.ports.clock.now(), app.ports.dice.bytes());
    AuthorizationContext::of_command_line(tenant, request_id.to_string())
}
