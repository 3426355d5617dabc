//! `actions secret`: stored secrets. A value comes from standard input or a file, never from the
//! command line, which others on the machine can read.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::time::Duration;

use actions_domain::limits::SECRET_BYTES_MAX;
use actions_domain::secret::SecretText;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Call;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Column, column, shown, wide};
use super::page::at_least_one;
use super::{Context, page};
use crate::config::duration;

const COLUMNS: [Column; 9] = [
    column("name", "/name"),
    column("version", "/version"),
    column("updated", "/updated_at"),
    column("by", "/updated_by"),
    column("previous", "/previous_version"),
    column("until", "/previous_ends_at"),
    wide("created", "/created_at"),
    wide("created by", "/created_by"),
    wide("master key", "/master_key"),
];

const KEY_COLUMNS: [Column; 4] = [
    column("id", "/id"),
    column("current", "/is_current"),
    column("here", "/is_here"),
    column("wrapped", "/wrapped"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Secret {
    /// List the secrets of the tenant, without their values
    #[command(visible_alias = "ls")]
    List(List),
    /// Print what may be told of a secret, and which actions name it
    Show(One),
    /// Store a secret, or its next version; the value is read from standard input
    Put(Put),
    /// Delete a secret; executions that need it fail
    Delete(One),
    /// List the master keys, and how many versions of secrets need each
    Keys,
    /// Wrap the secrets of all tenants with the current master key, after it was changed
    Rewrap,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// At most so many
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = at_least_one)]
    limit: usize,
}

#[derive(Debug, Args)]
pub(super) struct One {
    #[arg(value_name = "NAME")]
    name: String,
}

/// Store a secret, or its next version; the value is read from standard input
///
/// One line break at the end of the value is left out. A value that is stored already changes
/// nothing.
///
/// Examples:
///   actions secret put SIGNING_KEY <key.txt -T acme
///   actions secret put API_TOKEN --file /run/secrets/token -T acme
///   openssl rand -hex 32 | actions secret put SIGNING_KEY --overlap 48h
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Put {
    /// Letters, digits and _
    #[arg(value_name = "NAME")]
    name: String,
    /// Reads the value from this file
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How long the version before may still be used, as {{ secrets.previous.NAME }}
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    overlap: Duration,
}

pub(super) async fn run(cx: &Context, command: Secret) -> Result<Exit, CliError> {
    let client = cx.client()?;
    match command {
        Secret::List(args) => {
            let listed = page::list(&client, args.limit, || Call::get(&["secrets"])).await?;
            listed.print(cx, &COLUMNS, "/name")?;
        }
        Secret::Show(args) => {
            let found = client.in_tenant(Call::get(&["secrets", &args.name])).await?.json()?;
            cx.output.one(&COLUMNS.map(Column::everywhere), "/name", &found)?;
            let used_by = names(found.get("used_by"));
            if !used_by.is_empty() {
                cx.output.note(&format!("named by {used_by}"));
            }
        }
        Secret::Put(args) => {
            if args.overlap.subsec_nanos() != 0 {
                return Err(CliError::usage("an overlap is counted in whole seconds"));
            }
            let text = value(&args)?;
            let mut body =
                json!({ "value": text.expose(), "overlap_seconds": args.overlap.as_secs() });
            let call = Call::new(reqwest::Method::PUT, &["secrets", &args.name]).json(&body);
            actions_domain::secret::wipe(&mut body);
            let answer = client.in_tenant(call).await?;
            let stored = answer.json()?;
            let version = shown(stored.get("version"));
            let text = format!("secret {} stored, version {version}", args.name);
            cx.output.text_or_data(&text, "/name", &stored)?;
            if answer.status == 201 {
                let name = &args.name;
                cx.output.note(&format!("write {{{{ secrets.{name} }}}} into a config"));
            }
            if let Some(end) = stored.get("previous_ends_at").filter(|end| !end.is_null()) {
                let end = shown(Some(end));
                cx.output.note(&format!("the version before may be used until {end}"));
            }
        }
        Secret::Delete(args) => {
            let found = client.in_tenant(Call::get(&["secrets", &args.name])).await?.json()?;
            let used_by = names(found.get("used_by"));
            let question = match used_by.as_str() {
                "" => format!("delete the secret {}, which no action names", args.name),
                _ => format!("delete the secret {}, which {used_by} need", args.name),
            };
            cx.confirm.ask(&question, &[])?;
            client.in_tenant(Call::new(reqwest::Method::DELETE, &["secrets", &args.name])).await?;
            let name = json!({ "name": args.name });
            cx.output.text_or_data(&format!("secret {} deleted", args.name), "/name", &name)?;
        }
        Secret::Keys => {
            let found = client.send(Call::get(&["v1", "admin", "master-keys"])).await?.json()?;
            let items = found.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
            cx.output.list(&KEY_COLUMNS, "/id", &items)?;
        }
        Secret::Rewrap => return rewrap(cx, &client).await,
    }
    Ok(Exit::Done)
}

/// Asks for one piece after the other. Whoever interrupts it goes on where it was.
async fn rewrap(cx: &Context, client: &super::Client) -> Result<Exit, CliError> {
    let mut total = 0;
    loop {
        let call = Call::new(reqwest::Method::POST, &["v1", "admin", "master-keys:rewrap"]);
        let done = client.send(call).await?.json()?;
        let number = |name: &str| done.get(name).and_then(Value::as_u64).unwrap_or_default();
        let (rewrapped, left, stuck) = (number("rewrapped"), number("left"), number("stuck"));
        total += rewrapped;
        if left > stuck && rewrapped > 0 {
            cx.output.note(&format!("{total} wrapped anew, {left} left"));
            continue;
        }
        let data = json!({ "rewrapped": total, "left": left, "stuck": stuck });
        let text = format!("{total} wrapped anew, {left} left");
        cx.output.text_or_data(&text, "/left", &data)?;
        if left > 0 {
            return Err(CliError::failed(format!("{left} cannot be wrapped anew here")).with_hint(
                "`actions secret keys` shows which master key is missing; the server's log names what is damaged",
            ));
        }
        return Ok(Exit::Done);
    }
}

/// The value, without a line break at its end: editors and `echo` add one.
fn value(args: &Put) -> Result<SecretText, CliError> {
    // One byte more than fits tells that it does not fit, beside the line break.
    let limit = SECRET_BYTES_MAX as u64 + 3;
    let mut text = String::new();
    let read = match &args.file {
        Some(path) => {
            let failed = |error| CliError::usage(format!("{}: {error}", path.display()));
            std::fs::File::open(path)
                .and_then(|file| file.take(limit).read_to_string(&mut text))
                .map_err(failed)
        }
        None => {
            if std::io::stdin().is_terminal() {
                eprint_prompt(&args.name);
            }
            let stdin = std::io::stdin().lock();
            stdin.take(limit).read_to_string(&mut text).map_err(CliError::from)
        }
    };
    let text = SecretText::new(text);
    read?;
    let trimmed = text.expose().strip_suffix('\n').unwrap_or_else(|| text.expose());
    let text = SecretText::new(trimmed.strip_suffix('\r').unwrap_or(trimmed).to_owned());
    text.check().map_err(|error| CliError::usage(error.to_string()))?;
    Ok(text)
}

/// Whoever types it sees it, and has to know how to end.
fn eprint_prompt(name: &str) {
    use std::io::Write;
    // Where nobody reads it, nobody waits for it.
    let _ = writeln!(
        std::io::stderr().lock(),
        "type the value of {name}, then Ctrl-D; it is shown while you type, so better give a file"
    );
}

fn names(value: Option<&Value>) -> String {
    let names = value.and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}
