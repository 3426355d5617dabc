//! What becomes of old rows.

use super::*;

async fn open(folder: &Folder) -> SqliteStore {
    let options = SqliteOptions { keep_days: Some(30), ..SqliteOptions::default() };
    SqliteStore::connect(&folder.path(), options, folder.clock.clone()).await.unwrap()
}

fn end(ingest: &Ingest, fence: Fence, number: i64, dead: Option<&str>) -> Finish {
    Finish {
        item: Item {
            work: Arc::clone(&ingest.works[0].1),
            part: fence.part,
            ord: Seq(number),
            home: Home::Log,
            attempts: Vec::new(),
            losses: 0,
            event: None,
        },
        fin: number,
        epoch: fence.epoch,
        status: if dead.is_some() { Status::Failed } else { Status::Completed },
        started_at: None,
        ended_at: "2026-01-31T23:10:00Z".parse().unwrap(),
        output: None,
        error: None,
        dead: dead.map(str::to_owned),
    }
}

/// Three events of long ago: one is done, one is dead, and one still waits.
async fn given_history(store: &SqliteStore) -> (Fence, actions_domain::id::NodeId) {
    let node = store.join("node").await.unwrap();
    let lease = store.claim(node, &[], 1).await.unwrap()[0];
    let fence = Fence { part: lease.part, epoch: lease.epoch };
    let ingests: Vec<Ingest> = (0..3).map(|n| event(n, "x".repeat(20))).collect();
    let finishes =
        vec![end(&ingests[0], fence, 1, None), end(&ingests[1], fence, 2, Some("cause"))];
    let batch = Commit { node: Some(node), fences: vec![fence], finishes, ..submit(ingests) };
    store.commit(batch).await.unwrap();
    (fence, node)
}

async fn counts(store: &SqliteStore) -> [i64; 3] {
    [
        count(store, "select count(*) from engine_event").await,
        count(store, "select count(*) from engine_execution").await,
        count(store, "select count(*) from engine_dead").await,
    ]
}

#[tokio::test]
async fn history_beyond_its_days_is_removed_and_what_waits_keeps_its_event() {
    let folder = Folder::new();
    let store = open(&folder).await;
    let (fence, node) = given_history(&store).await;
    store.tend().await.unwrap();
    assert_eq!(counts(&store).await, [3, 2, 1], "the log may still hold them");

    store.note_low(node, &[(fence, Seq(3))]).await.unwrap();
    store.tend().await.unwrap();

    assert_eq!(counts(&store).await, [1, 0, 0]);
    let waiting = store.window(Part(0), Seq(1), 10).await.unwrap();
    assert_eq!(waiting.items.len(), 1);
    let event = waiting.items[0].work.event.unwrap();
    assert_eq!(store.events(&[event]).await.unwrap().len(), 1);
    assert_eq!(store.tend().await.unwrap(), 0);
}

#[tokio::test]
async fn history_within_its_days_stays() {
    let folder = Folder::new();
    let store = open(&folder).await;
    let (fence, node) = given_history(&store).await;
    store.note_low(node, &[(fence, Seq(3))]).await.unwrap();
    // The ids of these events are of 1970-01-01T00:17:28Z.
    folder.clock.set("1970-01-31T00:17:28Z".parse().unwrap());
    assert_eq!(store.tend().await.unwrap(), 0);
    folder.clock.set("1970-01-31T00:17:29Z".parse().unwrap());
    assert!(store.tend().await.unwrap() > 0);
}

#[tokio::test]
async fn a_file_gets_smaller_when_much_was_removed() {
    let folder = Folder::new();
    let store = open(&folder).await;
    let node = store.join("node").await.unwrap();
    let lease = store.claim(node, &[], 1).await.unwrap()[0];
    let fence = Fence { part: lease.part, epoch: lease.epoch };
    let pages = async || count(&store, "select page_count from pragma_page_count").await;
    for batch in 0..12 {
        let ingests: Vec<Ingest> =
            (0..200).map(|n| event(batch * 200 + n, "x".repeat(10_000))).collect();
        let finishes = (i64::try_from(batch).unwrap() * 200 + 1..)
            .zip(&ingests)
            .map(|(number, ingest)| end(ingest, fence, number, None))
            .collect();
        let batch = Commit { node: Some(node), fences: vec![fence], finishes, ..submit(ingests) };
        store.commit(batch).await.unwrap();
    }
    let before = pages().await;
    store.note_low(node, &[(fence, Seq(2_401))]).await.unwrap();
    while store.tend().await.unwrap() > 0 {}
    let after = pages().await;
    assert!(after < before - 1_000, "{before} pages before, {after} after");
}
