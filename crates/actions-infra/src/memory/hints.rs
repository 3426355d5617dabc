//! Hints between the engines of one process. With one engine, nobody listens.

use actions_domain::ports::hints::{Hint, HintError, Hints};
use async_trait::async_trait;
use tokio::sync::{Mutex, broadcast};

/// Hints that may wait for a listener. Beyond, the oldest are lost.
const WAITING_MAX: usize = 1_024;

/// One engine's end of the hints of a process.
pub struct MemoryHints {
    sender: broadcast::Sender<Vec<Hint>>,
    heard: Mutex<broadcast::Receiver<Vec<Hint>>>,
}

impl MemoryHints {
    /// The end of another engine.
    #[must_use]
    pub fn other_end(&self) -> Self {
        let heard = Mutex::new(self.sender.subscribe());
        Self { sender: self.sender.clone(), heard }
    }
}

impl Default for MemoryHints {
    fn default() -> Self {
        let (sender, heard) = broadcast::channel(WAITING_MAX);
        Self { sender, heard: Mutex::new(heard) }
    }
}

#[async_trait]
impl Hints for MemoryHints {
    async fn tell(&self, hints: &[Hint]) -> Result<(), HintError> {
        // Nobody may be listening.
        let _ = self.sender.send(hints.to_vec());
        Ok(())
    }

    async fn next(&self) -> Result<Vec<Hint>, HintError> {
        let mut heard = self.heard.lock().await;
        heard.recv().await.map_err(|error| HintError(Box::new(error)))
    }
}
