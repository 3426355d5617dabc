//! `actions handler`.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Context;
use super::client::Call;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Column, column, wide};

const COLUMNS: [Column; 6] = [
    column("id", "/id"),
    column("title", "/title"),
    column("types", "/action_types"),
    column("delivery", "/delivery"),
    wide("version", "/version"),
    wide("config schema", "/config_schema"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Handler {
    /// List what actions can do on this server
    #[command(visible_alias = "ls")]
    List,
    /// Print one handler with the schemas of its config, input and output
    Show(One),
}

#[derive(Debug, Args)]
pub(super) struct One {
    #[arg(value_name = "ID")]
    id: String,
}

pub(super) async fn run(cx: &Context, command: Handler) -> Result<Exit, CliError> {
    let client = cx.client()?;
    match command {
        Handler::List => {
            let answer = client.in_tenant(Call::get(&["handlers"])).await?.json()?;
            let items = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
            cx.output.list(&COLUMNS, "/id", &items)?;
        }
        Handler::Show(args) => {
            let handler = client.in_tenant(Call::get(&["handlers", &args.id])).await?.json()?;
            let text = serde_json::to_string_pretty(&handler)
                .map_err(|error| CliError::failed(error.to_string()))?;
            cx.output.text_or_data(&text, "/id", &handler)?;
        }
    }
    Ok(Exit::Done)
}
