//! What is submitted twice.

use actions_domain::id::TenantId;
use actions_domain::work::{Commit, Dedupe, Ingested, Submission, Submitted, Work};

use super::super::given::{self, PART};
use super::super::stores::Stores;
use super::{create_tenant, places};

contract! { Store:
    a_repeated_submission_of_an_event_is_harmless,
    a_repeated_submission_of_a_job_is_harmless,
    a_repetition_is_answered_with_the_first_subject,
    another_body_under_one_key_is_told,
    of_equal_keys_in_one_batch_the_first_counts,
    keys_of_other_tenants_are_other_keys,
}

async fn a_repeated_submission_of_an_event_is_harmless(stores: &Stores) {
    let node = stores.owner("node").await;
    let plain = given::ingest(PART);
    let mut keyed = given::ingest(PART);
    let subjects = [&plain, &keyed].map(|ingest| ingest.event.as_ref().unwrap().id.0);
    keyed.dedupe = Some(Dedupe { body: Some([1; 16]), ..given::dedupe("k", subjects[1]) });

    let first = node.submit(vec![plain.clone(), keyed.clone()]).await;
    let second = node.submit(vec![plain, keyed]).await;

    assert_eq!(first, [Ingested::Stored, Ingested::Stored]);
    assert_eq!(second, subjects.map(|subject| Ingested::Duplicate { subject, same_body: true }));
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

    let duplicate = Ingested::Duplicate { subject, same_body: true };
    assert_eq!((while_pending, when_finished), (vec![duplicate], vec![duplicate]));
    assert!(node.log(PART).await.is_empty());
}

async fn a_repetition_is_answered_with_the_first_subject(stores: &Stores) {
    let node = stores.owner("node").await;
    let [first, second] = [1, 2].map(|_| {
        let ingest = given::ingest(PART);
        let subject = ingest.event.as_ref().unwrap().id.0;
        (
            subject,
            actions_domain::work::Ingest { dedupe: Some(given::dedupe("k", subject)), ..ingest },
        )
    });

    node.submit(vec![first.1]).await;
    let repeated = node.submit(vec![second.1.clone()]).await;

    assert_eq!(repeated, [Ingested::Duplicate { subject: first.0, same_body: true }]);
    let event = second.1.event.unwrap().id;
    assert!(node.ports.store.events(&[event]).await.unwrap().is_empty());
    assert_eq!(node.log(PART).await.len(), 1);
}

async fn another_body_under_one_key_is_told(stores: &Stores) {
    let node = stores.owner("node").await;
    let with_body = |body: Option<[u8; 16]>| {
        let ingest = given::ingest(PART);
        let subject = ingest.event.as_ref().unwrap().id.0;
        let dedupe = Some(Dedupe { body, ..given::dedupe("k", subject) });
        actions_domain::work::Ingest { dedupe, ..ingest }
    };
    node.submit(vec![with_body(Some([1; 16]))]).await;

    let bodies = [Some([1; 16]), Some([2; 16]), None];
    let answers = node.submit(bodies.map(with_body).to_vec()).await;

    let same: Vec<bool> = (answers.iter())
        .map(|answer| matches!(answer, Ingested::Duplicate { same_body: true, .. }))
        .collect();
    assert_eq!(same, [true, false, true], "without a body there is nothing to compare");
}

async fn of_equal_keys_in_one_batch_the_first_counts(stores: &Stores) {
    let node = stores.owner("node").await;
    let keyed = || {
        let ingest = given::ingest(PART);
        let subject = ingest.event.as_ref().unwrap().id.0;
        actions_domain::work::Ingest { dedupe: Some(given::dedupe("k", subject)), ..ingest }
    };
    let (first, second) = (keyed(), keyed());
    let subject = first.dedupe.unwrap().subject;

    let in_one = node.submit(vec![first, second]).await;

    let duplicate = Ingested::Duplicate { subject, same_body: true };
    assert_eq!(in_one, [Ingested::Stored, duplicate]);
    assert_eq!(places(&node.log(PART).await), [1]);
}

async fn keys_of_other_tenants_are_other_keys(stores: &Stores) {
    let node = stores.owner("node").await;
    let acme = create_tenant(&node, "acme").await;
    let of = |tenant| {
        let work = Work { tenant, ..given::work(None) };
        let dedupe = Some(given::dedupe("k", work.id.0));
        let job = actions_domain::work::Ingest { dedupe, ..given::job(PART, work) };
        Submission { tenant, ..given::submission(vec![job]) }
    };
    let batch = Commit { submissions: vec![of(TenantId::ADMIN), of(acme)], ..Commit::default() };

    let receipt = node.commit(batch).await.unwrap();

    let stored = Submitted::Accepted(vec![Ingested::Stored]);
    assert_eq!(receipt.submissions, [stored.clone(), stored]);
}
