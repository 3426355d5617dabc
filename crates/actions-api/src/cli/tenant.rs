//! `actions tenant`.

use actions_domain::limits::PAGE_MAX;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::Context;
use super::client::Call;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Column, column, wide};

const COLUMNS: [Column; 5] = [
    column("slug", "/slug"),
    column("name", "/name"),
    column("created", "/created_at"),
    wide("id", "/id"),
    wide("definitions", "/defs_version"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Tenant {
    /// List all tenants
    #[command(visible_alias = "ls")]
    List,
    /// Create a tenant
    Create(Create),
    /// Print one tenant
    Show(One),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Its name in paths: a lower-case letter, then letters, digits and '_'
    #[arg(value_name = "SLUG")]
    slug: String,
    /// Its name for people
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct One {
    #[arg(value_name = "SLUG")]
    slug: String,
}

pub(super) async fn run(cx: &Context, command: Tenant) -> Result<Exit, CliError> {
    let client = cx.client()?;
    match command {
        Tenant::List => {
            let (mut items, mut cursor) = (Vec::new(), None::<String>);
            loop {
                let call = Call::get(&["v1", "admin", "tenants"]).query("limit", PAGE_MAX);
                let call = call.query_if("cursor", cursor.as_deref());
                let page = client.send(call).await?.json()?;
                items.extend(
                    page.get("items").and_then(Value::as_array).into_iter().flatten().cloned(),
                );
                cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
                if cursor.is_none() {
                    break;
                }
            }
            cx.output.list(&COLUMNS, "/slug", &items)?;
        }
        Tenant::Create(args) => {
            let mut body = Map::from_iter([("slug".to_owned(), json!(args.slug))]);
            if let Some(name) = args.name {
                body.insert("name".to_owned(), json!(name));
            }
            let call = Call::post(&["v1", "admin", "tenants"], &Value::Object(body));
            let tenant = client.send(call).await?.json()?;
            cx.output.text_or_data(&format!("tenant {} created", args.slug), "/slug", &tenant)?;
        }
        Tenant::Show(args) => {
            let call = Call::get(&["v1", "admin", "tenants", &args.slug]);
            let tenant = client.send(call).await?.json()?;
            cx.output.one(&COLUMNS.map(Column::everywhere), "/slug", &tenant)?;
        }
    }
    Ok(Exit::Done)
}
