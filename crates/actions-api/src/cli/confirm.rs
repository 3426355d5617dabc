//! Asks before something is done to many things at once. Never hangs on a prompt that nobody
//! sees.

use std::io::{self, BufRead, Write};

use super::error::CliError;
use super::exit::Exit;
use super::output::can_ask;

/// How the caller wants to be asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Confirm {
    /// `--yes`
    pub(crate) yes: bool,
    /// `--no-input`
    pub(crate) no_input: bool,
}

impl Confirm {
    /// Shows what will happen with some samples, and asks.
    ///
    /// # Errors
    /// `Cancelled` for a no; `Usage` where nobody can be asked and `--yes` was not given.
    pub(crate) fn ask(self, what: &str, samples: &[String]) -> Result<(), CliError> {
        if self.yes {
            return Ok(());
        }
        if self.no_input || !can_ask() {
            return Err(CliError::usage(format!("{what}: nobody can be asked here"))
                .with_hint("give --yes to go on without a question"));
        }
        let mut err = io::stderr().lock();
        for sample in samples {
            writeln!(err, "  {sample}")?;
        }
        write!(err, "{what}? [y/N] ")?;
        err.flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(CliError::new(Exit::Cancelled, "nothing was done")),
        }
    }
}
