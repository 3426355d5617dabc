//! What is submitted twice.

use actions_domain::id::TenantId;
use actions_domain::work::{Commit, Ingest, Ingested, RequestKey, Submission, Submitted, Work};
use uuid::Uuid;

use super::super::given::{self, PART};
use super::super::stores::{Node, Stores};
use super::{create_tenant, places};

contract! { Store:
    a_repeated_submission_of_an_event_is_harmless,
    a_repeated_submission_of_a_job_is_harmless,
    a_repetition_is_answered_with_the_first_subject,
    a_request_is_accepted_once_and_answered_with_what_it_first_led_to,
    a_request_with_another_body_is_refused_whole,
    an_event_is_known_by_its_name_under_any_request_key,
    of_equal_requests_in_one_batch_the_first_counts,
    of_equal_keys_in_one_batch_the_first_counts,
    keys_of_other_tenants_are_other_keys,
}

async fn a_repeated_submission_of_an_event_is_harmless(stores: &Stores) {
    let node = stores.owner("node").await;
    let plain = given::ingest(PART);
    let mut keyed = given::ingest(PART);
    let subjects = [&plain, &keyed].map(|ingest| ingest.event.as_ref().unwrap().id.0);
    keyed.dedupe = Some(given::dedupe("k", subjects[1]));

    let first = node.submit(vec![plain.clone(), keyed.clone()]).await;
    let second = node.submit(vec![plain, keyed]).await;

    assert_eq!(first, [Ingested::Stored, Ingested::Stored]);
    assert_eq!(second, subjects.map(|subject| Ingested::Duplicate { subject }));
    assert_eq!(node.log(PART).await.len(), 2);
}

async fn a_repeated_submission_of_a_job_is_harmless(stores: &Stores) {
    let node = stores.owner("node").await;
    let job = given::job(PART, given::work(None));
    let subject = job.works[0].1.id.0;

    node.submit(vec![job.clone()]).await;
    let item = node.log(PART).await.remove(0);
    let while_pending = node.submit(vec![job.clone()]).await;
    node.finish(&item).await.unwrap();
    let when_finished = node.submit(vec![job]).await;

    let duplicate = Ingested::Duplicate { subject };
    assert_eq!((while_pending, when_finished), (vec![duplicate], vec![duplicate]));
    assert!(node.log(PART).await.is_empty());
}

async fn a_repetition_is_answered_with_the_first_subject(stores: &Stores) {
    let node = stores.owner("node").await;
    let [first, second] = [1, 2].map(|_| {
        let ingest = given::ingest(PART);
        let subject = ingest.event.as_ref().unwrap().id.0;
        (subject, Ingest { dedupe: Some(given::dedupe("k", subject)), ..ingest })
    });

    node.submit(vec![first.1]).await;
    let repeated = node.submit(vec![second.1.clone()]).await;

    assert_eq!(repeated, [Ingested::Duplicate { subject: first.0 }]);
    let event = second.1.event.unwrap().id;
    assert!(node.ports.store.events(&[event]).await.unwrap().is_empty());
    assert_eq!(node.log(PART).await.len(), 1);
}

async fn a_request_is_accepted_once_and_answered_with_what_it_first_led_to(stores: &Stores) {
    let node = stores.owner("node").await;
    let known = named_event("known");
    node.submit(vec![known.clone()]).await;
    // One that is there already, one with a name, one without.
    let first = || vec![named_event("known"), named_event("new"), given::ingest(PART)];
    let (sent, again) = (first(), first());
    let answered = [subject(&known), subject(&sent[1]), subject(&sent[2])];

    let stored = request(&node, [1; 16], sent).await;
    let repeated = request(&node, [1; 16], again).await;

    let duplicate = |subject| Ingested::Duplicate { subject };
    let expected = vec![duplicate(answered[0]), Ingested::Stored, Ingested::Stored];
    assert_eq!(stored, Submitted::Accepted(expected));
    assert_eq!(repeated, Submitted::Accepted(answered.map(duplicate).to_vec()));
    assert_eq!(node.log(PART).await.len(), 3);
}

async fn a_request_with_another_body_is_refused_whole(stores: &Stores) {
    let node = stores.owner("node").await;
    let some = |count| (0..count).map(|_| given::ingest(PART)).collect::<Vec<_>>();
    request(&node, [1; 16], some(2)).await;

    let longer = request(&node, [2; 16], some(3)).await;
    let miscounted = request(&node, [1; 16], some(3)).await;

    assert_eq!((longer, miscounted), (Submitted::Mismatch, Submitted::Mismatch));
    assert_eq!(node.log(PART).await.len(), 2, "nothing of them was stored");
}

async fn an_event_is_known_by_its_name_under_any_request_key(stores: &Stores) {
    let node = stores.owner("node").await;
    let (first, second, third) = (named_event("x"), named_event("x"), named_event("x"));
    let subject = subject(&first);

    request(&node, [1; 16], vec![first]).await;
    let other_key = Submission {
        request: Some(RequestKey { key: given::hash("other"), body: [1; 16] }),
        ..given::submission(vec![second])
    };
    let other_key = submit_one(&node, other_key).await;
    let without = node.submit(vec![third]).await;

    assert_eq!(other_key, Submitted::Accepted(vec![Ingested::Duplicate { subject }]));
    assert_eq!(without, [Ingested::Duplicate { subject }]);
    assert_eq!(node.log(PART).await.len(), 1);
}

async fn of_equal_requests_in_one_batch_the_first_counts(stores: &Stores) {
    let node = stores.owner("node").await;
    let (first, second, third) = (given::ingest(PART), given::ingest(PART), given::ingest(PART));
    let subject = subject(&first);
    let of = |body, ingest| Submission {
        request: Some(RequestKey { key: given::hash("k"), body }),
        ..given::submission(vec![ingest])
    };
    let submissions = vec![of([1; 16], first), of([1; 16], second), of([2; 16], third)];

    let receipt = node.commit(Commit { submissions, ..Commit::default() }).await.unwrap();

    let expected = [
        Submitted::Accepted(vec![Ingested::Stored]),
        Submitted::Accepted(vec![Ingested::Duplicate { subject }]),
        Submitted::Mismatch,
    ];
    assert_eq!(receipt.submissions, expected);
    assert_eq!(places(&node.log(PART).await), [1]);
}

async fn of_equal_keys_in_one_batch_the_first_counts(stores: &Stores) {
    let node = stores.owner("node").await;
    let keyed = || {
        let ingest = given::ingest(PART);
        let subject = ingest.event.as_ref().unwrap().id.0;
        Ingest { dedupe: Some(given::dedupe("k", subject)), ..ingest }
    };
    let (first, second) = (keyed(), keyed());
    let subject = first.dedupe.unwrap().subject;

    let in_one = node.submit(vec![first, second]).await;

    let duplicate = Ingested::Duplicate { subject };
    assert_eq!(in_one, [Ingested::Stored, duplicate]);
    assert_eq!(places(&node.log(PART).await), [1]);
}

async fn keys_of_other_tenants_are_other_keys(stores: &Stores) {
    let node = stores.owner("node").await;
    let acme = create_tenant(&node, "acme").await;
    let of = |tenant| {
        let work = Work { tenant, ..given::work(None) };
        let dedupe = Some(given::dedupe("k", work.id.0));
        let job = Ingest { dedupe, ..given::job(PART, work) };
        Submission { tenant, ..given::submission(vec![job]) }
    };
    let batch = Commit { submissions: vec![of(TenantId::ADMIN), of(acme)], ..Commit::default() };

    let receipt = node.commit(batch).await.unwrap();

    let stored = Submitted::Accepted(vec![Ingested::Stored]);
    assert_eq!(receipt.submissions, [stored.clone(), stored]);
}

/// An event that is known by its name.
fn named_event(name: &str) -> Ingest {
    let ingest = given::ingest(PART);
    let dedupe = Some(given::dedupe(name, subject(&ingest)));
    Ingest { dedupe, ..ingest }
}

fn subject(ingest: &Ingest) -> Uuid {
    ingest.subject().expect("an event has an id")
}

/// Submits under the request key "k".
async fn request(node: &Node, body: [u8; 16], ingests: Vec<Ingest>) -> Submitted {
    let request = Some(RequestKey { key: given::hash("k"), body });
    submit_one(node, Submission { request, ..given::submission(ingests) }).await
}

async fn submit_one(node: &Node, submission: Submission) -> Submitted {
    let batch = Commit { submissions: vec![submission], ..Commit::default() };
    node.commit(batch).await.unwrap().submissions.remove(0)
}
