//! What the code of an orchestration has of the world.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::calls::{Activity, ActivityCall, ChildCall, SignalWait, Sleep};
use super::state::{Due, Effect, State};
use crate::Timestamp;
use crate::action::ActionName;
use crate::execution::Fault;
use crate::flow::journal::What;
use crate::json::Json;
use crate::limits::RUN_PAYLOAD_BYTES_MAX;

/// One run, as its code sees it. Whatever the code needs from outside comes from here.
#[derive(Clone)]
pub struct Context(Arc<Mutex<State>>);

impl Context {
    pub(super) fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    /// Never held while code is followed, so a panic there leaves it whole.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call of a tenant's action: an ordinary execution with its retries and limits.
    pub fn call<I: Serialize, O>(&self, activity: &Activity<I, O>, input: &I) -> ActivityCall<O> {
        ActivityCall::new(self.clone(), activity.name(), encoded(input))
    }

    /// A run of another workflow or orchestration. Cancelled together with this one.
    pub fn child<O>(&self, flow: &str, input: &impl Serialize) -> ChildCall<O> {
        ChildCall::new(self.clone(), flow, encoded(input))
    }

    /// Waits durably. The time is over also when nobody was there to see it.
    pub fn sleep(&self, pause: Duration) -> Sleep {
        Sleep::new(self.clone(), Due::After(pause))
    }

    pub fn sleep_until(&self, instant: Timestamp) -> Sleep {
        Sleep::new(self.clone(), Due::At(instant))
    }

    /// The oldest signal of this name that was not taken yet, or the next one to come.
    pub fn signal<T>(&self, name: &str) -> SignalWait<T> {
        SignalWait::new(self.clone(), name)
    }

    /// The time of the answer that led here: the same whenever the code is followed.
    pub fn now(&self) -> Timestamp {
        self.state().now
    }

    /// An id of its own, the same whenever the code is followed.
    pub fn new_id(&self) -> Uuid {
        self.state().next_id()
    }

    /// Does something once and keeps what it came to: a random number, the value of a setting.
    /// It is done again when the process ends before it is written down, so it should change
    /// nothing outside. What changes something is an activity.
    ///
    /// # Errors
    /// What it came to cannot be kept, or has another shape than what was kept.
    pub async fn record<T>(&self, name: &str, effect: impl FnOnce() -> T) -> Result<T, Fault>
    where
        T: Serialize + DeserializeOwned,
    {
        let recorded = self.state().recorded(name);
        let value = match recorded {
            Effect::Recorded(value) => value,
            Effect::Never => std::future::pending().await,
            Effect::New => {
                let value = written(&effect())?;
                let what = What::SideEffectRecorded { name: name.to_owned(), value: value.clone() };
                self.state().note(what);
                value
            }
        };
        read(&value)
    }

    /// Whether the run goes the new way of a change. Runs that came by here before the change
    /// go the old one, all others the new one.
    pub fn patched(&self, patch: &str) -> bool {
        self.state().patched(patch)
    }

    /// Says something of the run that everybody sees who asks about it.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn set_status(&self, status: &impl Serialize) -> Result<(), Fault> {
        let status = written(status)?;
        self.state().set_status(status);
        Ok(())
    }

    /// Answers queries of this name, until something else is published under it. Nothing is
    /// written down: it is found by following the code.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn publish(&self, name: &str, value: &impl Serialize) -> Result<(), Fault> {
        let value = written(value)?;
        self.state().published.insert(name.to_owned(), value);
        Ok(())
    }

    /// Ends the run and begins a new one with this input, which takes over the signals that
    /// nobody has taken. For what goes on for ever: a history does not.
    ///
    /// # Errors
    /// The input cannot be kept. Otherwise nothing comes back.
    pub async fn continue_as_new<T>(&self, input: &impl Serialize) -> Result<T, Fault> {
        let input = written(input)?;
        self.state().continues_with = Some(input);
        std::future::pending().await
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}

/// A value as it stands in a history.
pub(super) fn written(value: &impl Serialize) -> Result<Json, Fault> {
    let json = encoded(value)?;
    match json.as_str().len() {
        0..=RUN_PAYLOAD_BYTES_MAX => Ok(json),
        given => Err(unkept(&format_args!(
            "it has {given} bytes, allowed are {RUN_PAYLOAD_BYTES_MAX}; pass a reference"
        ))),
    }
}

pub(super) fn encoded(value: &impl Serialize) -> Result<Json, Fault> {
    let text = serde_json::to_string(value).map_err(|error| unkept(&error))?;
    Json::parse(&text).map_err(|error| unkept(&error))
}

fn unkept(why: &dyn fmt::Display) -> Fault {
    Fault::handler("flow.encode", format!("a value cannot be kept: {why}"))
}

pub(super) fn read<T: DeserializeOwned>(json: &Json) -> Result<T, Fault> {
    json.to().map_err(|error| {
        let message = format!("a value has another shape than the code expects: {error}");
        Fault::handler("flow.decode", message)
    })
}

/// The name of an action that is called.
pub(super) fn action(name: &str) -> Result<ActionName, Fault> {
    ActionName::parse(name).map_err(|error| uncallable(&error))
}

pub(super) fn uncallable(why: &dyn fmt::Display) -> Fault {
    Fault::handler("flow.call", format!("the call cannot be made: {why}"))
}
