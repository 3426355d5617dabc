//! The HTTP interface and the node of this process, from start to drained end.

use std::sync::Arc;

use actions_app::node;
use axum::Extension;
use axum::http::HeaderValue;
use axum::http::header::STRICT_TRANSPORT_SECURITY;
use futures_util::future::OptionFuture;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::set_header::SetResponseHeaderLayer;
use tracing::warn;

use super::error::CliError;
use super::exit::Exit;
use super::shutdown::Signals;
use crate::config::EngineConfig;
use crate::connections::{self, Bounds};
use crate::request::Public;
use crate::tls::Tls;
use crate::wiring::{self, Engine, WiringError};
use crate::{Access, Serving, Sites};

/// A year, as browsers are told that there is no way without TLS. Other names than ours are not ours
/// to speak for.
const HSTS: &str = "max-age=31536000";

/// Where a server is asked.
pub(super) struct Doors {
    pub(super) public: TcpListener,
    /// Where operators ask. `None`: where everybody does.
    pub(super) admin: Option<TcpListener>,
    pub(super) tls: Option<Arc<Tls>>,
}

impl Doors {
    /// One for everybody, without TLS.
    pub(super) fn one(public: TcpListener) -> Self {
        Self { public, admin: None, tls: None }
    }
}

/// A turn in the life of a server, told once each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It answers, and its node takes work.
    Ready,
    Draining,
    Stopped,
}

/// Serves until a signal, then lets what runs end.
pub(super) async fn run(
    engine: Engine,
    config: &EngineConfig,
    sites: Sites,
    doors: Doors,
    access: Access,
    mut signals: Signals,
    mut tell: impl FnMut(Turn) -> Result<(), CliError>,
) -> Result<Exit, CliError> {
    let metrics = crate::recorder();
    tokio::spawn(tidy(metrics.clone()));
    let closing = CancellationToken::new();
    let (has_node, has_api) = (config.role.has_node(), config.role.has_api());
    let draining = closing.clone();
    let serving = Serving { access, metrics, has_node, has_api, draining, sites };
    let mut router = crate::router(engine.app.clone(), serving);
    let Doors { public, admin, tls } = doors;
    if tls.is_some() {
        let hsts = HeaderValue::from_static(HSTS);
        let layer = SetResponseHeaderLayer::if_not_present(STRICT_TRANSPORT_SECURITY, hsts);
        router = router.layer(layer);
    }
    let node = has_node.then(|| node::start(engine.app.clone(), wiring::node_config(config)));
    let reader = has_node.then(|| engine.read_stream(&config.node_name)).flatten();
    tokio::spawn(warn_of_redis(config.clone()));
    let clock = engine.app.ports.clock.clone();
    let bounds = Bounds::default();
    // What is only for operators is not there for anybody else, where they have a door of their own.
    let for_all =
        if admin.is_some() { router.clone().layer(Extension(Public)) } else { router.clone() };
    let serve = |listener, router| {
        let (tls, clock, closing) = (tls.clone(), clock.clone(), closing.clone());
        connections::serve_over(tls, listener, router, clock, bounds, closing)
    };
    let for_all = serve(public, for_all);
    let for_operators = admin.map(|listener| serve(listener, router));
    let http = tokio::spawn(async move {
        tokio::join!(for_all, OptionFuture::from(for_operators));
    });
    let fresh = tls.map(|tls| {
        let clock = clock.clone();
        tokio::spawn(async move { tls.keep_fresh(clock).await })
    });
    let clock = wiring::clock();
    let joined = async {
        while has_node && engine.app.live.node().is_none() {
            clock.sleep(LOOK_AGAIN).await;
        }
    };
    tokio::select! {
        _ = signals.next() => {}
        () = joined => {
            tell(Turn::Ready)?;
            signals.next().await;
        }
    }

    tell(Turn::Draining)?;
    closing.cancel();
    let drained = signals
        .unless_again(async {
            if let Some(reader) = reader {
                reader.stop().await;
            }
            let drained = match node {
                Some(node) => node.stop().await,
                None => Ok(()),
            };
            // Requests that are still held open had their time while the node was draining.
            tokio::select! {
                _ = http => {}
                () = clock.sleep(HELD_OPEN) => warn!("requests were cut off"),
            }
            if let Some(fresh) = fresh {
                fresh.abort();
            }
            engine.close().await;
            drained
        })
        .await;
    match drained {
        Ok(Ok(())) => {
            tell(Turn::Stopped)?;
            Ok(Exit::Done)
        }
        Ok(Err(error)) => {
            Err(CliError::new(Exit::Cancelled, error.to_string()).with_hint(
                "what was abandoned runs again after the next start; ACTIONS_DRAIN_TIMEOUT gives it longer",
            ))
        }
        Err(exit) => Ok(exit),
    }
}

/// Figures that nobody reads would grow without this.
async fn tidy(metrics: PrometheusHandle) {
    let clock = wiring::clock();
    loop {
        clock.sleep(TIDY).await;
        metrics.run_upkeep();
    }
}

/// Says once at the start what is wrong with Redis. Whether it is there at all, its users say.
async fn warn_of_redis(config: EngineConfig) {
    if let Some(Ok(report)) = wiring::redis_report(&config).await
        && let Some((problem, remedy)) = report.problem
    {
        warn!(remedy, "Redis: {problem}");
    }
}

/// How often it is asked whether the node has joined.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(20);
const TIDY: std::time::Duration = std::time::Duration::from_secs(5);
/// How long answers that are under way may take after the node has stopped.
const HELD_OPEN: std::time::Duration = std::time::Duration::from_secs(2);

/// Opens the address before anything else is touched: an address that is taken usually means
/// that the same program runs already.
pub(super) async fn listen(address: std::net::SocketAddr) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|error| {
        CliError::failed(format!("cannot listen on {address}: {error}"))
            .with_hint("is it running already? --listen or ACTIONS_LISTEN names another address")
    })
}

/// An error with everything that led to it, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors repeat their cause in their own text.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Puts an engine together, or says why that is impossible.
pub(super) async fn engine(config: &EngineConfig) -> Result<Engine, CliError> {
    let engine = wiring::engine(config).await;
    engine.map_err(|error| refused(&config.database.place(), &error))
}

/// A database that cannot be used.
pub(super) fn refused(place: &str, error: &WiringError) -> CliError {
    let exit = if error.is_unavailable() { Exit::Unavailable } else { Exit::Failed };
    CliError::new(exit, format!("{place}: {}", chain(error)))
}
