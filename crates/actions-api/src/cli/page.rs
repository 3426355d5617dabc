//! Reads lists page by page.

use serde_json::Value;

use super::Context;
use super::client::{Call, Client};
use super::error::CliError;
use super::output::Column;

/// Items of one request.
const PAGE: usize = 200;

/// Reads a number of things to show. None at all would look like an empty list.
pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "expected a number from 1 on".to_owned())
}

/// The start of a list.
pub(super) struct Listed {
    pub(super) items: Vec<Value>,
    /// There are more.
    pub(super) is_cut: bool,
}

impl Listed {
    /// Prints the items, and says when there are more.
    pub(super) fn print(
        &self,
        cx: &Context,
        columns: &[Column],
        name: &str,
    ) -> Result<(), CliError> {
        cx.output.list(columns, name, &self.items)?;
        if self.is_cut {
            let count = self.items.len();
            cx.output.note(&format!("only the first {count}; --limit {} shows more", count * 10));
        }
        Ok(())
    }
}

/// Reads up to `limit` items of a list below the tenant. `call` makes the request without its
/// page.
pub(super) async fn list(
    client: &Client,
    limit: usize,
    call: impl Fn() -> Call,
) -> Result<Listed, CliError> {
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let size = PAGE.min(limit.saturating_sub(items.len()));
        let page = call().query("limit", size).query_if("cursor", cursor.as_deref());
        let mut page = client.in_tenant(page).await?.json()?;
        let Some(Value::Array(mut found)) = page.get_mut("items").map(Value::take) else {
            return Err(CliError::failed("the server's answer is no list"));
        };
        items.append(&mut found);
        cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        if cursor.is_none() || items.len() >= limit {
            return Ok(Listed { items, is_cut: cursor.is_some() });
        }
    }
}
