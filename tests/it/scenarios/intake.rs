//! Events out of users' own transactions: all of them run, or say why not.

use std::time::Duration;

use actions_domain::id::TenantId;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::engine::TestEngine;

fn body(number: u128, changes: Value) -> Value {
    let mut body = json!({ "id": Uuid::from_u128(number), "type": "orders.paid", "data": {} });
    for (field, value) in changes.as_object().unwrap() {
        body[field] = value.clone();
    }
    body
}

async fn refused(engine: &TestEngine) -> Vec<String> {
    let refused = engine.app.ports.history.refused_intake(engine.tenant, 10).await.unwrap();
    refused.into_iter().rev().map(|one| one.reason).collect()
}

#[tokio::test]
async fn what_cannot_be_accepted_is_set_aside_with_the_reason_and_stops_nobody() {
    let engine = TestEngine::start().await;
    engine.define("ship", "orders.*", json!({})).await;
    engine.leave(
        engine.tenant,
        &body(1, json!({ "attributes": { "correlation_id": "abc" } })).to_string(),
    );
    engine.leave(engine.tenant, &body(2, json!({ "attributes": { "depth": 17 } })).to_string());
    engine.leave(engine.tenant, &body(3, json!({})).to_string().replace("{}", "1e999"));
    engine.leave(engine.tenant, &body(4, json!({ "data": { "n": 4 } })).to_string());

    engine.advance(Duration::from_secs(1)).await;

    let inputs: Vec<Value> = engine.script.calls().into_iter().map(|call| call.input).collect();
    assert_eq!(inputs, [json!({ "n": 4 })]);
    let reasons = refused(&engine).await;
    let expected = ["UUID", "17th of a chain", "outside the range"];
    assert_eq!(reasons.len(), expected.len(), "{reasons:?}");
    for (reason, word) in reasons.iter().zip(expected) {
        assert!(reason.contains(word), "{reason}");
    }
    assert!(engine.app.ports.store.intake(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn nobody_but_the_engine_speaks_for_the_engine() {
    let engine = TestEngine::start().await;
    // Events of the engine are matched only by patterns that name their first word.
    engine.define("ship", "*", json!({})).await;
    let claims = body(1, json!({ "attributes": { "by_engine": true } }));
    engine.leave(engine.tenant, &claims.to_string());
    engine.advance(Duration::from_secs(1)).await;
    assert_eq!(engine.script.calls().len(), 1);
}

#[tokio::test]
async fn an_event_of_a_tenant_that_is_not_there_is_set_aside() {
    let engine = TestEngine::start().await;
    engine.leave(TenantId(404), &body(1, json!({})).to_string());
    engine.advance(Duration::from_secs(1)).await;
    let refused = engine.app.ports.history.refused_intake(TenantId(404), 10).await.unwrap();
    assert_eq!(refused[0].reason, "there is no tenant 404");
}
