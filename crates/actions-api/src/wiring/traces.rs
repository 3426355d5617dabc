//! The collector of traces, where one is named.

use std::sync::Arc;

use actions_domain::ports::traces::Traces;

use crate::config::EngineConfig;

/// How long one request may take.
#[cfg(feature = "otlp")]
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// A collector that may have to be told that the process ends.
#[derive(Default)]
pub(super) struct Collector {
    #[cfg(feature = "otlp")]
    otlp: Option<Arc<actions_infra::otlp::OtlpTraces>>,
}

/// Whether this program can send traces at all.
pub(crate) const CAN_TRACE: bool = cfg!(feature = "otlp");

#[cfg(feature = "otlp")]
impl Collector {
    /// Starts to send. The collector need not be there.
    pub(super) fn start(config: &EngineConfig) -> Result<Self, String> {
        use actions_infra::otlp::{OtlpOptions, OtlpTraces};

        let Some(traces) = &config.traces else { return Ok(Self::default()) };
        // The operator names the collector, not a tenant, so it does not pass the egress gate.
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| error.to_string())?;
        let options = OtlpOptions {
            endpoint: traces.endpoint.clone(),
            headers: traces.headers(),
            service: traces.service.clone(),
            node: config.node_name.clone(),
            ratio: f64::from(traces.kept_ppm) / 1e6,
            client: Arc::new(client),
            clock: Arc::new(actions_infra::system::SystemClock),
        };
        Ok(Self { otlp: Some(Arc::new(OtlpTraces::start(options)?)) })
    }

    pub(super) fn port(&self) -> Option<Arc<dyn Traces>> {
        self.otlp.clone().map(|otlp| otlp as _)
    }

    /// Sends what is left.
    pub(super) async fn close(&self) {
        if let Some(otlp) = &self.otlp {
            otlp.close().await;
        }
    }
}

#[cfg(not(feature = "otlp"))]
impl Collector {
    /// Without the feature the settings name no collector.
    pub(super) fn start(_: &EngineConfig) -> Result<Self, String> {
        Ok(Self::default())
    }

    pub(super) fn port(&self) -> Option<Arc<dyn Traces>> {
        None
    }

    pub(super) async fn close(&self) {}
}
