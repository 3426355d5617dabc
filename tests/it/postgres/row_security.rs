//! The second line between tenants, and the roles that it is made of.

use std::collections::{BTreeMap, BTreeSet};

use actions_domain::id::TenantId;
use actions_domain::ports::definitions::Definitions;
use actions_domain::ports::history::{EventQuery, History};
use actions_domain::tenant::TenantSlug;
use actions_infra::postgres::{OpenError, Postgres, PostgresOptions};
use sqlx::{Connection, PgConnection, Row};

use super::fixture::{Database, connect, event_id, open, outsider};
use crate::support::postgres::{
    PrivateServer, administrator, administrators, as_login, create_login, fresh_database, run_text,
};

/// Of the two that have a row in every table.
const TENANT: TenantId = TenantId(2);

/// A database in which two tenants have rows in every table that tenants read.
async fn shared() -> Database {
    let database = open().await;
    let rows = include_str!("row_security/rows.sql");
    sqlx::raw_sql(rows).execute(database.store.pool()).await.unwrap();
    database
}

/// Begins as a tenant's reader does, on a connection of one's own.
async fn become_reader(connection: &mut PgConnection, tenant: TenantId) {
    let text = "select set_config('role', 'actions_tenant', false),
        set_config('actions.tenant', $1, false)";
    sqlx::query(text).bind(tenant.0.to_string()).execute(connection).await.unwrap();
}

/// How many rows somebody sees of each table that tenants read, and of how many tenants.
async fn seen(connection: &mut PgConnection) -> BTreeMap<String, (i64, i64)> {
    let tables: Vec<(String, bool)> = sqlx::query_as(
        "select relname::text, exists (
             select from pg_attribute where attrelid = pg_class.oid and attname = 'tenant')
         from pg_class
         where relnamespace = 'engine'::regnamespace
           and has_any_column_privilege('actions_tenant', oid, 'select')",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    let mut seen = BTreeMap::new();
    for (table, has_tenant) in tables {
        let tenants = if has_tenant { "count(distinct tenant)" } else { "0::int8" };
        let text = format!("select count(*), {tenants} from engine.{table}");
        let counted = sqlx::query_as(sqlx::AssertSqlSafe(text)).fetch_one(&mut *connection).await;
        seen.insert(table, counted.unwrap());
    }
    seen
}

#[tokio::test]
async fn without_a_tenant_a_reader_sees_no_row_of_any_table() {
    let database = shared().await;
    let all = seen(&mut outsider(&database).await).await;
    for (table, (rows, _)) in &all {
        assert!(*rows >= 2, "rows.sql has no rows for engine.{table}");
    }
    let mut reader = database.store.readers().acquire().await.unwrap();

    let found = seen(&mut reader).await;

    let visible: Vec<_> = found.iter().filter(|(_, (rows, _))| *rows > 0).collect();
    assert!(visible.is_empty(), "{visible:?}");
    assert_eq!(found.keys().collect::<Vec<_>>(), all.keys().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_statement_that_forgets_its_tenant_sees_that_tenant_alone() {
    let database = shared().await;
    let all = seen(&mut outsider(&database).await).await;
    let mut reader = database.store.readers().acquire().await.unwrap();
    become_reader(&mut reader, TENANT).await;

    let found = seen(&mut reader).await;

    for (table, (rows, tenants)) in found {
        // Where logs are to be read from is nobody's.
        let expected = if table == "lease" { all[&table].0 } else { 1 };
        assert_eq!(rows, expected, "engine.{table}");
        assert!(tenants <= 1, "engine.{table}");
    }
    let tenants: Vec<i32> = sqlx::query("select * from engine.execution")
        .fetch_all(&mut *reader)
        .await
        .unwrap()
        .iter()
        .map(|row| row.get("tenant"))
        .collect();
    assert_eq!(tenants, [TENANT.0]);
}

#[tokio::test]
async fn a_connection_that_served_one_tenant_knows_nothing_of_it_afterwards() {
    let database = shared().await;
    let options = PostgresOptions { connections_max: 1, ..PostgresOptions::new(&database.url) };
    let store = Postgres::connect(options).await.unwrap();
    let query = EventQuery { tenant: TENANT, before: None, event_type: None, limit: 10 };

    let events = store.list_events(query).await.unwrap();
    let mut reader = store.readers().acquire().await.unwrap();
    let after = seen(&mut reader).await;
    let who: (String, String) =
        sqlx::query_as("select current_user::text, current_setting('transaction_read_only')")
            .fetch_one(&mut *reader)
            .await
            .unwrap();

    assert_eq!(events.len(), 1);
    assert!(after.values().all(|(rows, _)| *rows == 0), "{after:?}");
    assert_eq!(who, ("actions_tenant".to_owned(), "on".to_owned()));
}

/// The role is the whole server's, so whoever runs one installation may become it in all databases.
#[tokio::test]
async fn another_installations_login_reads_nothing_as_the_tenants_role() {
    let database = shared().await;
    let login = create_login(&mut administrator().await, "").await;
    let mut stranger = PgConnection::connect(&as_login(&database.url, &login)).await.unwrap();
    become_reader(&mut stranger, TENANT).await;

    let found = seen(&mut stranger).await;

    assert!(found.values().all(|(rows, _)| *rows == 0), "{found:?}");
}

/// What of the catalogue breaks a rule, by name.
async fn offenders(statement: &'static str) -> BTreeSet<String> {
    let database = open().await;
    // Whatever the engine makes later is looked at, too.
    let slug = TenantSlug::parse("acme").unwrap();
    database.store.create_tenant(event_id().0, &slug, "Acme", None).await.unwrap();
    let found: Vec<String> =
        sqlx::query_scalar(statement).fetch_all(database.store.pool()).await.unwrap();
    found.into_iter().collect()
}

#[tokio::test]
async fn every_table_with_rows_of_tenants_has_its_rule() {
    let unguarded = offenders(
        "select relname::text
         from pg_class
         where relnamespace = 'engine'::regnamespace and relkind in ('r', 'p')
           and not relispartition
           and exists (
               select from pg_attribute where attrelid = pg_class.oid and attname = 'tenant')
           and not (
               relrowsecurity
               and exists (select from pg_policy where polrelid = pg_class.oid))",
    )
    .await;
    assert!(
        unguarded.is_empty(),
        "a migration that makes a table with a tenant calls engine.guard_v1 for it: {unguarded:?}"
    );
}

#[tokio::test]
async fn the_tenants_role_reads_nothing_without_a_rule() {
    let unguarded = offenders(
        "select oid::regclass::text
         from pg_class
         where relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
           and relkind in ('r', 'p', 'v', 'm', 'f')
           and has_any_column_privilege('actions_tenant', oid, 'select')
           and not (
               relrowsecurity
               and exists (select from pg_policy where polrelid = pg_class.oid))",
    )
    .await;
    assert!(unguarded.is_empty(), "{unguarded:?}");
}

#[tokio::test]
async fn the_tenants_role_writes_nothing_and_borrows_no_rights() {
    let writable = offenders(
        "select oid::regclass::text
         from pg_class
         where relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
           and relkind in ('r', 'p', 'v', 'm', 'f')
           and (has_table_privilege(
                    'actions_tenant', oid, 'insert, update, delete, truncate, references, trigger')
                or has_any_column_privilege('actions_tenant', oid, 'insert, update, references'))
         union all
         select oid::regprocedure::text
         from pg_proc
         where prosecdef and prorettype <> 'trigger'::regtype
           and has_schema_privilege('actions_tenant', pronamespace, 'usage')
         union all
         select nspname::text from pg_namespace
         where nspname !~ '^(pg_|public$|information_schema$)'
           and has_schema_privilege('actions_tenant', oid, 'create')",
    )
    .await;
    assert!(writable.is_empty(), "{writable:?}");
}

#[tokio::test]
async fn the_tenants_role_reads_neither_sealed_secrets_nor_digests_of_tokens() {
    let readable = offenders(
        "select attrelid::regclass || '.' || attname
         from pg_attribute
         where attrelid in (
                 'engine.secret_version'::regclass, 'engine.api_key_token'::regclass,
                 'engine.intake'::regclass, 'engine.pull'::regclass)
           and attname in ('wrapped', 'text', 'digest', 'body')
           and has_column_privilege('actions_tenant', attrelid, attnum, 'select')",
    )
    .await;
    assert!(readable.is_empty(), "{readable:?}");
}

/// Else a function of a reader's own would be asked about other tenants' rows.
#[tokio::test]
async fn every_view_that_people_read_is_a_barrier() {
    let open = offenders(
        "select pg_class.oid::regclass::text
         from pg_class
         join pg_namespace on pg_namespace.oid = relnamespace
         where relkind = 'v' and (nspname = 'admin' or nspname like 'tenant\\_%')
           and not coalesce(reloptions, '{}') @> '{security_barrier=true}'",
    )
    .await;
    assert!(open.is_empty(), "{open:?}");
}

/// A rule that the planner could not see through would read all tenants' rows to find one's.
#[tokio::test]
async fn what_is_read_often_is_still_found_by_indexes() {
    let database = shared().await;
    let mut reader = database.store.readers().acquire().await.unwrap();
    become_reader(&mut reader, TENANT).await;
    let reads = [
        (
            include_str!("../../../crates/actions-infra/src/postgres/history/find_event.sql"),
            "2, gen_random_uuid()",
        ),
        (
            include_str!("../../../crates/actions-infra/src/postgres/history/find_execution.sql"),
            "2, gen_random_uuid()",
        ),
        (
            include_str!("../../../crates/actions-infra/src/postgres/history/list_executions.sql"),
            "2, null, 50, 65536",
        ),
        (
            include_str!("../../../crates/actions-infra/src/postgres/history/list_events.sql"),
            "2, null, 50, 65536",
        ),
        (
            include_str!(
                "../../../crates/actions-infra/src/postgres/history/list_events_of_type.sql"
            ),
            "2, null, 50, 'orders.paid', 65536",
        ),
    ];
    for (number, (statement, arguments)) in reads.into_iter().enumerate() {
        // Small tables are read whole where that is not forbidden.
        let prepare = format!("set enable_seqscan = off; prepare read_{number} as {statement}");
        run_text(&mut reader, prepare).await;
        let explain = format!("explain (costs off) execute read_{number}({arguments})");
        let plan: Vec<String> = sqlx::raw_sql(sqlx::AssertSqlSafe(explain))
            .fetch_all(&mut *reader)
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        let plan = plan.join("\n");
        assert!(plan.contains("Index Cond: "), "{plan}");
        assert!(!plan.contains("Seq Scan"), "{plan}");
    }
}

#[tokio::test]
async fn a_superuser_is_refused_and_told_what_to_run() {
    let url = administrators(&fresh_database().await);

    let refused = Postgres::connect(PostgresOptions::new(&url)).await.unwrap_err();

    assert!(matches!(refused, OpenError::Superuser { .. }), "{refused:?}");
    let database = database_of(&url);
    let told = refused.to_string();
    for statement in [
        "create role actions login password",
        "create role actions_tenant nologin;",
        "grant actions_tenant to actions;",
        &format!("alter database {database} owner to actions;"),
    ] {
        assert!(told.contains(statement), "{told}");
    }
}

#[tokio::test]
async fn a_role_that_bypasses_row_level_security_is_refused_until_it_does_not() {
    let url = fresh_database().await;
    let login = create_login(&mut administrator().await, "bypassrls").await;
    let options = PostgresOptions::new(as_login(&url, &login));

    let refused = Postgres::connect(options.clone()).await.unwrap_err();

    assert!(matches!(refused, OpenError::BypassesRules { .. }), "{refused:?}");
    run_text(&mut administrator().await, advice(&refused)).await;
    Postgres::connect(options).await.unwrap();
}

/// Else the rules would hide all rows from the engine, which would start as if it were new.
#[tokio::test]
async fn who_does_not_own_the_tables_is_told_how_to_take_them() {
    let database = open().await;
    let login = create_login(&mut administrator().await, "").await;
    let heir = as_login(&database.url, &login);

    let refused = Postgres::connect(PostgresOptions::new(&heir)).await.unwrap_err();

    let OpenError::Stranger { statements, .. } = &refused else { panic!("{refused:?}") };
    assert!(refused.to_string().contains(statements), "{refused}");
    let mut administrator = PgConnection::connect(&administrators(&database.url)).await.unwrap();
    run_text(&mut administrator, statements.clone()).await;
    let store = connect(&heir).await;
    store.migrate().await.unwrap();
    let slug = TenantSlug::parse("acme").unwrap();
    let tenant = store.create_tenant(event_id().0, &slug, "Acme", None).await.unwrap();
    assert!(store.action_counts(tenant.id, None, None).await.unwrap().is_empty());
    store.tend().await.unwrap();
}

#[tokio::test]
async fn a_login_that_cannot_become_the_tenants_role_is_told_what_to_run() {
    let url = fresh_database().await;
    let login = create_login(&mut administrator().await, "").await;
    let (name, _) = &login;
    let taken = format!("revoke actions_tenant from {name}");
    run_text(&mut administrator().await, taken).await;
    let text = format!("alter database {} owner to {name}", database_of(&url));
    run_text(&mut administrator().await, text).await;
    let store = connect(&as_login(&url, &login)).await;

    let refused = store.migrate().await.unwrap_err();

    assert!(matches!(refused, OpenError::TenantRole { .. }), "{refused:?}");
    assert_eq!(advice(&refused), format!("grant actions_tenant to {name};"));
    let required = store.require_schema().await;
    assert!(matches!(required, Err(OpenError::OlderSchema { found: 0, .. })), "{required:?}");
    run_text(&mut administrator().await, advice(&refused)).await;
    store.migrate().await.unwrap();
}

#[tokio::test]
async fn a_login_that_may_create_roles_makes_the_tenants_role_itself() {
    let Some(server) = PrivateServer::start_bare() else {
        eprintln!("no server programs are installed, and the tests' server has the role already");
        return;
    };
    let mut administrator = server.administrator("postgres").await;
    let text = "create role plain login; create database plain owner plain";
    for text in text.split(';').chain(["create role able login createrole"]) {
        run_text(&mut administrator, text.to_owned()).await;
    }
    for name in ["one", "two"] {
        run_text(&mut administrator, format!("create database {name} owner able")).await;
    }
    let plain = connect(&server.url_of("plain", "plain")).await;

    let refused = plain.migrate().await.unwrap_err();
    let both = "create role actions_tenant nologin; grant actions_tenant to plain;";
    assert_eq!(advice(&refused), both);

    // Two installations at once want the same role.
    let left = connect(&server.url_of("able", "one")).await;
    let right = connect(&server.url_of("able", "two")).await;
    let (first, second) = tokio::join!(left.migrate(), right.migrate());
    first.unwrap();
    second.unwrap();
    assert!(left.action_counts(TenantId::ADMIN, None, None).await.unwrap().is_empty());

    run_text(&mut administrator, "grant actions_tenant to plain".to_owned()).await;
    plain.migrate().await.unwrap();

    run_text(&mut administrator, "grant pg_read_all_data to actions_tenant".to_owned()).await;
    let refused = plain.migrate().await.unwrap_err();
    assert!(matches!(refused, OpenError::TenantRoleIsMore), "{refused:?}");
}

/// The statements of a refusal.
fn advice(refused: &OpenError) -> String {
    refused.to_string().split('`').nth(1).expect("statements stand between ticks").to_owned()
}

fn database_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap().split('?').next().unwrap()
}
