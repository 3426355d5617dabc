//! The engine inside a service, through nothing but what services use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actions::library::{Error, WaitError};
use actions::{Access, Actions, Cx, Event, Fail};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::postgres::fresh_database;

async fn engine() -> Actions {
    Actions::builder().memory().wait_max(Duration::from_secs(20)).build().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_says_whether_to_try_again() -> Result<(), Error> {
    let actions = engine().await;
    actions
        .on("a.rejected", |_: Cx, _: Value| async { Err::<(), _>(Fail::reject("never")) })
        .await?;
    actions
        .on("a.parsed", |cx: Cx, _: Value| async move {
            // The first attempt fails with a foreign error, which means: try again.
            let number: i32 = if cx.attempt() == 1 { "x" } else { "7" }.parse()?;
            Ok(number)
        })
        .await?;
    let rejected = actions.emit("a.rejected", &json!({})).await?;
    let rejected = actions.wait(&rejected).await?;
    assert_eq!(rejected[0].attempts.len(), 1);
    assert_eq!(rejected[0].error.as_ref().unwrap().message, "never");

    let parsed = actions.emit("a.parsed", &json!({})).await?;
    let parsed = actions.wait(&parsed).await?;
    assert_eq!(parsed[0].attempts.len(), 2, "{parsed:?}");
    assert_eq!(parsed[0].output.as_ref().unwrap().as_str(), "7");
    actions.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_function_sends_is_sent_once_over_its_attempts() -> Result<(), Error> {
    let actions = engine().await;
    let seen = Arc::new(AtomicU32::new(0));
    let counter = seen.clone();
    actions
        .on("orders.paid", move |_: Cx, _: Value| {
            counter.fetch_add(1, Ordering::SeqCst);
            async { Ok(()) }
        })
        .await?;
    actions
        .on("orders.placed", |cx: Cx, order: Value| async move {
            cx.emit("orders.paid", &order).await?;
            if cx.attempt() == 1 { Err(Fail::retry("cut off after sending")) } else { Ok(()) }
        })
        .await?;
    let sent = actions.emit("orders.placed", &json!({ "id": 7 })).await?;
    let placed = actions.wait(&sent).await?;
    assert_eq!(placed[0].attempts.len(), 2, "{placed:?}");
    actions.run_until_idle().await?;
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    actions.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_event_is_sent_once() -> Result<(), Error> {
    let actions = engine().await;
    let event = || Event::new("orders.placed", &json!({ "id": 7 })).id("o-7");
    let (first, second) = (actions.send(event()).await?, actions.send(event()).await?);
    assert_eq!((first.duplicate, second.duplicate), (false, true));
    assert_eq!(first.event, second.event);
    assert!(actions.emit("no type", &json!({})).await.is_err());
    actions.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_and_its_event_are_there_together_on_postgres() -> Result<(), Error> {
    let url = fresh_database().await;
    let actions = Actions::builder().postgres(&url).build().await?;
    actions.on("orders.placed", |_: Cx, order: Value| async move { Ok(order) }).await?;
    let pool = sqlx::PgPool::connect(&url).await?;
    sqlx::query("create table shop_order (id int4 primary key)").execute(&pool).await?;

    let mut tx = pool.begin().await?;
    sqlx::query("insert into shop_order values (1)").execute(&mut *tx).await?;
    let gone = actions.emit_in(&mut tx, Event::new("orders.placed", &json!({ "id": 1 }))).await?;
    tx.rollback().await?;

    let mut tx = pool.begin().await?;
    sqlx::query("insert into shop_order values (2)").execute(&mut *tx).await?;
    let kept = actions.emit_in(&mut tx, Event::new("orders.placed", &json!({ "id": 2 }))).await?;
    tx.commit().await?;

    let executions = actions.wait(kept).await?;
    assert_eq!(executions[0].output.as_ref().unwrap().to_value(), json!({ "id": 2 }));
    let tenant = actions.tenant().id;
    assert_eq!(actions.app().ports.history.find_event(tenant, gone).await?, None);
    actions.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_also_when_the_work_does_not() -> Result<(), Error> {
    let actions = Actions::builder().wait_max(Duration::from_millis(100)).build().await?;
    actions
        .on("a.b", |_: Cx, _: Value| async {
            std::future::pending::<()>().await;
            Ok(())
        })
        .await?;
    let sent = actions.emit("a.b", &json!({})).await?;
    assert!(matches!(actions.wait(&sent).await, Err(WaitError::TimedOut(_))));
    assert!(matches!(actions.run_until_idle().await, Err(WaitError::TimedOut(_))));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_http_interface_is_a_router_of_ones_own() -> Result<(), Error> {
    let actions = engine().await;
    let router = actions.api(Access::Token("0123456789abcdef".to_owned().into()));
    let ask = async |token: &str| {
        let request = Request::get("/v1/tenants/default/events")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::empty())?;
        Ok::<_, Error>(router.clone().oneshot(request).await?.status())
    };
    assert_eq!(ask("0123456789abcdef").await?, StatusCode::OK);
    assert_eq!(ask("another").await?, StatusCode::UNAUTHORIZED);
    actions.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_given_the_secrets_that_its_action_names() -> Result<(), Error> {
    let key = actions_infra::vault::LocalKeys::generate(&actions_infra::system::SystemDice);
    let builder = Actions::builder().memory().wait_max(Duration::from_secs(20));
    let actions = builder.master_key(key.as_str()).build().await?;
    actions.put_secret("TOKEN", "hunter2-hunter2").await?;
    assert!(actions.put_secret("1TOKEN", "x").await.is_err(), "the name is none");
    actions.function("call", |cx: Cx, _: Value| async move {
        Ok(json!([cx.config()["token"] == "hunter2-hunter2", cx.config()["token"]]))
    })?;
    let spec = json!({
        "name": "call",
        "action_type": "function_execution",
        "handler": "function.call",
        "config": { "function_name": "call", "token": "{{ secrets.TOKEN }}" },
        "event_patterns": ["a.b"],
    });
    actions.define(serde_json::from_value(spec)?).await?;
    let emitted = actions.emit("a.b", &json!({})).await?;
    let done = actions.wait(&emitted).await?;
    assert_eq!(done[0].output.as_ref().unwrap().as_str(), r#"[true,"***"]"#);
    actions.stop().await?;

    let without = engine().await;
    let refused = without.put_secret("TOKEN", "x").await.unwrap_err();
    assert!(refused.to_string().contains("ACTIONS_MASTER_KEY"), "{refused}");
    without.stop().await?;
    Ok(())
}
