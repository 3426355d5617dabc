//! Reads work from the store for the scheduler, with the events that it needs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actions_domain::dispatch::Input;
use actions_domain::event::Event;
use actions_domain::id::EventId;
use actions_domain::ports::store::{DueQuery, StoreError};
use actions_domain::work::{Item, Later, Part, Seq};
use tokio::sync::mpsc;
use tracing::warn;

use super::live::Message;
use super::writer::Lost;
use crate::app::App;

const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A stretch to read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    Log { part: Part, from: Seq, limit: u32 },
    Due { part: Part, ahead: Duration, limit: u32 },
}

pub(crate) struct Loader {
    pub(crate) app: App,
    pub(crate) scheduler: mpsc::UnboundedSender<Message>,
}

impl Loader {
    pub(crate) async fn run(self, mut loads: mpsc::UnboundedReceiver<Load>) -> Lost {
        while let Some(load) = loads.recv().await {
            let mut pause = PAUSE_MIN;
            // A read may be repeated, so an outage only makes it late.
            let input = loop {
                match self.load(load).await {
                    Ok(input) => break input,
                    Err(error) => {
                        warn!(%error, "work cannot be read yet");
                        self.app.ports.clock.sleep(pause).await;
                        pause = (pause * 2).min(PAUSE_MAX);
                    }
                }
            };
            if self.scheduler.send(Message::Input(Box::new(input))).is_err() {
                return Lost::LoopEnded;
            }
        }
        Lost::LoopEnded
    }

    async fn load(&self, load: Load) -> Result<Input, StoreError> {
        match load {
            Load::Log { part, from, limit } => {
                let window = self.app.ports.store.window(part, from, limit).await?;
                let next = window.next.unwrap_or(from);
                let items = self.with_events(window.items).await?;
                Ok(Input::Loaded { part, from, next, items })
            }
            Load::Due { part, ahead, limit } => {
                let laters = self.app.ports.store.due(DueQuery { part, ahead, limit }).await?;
                let complete = laters.len() < usize::try_from(limit).unwrap_or(usize::MAX);
                let (mut waits, mut items) = (Vec::new(), Vec::new());
                for Later { item, delay, why, hold } in laters {
                    waits.push((delay, why, hold));
                    items.push(item);
                }
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

    /// One read for all events of a stretch, instead of one for each attempt.
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
        let events = self.app.ports.store.events(&ids).await?;
        let events: HashMap<EventId, Arc<Event>> =
            events.into_iter().map(|event| (event.id, Arc::new(event))).collect();
        for item in &mut items {
            if item.event.is_none() {
                item.event = item.work.event.and_then(|id| events.get(&id).cloned());
            }
        }
        Ok(items)
    }
}
