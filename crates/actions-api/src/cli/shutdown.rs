//! Ends a process as its supervisor asks: the first signal drains, the second ends at once.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::CliError;
use super::exit::Exit;

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, CliError> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { terminate, interrupt })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Exit {
        tokio::select! {
            _ = self.terminate.recv() => Exit::Cancelled,
            _ = self.interrupt.recv() => Exit::Interrupted,
        }
    }

    /// Waits for `work`, unless another signal comes first.
    pub(super) async fn unless_again<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, Exit> {
        tokio::select! {
            done = work => Ok(done),
            exit = self.next() => Err(exit),
        }
    }
}
