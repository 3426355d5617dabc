//! Reads work from the store for the scheduler, with the events that it needs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actions_domain::dispatch::Input;
use actions_domain::event::Event;
use actions_domain::id::{EventId, TenantId};
use actions_domain::ports::store::{DueQuery, StoreError};
use actions_domain::work::{Item, Later, Part, Seq, Skip};
use tokio::sync::mpsc;
use tracing::warn;

use super::live::Message;
use super::writer::Lost;
use crate::app::App;
use crate::patience::patiently;

/// Bytes of events that are read with one stretch, about.
const EVENTS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Events of the first read, which shows how large they are.
const EVENTS_AT_FIRST: usize = 16;

/// A stretch to read.
#[derive(Debug, Clone)]
pub(crate) enum Load {
    Log { part: Part, from: Seq, limit: u32, skip: Arc<[Skip]> },
    Due { part: Part, ahead: Duration, limit: u32 },
}

pub(crate) struct Loader {
    pub(crate) app: App,
    pub(crate) scheduler: mpsc::UnboundedSender<Message>,
}

impl Loader {
    pub(crate) async fn run(self, mut loads: mpsc::UnboundedReceiver<Load>) -> Lost {
        while let Some(load) = loads.recv().await {
            // A read may be repeated, so an outage only makes it late.
            let what = "work cannot be read yet";
            let read = patiently(&self.app.ports, what, |_| false, || self.load(&load)).await;
            let input = match read {
                Ok(input) => input,
                Err(error) => return Lost::Store(error),
            };
            if self.scheduler.send(Message::Input(Box::new(input))).is_err() {
                return Lost::LoopEnded;
            }
        }
        Lost::LoopEnded
    }

    async fn load(&self, load: &Load) -> Result<Input, StoreError> {
        match *load {
            Load::Log { part, from, limit, ref skip } => {
                let window = self.app.ports.store.window(part, from, limit, skip).await?;
                let next = window.next.unwrap_or(from);
                self.know_limits_of(&window.items).await?;
                let items = self.with_events(window.items).await?;
                Ok(Input::Loaded { part, from, next, items, skipped: skip.clone() })
            }
            Load::Due { part, ahead, limit } => {
                let laters = self.app.ports.store.due(DueQuery { part, ahead, limit }).await?;
                let complete = laters.len() < usize::try_from(limit).unwrap_or(usize::MAX);
                let (mut waits, mut items) = (Vec::new(), Vec::new());
                for Later { item, delay, why, hold } in laters {
                    waits.push((delay, why, hold));
                    items.push(item);
                }
                self.know_limits_of(&items).await?;
                let items = self.with_events(items).await?;
                let laters = items
                    .into_iter()
                    .zip(waits)
                    .map(|(item, (delay, why, hold))| Later { item, delay, why, hold })
                    .collect();
                Ok(Input::Due { part, laters, complete })
            }
        }
    }

    /// What another node accepted may be under limits that this one does not know yet.
    async fn know_limits_of(&self, items: &[Item]) -> Result<(), StoreError> {
        let mut newest: HashMap<TenantId, i64> = HashMap::new();
        for Item { work, .. } in items {
            let defs = newest.entry(work.tenant).or_default();
            *defs = work.defs.max(*defs);
        }
        for (tenant, defs) in newest {
            let known = self.app.catalogue.find(tenant).map(|known| known.version());
            if known.is_none_or(|known| known < defs) {
                match self.app.catalogue.refresh(tenant, defs).await {
                    Ok(()) => {}
                    Err(error @ StoreError::Unavailable { .. }) => return Err(error),
                    // One tenant's trouble stops nobody else; its attempts say what is wrong.
                    Err(error) => warn!(tenant = tenant.0, %error, "limits are not known"),
                }
            }
        }
        Ok(())
    }

    /// Few reads for all events of a stretch, instead of one for each attempt.
    async fn with_events(&self, mut items: Vec<Item>) -> Result<Vec<Item>, StoreError> {
        let mut ids: Vec<EventId> = items
            .iter()
            .filter(|item| item.event.is_none())
            .filter_map(|item| item.work.event)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(items);
        }
        let events = self.read_events(&ids).await?;
        for item in &mut items {
            if item.event.is_none() {
                item.event = item.work.event.and_then(|id| events.get(&id).cloned());
            }
        }
        Ok(items)
    }

    /// Reads events in pieces whose size follows what the ones before have weighed. Those that
    /// find no room are left out: their attempts read them.
    async fn read_events(
        &self,
        ids: &[EventId],
    ) -> Result<HashMap<EventId, Arc<Event>>, StoreError> {
        let mut found = HashMap::with_capacity(ids.len());
        let (mut rest, mut bytes) = (ids, 0);
        let mut piece = EVENTS_AT_FIRST;
        while !rest.is_empty() && bytes < EVENTS_BYTES_MAX {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            for event in self.app.ports.store.events(now).await? {
                bytes += event.data.as_str().len();
                found.insert(event.id, Arc::new(event));
            }
            rest = later;
            let average = bytes / found.len().max(1);
            piece = ((EVENTS_BYTES_MAX.saturating_sub(bytes)) / average.max(1)).max(1);
        }
        Ok(found)
    }
}
