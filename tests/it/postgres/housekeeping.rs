//! Partitions, and what becomes of old rows.

use std::time::Duration;

use actions_domain::id::{SecretId, TenantId};
use actions_domain::ports::definitions::Definitions;
use actions_domain::ports::deletions::{Deletions, Erased};
use actions_domain::ports::history::History;
use actions_domain::ports::permits::Permits;
use actions_domain::ports::secrets::{NextVersion, Secrets};
use actions_domain::ports::store::{DueQuery, Store};
use actions_domain::secret::{MasterKeyId, Sealed, SecretName, SecretPlace};
use actions_domain::tenant::deletion::DeletionRequest;
use actions_domain::tenant::{ControlChange, Pause, Retention, TenantSlug};
use actions_domain::throttle::{Draw, Rate, Scope};
use actions_domain::work::{Home, Part, Seq, Why};
use chrono::TimeDelta;

use super::fixture::{Database, event_id, now, open};
use crate::support::process::pause as pause_for;

#[tokio::test]
async fn rows_go_into_partitions_that_were_made_ahead() {
    let database = open().await;
    let item = database.accept(Part(0)).await;
    database.store.commit(database.finish(item, 1)).await.unwrap();

    let strays = database
        .count(
            "select (select count(*) from engine.work_default)
                  + (select count(*) from engine.event_default)
                  + (select count(*) from engine.execution_default)",
        )
        .await;
    assert_eq!(strays, 0);
    let ahead = "select count(*) from pg_inherits where inhparent = 'engine.event'::regclass";
    // Yesterday, today, seven days, and the default one.
    assert_eq!(database.count(ahead).await, 10);
}

#[tokio::test]
async fn a_run_goes_with_its_journal_when_it_ended_long_ago() {
    let database = open().await;
    // Of two tenants: one ended long ago, one lately, and one goes on since long ago.
    let runs = "insert into engine.run (
            defs, started_at, updated_at, ended_at, tenant, workflow, entry_count, part, status,
            id, name)
        select 1, now() - interval '90 days', now(), ended_at, tenant, 1, 2, 0, 4,
            gen_random_uuid(), 'w'
        from generate_series(1, 2) as tenant,
            unnest(array[now() - interval '40 days', now(), null]) as given (ended_at)";
    run(&database, runs).await;
    let entries = "insert into engine.run_entry (tenant, number, run, body)
        select tenant, number, id, '' from engine.run, generate_series(0, 1) as number";
    run(&database, entries).await;
    let left = async || {
        let runs = database.count("select count(*) from engine.run").await;
        (runs, database.count("select count(*) from engine.run_entry").await)
    };
    let of_one = "select engine.drop_old_runs_v1(now() - interval '30 days', 1)";
    let of_all = "select engine.drop_old_runs_v1(now() - interval '30 days', null)";
    for (step, expected) in [(of_one, (5, 10)), (of_all, (4, 8))] {
        // Journals first, then what has none any more.
        run(&database, step).await;
        run(&database, step).await;
        assert_eq!(left().await, expected, "{step}");
    }
}

#[tokio::test]
async fn days_and_segments_are_counted_from_the_epoch_by_the_planner_itself() {
    let database = open().await;
    let wrong = "select count(*) from (values
            (timestamptz '1970-01-01T00:00:00Z', 0, 0),
            (timestamptz '1969-12-31T23:59:59.999999Z', -1, -1),
            (timestamptz '2026-03-29T23:59:59.999999Z', 20541, 82167),
            (timestamptz '2026-03-30T06:00:00Z', 20542, 82169)
        ) as given (at, day, segment)
        where engine.day_of(at) <> day or engine.segment_of(at) <> segment";
    assert_eq!(database.count(wrong).await, 0);

    let explained: Vec<String> = sqlx::query_scalar(
        "explain verbose select engine.day_of(clock_timestamp()), engine.segment_of(clock_timestamp())",
    )
    .fetch_all(database.store.pool())
    .await
    .unwrap();
    assert!(!explained.concat().contains("_of("), "they are called: {explained:?}");
}

#[tokio::test]
async fn rows_that_landed_in_the_default_partition_move_into_a_new_one() {
    let database = open().await;
    database.accept(Part(0)).await;
    run(&database, "alter table engine.work detach partition engine.work_default").await;
    run(&database, "insert into engine.work_default select * from engine.work").await;
    let drop = "do $$ declare child text; begin
        for child in select inhrelid::regclass::text from pg_inherits
            where inhparent = 'engine.work'::regclass loop
            execute 'drop table ' || child; end loop; end $$";
    run(&database, drop).await;
    run(&database, "alter table engine.work attach partition engine.work_default default").await;

    while database.count("select engine.ensure_partitions()::int8").await > 0 {}

    assert_eq!(database.count("select count(*) from engine.work_default").await, 0);
    assert_eq!(database.count("select count(*) from engine.work").await, 1);
}

#[tokio::test]
async fn what_is_unfinished_is_carried_out_of_old_segments() {
    let database = open().await;
    let done = database.accept(Part(0)).await;
    let open_item = database.accept(Part(0)).await;
    database.store.commit(database.finish(done, 1)).await.unwrap();
    age(&database).await;

    database.store.tend().await.unwrap();

    assert_eq!(database.count("select count(*) from engine.work").await, 0);
    let query = DueQuery { part: Part(0), ahead: Duration::ZERO, limit: 10 };
    let due = database.store.due(query).await.unwrap();
    assert_eq!(due.len(), 1);
    let carried = &due[0];
    assert_eq!((carried.why, carried.delay, carried.hold), (Why::Carried, Duration::ZERO, false));
    assert_eq!((carried.item.ord, carried.item.home), (Seq(2), Home::Later));
    assert_eq!(carried.item.work, open_item.work);

    // The log goes on where it was, and an owner that still knows the old place may finish.
    assert_eq!(database.accept(Part(0)).await.ord, Seq(3));
    database.store.commit(database.finish(open_item.clone(), 2)).await.unwrap();
    assert!(database.store.due(query).await.unwrap().is_empty());
    let found = database.store.find_execution(TenantId::ADMIN, open_item.work.id).await.unwrap();
    assert!(found.unwrap().status.is_final());
}

#[tokio::test]
async fn a_number_is_not_given_again_after_history_was_dropped() {
    use actions_domain::ports::leases::Leases;
    let database = open().await;
    let item = database.accept(Part(0)).await;
    database.store.commit(database.finish(item, 1)).await.unwrap();
    age_history(&database).await;

    run(&database, "select engine.drop_old_history_v1(30)").await;

    assert_eq!(database.count("select count(*) from engine.execution").await, 0);
    database.store.leave(database.node).await.unwrap();
    let node = database.store.join("left").await.unwrap();
    let leases = database.store.claim(node, &[], 2).await.unwrap();
    assert_eq!(leases[0].next_fin, 2);
}

/// An item of the log is finished because its execution is there.
#[tokio::test]
async fn history_is_kept_while_a_log_may_still_hold_its_items() {
    let database = open().await;
    let item = database.accept(Part(0)).await;
    database.store.commit(database.finish(item, 1)).await.unwrap();
    age_history(&database).await;
    age(&database).await;
    let drop = "select engine.drop_old_history_v1(2)";

    run(&database, drop).await;
    assert_eq!(database.count("select count(*) from engine.execution").await, 1);

    run(&database, "delete from engine.work").await;
    run(&database, drop).await;
    assert_eq!(database.count("select count(*) from engine.execution").await, 0);
}

/// However many there are: each step removes a part, and they are repeated.
#[tokio::test]
async fn claims_go_when_nobody_holds_them_any_more() {
    let database = open().await;
    let (ended, open_item) = (database.accept(Part(0)).await, database.accept(Part(0)).await);
    let claim = "insert into engine.claim (tenant, key, execution, first_at, until, until_finished)
        select $1, int8send(n), $2, now(), $3, true from generate_series($4, $5) as n";
    let hour = chrono::TimeDelta::hours(1);
    for (item, until, from, to) in [
        (&ended, None, 1, 30_000),
        (&ended, Some(super::fixture::now() + hour), 30_001, 30_003),
        (&open_item, None, 30_004, 30_005),
    ] {
        sqlx::query(claim)
            .bind(TenantId::ADMIN.0)
            .bind(item.work.id.0)
            .bind(until)
            .bind(from)
            .bind(to)
            .execute(database.store.pool())
            .await
            .unwrap();
    }
    database.store.commit(database.finish(ended, 1)).await.unwrap();

    database.store.tend().await.unwrap();

    let left = "select count(*) from engine.claim";
    assert_eq!(database.count(left).await, 5, "those of a period, and those of what waits");
}

/// However old it is: a head may have waited, or was requeued.
#[tokio::test]
async fn what_joined_a_batch_goes_with_its_head() {
    let database = open().await;
    let (ended, waiting) = (database.accept(Part(0)).await, database.accept(Part(0)).await);
    database.store.commit(database.finish(ended.clone(), 1)).await.unwrap();
    let join = "insert into engine.member (head, place, tenant, action, body)
        select $1, n, 1, 1, '{}' from generate_series(1, 3) as n";
    let gone = super::fixture::event_id().0;
    for head in [ended.work.id.0, waiting.work.id.0, gone] {
        sqlx::query(join).bind(head).execute(database.store.pool()).await.unwrap();
    }
    let expire = "select engine.expire_members_v1(null, 2)";
    assert_eq!(database.count(expire).await, 0, "nothing is old");
    // As if two years had passed.
    let age = "create or replace function engine.id_floor(at timestamptz) returns uuid
        language sql immutable return 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid";
    run(&database, age).await;
    assert_eq!(database.count("select engine.expire_members_v1(2, 2)").await, 0, "of another");
    assert_eq!(database.count(expire).await, 3);
    let left = "select count(distinct head) from engine.member";
    assert_eq!(database.count(left).await, 2, "those of what waits, and of what is still kept");
}

/// A scheduled execution may wait for a year, and reads its event when it runs.
#[tokio::test]
async fn an_event_stays_while_something_waits_that_needs_it() {
    let database = open().await;
    database.accept(Part(0)).await;
    for day in ["20200101", "20200102"] {
        let partition = format!("event_{day}");
        let text = format!("create table engine.{partition} (like engine.event including all)");
        sqlx::query(sqlx::AssertSqlSafe(text)).execute(database.store.pool()).await.unwrap();
    }
    // 2020-01-01 and 2020-01-02 in milliseconds, and what comes after.
    for text in [
        "insert into engine.event_20200101 select * from engine.event limit 1",
        "update engine.event_20200101 set id = '016f5e66-e800-7000-8000-000000000000'",
        "insert into engine.event_20200102 select * from engine.event limit 1",
        "update engine.event_20200102 set id = '016f638d-4400-7000-8000-000000000000'",
        "alter table engine.event attach partition engine.event_20200101 for values
            from ('016f5e66-e800-0000-0000-000000000000') to ('016f638d-4400-0000-0000-000000000000')",
        "alter table engine.event attach partition engine.event_20200102 for values
            from ('016f638d-4400-0000-0000-000000000000') to ('016f68b3-a000-0000-0000-000000000000')",
        "insert into engine.later (id, ord, due, defs, queued_at, tenant, action, part, why,
            losses, lane, mode, depth, hold, event, attempts)
         select id, seq, now() + interval '200 days', defs, queued_at, tenant, action, part, 1, 0,
            lane, mode, depth, false, '016f5e66-e800-7000-8000-000000000000', '[]'
         from engine.work",
        // A requeue in the log, about the event of the second day.
        "update engine.work
         set parent = id, event = '016f638d-4400-7000-8000-000000000000'",
    ] {
        run(&database, text).await;
    }

    for _ in 0..3 {
        run(&database, "select engine.drop_old_history_v1(30)").await;
    }

    let first =
        "select count(*) from engine.event where id = '016f5e66-e800-7000-8000-000000000000'";
    let second =
        "select count(*) from engine.event where id = '016f638d-4400-7000-8000-000000000000'";
    assert_eq!((database.count(first).await, database.count(second).await), (1, 1));

    run(&database, "delete from engine.work").await;
    for _ in 0..3 {
        run(&database, "select engine.drop_old_history_v1(30)").await;
    }
    assert_eq!((database.count(first).await, database.count(second).await), (1, 0));
}

/// Rows of a tenant that keeps less lie in one day with everybody else's.
#[tokio::test]
async fn a_tenant_may_keep_less_than_the_installation() {
    let database = open().await;
    let item = database.accept(Part(0)).await;
    database.accept(Part(0)).await;
    database.store.commit(database.finish(item, 1)).await.unwrap();
    age_history(&database).await;
    // Everything is of 2020 and of tenant 1, with a twin of tenant 99; one event is still needed.
    for text in [
        "update engine.execution set ended_at = now() - interval '3 days'",
        "insert into engine.execution
         select '01700000-0000-7000-8000-000000000001', epoch, fin, defs, queued_at, started_at,
            ended_at, 99, action, node, part, lane, mode, status, attempt_count, event, parent,
            key, input, output, error, attempts
         from engine.execution",
        "insert into engine.dead (id, died_at, tenant, action, fingerprint)
         select id, now() - interval '3 days', tenant, action, 'f' from engine.execution",
        "with numbered as (select id, row_number() over (order by id) as number from engine.event)
         update engine.event
         set id = ('016f5e66-e800-7000-8000-00000000000' || numbered.number)::uuid
         from numbered where numbered.id = event.id",
        "insert into engine.later (id, ord, due, defs, queued_at, tenant, action, part, why,
            losses, lane, mode, depth, hold, event, attempts)
         select id, seq, now() + interval '200 days', defs, queued_at, tenant, action, part, 1, 0,
            lane, mode, depth, false, '016f5e66-e800-7000-8000-000000000002', '[]'
         from engine.work limit 1",
        "insert into engine.bulk (ended_at, tenant, id, record)
         select now() - interval '3 days', tenant, gen_random_uuid(), '{}'
         from unnest(array[1, 99]) as tenant",
        "insert into engine.bulk_item (bulk, number, target)
         select bulk.id, number, bulk.id from engine.bulk, generate_series(1, 6000) as number",
    ] {
        run(&database, text).await;
    }
    let left = async || {
        let mut counts = Vec::new();
        for text in [
            "select count(*) from engine.execution where tenant = 1",
            "select count(*) from engine.dead where tenant = 1",
            "select count(*) from engine.event where tenant = 1",
            "select count(*) from engine.bulk where tenant = 1",
            "select count(*) from engine.bulk_item",
            "select count(*) from engine.execution where tenant = 99",
            "select count(*) from engine.dead where tenant = 99",
        ] {
            counts.push(database.count(text).await);
        }
        counts
    };
    database.store.tend().await.unwrap();
    assert_eq!(left().await, [1, 1, 2, 1, 12_000, 1, 1], "nobody said how long");

    keep(&database, Retention { keep_days: Some(4), dead_letter_days: None }).await;
    database.store.tend().await.unwrap();
    assert_eq!(left().await[0], 1, "it ended three days ago");

    keep(&database, Retention { keep_days: Some(2), dead_letter_days: None }).await;
    database.store.tend().await.unwrap();
    assert_eq!(left().await, [0, 0, 1, 0, 6_000, 1, 1]);
}

#[tokio::test]
async fn dead_letters_expire_before_their_executions_where_a_tenant_says_so() {
    let database = open().await;
    for died in ["1 hour", "3 days"] {
        let text = format!(
            "insert into engine.dead (id, died_at, tenant, action, fingerprint)
             values (engine.mint_id(), now() - interval '{died}', 1, 7, 'f'),
                    (engine.mint_id(), now() - interval '{died}', 99, 7, 'f')"
        );
        sqlx::query(sqlx::AssertSqlSafe(text)).execute(database.store.pool()).await.unwrap();
    }
    keep(&database, Retention { keep_days: None, dead_letter_days: Some(2) }).await;
    database.store.tend().await.unwrap();
    let own = "select count(*) from engine.dead where tenant = 1";
    let others = "select count(*) from engine.dead where tenant = 99";
    assert_eq!((database.count(own).await, database.count(others).await), (1, 2));
}

async fn keep(database: &Database, retention: Retention) {
    let change = ControlChange::SetRetention(retention);
    database.store.change_controls(TenantId::ADMIN, &change, None).await.unwrap();
}

#[tokio::test]
async fn summing_up_statistics_loses_no_count() {
    let database = open().await;
    for fin in 1..=3 {
        let item = database.accept(Part(0)).await;
        database.store.commit(database.finish(item, fin)).await.unwrap();
    }
    let before = database.store.action_counts(TenantId::ADMIN, None, None).await.unwrap();
    run(&database, "update engine.stat set last_at = last_at - interval '3 days'").await;

    database.store.tend().await.unwrap();

    let after = database.store.action_counts(TenantId::ADMIN, None, None).await.unwrap();
    assert_eq!((before[0].completed, after[0].completed), (3, 3));
    assert_eq!(before[0].duration_ms, after[0].duration_ms);
    assert!(database.count("select count(*) from engine.stat").await <= 2);
}

#[tokio::test]
async fn the_hourly_work_is_claimed_once() {
    let database = open().await;
    let claim = "select engine.claim_chore_v1('hourly')::int4::int8";
    assert_eq!((database.count(claim).await, database.count(claim).await), (1, 0));
}

#[tokio::test]
async fn tasks_that_no_attempt_wants_any_more_do_not_stay() {
    let database = open().await;
    run(
        &database,
        "insert into engine.pull (execution, tenant, attempt, queue, body, put_at, wanted_until)
         select gen_random_uuid(), 1, 1, 'images', '{}', now() - interval '2 hours',
             now() + wanted
         from unnest(array['-61 minutes', '-59 minutes', '10 seconds']::interval[]) as wanted",
    )
    .await;
    database.store.tend().await.unwrap();
    assert_eq!(database.count("select count(*) from engine.pull").await, 2);
}

#[tokio::test]
async fn a_replaced_version_of_a_secret_goes_an_hour_after_its_end() {
    let database = open().await;
    let (name, id) = (SecretName::parse("TOKEN").unwrap(), SecretId(uuid::Uuid::from_u128(1)));
    let now = now();
    // Each is replaced by the next one: the first went long ago, the second just now.
    for (number, previous_ended) in [(1, 0), (2, 61), (3, 59)] {
        let sealed =
            Sealed { key: MasterKeyId::parse("test").unwrap(), wrapped: vec![1], text: vec![2] };
        let place = SecretPlace { tenant: TenantId::ADMIN, id, name: name.clone(), number };
        let at = now - TimeDelta::minutes(120 - number);
        let previous_ends_at = now - TimeDelta::minutes(previous_ended);
        let put = NextVersion { place, sealed, at, by: "me".to_owned(), previous_ends_at };
        database.store.put_secret(&put, None).await.unwrap();
    }
    let first = "select count(*) from engine.secret_version where number = 1";
    let second = "select count(*) from engine.secret_version where number = 2";
    assert_eq!(database.count(second).await, 1);
    database.store.tend().await.unwrap();
    assert_eq!((database.count(first).await, database.count(second).await), (0, 1));
    run(&database, "update engine.secret_version set ends_at = ends_at - interval '2 minutes'")
        .await;
    database.store.tend().await.unwrap();
    assert_eq!(database.count("select count(*) from engine.secret_version").await, 1);
}

#[tokio::test]
async fn what_was_drawn_of_a_deleted_tenants_limits_goes_also_where_it_had_no_definitions() {
    let Database { store, .. } = &open().await;
    let slug = TenantSlug::parse("bare").unwrap();
    let tenant = store.create_tenant(event_id().0, &slug, "Bare", None).await.unwrap().id;
    let rate = Rate { per_minute: Some(600), per_hour: None };
    store.draw(&[Draw { scope: Scope::Events(tenant), rate, want: 1 }]).await.unwrap();
    let pause = Pause { at: now(), by: "ops".to_owned(), reason: None };
    store.change_controls(tenant, &ControlChange::Suspend(pause), None).await.unwrap();
    let request = DeletionRequest { at: now(), by: "ops".to_owned(), reason: None };
    store.begin_deletion(&slug, &request, None).await.unwrap();
    let (kind, id) = Scope::Events(tenant).numbers();
    let drawn = "select count(*) from engine.rate where kind = $1 and id = $2";
    let rows = async || -> i64 {
        let rows = sqlx::query_scalar(drawn).bind(kind).bind(id);
        rows.fetch_one(store.pool()).await.unwrap()
    };
    assert_eq!(rows().await, 1);
    while store.erase(tenant).await.unwrap() != Erased::Nothing {
        pause_for(Duration::from_millis(20)).await;
    }
    assert_eq!(rows().await, 0);
}

/// Moves what is finished into a day of long ago.
async fn age_history(database: &Database) {
    run(database, "create table engine.execution_20200101 (like engine.execution including all)")
        .await;
    run(database, "insert into engine.execution_20200101 select * from engine.execution").await;
    run(
        database,
        "update engine.execution_20200101 set id = '01700000-0000-7000-8000-000000000000'",
    )
    .await;
    run(database, "delete from engine.execution").await;
    run(
        database,
        "alter table engine.execution attach partition engine.execution_20200101
         for values from ('01700000-0000-0000-0000-000000000000')
         to ('01700000-ffff-0000-0000-000000000000')",
    )
    .await;
}

/// Moves the log two days into the past, into partitions of its own.
async fn age(database: &Database) {
    run(
        database,
        "select engine.ensure_partition(
            'work', (seg - 8)::text, format('for values in (%s)', seg - 8),
            format('seg = %s', seg - 8))
         from engine.tail where part = 0",
    )
    .await;
    run(database, "update engine.work set seg = seg - 8").await;
    run(database, "update engine.tail set seg = seg - 8 where part = 0").await;
}

async fn run(database: &Database, statement: &'static str) {
    sqlx::query(statement).execute(database.store.pool()).await.unwrap();
}
