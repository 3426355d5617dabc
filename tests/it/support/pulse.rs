//! How long the machine and the database made everybody wait: a write like a beat of a node, again
//! and again, and the longest time that one was late.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How often it beats.
const EVERY: Duration = Duration::from_millis(100);

/// Beats until it is dropped.
pub struct Pulse {
    longest: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Pulse {
    /// Writes to a table of its own.
    pub async fn over(database_url: &str) -> Self {
        let mut connection = PgConnection::connect(database_url).await.unwrap();
        sqlx::raw_sql("create table pulse (count int8 not null); insert into pulse values (0)")
            .execute(&mut connection)
            .await
            .unwrap();
        let longest = Arc::new(AtomicU64::new(0));
        let noted = longest.clone();
        let task = tokio::spawn(async move {
            let mut turn = tokio::time::interval(EVERY);
            let mut before = Instant::now();
            loop {
                turn.tick().await;
                let beat = sqlx::query("update pulse set count = count + 1");
                beat.execute(&mut connection).await.unwrap();
                let took = u64::try_from(before.elapsed().as_millis()).unwrap();
                noted.fetch_max(took, Ordering::Relaxed);
                before = Instant::now();
            }
        });
        Self { longest, task }
    }

    /// The longest time between two beats.
    pub fn longest(&self) -> Duration {
        assert!(!self.task.is_finished(), "the pulse has stopped");
        Duration::from_millis(self.longest.load(Ordering::Relaxed))
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.task.abort();
    }
}
