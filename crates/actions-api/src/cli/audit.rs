//! `actions audit`: who did what.

use std::path::PathBuf;

use actions_domain::audit::{Broken, Entry, Head, Verifier};
use clap::{Args, Subcommand};
use serde_json::json;

use super::client::{Call, Client};
use super::data::read_file;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Column, column, counted, wide};
use super::page::at_least_one;
use super::{Context, page};

const COLUMNS: [Column; 11] = [
    column("seq", "/seq"),
    column("time", "/at"),
    column("actor", "/actor"),
    column("act", "/act"),
    column("subject", "/subject"),
    column("reason", "/reason"),
    wide("role", "/role"),
    wide("kind", "/actor_kind"),
    wide("ingress", "/ingress"),
    wide("request", "/request_id"),
    wide("hash", "/hash"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// List who did what, newest first
    #[command(visible_alias = "ls")]
    List(List),
    /// Print all entries, one to a line, oldest first
    Export(Export),
    /// Check that nothing was changed, left out or moved; exits with 1 and says where when it was
    Verify(Verify),
}

/// List who did what
///
/// Examples:
///   actions audit list --since 24h --act 'action.*' -T acme
///   actions audit list --actor key:deployer --subject action:ship -T acme
///   actions audit list -T admin # what was done to tenants
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct List {
    /// Who: key:NAME, token:bootstrap; * stands for anything
    #[arg(long, value_name = "ACTOR")]
    actor: Option<String>,
    /// What: action.updated, key.*
    #[arg(long, value_name = "ACT")]
    act: Option<String>,
    /// To what: action:NAME, key:NAME
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Not before this time, or so long ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time, or so long ago
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Any filter: role:operator -act:dead_letters.*
    #[arg(long = "where", value_name = "FILTER")]
    filter: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = at_least_one)]
    limit: usize,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Begin behind this number
    #[arg(long, default_value_t = 0, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(0..))]
    after: i64,
}

/// Check the audit, of a server or in a file of `actions audit export`
///
/// Examples:
///   actions audit verify -T acme
///   actions audit verify acme.ndjson
///   actions audit verify acme.ndjson --head 1041:5b1f… # nothing of what was there then is gone
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Verify {
    /// A file to check, without a server
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// A head that was noted before, as this command prints it; may be given more than once
    #[arg(long, value_name = "HEAD")]
    head: Vec<Head>,
    /// A head that is trusted: what is checked begins behind it
    #[arg(long, value_name = "HEAD")]
    after: Option<Head>,
}

pub(super) async fn run(cx: &Context, command: Audit) -> Result<Exit, CliError> {
    match command {
        Audit::List(args) => {
            let client = cx.client()?;
            let call = || {
                Call::get(&["audit"])
                    .query_if("where", args.filter.as_deref())
                    .query_if("actor", args.actor.as_deref())
                    .query_if("act", args.act.as_deref())
                    .query_if("subject", args.subject.as_deref())
                    .query_if("since", args.since.as_deref())
                    .query_if("until", args.until.as_deref())
            };
            page::list(&client, args.limit, call).await?.print(cx, &COLUMNS, "/seq")?;
            Ok(Exit::Done)
        }
        Audit::Export(args) => {
            let client = cx.client()?;
            let mut after = args.after;
            loop {
                let Part { text, last, head: _ } = part(&client, after).await?;
                if last == after {
                    return Ok(Exit::Done);
                }
                cx.output.verbatim(text.trim_end_matches('\n'))?;
                after = last;
            }
        }
        Audit::Verify(args) => verify(cx, args).await,
    }
}

/// Some lines of the export of a server.
struct Part {
    text: String,
    /// The number of the last line.
    last: i64,
    /// What the server notes as its newest entry.
    head: Option<Head>,
}

/// The lines behind a number.
async fn part(client: &Client, after: i64) -> Result<Part, CliError> {
    let call = Call::get(&["audit:export"]).query("after", after);
    let answer = client.in_tenant(call).await?;
    let head = answer.header("actions-audit-head").and_then(|head| head.parse().ok());
    let text = answer.text();
    let last = match text.lines().last().map(serde_json::from_str::<Entry>) {
        None => after,
        Some(Ok(entry)) if entry.seq > after => entry.seq,
        // Whoever goes on from there would never come to an end.
        Some(_) => return Err(CliError::failed("the server's answer is no export")),
    };
    Ok(Part { text, last, head })
}

async fn verify(cx: &Context, args: Verify) -> Result<Exit, CliError> {
    let Verify { file, head: noted, after } = args;
    let after = after.unwrap_or_default();
    let (check, broken) = match &file {
        Some(path) => {
            let mut check = Check::new(after, noted);
            let broken = check.lines(&read_file(path)?);
            (check, broken)
        }
        None => of_server(&cx.client()?, after, noted).await?,
    };
    let broken = broken.or_else(|| check.finish());
    let head = check.verifier.head();
    let data = json!({
        "ok": broken.is_none(),
        "checked": check.checked,
        "head": head.to_string(),
        "broken": broken.as_ref().map(|found| json!({
            "position": found.position, "kind": found.kind, "message": found.message,
        })),
    });
    let text = match &broken {
        None => format!("{}; head {head}", counted(check.checked, "entry holds", "entries hold")),
        Some(found) => format!(
            "broken at {}: {}; {} before it",
            found.position,
            found.message,
            counted(check.checked, "entry holds", "entries hold"),
        ),
    };
    cx.output.text_or_data(&text, "/head", &data)?;
    Ok(if broken.is_none() { Exit::Done } else { Exit::Failed })
}

/// Checks what a server has, here: it is not asked to judge itself.
async fn of_server(
    client: &Client,
    after: Head,
    mut noted: Vec<Head>,
) -> Result<(Check, Option<Found>), CliError> {
    let mut next = part(client, after.seq).await?;
    noted.extend(next.head);
    let mut check = Check::new(after, noted);
    let mut before = after.seq;
    while next.last > before {
        if let Some(found) = check.lines(&next.text) {
            return Ok((check, Some(found)));
        }
        before = next.last;
        next = part(client, before).await?;
    }
    Ok((check, None))
}

struct Found {
    position: i64,
    kind: &'static str,
    message: String,
}

impl From<Broken> for Found {
    fn from(broken: Broken) -> Self {
        let (position, kind) = (broken.position(), broken.word());
        Self { position, kind, message: broken.to_string() }
    }
}

struct Check {
    verifier: Verifier,
    checked: usize,
}

impl Check {
    fn new(after: Head, noted: Vec<Head>) -> Self {
        Self { verifier: Verifier::new(after, noted), checked: 0 }
    }

    /// What is wrong first in these lines.
    fn lines(&mut self, text: &str) -> Option<Found> {
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let entry: Entry = match serde_json::from_str(line) {
                Ok(entry) => entry,
                Err(error) => {
                    return Some(Found {
                        position: self.verifier.head().seq + 1,
                        kind: "altered",
                        message: format!("line {} is no entry: {error}", index + 1),
                    });
                }
            };
            if let Err(broken) = self.verifier.check(&entry) {
                return Some(broken.into());
            }
            self.checked += 1;
        }
        None
    }

    fn finish(&self) -> Option<Found> {
        self.verifier.clone().finish().err().map(Found::from)
    }
}
