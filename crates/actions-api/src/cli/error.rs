//! Why a command did not do what it was asked, for a person and for a script.

use serde_json::Value;
use url::Url;

use super::exit::Exit;

/// One line, a hint, and the exit code that goes with them.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// The server's own answer, printed whole with `-o json`.
    pub(crate) problem: Option<Value>,
}

impl CliError {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, problem: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    #[must_use]
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Reads a problem document (RFC 9457) of the server at `base`.
    pub(crate) fn from_problem(base: &Url, status: u16, body: Value) -> Self {
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let title = text("title").unwrap_or("the server refuses");
        let mut message = match text("detail").filter(|detail| *detail != title) {
            Some(detail) => format!("{title}: {detail}"),
            None => title.to_owned(),
        };
        for error in body.get("errors").and_then(Value::as_array).into_iter().flatten() {
            let part = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
            let line = error.get("line").and_then(Value::as_u64);
            let column = error.get("column").and_then(Value::as_u64);
            let place = match (line, column) {
                (Some(line), Some(column)) => format!(" (line {line}, column {column})"),
                _ => String::new(),
            };
            message.push_str(&format!("\n  {}{place}: {}", part("pointer"), part("message")));
        }
        let page = text("doc").and_then(|doc| base.join(doc).ok());
        let hint = page.map(|page| format!("{page} explains it"));
        Self { exit: Exit::of_status(status), message, hint, problem: Some(body) }
    }
}

impl std::fmt::Display for CliError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// A reader that went away wants no message: `actions … | head` ends quietly.
impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::new(Exit::Done, "")
        } else {
            Self::failed(error.to_string())
        }
    }
}
