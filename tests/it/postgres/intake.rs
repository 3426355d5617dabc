//! Events out of users' own transactions.

use actions_domain::event::{Attributes, EventType};
use actions_domain::id::TenantId;
use actions_domain::json::Json;
use actions_domain::ports::leases::{Leases, Vitals};
use actions_domain::ports::store::Store;
use actions_domain::tenant::TenantSlug;
use actions_domain::work::{Commit, Part, Submission};
use actions_infra::postgres::{Emit, EmitError, emit_in};
use serde_json::{Value, json};
use sqlx::Connection;

use super::fixture::{and_submit, connect, open, outsider, role, run_text, submission};

fn paid() -> Emit {
    Emit::new(
        EventType::parse("orders.paid").unwrap(),
        Json::parse(r#"{"total": 1.10, "b": 1, "a": 2}"#).unwrap(),
    )
}

#[tokio::test]
async fn an_event_exists_when_the_transaction_that_emitted_it_commits() {
    let database = open().await;
    let mut connection = outsider(&database).await;

    let mut tx = connection.begin().await.unwrap();
    emit_in(&mut tx, &TenantSlug::admin(), &paid()).await.unwrap();
    tx.rollback().await.unwrap();
    assert!(database.store.intake(10).await.unwrap().is_empty());

    let mut tx = connection.begin().await.unwrap();
    let id = emit_in(&mut tx, &TenantSlug::admin(), &paid()).await.unwrap();
    assert!(database.store.intake(10).await.unwrap().is_empty());
    tx.commit().await.unwrap();

    let rows = database.store.intake(10).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].tenant, TenantId::ADMIN);
    let body = rows[0].body.to_value();
    assert_eq!((&body["id"], &body["type"]), (&json!(id), &json!("orders.paid")));
    assert_eq!(body["data"], json!({"total": 1.10, "b": 1, "a": 2}));
    assert!(rows[0].body.as_str().contains(r#"{"total": 1.10, "b": 1, "a": 2}"#));
}

/// A transaction that stays open for long, as users' transactions do.
#[tokio::test]
async fn an_open_transaction_that_emitted_holds_up_nothing_of_the_engine() {
    let database = open().await;
    let item = database.accept(Part(0)).await;
    let (mut slow, mut quick) = (outsider(&database).await, outsider(&database).await);
    let mut tx = slow.begin().await.unwrap();
    sqlx::query("select count(*) from admin.events").execute(&mut *tx).await.unwrap();
    emit_in(&mut tx, &TenantSlug::admin(), &paid()).await.unwrap();
    emit_in(&mut quick, &TenantSlug::admin(), &paid()).await.unwrap();

    // Whatever waited for it would end with its lock timeout.
    let row = database.store.intake(10).await.unwrap().remove(0);
    let mut moved = and_submit(database.finish(item, 1), Part(1));
    moved.submissions[0].intake = Some(row.id);
    database.store.commit(moved).await.unwrap();
    database.store.commit(submission(Part(0), None).1).await.unwrap();
    database.store.beat(database.node, &Vitals::default()).await.unwrap();
    let right = connect(&database.url).await;
    let other = right.join("right").await.unwrap();
    assert_eq!(right.claim(other, &[database.node], 2).await.unwrap().len(), 2);

    tx.commit().await.unwrap();
    assert_eq!(database.store.intake(10).await.unwrap().len(), 1, "the other one has moved");
}

#[tokio::test]
async fn what_is_committed_late_is_found_late_and_not_missed() {
    let database = open().await;
    let (mut slow, mut quick) = (outsider(&database).await, outsider(&database).await);
    sqlx::query("begin").execute(&mut slow).await.unwrap();
    let late = emit_in(&mut slow, &TenantSlug::admin(), &paid()).await.unwrap();
    let early = emit_in(&mut quick, &TenantSlug::admin(), &paid()).await.unwrap();

    let mut found = Vec::new();
    for is_late in [false, true] {
        for row in database.store.intake(10).await.unwrap() {
            let submission = Submission::new(row.tenant, None, Vec::new());
            let submissions = vec![Submission { intake: Some(row.id), ..submission }];
            database.store.commit(Commit { submissions, ..Commit::default() }).await.unwrap();
            found.push((is_late, row.body.to_value()["id"].clone()));
        }
        if !is_late {
            sqlx::query("commit").execute(&mut slow).await.unwrap();
        }
    }
    assert_eq!(found, [(false, json!(early)), (true, json!(late))]);
}

#[tokio::test]
async fn emitting_for_nobody_says_so() {
    let database = open().await;
    let mut connection = outsider(&database).await;
    let nobody = TenantSlug::parse("nobody").unwrap();

    let refused = emit_in(&mut connection, &nobody, &paid()).await;

    assert!(matches!(refused, Err(EmitError::NoTenant { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_role_of_an_application_may_emit_and_nothing_else() {
    let database = open().await;
    let mut connection = outsider(&database).await;
    let role = role(&mut connection).await;
    let grant = format!("grant usage on schema actions to {role}; set role {role}");
    run_text(&mut connection, grant).await;

    let emitted: Result<uuid::Uuid, _> =
        sqlx::query_scalar("select actions.emit('orders.paid', jsonb_build_object('a', 1))")
            .fetch_one(&mut connection)
            .await;
    let malformed =
        sqlx::query("select actions.emit('orders', '{}')").execute(&mut connection).await;
    let peeked = sqlx::query("select from engine.intake").execute(&mut connection).await;

    let rows = database.store.intake(10).await.unwrap();
    assert_eq!(rows[0].body.to_value()["id"], Value::from(emitted.unwrap().to_string()));
    assert!(malformed.unwrap_err().to_string().contains("joined by dots"));
    assert!(peeked.unwrap_err().to_string().contains("permission denied"));
}

#[tokio::test]
async fn what_the_engine_could_not_accept_is_refused_in_the_transaction() {
    let database = open().await;
    let mut connection = outsider(&database).await;
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let brackets = format!(r#"{{"text": "{}"}}"#, "[\\\"".repeat(100));
    let id = "0190a5c4-0000-7000-8000-000000000000";
    let good = [
        (deep(64), "{}".to_owned()),
        (brackets, "{}".to_owned()),
        ("[1e308, \"1e999\"]".to_owned(), "{}".to_owned()),
        ("{}".to_owned(), format!(r#"{{"correlation_id": "{id}", "depth": 3, "user_id": null}}"#)),
        ("{}".to_owned(), r#"{"time": "2026-01-31T12:00:00.5Z", "priority": "high"}"#.to_owned()),
    ];
    let bad = [
        (deep(65), "{}"),
        ("[1e999]".to_owned(), "{}"),
        ("[-1E+400]".to_owned(), "{}"),
        ("{}".to_owned(), "[]"),
        ("{}".to_owned(), r#"{"correlation_id": "abc"}"#),
        ("{}".to_owned(), r#"{"by_engine": true}"#),
        ("{}".to_owned(), r#"{"depth": 17}"#),
        ("{}".to_owned(), r#"{"priority": "urgent"}"#),
        ("{}".to_owned(), r#"{"event_version": 1.5}"#),
        ("{}".to_owned(), r#"{"time": "yesterday"}"#),
        ("{}".to_owned(), r#"{"extensions": []}"#),
    ];
    const EMIT: &str = "select actions.emit_text('orders.paid', $1, attributes => $2)";

    for (data, attributes) in &good {
        let emitted = sqlx::query(EMIT).bind(data).bind(attributes).execute(&mut connection).await;
        emitted.unwrap_or_else(|error| panic!("{data} {attributes}: {error}"));
    }
    for (data, attributes) in &bad {
        let emitted = sqlx::query(EMIT).bind(data).bind(attributes).execute(&mut connection).await;
        assert!(emitted.is_err(), "{data} {attributes}");
    }

    for row in database.store.intake(100).await.unwrap() {
        let body = row.body.to_value();
        Json::parse(&body["data"].to_string()).unwrap();
        serde_json::from_value::<Attributes>(body["attributes"].clone()).unwrap();
    }
}
