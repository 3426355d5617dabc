//! What every `Runs` must do, and every `Store` about runs: what is told is taken once, and what
//! follows is there with it or not at all.

use std::collections::BTreeMap;
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::flow::digest::FlowDigest;
use actions_domain::flow::graph::StepName;
use actions_domain::flow::journal::{CallId, Entry, Place, Scheduled, What};
use actions_domain::flow::record::{
    NewRun, ParentCall, RunEntry, RunRecord, RunState, RunStatus, RunTurn, StepOf, Tell, Waiting,
    WorkflowVersion,
};
use actions_domain::flow::told::{CallEnd, Told};
use actions_domain::id::{RunId, TenantId};
use actions_domain::json::Json;
use actions_domain::ports::runs::RunQuery;
use actions_domain::ports::store::StoreError;
use actions_domain::terms::Terms;
use actions_domain::work::{Commit, Part, Work};
use chrono::{SubsecRound, TimeDelta};

use super::given::{self, OTHER_PART, PART, now};
use super::stores::{Node, Stores};

contract! { Runs:
    a_run_that_is_started_is_told_so_once,
    what_runs_are_told_is_read_in_order_and_by_partition,
    a_run_is_told_to_start_before_anything_else,
    a_turn_takes_what_it_was_told_and_leaves_what_followed,
    a_turn_under_an_old_epoch_leaves_nothing,
    a_turn_without_a_fence_is_refused,
    timers_are_due_on_the_clock_of_the_store,
    the_end_of_a_step_tells_its_run_in_the_same_commit,
    a_batch_that_is_refused_tells_nothing,
    the_execution_of_a_step_leads_to_its_run,
    runs_are_listed_newest_first_and_page_by_page,
    tenants_have_runs_of_their_own,
}

const ADMIN: TenantId = TenantId::ADMIN;
const AHEAD: Duration = Duration::from_secs(1);

fn run_id() -> RunId {
    RunId(given::uuid())
}

fn start(tenant: TenantId, id: RunId) -> NewRun {
    NewRun {
        id,
        tenant,
        part: PART,
        name: "onboarding".to_owned(),
        workflow: WorkflowVersion { action: given::ACTION, defs: 3 },
        parent: None,
        started_at: now().trunc_subsecs(6),
        input: Json::parse(r#"{"amount": 12.50, "word": "\"ä\""}"#).unwrap(),
        context: BTreeMap::from([("key".to_owned(), Json::parse("[1]").unwrap())]),
        depth: 2,
    }
}

async fn begin(node: &Node, start: &NewRun) {
    node.commit(Commit { starts: vec![start.clone()], ..Commit::default() }).await.unwrap();
}

fn signal(name: &str) -> Told {
    let payload = Json::parse(r#"{"n": 1.10}"#).unwrap();
    Told::Signal { name: name.to_owned(), id: Some("one".to_owned()), payload }
}

async fn tell(node: &Node, tenant: TenantId, part: Part, run: RunId, told: Told) {
    let tells = vec![Tell { tenant, part, run, told }];
    node.commit(Commit { tells, ..Commit::default() }).await.unwrap();
}

async fn waiting(node: &Node, parts: &[Part]) -> Vec<Waiting> {
    node.ports.runs.inbox(parts, &[], 100, AHEAD).await.unwrap().waiting
}

fn entries(at: Timestamp) -> Vec<RunEntry> {
    let input = Json::parse("null").unwrap();
    let flow = FlowDigest::try_from("0".repeat(64)).unwrap();
    let step = StepName::parse("check").unwrap();
    let whats = [
        What::RunStarted { flow, input, context: BTreeMap::new(), depth: 0 },
        What::StepScheduled(Scheduled {
            place: Place::step(&step),
            call: CallId(1),
            attempt: 1,
            due_at: Some(at),
            timer: None,
        }),
    ];
    whats.map(|what| RunEntry { entry: Entry { at, what }, execution: None }).into()
}

fn turn(start: &NewRun, taken: &[Waiting]) -> RunTurn {
    let at = now().trunc_subsecs(6);
    RunTurn {
        tenant: start.tenant,
        part: start.part,
        run: start.id,
        taken: taken.iter().map(|row| row.place).collect(),
        timers_cleared: Vec::new(),
        timers_set: Vec::new(),
        first: 0,
        entries: entries(at),
        state: Some(RunState {
            status: RunStatus::Running,
            entry_count: 2,
            updated_at: at,
            ended_at: None,
            error: None,
        }),
    }
}

/// Leaves something of a tenant in each table that is about runs.
pub(super) async fn leave_one(node: &Node, tenant: TenantId, mark: &str) {
    let given = start(tenant, run_id());
    begin(node, &given).await;
    let name = mark.to_owned();
    let payload = Json::from_value(&serde_json::json!(mark));
    tell(node, tenant, PART, given.id, Told::Signal { name, id: None, payload }).await;
    let mut turn = turn(&given, &[]);
    turn.timers_set.push((CallId(1), now()));
    node.commit(Commit { turns: vec![turn], ..node.batch() }).await.unwrap();
}

async fn found(node: &Node, run: RunId) -> Option<RunRecord> {
    node.ports.runs.find_run(ADMIN, run).await.unwrap()
}

async fn a_run_that_is_started_is_told_so_once(stores: &Stores) {
    let node = stores.owner("node").await;
    let mut given = start(ADMIN, run_id());
    given.parent = Some(ParentCall { run: run_id(), part: OTHER_PART, call: CallId(7) });
    begin(&node, &given).await;
    // Another start with its number, also in the same commit, is no other run.
    let other = NewRun { name: "other".to_owned(), ..given.clone() };
    begin(&node, &other).await;
    let twice = NewRun { id: run_id(), ..given.clone() };
    let starts = vec![twice.clone(), twice.clone()];
    node.commit(Commit { starts, ..Commit::default() }).await.unwrap();

    assert_eq!(found(&node, given.id).await, Some(given.record()));
    let told: Vec<(RunId, Told)> =
        waiting(&node, &[PART]).await.into_iter().map(|row| (row.run, row.told)).collect();
    assert_eq!(told, [(given.id, given.told()), (twice.id, twice.told())]);
    let both = [(ADMIN, given.id), (ADMIN, twice.id), (ADMIN, run_id())];
    assert_eq!(node.ports.runs.find_runs(&both).await.unwrap().len(), 2);
    assert_eq!(node.ports.runs.find_runs(&[]).await.unwrap(), []);
}

async fn what_runs_are_told_is_read_in_order_and_by_partition(stores: &Stores) {
    let node = stores.owner("node").await;
    let (here, there) = (run_id(), run_id());
    for name in ["a", "b"] {
        tell(&node, ADMIN, PART, here, signal(name)).await;
        tell(&node, ADMIN, OTHER_PART, there, signal(name)).await;
    }
    let rows = waiting(&node, &[PART]).await;
    let told: Vec<&Told> = rows.iter().map(|row| &row.told).collect();
    assert_eq!(told, [&signal("a"), &signal("b")]);
    assert!(rows.iter().all(|row| (row.run, row.part, row.tenant) == (here, PART, ADMIN)));
    assert!(rows[0].place < rows[1].place);
    let both = waiting(&node, &[PART, OTHER_PART]).await;
    assert_eq!(both.len(), 4);
    assert!(both.is_sorted_by_key(|row| row.place));
    let first = node.ports.runs.inbox(&[PART, OTHER_PART], &[], 3, AHEAD).await.unwrap();
    assert_eq!((&first.waiting[..], first.is_cut), (&both[..3], true));
    // Those that are held hold up nobody else.
    let others = node.ports.runs.inbox(&[PART, OTHER_PART], &[here], 2, AHEAD).await.unwrap();
    assert!(others.waiting.iter().all(|row| row.run == there), "{others:?}");
    assert_eq!(others.waiting.len(), 2);
    assert_eq!(waiting(&node, &[]).await, []);
}

async fn a_run_is_told_to_start_before_anything_else(stores: &Stores) {
    let node = stores.owner("node").await;
    let given = start(ADMIN, run_id());
    let told = Told::Cancel { reason: None, compensate: true };
    let tells = vec![Tell { tenant: ADMIN, part: PART, run: given.id, told: told.clone() }];
    let starts = vec![given.clone()];
    node.commit(Commit { starts, tells, ..Commit::default() }).await.unwrap();
    let rows = waiting(&node, &[PART]).await;
    let rows: Vec<Told> = rows.into_iter().map(|row| row.told).collect();
    assert_eq!(rows, [given.told(), told]);
}

async fn a_turn_takes_what_it_was_told_and_leaves_what_followed(stores: &Stores) {
    let node = stores.owner("node").await;
    let given = start(ADMIN, run_id());
    begin(&node, &given).await;
    let rows = waiting(&node, &[PART]).await;
    let turn = turn(&given, &rows);
    let child = NewRun { part: OTHER_PART, ..start(ADMIN, run_id()) };
    let told = Told::Ended { call: CallId(3), end: CallEnd::Cancelled };
    let tells = vec![Tell { tenant: ADMIN, part: OTHER_PART, run: run_id(), told }];
    let (turns, starts) = (vec![turn.clone()], vec![child.clone()]);
    node.commit(Commit { turns, starts, tells, ..node.batch() }).await.unwrap();

    assert_eq!(waiting(&node, &[PART]).await, []);
    assert_eq!(waiting(&node, &[OTHER_PART]).await.len(), 2);
    assert_eq!(found(&node, child.id).await, Some(child.record()));
    let record = found(&node, given.id).await.unwrap();
    assert_eq!(Some(record.state), turn.state);
    let journal = node.ports.runs.journal(ADMIN, given.id, 0, 100).await.unwrap();
    let written: Vec<Entry> = turn.entries.into_iter().map(|entry| entry.entry).collect();
    assert_eq!(journal, written);
    assert_eq!(node.ports.runs.journal(ADMIN, given.id, 1, 1).await.unwrap(), written[1..]);
    assert_eq!(node.ports.runs.journal(ADMIN, given.id, 2, 1).await.unwrap(), []);
}

async fn a_turn_under_an_old_epoch_leaves_nothing(stores: &Stores) {
    let node = stores.owner("node").await;
    let given = start(ADMIN, run_id());
    begin(&node, &given).await;
    let rows = waiting(&node, &[PART]).await;
    let next = stores.take_over("next", &node).await;

    let late = Commit { turns: vec![turn(&given, &rows)], ..node.batch() };
    let late = node.commit(late).await;
    assert!(matches!(late, Err(StoreError::Fenced { .. })), "{late:?}");
    assert_eq!(waiting(&next, &[PART]).await, rows);
    assert_eq!(found(&next, given.id).await, Some(given.record()));
    next.commit(Commit { turns: vec![turn(&given, &rows)], ..next.batch() }).await.unwrap();
    assert_eq!(waiting(&next, &[PART]).await, []);
}

async fn a_turn_without_a_fence_is_refused(stores: &Stores) {
    let node = stores.owner("node").await;
    let given = start(ADMIN, run_id());
    let turns = vec![turn(&given, &[])];
    let refused = node.commit(Commit { turns, node: Some(node.id), ..Commit::default() }).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
}

async fn timers_are_due_on_the_clock_of_the_store(stores: &Stores) {
    let node = stores.owner("node").await;
    let given = start(ADMIN, run_id());
    begin(&node, &given).await;
    let clock = node.ports.store.now().await.unwrap().trunc_subsecs(6);
    let at = |seconds| clock + TimeDelta::seconds(seconds);
    let mut first = turn(&given, &[]);
    first.timers_set = vec![(CallId(2), at(60)), (CallId(3), at(-5)), (CallId(4), at(-9))];
    node.commit(Commit { turns: vec![first], ..node.batch() }).await.unwrap();

    let inbox = node.ports.runs.inbox(&[PART], &[], 100, AHEAD).await.unwrap();
    let due: Vec<(CallId, Timestamp)> =
        inbox.timers.iter().map(|timer| (timer.call, timer.due_at)).collect();
    assert_eq!(due, [(CallId(4), at(-9)), (CallId(3), at(-5))]);
    assert!(inbox.timers.iter().all(|timer| (timer.run, timer.tenant) == (given.id, ADMIN)));
    assert!((inbox.now - clock).num_seconds() < 30, "{}", inbox.now);
    let ahead = Duration::from_secs(300);
    let more = node.ports.runs.inbox(&[PART], &[], 100, ahead).await.unwrap().timers;
    assert_eq!(more.len(), 3);
    assert_eq!(node.ports.runs.inbox(&[OTHER_PART], &[], 100, ahead).await.unwrap().timers, []);

    let mut next = turn(&given, &[]);
    (next.first, next.timers_cleared) = (2, vec![CallId(4), CallId(2), CallId(99)]);
    node.commit(Commit { turns: vec![next], ..node.batch() }).await.unwrap();
    let held = node.ports.runs.inbox(&[PART], &[given.id], 100, ahead).await.unwrap().timers;
    assert_eq!(held, []);
    let left = node.ports.runs.inbox(&[PART], &[], 100, ahead).await.unwrap().timers;
    assert_eq!(left.iter().map(|timer| timer.call).collect::<Vec<_>>(), [CallId(3)]);
}

fn step_of(run: RunId) -> StepOf {
    StepOf {
        run,
        part: PART,
        call: Some(CallId(1)),
        workflow: WorkflowVersion { action: given::ACTION, defs: 3 },
        step: Some(StepName::parse("check").unwrap()),
        undoes: false,
        once: true,
    }
}

async fn the_end_of_a_step_tells_its_run_in_the_same_commit(stores: &Stores) {
    let node = stores.owner("node").await;
    let run = run_id();
    let terms = Terms { step: Some(step_of(run)), ..Terms::default() };
    let work = Work { terms: terms.unless_empty(), ..given::work(None) };
    // It is submitted with the turn that made it, under no key of its own.
    let mut ingest = given::job(PART, work);
    ingest.dedupe = None;
    let item = node.enqueue_these(PART, vec![ingest]).await.remove(0);
    let item = node.log(PART).await.into_iter().find(|one| one.work.id == item.work.id).unwrap();
    assert_eq!(item.work.step(), Some(&step_of(run)));

    let told = Told::Ended { call: CallId(1), end: CallEnd::of_execution(&node.end(&item)) };
    let tells = vec![Tell { tenant: ADMIN, part: PART, run, told: told.clone() }];
    let finishes = vec![node.end(&item)];
    node.commit(Commit { tells, finishes, ..node.batch() }).await.unwrap();
    assert_eq!(node.log(PART).await, []);
    assert_eq!(waiting(&node, &[PART]).await.remove(0).told, told);
}

async fn a_batch_that_is_refused_tells_nothing(stores: &Stores) {
    let node = stores.owner("node").await;
    let nobody = TenantId(99);
    let submissions =
        vec![actions_domain::work::Submission::new(nobody, None, vec![given::ingest(PART)])];
    let tells = vec![Tell { tenant: ADMIN, part: PART, run: run_id(), told: signal("a") }];
    let refused = node.commit(Commit { submissions, tells, ..Commit::default() }).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(waiting(&node, &[PART]).await, []);
    // Whoever is told of a tenant that is not there leaves nothing.
    tell(&node, nobody, PART, run_id(), signal("a")).await;
    begin(&node, &start(nobody, run_id())).await;
    assert_eq!(waiting(&node, &[PART]).await, []);
}

async fn the_execution_of_a_step_leads_to_its_run(stores: &Stores) {
    let node = stores.owner("node").await;
    let given = start(ADMIN, run_id());
    begin(&node, &given).await;
    let execution = given::execution_id(0);
    let mut turn = turn(&given, &[]);
    turn.entries[1].execution = Some(execution);
    node.commit(Commit { turns: vec![turn], ..node.batch() }).await.unwrap();
    let runs = &node.ports.runs;
    assert_eq!(runs.run_of(ADMIN, execution).await.unwrap(), Some((given.id, 1)));
    assert_eq!(runs.run_of(ADMIN, given::execution_id(1)).await.unwrap(), None);
    assert_eq!(runs.run_of(TenantId(2), execution).await.unwrap(), None);
}

async fn runs_are_listed_newest_first_and_page_by_page(stores: &Stores) {
    let node = stores.owner("node").await;
    let base = now().trunc_subsecs(6);
    let mut all = Vec::new();
    for number in 0..5 {
        let name = if number % 2 == 0 { "even" } else { "odd" };
        // Two of them begin at one moment.
        let started_at = base + TimeDelta::seconds(number / 2);
        let one = NewRun { name: name.to_owned(), started_at, ..start(ADMIN, run_id()) };
        begin(&node, &one).await;
        all.push((started_at, one.id));
    }
    all.sort_by_key(|place| std::cmp::Reverse(*place));
    let query = RunQuery { tenant: ADMIN, name: None, status: None, before: None, limit: 2 };
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = node.ports.runs.list_runs(&RunQuery { before, ..query.clone() }).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        seen.extend(page.iter().map(|run| (run.started_at, run.id)));
    }
    assert_eq!(seen, all);
    let count = async |name: Option<&str>, status| {
        let name = name.map(str::to_owned);
        let query = RunQuery { name, status, limit: 100, ..query.clone() };
        node.ports.runs.list_runs(&query).await.unwrap().len()
    };
    assert_eq!(count(Some("even"), None).await, 3);
    assert_eq!(count(Some("odd"), Some(RunStatus::Pending)).await, 2);
    assert_eq!(count(None, Some(RunStatus::Failed)).await, 0);
}

async fn tenants_have_runs_of_their_own(stores: &Stores) {
    let node = stores.owner("node").await;
    let slug = "acme".parse().unwrap();
    let acme = node.ports.definitions.create_tenant(given::uuid(), &slug, "Acme", None).await;
    let acme = acme.unwrap().id;
    let given = start(acme, run_id());
    begin(&node, &given).await;
    let turns = vec![turn(&given, &[])];
    node.commit(Commit { turns, ..node.batch() }).await.unwrap();
    let runs = &node.ports.runs;
    assert_eq!(found(&node, given.id).await, None);
    assert!(runs.find_run(acme, given.id).await.unwrap().is_some());
    assert_eq!(runs.journal(ADMIN, given.id, 0, 10).await.unwrap(), []);
    assert_eq!(runs.journal(acme, given.id, 0, 10).await.unwrap().len(), 2);
    let query = RunQuery { tenant: ADMIN, name: None, status: None, before: None, limit: 9 };
    assert_eq!(runs.list_runs(&query).await.unwrap(), []);
}
