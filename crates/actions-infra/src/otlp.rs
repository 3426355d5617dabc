//! Sends spans to a collector, by OTLP over HTTP with protobuf, as OpenTelemetry's specification
//! of the protocol (version 1) says.
//!
//! Spans come finished from the engine, so nothing of the SDK but the exporter is used. Tracing is
//! never worth a delay: spans wait in a bounded queue, and what finds no room there, or no
//! collector, is lost and counted in the log.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use actions_domain::ports::clock::Clock;
use actions_domain::ports::traces::Traces;
use actions_domain::trace::{Span, SpanKind, SpanValue};
use opentelemetry::trace::{SpanContext, SpanId, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
pub use opentelemetry_http::HttpClient;
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::{info, warn};
use uuid::Uuid;

/// Spans that wait to be sent, or are being sent: some ten megabytes.
const QUEUE_MAX: usize = 16_384;
/// Spans of one request.
const BATCH_MAX: usize = 512;
/// How long spans are gathered before they are sent.
const GATHER: Duration = Duration::from_secs(1);
/// How long a request may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the last spans may take when the process ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Where spans go, and what is said of this process.
pub struct OtlpOptions {
    /// Of the collector: `http://127.0.0.1:4318`. Spans go to `/v1/traces` below it.
    pub endpoint: String,
    /// Sent with each request, credentials among them.
    pub headers: HashMap<String, String>,
    pub service: String,
    pub node: String,
    /// Of the traces that begin here, how many are kept: 0 to 1.
    pub ratio: f64,
    /// What makes the requests, with a time limit of its own.
    pub client: Arc<dyn HttpClient>,
    pub clock: Arc<dyn Clock>,
}

/// A collector.
pub struct OtlpTraces {
    queue: mpsc::Sender<Vec<Span>>,
    /// Spans in the queue and on their way.
    waiting: Arc<AtomicUsize>,
    /// Ids below it begin a trace.
    bound: u64,
    lost: Arc<AtomicU64>,
    ending: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl OtlpTraces {
    /// Starts the loop that sends. The collector need not be there.
    ///
    /// # Errors
    /// What is wrong with the endpoint or the headers.
    pub fn start(options: OtlpOptions) -> Result<Self, String> {
        let endpoint = format!("{}/v1/traces", options.endpoint.trim_end_matches('/'));
        let mut exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_shared_http_client(options.client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_headers(options.headers)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|error| error.to_string())?;
        let resource = Resource::builder_empty().with_attributes([
            KeyValue::new("service.name", options.service),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", options.node),
        ]);
        exporter.set_resource(&resource.build());
        // Spans are what is counted, so there are never more places needed than that.
        let (queue, arriving) = mpsc::channel(QUEUE_MAX);
        let (end, ended) = oneshot::channel();
        let (waiting, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
        let sender = Sender {
            exporter,
            arriving,
            waiting: waiting.clone(),
            clock: options.clock,
            lost: lost.clone(),
            is_away: false,
        };
        let running = tokio::spawn(sender.run(ended));
        let ending = Mutex::new(Some((end, running)));
        Ok(Self { queue, waiting, bound: bound(options.ratio), lost, ending })
    }

    /// Sends what waits, for two seconds at most.
    pub async fn close(&self) {
        let ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((end, running)) = ending {
            let _ = end.send(());
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, running).await;
        }
    }
}

impl Traces for OtlpTraces {
    fn begins_with(&self, id: Uuid) -> bool {
        // The end of an id is random.
        let [.., a, b, c, d, e, f, g] = *id.as_bytes();
        u64::from_be_bytes([0, a, b, c, d, e, f, g]) < self.bound
    }

    fn record(&self, spans: Vec<Span>) {
        let count = spans.len();
        if count == 0 {
            return;
        }
        let before = self.waiting.fetch_add(count, Ordering::Relaxed);
        if before + count > QUEUE_MAX || self.queue.try_send(spans).is_err() {
            self.waiting.fetch_sub(count, Ordering::Relaxed);
            self.lost.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}

/// Of 56 random bits, the number below which this share lies.
fn bound(ratio: f64) -> u64 {
    (ratio.clamp(0.0, 1.0) * (1_u64 << 56) as f64) as u64
}

struct Sender {
    exporter: opentelemetry_otlp::SpanExporter,
    arriving: mpsc::Receiver<Vec<Span>>,
    waiting: Arc<AtomicUsize>,
    clock: Arc<dyn Clock>,
    lost: Arc<AtomicU64>,
    is_away: bool,
}

impl Sender {
    async fn run(mut self, mut ended: oneshot::Receiver<()>) {
        let mut gathered = Vec::new();
        loop {
            let is_over = tokio::select! {
                more = self.arriving.recv() => match more {
                    Some(spans) => {
                        gathered.extend(spans);
                        self.gather(&mut gathered, &mut ended).await
                    }
                    None => true,
                },
                _ = &mut ended => true,
            };
            if is_over {
                gathered.extend(std::iter::from_fn(|| self.arriving.try_recv().ok()).flatten());
            }
            while !gathered.is_empty() {
                let rest = gathered.split_off(gathered.len().min(BATCH_MAX));
                self.send(std::mem::replace(&mut gathered, rest)).await;
            }
            if is_over {
                return;
            }
        }
    }

    /// Waits for more spans for a while. Answers whether the end has come.
    async fn gather(
        &mut self,
        gathered: &mut Vec<Span>,
        ended: &mut oneshot::Receiver<()>,
    ) -> bool {
        let clock = self.clock.clone();
        let mut pause = clock.sleep(GATHER);
        while gathered.len() < BATCH_MAX {
            tokio::select! {
                more = self.arriving.recv() => match more {
                    Some(spans) => gathered.extend(spans),
                    None => return true,
                },
                () = &mut pause => return false,
                _ = &mut *ended => return true,
            }
        }
        false
    }

    async fn send(&mut self, spans: Vec<Span>) {
        let count = spans.len();
        let sent = self.exporter.export(spans.into_iter().map(data).collect()).await;
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        match (&sent, self.is_away) {
            (Ok(()), true) => info!("traces are sent again"),
            (Err(error), false) => warn!(%error, "traces are lost: their collector is away"),
            (Ok(()), false) | (Err(_), true) => {}
        }
        self.is_away = sent.is_err();
        if self.is_away {
            self.lost.fetch_add(count as u64, Ordering::Relaxed);
        } else if let lost @ 1.. = self.lost.swap(0, Ordering::Relaxed) {
            warn!(spans = lost, "traces were lost: their collector was slow or away");
        }
    }
}

fn data(span: Span) -> SpanData {
    let context = |id: [u8; 8]| {
        SpanContext::new(
            TraceId::from_bytes(span.trace),
            SpanId::from_bytes(id),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        )
    };
    let status = match span.error {
        Some(code) => Status::error(code),
        None => Status::Unset,
    };
    SpanData {
        span_context: context(span.id),
        parent_span_id: span.parent.map_or(SpanId::INVALID, SpanId::from_bytes),
        parent_span_is_remote: false,
        span_kind: match span.kind {
            SpanKind::Producer => opentelemetry::trace::SpanKind::Producer,
            SpanKind::Internal => opentelemetry::trace::SpanKind::Internal,
            SpanKind::Consumer => opentelemetry::trace::SpanKind::Consumer,
            SpanKind::Client => opentelemetry::trace::SpanKind::Client,
        },
        name: span.name,
        start_time: span.started_at.into(),
        end_time: span.ended_at.into(),
        attributes: span.attributes.into_iter().map(attribute).collect(),
        dropped_attributes_count: 0,
        events: Default::default(),
        links: Default::default(),
        status,
        instrumentation_scope: InstrumentationScope::builder("actions").build(),
    }
}

fn attribute((name, value): (&'static str, SpanValue)) -> KeyValue {
    let value: Value = match value {
        SpanValue::Text(text) => text.into(),
        SpanValue::Number(number) => number.into(),
    };
    KeyValue::new(name, value)
}

#[cfg(test)]
mod tests {
    use super::bound;

    #[test]
    fn a_share_of_the_traces_is_kept() {
        assert_eq!(bound(0.0), 0);
        assert_eq!(bound(0.5), 1 << 55);
        // The last seven bytes of an id are always below.
        assert_eq!(bound(1.0), 1 << 56);
        assert_eq!(bound(7.0), bound(1.0));
    }
}
