//! Tasks for workers in one process's memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::id::{ExecutionId, TenantId};
use actions_domain::ports::clock::Clock;
use actions_domain::ports::pull_queue::{ClaimToken, Claimed, PullQueue, Seen, Task, Wish, Word};
use actions_domain::ports::store::StoreError;
use async_trait::async_trait;
use uuid::Uuid;

/// The queues of one process.
pub struct MemoryPullQueue {
    clock: Arc<dyn Clock>,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    rows: HashMap<ExecutionId, Row>,
    /// Grows with each task: the order of arrival.
    serial: u64,
}

struct Row {
    task: Task,
    serial: u64,
    wanted_until: Timestamp,
    claim: Option<Claim>,
    seen: Seen,
}

struct Claim {
    nonce: Uuid,
    lease: Duration,
    until: Timestamp,
}

impl MemoryPullQueue {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, tasks: Mutex::default() }
    }

    /// Forgets everything, as a server does that restarts without its data.
    pub fn flush(&self) {
        self.lock().rows.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl PullQueue for MemoryPullQueue {
    async fn put(&self, task: &Task, wanted_for: Duration) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut tasks = self.lock();
        tasks.rows.retain(|_, row| row.wanted_until > now);
        if tasks.rows.get(&task.execution).is_some_and(|row| row.task.attempt >= task.attempt) {
            return Ok(());
        }
        tasks.serial += 1;
        let row = Row {
            task: task.clone(),
            serial: tasks.serial,
            wanted_until: now + wanted_for,
            claim: None,
            seen: Seen::default(),
        };
        tasks.rows.insert(task.execution, row);
        Ok(())
    }

    async fn visit(
        &self,
        execution: ExecutionId,
        attempt: u32,
        wanted_for: Duration,
    ) -> Result<Option<Seen>, StoreError> {
        let now = self.clock.now();
        let mut tasks = self.lock();
        let row = tasks.rows.get_mut(&execution);
        let row = row.filter(|row| row.task.attempt == attempt && row.wanted_until > now);
        Ok(row.map(|row| {
            row.wanted_until = now + wanted_for;
            row.seen.clone()
        }))
    }

    async fn claim(&self, wish: &Wish) -> Result<Vec<Claimed>, StoreError> {
        let now = self.clock.now();
        let mut tasks = self.lock();
        let mut free: Vec<&mut Row> =
            tasks.rows.values_mut().filter(|row| row.is_free(wish, now)).collect();
        free.sort_by_key(|row| row.serial);
        let most = usize::try_from(wish.max).unwrap_or(usize::MAX);
        Ok(free.into_iter().take(most).map(|row| row.claim(wish, now)).collect())
    }

    async fn tell(
        &self,
        tenant: TenantId,
        token: ClaimToken,
        word: &Word,
    ) -> Result<Option<Duration>, StoreError> {
        let now = self.clock.now();
        let mut tasks = self.lock();
        let row = tasks.rows.get_mut(&token.execution);
        let row = row.filter(|row| row.task.tenant == tenant && row.wanted_until > now);
        Ok(row.and_then(|row| row.tell(token, word, now)))
    }
}

impl Row {
    fn is_free(&self, wish: &Wish, now: Timestamp) -> bool {
        self.task.tenant == wish.tenant
            && wish.queues.contains(&self.task.queue)
            && self.wanted_until > now
            && self.seen.answer.is_none()
            && self.claim.as_ref().is_none_or(|claim| claim.until <= now)
    }

    fn claim(&mut self, wish: &Wish, now: Timestamp) -> Claimed {
        let Wish { nonce, lease, .. } = *wish;
        self.claim = Some(Claim { nonce, lease, until: now + lease });
        self.seen.worker = Some(wish.worker.clone());
        self.seen.words += 1;
        Claimed {
            token: ClaimToken { execution: self.task.execution, nonce },
            queue: self.task.queue.clone(),
            body: self.task.body.clone(),
            checkpoint: self.seen.checkpoint.clone(),
        }
    }

    fn tell(&mut self, token: ClaimToken, word: &Word, now: Timestamp) -> Option<Duration> {
        let claim = self.claim.as_mut().filter(|claim| claim.nonce == token.nonce)?;
        match word {
            Word::Extend(lease) => claim.lease = lease.unwrap_or(claim.lease),
            Word::Progress { done, note, checkpoint } => {
                self.seen.progress = *done;
                self.seen.note.clone_from(note);
                if checkpoint.is_some() {
                    self.seen.checkpoint.clone_from(checkpoint);
                }
            }
            Word::Answer(answer) => {
                self.seen.answer.get_or_insert_with(|| answer.clone());
            }
        }
        self.seen.words += 1;
        claim.until = now + claim.lease;
        Some(claim.lease)
    }
}
