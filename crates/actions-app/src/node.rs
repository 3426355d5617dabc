//! A node: the loops that own partitions and run what is in them.
//!
//! A node lives in sessions. A session joins the cluster, claims partitions, and runs until it
//! is stopped or loses its membership; then everything in memory is dropped and the next session
//! starts from the store. There is no other way to recover, so this one is always in use.

use std::time::Duration;

pub mod live;

/// How a node behaves.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The process's name in the cluster. Two processes must not share one.
    pub name: String,
    /// Attempts that run at once.
    pub slots: usize,
    /// How often the node says that it is alive.
    pub beat: Duration,
    /// How long it may go without being heard. Three beats.
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
            slots: 256,
            beat: Duration::from_secs(2),
            lease_ttl: Duration::from_secs(6),
            drain_timeout: Duration::from_secs(30),
            poll: Duration::from_millis(250),
            window_bytes: 64 * 1024 * 1024,
        }
    }
}
