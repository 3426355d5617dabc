//! `actions key`: API keys.

use std::time::Duration;

use actions_domain::authorization::Role;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::Call;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Column, column, shown, wide};
use super::page::at_least_one;
use super::{Context, page};
use crate::config::duration;

const COLUMNS: [Column; 11] = [
    column("name", "/name"),
    column("role", "/role"),
    column("status", "/status"),
    column("last used", "/last_used_at"),
    column("expires", "/expires_at"),
    column("token begins with", "/token_begins_with"),
    wide("id", "/id"),
    wide("created", "/created_at"),
    wide("by", "/created_by"),
    wide("revoked", "/revoked_at"),
    wide("old tokens end", "/old_tokens_end_at"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// List the API keys of the tenant, with those that hold no more
    #[command(visible_alias = "ls")]
    List(List),
    /// Print one API key
    Show(One),
    /// Create an API key and print its token, which is never shown again
    Create(Create),
    /// Give an API key a new token; the old ones go on to hold for a while
    Rotate(Rotate),
    /// Let an API key hold no more, on every node within two seconds
    Revoke(One),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// At most so many
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = at_least_one)]
    limit: usize,
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// Its name, or its id
    #[arg(value_name = "NAME")]
    name: String,
}

/// Create an API key
///
/// Examples:
///   actions key create checkout --role ingest_only -T acme
///   actions key create ci --role developer --expires-in 90d -T acme
///   actions key create root --role platform_admin -T admin
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Create {
    #[arg(value_name = "NAME")]
    name: String,
    /// What it lets its owner do; platform_admin belongs to the tenant admin
    #[arg(long, value_name = "ROLE", value_parser = PossibleValuesParser::new(Role::words()))]
    role: String,
    /// How long it holds; until it is revoked if it is not given
    #[arg(long, value_name = "TIME", value_parser = duration)]
    expires_in: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// Its name, or its id
    #[arg(value_name = "NAME")]
    name: String,
    /// How long the old tokens go on to hold; 0s ends them at once
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    overlap: Duration,
}

pub(super) async fn run(cx: &Context, command: Key) -> Result<Exit, CliError> {
    let client = cx.client()?;
    match command {
        Key::List(args) => {
            let listed = page::list(&client, args.limit, || Call::get(&["keys"])).await?;
            listed.print(cx, &COLUMNS, "/name")?;
        }
        Key::Show(args) => {
            let found = client.in_tenant(Call::get(&["keys", &args.name])).await?.json()?;
            cx.output.one(&COLUMNS.map(Column::everywhere), "/name", &found)?;
        }
        Key::Create(args) => {
            let mut body = Map::from_iter([
                ("name".to_owned(), json!(args.name)),
                ("role".to_owned(), json!(args.role)),
            ]);
            if let Some(life) = args.expires_in {
                body.insert("expires_in_seconds".to_owned(), json!(whole_seconds(life)?));
            }
            let call = Call::post(&["keys"], &Value::Object(body));
            let made = client.in_tenant(call).await?.json()?;
            print_token(cx, &made)?;
        }
        Key::Rotate(args) => {
            let body = json!({ "overlap_seconds": whole_seconds(args.overlap)? });
            let call = Call::post(&["keys", &format!("{}:rotate", args.name)], &body);
            let made = client.in_tenant(call).await?.json()?;
            print_token(cx, &made)?;
            let end = shown(made.get("old_tokens_end_at"));
            cx.output.note(&if args.overlap.is_zero() {
                "older tokens hold no more".to_owned()
            } else {
                format!("older tokens hold until {end}")
            });
        }
        Key::Revoke(args) => {
            cx.confirm.ask(&format!("revoke the API key {}", args.name), &[])?;
            let call = Call::new(reqwest::Method::DELETE, &["keys", &args.name]);
            client.in_tenant(call).await?;
            let name = json!({ "name": args.name });
            let text = format!("API key {} revoked; it holds no more", args.name);
            cx.output.text_or_data(&text, "/name", &name)?;
        }
    }
    Ok(Exit::Done)
}

/// The token alone goes to where data goes, so that it can be put into a file.
fn print_token(cx: &Context, made: &Value) -> Result<(), CliError> {
    let token = made.get("token").and_then(Value::as_str).unwrap_or_default();
    cx.output.text_or_data(token, "/token", made)?;
    let (name, role) = (shown(made.get("name")), shown(made.get("role")));
    cx.output.note(&format!(
        "this is the token of the API key {name} ({role}); it is not shown again\n\
         send it as `Authorization: Bearer TOKEN`, or put it into ACTIONS_TOKEN for this program"
    ));
    Ok(())
}

fn whole_seconds(time: Duration) -> Result<u64, CliError> {
    if time.subsec_nanos() != 0 {
        return Err(CliError::usage("API keys are counted in whole seconds"));
    }
    Ok(time.as_secs())
}
