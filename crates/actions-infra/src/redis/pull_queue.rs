//! Tasks for workers in Redis, one script for each verb. A task goes by itself when its attempt
//! does not visit it any more; what Redis has lost, the attempts put in again.

use std::time::Duration;

use actions_domain::id::{ExecutionId, TenantId};
use actions_domain::json::Json;
use actions_domain::limits::TIMEOUT_MAX;
use actions_domain::ports::pull_queue::{
    Answer, ClaimToken, Claimed, PullQueue, Seen, Task, Wish, Word,
};
use actions_domain::ports::store::StoreError;
use async_trait::async_trait;
use redis::{FromRedisValue, Script, ScriptInvocation};

use super::{ANSWER_MAX, Link, Redis};

/// The queues of one installation.
pub struct RedisPullQueue {
    link: Link,
    /// Before it, everything of this installation.
    prefix: String,
    put: Script,
    visit: Script,
    claim: Script,
    tell: Script,
}

impl RedisPullQueue {
    pub fn new(redis: &Redis) -> Self {
        Self::named(redis, "actions")
    }

    /// Queues whose keys begin with another word.
    pub fn named(redis: &Redis, prefix: &str) -> Self {
        Self {
            link: redis.link(ANSWER_MAX),
            // One tag: a cluster keeps them together.
            prefix: format!("{{{prefix}}}:pull:"),
            put: Script::new(include_str!("pull_queue/put.lua")),
            visit: Script::new(include_str!("pull_queue/visit.lua")),
            claim: Script::new(include_str!("pull_queue/claim.lua")),
            tell: Script::new(include_str!("pull_queue/tell.lua")),
        }
    }

    fn tasks(&self) -> String {
        format!("{}task:", self.prefix)
    }

    fn queues(&self, tenant: TenantId) -> String {
        format!("{}queue:{tenant}:", self.prefix)
    }

    async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, StoreError> {
        let mut connection = self.link.connection().await.map_err(StoreError::unavailable)?;
        let answer = call.invoke_async(&mut connection).await;
        self.link.judge(answer).await.map_err(StoreError::unavailable)
    }
}

#[async_trait]
impl PullQueue for RedisPullQueue {
    async fn put(&self, task: &Task, wanted_for: Duration) -> Result<(), StoreError> {
        let mut call = self.put.prepare_invoke();
        call.key(format!("{}{}", self.tasks(), task.execution));
        call.key(format!("{}{}", self.queues(task.tenant), task.queue));
        call.arg(task.execution.to_string()).arg(task.attempt).arg(task.tenant.0);
        call.arg(&task.queue).arg(task.body.as_str()).arg(millis(wanted_for));
        // No attempt lasts that long.
        call.arg(micros(TIMEOUT_MAX * 2));
        let _: i64 = self.run(&call).await?;
        Ok(())
    }

    async fn visit(
        &self,
        execution: ExecutionId,
        attempt: u32,
        wanted_for: Duration,
    ) -> Result<Option<Seen>, StoreError> {
        let mut call = self.visit.prepare_invoke();
        call.key(format!("{}{execution}", self.tasks()));
        call.arg(execution.to_string()).arg(attempt).arg(millis(wanted_for));
        call.arg(format!("{}queue:", self.prefix));
        let told: Vec<Option<String>> = self.run(&call).await?;
        let Ok([words, worker, progress, note, checkpoint, answer]) = <[_; 6]>::try_from(told)
        else {
            return Ok(None);
        };
        let corrupt = |what: &str| StoreError::Corrupt { what: format!("{what} of a task") };
        let answer = answer.map(|text| serde_json::from_str::<Answer>(&text));
        Ok(Some(Seen {
            words: words.and_then(|words| words.parse().ok()).ok_or_else(|| corrupt("words"))?,
            worker,
            progress: progress.and_then(|done| done.parse().ok()),
            note: note.filter(|note| !note.is_empty()),
            checkpoint: checkpoint.map(Json::from_record),
            answer: answer.transpose().map_err(|_| corrupt("the answer"))?,
        }))
    }

    async fn claim(&self, wish: &Wish) -> Result<Vec<Claimed>, StoreError> {
        let mut call = self.claim.prepare_invoke();
        for queue in &wish.queues {
            call.key(format!("{}{queue}", self.queues(wish.tenant)));
        }
        call.arg(self.tasks()).arg(wish.nonce.to_string()).arg(&wish.worker);
        call.arg(micros(wish.lease)).arg(wish.max);
        for queue in &wish.queues {
            call.arg(queue);
        }
        let texts: Vec<String> = self.run(&call).await?;
        let claimed = texts.chunks_exact(4).map(|texts| {
            let execution = texts[0].parse().map(ExecutionId).map_err(|_| StoreError::Corrupt {
                what: format!("a task is named {}", texts[0]),
            })?;
            Ok(Claimed {
                token: ClaimToken { execution, nonce: wish.nonce },
                queue: texts[1].clone(),
                body: Json::from_record(texts[2].clone()),
                checkpoint: Some(&texts[3])
                    .filter(|text| !text.is_empty())
                    .map(|text| Json::from_record(text.clone())),
            })
        });
        claimed.collect()
    }

    async fn tell(
        &self,
        tenant: TenantId,
        token: ClaimToken,
        word: &Word,
    ) -> Result<Option<Duration>, StoreError> {
        let mut call = self.tell.prepare_invoke();
        call.key(format!("{}{}", self.tasks(), token.execution));
        call.arg(token.nonce.to_string()).arg(tenant.0).arg(self.queues(tenant));
        call.arg(token.execution.to_string());
        let empty = String::new;
        let (lease, progress, answer) = match word {
            Word::Extend(lease) => {
                (lease.map_or_else(empty, |lease| micros(lease).to_string()), None, empty())
            }
            Word::Progress { done, note, checkpoint } => {
                (empty(), Some((done, note, checkpoint)), empty())
            }
            Word::Answer(answer) => {
                let refused =
                    |error: serde_json::Error| StoreError::Refused { reason: error.to_string() };
                (empty(), None, serde_json::to_string(answer).map_err(refused)?)
            }
        };
        call.arg(lease);
        match progress {
            None => call.arg("").arg("").arg("").arg(""),
            Some((done, note, checkpoint)) => call
                .arg("1")
                .arg(done.map(|done| done.to_string()).unwrap_or_default())
                .arg(note.as_deref().unwrap_or_default())
                .arg(checkpoint.as_ref().map(Json::as_str).unwrap_or_default()),
        };
        call.arg(answer);
        let lease: Option<u64> = self.run(&call).await?;
        Ok(lease.map(Duration::from_micros))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
