//! `actions tenant export`: everything that a tenant has, one thing to a line.
//!
//! It is put together from what the interface shows anyway, so it holds what its caller may see, and
//! no secret. Texts of the server are passed on to the byte.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::Context;
use super::super::client::{Call, Client};
use super::super::error::CliError;

/// Items of one request.
const PAGE: usize = 200;
/// Lists below the tenant whose items are whole.
const LISTS: [(&str, &str); 5] = [
    ("schedule", "schedules"),
    ("subscription", "subscriptions"),
    ("api_key", "keys"),
    ("bulk", "bulk"),
    ("dead_letter", "dead-letters"),
];

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
    next_cursor: Option<String>,
}

/// What tells whether a list shows all of an item.
#[derive(Deserialize)]
struct Item<'a> {
    id: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

struct Export<'a> {
    cx: &'a Context,
    client: &'a Client,
    slug: &'a str,
    lines: usize,
}

/// Prints everything, and answers how many lines that were.
pub(super) async fn export(cx: &Context, client: &Client, slug: &str) -> Result<usize, CliError> {
    let mut export = Export { cx, client, slug, lines: 0 };
    let tenant = client.send(Call::get(&["v1", "admin", "tenants", slug])).await?.text();
    export.line("tenant", &tenant)?;
    export.one("controls", &["controls"]).await?;
    export.one("definitions", &["definitions"]).await?;
    for (kind, path) in LISTS {
        export.list(kind, path).await?;
    }
    export.events().await?;
    export.executions().await?;
    export.audit().await?;
    Ok(export.lines)
}

impl Export<'_> {
    fn line(&mut self, kind: &str, item: &str) -> Result<(), CliError> {
        self.lines += 1;
        self.cx.output.verbatim(&format!("{{\"kind\":\"{kind}\",\"item\":{}}}", item.trim()))
    }

    async fn text(&self, path: &[&str], cursor: Option<&str>) -> Result<String, CliError> {
        let path = [&["v1", "tenants", self.slug], path].concat();
        let call = Call::get(&path);
        let call = match cursor {
            Some("") => call.query("limit", PAGE),
            Some(cursor) => call.query("limit", PAGE).query("cursor", cursor),
            None => call,
        };
        Ok(self.client.send(call).await?.text())
    }

    async fn one(&mut self, kind: &str, path: &[&str]) -> Result<(), CliError> {
        let text = self.text(path, None).await?;
        self.line(kind, &text)
    }

    async fn list(&mut self, kind: &str, path: &str) -> Result<(), CliError> {
        let mut cursor = Some(String::new());
        while let Some(place) = cursor {
            let text = self.text(&[path], Some(&place)).await?;
            let page = page(&text)?;
            for item in page.items {
                self.line(kind, item.get())?;
            }
            cursor = page.next_cursor;
        }
        Ok(())
    }

    /// Lists leave out long data.
    async fn events(&mut self) -> Result<(), CliError> {
        let mut cursor = Some(String::new());
        while let Some(place) = cursor {
            let text = self.text(&["events"], Some(&place)).await?;
            let page = page(&text)?;
            for raw in page.items {
                let item: Item<'_> = read(raw.get())?;
                match item.data {
                    Some(_) => self.line("event", raw.get())?,
                    None => self.one("event", &["events", &item.id]).await?,
                }
            }
            cursor = page.next_cursor;
        }
        Ok(())
    }

    /// Lists leave out attempts.
    async fn executions(&mut self) -> Result<(), CliError> {
        let mut cursor = Some(String::new());
        while let Some(place) = cursor {
            let text = self.text(&["executions"], Some(&place)).await?;
            let page = page(&text)?;
            for raw in page.items {
                let item: Item<'_> = read(raw.get())?;
                self.one("execution", &["executions", &item.id]).await?;
            }
            cursor = page.next_cursor;
        }
        Ok(())
    }

    async fn audit(&mut self) -> Result<(), CliError> {
        let mut after = 0;
        loop {
            let path = ["v1", "tenants", self.slug, "audit:export"];
            let text = self.client.send(Call::get(&path).query("after", after)).await?.text();
            let Some(last) = text.lines().last() else { return Ok(()) };
            let seq = read::<Entry>(last)?.seq;
            if seq <= after {
                return Err(CliError::failed("the server answers the same entries again"));
            }
            for line in text.lines() {
                self.line("audit", line)?;
            }
            after = seq;
        }
    }
}

#[derive(Deserialize)]
struct Entry {
    seq: i64,
}

fn page(text: &str) -> Result<Page<'_>, CliError> {
    read(text)
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, CliError> {
    serde_json::from_str(text)
        .map_err(|error| CliError::failed(format!("the server's answer is no list: {error}")))
}
