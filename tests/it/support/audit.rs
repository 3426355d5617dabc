//! Compares what was recorded with what was sent and what the receiver saw.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::Value;

use super::process::{Server, pause};

/// Waits until as many executions of an action are finished as there were events.
pub async fn wait_until_quiet(server: &Server, action: &str, event_count: usize) {
    let mut completed = 0;
    for _ in 0..2_400 {
        let metrics = server.read(&format!("/v1/tenants/acme/actions/{action}/metrics")).await;
        completed = metrics["successful_executions"].as_u64().unwrap();
        if completed >= event_count as u64 {
            return;
        }
        pause(Duration::from_millis(50)).await;
    }
    panic!("only {completed} of {event_count} executions have ended");
}

/// Every event has one execution, which is completed.
pub fn nothing_is_lost_or_doubled(executions: &[Value], event_count: usize) {
    let mut by_event: BTreeMap<&str, usize> = BTreeMap::new();
    for execution in executions {
        assert_eq!(execution["status"], "completed", "{execution}");
        *by_event.entry(execution["event_id"].as_str().unwrap()).or_default() += 1;
    }
    let doubled: Vec<_> = by_event.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubled.is_empty(), "recorded twice: {doubled:?}");
    assert_eq!(by_event.len(), event_count, "lost or invented events");
}

/// An execution may have been called more than once only when its attempts say so: each attempt
/// is one call, and one whose node took over a lease admits one more that was not recorded.
pub async fn every_call_is_explained(
    server: &Server,
    executions: &[Value],
    calls: &HashMap<String, u32>,
) {
    let mut extra_calls = 0;
    for execution in executions {
        let id = execution["id"].as_str().unwrap();
        let seen = calls.get(id).copied().unwrap_or(0);
        assert!(seen >= 1, "{id} is completed but was never called");
        if seen == 1 {
            continue;
        }
        extra_calls += seen - 1;
        let full = server.read(&format!("/v1/tenants/acme/executions/{id}")).await;
        let attempts = full["attempts"].as_array().unwrap();
        let admitted = attempts.iter().filter(|attempt| attempt["cause"] == "lease_lost").count();
        assert!(
            seen as usize <= attempts.len() + admitted,
            "{id} was called {seen} times; its attempts are {attempts:?}"
        );
    }
    let all: u32 = calls.values().sum();
    eprintln!("{all} calls, {extra_calls} of them repeated and explained");
}
