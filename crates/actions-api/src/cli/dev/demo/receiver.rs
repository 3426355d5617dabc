//! The demo's receiver of webhooks: it succeeds, dawdles, fails now and then, or refuses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actions_domain::ports::clock::Clock;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::net::TcpListener;

use super::super::super::error::CliError;
use super::super::super::server;

/// How long `/slow` takes.
const SLOW: Duration = Duration::from_millis(1_500);
/// Of ten calls of `/flaky`, these fail.
const FAILING: [u64; 3] = [1, 4, 8];

/// A receiver whose port is open.
pub(super) struct Receiver {
    listener: TcpListener,
    address: SocketAddr,
}

impl Receiver {
    /// Opens the address, or a free port when somebody else has it.
    pub(super) async fn open(wanted: SocketAddr) -> Result<Self, CliError> {
        let listener = listen_near(wanted).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn start(self, clock: Arc<dyn Clock>) {
        let calls = Arc::new(AtomicU64::new(0));
        let flaky = move || {
            let call = calls.fetch_add(1, Ordering::Relaxed) % 10;
            async move {
                if FAILING.contains(&call) {
                    (StatusCode::SERVICE_UNAVAILABLE, "busy, try again")
                } else {
                    (StatusCode::OK, "thank you")
                }
            }
        };
        let slow = move || async move {
            clock.sleep(SLOW).await;
            "at last"
        };
        let router = Router::new()
            .route("/ok", post(|| async { "thank you" }))
            .route("/slow", post(slow))
            .route("/flaky", post(flaky))
            .route(
                "/reject",
                post(|| async { (StatusCode::BAD_REQUEST, "unknown field order_id") }),
            );
        tokio::spawn(async move { axum::serve(self.listener, router).await });
    }
}

/// The address, or a free port of the same interface.
pub(super) async fn listen_near(wanted: SocketAddr) -> Result<TcpListener, CliError> {
    match TcpListener::bind(wanted).await {
        Ok(listener) => Ok(listener),
        Err(_taken) => server::listen(SocketAddr::new(wanted.ip(), 0)).await,
    }
}
