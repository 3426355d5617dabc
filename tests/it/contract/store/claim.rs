//! Executions that are the only ones for something.

use std::time::Duration;

use actions_domain::execution::Status;
use actions_domain::id::{ActionId, ExecutionId, TenantId};
use actions_domain::terms::{Claim, Conflict, Terms, YieldNote, Yielded};
use actions_domain::work::{
    Cancel, Commit, Ingest, Ingested, Receipt, RequestKey, Submission, Submitted, Work,
};

use super::super::given::{self, OTHER_PART, PART};
use super::super::stores::{Node, Stores};
use super::due;

contract! { Store:
    a_claim_stands_until_its_holder_has_ended,
    a_claim_of_a_period_outlives_its_holder,
    an_event_keeps_what_yielded,
    a_job_that_yields_is_answered_with_the_holder,
    two_requests_of_one_flush_have_one_answer,
    a_refused_job_takes_its_keys_back,
    a_repeated_flush_changes_no_claim,
    a_newer_one_takes_the_place_of_what_waits,
    the_last_of_a_flush_holds_the_claim,
    a_place_that_was_taken_is_told_of_until_the_end,
    a_burst_waits_no_longer_than_it_may,
    of_two_that_come_at_once_one_holds_the_claim,
    claims_of_two_tenants_are_apart,
}

fn unique(word: &str, on_conflict: Conflict) -> Claim {
    Claim {
        key: given::hash(word),
        until_finished: true,
        period: None,
        on_conflict,
        waits: false,
        max_wait: None,
    }
}

fn debounce(word: &str, max_wait: Option<Duration>) -> Claim {
    Claim { waits: true, max_wait, ..unique(word, Conflict::Replace) }
}

fn claiming(claim: Claim) -> Work {
    let terms = Terms { claim: Some(claim), ..Terms::default() };
    Work { terms: terms.unless_empty(), ..given::work(None) }
}

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

async fn submit(node: &Node, ingests: Vec<Ingest>) -> Receipt {
    let submissions = vec![given::submission(ingests)];
    node.commit(Commit { submissions, ..node.batch() }).await.unwrap()
}

/// Submits a job and answers its id and to whom it has yielded.
async fn job(node: &Node, work: Work) -> (ExecutionId, Option<ExecutionId>) {
    let id = work.id;
    let receipt = submit(node, vec![given::job(PART, work)]).await;
    (id, receipt.yielded.first().map(|yielded| yielded.to))
}

async fn log_ids(node: &Node) -> Vec<ExecutionId> {
    node.log(PART).await.iter().map(|item| item.work.id).collect()
}

async fn a_claim_stands_until_its_holder_has_ended(stores: &Stores) {
    let node = stores.owner("node").await;
    let claim = unique("invoice", Conflict::Existing);
    let (first, none) = job(&node, claiming(claim)).await;
    let (_, second) = job(&node, claiming(claim)).await;
    let (_, other) = job(&node, claiming(unique("other", Conflict::Existing))).await;
    assert_eq!((none, second, other), (None, Some(first), None));

    let item = node.log(PART).await.remove(0);
    node.retry(given::retry(&item, node.id, Duration::ZERO)).await.unwrap();
    assert_eq!(job(&node, claiming(claim)).await.1, Some(first), "it is retried");
    let item = due(&node, PART, 60).await.remove(0).item;
    node.finish(&item).await.unwrap();
    assert_eq!(job(&node, claiming(claim)).await.1, None);
    assert_eq!(log_ids(&node).await.len(), 2, "what has yielded is nowhere");
}

async fn a_claim_of_a_period_outlives_its_holder(stores: &Stores) {
    let node = stores.owner("node").await;
    let claim = |word: &str, period| Claim {
        period,
        until_finished: false,
        ..unique(word, Conflict::Existing)
    };
    let (long, _) = job(&node, claiming(claim("long", seconds(3_600)))).await;
    job(&node, claiming(claim("short", Some(Duration::from_micros(1))))).await;
    for item in node.log(PART).await {
        node.finish(&item).await.unwrap();
    }
    assert_eq!(job(&node, claiming(claim("long", seconds(3_600)))).await.1, Some(long));
    assert_eq!(job(&node, claiming(claim("short", None))).await.1, None);
}

async fn an_event_keeps_what_yielded(stores: &Stores) {
    let node = stores.owner("node").await;
    let (holder, _) = job(&node, claiming(unique("a", Conflict::Existing))).await;
    let (other, _) = job(&node, claiming(unique("b", Conflict::Existing))).await;
    let event = given::event();
    let of_event = |at, action, work: Work| Work {
        id: given::execution_id(at),
        action: ActionId(action),
        event: Some(event.id),
        ..work
    };
    let works = vec![
        (PART, of_event(1, 1, claiming(unique("a", Conflict::Existing)))),
        (OTHER_PART, of_event(2, 2, claiming(unique("b", Conflict::Reject)))),
        (PART, of_event(3, 3, given::work(Some(&event)))),
    ];
    let ids: Vec<ExecutionId> = works.iter().map(|(_, work)| work.id).collect();

    let receipt = submit(&node, vec![given::ingest_of(event.clone(), works)]).await;

    let has_joined = false;
    let yielded = |execution, to, on_conflict| Yielded { execution, to, on_conflict, has_joined };
    let mut found = receipt.yielded.clone();
    found.sort_by_key(|yielded| yielded.execution);
    assert_eq!(
        found,
        [yielded(ids[0], holder, Conflict::Existing), yielded(ids[1], other, Conflict::Reject)]
    );
    assert_eq!(receipt.submissions, [Submitted::Accepted(vec![Ingested::Stored])]);
    assert_eq!(log_ids(&node).await, [holder, other, ids[2]]);
    let history = &node.ports.history;
    let own = history.executions_of_event(TenantId::ADMIN, event.id).await.unwrap();
    assert_eq!(own.iter().map(|own| own.id).collect::<Vec<_>>(), [ids[2]]);
    let mut notes = history.yields_of_event(TenantId::ADMIN, event.id).await.unwrap();
    notes.sort_by_key(|note| note.action);
    let note = |action, to, on_conflict| {
        let action = ActionId(action);
        YieldNote { action, to, on_conflict, has_joined }
    };
    assert_eq!(notes, [note(1, holder, Conflict::Existing), note(2, other, Conflict::Reject)]);
    let foreign = history.yields_of_event(TenantId(99), event.id).await.unwrap();
    assert_eq!(foreign, []);
}

async fn request(node: &Node, work: &Work) -> Receipt {
    let request = Some(RequestKey { key: given::hash("request"), body: given::hash("body") });
    let submission =
        Submission { request, ..given::submission(vec![given::job(PART, work.clone())]) };
    let batch = Commit { submissions: vec![submission], ..node.batch() };
    node.commit(batch).await.unwrap()
}

async fn a_job_that_yields_is_answered_with_the_holder(stores: &Stores) {
    let node = stores.owner("node").await;
    let claim = unique("invoice", Conflict::Existing);
    let (holder, _) = job(&node, claiming(claim)).await;
    let second = claiming(claim);
    assert_eq!(request(&node, &second).await.yielded[0].to, holder);

    // Its key is remembered, also after the end of the holder.
    node.finish(&node.log(PART).await[0]).await.unwrap();
    let again = Work { id: given::execution_id(9), ..second.clone() };
    for repeated in [&second, &again] {
        let answer = request(&node, repeated).await;
        let duplicate = Ingested::Duplicate { subject: holder.0 };
        assert_eq!(answer.submissions, [Submitted::Accepted(vec![duplicate])]);
    }
    assert_eq!(log_ids(&node).await, []);
}

async fn two_requests_of_one_flush_have_one_answer(stores: &Stores) {
    let node = stores.owner("node").await;
    for (word, on_conflict) in [("one", Conflict::Existing), ("two", Conflict::Reject)] {
        let claim = unique(word, on_conflict);
        let (holder, _) = job(&node, claiming(claim)).await;
        let (second, again) = (claiming(claim), claiming(claim));
        let submissions = [&second, &again].map(|work| {
            let request = Some(RequestKey { key: given::hash(word), body: given::hash("body") });
            Submission { request, ..given::submission(vec![given::job(PART, work.clone())]) }
        });
        let batch = Commit { submissions: submissions.to_vec(), ..node.batch() };
        let receipt = node.commit(batch).await.unwrap();
        let told = |work: &Work| {
            let mut yielded = receipt.yielded.iter();
            yielded.find(|yielded| yielded.execution == work.id).map(|yielded| yielded.to)
        };
        assert_eq!(told(&second), Some(holder));
        match on_conflict {
            Conflict::Reject => assert_eq!(told(&again), Some(holder), "it is refused as well"),
            Conflict::Existing | Conflict::Replace => {
                let duplicate = Ingested::Duplicate { subject: holder.0 };
                assert_eq!(receipt.submissions[1], Submitted::Accepted(vec![duplicate]));
            }
        }
    }
}

async fn a_refused_job_takes_its_keys_back(stores: &Stores) {
    let node = stores.owner("node").await;
    let claim = unique("invoice", Conflict::Reject);
    let (holder, _) = job(&node, claiming(claim)).await;
    let second = claiming(claim);
    for _ in 0..2 {
        let refused = request(&node, &second).await.yielded;
        assert_eq!((refused[0].to, refused[0].on_conflict), (holder, Conflict::Reject));
    }
    node.finish(&node.log(PART).await[0]).await.unwrap();
    assert_eq!(request(&node, &second).await.yielded, []);
    assert_eq!(log_ids(&node).await, [second.id]);
}

async fn a_repeated_flush_changes_no_claim(stores: &Stores) {
    let node = stores.owner("node").await;
    let claim = debounce("document", None);
    let event = given::event();
    let work = Work { event: Some(event.id), delay: seconds(10), ..claiming(claim) };
    let ingest = given::ingest_of(event, vec![(PART, work.clone())]);
    submit(&node, vec![ingest.clone()]).await;
    let (newer, _) = job(&node, Work { delay: seconds(10), ..claiming(claim) }).await;

    let repeated = submit(&node, vec![ingest]).await;

    assert_eq!((repeated.yielded, repeated.superseded), (vec![], vec![]));
    let cancels = node.ports.store.cancels().await.unwrap();
    let by = Some(newer);
    assert_eq!(cancels, [Cancel { tenant: TenantId::ADMIN, execution: work.id, by }]);
}

async fn a_newer_one_takes_the_place_of_what_waits(stores: &Stores) {
    let node = stores.owner("node").await;
    let claim = unique("report", Conflict::Replace);
    let (first, _) = job(&node, claiming(claim)).await;
    let second = claiming(claim);
    let by = Some(second.id);
    let receipt = submit(&node, vec![given::job(PART, second.clone())]).await;
    assert_eq!(receipt.superseded, [Cancel { tenant: TenantId::ADMIN, execution: first, by }]);

    let log = node.log(PART).await;
    let told: Vec<_> = log
        .iter()
        .map(|item| item.work.terms.as_ref().and_then(|terms| terms.superseded_by))
        .collect();
    assert_eq!(told, [by, None], "whoever reads it later finds out");
    let (_, yielded) = job(&node, claiming(unique("report", Conflict::Existing))).await;
    assert_eq!(yielded, by, "the newer one holds the claim");
}

async fn the_last_of_a_flush_holds_the_claim(stores: &Stores) {
    let node = stores.owner("node").await;
    let claim = debounce("document", None);
    let works: Vec<Work> = (0..3)
        .map(|at| Work { id: given::execution_id(at), delay: seconds(20), ..claiming(claim) })
        .collect();
    let jobs = works.iter().map(|work| given::job(PART, work.clone())).collect();
    let receipt = submit(&node, jobs).await;
    assert_eq!(receipt.superseded.len(), 2);
    let laters = due(&node, PART, 60).await;
    let mut told: Vec<_> = laters
        .iter()
        .map(|later| {
            let terms = later.item.work.terms.as_ref();
            (later.item.work.id, terms.and_then(|terms| terms.superseded_by))
        })
        .collect();
    told.sort();
    let ids: Vec<_> = works.iter().map(|work| work.id).collect();
    assert_eq!(told, [(ids[0], Some(ids[1])), (ids[1], Some(ids[2])), (ids[2], None)]);
}

async fn a_place_that_was_taken_is_told_of_until_the_end(stores: &Stores) {
    let node = stores.owner("node").await;
    let claim = debounce("document", None);
    let (first, _) = job(&node, Work { delay: seconds(600), ..claiming(claim) }).await;
    let (second, _) = job(&node, Work { delay: seconds(600), ..claiming(claim) }).await;
    let cancel = Cancel { tenant: TenantId::ADMIN, execution: first, by: Some(second) };
    assert_eq!(node.ports.store.cancels().await.unwrap(), [cancel]);
    let soon = due(&node, PART, 30).await;
    assert_eq!(soon.iter().map(|later| later.item.work.id).collect::<Vec<_>>(), [first]);

    let mut end = node.end(&soon[0].item);
    end.status = Status::Skipped;
    node.commit(Commit { finishes: vec![end], ..node.batch() }).await.unwrap();

    assert_eq!(node.ports.store.cancels().await.unwrap(), []);
    assert!(due(&node, PART, 30).await.is_empty());
}

async fn a_burst_waits_no_longer_than_it_may(stores: &Stores) {
    let node = stores.owner("node").await;
    let (wait, max_wait) = (seconds(100), seconds(100));
    let mut last = None;
    for _ in 0..3 {
        last = Some(job(&node, Work { delay: wait, ..claiming(debounce("d", max_wait)) }).await.0);
    }
    let later = due(&node, PART, 200).await;
    let later = later.iter().find(|later| Some(later.item.work.id) == last).unwrap();
    let first = due(&node, PART, 200).await;
    let first = first.iter().map(|later| later.delay).min().unwrap();
    let difference = later.delay.abs_diff(first);
    assert!(difference < Duration::from_millis(50), "all are due with the first: {difference:?}");
}

async fn of_two_that_come_at_once_one_holds_the_claim(stores: &Stores) {
    let (one, two) = (stores.owner("one").await, stores.join("two").await);
    for round in 0..20 {
        let claim = unique(&format!("round {round}"), Conflict::Existing);
        let works = [claiming(claim), claiming(claim)];
        let ids = works.clone().map(|work| work.id);
        let [first, second] = works;
        let (first, second) = tokio::join!(job(&one, first), job(&two, second));
        let yielded = [first.1, second.1];
        assert!(
            yielded == [None, Some(ids[0])] || yielded == [Some(ids[1]), None],
            "{yielded:?} of {ids:?}"
        );
    }
    assert_eq!(log_ids(&one).await.len(), 20);
}

async fn claims_of_two_tenants_are_apart(stores: &Stores) {
    let node = stores.owner("node").await;
    let acme = super::create_tenant(&node, "acme").await;
    let claim = unique("invoice", Conflict::Existing);
    job(&node, claiming(claim)).await;
    let theirs = Work { tenant: acme, ..claiming(claim) };
    let submission = Submission::new(acme, None, vec![given::job(PART, theirs)]);
    let batch = Commit { submissions: vec![submission], ..node.batch() };
    assert_eq!(node.commit(batch).await.unwrap().yielded, []);
}
