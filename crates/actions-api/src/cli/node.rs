//! `actions node`.

use clap::Subcommand;
use serde_json::Value;

use super::Context;
use super::client::Call;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Column, column, wide};

const COLUMNS: [Column; 10] = [
    column("name", "/name"),
    column("role", "/role"),
    column("version", "/version"),
    column("alive", "/alive"),
    column("draining", "/draining"),
    column("running", "/running"),
    column("waiting", "/waiting"),
    column("last beat ms", "/last_beat_ms"),
    column("partitions", "/partitions"),
    wide("id", "/id"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Node {
    /// List the nodes that run work
    #[command(visible_alias = "ls")]
    List,
}

pub(super) async fn run(cx: &Context, command: Node) -> Result<Exit, CliError> {
    let Node::List = command;
    let listed = cx.client()?.send(Call::get(&["v1", "admin", "nodes"])).await?.json()?;
    let items = listed.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    cx.output.list(&COLUMNS, "/name", &items)?;
    Ok(Exit::Done)
}
