//! Passwords that somebody types, or that a file or a pipe holds. They are never arguments, which
//! others on the machine can read.

use std::io::{BufRead, IsTerminal, Read};
use std::path::Path;

use actions_domain::account::Password;
use actions_domain::limits::PASSWORD_BYTES_MAX;
use console::Term;
use zeroize::Zeroizing;

use super::Context;
use super::error::CliError;

/// One byte more than fits tells that it does not fit, beside the line break.
const READ_MAX: u64 = PASSWORD_BYTES_MAX as u64 + 3;

/// Reads a password: from the file, from a terminal without showing it, or a line of standard input.
pub(super) fn read(cx: &Context, file: Option<&Path>, prompt: &str) -> Result<Password, CliError> {
    match file {
        Some(path) => from_file(path),
        None if std::io::stdin().is_terminal() => typed(cx, prompt),
        None => line(),
    }
}

/// Reads one that is to hold from now on. Whoever types it does so twice.
pub(super) fn read_new(
    cx: &Context,
    file: Option<&Path>,
    prompt: &str,
) -> Result<Password, CliError> {
    let password = read(cx, file, prompt)?;
    if file.is_none() && std::io::stdin().is_terminal() {
        let again = typed(cx, "the same again")?;
        if again.expose() != password.expose() {
            return Err(CliError::usage("these are two different passwords; nothing was done"));
        }
    }
    Ok(password)
}

fn from_file(path: &Path) -> Result<Password, CliError> {
    let failed = |error| CliError::usage(format!("{}: {error}", path.display()));
    let mut text = Zeroizing::new(String::new());
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(READ_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(without_break(&text))
}

fn typed(cx: &Context, prompt: &str) -> Result<Password, CliError> {
    if cx.global.no_input {
        return Err(CliError::usage("nobody can be asked for a password here")
            .with_hint("give --password-file, or the password on standard input"));
    }
    let term = Term::stderr();
    term.write_str(&format!("{prompt}: "))?;
    let text = Zeroizing::new(term.read_secure_line()?);
    Ok(without_break(&text))
}

/// One line, so that another one can follow.
fn line() -> Result<Password, CliError> {
    let mut text = Zeroizing::new(String::new());
    std::io::stdin().lock().take(READ_MAX).read_line(&mut text)?;
    if text.is_empty() {
        return Err(CliError::usage("a password is expected on standard input")
            .with_hint("or give --password-file"));
    }
    Ok(without_break(&text))
}

fn without_break(text: &str) -> Password {
    let text = text.strip_suffix('\n').unwrap_or(text);
    Password::new(text.strip_suffix('\r').unwrap_or(text).to_owned())
}
