//! Connections of clients: how many there are at once, and how long one may be quiet.
//!
//! Quiet is a connection on which no request is being answered: its client sends nothing or
//! drips headers, keeps the connection for later, or does not take its answer. One rule for all
//! of them needs no credential, so that strangers cannot use up the process's descriptors.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::limits::{CONNECTION_QUIET_MAX, CONNECTIONS_MAX, HEAD_BYTES_MAX};
use actions_domain::ports::clock::Clock;
use axum::body::{Body, HttpBody};
use axum::http::Request;
use axum::response::Response;
use axum::{BoxError, Router};
use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};
use tracing::warn;

use crate::tls::Tls;

/// After a failure that is not the client's, like a lack of descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// How long the beginning of TLS may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// What clients may take up.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Further clients wait to be accepted.
    pub connections_max: u32,
    pub quiet_max: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connections_max: CONNECTIONS_MAX, quiet_max: CONNECTION_QUIET_MAX }
    }
}

/// Serves until `closing`, and then until the last request that is under way is answered.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    clock: Arc<dyn Clock>,
    bounds: Bounds,
    closing: CancellationToken,
) {
    serve_over(None, listener, router, clock, bounds, closing).await;
}

/// The same over TLS, where there is any.
pub(crate) async fn serve_over(
    tls: Option<Arc<Tls>>,
    listener: TcpListener,
    router: Router,
    clock: Arc<dyn Clock>,
    bounds: Bounds,
    closing: CancellationToken,
) {
    let room = usize::try_from(bounds.connections_max).unwrap_or(Semaphore::MAX_PERMITS);
    let room = Arc::new(Semaphore::new(room));
    let accepting = async {
        loop {
            let place = room.clone().acquire_owned().await.expect("it is never closed");
            let stream = accept(&listener, clock.as_ref()).await;
            let (router, clock, closing) = (router.clone(), clock.clone(), closing.clone());
            let acceptor = tls.as_ref().map(|tls| tls.acceptor());
            tokio::spawn(async move {
                let quiet_max = bounds.quiet_max;
                match acceptor {
                    None => converse(stream, router, clock, quiet_max, closing).await,
                    Some(acceptor) => {
                        // A client that says nothing of TLS has less time than one that is quiet.
                        let greeted = tokio::select! {
                            greeted = acceptor.accept(stream) => greeted.ok(),
                            () = clock.sleep(HANDSHAKE_MAX.min(quiet_max)) => None,
                            () = closing.cancelled() => None,
                        };
                        if let Some(stream) = greeted {
                            converse(stream, router, clock, quiet_max, closing).await;
                        }
                    }
                }
                drop(place);
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        () = closing.cancelled() => {}
    }
    drop(listener);
    // All places are free when all connections have ended.
    let _all = room.acquire_many(bounds.connections_max).await;
}

async fn accept(listener: &TcpListener, clock: &dyn Clock) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_of_client(&error) => {}
            Err(error) => {
                warn!(%error, "connections cannot be accepted");
                clock.sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

fn is_of_client(error: &io::Error) -> bool {
    let kinds = [
        io::ErrorKind::ConnectionRefused,
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
    ];
    kinds.contains(&error.kind())
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    clock: Arc<dyn Clock>,
    quiet_max: Duration,
    closing: CancellationToken,
) {
    let state = State { answering: 0, quiet_since: clock.now() };
    let pulse = Arc::new(Pulse { state: Mutex::new(state), clock });
    let service = TowerToHyperService::new(Answering { router, pulse: pulse.clone() });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(HEAD_BYTES_MAX);
    builder.http2().max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX));
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // A client that breaks off is no failure of ours.
        _ = served.as_mut() => return,
        () = pulse.quiet_for(quiet_max) => return,
        () = closing.cancelled() => served.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        _ = served => {}
        () = pulse.quiet_for(quiet_max) => {}
    }
}

/// What a connection does.
struct Pulse {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
}

struct State {
    answering: usize,
    /// When the last answer was given to the connection.
    quiet_since: Timestamp,
}

impl Pulse {
    fn begin(self: Arc<Self>) -> Beat {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).answering += 1;
        Beat(self)
    }

    /// Returns when the connection has been quiet for that long.
    async fn quiet_for(&self, max: Duration) {
        loop {
            let left = {
                let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                let passed = (self.clock.now() - state.quiet_since).to_std().unwrap_or_default();
                if state.answering > 0 { max } else { max.saturating_sub(passed) }
            };
            if left.is_zero() {
                return;
            }
            self.clock.sleep(left).await;
        }
    }
}

/// A request that is being answered.
struct Beat(Arc<Pulse>);

impl Drop for Beat {
    fn drop(&mut self) {
        let now = self.0.clock.now();
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.answering -= 1;
        state.quiet_since = now;
    }
}

/// The router, and the pulse of the connection that asks it.
#[derive(Clone)]
struct Answering {
    router: Router,
    pulse: Arc<Pulse>,
}

impl<B> Service<Request<B>> for Answering
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let beat = self.pulse.clone().begin();
        let answer = self.router.clone().oneshot(request.map(Body::new));
        Box::pin(async move {
            let answer = answer.await;
            drop(beat);
            answer
        })
    }
}
