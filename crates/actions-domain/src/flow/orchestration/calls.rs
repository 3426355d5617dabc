//! What code can ask for: calls of actions, runs of other workflows, signals and timers.

use std::borrow::Cow;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::asked::Asked;
use super::context::{Context, action, encoded, uncallable};
use super::state::{ActivityAsk, Ask, Due, Undo};
use crate::execution::{Fault, Priority};
use crate::json::Json;
use crate::limits::{NAME_BYTES_MAX, SCHEDULE_AHEAD_MAX, TIMEOUT_MAX};
use crate::retry::RetryPolicy;
use crate::work::{Key, KeyMode};

/// A tenant's action with the types of what goes in and comes out.
#[derive(Debug, Clone)]
pub struct Activity<I, O> {
    name: Cow<'static, str>,
    of: PhantomData<fn(&I) -> O>,
}

impl<I, O> Activity<I, O> {
    pub const fn new(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), of: PhantomData }
    }

    /// One whose name is not known before.
    pub fn named(name: String) -> Self {
        Self { name: Cow::Owned(name), of: PhantomData }
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A call of an action. What is not said here is as the action says.
#[must_use = "nothing is called before it is awaited"]
#[derive(Debug)]
pub struct ActivityCall<O> {
    context: Context,
    ask: Result<ActivityAsk, Fault>,
    of: PhantomData<fn() -> O>,
}

impl<O> ActivityCall<O> {
    pub(super) fn new(context: Context, name: &str, input: Result<Json, Fault>) -> Self {
        let ask = input.and_then(|input| {
            Ok(ActivityAsk {
                label: name.to_owned(),
                action: action(name)?,
                input,
                key: None,
                priority: None,
                retry: None,
                timeout_seconds: None,
                undo: None,
            })
        });
        Self { context, ask, of: PhantomData }
    }

    fn with(mut self, change: impl FnOnce(&mut ActivityAsk) -> Result<(), Fault>) -> Self {
        self.ask = self.ask.and_then(|mut ask| change(&mut ask).map(|()| ask));
        self
    }

    /// The name of the step in the run. A number is added where it is taken.
    pub fn named(self, label: &str) -> Self {
        self.with(|ask| {
            ask.label = label.to_owned();
            Ok(())
        })
    }

    pub fn retry(self, policy: RetryPolicy) -> Self {
        self.with(|ask| {
            policy.check().map_err(|error| uncallable(&error))?;
            ask.retry = Some(policy);
            Ok(())
        })
    }

    /// Of each attempt.
    pub fn timeout(self, limit: Duration) -> Self {
        self.with(|ask| {
            let seconds = limit.as_secs() + u64::from(limit.subsec_nanos() > 0);
            if !(1..=TIMEOUT_MAX.as_secs()).contains(&seconds) {
                let max = TIMEOUT_MAX.as_secs();
                return Err(uncallable(&format_args!(
                    "an attempt lasts 1 to {max} s, not {seconds}"
                )));
            }
            ask.timeout_seconds = u32::try_from(seconds).ok();
            Ok(())
        })
    }

    /// What it excludes others from while it runs: `order:4711`.
    pub fn key(self, key: &str, mode: KeyMode) -> Self {
        self.with(|ask| {
            Key::parse(key, mode).map_err(|error| uncallable(&error))?;
            ask.key = Some((key.to_owned(), mode));
            Ok(())
        })
    }

    pub fn priority(self, priority: Priority) -> Self {
        self.with(|ask| {
            ask.priority = Some(priority);
            Ok(())
        })
    }

    /// Calls this action with what the call left behind, when the run fails after it.
    pub fn undo(self, name: &str) -> Self {
        self.with(|ask| {
            ask.undo = Some(Undo { action: action(name)?, input: None });
            Ok(())
        })
    }

    /// The same, with an input of its own.
    pub fn undo_with(self, name: &str, input: &impl Serialize) -> Self {
        self.with(|ask| {
            ask.undo = Some(Undo { action: action(name)?, input: Some(encoded(input)?) });
            Ok(())
        })
    }
}

impl<O: DeserializeOwned> IntoFuture for ActivityCall<O> {
    type Output = Result<O, Fault>;
    type IntoFuture = Asked<O>;

    fn into_future(self) -> Asked<O> {
        Asked::new(self.context, self.ask.map(|ask| Ask::Activity(Box::new(ask))))
    }
}

/// A run of another workflow.
#[must_use = "nothing is started before it is awaited"]
#[derive(Debug)]
pub struct ChildCall<O> {
    context: Context,
    flow: String,
    input: Result<Json, Fault>,
    undo: Option<Undo>,
    of: PhantomData<fn() -> O>,
}

impl<O> ChildCall<O> {
    pub(super) fn new(context: Context, flow: &str, input: Result<Json, Fault>) -> Self {
        let input = input.and_then(|input| action(flow).map(|_| input));
        Self { context, flow: flow.to_owned(), input, undo: None, of: PhantomData }
    }

    /// Calls this action with what the run left behind, when this one fails after it.
    pub fn undo(mut self, name: &str) -> Self {
        match action(name) {
            Ok(action) => self.undo = Some(Undo { action, input: None }),
            Err(fault) => self.input = Err(fault),
        }
        self
    }
}

impl<O: DeserializeOwned> IntoFuture for ChildCall<O> {
    type Output = Result<O, Fault>;
    type IntoFuture = Asked<O>;

    fn into_future(self) -> Asked<O> {
        let (flow, undo) = (self.flow, self.undo);
        Asked::new(self.context, self.input.map(|input| Ask::Child { flow, input, undo }))
    }
}

/// A wait for a signal.
#[must_use = "nothing is waited for before it is awaited"]
#[derive(Debug)]
pub struct SignalWait<T> {
    context: Context,
    ask: Result<(String, Option<Duration>), Fault>,
    of: PhantomData<fn() -> T>,
}

impl<T> SignalWait<T> {
    pub(super) fn new(context: Context, name: &str) -> Self {
        let ask = match name.len() {
            1..=NAME_BYTES_MAX => Ok((name.to_owned(), None)),
            given => Err(uncallable(&format_args!(
                "the name of a signal has 1 to {NAME_BYTES_MAX} bytes, not {given}"
            ))),
        };
        Self { context, ask, of: PhantomData }
    }

    /// Fails with `flow.signal_timeout` when none comes in this time.
    pub fn within(mut self, limit: Duration) -> Self {
        self.ask = self.ask.and_then(|(name, _)| {
            if limit > SCHEDULE_AHEAD_MAX {
                let max = SCHEDULE_AHEAD_MAX.as_secs() / 86_400;
                return Err(uncallable(&format_args!("a signal is waited for at most {max} days")));
            }
            Ok((name, Some(limit)))
        });
        self
    }
}

impl<T: DeserializeOwned> IntoFuture for SignalWait<T> {
    type Output = Result<T, Fault>;
    type IntoFuture = Asked<T>;

    fn into_future(self) -> Asked<T> {
        Asked::new(self.context, self.ask.map(|(name, within)| Ask::Signal { name, within }))
    }
}

/// A durable timer.
#[must_use = "no time passes before it is awaited"]
#[derive(Debug)]
pub struct Sleep(Asked<Value>);

impl Sleep {
    pub(super) fn new(context: Context, due: Due) -> Self {
        Self(Asked::new(context, Ok(Ask::Timer(due))))
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(context).map(drop)
    }
}
