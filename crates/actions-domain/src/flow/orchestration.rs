//! Workflows that are written as Rust code: async functions that are followed, not run.
//!
//! ```
//! use std::time::Duration;
//!
//! use actions_domain::execution::Fault;
//! use actions_domain::flow::orchestration::{Activity, Context, Orchestration};
//! use serde_json::Value;
//!
//! const RESERVE: Activity<Value, Value> = Activity::new("stock.reserve");
//! const CHARGE: Activity<Value, Value> = Activity::new("billing.charge");
//!
//! async fn fulfil(run: Context, order: Value) -> Result<Value, Fault> {
//!     let hold = run.call(&RESERVE, &order).undo("stock.release").await?;
//!     run.signal::<Value>("approve").within(Duration::from_secs(2 * 86_400)).await?;
//!     run.call(&CHARGE, &hold).undo("billing.refund").await
//! }
//!
//! let orchestration = Orchestration::new("orders.fulfil", 1, fulfil)?;
//! # Ok::<(), actions_domain::flow::orchestration::OrchestrationError>(())
//! ```
//!
//! The code asks its [`Context`] for activities, timers, signals and other runs. Each thing that it
//! asks for is an entry of the run's history, and so is each answer. When an answer comes, the code
//! is followed from its beginning: what is in the history is answered from there, what is not is
//! asked for. So the code has to do the same each time that it is given the same answers: time, ids
//! and everything else from outside come from its [`Context`].
//!
//! There is no runtime here. A future that waits for anything but its context never goes on.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::decide::{Input, Refusal, Turn};
use super::digest::FlowDigest;
use super::journal::Entry;
use super::run::Run;
use crate::Timestamp;
use crate::action::{ActionName, ActionNameError};
use crate::execution::Fault;
use crate::json::Json;

mod asked;
mod calls;
mod context;
pub mod recorded;
mod registry;
pub mod rehearsal;
mod replayer;
mod state;
mod together;
mod trouble;

pub use asked::Asked;
pub use calls::{Activity, ActivityCall, ChildCall, SignalWait, Sleep};
pub use context::Context;
pub use registry::{Orchestrations, RegistrationError};
pub use together::{Either, all, either, race};
pub use trouble::Trouble;

use replayer::Replayer;

pub(super) type Body = Pin<Box<dyn Future<Output = Result<Json, Fault>> + Send>>;
type Begin = dyn Fn(Context, Json) -> Body + Send + Sync;

/// Code that runs follow, with its name and version. A run stays with the version that it was
/// started with.
#[derive(Clone)]
pub struct Orchestration {
    name: ActionName,
    version: u32,
    begin: Arc<Begin>,
}

/// Why code cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an orchestration cannot be called so")]
pub struct OrchestrationError(#[from] ActionNameError);

impl Orchestration {
    /// # Errors
    /// The name is none that a workflow can have.
    pub fn new<I, O, F, Fut>(name: &str, version: u32, code: F) -> Result<Self, OrchestrationError>
    where
        I: DeserializeOwned,
        O: Serialize,
        F: Fn(Context, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, Fault>> + Send + 'static,
    {
        let begin = move |context: Context, input: Json| -> Body {
            match context::read::<I>(&input) {
                Ok(input) => {
                    let followed = code(context, input);
                    Box::pin(async move { context::written(&followed.await?) })
                }
                Err(fault) => Box::pin(std::future::ready(Err(fault))),
            }
        };
        Ok(Self { name: ActionName::parse(name)?, version, begin: Arc::new(begin) })
    }

    pub fn name(&self) -> &ActionName {
        &self.name
    }

    pub fn version(&self) -> u32 {
        self.version
    }

    /// What runs of it are pinned to.
    pub fn digest(&self) -> FlowDigest {
        FlowDigest::of_code(self.name.as_str(), self.version)
    }

    fn begin(&self, context: Context, input: Json) -> Body {
        (self.begin)(context, input)
    }
}

impl fmt::Debug for Orchestration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} version {}", self.name, self.version)
    }
}

/// What is so far known of a run that follows code.
#[derive(Debug, Clone, Copy)]
pub struct Past<'p> {
    /// The run's own id: what the code makes ids from.
    pub run: Uuid,
    pub entries: &'p [Entry],
}

/// Takes an input and answers what follows, as [`super::decide::decide`] does for a graph.
///
/// Where the code does not do what the history says, panics, or waits for something that is not
/// of its context, the run is parked: the answer is kept, an entry says why, and nothing follows
/// until somebody resumes the run, with code that can be followed.
///
/// # Errors
/// Why the run cannot take the input as it is now.
pub fn decide(
    code: &Orchestration,
    past: Past<'_>,
    input: Input,
    now: Timestamp,
) -> Result<Turn, Refusal> {
    Replayer::load(code, past).take(input, now)
}

/// What the code has published under this name, [as it is now](Context::publish).
///
/// # Errors
/// Why the code cannot be followed to where the run is.
pub fn query(code: &Orchestration, past: Past<'_>, name: &str) -> Result<Option<Json>, Trouble> {
    let replayer = Replayer::load(code, past);
    replayer.trouble().map_or_else(|| Ok(replayer.published(name)), Err)
}

/// Follows the code through a history, and answers where the run stands.
///
/// # Errors
/// Where the code does something else than the history says.
pub fn replay(code: &Orchestration, past: Past<'_>) -> Result<Run, Trouble> {
    let replayer = Replayer::load(code, past);
    replayer.trouble().map_or_else(|| Ok(Run::replay(past.entries)), Err)
}

#[cfg(test)]
mod tests;
