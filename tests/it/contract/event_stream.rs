//! What every `EventStream` must do: an entry goes to one consumer, and stays until it is
//! acknowledged.

use std::sync::Arc;
use std::time::Duration;

use actions_domain::ports::event_stream::{Backlog, Entry, EventStream, RefusedEntry, StreamError};
use actions_infra::memory::MemoryStream;
use actions_infra::redis::{Redis, RedisStream};
use actions_infra::system::SystemClock;

use crate::support::redis as server;

/// A stream, and a way to lose all that is in it.
struct Given {
    stream: Arc<dyn EventStream>,
    memory: Option<Arc<MemoryStream>>,
}

impl Given {
    fn memory() -> Self {
        let memory = Arc::new(MemoryStream::new(Arc::new(SystemClock)));
        Self { stream: memory.clone(), memory: Some(memory) }
    }

    fn redis() -> Self {
        let redis = Redis::new(&server::url()).unwrap();
        let stream = Arc::new(RedisStream::named(&redis, &server::name("events")));
        Self { stream, memory: None }
    }

    async fn lose_everything(&self) {
        match &self.memory {
            Some(memory) => memory.flush(),
            None => {
                let mut delete = ::redis::cmd("DEL");
                let _: u64 = server::ask(&server::url(), delete.arg(self.stream.name())).await;
            }
        }
    }

    async fn put(&self, texts: &[&str]) {
        let entries: Vec<_> = texts
            .iter()
            .map(|text| {
                vec![
                    ("schema".to_owned(), b"tenant_acme".to_vec()),
                    ("event".to_owned(), text.as_bytes().to_vec()),
                ]
            })
            .collect();
        self.stream.put(&entries).await.unwrap();
    }

    async fn take(&self, consumer: &str, count: usize) -> Vec<Entry> {
        self.stream.take(consumer, count, Duration::ZERO).await.unwrap()
    }
}

macro_rules! contract {
    ($($sentence:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                super::$sentence(&super::Given::memory()).await;
            })+
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                super::$sentence(&super::Given::redis()).await;
            })+
        }
    };
}

contract! {
    entries_are_handed_out_once_and_in_order,
    what_was_put_in_before_the_group_was_made_is_handed_out,
    a_read_waits_for_the_first_entry,
    a_consumer_finds_again_what_it_has_not_acknowledged,
    entries_of_a_silent_consumer_are_taken_over,
    an_acknowledged_entry_never_comes_again,
    a_refused_entry_leaves_the_stream,
    a_lost_stream_says_so_and_can_be_opened_again,
    a_read_that_waits_hears_that_the_stream_is_lost,
    the_backlog_tells_what_waits_and_what_is_taken,
}

fn texts(entries: &[Entry]) -> Vec<&str> {
    let text = |entry| std::str::from_utf8(Entry::field(entry, "event").unwrap()).unwrap();
    entries.iter().map(text).collect()
}

fn ids(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.id.clone()).collect()
}

async fn entries_are_handed_out_once_and_in_order(given: &Given) {
    given.stream.open().await.unwrap();
    given.stream.open().await.unwrap();
    given.put(&["1", "2", "3"]).await;
    let first = given.take("one", 2).await;
    let second = given.take("two", 2).await;
    assert_eq!((texts(&first), texts(&second)), (vec!["1", "2"], vec!["3"]));
    assert_eq!(first[0].field("schema"), Some(b"tenant_acme".as_slice()));
    assert_eq!(given.take("one", 2).await, []);
}

async fn what_was_put_in_before_the_group_was_made_is_handed_out(given: &Given) {
    given.put(&["early"]).await;
    given.stream.open().await.unwrap();
    assert_eq!(texts(&given.take("one", 10).await), ["early"]);
}

async fn a_read_waits_for_the_first_entry(given: &Given) {
    given.stream.open().await.unwrap();
    // Longer than the usual patience with an answer.
    let wait = Duration::from_millis(2_500);
    assert_eq!(given.stream.take("one", 10, wait).await.unwrap(), []);
    let reading = given.stream.take("one", 10, Duration::from_secs(10));
    let (found, ()) = tokio::join!(reading, given.put(&["late"]));
    assert_eq!(texts(&found.unwrap()), ["late"]);
}

async fn a_consumer_finds_again_what_it_has_not_acknowledged(given: &Given) {
    given.stream.open().await.unwrap();
    given.put(&["1", "2", "3"]).await;
    let taken = given.take("one", 10).await;
    given.take("two", 10).await;
    given.stream.acknowledge(&ids(&taken[..1])).await.unwrap();
    let again = given.stream.taken("one", None, 10).await.unwrap();
    assert_eq!(texts(&again), ["2", "3"]);
    let rest = given.stream.taken("one", Some(&again[0].id), 10).await.unwrap();
    assert_eq!(texts(&rest), ["3"]);
    assert_eq!(given.stream.taken("two", None, 10).await.unwrap(), []);
}

async fn entries_of_a_silent_consumer_are_taken_over(given: &Given) {
    given.stream.open().await.unwrap();
    given.put(&["1", "2"]).await;
    given.take("dead", 10).await;
    let long = Duration::from_secs(3_600);
    assert_eq!(given.stream.take_over("living", long, 10).await.unwrap(), []);
    let taken = given.stream.take_over("living", Duration::ZERO, 10).await.unwrap();
    assert_eq!(texts(&taken), ["1", "2"]);
    let own = given.stream.taken("living", None, 10).await.unwrap();
    assert_eq!(texts(&own), ["1", "2"]);
    assert_eq!(given.stream.taken("dead", None, 10).await.unwrap(), []);
}

async fn an_acknowledged_entry_never_comes_again(given: &Given) {
    given.stream.open().await.unwrap();
    given.put(&["1", "2"]).await;
    let taken = given.take("one", 1).await;
    given.stream.acknowledge(&ids(&taken)).await.unwrap();
    // By whomever, and more than once.
    given.stream.acknowledge(&ids(&taken)).await.unwrap();
    assert_eq!(given.stream.taken("one", None, 10).await.unwrap(), []);
    assert_eq!(given.stream.take_over("two", Duration::ZERO, 10).await.unwrap(), []);
    assert_eq!(texts(&given.take("two", 10).await), ["2"]);
}

async fn a_refused_entry_leaves_the_stream(given: &Given) {
    given.stream.open().await.unwrap();
    given.put(&["bad", "good"]).await;
    let taken = given.take("one", 10).await;
    let refused = RefusedEntry { entry: taken[0].clone(), reason: "for a test".to_owned() };
    given.stream.set_aside(&[refused]).await.unwrap();
    assert_eq!(texts(&given.stream.taken("one", None, 10).await.unwrap()), ["good"]);
    if given.memory.is_none() {
        let mut read = ::redis::cmd("XRANGE");
        read.arg(format!("{}:dead", given.stream.name())).arg("-").arg("+");
        let aside: Vec<(String, Vec<String>)> = server::ask(&server::url(), &read).await;
        let id = taken[0].id.as_str();
        let fields = ["entry", id, "reason", "for a test", "schema", "tenant_acme", "event", "bad"];
        assert_eq!(aside[0].1, fields);
    }
}

async fn a_lost_stream_says_so_and_can_be_opened_again(given: &Given) {
    given.stream.open().await.unwrap();
    given.put(&["lost"]).await;
    let taken = given.take("one", 10).await;
    given.lose_everything().await;
    for wait in [Duration::ZERO, Duration::from_millis(10)] {
        let read = given.stream.take("one", 10, wait).await;
        assert!(matches!(read, Err(StreamError::NotOpen)), "{read:?}");
    }
    let own = given.stream.taken("one", None, 10).await;
    assert!(matches!(own, Err(StreamError::NotOpen)), "{own:?}");
    let over = given.stream.take_over("one", Duration::ZERO, 10).await;
    assert!(matches!(over, Err(StreamError::NotOpen)), "{over:?}");
    let backlog = given.stream.backlog().await;
    assert!(matches!(backlog, Err(StreamError::NotOpen)), "{backlog:?}");
    given.stream.open().await.unwrap();
    given.stream.acknowledge(&ids(&taken)).await.unwrap();
    given.put(&["new"]).await;
    assert_eq!(texts(&given.take("one", 10).await), ["new"]);
}

async fn a_read_that_waits_hears_that_the_stream_is_lost(given: &Given) {
    given.stream.open().await.unwrap();
    let reading = given.stream.take("one", 10, Duration::from_secs(10));
    let (read, ()) = tokio::join!(reading, given.lose_everything());
    assert!(matches!(read, Err(StreamError::NotOpen)), "{read:?}");
}

async fn the_backlog_tells_what_waits_and_what_is_taken(given: &Given) {
    given.stream.open().await.unwrap();
    assert_eq!(given.stream.backlog().await.unwrap(), Backlog { waiting: Some(0), taken: 0 });
    given.put(&["1", "2", "3"]).await;
    let taken = given.take("one", 2).await;
    assert_eq!(given.stream.backlog().await.unwrap(), Backlog { waiting: Some(1), taken: 2 });
    given.stream.acknowledge(&ids(&taken)).await.unwrap();
    assert_eq!(given.stream.backlog().await.unwrap().taken, 0);
}
