//! Executions that gather into one.

use std::time::Duration;

use actions_domain::gathering::Gathering;
use actions_domain::id::{ActionId, ExecutionId, TenantId};
use actions_domain::json::Json;
use actions_domain::limits::GATHERED_BYTES_MAX;
use actions_domain::terms::{Conflict, Terms, YieldNote};
use actions_domain::work::{
    Cancel, Commit, Ingest, Ingested, Item, Receipt, RequestKey, Submission, Submitted, Work,
};

use super::super::given::{self, OTHER_PART, PART};
use super::super::stores::{Node, Stores};
use super::due;

contract! { Store:
    what_joins_is_kept_with_the_head_in_order,
    a_batch_is_closed_by_its_size,
    a_batch_is_closed_by_its_bytes,
    batches_of_one_flush_are_closed_like_those_of_many,
    nobody_joins_a_head_that_begins,
    nobody_joins_a_head_that_has_ended,
    nobody_joins_a_head_that_ends_in_the_same_commit,
    nobody_joins_a_head_that_is_to_be_cancelled,
    whoever_joins_before_the_close_is_in_it,
    a_takeover_keeps_what_has_joined,
    a_former_owner_closes_nothing,
    a_repetition_does_not_join_twice,
    a_job_that_joins_is_answered_with_the_head,
    an_event_of_two_actions_joins_two_batches,
    what_repeats_a_dead_batch_has_its_members,
    batches_of_two_tenants_are_apart,
    what_has_ended_keeps_its_members,
}

fn gathering(word: &str, size_max: u32) -> Option<Gathering> {
    Some(Gathering { key: Some(given::hash(word)), size_max })
}

/// A job that gathers.
fn work(word: &str, size_max: u32) -> Work {
    let terms = Terms { gathering: gathering(word, size_max), ..Terms::default() };
    let delay = Some(Duration::from_secs(20));
    Work { terms: terms.unless_empty(), delay, input: Some(number(0)), ..given::work(None) }
}

fn number(number: u32) -> Json {
    Json::parse(&number.to_string()).unwrap()
}

fn numbered(at: u32, work: Work) -> Work {
    Work { id: given::execution_id(i64::from(at)), input: Some(number(at)), ..work }
}

/// Events that gather, numbered from 1.
fn events(word: &str, size_max: u32, count: u32) -> Vec<Ingest> {
    let ingest = |at: u32| {
        let event = actions_domain::event::Event { data: number(at), ..given::event() };
        let work = Work { event: Some(event.id), input: None, ..work(word, size_max) };
        given::ingest_of(event, vec![(PART, Work { id: given::execution_id(at.into()), ..work })])
    };
    (1..=count).map(ingest).collect()
}

async fn submit(node: &Node, ingests: Vec<Ingest>) -> Receipt {
    let submissions = vec![given::submission(ingests)];
    node.commit(Commit { submissions, ..Commit::default() }).await.unwrap()
}

/// Submits each by itself, and answers to whom it was joined.
async fn one_by_one(node: &Node, ingests: Vec<Ingest>) -> Vec<Option<ExecutionId>> {
    let mut joined = Vec::new();
    for ingest in ingests {
        let receipt = submit(node, vec![ingest]).await;
        assert!(receipt.yielded.iter().all(|one| one.has_joined));
        joined.push(receipt.yielded.first().map(|one| one.to));
    }
    joined
}

fn id(ingest: &Ingest) -> ExecutionId {
    ingest.works[0].1.id
}

/// The data of what has joined, in order.
async fn members(node: &Node, head: ExecutionId) -> Vec<String> {
    let members = node.ports.store.members(head).await.unwrap();
    members.iter().map(|member| member.to_value()["data"].to_string()).collect()
}

/// The heads that wait, each with what it still waits for in whole seconds.
async fn heads(node: &Node) -> Vec<(ExecutionId, u64)> {
    let laters = due(node, PART, 60).await;
    let mut heads: Vec<_> =
        laters.iter().map(|later| (later.item.work.id, later.delay.as_secs())).collect();
    heads.sort();
    heads
}

async fn head(node: &Node, id: ExecutionId) -> Item {
    let laters = due(node, PART, 60).await;
    laters.into_iter().find(|later| later.item.work.id == id).expect("the head waits").item
}

async fn mark(node: &Node, item: Item) {
    node.commit(Commit { marks: vec![item], ..node.batch() }).await.unwrap();
}

async fn what_joins_is_kept_with_the_head_in_order(stores: &Stores) {
    let node = stores.owner("node").await;
    let sent = events("a", 100, 4);
    let (first, last) = (id(&sent[0]), sent[3].event.clone().unwrap());
    let joined = one_by_one(&node, sent.clone()).await;
    assert_eq!(joined, [None, Some(first), Some(first), Some(first)]);

    assert_eq!(members(&node, first).await, ["2", "3", "4"]);
    let envelope = node.ports.store.members(first).await.unwrap().remove(2).to_value();
    assert_eq!(envelope["id"], last.id.to_string());
    assert_eq!((&envelope["type"], &envelope["source"]), (&"orders.paid".into(), &"shop".into()));
    let history = &node.ports.history;
    let listed = history.members_of(TenantId::ADMIN, first).await.unwrap();
    let wanted: Vec<_> = sent[1..].iter().map(|one| one.works[0].1.event).collect();
    assert_eq!(listed, wanted);
    assert_eq!(history.members_of(TenantId(99), first).await.unwrap(), []);

    let waiting = heads(&node).await;
    assert_eq!(waiting.len(), 1, "what has joined is nowhere");
    assert!((18..20).contains(&waiting[0].1), "{waiting:?}");
    assert_eq!(history.executions_of_event(TenantId::ADMIN, last.id).await.unwrap(), []);
    let notes = history.yields_of_event(TenantId::ADMIN, last.id).await.unwrap();
    let (action, on_conflict) = (given::ACTION, Conflict::Existing);
    assert_eq!(notes, [YieldNote { action, to: first, on_conflict, has_joined: true }]);
    assert_eq!(history.yields_of_event(TenantId(99), last.id).await.unwrap(), []);
}

async fn a_batch_is_closed_by_its_size(stores: &Stores) {
    let node = stores.owner("node").await;
    let sent = events("a", 3, 4);
    let (first, fourth) = (id(&sent[0]), id(&sent[3]));
    let mut sent = sent.into_iter();
    for ingest in sent.by_ref().take(2) {
        assert_eq!(submit(&node, vec![ingest]).await.closed, []);
    }
    assert_eq!(submit(&node, sent.by_ref().take(1).collect()).await.closed, [PART]);
    let receipt = submit(&node, sent.collect()).await;
    assert_eq!((receipt.yielded, receipt.closed), (vec![], vec![]));

    let waiting = heads(&node).await;
    assert_eq!(waiting[0], (first, 0), "it is due now");
    assert_eq!(waiting[1].0, fourth);
    assert!(waiting[1].1 >= 18, "the next one gathers: {waiting:?}");
    assert_eq!(members(&node, first).await, ["2", "3"]);
    assert_eq!(members(&node, fourth).await, Vec::<String>::new());
}

async fn a_batch_is_closed_by_its_bytes(stores: &Stores) {
    let node = stores.owner("node").await;
    let text = |bytes: usize| Json::parse(&format!("\"{}\"", "x".repeat(bytes))).unwrap();
    let sized =
        |at: u32, bytes: usize| Work { input: Some(text(bytes)), ..numbered(at, work("a", 100)) };
    let half = GATHERED_BYTES_MAX / 2 - 1_000;
    let (first, second) = (sized(1, half), sized(2, half));
    let (third, fourth) = (sized(3, 5_000), sized(4, GATHERED_BYTES_MAX));
    let ids = [&first, &second, &third, &fourth].map(|work| work.id);
    let mut closed = Vec::new();
    for work in [first, second, third, fourth] {
        closed.push(submit(&node, vec![given::job(PART, work)]).await.closed.len());
    }
    assert_eq!(closed, [0, 0, 1, 2], "one finds no room, and one is a batch by itself");
    let waiting = heads(&node).await;
    assert_eq!(waiting, [(ids[0], 0), (ids[2], 0), (ids[3], 0)]);
    assert_eq!(members(&node, ids[0]).await.len(), 1);
    assert_eq!(members(&node, ids[2]).await.len(), 0);
}

async fn batches_of_one_flush_are_closed_like_those_of_many(stores: &Stores) {
    let node = stores.owner("node").await;
    let mut sent = events("a", 3, 7);
    sent.extend(events("b", 3, 2).into_iter().map(|mut ingest| {
        let (_, work) = ingest.works.remove(0);
        let id = ExecutionId(given::uuid());
        ingest.works.push((OTHER_PART, std::sync::Arc::new(Work { id, ..(*work).clone() })));
        ingest
    }));
    let ids: Vec<ExecutionId> = sent.iter().map(id).collect();
    let receipt = submit(&node, sent).await;
    let mut joined: Vec<_> = receipt.yielded.iter().map(|one| (one.execution, one.to)).collect();
    joined.sort();
    let mut wanted = vec![
        (ids[1], ids[0]),
        (ids[2], ids[0]),
        (ids[4], ids[3]),
        (ids[5], ids[3]),
        (ids[8], ids[7]),
    ];
    wanted.sort();
    assert_eq!(joined, wanted);
    assert_eq!(receipt.closed, [PART, PART]);
    let waiting = heads(&node).await;
    assert_eq!(waiting[..2], [(ids[0], 0), (ids[3], 0)]);
    assert!(waiting[2].0 == ids[6] && waiting[2].1 >= 18, "{waiting:?}");
    assert_eq!(members(&node, ids[3]).await, ["5", "6"]);
    let more = one_by_one(&node, events("a", 3, 1)).await;
    assert_eq!(more, [Some(ids[6])], "the one that is open goes on");
}

async fn nobody_joins_a_head_that_begins(stores: &Stores) {
    let node = stores.owner("node").await;
    let sent = events("a", 100, 4);
    let ids: Vec<ExecutionId> = sent.iter().map(id).collect();
    let mut sent = sent.into_iter();
    one_by_one(&node, sent.by_ref().take(2).collect()).await;
    mark(&node, head(&node, ids[0]).await).await;

    let joined = one_by_one(&node, sent.by_ref().take(1).collect()).await;
    assert_eq!(joined, [None], "it begins the next batch");
    // Marked again by the next attempt: that closes no batch of others.
    mark(&node, head(&node, ids[0]).await).await;
    assert_eq!(one_by_one(&node, sent.collect()).await, [Some(ids[2])]);
    assert_eq!(members(&node, ids[0]).await, ["2"]);
    assert_eq!(members(&node, ids[2]).await, ["4"]);
}

async fn nobody_joins_a_head_that_has_ended(stores: &Stores) {
    let node = stores.owner("node").await;
    let sent = events("a", 100, 2);
    let first = id(&sent[0]);
    let mut sent = sent.into_iter();
    one_by_one(&node, sent.by_ref().take(1).collect()).await;
    node.finish(&head(&node, first).await).await.unwrap();
    assert_eq!(one_by_one(&node, sent.collect()).await, [None]);
    assert_eq!(members(&node, first).await, Vec::<String>::new());
}

async fn nobody_joins_a_head_that_ends_in_the_same_commit(stores: &Stores) {
    let node = stores.owner("node").await;
    let sent = events("a", 100, 2);
    let first = id(&sent[0]);
    let mut sent = sent.into_iter();
    one_by_one(&node, sent.by_ref().take(1).collect()).await;
    let head = head(&node, first).await;
    let submissions = vec![Submission::new(TenantId::ADMIN, None, sent.collect())];
    let finishes = vec![node.end(&head)];
    let receipt = node.commit(Commit { submissions, finishes, ..node.batch() }).await.unwrap();
    assert_eq!(receipt.yielded, []);
    assert_eq!(members(&node, first).await, Vec::<String>::new());
}

async fn nobody_joins_a_head_that_is_to_be_cancelled(stores: &Stores) {
    let node = stores.owner("node").await;
    let sent = events("a", 100, 3);
    let ids: Vec<ExecutionId> = sent.iter().map(id).collect();
    let mut sent = sent.into_iter();
    one_by_one(&node, sent.by_ref().take(1).collect()).await;
    let cancel = Cancel { tenant: TenantId::ADMIN, execution: ids[0], by: None };
    node.commit(Commit { cancels: vec![cancel], ..Commit::default() }).await.unwrap();
    assert_eq!(one_by_one(&node, sent.collect()).await, [None, Some(ids[1])]);
    assert_eq!(members(&node, ids[0]).await, Vec::<String>::new());
}

async fn whoever_joins_before_the_close_is_in_it(stores: &Stores) {
    let (owner, other) = (stores.owner("owner").await, stores.join("other").await);
    for round in 0..20 {
        let mut sent = events(&format!("round {round}"), 100, 4).into_iter();
        let first = sent.next().unwrap();
        let first_id = id(&first);
        submit(&owner, vec![first]).await;
        let item = head(&owner, first_id).await;
        let (joined, seen) = tokio::join!(one_by_one(&other, sent.collect()), async {
            mark(&owner, item).await;
            members(&owner, first_id).await
        });
        let joined = joined.iter().filter(|to| **to == Some(first_id)).count();
        assert_eq!(seen.len(), joined, "round {round}: what was read after the close is all");
        assert_eq!(seen, members(&owner, first_id).await, "round {round}");
    }
}

async fn a_takeover_keeps_what_has_joined(stores: &Stores) {
    let node = stores.owner("node").await;
    let sent = events("a", 100, 3);
    let first = id(&sent[0]);
    let mut sent = sent.into_iter();
    one_by_one(&node, sent.by_ref().take(2).collect()).await;
    let item = head(&node, first).await;
    mark(&node, item.clone()).await;
    let next = stores.take_over("next", &node).await;
    let marked = next.ports.store.marked(PART).await.unwrap();
    assert_eq!(marked[0].work.terms, item.work.terms);
    assert_eq!(one_by_one(&next, sent.collect()).await, [None]);
    mark(&next, marked[0].clone()).await;
    assert_eq!(members(&next, first).await, ["2"]);
}

async fn a_former_owner_closes_nothing(stores: &Stores) {
    let node = stores.owner("node").await;
    let mut sent = events("a", 100, 2).into_iter();
    let first = sent.next().unwrap();
    let first_id = id(&first);
    submit(&node, vec![first]).await;
    let item = head(&node, first_id).await;
    let next = stores.take_over("next", &node).await;
    node.commit(Commit { marks: vec![item], ..node.batch() }).await.unwrap_err();
    assert_eq!(one_by_one(&next, sent.collect()).await, [Some(first_id)]);
}

async fn a_repetition_does_not_join_twice(stores: &Stores) {
    let node = stores.owner("node").await;
    let mut sent = events("a", 100, 3);
    let dedupe = given::dedupe("second", sent[1].event.as_ref().unwrap().id.0);
    sent[1].dedupe = Some(dedupe);
    let first = id(&sent[0]);
    one_by_one(&node, sent.clone()).await;
    let mut again = events("a", 100, 1);
    again[0].dedupe = Some(dedupe);
    for ingests in [sent, again] {
        let receipt = submit(&node, ingests).await;
        assert_eq!((receipt.yielded, receipt.closed), (vec![], vec![]));
    }
    assert_eq!(members(&node, first).await, ["2", "3"]);
    assert_eq!(heads(&node).await.len(), 1);
}

async fn a_job_that_joins_is_answered_with_the_head(stores: &Stores) {
    let node = stores.owner("node").await;
    let (first, second) = (numbered(1, work("a", 100)), numbered(2, work("a", 100)));
    submit(&node, vec![given::job(PART, first.clone())]).await;
    let request = Some(RequestKey { key: given::hash("request"), body: given::hash("body") });
    let mut answers = Vec::new();
    for id in [second.id, second.id, given::execution_id(9)] {
        let work = Work { id, ..second.clone() };
        let submission = Submission { request, ..given::submission(vec![given::job(PART, work)]) };
        let batch = Commit { submissions: vec![submission], ..node.batch() };
        answers.push(node.commit(batch).await.unwrap());
    }
    assert_eq!(answers[0].yielded[0].to, first.id);
    let duplicate = Ingested::Duplicate { subject: first.id.0 };
    for answer in &answers[1..] {
        assert_eq!(answer.submissions, [Submitted::Accepted(vec![duplicate])]);
    }
    assert_eq!(members(&node, first.id).await, ["2"]);
    let listed = node.ports.history.members_of(TenantId::ADMIN, first.id).await.unwrap();
    assert_eq!(listed, [None], "a job has no event");
}

async fn an_event_of_two_actions_joins_two_batches(stores: &Stores) {
    let node = stores.owner("node").await;
    let heads = [numbered(1, work("a", 100)), numbered(2, work("b", 100))];
    for work in heads.clone() {
        submit(&node, vec![given::job(PART, work)]).await;
    }
    let event = given::event();
    let of_event = |at: u32, word| Work {
        action: ActionId(at.try_into().unwrap()),
        event: Some(event.id),
        input: None,
        ..numbered(at, work(word, 100))
    };
    let plain = Work { id: given::execution_id(12), ..given::work(Some(&event)) };
    let works =
        vec![(PART, of_event(10, "a")), (PART, plain.clone()), (OTHER_PART, of_event(11, "b"))];
    let receipt = submit(&node, vec![given::ingest_of(event.clone(), works)]).await;
    assert_eq!(receipt.yielded.len(), 2);
    let history = &node.ports.history;
    let own = history.executions_of_event(TenantId::ADMIN, event.id).await.unwrap();
    assert_eq!(own.iter().map(|own| own.id).collect::<Vec<_>>(), [plain.id]);
    let mut notes = history.yields_of_event(TenantId::ADMIN, event.id).await.unwrap();
    notes.sort_by_key(|note| note.action);
    let told: Vec<_> = notes.iter().map(|note| (note.action.0, note.to)).collect();
    assert_eq!(told, [(10, heads[0].id), (11, heads[1].id)]);
}

async fn what_repeats_a_dead_batch_has_its_members(stores: &Stores) {
    let node = stores.owner("node").await;
    let sent = events("a", 100, 3);
    let first = id(&sent[0]);
    one_by_one(&node, sent).await;
    let item = head(&node, first).await;
    mark(&node, item.clone()).await;
    node.bury(&item, "f1").await;

    let mut again = given::requeue(PART, &item);
    let gathering = Some(Gathering { key: None, size_max: 3 });
    let terms = Terms { gathering, ..Terms::default() }.unless_empty();
    let work = Work { terms, delay: None, ..(*again.works[0].1).clone() };
    let again_id = work.id;
    again.works = vec![(PART, work.into())];
    submit(&node, vec![again.clone()]).await;
    assert_eq!(members(&node, again_id).await, ["2", "3"]);
    assert_eq!(members(&node, first).await, ["2", "3"], "the dead one keeps them");
    submit(&node, vec![again]).await;
    assert_eq!(members(&node, again_id).await.len(), 2, "once");
}

async fn batches_of_two_tenants_are_apart(stores: &Stores) {
    let node = stores.owner("node").await;
    let acme = super::create_tenant(&node, "acme").await;
    submit(&node, vec![given::job(PART, work("a", 100))]).await;
    let theirs = Work { tenant: acme, ..numbered(2, work("a", 100)) };
    let submission = Submission::new(acme, None, vec![given::job(PART, theirs)]);
    let batch = Commit { submissions: vec![submission], ..Commit::default() };
    assert_eq!(node.commit(batch).await.unwrap().yielded, []);
}

async fn what_has_ended_keeps_its_members(stores: &Stores) {
    let node = stores.owner("node").await;
    let sent = events("a", 100, 2);
    let first = id(&sent[0]);
    one_by_one(&node, sent).await;
    let item = head(&node, first).await;
    mark(&node, item.clone()).await;
    node.finish(&item).await.unwrap();
    assert_eq!(members(&node, first).await, ["2"]);
    let listed = node.ports.history.members_of(TenantId::ADMIN, first).await.unwrap();
    assert_eq!(listed.len(), 1);
}
