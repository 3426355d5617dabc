//! `actions config show`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::error::CliError;
use super::exit::Exit;
use super::output::{column, wide};
use super::{Context, EngineFlags};
use crate::config::{ENGINE, Resolved, Setting};

#[derive(Debug, Subcommand)]
pub(super) enum Settings {
    /// Show every setting, its value and where the value comes from
    Show(EngineFlags),
}

pub(super) fn run(cx: &Context, command: Settings) -> Result<Exit, CliError> {
    let Settings::Show(flags) = command;
    let (resolved, problems) = Resolved::collect(&flags.0, &cx.environment);
    let rows: Vec<Value> = ENGINE.iter().map(|setting| row(setting, &resolved)).collect();
    let columns = [
        column("setting", "/setting"),
        column("value", "/value"),
        column("origin", "/origin"),
        column("variable", "/variable"),
        wide("about", "/about"),
    ];
    cx.output.list(&columns, "/setting", &rows)?;
    for problem in &problems {
        cx.output.note(problem);
    }
    Ok(if problems.is_empty() { Exit::Done } else { Exit::Failed })
}

fn row(setting: &Setting, resolved: &Resolved) -> Value {
    let value = resolved.find(setting.key);
    let shown = value.map(|value| if value.secret { "***" } else { value.text.as_str() });
    json!({
        "setting": setting.key,
        "value": shown,
        "origin": value.map(|value| value.origin.as_str()),
        "variable": setting.variable,
        "about": setting.about,
    })
}
