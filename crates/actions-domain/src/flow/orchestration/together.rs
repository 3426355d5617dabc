//! Several things at once. Whatever is asked for begins in the order in which it stands there.

use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

type Followed<F> = Pin<Box<<F as IntoFuture>::IntoFuture>>;

/// Waits for all of them, and answers what they came to in their order.
pub async fn all<F: IntoFuture>(calls: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut parts: Vec<Part<F>> = calls.into_iter().map(Part::new).collect();
    poll_fn(|context| {
        // Each is followed, also behind one that waits.
        let waiting =
            parts.iter_mut().map(|part| part.follow(context)).filter(|is_through| !is_through);
        if waiting.count() == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    parts.into_iter().filter_map(|part| part.output).collect()
}

/// Waits for the first of them, and answers its place and what it came to. The others are given
/// up: executions are asked to end, timers and signals are not waited for any more.
///
/// Of none of them, nothing ever comes.
pub async fn race<F: IntoFuture>(calls: impl IntoIterator<Item = F>) -> (usize, F::Output) {
    let mut calls: Vec<Followed<F>> =
        calls.into_iter().map(|call| Box::pin(call.into_future())).collect();
    poll_fn(|context| {
        let first = calls.iter_mut().enumerate().find_map(|(index, call)| {
            match call.as_mut().poll(context) {
                Poll::Ready(output) => Some((index, output)),
                Poll::Pending => None,
            }
        });
        first.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// Which one of two came first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Either<A, B> {
    First(A),
    Second(B),
}

/// Waits for the first of two that come to different things. The other one is given up.
pub async fn either<A: IntoFuture, B: IntoFuture>(
    first: A,
    second: B,
) -> Either<A::Output, B::Output> {
    let mut first = Box::pin(first.into_future());
    let mut second = Box::pin(second.into_future());
    poll_fn(|context| {
        if let Poll::Ready(output) = first.as_mut().poll(context) {
            return Poll::Ready(Either::First(output));
        }
        second.as_mut().poll(context).map(Either::Second)
    })
    .await
}

/// One of several, and what it came to.
struct Part<F: IntoFuture> {
    call: Followed<F>,
    output: Option<F::Output>,
}

impl<F: IntoFuture> Part<F> {
    fn new(call: F) -> Self {
        Self { call: Box::pin(call.into_future()), output: None }
    }

    /// Whether it is through.
    fn follow(&mut self, context: &mut Context<'_>) -> bool {
        if self.output.is_none()
            && let Poll::Ready(output) = self.call.as_mut().poll(context)
        {
            self.output = Some(output);
        }
        self.output.is_some()
    }
}
