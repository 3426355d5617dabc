//! `actions version`.

use serde_json::json;

use super::Context;
use super::error::CliError;
use super::exit::Exit;

pub(super) fn run(cx: &Context) -> Result<Exit, CliError> {
    let version = env!("CARGO_PKG_VERSION");
    cx.output.text_or_data(
        &format!("actions {version}"),
        "/version",
        &json!({ "version": version }),
    )?;
    Ok(Exit::Done)
}
