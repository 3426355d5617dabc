//! Executions, wherever they live at the moment.

use std::time::Duration;

use actions_domain::execution::{Execution, LeftOut, Status};
use actions_domain::id::{ActionId, ExecutionId};
use actions_domain::json::Json;
use actions_domain::limits::LISTED_BYTES_MAX;
use actions_domain::ports::history::{DeadLetterQuery, ExecutionQuery};
use actions_domain::work::{Commit, Finish, Item, Key, KeyMode, Part, Work};

use super::super::given::{self, ACTION, OTHER_PART, PART};
use super::super::stores::{Node, Stores};
use super::{ADMIN, create_tenant, executions, find, letters, spread, text_of};

contract! { History:
    a_pending_execution_is_found,
    a_delayed_execution_is_found_with_its_time,
    a_retrying_execution_is_found_with_its_attempts,
    a_finished_execution_is_found_with_all_that_happened,
    an_execution_that_never_started_is_found_when_it_is_finished,
    an_execution_is_found_by_its_own_tenant,
    executions_are_listed_once_wherever_they_live,
    executions_are_listed_by_action_and_status,
    executions_are_listed_page_by_page,
    large_payloads_of_executions_are_left_out_of_lists,
    executions_of_other_tenants_are_not_listed,
    executions_of_an_event_come_oldest_first,
}

async fn a_pending_execution_is_found(stores: &Stores) {
    let node = stores.owner("node").await;
    let work = rich_work();
    let item = node.enqueue_these(PART, vec![given::job(PART, work.clone())]).await.remove(0);

    let found = find(&node, item.work.id).await;

    let expected = Execution {
        id: work.id,
        tenant: ADMIN,
        action: ACTION,
        defs: 5,
        event: None,
        parent: work.parent,
        priority: work.lane,
        key: work.key,
        status: Status::Pending,
        queued_at: work.queued_at,
        due_at: None,
        started_at: None,
        ended_at: None,
        input: work.input,
        output: None,
        error: None,
        attempts: Vec::new(),
        left_out: LeftOut::default(),
    };
    assert_eq!(found, expected);
    assert_eq!(list(&node, executions()).await, [expected]);
}

async fn a_delayed_execution_is_found_with_its_time(stores: &Stores) {
    let node = stores.owner("node").await;
    let delay = Duration::from_secs(100);
    let work = Work { delay: Some(delay), ..rich_work() };
    let before = node.ports.store.now().await.unwrap();
    node.submit(vec![given::job(PART, work.clone())]).await;
    let after = node.ports.store.now().await.unwrap();

    let found = find(&node, work.id).await;

    let due_at = found.due_at.expect("it waits for a time");
    assert!((before + delay..=after + delay).contains(&due_at), "{due_at}");
    assert_eq!((found.status, &found.input), (Status::Pending, &work.input));
    assert_eq!(list(&node, executions()).await, [found]);
}

async fn a_retrying_execution_is_found_with_its_attempts(stores: &Stores) {
    let node = stores.owner("node").await;
    let item = node.enqueue(PART, 1).await.remove(0);
    let later = given::retry(&item, node.id, Duration::from_secs(60));
    node.retry(later.clone()).await.unwrap();

    let found = find(&node, item.work.id).await;

    assert_eq!(found.status, Status::Retrying);
    assert_eq!(found.attempts, later.item.attempts);
    assert_eq!(found.started_at, Some(later.item.attempts[0].started_at));
    assert_eq!((found.ended_at, found.due_at.is_some()), (None, true));
    assert_eq!(list(&node, executions()).await, [found]);
}

async fn a_finished_execution_is_found_with_all_that_happened(stores: &Stores) {
    let node = stores.owner("node").await;
    let item = node.enqueue_these(PART, vec![given::job(PART, rich_work())]).await.remove(0);
    let later = given::retry(&item, node.id, Duration::ZERO);
    node.retry(later.clone()).await.unwrap();
    let finish = Finish { error: Some(given::fault("in the end")), ..node.end(&later.item) };
    node.commit(Commit { finishes: vec![finish.clone()], ..node.batch() }).await.unwrap();

    let found = find(&node, item.work.id).await;

    let work = &item.work;
    let expected = Execution {
        id: work.id,
        tenant: ADMIN,
        action: ACTION,
        defs: 5,
        event: None,
        parent: work.parent,
        priority: work.lane,
        key: work.key.clone(),
        status: Status::Completed,
        queued_at: work.queued_at,
        due_at: None,
        started_at: finish.started_at,
        ended_at: Some(finish.ended_at),
        input: work.input.clone(),
        output: finish.output,
        error: finish.error,
        attempts: finish.item.attempts,
        left_out: LeftOut::default(),
    };
    assert_eq!(found, expected);
    assert_eq!(found.attempts.len(), 2);
    assert_eq!(list(&node, executions()).await, [expected]);
}

async fn an_execution_that_never_started_is_found_when_it_is_finished(stores: &Stores) {
    let node = stores.owner("node").await;
    let item = node.enqueue(PART, 1).await.remove(0);
    let finish = Finish {
        item: item.clone(),
        status: Status::Cancelled,
        started_at: None,
        output: None,
        ..node.end(&item)
    };
    node.commit(Commit { finishes: vec![finish], ..node.batch() }).await.unwrap();

    let found = find(&node, item.work.id).await;

    assert_eq!((found.status, found.started_at), (Status::Cancelled, None));
    assert!(found.ended_at.is_some() && found.attempts.is_empty() && found.output.is_none());
}

async fn an_execution_is_found_by_its_own_tenant(stores: &Stores) {
    let node = stores.owner("node").await;
    let acme = create_tenant(&node, "acme").await;
    let items = node.enqueue(PART, 3).await;
    node.finish(&items[0]).await.unwrap();
    node.retry(given::retry(&items[1], node.id, Duration::ZERO)).await.unwrap();

    for item in &items {
        assert!(node.ports.history.find_execution(ADMIN, item.work.id).await.unwrap().is_some());
        assert_eq!(node.ports.history.find_execution(acme, item.work.id).await.unwrap(), None);
    }
    let unknown = given::execution_id(0);
    assert_eq!(node.ports.history.find_execution(ADMIN, unknown).await.unwrap(), None);
}

async fn executions_are_listed_once_wherever_they_live(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = scattered(&node).await;

    let listed = list(&node, executions()).await;

    let newest_first: Vec<ExecutionId> = items.iter().rev().map(|item| item.work.id).collect();
    assert_eq!(ids(&listed), newest_first);
}

async fn executions_are_listed_by_action_and_status(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = scattered(&node).await;
    let of = |wanted: &[usize]| -> Vec<ExecutionId> {
        wanted.iter().map(|at| items[*at].work.id).collect()
    };
    let with = |action: Option<i32>, statuses: &[Status]| ExecutionQuery {
        action: action.map(ActionId),
        statuses: statuses.to_vec(),
        ..executions()
    };
    let cases = [
        (with(None, &[Status::Pending]), of(&[8, 5, 2])),
        (with(None, &[Status::Retrying]), of(&[7, 4, 1])),
        (with(None, &[Status::Completed]), of(&[6, 3, 0])),
        (with(None, &[Status::Pending, Status::Completed]), of(&[8, 6, 5, 3, 2, 0])),
        (with(None, &[Status::Failed]), of(&[])),
        (with(Some(2), &[]), of(&[7, 5, 3, 1])),
        (with(Some(2), &[Status::Completed]), of(&[3])),
        (with(Some(2), &[Status::Retrying]), of(&[7, 1])),
        (with(Some(2), &[Status::Pending]), of(&[5])),
        (with(Some(404), &[]), of(&[])),
    ];
    for (query, expected) in cases {
        assert_eq!(ids(&list(&node, query.clone()).await), expected, "{query:?}");
        let page = ExecutionQuery { limit: 2, ..query.clone() };
        let shorter: Vec<ExecutionId> = expected.into_iter().take(2).collect();
        assert_eq!(ids(&list(&node, page).await), shorter, "a page of {query:?}");
    }
}

async fn executions_are_listed_page_by_page(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = scattered(&node).await;
    for action in [None, Some(ActionId(2))] {
        let all = ids(&list(&node, ExecutionQuery { action, ..executions() }).await);
        let mut listed = Vec::new();
        let mut before = None;
        loop {
            let query = ExecutionQuery { action, before, limit: 2, ..executions() };
            let page = ids(&list(&node, query).await);
            let Some(last) = page.last() else { break };
            before = Some(*last);
            listed.extend(page);
        }
        assert_eq!(listed, all);
        assert_eq!(listed.len(), if action.is_none() { items.len() } else { 4 });
    }
}

async fn large_payloads_of_executions_are_left_out_of_lists(stores: &Stores) {
    let node = stores.owner("node").await;
    let (small, large) = (text_of(LISTED_BYTES_MAX), text_of(LISTED_BYTES_MAX + 1));
    let jobs = [&small, &large, &large, &large, &large].into_iter().zip(0..).map(|(input, at)| {
        let (id, input) = (given::execution_id(at * 10), Some(input.clone()));
        given::job(PART, Work { id, input, ..rich_work() })
    });
    let items = node.enqueue_these(PART, jobs.collect()).await;
    // One waits with little, one with much, one waits for a time, one ended, one is dead.
    node.retry(given::retry(&items[2], node.id, Duration::from_secs(60))).await.unwrap();
    let finish = Finish { output: Some(large.clone()), ..node.end(&items[3]) };
    node.commit(Commit { finishes: vec![finish], ..node.batch() }).await.unwrap();
    node.bury(&items[4], "f").await;

    let mut expected = Vec::new();
    for item in items.iter().rev() {
        let mut whole = find(&node, item.work.id).await;
        assert_eq!((whole.left_out, &whole.input), (LeftOut::default(), &item.work.input));
        for (payload, bytes) in [
            (&mut whole.input, &mut whole.left_out.input),
            (&mut whole.output, &mut whole.left_out.output),
        ] {
            if payload.as_ref() == Some(&large) {
                (*payload, *bytes) = (None, Some(LISTED_BYTES_MAX + 1));
            }
        }
        expected.push(whole);
    }

    assert_eq!(expected[1].left_out.output, Some(LISTED_BYTES_MAX + 1));
    assert_eq!(list(&node, executions()).await, expected);
    let of_action = ExecutionQuery { action: Some(ACTION), ..executions() };
    assert_eq!(list(&node, of_action).await, expected);
    for fingerprint in [None, Some("f".to_owned())] {
        let query = DeadLetterQuery { fingerprint, ..letters() };
        let dead = node.ports.history.list_dead_letters(query).await.unwrap();
        assert_eq!(dead.len(), 1);
        assert_eq!(dead[0].execution, expected[0]);
    }
    let whole = node.ports.history.find_dead_letter(ADMIN, items[4].work.id).await.unwrap();
    assert_eq!(whole.unwrap().execution.input, Some(large));
}

async fn executions_of_other_tenants_are_not_listed(stores: &Stores) {
    let node = stores.owner("node").await;
    let acme = create_tenant(&node, "acme").await;
    let items = scattered(&node).await;
    let event = items[0].work.event.unwrap();

    assert_eq!(list(&node, ExecutionQuery { tenant: acme, ..executions() }).await, []);
    let foreign = node.ports.history.executions_of_event(acme, event).await.unwrap();
    assert_eq!(foreign, []);
}

async fn executions_of_an_event_come_oldest_first(stores: &Stores) {
    let node = stores.owner("node").await;
    let event = given::event();
    let works: Vec<(Part, Work)> = (0..5)
        .map(|at| (PART, Work { id: given::execution_id(at), ..given::work(Some(&event)) }))
        .collect();
    let mut ingest = given::ingest_of(event.clone(), works);
    // Each part of them lives elsewhere.
    ingest.works[4].0 = OTHER_PART;
    let delay = Some(Duration::from_secs(60));
    ingest.works[3].1 = std::sync::Arc::new(Work { delay, ..(*ingest.works[3].1).clone() });
    let expected: Vec<ExecutionId> = ingest.works.iter().map(|(_, work)| work.id).collect();
    node.submit(vec![ingest, given::ingest(PART)]).await;
    let log = node.log(PART).await;
    node.finish(&log[0]).await.unwrap();
    node.retry(given::retry(&log[1], node.id, Duration::ZERO)).await.unwrap();

    let found = node.ports.history.executions_of_event(ADMIN, event.id).await.unwrap();

    assert_eq!(ids(&found), expected);
    let statuses: Vec<Status> = found.iter().map(|execution| execution.status).collect();
    let pending = Status::Pending;
    assert_eq!(statuses, [Status::Completed, Status::Retrying, pending, pending, pending]);
    for one in &found {
        assert_eq!(*one, find(&node, one.id).await);
    }
    let unknown = node.ports.history.executions_of_event(ADMIN, given::event_id(0)).await;
    assert_eq!(unknown.unwrap(), []);
}

async fn list(node: &Node, query: ExecutionQuery) -> Vec<Execution> {
    node.ports.history.list_executions(query).await.unwrap()
}

fn ids(executions: &[Execution]) -> Vec<ExecutionId> {
    executions.iter().map(|execution| execution.id).collect()
}

/// A work with all that a work can have.
fn rich_work() -> Work {
    Work {
        defs: 5,
        key: Some(Key::parse("order:9", KeyMode::Mutate).unwrap()),
        parent: Some(given::execution_id(-50)),
        input: Some(Json::parse(r#"{"n": 1.50}"#).unwrap()),
        depth: 2,
        ..given::work(None)
    }
}

/// Nine works: in turns finished, retrying and pending.
async fn scattered(node: &Node) -> Vec<Item> {
    let items = spread(node, 9).await;
    for item in items.iter().step_by(3) {
        node.finish(item).await.unwrap();
    }
    for item in items.iter().skip(1).step_by(3) {
        node.retry(given::retry(item, node.id, Duration::from_secs(60))).await.unwrap();
    }
    items
}
