//! Something that was asked for, as a future.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::Poll;

use serde::de::DeserializeOwned;

use super::context::{Context, read};
use super::state::{Ask, Begun};
use crate::execution::Fault;
use crate::flow::journal::CallId;

/// Asked for when it is awaited, and given up when it is dropped before the answer came.
#[must_use = "nothing is asked for before it is awaited"]
#[derive(Debug)]
pub struct Asked<T> {
    context: Context,
    ask: Result<Ask, Fault>,
    call: Option<CallId>,
    is_over: bool,
    of: PhantomData<fn() -> T>,
}

impl<T> Asked<T> {
    pub(super) fn new(context: Context, ask: Result<Ask, Fault>) -> Self {
        Self { context, ask, call: None, is_over: false, of: PhantomData }
    }
}

impl<T: DeserializeOwned> Future for Asked<T> {
    type Output = Result<T, Fault>;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Pending;
        }
        let mut state = this.context.state();
        let answer = match (&this.ask, this.call) {
            (Err(fault), _) => Some(Err(fault.clone())),
            (Ok(_), Some(call)) => state.answer(call, context.waker()),
            (Ok(ask), None) => match state.begin(ask, context.waker()) {
                Begun::Ended(answer) => Some(answer),
                Begun::Not => None,
                Begun::Waits(call) => {
                    this.call = Some(call);
                    state.answer(call, context.waker())
                }
            },
        };
        drop(state);
        let Some(answer) = answer else { return Poll::Pending };
        this.is_over = true;
        Poll::Ready(answer.and_then(|answer| read(&answer)))
    }
}

impl<T> Drop for Asked<T> {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            self.context.state().abandon(call);
        }
    }
}
