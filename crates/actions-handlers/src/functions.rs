//! Functions of the service that links the engine, callable by name.
//!
//! `function.call` and `job.run` look a name up here at every attempt, so a function can be
//! registered before or after the action that names it. `?` on any error inside a function
//! means *try again*; [`Fail::reject`] means *never again*.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use actions_domain::Timestamp;
use actions_domain::event::Event;
use actions_domain::execution::report::Reporter;
use actions_domain::execution::{Fault, Outcome, Output};
use actions_domain::id::ExecutionId;
use actions_domain::ports::handler::{Call, CallConfig, TenantRef};

use crate::config::reject;

mod fail;
/// `function.call` and `job.run`.
pub mod handlers;

pub use fail::Fail;

/// Longest name of a function.
const NAME_BYTES_MAX: usize = 255;

type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;
type Erased = Arc<dyn Fn(Value, FunctionContext) -> Running + Send + Sync>;

/// The functions of one engine. Cheap to clone; clones share them.
#[derive(Clone, Default)]
pub struct Functions {
    by_name: Arc<RwLock<BTreeMap<String, Erased>>>,
}

/// Why a function was not registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    #[error("a function's name has 1 to {max} bytes, not {bytes}", max = NAME_BYTES_MAX)]
    Name { bytes: usize },
    #[error("there is a function {name} already")]
    Taken { name: String },
}

impl Functions {
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers an async function that takes the execution's input as its own type.
    ///
    /// # Errors
    /// When the name is taken, empty or too long.
    pub fn register<I, O, F, R>(&self, name: &str, function: F) -> Result<(), RegisterError>
    where
        I: DeserializeOwned + Send + 'static,
        O: Serialize,
        F: Fn(I, FunctionContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, Fail>> + Send + 'static,
    {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(RegisterError::Name { bytes: name.len() });
        }
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        if by_name.contains_key(name) {
            return Err(RegisterError::Taken { name: name.to_owned() });
        }
        by_name.insert(name.to_owned(), erased(function));
        Ok(())
    }

    /// The names of all functions, in order.
    pub fn names(&self) -> Vec<String> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    pub fn contains(&self, name: &str) -> bool {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).contains_key(name)
    }

    fn find(&self, name: &str) -> Option<Erased> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Runs a function for an attempt.
    async fn run(&self, name: &str, call: &Call) -> Outcome {
        match self.find(name) {
            Some(function) => function(call.input.clone(), FunctionContext::of(call)).await,
            None => {
                let message = format!("this service has no function {name:?}");
                reject("function.unknown", message)
            }
        }
    }
}

fn erased<I, O, F, R>(function: F) -> Erased
where
    I: DeserializeOwned + Send + 'static,
    O: Serialize,
    F: Fn(I, FunctionContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<O, Fail>> + Send + 'static,
{
    Arc::new(move |input, context| {
        let running = serde_json::from_value(input).map(|input| function(input, context));
        Box::pin(async move {
            let result = match running {
                Ok(running) => running.await,
                Err(error) => return reject("input.invalid", error.to_string()),
            };
            match result.map(|output| serde_json::to_value(output)) {
                Ok(Ok(output)) => Outcome::Done(Output::new(output)),
                Ok(Err(error)) => {
                    Outcome::Reject(Fault::handler("function.output", error.to_string()))
                }
                Err(fail) => fail.outcome(),
            }
        })
    })
}

/// What a function knows of the attempt it makes.
#[derive(Debug, Clone)]
pub struct FunctionContext {
    /// The same over all attempts.
    pub execution: ExecutionId,
    /// From 1.
    pub attempt: u32,
    pub tenant: TenantRef,
    pub action: String,
    /// The action's whole config.
    pub config: CallConfig,
    /// A job has none.
    pub event: Option<Arc<Event>>,
    pub started_at: Timestamp,
    /// The attempt is dropped then.
    pub deadline: Timestamp,
    /// What an attempt before has left for this one.
    pub checkpoint: Option<Value>,
    /// Says how the attempt goes on, while it does.
    pub reporter: Reporter,
}

impl FunctionContext {
    fn of(call: &Call) -> Self {
        Self {
            execution: call.execution,
            attempt: call.attempt,
            tenant: call.tenant.clone(),
            action: call.action.clone(),
            config: call.config.clone(),
            event: call.event.clone(),
            started_at: call.started_at,
            deadline: call.started_at + call.timeout,
            checkpoint: call.checkpoint.clone(),
            reporter: call.reporter.clone(),
        }
    }

    /// A key for whatever the function does elsewhere: a repetition carries the same one.
    pub fn idempotency_key(&self) -> String {
        self.execution.to_string()
    }
}

#[cfg(test)]
mod tests;
