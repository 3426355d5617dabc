//! A stream of events in one process's memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::event_stream::{Backlog, Entry, EventStream, RefusedEntry, StreamError};
use async_trait::async_trait;
use tokio::sync::Notify;

/// A stream with one group of consumers.
pub struct MemoryStream {
    clock: Arc<dyn Clock>,
    tables: Mutex<Tables>,
    news: Notify,
}

#[derive(Default)]
struct Tables {
    /// There is a group of consumers.
    is_open: bool,
    /// Grows also over a flush: ids are never used again.
    next: u64,
    entries: BTreeMap<u64, Row>,
    aside: Vec<RefusedEntry>,
}

struct Row {
    fields: Vec<(String, Vec<u8>)>,
    taken: Option<(String, Timestamp)>,
}

impl MemoryStream {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, tables: Mutex::default(), news: Notify::new() }
    }

    /// Forgets everything, as a server does that restarts without its data.
    pub fn flush(&self) {
        let mut tables = self.lock();
        *tables = Tables { next: tables.next, ..Tables::default() };
        self.news.notify_waiters();
    }

    /// What was set aside.
    pub fn aside(&self) -> Vec<RefusedEntry> {
        self.lock().aside.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, change: impl FnOnce(&mut Tables) -> T) -> Result<T, StreamError> {
        let mut tables = self.lock();
        if tables.is_open { Ok(change(&mut tables)) } else { Err(StreamError::NotOpen) }
    }

    fn hand_out(
        &self,
        consumer: &str,
        count: usize,
        is_wanted: impl Fn(u64, &Row) -> bool,
    ) -> Result<Vec<Entry>, StreamError> {
        let now = self.clock.now();
        self.with(|tables| {
            let rows = tables.entries.iter_mut().filter(|(id, row)| is_wanted(**id, row));
            let taken = rows.take(count).map(|(id, row)| {
                row.taken = Some((consumer.to_owned(), now));
                Entry { id: id.to_string(), fields: row.fields.clone() }
            });
            taken.collect()
        })
    }
}

#[async_trait]
impl EventStream for MemoryStream {
    fn name(&self) -> &str {
        "memory"
    }

    async fn open(&self) -> Result<(), StreamError> {
        self.lock().is_open = true;
        Ok(())
    }

    async fn take(
        &self,
        consumer: &str,
        count: usize,
        wait: Duration,
    ) -> Result<Vec<Entry>, StreamError> {
        let is_new = |_: u64, row: &Row| row.taken.is_none();
        let news = self.news.notified();
        let found = self.hand_out(consumer, count, is_new)?;
        if !found.is_empty() || wait.is_zero() {
            return Ok(found);
        }
        tokio::select! {
            () = news => {}
            () = self.clock.sleep(wait) => {}
        }
        self.hand_out(consumer, count, is_new)
    }

    async fn taken(
        &self,
        consumer: &str,
        after: Option<&str>,
        count: usize,
    ) -> Result<Vec<Entry>, StreamError> {
        let after = after.and_then(|id| id.parse().ok()).unwrap_or(0);
        self.with(|tables| {
            let is_own = |row: &Row| row.taken.as_ref().is_some_and(|(owner, _)| owner == consumer);
            let own = tables.entries.range(after + 1..).filter(|(_, row)| is_own(row));
            own.take(count)
                .map(|(id, row)| Entry { id: id.to_string(), fields: row.fields.clone() })
                .collect()
        })
    }

    async fn take_over(
        &self,
        consumer: &str,
        idle: Duration,
        count: usize,
    ) -> Result<Vec<Entry>, StreamError> {
        let now = self.clock.now();
        self.hand_out(consumer, count, |_, row| {
            let since = row.taken.as_ref().map(|(_, at)| (now - *at).to_std().unwrap_or_default());
            since.is_some_and(|since| since >= idle)
        })
    }

    async fn acknowledge(&self, ids: &[String]) -> Result<(), StreamError> {
        self.with(|tables| {
            for id in ids.iter().filter_map(|id| id.parse::<u64>().ok()) {
                tables.entries.remove(&id);
            }
        })
    }

    async fn set_aside(&self, refused: &[RefusedEntry]) -> Result<(), StreamError> {
        self.with(|tables| {
            for refused in refused {
                if let Ok(id) = refused.entry.id.parse() {
                    tables.entries.remove(&id);
                }
                tables.aside.push(refused.clone());
            }
        })
    }

    async fn backlog(&self) -> Result<Backlog, StreamError> {
        self.with(|tables| {
            let taken = tables.entries.values().filter(|row| row.taken.is_some()).count() as u64;
            Backlog { waiting: Some(tables.entries.len() as u64 - taken), taken }
        })
    }

    async fn put(&self, entries: &[Vec<(String, Vec<u8>)>]) -> Result<(), StreamError> {
        {
            let mut tables = self.lock();
            for fields in entries {
                tables.next += 1;
                let (id, row) = (tables.next, Row { fields: fields.clone(), taken: None });
                tables.entries.insert(id, row);
            }
        }
        self.news.notify_waiters();
        Ok(())
    }
}
