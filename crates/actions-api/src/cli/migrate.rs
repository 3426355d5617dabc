//! `actions migrate`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::error::CliError;
use super::exit::Exit;
use super::output::column;
use super::progress::Progress;
use super::server::refused;
use super::{Context, EngineFlags};
use crate::wiring::{self, SchemaStep, WiringError};

#[derive(Debug, Args)]
pub(super) struct Migrate {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring the schema up to this program's version; doing it again changes nothing
    Up(EngineFlags),
    /// Show which steps have been applied
    Status(Status),
}

#[derive(Debug, Args)]
struct Status {
    /// Exit with 1 when a step is missing
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    engine: EngineFlags,
}

pub(super) async fn run(cx: &Context, args: Migrate) -> Result<Exit, CliError> {
    let (flags, check) = match &args.command {
        Command::Up(flags) => (flags, false),
        Command::Status(status) => (&status.engine, status.check),
    };
    let config = flags.read(cx)?.engine;
    let place = config.database.place();
    let failed = |error: WiringError| refused(&place, &error);
    let before = wiring::schema_steps(&config).await.map_err(failed)?;
    let after = match args.command {
        Command::Up(_) => {
            let pending = before.iter().filter(|step| !step.is_applied).count();
            let progress = (pending > 0).then(|| {
                Progress::step(cx, format!("{place}: applying {pending} of {} steps", before.len()))
            });
            wiring::engine(&config).await.map_err(failed)?.close().await;
            drop(progress);
            wiring::schema_steps(&config).await.map_err(failed)?
        }
        Command::Status(_) => before.clone(),
    };
    if matches!(args.command, Command::Up(_)) && before.iter().all(|step| step.is_applied) {
        cx.output.note(&format!("{place} is already up to date"));
    }
    let rows: Vec<Value> = after.iter().map(|step| row(step, &before)).collect();
    let columns =
        [column("version", "/version"), column("name", "/name"), column("state", "/state")];
    cx.output.list(&columns, "/name", &rows)?;
    let is_pending = after.iter().any(|step| !step.is_applied);
    Ok(if check && is_pending { Exit::Failed } else { Exit::Done })
}

fn row(step: &SchemaStep, before: &[SchemaStep]) -> Value {
    let was_applied = before.iter().any(|old| old.number == step.number && old.is_applied);
    let state = match (was_applied, step.is_applied) {
        (_, false) => "pending",
        (true, true) => "applied",
        (false, true) => "applied now",
    };
    json!({ "version": step.number, "name": step.name, "state": state })
}
