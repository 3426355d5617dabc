//! A policy service that speaks the data API of Open Policy Agent: `POST` of `{"input": …}` to the
//! address of a rule, answered with `{"result": …}`.
//!
//! Only a plain yes is a yes. A rule that is undefined for an input (`{}`) says no, and whatever cannot
//! be read is no answer. A yes counts for a few seconds; a no is asked for again each time. When the
//! service cannot be asked, what it said before counts no more either.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actions_domain::Timestamp;
use actions_domain::limits::{
    POLICY_ANSWER_BYTES_MAX, POLICY_ANSWER_MAX, POLICY_ANSWERS_MAX, POLICY_QUESTIONS_MAX,
    POLICY_TRUST_MAX,
};
use actions_domain::ports::authorizer::{Authorizer, AuthorizerError, Question, Verdict};
use actions_domain::ports::clock::Clock;
use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use tracing::warn;

/// Bytes of a reason that callers are shown.
const REASON_BYTES_MAX: usize = 500;

/// Sends a question as outgoing calls are made everywhere.
#[async_trait]
pub trait Questions: Send + Sync {
    /// Posts JSON and answers the status and the body.
    ///
    /// # Errors
    /// Why there is no answer, for a person.
    async fn post(&self, body: Vec<u8>) -> Result<(u16, Vec<u8>), String>;
}

/// The policy service.
pub struct PolicyService {
    questions: Arc<dyn Questions>,
    clock: Arc<dyn Clock>,
    /// What was allowed, by all that was asked but the request's id, and until when.
    allowed: Mutex<HashMap<blake3::Hash, Timestamp>>,
    room: Semaphore,
}

impl PolicyService {
    pub fn new(questions: Arc<dyn Questions>, clock: Arc<dyn Clock>) -> Self {
        let room = Semaphore::new(POLICY_QUESTIONS_MAX);
        Self { questions, clock, allowed: Mutex::default(), room }
    }

    async fn ask(&self, input: Value) -> Result<Verdict, String> {
        let body = json!({ "input": input }).to_string().into_bytes();
        match self.questions.post(body).await? {
            (200, body) => read(&body),
            (status, _) => Err(format!("it answers {status}")),
        }
    }

    fn is_allowed(&self, key: &blake3::Hash) -> bool {
        let now = self.clock.now();
        // A clock that was set back trusts nothing for longer.
        self.lock().get(key).is_some_and(|until| *until > now && *until - now <= trust())
    }

    fn allow(&self, key: blake3::Hash, asked_at: Timestamp) {
        let mut allowed = self.lock();
        if allowed.len() >= POLICY_ANSWERS_MAX {
            let now = self.clock.now();
            allowed.retain(|_, until| *until > now);
        }
        if allowed.len() >= POLICY_ANSWERS_MAX {
            allowed.clear();
        }
        allowed.insert(key, asked_at + POLICY_TRUST_MAX);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<blake3::Hash, Timestamp>> {
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn trust() -> chrono::TimeDelta {
    chrono::TimeDelta::from_std(POLICY_TRUST_MAX).unwrap_or_default()
}

/// All that a rule may judge by, but the request's id.
fn facts(question: &Question) -> Map<String, Value> {
    let facts = json!({
        "principal": question.principal,
        "principal_kind": question.principal_kind,
        "principal_tenant": question.principal_tenant,
        "role": question.role.word(),
        "permission": question.permission.name(),
        "tenant": question.tenant,
        "route": question.route,
        "path": question.path,
    });
    match facts {
        Value::Object(facts) => facts,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

/// `true`, or an object whose `allow` is.
fn read(body: &[u8]) -> Result<Verdict, String> {
    if body.len() > POLICY_ANSWER_BYTES_MAX {
        return Err("it answers with too much".to_owned());
    }
    let answer: Value =
        serde_json::from_slice(body).map_err(|_| "its answer is no JSON".to_owned())?;
    let Value::Object(answer) = answer else { return Err("its answer is no object".to_owned()) };
    match answer.get("result") {
        Some(Value::Bool(true)) => Ok(Verdict::Allow),
        Some(Value::Bool(false)) | None => Ok(Verdict::Deny { reason: None }),
        Some(Value::Object(result)) => match result.get("allow") {
            Some(Value::Bool(true)) => Ok(Verdict::Allow),
            Some(Value::Bool(false)) | None => {
                let reason = result.get("reason").and_then(Value::as_str).map(shortened);
                Ok(Verdict::Deny { reason })
            }
            Some(_) => Err("allow in its answer is neither true nor false".to_owned()),
        },
        Some(_) => Err("result in its answer is neither true nor false nor an object".to_owned()),
    }
}

/// What somebody else says is shown to callers as one short line.
fn shortened(reason: &str) -> String {
    let end = reason.floor_char_boundary(REASON_BYTES_MAX);
    reason[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[async_trait]
impl Authorizer for PolicyService {
    async fn decide(&self, question: &Question) -> Result<Verdict, AuthorizerError> {
        let mut input = facts(question);
        let key = blake3::hash(Value::Object(input.clone()).to_string().as_bytes());
        if self.is_allowed(&key) {
            return Ok(Verdict::Allow);
        }
        let place = tokio::select! {
            biased;
            place = self.room.acquire() => place,
            () = self.clock.sleep(POLICY_ANSWER_MAX) => {
                // That many ask says nothing about what the service has allowed.
                return Err(AuthorizerError { reason: "too many ask it at once".to_owned() });
            }
        };
        let _place = place.map_err(|error| AuthorizerError { reason: error.to_string() })?;
        let asked_at = self.clock.now();
        input.insert("request_id".to_owned(), json!(question.request_id));
        let answer = tokio::select! {
            answer = self.ask(Value::Object(input)) => answer,
            () = self.clock.sleep(POLICY_ANSWER_MAX) => Err("it does not answer in time".to_owned()),
        };
        match answer {
            Ok(Verdict::Allow) => {
                self.allow(key, asked_at);
                Ok(Verdict::Allow)
            }
            Ok(deny @ Verdict::Deny { .. }) => Ok(deny),
            Err(reason) => {
                self.lock().clear();
                warn!(reason, "the policy service cannot be asked, so nothing is allowed");
                Err(AuthorizerError { reason })
            }
        }
    }
}

#[cfg(test)]
mod tests;
