//! What a receiver of spans must do: keep up with the engine, and never hold it up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actions_domain::id::EventId;
use actions_domain::ports::traces::Traces;
use actions_domain::trace::{Span, SpanKind};
use actions_handlers::egress::install_crypto;
use actions_infra::otlp::{OtlpOptions, OtlpTraces};
use actions_infra::system::SystemClock;

use crate::support::collector::{Sink, hex};

fn traces(endpoint: &str, ratio: f64) -> OtlpTraces {
    install_crypto();
    let options = OtlpOptions {
        endpoint: endpoint.to_owned(),
        headers: HashMap::new(),
        service: "test".to_owned(),
        node: "test-1".to_owned(),
        ratio,
        client: Arc::new(reqwest::Client::new()),
        clock: Arc::new(SystemClock),
    };
    OtlpTraces::start(options).unwrap()
}

fn span(number: u8) -> Span {
    let at = "2026-01-02T03:04:05.000006Z".parse().unwrap();
    Span {
        trace: [7; 16],
        id: [number; 8],
        parent: None,
        kind: SpanKind::Internal,
        name: "match".into(),
        started_at: at,
        ended_at: at,
        attributes: vec![("actions.matched", 3_usize.into())],
        error: None,
    }
}

#[test]
fn what_was_recorded_arrives_at_the_latest_with_the_end() {
    let sink = Sink::default();
    let (runtime, url) = sink.start();
    runtime.block_on(async {
        let traces = traces(&url, 1.0);
        for number in 1..=200 {
            traces.record(vec![span(number)]);
        }
        traces.close().await;
    });
    let spans = sink.spans_of(&hex(&[7; 16]), 200);
    assert_eq!(spans.len(), 200);
    assert_eq!(spans[0].start_time_unix_nano, 1_767_323_045_000_006_000);
    assert_eq!(spans[0].attributes[0].key, "actions.matched");
}

#[tokio::test]
async fn nobody_waits_for_a_collector_that_is_away() {
    let traces = traces("http://127.0.0.1:9", 1.0);
    let recorded = async {
        for _ in 0..100_000 {
            traces.record(vec![span(1)]);
        }
        traces.close().await;
    };
    tokio::time::timeout(Duration::from_secs(20), recorded).await.unwrap();
}

#[test]
fn what_waits_is_bounded_in_spans() {
    let sink = Sink::default();
    let (_collector, url) = sink.start();
    // One thread: nothing is sent before everything is recorded.
    let own = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    own.block_on(async {
        let traces = traces(&url, 1.0);
        for _ in 0..20 {
            traces.record(vec![span(1); 1_000]);
        }
        // The first 16 of them have room.
        let arriving = sink.clone();
        let wait = move || arriving.spans_of(&hex(&[7; 16]), 16_000).len();
        assert_eq!(tokio::task::spawn_blocking(wait).await.unwrap(), 16_000);
        // What has been sent has made room.
        traces.record(vec![span(2); 1_000]);
        let arriving = sink.clone();
        let wait = move || arriving.spans_of(&hex(&[7; 16]), 17_000).len();
        assert_eq!(tokio::task::spawn_blocking(wait).await.unwrap(), 17_000);
        traces.close().await;
    });
}

#[tokio::test]
async fn every_node_keeps_the_same_share_of_the_traces() {
    let (one, other) = (traces("http://127.0.0.1:9", 0.25), traces("http://127.0.0.1:9", 0.25));
    let at = "2026-01-02T03:04:05Z".parse().unwrap();
    let ids: Vec<_> = (0..4_000_u32)
        .map(|number| {
            let spread =
                u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            let mut dice = [0; 10];
            dice.copy_from_slice(&spread.to_le_bytes()[6..]);
            EventId::mint(at, dice).0
        })
        .collect();
    let kept = ids.iter().filter(|id| one.begins_with(**id)).count();
    assert!((850..1_150).contains(&kept), "{kept} of 4000 at a quarter");
    assert!(ids.iter().all(|id| one.begins_with(*id) == other.begins_with(*id)));
}
