//! Tasks for workers in PostgreSQL: any node answers a worker, whoever owns the attempt.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::FromRow;
use uuid::Uuid;

use actions_domain::Timestamp;
use actions_domain::id::{ExecutionId, TenantId};
use actions_domain::json::Json;
use actions_domain::ports::pull_queue::{
    Answer, ClaimToken, Claimed, PullQueue, Seen, Task, Wish, Word,
};
use actions_domain::ports::store::StoreError;

use super::Postgres;
use super::error::{read_error, write_error};
use super::record::{corrupt, from_text, micros, to_text};

#[async_trait]
impl PullQueue for Postgres {
    async fn put(&self, task: &Task, wanted_for: Duration) -> Result<(), StoreError> {
        sqlx::query(include_str!("pull_queue/put.sql"))
            .bind(task.execution.0)
            .bind(number(task.attempt))
            .bind(task.tenant.0)
            .bind(&task.queue)
            .bind(task.body.as_str())
            .bind(micros(wanted_for))
            .execute(&self.pool)
            .await
            .map_err(write_error)?;
        Ok(())
    }

    async fn visit(
        &self,
        execution: ExecutionId,
        attempt: u32,
        wanted_for: Duration,
    ) -> Result<Option<Seen>, StoreError> {
        let row: Option<SeenRecord> = sqlx::query_as(include_str!("pull_queue/visit.sql"))
            .bind(execution.0)
            .bind(number(attempt))
            .bind(micros(wanted_for))
            .fetch_optional(&self.pool)
            .await
            .map_err(read_error)?;
        row.map(SeenRecord::into_seen).transpose()
    }

    async fn claim(&self, wish: &Wish) -> Result<Vec<Claimed>, StoreError> {
        let mut rows: Vec<ClaimedRecord> = sqlx::query_as(include_str!("pull_queue/claim.sql"))
            .bind(wish.tenant.0)
            .bind(&wish.queues)
            .bind(i64::from(wish.max))
            .bind(wish.nonce)
            .bind(&wish.worker)
            .bind(micros(wish.lease))
            .fetch_all(&self.pool)
            .await
            .map_err(write_error)?;
        rows.sort_by_key(|row| (row.put_at, row.execution));
        Ok(rows.into_iter().map(|row| row.into_claimed(wish.nonce)).collect())
    }

    async fn tell(
        &self,
        tenant: TenantId,
        token: ClaimToken,
        word: &Word,
    ) -> Result<Option<Duration>, StoreError> {
        let lease = match word {
            Word::Extend(lease) => lease.map(micros),
            Word::Progress { .. } | Word::Answer(_) => None,
        };
        let (is_progress, done, note, checkpoint) = match word {
            Word::Progress { done, note, checkpoint } => {
                (true, *done, note.as_deref(), checkpoint.as_ref().map(Json::as_str))
            }
            Word::Extend(_) | Word::Answer(_) => (false, None, None, None),
        };
        let answer = match word {
            Word::Answer(answer) => Some(to_text(answer)?),
            Word::Extend(_) | Word::Progress { .. } => None,
        };
        let lease: Option<i64> = sqlx::query_scalar(include_str!("pull_queue/tell.sql"))
            .bind(token.execution.0)
            .bind(tenant.0)
            .bind(token.nonce)
            .bind(lease)
            .bind(is_progress)
            .bind(done)
            .bind(note)
            .bind(checkpoint)
            .bind(answer)
            .fetch_optional(&self.pool)
            .await
            .map_err(write_error)?;
        Ok(lease.map(|lease| Duration::from_micros(u64::try_from(lease).unwrap_or(0))))
    }
}

fn number(attempt: u32) -> i32 {
    i32::try_from(attempt).unwrap_or(i32::MAX)
}

#[derive(Debug, FromRow)]
struct SeenRecord {
    words: i32,
    worker: Option<String>,
    progress: Option<f64>,
    note: Option<String>,
    checkpoint: Option<String>,
    answer: Option<String>,
}

impl SeenRecord {
    fn into_seen(self) -> Result<Seen, StoreError> {
        let answer = self.answer.as_deref().map(|text| from_text::<Answer>("an answer", text));
        Ok(Seen {
            words: u32::try_from(self.words).map_err(|_| corrupt("words", &self.words))?,
            worker: self.worker,
            progress: self.progress,
            note: self.note,
            checkpoint: self.checkpoint.map(Json::from_record),
            answer: answer.transpose()?,
        })
    }
}

#[derive(Debug, FromRow)]
struct ClaimedRecord {
    execution: Uuid,
    put_at: Timestamp,
    queue: String,
    body: String,
    checkpoint: Option<String>,
}

impl ClaimedRecord {
    fn into_claimed(self, nonce: Uuid) -> Claimed {
        Claimed {
            token: ClaimToken { execution: ExecutionId(self.execution), nonce },
            queue: self.queue,
            body: Json::from_record(self.body),
            checkpoint: self.checkpoint.map(Json::from_record),
        }
    }
}
