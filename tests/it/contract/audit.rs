//! What every `Audit` must do: entries that follow one another without a gap, whoever writes at the
//! same moment; and what every other port must do with an act: write it down with what it does, and
//! not where nothing is done.

use actions_domain::Timestamp;
use actions_domain::api_key::{ApiKey, ApiKeyName, TOKEN_RANDOM_BYTES, Token};
use actions_domain::audit::{Act, ActKind, Broken, Deed, Entry, Head, Verifier};
use actions_domain::authorization::{AuthorizationContext, Role};
use actions_domain::bulk::{Bulk, BulkChange, BulkSpec, Chosen, Operation};
use actions_domain::id::{ApiKeyId, BulkId, ExecutionId, SubscriptionId, TenantId};
use actions_domain::limits::AUDIT_STATE_BYTES_MAX;
use actions_domain::ports::definitions::Expected;
use actions_domain::tenant::{ControlChange, Retention, TenantLimits, TenantSlug};
use actions_domain::work::{Cancel, Commit, Discard, Part};
use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};

use super::given;
use super::stores::{Ports, Stores};

contract! { Audit:
    what_was_recorded_is_read_back,
    entries_are_read_from_both_ends_page_by_page,
    tenants_have_streams_of_their_own,
    odd_texts_and_long_states_are_kept_as_they_were_sealed,
    writers_at_the_same_moment_make_one_chain,
    an_act_is_written_with_what_it_does,
    what_changes_nothing_leaves_no_entry,
    controls_tell_what_they_were_and_are,
    a_bulk_tells_its_states,
    a_deed_tells_what_came_of_it,
    what_is_asked_twice_is_one_deed,
    the_store_refuses_to_change_an_entry,
    what_was_changed_in_the_database_is_found_with_its_place,
}

const ADMIN: TenantId = TenantId::ADMIN;

fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap() + TimeDelta::microseconds(7)
}

fn caller() -> AuthorizationContext {
    AuthorizationContext::of_bootstrap_token("request-1")
}

fn act_of(tenant: TenantId, kind: ActKind, subject: &str) -> Act {
    Act::new(&caller(), tenant, at(0), kind, subject)
}

fn act(kind: ActKind) -> Act {
    act_of(ADMIN, kind, "it")
}

async fn all(ports: &Ports, tenant: TenantId) -> Vec<Entry> {
    ports.audit.audit_after(tenant, 0, 10_000).await.unwrap()
}

/// What is wrong with a stream.
async fn broken(ports: &Ports, noted: Vec<Head>) -> Option<Broken> {
    let mut verifier = Verifier::new(Head::default(), noted);
    let entries = all(ports, ADMIN).await;
    let found = entries.iter().find_map(|entry| verifier.check(entry).err());
    found.or_else(|| verifier.finish().err())
}

async fn expect_whole(ports: &Ports, count: i64) {
    let head = ports.audit.audit_head(ADMIN).await.unwrap();
    assert_eq!(head.seq, count);
    assert_eq!(broken(ports, vec![head]).await, None);
}

async fn record(ports: &Ports, count: i64) {
    for number in 0..count {
        let act = act_of(ADMIN, ActKind::ScheduleFired, &format!("schedule:{number}"));
        ports.audit.record_act(&act).await.unwrap();
    }
}

async fn what_was_recorded_is_read_back(stores: &Stores) {
    let ports = stores.open().await;
    assert_eq!(ports.audit.audit_head(ADMIN).await.unwrap(), Head::default());
    let first = act(ActKind::ScheduleFired).because(Some("why \"not\""));
    ports.audit.record_act(&first).await.unwrap();
    let second = act_of(ADMIN, ActKind::ActionUpdated, "action:ä")
        .from(json!({ "a": 1 }))
        .to(json!({ "a": [1.5, null, "x"] }));
    ports.audit.record_act(&second).await.unwrap();

    let other = stores.open().await;
    let expected = Head::default().append(&first);
    let expected = [expected.clone(), expected.head().append(&second)];
    assert_eq!(all(&other, ADMIN).await, expected);
    assert_eq!(other.audit.audit_head(ADMIN).await.unwrap(), expected[1].head());
    let [first, second] = expected;
    assert_eq!((first.seq, first.at, first.previous), (1, at(0), Head::default().hash));
    assert_eq!(
        (first.actor.as_str(), first.actor_kind.as_str()),
        ("token:bootstrap", "bootstrap_token")
    );
    assert_eq!((first.role.as_str(), first.ingress.as_str()), ("platform_admin", "http"));
    assert_eq!((first.request_id.as_str(), first.act.as_str()), ("request-1", "schedule.fired"));
    assert_eq!(second.after.unwrap().to_value(), json!({ "a": [1.5, null, "x"] }));
    expect_whole(&other, 2).await;
}

async fn entries_are_read_from_both_ends_page_by_page(stores: &Stores) {
    let ports = stores.open().await;
    record(&ports, 7).await;
    let numbers = |entries: Vec<Entry>| entries.iter().map(|entry| entry.seq).collect::<Vec<_>>();
    let before = async |before, limit| {
        numbers(ports.audit.audit_before(ADMIN, before, limit).await.unwrap())
    };
    assert_eq!(before(None, 3).await, [7, 6, 5]);
    assert_eq!(before(Some(5), 3).await, [4, 3, 2]);
    assert_eq!(before(Some(2), 3).await, [1]);
    let after =
        async |after, limit| numbers(ports.audit.audit_after(ADMIN, after, limit).await.unwrap());
    assert_eq!(after(0, 3).await, [1, 2, 3]);
    assert_eq!(after(5, 3).await, [6, 7]);
    assert_eq!(after(7, 3).await, [] as [i64; 0]);
}

async fn tenants_have_streams_of_their_own(stores: &Stores) {
    let ports = stores.open().await;
    let slug = TenantSlug::parse("acme").unwrap();
    let created = act_of(ADMIN, ActKind::TenantCreated, "tenant:acme");
    let definitions = &ports.definitions;
    let tenant = definitions.create_tenant(given::uuid(), &slug, "A", Some(&created)).await;
    let tenant = tenant.unwrap().id;
    ports.audit.record_act(&act_of(tenant, ActKind::ScheduleFired, "own")).await.unwrap();
    record(&ports, 2).await;
    assert_eq!(all(&ports, ADMIN).await.len(), 3);
    let own = all(&ports, tenant).await;
    assert_eq!((own.len(), own[0].seq, own[0].stream), (1, 1, tenant));
    assert_eq!(own[0].previous, Head::default().hash);
}

async fn odd_texts_and_long_states_are_kept_as_they_were_sealed(stores: &Stores) {
    let ports = stores.open().await;
    let long = "x".repeat(AUDIT_STATE_BYTES_MAX);
    let numbers: Value =
        serde_json::from_str("[0.1, 1e300, 123456789012345678, 5e-324, 9.007199254740993e15]")
            .unwrap();
    for (before, after) in [
        (json!({ "te\u{0}xt": ["\u{0}\u{7}\"ä🦀"] }), json!(numbers)),
        (Value::Null, json!({ "long": long })),
        (json!({}), json!([])),
    ] {
        let act = act_of(ADMIN, ActKind::ActionUpdated, "a\u{0}b").from(before).to(after);
        ports.audit.record_act(&act.because(Some("nul \u{0} end"))).await.unwrap();
    }
    let entries = all(&ports, ADMIN).await;
    assert_eq!(entries[0].subject, "a\u{fffd}b");
    assert_eq!(entries[1].before, None);
    let kept = entries[1].after.as_ref().unwrap().to_value();
    assert_eq!(kept["left_out_bytes"], json!(AUDIT_STATE_BYTES_MAX + 11), "{kept}");
    expect_whole(&ports, 3).await;
    // As they are after a way through a file, and through another program.
    for entry in &entries {
        let line = serde_json::to_string(entry).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(&line).unwrap(), *entry);
        let rewritten: Value = serde_json::from_str(&line).unwrap();
        let rewritten = serde_json::to_string_pretty(&rewritten).unwrap();
        assert!(serde_json::from_str::<Entry>(&rewritten).unwrap().is_intact(), "{rewritten}");
    }
}

async fn writers_at_the_same_moment_make_one_chain(stores: &Stores) {
    const WRITERS: usize = 4;
    const EACH: usize = 10;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let ports = stores.open().await;
        writers.push(tokio::spawn(async move {
            for number in 0..EACH {
                let name = format!("a{writer}-{number}");
                let act = act_of(ADMIN, ActKind::ActionCreated, &format!("action:{name}"));
                if number % 2 == 0 {
                    let spec = given::action_spec(&name);
                    let definitions = &ports.definitions;
                    let saved = definitions
                        .save_action(ADMIN, given::uuid(), &spec, Expected::Absent, Some(&act))
                        .await;
                    saved.unwrap();
                } else {
                    ports.audit.record_act(&act).await.unwrap();
                }
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let ports = stores.open().await;
    expect_whole(&ports, i64::try_from(WRITERS * EACH).unwrap()).await;
    let mut subjects: Vec<_> =
        all(&ports, ADMIN).await.into_iter().map(|one| one.subject).collect();
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), WRITERS * EACH, "each act once");
}

fn key() -> (ApiKey, Token) {
    let mut random = [0; TOKEN_RANDOM_BYTES];
    random[..16].copy_from_slice(given::uuid().as_bytes());
    let token = Token::mint(&random);
    let key = ApiKey {
        id: ApiKeyId(given::uuid()),
        tenant: ADMIN,
        name: ApiKeyName::parse("a").unwrap(),
        role: Role::Viewer,
        created_by: "me".to_owned(),
        created_at: at(0),
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
        lookup: token.lookup(),
        others_end_at: None,
    };
    (key, token)
}

fn bulk() -> Bulk {
    let spec = BulkSpec {
        operation: Operation::Cancel,
        chosen: Chosen::Ids,
        canary: None,
        rate: None,
        reason: None,
    };
    Bulk::new(BulkId(given::uuid()), ADMIN, spec, "me".to_owned(), (1, false), at(0))
}

async fn an_act_is_written_with_what_it_does(stores: &Stores) {
    let ports = stores.open().await;
    let (definitions, keys) = (&ports.definitions, &ports.api_keys);
    let mut expected = Vec::new();
    let mut next = |kind: ActKind| {
        expected.push(kind.word());
        act(kind)
    };
    let slug = TenantSlug::parse("acme").unwrap();
    let one = next(ActKind::TenantCreated);
    definitions.create_tenant(given::uuid(), &slug, "A", Some(&one)).await.unwrap();
    let (spec, uuid) = (given::action_spec("a"), given::uuid());
    let one = next(ActKind::ActionCreated);
    let saved = definitions.save_action(ADMIN, uuid, &spec, Expected::Absent, Some(&one)).await;
    let action = saved.unwrap();
    let one = next(ActKind::ActionChecked);
    definitions.set_health(ADMIN, action.id, &action.health, Some(&one)).await.unwrap();
    let id = SubscriptionId(given::uuid());
    let pattern = given::subscription_spec("a.b");
    let (one, absent) = (next(ActKind::SubscriptionCreated), Expected::Absent);
    let saved = definitions.save_subscription(ADMIN, id, action.id, &pattern, absent, Some(&one));
    saved.await.unwrap();
    let one = next(ActKind::SubscriptionDeleted);
    let deleted = definitions.delete_subscription(ADMIN, id, Expected::Anything, Some(&one)).await;
    deleted.unwrap();
    let one = next(ActKind::ActionDeleted);
    let name = &action.spec.name;
    definitions.delete_action(ADMIN, name, Expected::Anything, Some(&one)).await.unwrap();
    let one = next(ActKind::RetentionChanged);
    let change =
        ControlChange::SetRetention(Retention { keep_days: Some(9), dead_letter_days: None });
    definitions.change_controls(ADMIN, &change, Some(&one)).await.unwrap();
    let (key, token) = key();
    let one = next(ActKind::ApiKeyCreated);
    keys.create_api_key(&key, &token.stored(), Some(&one)).await.unwrap();
    let one = next(ActKind::ApiKeyRotated);
    let newer = self::key().1.stored();
    keys.rotate_api_key(ADMIN, key.id, &newer, at(9), at(1), Some(&one)).await.unwrap();
    let one = next(ActKind::ApiKeyRevoked);
    keys.revoke_api_key(ADMIN, key.id, at(2), Some(&one)).await.unwrap();
    let (bulk, one) = (bulk(), next(ActKind::BulkStarted));
    ports.bulks.create_bulk(&bulk, &[given::execution_id(0)], Some(&one)).await.unwrap();
    let one = next(ActKind::BulkPaused);
    let change = BulkChange::Pause { by: "me".to_owned() };
    ports.bulks.change_bulk(ADMIN, bulk.id, &change, at(3), Some(&one)).await.unwrap();
    let schedule = super::schedules::spec("s");
    let one = next(ActKind::ScheduleCreated);
    let saved = ports.schedules.save_schedule(ADMIN, &schedule, absent, at(4), Some(&one)).await;
    saved.unwrap();
    let one = next(ActKind::ScheduleDeleted);
    let (name, any) = (&schedule.name, Expected::Anything);
    ports.schedules.delete_schedule(ADMIN, name, any, Some(&one)).await.unwrap();

    let written: Vec<_> = all(&ports, ADMIN).await.into_iter().map(|entry| entry.act).collect();
    assert_eq!(written, expected, "each once, in order");
    expect_whole(&ports, i64::try_from(expected.len()).unwrap()).await;
}

async fn what_changes_nothing_leaves_no_entry(stores: &Stores) {
    let ports = stores.open().await;
    let definitions = &ports.definitions;
    let spec = given::action_spec("a");
    let (uuid, any) = (given::uuid(), Expected::Anything);
    let action = definitions.save_action(ADMIN, uuid, &spec, any, None).await.unwrap();
    let one = act(ActKind::ActionUpdated);
    definitions.save_action(ADMIN, uuid, &spec, any, Some(&one)).await.unwrap();
    let stale = Expected::Version(action.version + 1);
    definitions.save_action(ADMIN, uuid, &spec, stale, Some(&one)).await.unwrap_err();
    definitions.delete_action(ADMIN, &spec.name, stale, Some(&one)).await.unwrap_err();
    let slug = TenantSlug::admin();
    definitions.create_tenant(given::uuid(), &slug, "B", Some(&one)).await.unwrap_err();
    definitions.change_controls(ADMIN, &ControlChange::Resume, Some(&one)).await.unwrap();
    let (key, token) = key();
    ports.api_keys.create_api_key(&key, &token.stored(), None).await.unwrap();
    ports.api_keys.create_api_key(&key, &token.stored(), Some(&one)).await.unwrap_err();
    ports.api_keys.revoke_api_key(ADMIN, key.id, at(1), None).await.unwrap();
    ports.api_keys.revoke_api_key(ADMIN, key.id, at(2), Some(&one)).await.unwrap();
    let bulk = bulk();
    ports.bulks.create_bulk(&bulk, &[given::execution_id(0)], None).await.unwrap();
    let resume = BulkChange::Resume { by: "me".to_owned() };
    ports.bulks.change_bulk(ADMIN, bulk.id, &resume, at(1), Some(&one)).await.unwrap();
    ports
        .bulks
        .change_bulk(ADMIN, BulkId(given::uuid()), &resume, at(1), Some(&one))
        .await
        .unwrap();
    let schedule = super::schedules::spec("s");
    ports.schedules.save_schedule(ADMIN, &schedule, any, at(1), None).await.unwrap();
    ports.schedules.save_schedule(ADMIN, &schedule, any, at(1), Some(&one)).await.unwrap();
    assert_eq!(all(&ports, ADMIN).await, []);
}

async fn controls_tell_what_they_were_and_are(stores: &Stores) {
    let ports = stores.open().await;
    for weight in [2, 3] {
        let limits = TenantLimits { weight: Some(weight), ..TenantLimits::default() };
        let (change, one) = (ControlChange::SetLimits(limits), act(ActKind::LimitsChanged));
        ports.definitions.change_controls(ADMIN, &change, Some(&one)).await.unwrap();
    }
    let entries = all(&ports, ADMIN).await;
    let state =
        |state: &Option<actions_domain::json::Json>| state.as_ref().map(|one| one.to_value());
    assert_eq!(state(&entries[0].before), Some(json!({})));
    assert_eq!(state(&entries[0].after), Some(json!({ "weight": 2 })));
    assert_eq!(state(&entries[1].before), Some(json!({ "weight": 2 })));
    assert_eq!(state(&entries[1].after), Some(json!({ "weight": 3 })));
}

async fn a_bulk_tells_its_states(stores: &Stores) {
    let ports = stores.open().await;
    let bulk = bulk();
    ports.bulks.create_bulk(&bulk, &[given::execution_id(0)], None).await.unwrap();
    let (change, one) = (BulkChange::Pause { by: "me".to_owned() }, act(ActKind::BulkPaused));
    ports.bulks.change_bulk(ADMIN, bulk.id, &change, at(1), Some(&one)).await.unwrap();
    let entry = all(&ports, ADMIN).await.remove(0);
    assert_eq!(entry.before.unwrap().to_value(), json!({ "state": "running" }));
    assert_eq!(entry.after.unwrap().to_value(), json!({ "state": "paused" }));
}

async fn a_deed_tells_what_came_of_it(stores: &Stores) {
    let node = stores.owner("n").await;
    let items = node.enqueue(Part(1), 4).await;
    for item in &items[..3] {
        node.bury(item, "it").await;
    }
    let ids: Vec<ExecutionId> = items.iter().map(|item| item.work.id).collect();
    let requeue = |dead: &[usize]| {
        let ingests = dead.iter().map(|at| given::requeue(Part(1), &items[*at])).collect();
        let executions = dead.iter().map(|at| ids[*at]).collect();
        let deed = Deed::Requeue { act: act(ActKind::DeadLettersRequeued), executions };
        let submissions = vec![given::submission(ingests)];
        Commit { submissions, deed: Some(deed), ..Commit::default() }
    };
    node.commit(requeue(&[0])).await.unwrap();
    // The first one is no dead letter any more.
    node.commit(requeue(&[0, 1])).await.unwrap();
    node.commit(requeue(&[0, 1])).await.unwrap();
    let discard = || {
        let executions = vec![ids[1], ids[2]];
        let discard =
            |id: &ExecutionId| Discard { tenant: ADMIN, execution: *id, reason: "x".into() };
        let discards = executions.iter().map(discard).collect();
        let act = act(ActKind::DeadLettersDiscarded).because(Some("x"));
        Commit { discards, deed: Some(Deed::Discard { act, executions }), ..Commit::default() }
    };
    node.commit(discard()).await.unwrap();
    node.commit(discard()).await.unwrap();
    let states: Vec<_> = all(&node.ports, ADMIN)
        .await
        .into_iter()
        .map(|entry| (entry.act, entry.after.unwrap().to_value()))
        .collect();
    let requeued =
        |id: ExecutionId| ("dead_letters.requeued".to_owned(), json!({ "requeued": [id] }));
    let discarded = json!({ "discarded": 1, "asked_for": [ids[1], ids[2]] });
    let discarded = ("dead_letters.discarded".to_owned(), discarded);
    assert_eq!(states, [requeued(ids[0]), requeued(ids[1]), discarded]);
    expect_whole(&node.ports, 3).await;
}

async fn what_is_asked_twice_is_one_deed(stores: &Stores) {
    let node = stores.owner("n").await;
    let items = node.enqueue(Part(1), 2).await;
    let cancel = |execution: ExecutionId| {
        let cancels = vec![Cancel { tenant: ADMIN, execution, by: None }];
        let deed = Deed::Cancel { act: act(ActKind::ExecutionCancelled), execution };
        Commit { cancels, deed: Some(deed), ..Commit::default() }
    };
    let (first, ended) = (items[0].work.id, items[1].work.id);
    node.finish(&items[1]).await.unwrap();
    for execution in [first, first, ended, given::execution_id(9)] {
        node.commit(cancel(execution)).await.unwrap();
    }
    // Of what has ended, and of what was never there, nothing was to be cancelled.
    assert_eq!(all(&node.ports, ADMIN).await.len(), 1);
}

async fn the_store_refuses_to_change_an_entry(stores: &Stores) {
    let ports = stores.open().await;
    record(&ports, 2).await;
    for (sqlite, postgres) in [
        ("update engine_audit set actor = 'x'", "update engine.audit set actor = 'x'"),
        ("delete from engine_audit where seq = 2", "delete from engine.audit where seq = 2"),
    ] {
        if let Some(outcome) = stores.run_sql(sqlite, postgres).await {
            let refused = outcome.unwrap_err();
            assert!(refused.contains("only appended to"), "{refused}");
        }
    }
    expect_whole(&ports, 2).await;
}

/// What somebody with the database's password could do, and what is to be found.
async fn what_was_changed_in_the_database_is_found_with_its_place(stores: &Stores) {
    let ports = stores.open().await;
    record(&ports, 5).await;
    let head = ports.audit.audit_head(ADMIN).await.unwrap();
    if stores
        .run_sql("drop trigger engine_audit_keeps", "alter table engine.audit disable trigger user")
        .await
        .is_none()
    {
        // Nobody can reach into memory; what can be done to an export is tested beside the verifier.
        return;
    }
    stores
        .run_sql("drop trigger engine_audit_stays", "alter table engine.audit disable trigger user")
        .await
        .unwrap()
        .unwrap();
    let run = async |sqlite: &'static str, postgres: &'static str| {
        stores.run_sql(sqlite, postgres).await.unwrap().unwrap();
    };
    run(
        "update engine_audit set actor = 'somebody' where seq = 3",
        "update engine.audit set actor = 'somebody' where seq = 3",
    )
    .await;
    assert_eq!(broken(&ports, vec![]).await, Some(Broken::Altered { seq: 3 }));
    run(
        "update engine_audit set actor = 'token:bootstrap' where seq = 3",
        "update engine.audit set actor = 'token:bootstrap' where seq = 3",
    )
    .await;
    assert_eq!(broken(&ports, vec![]).await, None);
    // Two change their places.
    run(
        "update engine_audit set seq = -2 where seq = 2",
        "update engine.audit set seq = -2 where seq = 2",
    )
    .await;
    run(
        "update engine_audit set seq = 2 where seq = 4",
        "update engine.audit set seq = 2 where seq = 4",
    )
    .await;
    run(
        "update engine_audit set seq = 4 where seq = -2",
        "update engine.audit set seq = 4 where seq = -2",
    )
    .await;
    assert_eq!(broken(&ports, vec![]).await, Some(Broken::Altered { seq: 2 }));
    run("delete from engine_audit where seq = 2", "delete from engine.audit where seq = 2").await;
    assert_eq!(broken(&ports, vec![]).await, Some(Broken::Missing { expected: 2, found: 3 }));
    run("delete from engine_audit where seq > 1", "delete from engine.audit where seq > 1").await;
    assert_eq!(broken(&ports, vec![]).await, None, "a stream may end anywhere");
    assert_eq!(broken(&ports, vec![head]).await, Some(Broken::Cut { last: 1, noted: 5 }));
}
