//! `actions completions SHELL`.

use clap::Args;
use clap_complete::Shell;

use super::Context;
use super::error::CliError;
use super::exit::Exit;

/// Print a completion script for a shell
///
/// Example: actions completions bash > /etc/bash_completion.d/actions
#[derive(Debug, Args)]
pub(super) struct Completions {
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(
    cx: &Context,
    args: &Completions,
    mut command: clap::Command,
) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "actions", &mut script);
    cx.output.print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Done)
}
