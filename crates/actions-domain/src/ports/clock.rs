//! Time. Nothing else in the engine may ask the system for it.

use std::time::Duration;

use async_trait::async_trait;

use crate::Timestamp;

/// A clock that tests can hold.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The wall clock, in microseconds.
    fn now(&self) -> Timestamp;

    /// Waits. May return late, never early.
    async fn sleep(&self, pause: Duration);
}
