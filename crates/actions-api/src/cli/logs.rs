//! Log lines of the process.

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::error::CliError;
use crate::config::{LogConfig, LogFormat};

/// Where log lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// A server's stdout holds nothing but its log.
    Out,
    /// stdout holds data.
    Err,
}

/// Starts logging for the rest of the process.
pub(super) fn start(config: &LogConfig, stream: Stream) -> Result<(), CliError> {
    let filter: Targets =
        config.filter.parse().map_err(|_| CliError::usage("the log filter cannot be read"))?;
    let is_terminal = match stream {
        Stream::Out => std::io::stdout().is_terminal(),
        Stream::Err => std::io::stderr().is_terminal(),
    };
    let writer = match stream {
        Stream::Out => BoxMakeWriter::new(std::io::stdout),
        Stream::Err => BoxMakeWriter::new(std::io::stderr),
    };
    // What goes beside data is for a person, wherever it ends up.
    let is_for_person = is_terminal || stream == Stream::Err;
    let by_default = if is_for_person { LogFormat::Pretty } else { LogFormat::Json };
    let registry = tracing_subscriber::registry().with(filter);
    let started = match config.format.unwrap_or(by_default) {
        LogFormat::Json => {
            let layer = fmt::layer().json().flatten_event(true).with_writer(writer);
            registry.with(layer).try_init()
        }
        LogFormat::Pretty => {
            let layer = fmt::layer().with_ansi(is_terminal).with_target(false).with_writer(writer);
            registry.with(layer).try_init()
        }
    };
    started.map_err(|error| CliError::failed(error.to_string()))
}
