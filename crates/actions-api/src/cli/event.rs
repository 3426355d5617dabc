//! `actions event`.

use clap::{Args, Subcommand};

use super::client::Call;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Column, column, wide};
use super::page::at_least_one;
use super::{Context, exact, page};

const COLUMNS: [Column; 6] = [
    column("id", "/id"),
    column("type", "/type"),
    column("source", "/source"),
    column("subject", "/subject"),
    column("accepted", "/accepted_at"),
    wide("data", "/data"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Event {
    /// List events, newest first
    #[command(visible_alias = "ls")]
    List(List),
    /// Print one event with what it led to
    Show(One),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those of this type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = at_least_one)]
    limit: usize,
}

#[derive(Debug, Args)]
pub(super) struct One {
    #[arg(value_name = "ID")]
    id: String,
}

pub(super) async fn run(cx: &Context, command: Event) -> Result<Exit, CliError> {
    let client = cx.client()?;
    match command {
        Event::List(args) => {
            let listed = page::list(&client, args.limit, || {
                Call::get(&["events"]).query_if("type", args.event_type.as_deref())
            })
            .await?;
            listed.print(cx, &COLUMNS, "/id")?;
        }
        Event::Show(args) => {
            let answer = client.in_tenant(Call::get(&["events", &args.id])).await?;
            if cx.output.exact(&answer.text())? {
                return Ok(Exit::Done);
            }
            let mut event = answer.json()?;
            if !cx.output.wants_data() {
                event["data"] = exact::member(&answer.text(), "data").into();
            }
            cx.output.one(&COLUMNS.map(Column::everywhere), "/id", &event)?;
        }
    }
    Ok(Exit::Done)
}
