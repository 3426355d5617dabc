//! Reads lists page by page.

use serde_json::Value;

use super::client::{Call, Client};
use super::error::CliError;

/// Items of one request.
const PAGE: usize = 200;

/// Reads up to `limit` items of a list below the tenant. `call` makes the request without its
/// page.
pub(super) async fn list(
    client: &Client,
    limit: usize,
    call: impl Fn() -> Call,
) -> Result<Vec<Value>, CliError> {
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    while items.len() < limit {
        let size = PAGE.min(limit - items.len());
        let page = call().query("limit", size).query_if("cursor", cursor.as_deref());
        let mut page = client.in_tenant(page).await?.json()?;
        let Some(Value::Array(mut found)) = page.get_mut("items").map(Value::take) else {
            return Err(CliError::failed("the server's answer is no list"));
        };
        if found.is_empty() {
            break;
        }
        items.append(&mut found);
        cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    items.truncate(limit);
    Ok(items)
}
