//! A partition's log: its numbers, its windows, and what is read back.

use std::time::Duration;

use actions_domain::event::Attributes;
use actions_domain::execution::Priority;
use actions_domain::id::TenantId;
use actions_domain::json::Json;
use actions_domain::limits::WINDOW_BYTES_MAX;
use actions_domain::work::{Commit, Key, KeyMode, Seq, Skip, Work};
use serde_json::json;
use uuid::Uuid;

use super::super::given::{self, OTHER_PART, PART};
use super::super::stores::{PARTS, Stores};
use super::places;

contract! { Store:
    sequence_numbers_of_a_partition_have_no_gaps,
    concurrent_commits_leave_no_gaps,
    a_window_reads_the_log_in_order_and_says_where_it_goes_on,
    a_window_leaves_out_what_is_finished_or_moved,
    a_window_passes_over_what_nobody_wants,
    a_window_ends_where_its_inputs_are_large,
    a_work_is_read_back_as_it_was_written,
    an_event_is_read_back_as_it_was_written,
    tails_are_the_next_numbers,
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

    let first = store.window(PART, Seq(1), 3, &[]).await.unwrap();
    let second = store.window(PART, first.next.unwrap(), 3, &[]).await.unwrap();
    let third = store.window(PART, second.next.unwrap(), 3, &[]).await.unwrap();

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

    let window = node.ports.store.window(PART, Seq(1), 10, &[]).await.unwrap();

    assert_eq!(window.items, [items[1].clone()]);
    assert_eq!(window.next, Some(Seq(5)));
}

async fn a_window_passes_over_what_nobody_wants(stores: &Stores) {
    let node = stores.owner("node").await;
    let tenant = given::work(None).tenant;
    let key = Key::parse("order:9", KeyMode::Mutate).unwrap();
    let in_lane = |lane| given::job(PART, Work { lane, ..given::work(None) });
    let keyed = given::job(PART, Work { key: Some(key), ..given::work(None) });
    let jobs = vec![
        in_lane(Priority::Low),
        in_lane(Priority::High),
        keyed,
        in_lane(Priority::Low),
        in_lane(Priority::Normal),
        in_lane(Priority::Low),
    ];
    let items = node.enqueue_these(PART, jobs).await;
    let store = &node.ports.store;

    let skip = [Skip::Lane(tenant, Priority::Low), Skip::Keyed(tenant)];
    let first = store.window(PART, Seq(1), 1, &skip).await.unwrap();
    let second = store.window(PART, first.next.unwrap(), 10, &skip).await.unwrap();
    let of_another = [Skip::Lane(TenantId(tenant.0 + 1), Priority::Low)];
    let all = store.window(PART, Seq(1), 10, &of_another).await.unwrap();

    assert_eq!((first.items, first.next), (vec![items[1].clone()], Some(Seq(3))));
    assert_eq!((second.items, second.next), (vec![items[4].clone()], Some(Seq(7))));
    assert_eq!(all.items, items);
}

async fn a_window_ends_where_its_inputs_are_large(stores: &Stores) {
    let node = stores.owner("node").await;
    let large = Json::from_value(&json!("x".repeat(WINDOW_BYTES_MAX / 2)));
    let jobs =
        (0..4).map(|_| given::job(PART, Work { input: Some(large.clone()), ..given::work(None) }));
    let items = node.enqueue_these(PART, jobs.collect()).await;

    let first = node.ports.store.window(PART, Seq(1), 10, &[]).await.unwrap();
    let second = node.ports.store.window(PART, first.next.unwrap(), 10, &[]).await.unwrap();

    assert_eq!((first.items.len(), first.next), (2, Some(Seq(3))));
    assert_eq!([first.items, second.items].concat(), items);
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
