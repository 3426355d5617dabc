//! What every `Deletions` must do: a tenant that is gone at once, nothing of it in any table
//! afterwards, nothing of another tenant touched, and a certificate that says so.

use std::collections::BTreeSet;
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::action::Action;
use actions_domain::api_key::{ApiKey, ApiKeyName, StoredToken, TOKEN_RANDOM_BYTES, Token};
use actions_domain::audit::{Act, ActKind, Head};
use actions_domain::authorization::{AuthorizationContext, Role};
use actions_domain::bulk::{Bulk, BulkSpec, Chosen, Operation};
use actions_domain::event::Event;
use actions_domain::execution::report::{Report, ReportOf};
use actions_domain::gathering::Gathering;
use actions_domain::id::{ApiKeyId, BulkId, SecretId, SubscriptionId, TenantId};
use actions_domain::json::Json;
use actions_domain::ports::accounts::AccountsError;
use actions_domain::ports::definitions::{DefinitionsError, Expected};
use actions_domain::ports::deletions::{BeginDeletionError, Erased};
use actions_domain::ports::history::QueueMetric;
use actions_domain::ports::pull_queue::Task;
use actions_domain::ports::secrets::NextVersion;
use actions_domain::ports::store::StoreError;
use actions_domain::secret::{MasterKeyId, Sealed, SecretName, SecretPlace};
use actions_domain::tenant::deletion::{DeletionRequest, Rows, TenantDeletion};
use actions_domain::tenant::{ControlChange, Pause, Tenant, TenantSlug};
use actions_domain::terms::{Claim, Conflict, Terms};
use actions_domain::throttle::{Draw, Rate, Scope, ShareAsk};
use actions_domain::usage::{Day, DayUsage, Usage};
use actions_domain::work::{
    Cancel, Commit, Ingest, IntakeRefusal, Item, Part, Seq, Submission, Work,
};

use super::accounts::{log_in, next_session};
use super::given::{self, PART};
use super::stores::{Node, Ports, Stores};
use crate::support::process::pause;

contract! { Deletions:
    nothing_is_left_of_a_tenant_and_nothing_of_another_is_touched,
    a_tenant_is_gone_at_once,
    only_a_suspended_tenant_is_deleted,
    a_deletion_goes_on_where_it_was_left,
    what_was_running_is_left_out_when_it_ends,
    what_comes_late_keeps_the_certificate_away,
    numbers_of_a_log_are_not_given_twice,
    a_slug_is_never_given_again,
    nodes_are_told_of_the_keys_and_sessions_that_went,
}

/// What each of a tenant's texts holds.
const MARK: &str = "canary-of-";

fn slug(raw: &str) -> TenantSlug {
    TenantSlug::parse(raw).unwrap()
}

fn now() -> Timestamp {
    given::now()
}

fn act_of(tenant: TenantId, kind: ActKind, subject: &str) -> Act {
    let caller = AuthorizationContext::of_bootstrap_token("request-1");
    Act::new(&caller, tenant, now(), kind, subject)
}

async fn create(ports: &Ports, name: &str) -> Tenant {
    ports.definitions.create_tenant(given::uuid(), &slug(name), name, None).await.unwrap()
}

async fn suspend(ports: &Ports, tenant: TenantId) {
    let pause = Pause { at: now(), by: "ops".to_owned(), reason: None };
    ports.definitions.change_controls(tenant, &ControlChange::Suspend(pause), None).await.unwrap();
}

fn request() -> DeletionRequest {
    DeletionRequest { at: now(), by: "key:root".to_owned(), reason: Some("left us".to_owned()) }
}

async fn begin(ports: &Ports, name: &str) -> TenantDeletion {
    let act = act_of(TenantId::ADMIN, ActKind::TenantDeletionBegun, name);
    ports.deletions.begin_deletion(&slug(name), &request(), Some(&act)).await.unwrap()
}

/// Removes all that is there, and answers how many pieces that took.
async fn erase(ports: &Ports, tenant: TenantId) -> usize {
    let mut pieces = 0;
    loop {
        match ports.deletions.erase(tenant).await.unwrap() {
            Erased::Waits => pause(Duration::from_millis(20)).await,
            Erased::Rows(_) => pieces += 1,
            Erased::Nothing => return pieces,
        }
    }
}

async fn finish(ports: &Ports, tenant: TenantId) -> Option<TenantDeletion> {
    let act = act_of(TenantId::ADMIN, ActKind::TenantDeleted, "it");
    ports.deletions.finish_deletion(tenant, now(), &act).await.unwrap()
}

async fn delete(ports: &Ports, name: &str) -> TenantDeletion {
    let tenant = begin(ports, name).await.tenant;
    erase(ports, tenant).await;
    finish(ports, tenant).await.expect("nothing is left")
}

fn submission(tenant: TenantId, ingests: Vec<Ingest>) -> Submission {
    Submission::new(tenant, None, ingests)
}

/// A work of an event of this tenant, with its mark in it.
fn event_of(tenant: &Tenant, action: &Action, terms: Terms) -> Ingest {
    let data = format!(r#"{{"mark": "{MARK}{}"}}"#, tenant.slug);
    let data = Json::parse(&data).unwrap();
    let event = Event { tenant: tenant.id, data, ..given::event() };
    let work = Work { action: action.id, terms: terms.unless_empty(), ..given::work(Some(&event)) };
    let dedupe = Some(given::dedupe(&event.id.to_string(), event.id.0));
    Ingest { dedupe, ..given::ingest_of(event, vec![(PART, work)]) }
}

fn claim(word: &str) -> Terms {
    let claim = Claim {
        key: given::hash(word),
        until_finished: true,
        period: None,
        on_conflict: Conflict::Existing,
        waits: false,
        max_wait: None,
    };
    Terms { claim: Some(claim), ..Terms::default() }
}

fn gathering(word: &str) -> Terms {
    let gathering = Gathering { key: Some(given::hash(word)), size_max: 9 };
    Terms { gathering: Some(gathering), ..Terms::default() }
}

async fn accept(node: &Node, tenant: TenantId, ingest: Ingest) -> Item {
    let work = ingest.works[0].1.clone();
    let submissions = vec![submission(tenant, vec![ingest])];
    let receipt = node.commit(Commit { submissions, ..Commit::default() }).await.unwrap();
    let first = receipt.first.iter().find(|(part, _)| *part == PART);
    given::log_item(PART, first.map_or(0, |(_, seq)| seq.0), work)
}

/// Puts something of a tenant into every table.
async fn fill(stores: &Stores, node: &Node, tenant: &Tenant) {
    let ports = &node.ports;
    let (id, mark) = (tenant.id, format!("{MARK}{}", tenant.slug));
    let save = async |description: &str| {
        let mut spec = given::action_spec("ship");
        spec.description = Some(format!("{mark} {description}"));
        let definitions = &ports.definitions;
        definitions.save_action(id, given::uuid(), &spec, Expected::Anything, None).await.unwrap()
    };
    save("first").await;
    let action = save("second").await;
    let subscription = SubscriptionId(given::uuid());
    let spec = given::subscription_spec("orders.*");
    let definitions = &ports.definitions;
    let saved =
        definitions.save_subscription(id, subscription, action.id, &spec, Expected::Absent, None);
    saved.await.unwrap();
    let schedule = super::schedules::spec("nightly");
    ports.schedules.save_schedule(id, &schedule, Expected::Absent, now(), None).await.unwrap();
    let place = SecretPlace {
        tenant: id,
        id: SecretId(given::uuid()),
        name: SecretName::parse("TOKEN").unwrap(),
        number: 1,
    };
    let sealed = Sealed {
        key: MasterKeyId::parse("old").unwrap(),
        wrapped: mark.clone().into_bytes(),
        text: mark.clone().into_bytes(),
    };
    let put = NextVersion { place, sealed, at: now(), by: mark.clone(), previous_ends_at: now() };
    ports.secrets.put_secret(&put, None).await.unwrap();
    give_key(ports, id).await;
    log_in(ports, id, "ada").await;

    work_on(stores, node, tenant, &action).await;
    super::runs::leave_one(node, id, &mark).await;

    let chosen = Chosen::Where(mark.clone());
    let spec =
        BulkSpec { operation: Operation::Discard, chosen, canary: None, rate: None, reason: None };
    let bulk = BulkId::mint(now(), *given::uuid().as_bytes().first_chunk().unwrap());
    let bulk = Bulk::new(bulk, id, spec, mark.clone(), (2, false), now());
    let targets = [given::execution_id(0), given::execution_id(1)];
    ports.bulks.create_bulk(&bulk, &targets, None).await.unwrap();
    let metric = QueueMetric {
        tenant: id,
        queue_name: "normal".to_owned(),
        sampled_at: now(),
        pending: 1,
        processing: 2,
        completed: 3,
        failed: 4,
        avg_processing_time_ms: 5.25,
        throughput_per_minute: 6.5,
        error_rate_percentage: 7.75,
        active_workers: 8,
    };
    ports.history.record_queue_metrics(&[metric]).await.unwrap();
    let usage = Usage { events: 1, ..Usage::default() };
    let day = DayUsage { tenant: id, day: Day(20_000), usage };
    ports.usages.add_usage(&[day]).await.unwrap();
    ports.usages.count_waiting(&[id]).await.unwrap();
    for scope in [Scope::Tenant(id), Scope::Action(action.id)] {
        let ask = ShareAsk { scope, max: 9, keep: 0, want: 1, hold: 0 };
        ports.permits.exchange(node.id, &[ask]).await.unwrap();
    }
    let rate = Rate { per_minute: Some(600), per_hour: None };
    let draw = Draw { scope: Scope::Subscription(id, subscription), rate, want: 1 };
    ports.permits.draw(&[draw]).await.unwrap();
    ports.audit.record_act(&act_of(id, ActKind::EventReplayed, &mark)).await.unwrap();
}

async fn give_key(ports: &Ports, tenant: TenantId) -> (ApiKey, Token) {
    let mut random = [0; TOKEN_RANDOM_BYTES];
    random[..16].copy_from_slice(given::uuid().as_bytes());
    random[16..32].copy_from_slice(given::uuid().as_bytes());
    // The lookup is of the first bytes, and ids that are made at once begin alike.
    random.rotate_left(8);
    let token = Token::mint(&random);
    let key = ApiKey {
        id: ApiKeyId(given::uuid()),
        tenant,
        name: ApiKeyName::parse("deployer").unwrap(),
        role: Role::Developer,
        created_by: "key:root".to_owned(),
        created_at: now(),
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
        lookup: token.lookup(),
        others_end_at: None,
    };
    let stored = StoredToken { lookup: token.lookup(), digest: token.digest(), ends_at: None };
    ports.api_keys.create_api_key(&key, &stored, None).await.unwrap();
    (key, token)
}

/// Executions of every kind, and what waits to become some.
async fn work_on(stores: &Stores, node: &Node, tenant: &Tenant, action: &Action) {
    let ports = &node.ports;
    let id = tenant.id;
    let none = || event_of(tenant, action, Terms::default());
    let done = accept(node, id, none()).await;
    node.finish(&done).await.unwrap();
    let dead = accept(node, id, none()).await;
    node.bury(&dead, "print").await;
    let later = accept(node, id, none()).await;
    node.retry(given::retry(&later, node.id, Duration::from_secs(3_600))).await.unwrap();
    let running = accept(node, id, none()).await;
    let report = Report {
        attempt: 1,
        told_at: now(),
        progress: Some(0.25),
        note: Some(format!("{MARK}{}", tenant.slug)),
        checkpoint: None,
    };
    let told = ReportOf { execution: running.work.id, tenant: id, part: PART, report };
    let cancel = Cancel { tenant: id, execution: running.work.id, by: None };
    let (marks, reports, cancels) = (vec![running], vec![told], vec![cancel]);
    node.commit(Commit { marks, reports, cancels, ..node.batch() }).await.unwrap();
    accept(node, id, event_of(tenant, action, claim("one"))).await;
    for _ in 0..2 {
        let mut ingest = event_of(tenant, action, gathering("all"));
        for (_, work) in &mut ingest.works {
            std::sync::Arc::make_mut(work).delay = Some(Duration::from_secs(60));
        }
        accept(node, id, ingest).await;
    }
    for _ in 0..2 {
        stores.emit_of(&tenant.slug, id, "orders.left", true).await;
    }
    let rows = ports.store.intake(100).await.unwrap();
    let row = rows.iter().find(|row| row.tenant == id).expect("it was left");
    let refusals = vec![IntakeRefusal { row: row.id, reason: "bad".to_owned() }];
    node.commit(Commit { refusals, ..node.batch() }).await.unwrap();
    if let Some(queue) = stores.pull_queue_of_store().await {
        let task = Task {
            execution: given::execution_id(0),
            attempt: 1,
            tenant: id,
            queue: "images".to_owned(),
            body: Json::parse("{}").unwrap(),
        };
        queue.put(&task, Duration::from_secs(3_600)).await.unwrap();
    }
}

async fn nothing_is_left_of_a_tenant_and_nothing_of_another_is_touched(stores: &Stores) {
    let node = stores.owner("node").await;
    let ports = &node.ports;
    let (acme, other) = (create(ports, "acme").await, create(ports, "other").await);
    fill(stores, &node, &acme).await;
    fill(stores, &node, &other).await;
    suspend(ports, acme.id).await;
    let head = ports.audit.audit_head(acme.id).await.unwrap();

    let gone = delete(ports, "acme").await;
    assert!(gone.is_intact());
    assert_eq!((gone.audit_length, gone.audit_hash), (head.seq, head.hash));
    assert_eq!((gone.requested_by.as_str(), gone.reason.as_deref()), ("key:root", Some("left us")));
    let certificate = gone.certificate.as_ref().unwrap();
    let counted: BTreeSet<&String> = certificate.left.keys().collect();
    // Whoever adds a table with tenants fills it here, too.
    let unfilled: Vec<_> = (counted.iter())
        .filter(|table| !gone.removed.contains_key(**table))
        .filter(|table| !["tenant", "controls"].contains(&table.as_str()))
        .collect();
    assert!(unfilled.is_empty(), "nothing was in {unfilled:?}: {:?}", gone.removed);
    assert!(certificate.left.values().all(|rows| *rows == 0));
    assert_eq!(ports.deletions.find_deletion(&slug("acme")).await.unwrap(), Some(gone.clone()));
    assert_eq!(ports.deletions.open_deletions().await.unwrap(), []);

    // As much was removed of the other one, so nothing of it had gone with the first.
    suspend(ports, other.id).await;
    let both = delete(ports, "other").await;
    let controls = |rows: &Rows| {
        let mut rows = rows.clone();
        rows.remove("controls");
        rows
    };
    assert_eq!(controls(&both.removed), controls(&gone.removed));
    let platform = ports.audit.audit_after(TenantId::ADMIN, 0, 100).await.unwrap();
    let acts: Vec<&str> = platform.iter().map(|entry| entry.act.as_str()).collect();
    assert_eq!(acts, ["tenant.deletion_begun", "tenant.deleted"].repeat(2));
    let after = platform[1].after.as_ref().unwrap().to_value();
    assert_eq!(after["digest"], certificate.digest.to_string());
    assert_eq!(after["audit"], head.to_string());
}

async fn a_tenant_is_gone_at_once(stores: &Stores) {
    let node = stores.owner("node").await;
    let ports = &node.ports;
    let acme = create(ports, "acme").await;
    let spec = given::action_spec("ship");
    let saved =
        ports.definitions.save_action(acme.id, given::uuid(), &spec, Expected::Absent, None);
    let action = saved.await.unwrap();
    let (_, token) = give_key(ports, acme.id).await;
    let (ada, session) = log_in(ports, acme.id, "ada").await;
    suspend(ports, acme.id).await;
    begin(ports, "acme").await;

    let tenants = ports.definitions.tenants().await.unwrap();
    assert!(tenants.iter().all(|tenant| tenant.id != acme.id));
    let found = ports.api_keys.find_token(&token.lookup()).await.unwrap();
    assert!(found.is_none_or(|(key, _)| key.revoked_at.is_some()));
    let late = ports.accounts.create_session(&ada, &next_session(&ada), None).await;
    assert!(matches!(late, Err(AccountsError::NotFound { .. })), "{late:?}");
    let found = ports.accounts.find_session(&session.session.lookup).await.unwrap();
    assert!(found.is_none_or(|(_, stored)| stored.session.ended_at.is_some()));
    let ingest = event_of(&acme, &action, Terms::default());
    let batch =
        Commit { submissions: vec![submission(acme.id, vec![ingest])], ..Commit::default() };
    let refused = node.commit(batch).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    let (uuid, mut spec) = (given::uuid(), spec);
    spec.description = Some("late".to_owned());
    let late = ports.definitions.save_action(acme.id, uuid, &spec, Expected::Anything, None).await;
    assert!(matches!(late, Err(DefinitionsError::NotFound { .. })), "{late:?}");
    let again = begin(ports, "acme").await;
    assert_eq!((again.tenant, again.certificate), (acme.id, None), "it is under way");
}

async fn only_a_suspended_tenant_is_deleted(stores: &Stores) {
    let ports = stores.open().await;
    create(&ports, "acme").await;
    let refused = ports.deletions.begin_deletion(&slug("acme"), &request(), None).await;
    assert!(matches!(refused, Err(BeginDeletionError::NotSuspended)), "{refused:?}");
    let missing = ports.deletions.begin_deletion(&slug("nobody"), &request(), None).await;
    assert!(matches!(missing, Err(BeginDeletionError::NotFound)), "{missing:?}");
    assert_eq!(ports.deletions.find_deletion(&slug("acme")).await.unwrap(), None);
    assert_eq!(ports.deletions.erase(TenantId(999)).await.unwrap(), Erased::Nothing);
    assert_eq!(finish(&ports, TenantId(999)).await, None);
}

async fn a_deletion_goes_on_where_it_was_left(stores: &Stores) {
    let node = stores.owner("node").await;
    let acme = create(&node.ports, "acme").await;
    fill(stores, &node, &acme).await;
    suspend(&node.ports, acme.id).await;
    let whole: u64 = {
        let tenant = begin(&node.ports, "acme").await.tenant;
        while node.ports.deletions.erase(tenant).await.unwrap() == Erased::Waits {
            pause(Duration::from_millis(20)).await;
        }
        let open = node.ports.deletions.open_deletions().await.unwrap();
        assert_eq!(open.len(), 1);
        assert!(!open[0].is_finished());
        open[0].removed.values().sum()
    };
    drop(node);

    // Another process, of which the store alone knows how far it was.
    let ports = stores.open().await;
    let open = ports.deletions.open_deletions().await.unwrap().remove(0);
    assert_eq!(open.removed.values().sum::<u64>(), whole);
    erase(&ports, open.tenant).await;
    let finished = finish(&ports, open.tenant).await.unwrap();
    assert!(finished.is_intact() && finished.removed.values().sum::<u64>() >= whole);
    assert_eq!(finish(&ports, open.tenant).await.unwrap(), finished, "there is one certificate");
}

async fn what_was_running_is_left_out_when_it_ends(stores: &Stores) {
    let node = stores.owner("node").await;
    let ports = &node.ports;
    let (acme, other) = (create(ports, "acme").await, create(ports, "other").await);
    let mut items = Vec::new();
    for tenant in [&acme, &acme, &acme, &other] {
        let spec = given::action_spec("ship");
        let uuid = given::uuid();
        let saved = ports.definitions.save_action(tenant.id, uuid, &spec, Expected::Anything, None);
        let ingest = event_of(tenant, &saved.await.unwrap(), Terms::default());
        items.push(accept(&node, tenant.id, ingest).await);
    }
    suspend(ports, acme.id).await;
    begin(ports, "acme").await;
    erase(ports, acme.id).await;

    // A node that has not heard of it commits what it has, of another tenant too.
    let report =
        Report { attempt: 1, told_at: now(), progress: None, note: None, checkpoint: None };
    let told = ReportOf { execution: items[1].work.id, tenant: acme.id, part: PART, report };
    let finishes = vec![given::death(node.end(&items[0]), "print"), node.end(&items[3])];
    let retries = vec![given::retry(&items[1], node.id, Duration::ZERO)];
    let marks = vec![items[2].clone()];
    let batch = Commit { finishes, retries, marks, reports: vec![told], ..node.batch() };
    node.commit(batch).await.unwrap();
    assert_eq!(ports.deletions.erase(acme.id).await.unwrap(), Erased::Nothing);
    assert!(finish(ports, acme.id).await.is_some());
    let kept = ports.history.find_execution(other.id, items[3].work.id).await.unwrap();
    assert!(kept.is_some(), "the other one's end is written");
}

async fn what_comes_late_keeps_the_certificate_away(stores: &Stores) {
    let ports = stores.open().await;
    let acme = create(&ports, "acme").await;
    suspend(&ports, acme.id).await;
    begin(&ports, "acme").await;
    erase(&ports, acme.id).await;
    // As a user's own transaction does that had found the tenant before.
    let late = act_of(acme.id, ActKind::EventReplayed, "late");
    ports.audit.record_act(&late).await.unwrap();
    assert_eq!(finish(&ports, acme.id).await, None);
    assert!(erase(&ports, acme.id).await > 0);
    let finished = finish(&ports, acme.id).await.unwrap();
    // After the end nothing changes what the certificate says.
    ports.audit.record_act(&late).await.unwrap();
    erase(&ports, acme.id).await;
    assert_eq!(ports.audit.audit_head(acme.id).await.unwrap(), Head::default());
    assert_eq!(ports.deletions.find_deletion(&slug("acme")).await.unwrap(), Some(finished));
}

async fn numbers_of_a_log_are_not_given_twice(stores: &Stores) {
    let node = stores.owner("node").await;
    let ports = &node.ports;
    let mine = node.enqueue(PART, 2).await;
    let acme = create(ports, "acme").await;
    let spec = given::action_spec("ship");
    let saved =
        ports.definitions.save_action(acme.id, given::uuid(), &spec, Expected::Absent, None);
    let action = saved.await.unwrap();
    // The newest entries are the tenant's.
    for _ in 0..3 {
        accept(&node, acme.id, event_of(&acme, &action, Terms::default())).await;
    }
    let tail = async |part: Part| {
        let tails = ports.store.tails().await.unwrap();
        tails.into_iter().find(|(known, _)| *known == part).unwrap().1
    };
    let before = tail(PART).await;
    assert_eq!(before, Seq(6));
    suspend(ports, acme.id).await;
    delete(ports, "acme").await;
    assert_eq!(tail(PART).await, before, "the numbers go on");
    let next = node.enqueue(PART, 1).await.remove(0);
    assert_eq!(next.ord, before);
    let ids = |items: &[Item]| items.iter().map(|item| item.work.id).collect::<Vec<_>>();
    let all: Vec<Item> = mine.into_iter().chain([next]).collect();
    assert_eq!(ids(&node.log(PART).await), ids(&all));
}

async fn a_slug_is_never_given_again(stores: &Stores) {
    let ports = stores.open().await;
    let acme = create(&ports, "acme").await;
    suspend(&ports, acme.id).await;
    begin(&ports, "acme").await;
    let create_again =
        || async { ports.definitions.create_tenant(given::uuid(), &slug("acme"), "x", None).await };
    let refused = create_again().await;
    assert!(matches!(refused, Err(DefinitionsError::Retired { .. })), "{refused:?}");
    erase(&ports, acme.id).await;
    finish(&ports, acme.id).await.unwrap();
    let refused = create_again().await;
    assert!(matches!(refused, Err(DefinitionsError::Retired { .. })), "{refused:?}");
    let next = create(&ports, "next").await;
    assert!(next.id > acme.id, "numbers are not given again either");
}

async fn nodes_are_told_of_the_keys_and_sessions_that_went(stores: &Stores) {
    let ports = stores.open().await;
    let acme = create(&ports, "acme").await;
    let (key, _) = give_key(&ports, acme.id).await;
    let (_, session) = log_in(&ports, acme.id, "ada").await;
    let before = ports.api_keys.api_key_changes(None).await.unwrap().version;
    suspend(&ports, acme.id).await;
    delete(&ports, "acme").await;
    // Their rows are gone by now, and a node may ask only now.
    let changes = ports.api_keys.api_key_changes(Some(before)).await.unwrap();
    assert!(changes.version > before);
    assert_eq!((changes.keys, changes.sessions), (vec![key.id], vec![session.session.id]));
}

/// What SQLite has freed is still in its file, unless it was overwritten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sqlite_file_holds_no_byte_of_a_deleted_tenant_after_a_vacuum() {
    let stores = Stores::sqlite();
    let node = stores.owner("node").await;
    let (acme, other) = (create(&node.ports, "acme").await, create(&node.ports, "other").await);
    fill(&stores, &node, &acme).await;
    fill(&stores, &node, &other).await;
    let found = |slug: &str| {
        let mark = format!("{MARK}{slug}");
        let files = stores.sqlite_files();
        files.iter().any(|bytes| bytes.windows(mark.len()).any(|part| part == mark.as_bytes()))
    };
    assert!(found("acme") && found("other"), "the marks are looked for in the right place");
    suspend(&node.ports, acme.id).await;
    delete(&node.ports, "acme").await;
    stores.run_sql("vacuum", "select").await.unwrap().unwrap();
    stores.run_sql("pragma wal_checkpoint(truncate)", "select").await.unwrap().unwrap();
    assert!(!found("acme"));
    assert!(found("other"));
}
