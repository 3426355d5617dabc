//! The founding relations as people see them.

use std::time::Duration;

use actions_domain::execution::AttemptOutcome;
use actions_domain::id::TenantId;
use actions_domain::matching::pattern::Pattern;
use actions_domain::ports::definitions::{Definitions, Expected};
use actions_domain::ports::store::Store;
use actions_domain::tenant::TenantSlug;
use actions_domain::work::{Home, Item, Part};

use super::fixture::{
    Database, attempt, event_id, open, outsider, placed, role, run_text, submission_of,
};

async fn acme(database: &Database) -> TenantId {
    let slug = TenantSlug::parse("acme").unwrap();
    database.store.create_tenant(event_id().0, &slug, "Acme", None).await.unwrap().id
}

#[tokio::test]
async fn a_tenant_has_the_founding_relations_with_their_columns() {
    let database = open().await;
    acme(&database).await;
    let columns: Vec<(String, String)> = sqlx::query_as(
        "select table_name::text, string_agg(column_name, ' ' order by ordinal_position)
         from information_schema.columns where table_schema = 'tenant_acme'
         group by table_name order by table_name",
    )
    .fetch_all(database.store.pool())
    .await
    .unwrap();
    let text: Vec<String> =
        columns.into_iter().map(|(table, columns)| format!("{table}: {columns}")).collect();
    insta::assert_snapshot!(text.join("\n"), @r"
    action_executions: id event_id action_id execution_context input_data output_data status queued_at started_at completed_at execution_duration_ms attempt_number is_retry parent_execution_id error_message error_details error_stack_trace queue_message_id worker_id memory_usage_mb cpu_time_ms created_at updated_at
    actions: id name action_type handler_class config event_patterns conditions is_active priority timeout_seconds retry_policy max_concurrent_executions rate_limit_per_minute rate_limit_per_hour is_healthy last_health_check_at health_check_error total_executions successful_executions failed_executions avg_execution_time_ms description tags owner_team metadata created_at updated_at deleted_at
    event_subscriptions: id action_id event_pattern conditions is_active priority user_filter source_service_filter rate_limit_per_minute rate_limit_per_hour rate_limit_window_start current_rate_count name description created_by created_at updated_at deleted_at
    events: id event_type aggregate_id aggregate_type event_version correlation_id causation_id event_data event_metadata status priority scheduled_at processing_started_at processing_completed_at processing_duration_ms retry_count max_retries error_message error_details user_id source_service source_version queue_name message_id partition_key created_at updated_at deleted_at
    queue_metrics: id queue_name metrics_timestamp pending_messages processing_messages completed_messages failed_messages avg_processing_time_ms throughput_per_minute error_rate_percentage memory_usage_mb cpu_usage_percentage active_workers is_healthy last_message_processed_at metadata created_at updated_at
    ");
}

#[tokio::test]
async fn each_attempt_is_a_row() {
    let database = open().await;
    let tenant = acme(&database).await;
    let action = database.define(tenant, "notify").await;
    let (item, commit) = submission_of(tenant, action.id, Part(0), None);
    let item = placed(item, &database.store.commit(commit).await.unwrap());
    assert_eq!(rows(&database).await, ["1 pending"]);

    let item = Item { attempts: vec![attempt(1, AttemptOutcome::Failed)], ..item };
    database.store.commit(database.retry(item.clone(), Duration::ZERO)).await.unwrap();
    assert_eq!(rows(&database).await, ["1 failed", "2 retrying"]);

    let attempts = vec![item.attempts[0].clone(), attempt(2, AttemptOutcome::Completed)];
    let item = Item { attempts, home: Home::Later, ..item };
    database.store.commit(database.finish(item.clone(), 1)).await.unwrap();
    assert_eq!(rows(&database).await, ["1 failed", "2 completed"]);

    let event: (String, i32, Option<String>) =
        sqlx::query_as("select status, retry_count, source_service from tenant_acme.events")
            .fetch_one(database.store.pool())
            .await
            .unwrap();
    assert_eq!(event, ("completed".to_owned(), 1, Some("/shop".to_owned())));
    let counted: (i64, i64) =
        sqlx::query_as("select total_executions, successful_executions from tenant_acme.actions")
            .fetch_one(database.store.pool())
            .await
            .unwrap();
    assert_eq!(counted, (1, 1));
    assert_eq!(database.count("select count(*) from admin.action_executions").await, 0);
}

async fn rows(database: &Database) -> Vec<String> {
    sqlx::query_scalar(
        "select attempt_number || ' ' || status from tenant_acme.action_executions
         order by attempt_number",
    )
    .fetch_all(database.store.pool())
    .await
    .unwrap()
}

#[tokio::test]
async fn an_edit_in_sql_is_an_edit_like_any_other() {
    let database = open().await;
    let tenant = acme(&database).await;
    run(
        &database,
        "insert into tenant_acme.actions (name, action_type, handler_class, event_patterns)
         values ('notify', 'webhook', 'webhook.http', '{orders.*}')",
    )
    .await
    .unwrap();
    run(&database, "update tenant_acme.actions set timeout_seconds = 7, tags = '{a}'")
        .await
        .unwrap();
    run(
        &database,
        "insert into tenant_acme.event_subscriptions (action_id, event_pattern, priority)
         select id, 'users.*', 3 from tenant_acme.actions",
    )
    .await
    .unwrap();

    let changes = database.store.changes(tenant, 0).await.unwrap();

    assert_eq!(changes.version, 3);
    assert_eq!(changes.actions[0].spec.timeout_seconds, 7);
    assert_eq!(changes.actions[0].spec.tags, ["a"]);
    assert_eq!(changes.subscriptions[0].spec.priority, 3);
    assert_eq!(changes.subscriptions[0].action, changes.actions[0].id);

    run(&database, "delete from tenant_acme.actions").await.unwrap();
    let changes = database.store.changes(tenant, 3).await.unwrap();
    assert!(changes.actions[0].deleted && changes.subscriptions[0].deleted);
}

#[tokio::test]
async fn what_the_program_could_not_read_cannot_be_written() {
    let database = open().await;
    let tenant = acme(&database).await;
    let bad = [
        "insert into tenant_acme.actions (name, action_type, handler_class, event_patterns)
         values ('a b', 'webhook', 'webhook.http', '{x.*}')",
        "insert into tenant_acme.actions (name, action_type, handler_class, event_patterns)
         values ('a', 'magic', 'webhook.http', '{x.*}')",
        "insert into tenant_acme.actions (name, action_type, handler_class, event_patterns)
         values ('a', 'webhook', 'webhook', '{x.*}')",
        "insert into tenant_acme.actions (name, action_type, handler_class, event_patterns)
         values ('a', 'webhook', 'webhook.http', '{}')",
        "insert into tenant_acme.actions (name, action_type, handler_class, event_patterns, priority)
         values ('a', 'webhook', 'webhook.http', '{x.*}', 'urgent')",
        "insert into tenant_acme.actions
            (name, action_type, handler_class, event_patterns, timeout_seconds)
         values ('a', 'webhook', 'webhook.http', '{x.*}', 0)",
        r#"insert into tenant_acme.actions
            (name, action_type, handler_class, event_patterns, retry_policy)
         values ('a', 'webhook', 'webhook.http', '{x.*}', '{"max_retries": "many"}')"#,
        "insert into tenant_acme.event_subscriptions (action_id, event_pattern)
         values (gen_random_uuid(), 'x.*')",
    ];
    let patterns = ["a..b", ".a", "a b", "**", "a.**", "//", "ü.x", "/ü/", "^ü"];
    let bad = bad.map(str::to_owned).into_iter().chain(patterns.map(|pattern| {
        format!(
            "insert into tenant_acme.actions (name, action_type, handler_class, event_patterns)
             values ('a', 'webhook', 'webhook.http', array['{pattern}'])"
        )
    }));
    for statement in bad {
        let refused = run(&database, &statement).await;
        let code = refused
            .unwrap_err()
            .as_database_error()
            .and_then(|error| error.code().map(String::from));
        assert_eq!(code.as_deref(), Some("23514"), "{statement}");
    }
    assert_eq!(database.store.changes(tenant, 0).await.unwrap().version, 0);
}

#[tokio::test]
async fn a_pattern_that_the_program_can_read_can_be_written() {
    let database = open().await;
    let tenant = acme(&database).await;
    let good = ["*", "users.created", "Users.*", "a?.b*.c", "/^a[.]b$/", "^a", "b$", "x"];
    for (at, pattern) in good.iter().enumerate() {
        Pattern::parse(pattern).unwrap();
        let statement = format!(
            "insert into tenant_acme.actions (name, action_type, handler_class, event_patterns)
             values ('a{at}', 'webhook', 'webhook.http', array['{pattern}'])"
        );
        run(&database, &statement).await.unwrap();
    }
    let changes = database.store.changes(tenant, 0).await.unwrap();
    let written = changes.actions.iter().map(|action| action.spec.event_patterns[0].as_str());
    assert_eq!(written.collect::<Vec<_>>(), good);
}

#[tokio::test]
async fn a_definition_that_cannot_be_read_is_blocked_and_hides_no_other() {
    let database = open().await;
    let tenant = acme(&database).await;
    let broken = database.define(tenant, "broken").await;
    let sound = database.define(tenant, "sound").await;
    let statement = r#"update engine.action set spec = '{"name": "broken", "handler": 7}'
        where name = 'broken'"#;
    run(&database, statement).await.unwrap();

    let changes = database.store.changes(tenant, 0).await.unwrap();
    let found = |id| changes.actions.iter().find(|action| action.id == id).unwrap();
    assert_eq!(found(sound.id).spec, sound.spec);
    assert!(!found(broken.id).health.is_healthy);
    assert!(found(broken.id).health.error.as_ref().unwrap().contains("cannot be read"));

    let mended =
        database.store.save_action(tenant, broken.uuid, &broken.spec, Expected::Anything, None);
    let saved = mended.await.unwrap();
    assert_eq!((saved.id, saved.spec), (broken.id, broken.spec));
}

#[tokio::test]
async fn a_role_of_a_tenant_sees_that_tenant_alone() {
    let database = open().await;
    let tenant = acme(&database).await;
    let ours = database.define(tenant, "ours").await;
    database.define(TenantId::ADMIN, "theirs").await;
    let mut connection = outsider(&database).await;
    let role = role(&mut connection).await;
    let grant = format!(
        "grant usage on schema tenant_acme to {role};
         grant select, update on all tables in schema tenant_acme to {role};
         set role {role}"
    );
    run_text(&mut connection, grant).await;

    let names: Vec<String> = sqlx::query_scalar("select name from tenant_acme.actions")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    sqlx::query("update tenant_acme.actions set description = 'mine'")
        .execute(&mut connection)
        .await
        .unwrap();

    assert_eq!(names, ["ours"]);
    for statement in ["select from admin.actions", "select from engine.action"] {
        let refused = sqlx::query(statement).execute(&mut connection).await;
        assert!(refused.unwrap_err().to_string().contains("permission denied"), "{statement}");
    }
    let changed = database.store.changes(tenant, ours.version).await.unwrap();
    assert_eq!(changed.actions[0].spec.description.as_deref(), Some("mine"));
}

async fn run(database: &Database, statement: &str) -> Result<(), sqlx::Error> {
    sqlx::query(sqlx::AssertSqlSafe(statement.to_owned()))
        .execute(database.store.pool())
        .await
        .map(|_| ())
}
