//! A node: the loops that own partitions and run what is in them.
//!
//! A node lives in sessions. A session joins the cluster, claims partitions, and runs until it
//! is stopped or loses its membership; then everything in memory is dropped and the next session
//! starts from the store. There is no other way to recover, so this one is always in use.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::app::App;

mod attempts;
mod bulk_runner;
pub(crate) mod engine_events;
mod eraser;
mod intake_mover;
mod lease_keeper;
mod limits;
pub mod live;
mod loader;
mod permit_keeper;
mod queue_metrics;
mod reports;
mod run_keeper;
mod scheduler;
mod session;
mod timekeeper;
mod watcher;
mod writer;

/// Pauses between sessions that end early.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How a node behaves.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The process's name in the cluster. Two processes must not share one.
    pub name: String,
    /// What it tells others of itself: its program's version, and what it is for.
    pub version: String,
    pub role: String,
    /// Attempts that run at once.
    pub slots: usize,
    /// How often the node says that it is alive.
    pub beat: Duration,
    /// How long it may go without being heard: two beats at least. All nodes have the same.
    pub lease_ttl: Duration,
    /// How long stopping waits for running attempts.
    pub drain_timeout: Duration,
    /// How often the store is asked for what nobody told.
    pub poll: Duration,
    /// Memory for waiting items, in bytes.
    pub window_bytes: usize,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            name: "node".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            role: "all".to_owned(),
            slots: 256,
            beat: Duration::from_secs(2),
            lease_ttl: Duration::from_secs(6),
            drain_timeout: Duration::from_secs(30),
            poll: Duration::from_millis(250),
            window_bytes: 64 * 1024 * 1024,
        }
    }
}

/// A running node.
pub struct Node {
    stop: CancellationToken,
    task: JoinHandle<Result<(), DrainTimeout>>,
}

/// Attempts were still running when the time for stopping was over. They are abandoned, and run
/// again elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("attempts were still running when the drain timeout was over")]
pub struct DrainTimeout;

impl Node {
    /// Stops accepting partitions and starting attempts, waits for those that run, and gives the
    /// partitions back, so that the next owner need not assume that anything still runs.
    ///
    /// # Errors
    /// [`DrainTimeout`] when something had to be abandoned.
    pub async fn stop(self) -> Result<(), DrainTimeout> {
        self.stop.cancel();
        self.task.await.unwrap_or(Err(DrainTimeout))
    }

    /// Ends at once, as a crash would: nothing is handed over.
    pub fn kill(self) {
        self.task.abort();
    }
}

/// Starts a node. It runs until it is stopped.
pub fn start(app: App, config: NodeConfig) -> Node {
    let stop = CancellationToken::new();
    let task = tokio::spawn(run(app, config, stop.clone()));
    Node { stop, task }
}

/// One session after the other.
async fn run(app: App, config: NodeConfig, stop: CancellationToken) -> Result<(), DrainTimeout> {
    let mut pause = PAUSE_MIN;
    loop {
        let ended = session::run(&app, &config, &stop).await;
        app.live.end();
        match ended {
            Ok(drained) => return drained,
            Err(lost) => {
                warn!(error = %lost, source = ?std::error::Error::source(&lost), "the session is over, the next one starts from the store");
                if lost.is_of_a_session_that_worked() {
                    pause = PAUSE_MIN;
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = app.ports.clock.sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
        }
    }
}
