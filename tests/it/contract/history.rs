//! What every `History` must do: show each thing once, newest first, to its own tenant.

use std::time::Duration;

use actions_domain::event::{Event, EventType};
use actions_domain::execution::{Execution, Fault, LeftOut, Status};
use actions_domain::id::{ActionId, EventId, ExecutionId, TenantId};
use actions_domain::json::Json;
use actions_domain::limits::LISTED_BYTES_MAX;
use actions_domain::ports::history::{
    ActionCounts, DeadLetterQuery, EventQuery, ExecutionQuery, ListedEvent, QueueMetric,
    TenantCounts,
};
use actions_domain::tenant::TenantSlug;
use actions_domain::work::{Commit, Finish, Ingest, Item, Key, KeyMode, Part, Submission, Work};
use chrono::TimeDelta;

use super::given::{self, ACTION, OTHER_PART, PART};
use super::stores::{Node, Stores};

const ADMIN: TenantId = TenantId::ADMIN;

contract! { History:
    an_event_is_found_by_its_own_tenant,
    events_are_listed_newest_first,
    events_are_listed_by_type,
    events_are_listed_page_by_page,
    large_data_of_events_are_left_out_of_lists,
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
    dead_letters_are_listed_newest_first,
    a_dead_letter_is_found_by_its_own_tenant,
    dead_letters_are_grouped_by_cause,
    every_end_is_counted_for_its_action,
    ends_are_counted_per_tenant,
    ends_are_counted_since_an_instant,
    recent_durations_are_those_of_the_newest_executions,
    samples_of_the_queues_are_read_newest_first,
}

async fn an_event_is_found_by_its_own_tenant(stores: &Stores) {
    let node = stores.owner("node").await;
    let acme = create_tenant(&node, "acme").await;
    let event = given::event();
    node.submit(vec![given::ingest_of(event.clone(), vec![])]).await;
    let history = &node.ports.history;

    assert_eq!(history.find_event(ADMIN, event.id).await.unwrap(), Some(event.clone()));
    assert_eq!(history.find_event(acme, event.id).await.unwrap(), None);
    assert_eq!(history.find_event(ADMIN, given::event_id(0)).await.unwrap(), None);
    assert_eq!(list_events(&node, events(acme)).await, []);
}

async fn events_are_listed_newest_first(stores: &Stores) {
    let node = stores.owner("node").await;
    let [old, new, middle] = [(0, "a.b"), (20, "a.c"), (10, "a.d")].map(event_at);
    submit_events(&node, [&old, &new, &middle]).await;

    assert_eq!(list_events(&node, events(ADMIN)).await, [new, middle, old]);
}

async fn events_are_listed_by_type(stores: &Stores) {
    let node = stores.owner("node").await;
    let [first, other, second] = [(0, "a.b"), (10, "a.b.c"), (20, "a.b")].map(event_at);
    submit_events(&node, [&first, &other, &second]).await;

    let event_type = Some("a.b".to_owned());
    let page = EventQuery { event_type: event_type.clone(), limit: 1, ..events(ADMIN) };
    let all = EventQuery { event_type, ..events(ADMIN) };
    let none = EventQuery { event_type: Some("a".to_owned()), ..events(ADMIN) };

    assert_eq!(list_events(&node, page).await, std::slice::from_ref(&second));
    assert_eq!(list_events(&node, all).await, [second, first]);
    assert_eq!(list_events(&node, none).await, []);
}

async fn events_are_listed_page_by_page(stores: &Stores) {
    let node = stores.owner("node").await;
    let all: Vec<Event> = (0..5).map(|at| event_at((at * 10, "a.b"))).collect();
    submit_events(&node, &all).await;

    let mut listed = Vec::new();
    let mut before = None;
    loop {
        let page = list_events(&node, EventQuery { before, limit: 2, ..events(ADMIN) }).await;
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        listed.extend(page);
    }

    listed.reverse();
    assert_eq!(listed, all);
}

async fn large_data_of_events_are_left_out_of_lists(stores: &Stores) {
    let node = stores.owner("node").await;
    let small = Event { data: text_of(LISTED_BYTES_MAX), ..event_at((0, "a.b")) };
    let large = Event { data: text_of(LISTED_BYTES_MAX + 1), ..event_at((10, "a.b")) };
    submit_events(&node, [&small, &large]).await;
    let cut = Event { data: Json::null(), ..large.clone() };
    let expected = [
        ListedEvent { event: cut, data_bytes: LISTED_BYTES_MAX + 1 },
        ListedEvent { event: small, data_bytes: LISTED_BYTES_MAX },
    ];

    let history = &node.ports.history;
    assert_eq!(history.list_events(events(ADMIN)).await.unwrap(), expected);
    let of_type = EventQuery { event_type: Some("a.b".to_owned()), ..events(ADMIN) };
    assert_eq!(history.list_events(of_type).await.unwrap(), expected);
    assert_eq!(history.find_event(ADMIN, large.id).await.unwrap(), Some(large));
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

async fn dead_letters_are_listed_newest_first(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = spread(&node, 4).await;
    for (item, fingerprint) in items.iter().zip(["f", "g", "f", "f"]) {
        node.bury(item, fingerprint).await;
    }
    let of = |wanted: &[usize]| -> Vec<ExecutionId> {
        wanted.iter().map(|at| items[*at].work.id).collect()
    };
    let fingerprint = Some("f".to_owned());
    let cases = [
        (letters(), of(&[3, 2, 1, 0])),
        (DeadLetterQuery { limit: 2, ..letters() }, of(&[3, 2])),
        (DeadLetterQuery { before: Some(items[2].work.id), ..letters() }, of(&[1, 0])),
        (DeadLetterQuery { fingerprint: fingerprint.clone(), ..letters() }, of(&[3, 2, 0])),
        (
            DeadLetterQuery { fingerprint, before: Some(items[3].work.id), limit: 1, ..letters() },
            of(&[2]),
        ),
        (DeadLetterQuery { action: Some(ActionId(2)), ..letters() }, of(&[3, 1])),
    ];
    for (query, expected) in cases {
        let found = node.ports.history.list_dead_letters(query.clone()).await.unwrap();
        let found: Vec<ExecutionId> = found.iter().map(|letter| letter.execution.id).collect();
        assert_eq!(found, expected, "{query:?}");
    }
}

async fn a_dead_letter_is_found_by_its_own_tenant(stores: &Stores) {
    let node = stores.owner("node").await;
    let acme = create_tenant(&node, "acme").await;
    let items = node.enqueue(PART, 2).await;
    node.bury(&items[0], "f").await;
    node.finish(&items[1]).await.unwrap();
    let [dead, alive] = [items[0].work.id, items[1].work.id];
    let history = &node.ports.history;

    let found = history.find_dead_letter(ADMIN, dead).await.unwrap().unwrap();

    assert_eq!(found.fingerprint, "f");
    assert_eq!(found.execution, find(&node, dead).await);
    assert_eq!(found.execution.error, Some(given::fault("answered 503")));
    assert_eq!(Some(found.died_at), found.execution.ended_at);
    assert_eq!(history.find_dead_letter(ADMIN, alive).await.unwrap(), None);
    assert_eq!(history.find_dead_letter(acme, dead).await.unwrap(), None);
    let theirs = DeadLetterQuery { tenant: acme, ..letters() };
    assert_eq!(history.list_dead_letters(theirs).await.unwrap(), []);
    assert_eq!(history.dead_letter_groups(acme, 10).await.unwrap(), []);
}

async fn dead_letters_are_grouped_by_cause(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = spread(&node, 5).await;
    // Two actions take turns; a fingerprint belongs to one action.
    let plan = [("f", 0), ("g", 1), ("f", 2), ("f", 4)];
    for (fingerprint, at) in plan {
        let finish = given::death(node.end(&items[at]), fingerprint);
        let error = Some(Fault::handler("x", format!("died as {at}")));
        let finish = Finish { error, ..finish };
        node.commit(Commit { finishes: vec![finish], ..node.batch() }).await.unwrap();
    }

    let groups = node.ports.history.dead_letter_groups(ADMIN, 10).await.unwrap();
    let largest = node.ports.history.dead_letter_groups(ADMIN, 1).await.unwrap();

    let summary: Vec<(&str, i32, i64)> = (groups.iter())
        .map(|group| (group.fingerprint.as_str(), group.action.0, group.count))
        .collect();
    assert_eq!(summary, [("f", 1, 3), ("g", 2, 1)]);
    let [first, last] = [0, 4].map(|at: usize| items[at].work.id);
    assert_eq!(Some(groups[0].first_at), find(&node, first).await.ended_at);
    assert_eq!(Some(groups[0].last_at), find(&node, last).await.ended_at);
    assert_eq!(groups[0].sample.as_ref().unwrap().message, "died as 4");
    assert_eq!(largest, groups[..1]);
}

async fn every_end_is_counted_for_its_action(stores: &Stores) {
    let node = stores.owner("node").await;
    let acme = create_tenant(&node, "acme").await;
    let items = spread(&node, 8).await;
    let ends = [
        Status::Completed,
        Status::Completed,
        Status::Failed,
        Status::Timeout,
        Status::Cancelled,
        Status::Skipped,
    ];
    let mut finishes = Vec::new();
    for (item, status) in items.iter().zip(ends) {
        finishes.push(Finish { status, ..node.end(item) });
    }
    // The seventh took two attempts, in a commit of its own.
    node.commit(Commit { finishes, ..node.batch() }).await.unwrap();
    let later = given::retry(&items[6], node.id, Duration::ZERO);
    node.retry(later.clone()).await.unwrap();
    node.finish(&later.item).await.unwrap();

    let counts = counted(&node, None).await;

    let [first, second] = counts.as_slice() else { panic!("two actions: {counts:?}") };
    assert_eq!((first.action, second.action), (ActionId(1), ActionId(2)));
    assert_eq!((first.completed, first.failed, first.cancelled, first.retries), (2, 1, 1, 1));
    assert_eq!((second.completed, second.failed, second.cancelled, second.retries), (1, 1, 0, 0));
    assert!(second.duration_ms >= 3 * 250, "{second:?}");
    let newest = find(&node, items[6].work.id).await.ended_at;
    assert_eq!(first.last_at, newest);
    let history = &node.ports.history;
    let one = history.action_counts(ADMIN, Some(ActionId(2)), None).await.unwrap();
    assert_eq!(one, [*second]);
    assert_eq!(history.action_counts(acme, None, None).await.unwrap(), []);
}

async fn ends_are_counted_per_tenant(stores: &Stores) {
    let node = stores.owner("node").await;
    let acme = create_tenant(&node, "acme").await;
    let items = spread(&node, 3).await;
    let now = given::now();
    let ended = |item: &Item, ago: i64, status| {
        let ended_at = now - TimeDelta::minutes(ago);
        let started_at = Some(ended_at - TimeDelta::milliseconds(40));
        Finish { started_at, ended_at, status, ..node.end(item) }
    };
    let finishes = [
        ended(&items[0], 30, Status::Completed),
        ended(&items[1], 1, Status::Completed),
        ended(&items[2], 1, Status::Failed),
    ];
    for finish in finishes {
        node.commit(Commit { finishes: vec![finish], ..node.batch() }).await.unwrap();
    }
    let other = Work { tenant: acme, ..given::work(None) };
    let job = Submission { tenant: acme, ..given::submission(vec![given::job(PART, other)]) };
    node.commit(Commit { submissions: vec![job], ..Commit::default() }).await.unwrap();
    let item = node.log(PART).await.pop().unwrap();
    let of = |tenant, completed, failed, duration_ms| TenantCounts {
        tenant,
        completed,
        failed,
        duration_ms,
    };

    let lately = now - TimeDelta::minutes(5);
    let before = node.ports.history.counts_by_tenant(lately).await.unwrap();
    node.commit(Commit { finishes: vec![ended(&item, 0, Status::Completed)], ..node.batch() })
        .await
        .unwrap();
    let after = node.ports.history.counts_by_tenant(lately).await.unwrap();

    assert_eq!(before, [of(ADMIN, 1, 1, 80)]);
    assert_eq!(after, [of(ADMIN, 1, 1, 80), of(acme, 1, 0, 40)]);
}

async fn ends_are_counted_since_an_instant(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = spread(&node, 4).await;
    let now = given::now();
    let ended = |item: &Item, ago: i64| {
        let ended_at = now - TimeDelta::minutes(ago);
        let started_at = Some(ended_at - TimeDelta::milliseconds(40));
        Finish { started_at, ended_at, ..node.end(item) }
    };
    let mut finishes: Vec<Finish> =
        items.iter().zip([90, 30, 10, 0]).map(|(item, ago)| ended(item, ago)).collect();
    let mut attempts = finishes[2].item.attempts.clone();
    attempts.push(given::attempt(node.id, finishes[2].epoch, 2));
    finishes[2].item.attempts = attempts;
    // What ends in one commit ends at about one time, and may be counted as one.
    for finish in finishes {
        node.commit(Commit { finishes: vec![finish], ..node.batch() }).await.unwrap();
    }
    let since = |ago| Some(now - TimeDelta::minutes(ago));

    let completed = |counts: &[ActionCounts]| -> Vec<(i32, i64)> {
        counts.iter().map(|count| (count.action.0, count.completed)).collect()
    };
    assert_eq!(completed(&counted(&node, since(100)).await), [(1, 2), (2, 2)]);
    assert_eq!(completed(&counted(&node, since(60)).await), [(1, 1), (2, 2)]);
    assert_eq!(completed(&counted(&node, since(10)).await), [(1, 1), (2, 1)], "inclusive");
    assert_eq!(completed(&counted(&node, since(5)).await), [(2, 1)]);
    assert_eq!(completed(&counted(&node, since(-5)).await), []);
    let recent = counted(&node, since(20)).await;
    assert_eq!((recent[0].retries, recent[0].duration_ms), (1, 40));
    assert_eq!(recent[0].last_at, since(10));
    let one = node.ports.history.action_counts(ADMIN, Some(ActionId(2)), since(60)).await.unwrap();
    assert_eq!(completed(&one), [(2, 2)]);
}

async fn recent_durations_are_those_of_the_newest_executions(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = spread(&node, 8).await;
    let mut finishes = Vec::new();
    for (item, millis) in items.iter().zip([10, 20, 30, 40, 50, 60, 70]) {
        let finish = node.end(item);
        let started_at = Some(finish.ended_at - TimeDelta::milliseconds(millis));
        finishes.push(Finish { started_at, ..finish });
    }
    finishes[4].started_at = None;
    node.commit(Commit { finishes, ..node.batch() }).await.unwrap();

    let recent = async |action, limit| {
        node.ports.history.recent_durations(ADMIN, ActionId(action), limit).await.unwrap()
    };
    assert_eq!(recent(1, 10).await, [70, 30, 10], "what never started took no time");
    assert_eq!(recent(2, 2).await, [60, 40]);
    assert_eq!(recent(404, 2).await, Vec::<i64>::new());
}

async fn samples_of_the_queues_are_read_newest_first(stores: &Stores) {
    let node = stores.owner("node").await;
    let acme = create_tenant(&node, "acme").await;
    let now = given::now();
    let sample = |tenant, seconds: i64| QueueMetric {
        tenant,
        queue_name: "normal".to_owned(),
        sampled_at: now - TimeDelta::seconds(seconds),
        pending: 1,
        processing: 2,
        completed: 3,
        failed: 4,
        avg_processing_time_ms: 5.25,
        throughput_per_minute: 6.5,
        error_rate_percentage: 7.75,
        active_workers: 8,
    };
    let samples = [sample(ADMIN, 20), sample(acme, 10), sample(ADMIN, 0), sample(ADMIN, 10)];
    let history = &node.ports.history;
    history.record_queue_metrics(&samples[..2]).await.unwrap();
    history.record_queue_metrics(&samples[2..]).await.unwrap();

    let [oldest, theirs, newest, middle] = samples;
    let all = [newest.clone(), middle.clone(), oldest];
    assert_eq!(history.queue_metrics(ADMIN, 10).await.unwrap(), all);
    assert_eq!(history.queue_metrics(ADMIN, 2).await.unwrap(), [newest, middle]);
    assert_eq!(history.queue_metrics(acme, 10).await.unwrap(), [theirs]);
}

fn events(tenant: TenantId) -> EventQuery {
    EventQuery { tenant, event_type: None, before: None, limit: 100 }
}

fn executions() -> ExecutionQuery {
    ExecutionQuery { tenant: ADMIN, action: None, statuses: Vec::new(), before: None, limit: 100 }
}

fn letters() -> DeadLetterQuery {
    DeadLetterQuery { tenant: ADMIN, fingerprint: None, action: None, before: None, limit: 100 }
}

async fn list_events(node: &Node, query: EventQuery) -> Vec<Event> {
    let listed = node.ports.history.list_events(query).await.unwrap();
    listed.into_iter().map(|listed| listed.event).collect()
}

async fn list(node: &Node, query: ExecutionQuery) -> Vec<Execution> {
    node.ports.history.list_executions(query).await.unwrap()
}

async fn find(node: &Node, id: ExecutionId) -> Execution {
    node.ports.history.find_execution(ADMIN, id).await.unwrap().expect("it was accepted")
}

async fn counted(node: &Node, since: Option<actions_domain::Timestamp>) -> Vec<ActionCounts> {
    let mut counts = node.ports.history.action_counts(ADMIN, None, since).await.unwrap();
    counts.sort_by_key(|count| count.action);
    counts
}

fn ids(executions: &[Execution]) -> Vec<ExecutionId> {
    executions.iter().map(|execution| execution.id).collect()
}

fn event_at((offset_ms, event_type): (i64, &str)) -> Event {
    let event_type = EventType::parse(event_type).unwrap();
    Event { id: given::event_id(offset_ms), event_type, ..given::event() }
}

async fn submit_events<'a>(node: &Node, events: impl IntoIterator<Item = &'a Event>) {
    let ingests: Vec<Ingest> =
        events.into_iter().map(|event| given::ingest_of(event.clone(), vec![])).collect();
    node.submit(ingests).await;
}

/// A JSON text of so many bytes, in fewer characters.
fn text_of(bytes: usize) -> Json {
    let wide = "ü".repeat(1_000);
    Json::parse(&format!("\"{wide}{}\"", "x".repeat(bytes - 2_002))).unwrap()
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

/// Works of the actions 1 and 2 in turns, each newer than the one before.
async fn spread(node: &Node, count: i64) -> Vec<Item> {
    let ingests = (0..count).map(|at| {
        let event = Event { id: EventId(given::event_id(at * 10).0), ..given::event() };
        let action = ActionId(if at % 2 == 0 { 1 } else { 2 });
        let work = Work { id: given::execution_id(at * 10), action, ..given::work(Some(&event)) };
        given::ingest_of(event, vec![(PART, work)])
    });
    node.enqueue_these(PART, ingests.collect()).await
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

async fn create_tenant(node: &Node, slug: &str) -> TenantId {
    let slug = TenantSlug::parse(slug).unwrap();
    let tenant = node.ports.definitions.create_tenant(given::uuid(), &slug, "A tenant").await;
    tenant.unwrap().id
}
