//! What every `Store` must do: accept, number, move and end work.

use std::collections::BTreeSet;
use std::time::Duration;

use actions_domain::event::Attributes;
use actions_domain::execution::{Priority, Status};
use actions_domain::id::{ExecutionId, TenantId};
use actions_domain::json::Json;
use actions_domain::ports::definitions::Expected;
use actions_domain::ports::store::{DueQuery, IntakeRow, StoreError};
use actions_domain::tenant::TenantSlug;
use actions_domain::work::{
    Cancel, Commit, Discard, Home, Ingest, Ingested, IntakeRefusal, Item, Key, KeyMode, Later,
    Part, RequestKey, Seq, Submission, Submitted, Why, Work,
};
use serde_json::json;
use uuid::Uuid;

use super::given::{self, OTHER_PART, PART};
use super::stores::{Node, PARTS, Stores, submit};

contract! { Store:
    a_batch_is_written_whole_or_not_at_all,
    an_old_epoch_cannot_commit,
    a_node_cannot_commit_under_the_lease_of_another,
    a_write_in_a_partition_without_its_fence_is_refused,
    a_submission_needs_no_lease,
    an_unknown_tenant_is_refused_and_nothing_is_written,
    sequence_numbers_of_a_partition_have_no_gaps,
    concurrent_commits_leave_no_gaps,
    a_window_reads_the_log_in_order_and_says_where_it_goes_on,
    a_window_leaves_out_what_is_finished_or_moved,
    a_work_is_read_back_as_it_was_written,
    an_event_is_read_back_as_it_was_written,
    a_large_batch_is_one_batch,
    tails_are_the_next_numbers,
    a_delayed_work_waits_among_the_later_items_and_takes_no_number,
    a_repeated_submission_of_an_event_is_harmless,
    a_repeated_submission_of_a_job_is_harmless,
    a_repetition_is_answered_with_the_first_subject,
    a_request_is_accepted_once_and_answered_with_what_it_first_led_to,
    a_request_with_another_body_is_refused_whole,
    an_event_is_known_by_its_name_under_any_request_key,
    of_equal_requests_in_one_batch_the_first_counts,
    of_equal_keys_in_one_batch_the_first_counts,
    keys_of_other_tenants_are_other_keys,
    stale_submissions_are_left_out_alone,
    a_work_item_is_finished_once,
    an_item_finished_twice_in_one_batch_is_finished_once,
    a_finished_item_is_not_moved_back,
    a_retry_lives_among_the_later_items_with_its_place_and_attempts,
    a_retry_can_be_retried,
    a_finish_removes_the_item_from_wherever_it_lives,
    due_times_are_on_the_clock_of_the_store,
    held_items_come_first_then_those_due_first,
    marked_items_are_found_wherever_they_live,
    a_retry_removes_the_mark_and_a_finish_too,
    a_finished_item_cannot_be_marked,
    a_cancel_stays_until_an_end_answers_it,
    a_cancel_of_what_is_not_unfinished_is_not_kept,
    a_dead_letter_is_requeued_once,
    a_requeue_of_what_is_not_dead_does_not_use_up_its_key,
    a_dead_letter_is_discarded_once,
    intake_rows_appear_with_the_commit_of_their_transaction,
    intake_rows_go_with_their_submission_or_not_at_all,
    an_intake_row_stays_when_its_own_submission_is_stale,
    refused_intake_rows_are_kept_with_the_reason,
    every_accepted_work_is_in_exactly_one_home,
    an_empty_batch_does_nothing,
}

async fn a_batch_is_written_whole_or_not_at_all(stores: &Stores) {
    let left = stores.owner("left").await;
    let items = left.enqueue(PART, 2).await;
    let right = stores.take_over("right", &left).await;
    let tails = right.ports.store.tails().await.unwrap();
    let ingest = given::ingest(OTHER_PART);
    let event = ingest.event.clone().unwrap();

    let batch = Commit {
        submissions: vec![given::submission(vec![ingest])],
        finishes: vec![left.end(&items[0])],
        retries: vec![given::retry(&items[1], left.id, Duration::ZERO)],
        cancels: vec![cancel(&items[1])],
        ..left.batch()
    };
    let refused = left.commit(batch).await;

    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    assert!(right.ports.store.events(&[event.id]).await.unwrap().is_empty());
    assert_eq!(right.ports.store.tails().await.unwrap(), tails);
    assert_eq!(right.log(PART).await.len(), 2);
    assert!(right.ports.store.cancels().await.unwrap().is_empty());
}

async fn an_old_epoch_cannot_commit(stores: &Stores) {
    let left = stores.owner("left").await;
    let item = left.enqueue(PART, 1).await.remove(0);
    let right = stores.take_over("right", &left).await;

    let late = left.finish(&item).await;
    let current = right.finish(&item).await;

    let Err(StoreError::Fenced { lost }) = late else { panic!("not fenced: {late:?}") };
    assert!(lost.contains(&PART), "{lost:?}");
    assert!(current.is_ok(), "{current:?}");
}

async fn a_node_cannot_commit_under_the_lease_of_another(stores: &Stores) {
    let owner = stores.owner("owner").await;
    let item = owner.enqueue(PART, 1).await.remove(0);
    let other = stores.join("other").await;

    let stolen = Commit { node: Some(other.id), finishes: vec![owner.end(&item)], ..owner.batch() };
    let nobody = Commit { node: None, ..stolen.clone() };

    for batch in [stolen, nobody] {
        let refused = owner.commit(batch).await;
        assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    }
    assert_eq!(owner.log(PART).await.len(), 1);
}

async fn a_write_in_a_partition_without_its_fence_is_refused(stores: &Stores) {
    let owner = stores.owner("owner").await;
    let item = owner.enqueue(PART, 1).await.remove(0);

    let fences = vec![owner.fence(OTHER_PART)];
    let batch = Commit { fences, finishes: vec![owner.end(&item)], ..owner.batch() };
    let refused = owner.commit(batch).await;

    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    assert_eq!(owner.log(PART).await.len(), 1);
}

async fn a_submission_needs_no_lease(stores: &Stores) {
    let ports = stores.open().await;
    let ingested = submit(&ports, vec![given::ingest(PART)]).await;
    assert_eq!(ingested, [Ingested::Stored]);
}

async fn an_unknown_tenant_is_refused_and_nothing_is_written(stores: &Stores) {
    let node = stores.owner("node").await;
    let known = given::submission(vec![given::ingest(PART)]);
    let unknown = Submission { tenant: TenantId(404), ..given::submission(Vec::new()) };

    let batch = Commit { submissions: vec![known, unknown], ..Commit::default() };
    let refused = node.commit(batch).await;

    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    assert!(node.log(PART).await.is_empty());
}

async fn sequence_numbers_of_a_partition_have_no_gaps(stores: &Stores) {
    let node = stores.owner("node").await;
    for _ in 0..3 {
        node.enqueue(PART, 2).await;
        // A repetition takes no number.
        let known = given::ingest(PART);
        node.submit(vec![known.clone()]).await;
        let mixed = vec![known, given::ingest(OTHER_PART), given::ingest(PART)];
        let batch = Commit { submissions: vec![given::submission(mixed)], ..Commit::default() };
        let receipt = node.commit(batch).await.unwrap();
        assert_eq!(receipt.first.len(), 2, "{receipt:?}");
    }

    assert_eq!(places(&node.log(PART).await), (1..=12).collect::<Vec<i64>>());
    assert_eq!(places(&node.log(OTHER_PART).await), [1, 2, 3]);
}

async fn concurrent_commits_leave_no_gaps(stores: &Stores) {
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let node = stores.join("writer").await;
        writers.spawn(async move {
            for _ in 0..10 {
                let mixed = vec![given::ingest(PART), given::ingest(OTHER_PART)];
                node.submit(mixed).await;
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }

    let reader = stores.owner("reader").await;
    for part in [PART, OTHER_PART] {
        assert_eq!(places(&reader.log(part).await), (1..=40).collect::<Vec<i64>>());
    }
}

async fn a_window_reads_the_log_in_order_and_says_where_it_goes_on(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 5).await;
    let store = &node.ports.store;

    let first = store.window(PART, Seq(1), 3).await.unwrap();
    let second = store.window(PART, first.next.unwrap(), 3).await.unwrap();
    let third = store.window(PART, second.next.unwrap(), 3).await.unwrap();

    assert_eq!([first.items, second.items].concat(), items);
    assert_eq!(first.next, Some(Seq(4)));
    assert_eq!(second.next, Some(Seq(6)));
    assert_eq!((third.items, third.next), (Vec::new(), Some(Seq(6))));
}

async fn a_window_leaves_out_what_is_finished_or_moved(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 4).await;
    node.finish(&items[0]).await.unwrap();
    node.retry(given::retry(&items[2], node.id, Duration::from_secs(60))).await.unwrap();
    node.finish(&items[3]).await.unwrap();

    let window = node.ports.store.window(PART, Seq(1), 10).await.unwrap();

    assert_eq!(window.items, [items[1].clone()]);
    assert_eq!(window.next, Some(Seq(5)));
}

async fn a_work_is_read_back_as_it_was_written(stores: &Stores) {
    let node = stores.owner("node").await;
    let key = |mode| Some(Key::parse("order:9:line:ä", mode).unwrap());
    let modes = [KeyMode::Read, KeyMode::Create, KeyMode::Mutate];
    let works = modes.map(|mode| Work {
        lane: Priority::Critical,
        defs: 3,
        key: key(mode),
        parent: Some(given::execution_id(-5)),
        input: Some(Json::parse(r#"{"n": 1.0000000000000000001, "ü": [ ]}"#).unwrap()),
        depth: 4,
        ..given::work(None)
    });
    let jobs = works.map(|work| given::job(PART, work)).to_vec();

    let items = node.enqueue_these(PART, jobs).await;

    assert_eq!(node.log(PART).await, items);
}

async fn an_event_is_read_back_as_it_was_written(stores: &Stores) {
    let node = stores.owner("node").await;
    let attributes: Attributes = serde_json::from_value(json!({
        "time": "2026-01-31T23:59:59.123456Z", "subject": "a \"b\"", "priority": "high",
        "user_id": Uuid::from_u128(7), "metadata": {"ip": "::1"}, "extensions": {"x": 1},
        "depth": 3, "by_engine": true,
    }))
    .unwrap();
    let event = actions_domain::event::Event {
        external_id: Some("n° 1".to_owned()),
        data: Json::parse(
            r#"{"big": 12345678901234567890123, "f": 1.50, "s": "é€\ud83d\ude00\n"}"#,
        )
        .unwrap(),
        attributes,
        ..given::event()
    };
    let plain = given::event();
    let ids = [event.id, given::event_id(0), plain.id];
    node.submit(vec![
        given::ingest_of(event.clone(), vec![]),
        given::ingest_of(plain.clone(), vec![]),
    ])
    .await;

    let mut found = node.ports.store.events(&ids).await.unwrap();

    found.sort_by_key(|found| found.id != event.id);
    assert_eq!(found, [event, plain]);
}

async fn a_large_batch_is_one_batch(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 777).await;
    assert_eq!(node.log(PART).await, items);

    let (ends, rest) = items.split_at(600);
    let batch = Commit {
        finishes: ends.iter().map(|item| node.end(item)).collect(),
        retries: (rest.iter())
            .map(|item| given::retry(item, node.id, Duration::from_secs(9)))
            .collect(),
        ..node.batch()
    };
    node.commit(batch).await.unwrap();

    assert!(node.log(PART).await.is_empty());
    assert_eq!(due(&node, PART, 60).await.len(), 177);
    let events: Vec<_> = items.iter().filter_map(|item| item.work.event).collect();
    assert_eq!(node.ports.store.events(&events).await.unwrap().len(), 777);
}

async fn tails_are_the_next_numbers(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 3).await;
    node.finish(&items[2]).await.unwrap();

    let mut tails = node.ports.store.tails().await.unwrap();

    tails.sort_unstable();
    assert_eq!(tails[0], (PART, Seq(4)));
    assert_eq!(tails.len(), usize::from(PARTS));
    assert!(tails[1..].iter().all(|(_, next)| *next == Seq(1)), "{tails:?}");
}

async fn a_delayed_work_waits_among_the_later_items_and_takes_no_number(stores: &Stores) {
    let node = stores.owner("node").await;
    let work = Work { delay: Some(Duration::from_secs(30)), ..given::work(None) };
    let id = work.id;
    let ingests = vec![given::ingest(PART), given::job(PART, work), given::ingest(PART)];
    let batch = Commit { submissions: vec![given::submission(ingests)], ..Commit::default() };

    let receipt = node.commit(batch).await.unwrap();

    assert_eq!(receipt.first, [(PART, Seq(1))]);
    assert_eq!(places(&node.log(PART).await), [1, 2]);
    let laters = due(&node, PART, 60).await;
    assert_eq!(laters.len(), 1);
    let later = &laters[0];
    assert_eq!((later.item.work.id, later.item.home, later.why), (id, Home::Later, Why::Delay));
    assert!(!later.hold && later.item.attempts.is_empty() && later.item.losses == 0);
    assert!((1..=3).contains(&later.item.ord.0), "its place is where it was accepted");
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

async fn stale_submissions_are_left_out_alone(stores: &Stores) {
    let node = stores.owner("node").await;
    save_action(&node, "first").await;
    let current = save_action(&node, "second").await;
    let matched_with = |defs| Submission { defs, ..given::submission(vec![given::ingest(PART)]) };

    let submissions = [Some(current - 1), Some(current), None].map(matched_with).to_vec();
    let event = submissions[0].ingests[0].event.clone().unwrap();
    let again = Submission { defs: Some(current), ..submissions[0].clone() };
    let batch = Commit { submissions, ..Commit::default() };
    let receipt = node.commit(batch).await.unwrap();

    let stored = Submitted::Accepted(vec![Ingested::Stored]);
    let stale = Submitted::Stale { defs: current };
    assert_eq!(receipt.submissions, [stale, stored.clone(), stored.clone()]);
    assert!(node.ports.store.events(&[event.id]).await.unwrap().is_empty());
    assert_eq!(places(&node.log(PART).await), [1, 2]);

    let batch = Commit { submissions: vec![again], ..Commit::default() };
    assert_eq!(node.commit(batch).await.unwrap().submissions, [stored]);
}

async fn a_work_item_is_finished_once(stores: &Stores) {
    let node = stores.owner("node").await;
    let item = node.enqueue(PART, 1).await.remove(0);
    node.finish(&item).await.unwrap();
    let before = find(&node, &item).await;

    node.bury(&item, "f").await;

    assert_eq!(find(&node, &item).await, before);
    assert_eq!(before.status, Status::Completed);
    let dead = node.ports.history.find_dead_letter(TenantId::ADMIN, item.work.id).await;
    assert_eq!(dead.unwrap(), None);
    let counts = node.ports.history.action_counts(TenantId::ADMIN, None, None).await.unwrap();
    assert_eq!((counts[0].completed, counts[0].failed), (1, 0));
}

async fn an_item_finished_twice_in_one_batch_is_finished_once(stores: &Stores) {
    let node = stores.owner("node").await;
    let item = node.enqueue(PART, 1).await.remove(0);

    let finishes = vec![node.end(&item), given::death(node.end(&item), "f")];
    node.commit(Commit { finishes, ..node.batch() }).await.unwrap();

    assert_eq!(find(&node, &item).await.status, Status::Completed);
    let counts = node.ports.history.action_counts(TenantId::ADMIN, None, None).await.unwrap();
    assert_eq!((counts[0].completed, counts[0].failed), (1, 0));
}

async fn a_finished_item_is_not_moved_back(stores: &Stores) {
    let node = stores.owner("node").await;
    let item = node.enqueue(PART, 1).await.remove(0);
    node.finish(&item).await.unwrap();

    node.retry(given::retry(&item, node.id, Duration::ZERO)).await.unwrap();

    assert!(due(&node, PART, 60).await.is_empty());
    assert_eq!(find(&node, &item).await.status, Status::Completed);
}

async fn a_retry_lives_among_the_later_items_with_its_place_and_attempts(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 3).await;
    let mut later = given::retry(&items[1], node.id, Duration::from_secs(30));
    later.hold = true;
    later.item.losses = 2;

    node.retry(later.clone()).await.unwrap();

    let found = due(&node, PART, 60).await.remove(0);
    assert_eq!(found.item, later.item);
    assert_eq!(found.item.ord, items[1].ord);
    assert_eq!((found.why, found.hold), (Why::Retry, true));
    assert_eq!(places(&node.log(PART).await), [1, 3]);
}

async fn a_retry_can_be_retried(stores: &Stores) {
    let node = stores.owner("node").await;
    let item = node.enqueue(PART, 1).await.remove(0);
    let first = given::retry(&item, node.id, Duration::from_secs(5));
    node.retry(first.clone()).await.unwrap();
    let second =
        Later { why: Why::Carried, ..given::retry(&first.item, node.id, Duration::from_secs(50)) };

    node.retry(second.clone()).await.unwrap();

    assert!(due(&node, PART, 20).await.is_empty());
    let found = due(&node, PART, 60).await;
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].item, found[0].why), (&second.item, Why::Carried));
    assert_eq!(found[0].item.attempts.len(), 2);
}

async fn a_finish_removes_the_item_from_wherever_it_lives(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 2).await;
    node.retry(given::retry(&items[0], node.id, Duration::ZERO)).await.unwrap();
    let marks = vec![items[1].clone()];
    let cancels = items.iter().map(cancel).collect();
    node.commit(Commit { marks, cancels, ..node.batch() }).await.unwrap();

    // The first one's owner may still believe that it lives in the log.
    let finishes = items.iter().map(|item| node.end(item)).collect();
    node.commit(Commit { finishes, ..node.batch() }).await.unwrap();

    assert!(node.log(PART).await.is_empty());
    assert!(due(&node, PART, 60).await.is_empty());
    assert!(node.ports.store.marked(PART).await.unwrap().is_empty());
    assert!(node.ports.store.cancels().await.unwrap().is_empty());
}

async fn due_times_are_on_the_clock_of_the_store(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 3).await;
    let delays = [0, 30, 90].map(Duration::from_secs);
    let retries = (items.iter().zip(delays))
        .map(|(item, delay)| given::retry(item, node.id, delay))
        .collect();
    let before = node.ports.store.now().await.unwrap();
    node.commit(Commit { retries, ..node.batch() }).await.unwrap();

    let found = due(&node, PART, 60).await;

    let passed = (node.ports.store.now().await.unwrap() - before).to_std().unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].delay, Duration::ZERO);
    let (longest, shortest) = (delays[1], delays[1].saturating_sub(passed));
    assert!((shortest..=longest).contains(&found[1].delay), "{:?}", found[1].delay);
}

async fn held_items_come_first_then_those_due_first(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 4).await;
    let plans = [(20, false), (40, true), (10, false), (30, true)];
    let retries = (items.iter().zip(plans))
        .map(|(item, (seconds, hold))| Later {
            hold,
            ..given::retry(item, node.id, Duration::from_secs(seconds))
        })
        .collect();
    node.commit(Commit { retries, ..node.batch() }).await.unwrap();

    let all = due(&node, PART, 60).await;
    let query = DueQuery { part: PART, ahead: Duration::from_secs(60), limit: 3 };
    let some = node.ports.store.due(query).await.unwrap();

    let order: Vec<i64> = all.iter().map(|later| later.item.ord.0).collect();
    assert_eq!(order, [4, 2, 3, 1]);
    assert_eq!(some.len(), 3);
    assert!(due(&node, OTHER_PART, 60).await.is_empty());
}

async fn marked_items_are_found_wherever_they_live(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 3).await;
    let other = node.enqueue(OTHER_PART, 1).await;
    let mut later = given::retry(&items[2], node.id, Duration::ZERO);
    later.item.losses = 1;
    node.retry(later.clone()).await.unwrap();

    let marks = vec![items[0].clone(), later.item.clone(), other[0].clone()];
    node.commit(Commit { marks: marks.clone(), ..node.batch() }).await.unwrap();
    // Marking again changes nothing.
    node.commit(Commit { marks, ..node.batch() }).await.unwrap();

    let mut found = node.ports.store.marked(PART).await.unwrap();
    found.sort_by_key(|item| item.ord);
    assert_eq!(found, [items[0].clone(), later.item], "the unmarked one gains no loss");
    assert_eq!(node.log(PART).await.len(), 2, "a mark does not move");
}

async fn a_retry_removes_the_mark_and_a_finish_too(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 3).await;
    node.commit(Commit { marks: items.clone(), ..node.batch() }).await.unwrap();

    node.retry(given::retry(&items[0], node.id, Duration::ZERO)).await.unwrap();
    node.finish(&items[1]).await.unwrap();

    assert_eq!(node.ports.store.marked(PART).await.unwrap(), [items[2].clone()]);
}

async fn a_finished_item_cannot_be_marked(stores: &Stores) {
    let node = stores.owner("node").await;
    let item = node.enqueue(PART, 1).await.remove(0);
    node.finish(&item).await.unwrap();

    node.commit(Commit { marks: vec![item], ..node.batch() }).await.unwrap();

    assert!(node.ports.store.marked(PART).await.unwrap().is_empty());
}

async fn a_cancel_stays_until_an_end_answers_it(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 2).await;
    node.retry(given::retry(&items[1], node.id, Duration::ZERO)).await.unwrap();
    let cancels: Vec<Cancel> = items.iter().map(cancel).collect();
    // Any node may ask, twice as well.
    for _ in 0..2 {
        let batch = Commit { cancels: cancels.clone(), ..Commit::default() };
        node.commit(batch).await.unwrap();
    }

    let mut found = node.ports.store.cancels().await.unwrap();
    found.sort_by_key(|cancel| cancel.execution);
    let mut expected = cancels.clone();
    expected.sort_by_key(|cancel| cancel.execution);
    assert_eq!(found, expected);

    node.finish(&items[0]).await.unwrap();
    assert_eq!(node.ports.store.cancels().await.unwrap(), cancels[1..]);
}

async fn a_cancel_of_what_is_not_unfinished_is_not_kept(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 2).await;
    let acme = create_tenant(&node, "acme").await;
    node.finish(&items[0]).await.unwrap();

    let unknown = Cancel { tenant: TenantId::ADMIN, execution: given::execution_id(0) };
    let foreign = Cancel { tenant: acme, ..cancel(&items[1]) };
    let cancels = vec![cancel(&items[0]), unknown, foreign];
    node.commit(Commit { cancels, ..Commit::default() }).await.unwrap();

    assert_eq!(node.ports.store.cancels().await.unwrap(), []);
}

async fn a_dead_letter_is_requeued_once(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 2).await;
    node.bury(&items[0], "f").await;
    node.bury(&items[1], "f").await;
    let (first, second) = (given::requeue(PART, &items[0]), given::requeue(PART, &items[0]));
    let repeated = first.works[0].1.id;

    assert_eq!(node.submit(vec![first.clone()]).await, [Ingested::Stored]);
    assert_eq!(node.submit(vec![second]).await, [Ingested::NotDead]);
    // The answer was lost, and the same flush comes again.
    let duplicate = Ingested::Duplicate { subject: repeated.0 };
    assert_eq!(node.submit(vec![first]).await, [duplicate]);
    // Two people at once.
    let (third, fourth) = (given::requeue(PART, &items[1]), given::requeue(PART, &items[1]));
    assert_eq!(node.submit(vec![third, fourth]).await, [Ingested::Stored, Ingested::NotDead]);

    let log = node.log(PART).await;
    assert_eq!(log.len(), 2);
    assert_eq!(log[0].work.parent, Some(items[0].work.id));
    let of_event = (node.ports.history)
        .executions_of_event(TenantId::ADMIN, items[0].work.event.unwrap())
        .await
        .unwrap();
    let ids: Vec<ExecutionId> = of_event.iter().map(|execution| execution.id).collect();
    assert_eq!(ids, [items[0].work.id, repeated]);
}

async fn a_requeue_of_what_is_not_dead_does_not_use_up_its_key(stores: &Stores) {
    let node = stores.owner("node").await;
    let item = node.enqueue(PART, 1).await.remove(0);
    let requeue = given::requeue(PART, &item);

    assert_eq!(node.submit(vec![requeue.clone()]).await, [Ingested::NotDead]);
    node.bury(&item, "f").await;
    assert_eq!(node.submit(vec![requeue]).await, [Ingested::Stored]);
}

async fn a_dead_letter_is_discarded_once(stores: &Stores) {
    let node = stores.owner("node").await;
    let item = node.enqueue(PART, 1).await.remove(0);
    node.bury(&item, "f").await;
    let acme = create_tenant(&node, "acme").await;
    let discard_as = async |tenant| {
        let reason = "known".to_owned();
        let discards = vec![Discard { tenant, execution: item.work.id, reason }];
        node.commit(Commit { discards, ..Commit::default() }).await.unwrap().discarded
    };

    assert_eq!(discard_as(acme).await, 0);
    assert_eq!(discard_as(TenantId::ADMIN).await, 1);
    assert_eq!(discard_as(TenantId::ADMIN).await, 0);

    let dead = node.ports.history.find_dead_letter(TenantId::ADMIN, item.work.id).await;
    assert_eq!(dead.unwrap(), None);
    assert_eq!(find(&node, &item).await.status, Status::Failed, "the execution stays");
    assert_eq!(node.submit(vec![given::requeue(PART, &item)]).await, [Ingested::NotDead]);
}

async fn intake_rows_appear_with_the_commit_of_their_transaction(stores: &Stores) {
    let node = stores.owner("node").await;
    stores.emit("orders.lost", false).await;
    stores.emit("orders.first", true).await;
    stores.emit("orders.second", true).await;

    let rows = node.ports.store.intake(10).await.unwrap();
    let one = node.ports.store.intake(1).await.unwrap();

    let bodies: Vec<serde_json::Value> = rows.iter().map(|row| row.body.to_value()).collect();
    let types: Vec<&str> = bodies.iter().map(|body| body["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["orders.first", "orders.second"]);
    for (row, body) in rows.iter().zip(&bodies) {
        assert_eq!(row.tenant, TenantId::ADMIN);
        assert!(body["id"].as_str().unwrap().parse::<Uuid>().is_ok());
        assert!(row.body.as_str().contains("1.50"), "the data stay as they were sent: {body}");
    }
    assert_eq!(one, rows[..1]);
}

async fn intake_rows_go_with_their_submission_or_not_at_all(stores: &Stores) {
    let left = stores.owner("left").await;
    stores.emit("orders.paid", true).await;
    let right = stores.take_over("right", &left).await;
    let row = right.ports.store.intake(10).await.unwrap().remove(0);
    let ingest = given::ingest(PART);
    let moved = |batch: Commit| Commit {
        submissions: vec![Submission {
            intake: Some(row.id),
            ..given::submission(vec![ingest.clone()])
        }],
        ..batch
    };

    let late = left.commit(moved(left.batch())).await;
    assert!(matches!(late, Err(StoreError::Fenced { .. })), "{late:?}");
    assert_eq!(right.ports.store.intake(10).await.unwrap().len(), 1);
    assert!(right.log(PART).await.is_empty());

    right.commit(moved(right.batch())).await.unwrap();
    assert!(right.ports.store.intake(10).await.unwrap().is_empty());
    assert_eq!(right.log(PART).await.len(), 1);
}

async fn an_intake_row_stays_when_its_own_submission_is_stale(stores: &Stores) {
    let node = stores.owner("node").await;
    stores.emit("orders.paid", true).await;
    stores.emit("orders.sent", true).await;
    let mut rows = node.ports.store.intake(10).await.unwrap();
    save_action(&node, "new").await;

    let of = |row: &IntakeRow, defs| Submission {
        defs,
        intake: Some(row.id),
        ..given::submission(vec![given::ingest(PART)])
    };
    let submissions = vec![of(&rows[0], None), of(&rows[1], Some(0))];
    let receipt = node.commit(Commit { submissions, ..node.batch() }).await.unwrap();

    assert!(matches!(receipt.submissions[1], Submitted::Stale { .. }), "{receipt:?}");
    assert_eq!(node.ports.store.intake(10).await.unwrap(), [rows.remove(1)]);
    assert_eq!(node.log(PART).await.len(), 1);
}

async fn refused_intake_rows_are_kept_with_the_reason(stores: &Stores) {
    let node = stores.owner("node").await;
    stores.emit("orders.paid", true).await;
    stores.emit("orders.sent", true).await;
    let rows = node.ports.store.intake(10).await.unwrap();
    let refuse = |row: &IntakeRow| IntakeRefusal { row: row.id, reason: "too odd".to_owned() };

    let batch = Commit { refusals: rows.iter().map(refuse).collect(), ..node.batch() };
    node.commit(batch).await.unwrap();

    assert!(node.ports.store.intake(10).await.unwrap().is_empty());
    let kept = node.ports.history.refused_intake(TenantId::ADMIN, 10).await.unwrap();
    let newest = node.ports.history.refused_intake(TenantId::ADMIN, 1).await.unwrap();
    let kept: Vec<_> = kept.into_iter().map(|one| (one.row, one.reason)).collect();
    let expected = [1, 0].map(|at: usize| (rows[at].clone(), "too odd".to_owned()));
    assert_eq!(kept, expected, "newest first");
    assert_eq!(newest.len(), 1);
    assert!(node.ports.history.refused_intake(TenantId(404), 10).await.unwrap().is_empty());
}

async fn every_accepted_work_is_in_exactly_one_home(stores: &Stores) {
    let node = stores.owner("node").await;
    let items = node.enqueue(PART, 30).await;
    for (at, item) in items.iter().enumerate() {
        if at % 2 == 0 {
            node.retry(given::retry(item, node.id, Duration::ZERO)).await.unwrap();
        }
        if at % 3 == 0 {
            node.finish(item).await.unwrap();
        }
    }

    let mut homes: Vec<ExecutionId> = Vec::new();
    homes.extend(node.log(PART).await.iter().map(|item| item.work.id));
    homes.extend(due(&node, PART, 60).await.iter().map(|later| later.item.work.id));
    for item in &items {
        if find(&node, item).await.status.is_final() {
            homes.push(item.work.id);
        }
    }

    let all: BTreeSet<ExecutionId> = items.iter().map(|item| item.work.id).collect();
    assert_eq!(homes.len(), 30, "nothing is in two homes");
    assert_eq!(homes.into_iter().collect::<BTreeSet<_>>(), all, "nothing is lost");
}

async fn an_empty_batch_does_nothing(stores: &Stores) {
    let node = stores.owner("node").await;
    let receipt = node.commit(Commit::default()).await.unwrap();
    assert_eq!(receipt, actions_domain::work::Receipt::default());
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

fn places(items: &[Item]) -> Vec<i64> {
    items.iter().map(|item| item.ord.0).collect()
}

fn cancel(item: &Item) -> Cancel {
    Cancel { tenant: item.work.tenant, execution: item.work.id }
}

async fn due(node: &Node, part: Part, ahead_seconds: u64) -> Vec<Later> {
    let ahead = Duration::from_secs(ahead_seconds);
    node.ports.store.due(DueQuery { part, ahead, limit: 1_000 }).await.unwrap()
}

async fn find(node: &Node, item: &Item) -> actions_domain::execution::Execution {
    let found = node.ports.history.find_execution(item.work.tenant, item.work.id).await;
    found.unwrap().expect("every accepted work can be found")
}

async fn create_tenant(node: &Node, slug: &str) -> TenantId {
    let slug = TenantSlug::parse(slug).unwrap();
    let tenant = node.ports.definitions.create_tenant(given::uuid(), &slug, "A tenant").await;
    tenant.unwrap().id
}

/// Changes the definitions of the tenant `admin` and answers their version.
async fn save_action(node: &Node, name: &str) -> i64 {
    let spec = given::action_spec(name);
    let saved = (node.ports.definitions)
        .save_action(TenantId::ADMIN, given::uuid(), &spec, Expected::Absent)
        .await;
    saved.unwrap().version
}
