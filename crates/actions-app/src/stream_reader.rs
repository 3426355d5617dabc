//! Takes events out of a stream that other programs put them into.
//!
//! An entry is acknowledged after the commit that holds its event. What was taken and not
//! acknowledged comes again, here or on another node, and is found to be there already: an event
//! without an id is named by its place in the stream. While one batch is being committed, the
//! next one is read; batches are submitted one after the other, so order is kept.
//!
//! What a tenant's quota does not let in yet is held here, not acknowledged, and tried again; other
//! tenants go on meanwhile. It comes again as well if this reader ends.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use actions_domain::authorization::AuthorizationContext;
use actions_domain::event::Attributes;
use actions_domain::id::EventId;
use actions_domain::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX};
use actions_domain::ports::clock::Clock;
use actions_domain::ports::event_stream::{Entry, EventStream, RefusedEntry, StreamError};
use actions_domain::tenant::Tenant;
use metrics::{counter, gauge};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::app::App;
use crate::catalogue::TenantDefinitions;
use crate::commands::submit_event::{NewEvent, SubmitEvents, SubmitEventsError, submit_events};
use crate::ingress::IngressError;

/// The founding numbers: what is read at once while little comes, and how long a read waits.
const COUNT: usize = 10;
const WAIT: Duration = Duration::from_secs(1);
/// What is read at once while much waits, in entries and in bytes.
const COUNT_MAX: usize = BATCH_EVENTS_MAX;
const READ_BYTES_MAX: usize = BATCH_BYTES_MAX;
/// Pauses after an error.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Who has not acknowledged an entry after this time is thought to be dead. It does no harm if
/// it is alive: both commit the same event.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How long stopping waits for a read that waits itself, and the batch that it brings.
const STOP_MAX: Duration = Duration::from_secs(3);
/// Entries that are held for the quotas of their tenants, and their bytes. With more, nothing is
/// taken until there are fewer: every tenant waits then.
const HELD_MAX: usize = 10 * COUNT_MAX;
const HELD_BYTES_MAX: usize = 8 * READ_BYTES_MAX;
/// How often held entries are tried again.
const HELD_WAIT: Duration = Duration::from_millis(100);
/// How often it is looked for such entries, and figures are taken.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Reads the text of an event that is meant for this tenant, as every other way in reads it.
pub type ReadEvent = Arc<dyn Fn(&App, &Tenant, &[u8]) -> Result<NewEvent, String> + Send + Sync>;

/// The loop, running.
pub struct StreamReader {
    stop: CancellationToken,
    task: JoinHandle<()>,
    clock: Arc<dyn Clock>,
}

impl StreamReader {
    /// Starts reading under a name that no other consumer has.
    pub fn start(
        app: App,
        stream: Arc<dyn EventStream>,
        consumer: String,
        read_event: ReadEvent,
    ) -> Self {
        let (stop, clock) = (CancellationToken::new(), app.ports.clock.clone());
        let reader = Reader { app, stream, consumer, read_event };
        let stopped = stop.clone();
        let task = tokio::spawn(async move { reader.run(&stopped).await });
        Self { stop, task, clock }
    }

    /// Lets the batch that is under way end, and takes nothing more.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // It does not matter how it ends: what is not acknowledged comes again.
        tokio::select! {
            _ = &mut self.task => {}
            () = self.clock.sleep(STOP_MAX) => self.task.abort(),
        }
    }

    /// Ends at once, as a crash would.
    pub fn kill(self) {
        self.task.abort();
    }
}

struct Reader {
    app: App,
    stream: Arc<dyn EventStream>,
    consumer: String,
    read_event: ReadEvent,
}

/// Entries of one tenant with their events, in order.
type Run = Vec<(Entry, NewEvent)>;

/// Runs that wait for their tenants' quotas, one of each tenant.
type Held = Vec<(Arc<TenantDefinitions>, Run)>;

/// What became of a run.
#[derive(Default)]
struct Submitted {
    /// Ids of entries whose events are committed.
    accepted: Vec<String>,
    refused: Vec<RefusedEntry>,
    /// What the tenant's quota does not let in yet. Without any of the three, it was stopped.
    held: Run,
}

impl Submitted {
    fn add(&mut self, more: Self) {
        self.accepted.extend(more.accepted);
        self.refused.extend(more.refused);
        self.held.extend(more.held);
    }
}

/// What one entry means.
enum Meaning {
    Event(Arc<TenantDefinitions>, Box<NewEvent>),
    Refused(String),
}

impl Reader {
    async fn run(&self, stop: &CancellationToken) {
        let mut pause = PAUSE_MIN;
        let mut is_away = false;
        while !stop.is_cancelled() {
            let began = self.app.ports.clock.now();
            let Err(error) = self.session(stop, &mut is_away).await else { return };
            gauge!("actions_stream_up").set(0.0);
            // One line per change of state, not one per turn.
            if !is_away {
                is_away = true;
                let stream = self.stream.name();
                warn!(stream, %error, "no events come from the stream until it is there again");
            }
            let lasted = (self.app.ports.clock.now() - began).to_std().unwrap_or_default();
            if lasted > PAUSE_MAX {
                pause = PAUSE_MIN;
            }
            // Those that lost the same server do not come back in step.
            let jitter = self.app.ports.dice.roll() % (pause.as_millis() as u64 / 2 + 1);
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.app.ports.clock.sleep(pause + Duration::from_millis(jitter)) => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Reads until it is stopped, or an error. The next one begins with what this one left.
    async fn session(
        &self,
        stop: &CancellationToken,
        is_away: &mut bool,
    ) -> Result<(), StreamError> {
        self.stream.open().await?;
        self.measure().await?;
        if *is_away {
            *is_away = false;
            info!(stream = self.stream.name(), "events come from the stream again");
        }
        let mut held = self.take_up(stop).await?;
        let mut looked_at = self.app.ports.clock.now();
        let mut batch = Vec::new();
        let mut count = COUNT;
        loop {
            if stop.is_cancelled() {
                return self.accept(batch, &mut held, stop).await;
            }
            if is_full(&held) {
                self.app.ports.clock.sleep(HELD_WAIT).await;
                self.accept(std::mem::take(&mut batch), &mut held, stop).await?;
                continue;
            }
            let wait = match (count > COUNT, held.is_empty()) {
                (true, _) => Duration::ZERO,
                (false, true) => WAIT,
                (false, false) => HELD_WAIT,
            };
            // A read is never given up: the server would go on handing out to it.
            let next = self.stream.take(&self.consumer, count, wait);
            let (accepted, next) = tokio::join!(self.accept(batch, &mut held, stop), next);
            accepted?;
            batch = next?;
            count = count_after(&batch, count);
            let now = self.app.ports.clock.now();
            if (now - looked_at).to_std().unwrap_or_default() >= LOOK_EVERY {
                looked_at = now;
                self.measure().await?;
                let left = self.stream.take_over(&self.consumer, IDLE_MAX, COUNT_MAX).await?;
                if !left.is_empty() {
                    info!(entries = left.len(), "entries of a silent consumer are taken over");
                    // They are older.
                    batch = left.into_iter().chain(batch).collect();
                }
            }
        }
    }

    /// Begins with what this consumer took before and did not acknowledge.
    async fn take_up(&self, stop: &CancellationToken) -> Result<Held, StreamError> {
        let (mut after, mut held): (Option<String>, _) = (None, Held::new());
        while !stop.is_cancelled() {
            if is_full(&held) {
                self.app.ports.clock.sleep(HELD_WAIT).await;
                self.accept(Vec::new(), &mut held, stop).await?;
                continue;
            }
            let own = self.stream.taken(&self.consumer, after.as_deref(), COUNT).await?;
            let Some(last) = own.last() else { break };
            after = Some(last.id.clone());
            self.accept(own, &mut held, stop).await?;
        }
        Ok(held)
    }

    async fn measure(&self) -> Result<(), StreamError> {
        let backlog = self.stream.backlog().await?;
        gauge!("actions_stream_up").set(1.0);
        if let Some(waiting) = backlog.waiting {
            gauge!("actions_stream_waiting").set(waiting as f64);
        }
        gauge!("actions_stream_taken").set(backlog.taken as f64);
        Ok(())
    }

    /// Has the entries accepted, those that can never be set aside, and acknowledges both. What was
    /// held goes first.
    async fn accept(
        &self,
        entries: Vec<Entry>,
        held: &mut Held,
        stop: &CancellationToken,
    ) -> Result<(), StreamError> {
        if entries.is_empty() && held.is_empty() {
            return Ok(());
        }
        let mut refused = Vec::new();
        // Runs of one tenant go together; the order within a tenant is kept.
        let mut runs: Vec<(Arc<TenantDefinitions>, Run)> = std::mem::take(held);
        // What is held for long is handed out again, to us as well.
        let known: HashSet<String> =
            runs.iter().flat_map(|(_, run)| run).map(|(entry, _)| entry.id.clone()).collect();
        let entries = entries.into_iter().filter(|entry| !known.contains(&entry.id)).collect();
        for (entry, meaning) in self.read(entries, stop).await {
            match meaning {
                Meaning::Refused(reason) => refused.push(RefusedEntry { entry, reason }),
                Meaning::Event(tenant, event) => {
                    let known =
                        runs.iter_mut().find(|(other, _)| other.tenant.id == tenant.tenant.id);
                    match known {
                        Some((_, run)) => run.push((entry, *event)),
                        None => runs.push((tenant, vec![(entry, *event)])),
                    }
                }
            }
        }
        for (tenant, mut run) in runs {
            while !run.is_empty() {
                let rest = run.split_off(run.len().min(BATCH_EVENTS_MAX));
                let mut submitted = self.submit(&tenant, run, stop).await;
                self.stream.acknowledge(&submitted.accepted).await?;
                counter!("actions_stream_accepted_total")
                    .increment(submitted.accepted.len() as u64);
                refused.append(&mut submitted.refused);
                run = rest;
                if !submitted.held.is_empty() {
                    submitted.held.append(&mut run);
                    held.push((tenant.clone(), submitted.held));
                }
            }
        }
        gauge!("actions_stream_held")
            .set(held.iter().map(|(_, run)| run.len()).sum::<usize>() as f64);
        self.set_aside(refused).await
    }

    async fn set_aside(&self, refused: Vec<RefusedEntry>) -> Result<(), StreamError> {
        let Some(first) = refused.first() else { return Ok(()) };
        counter!("actions_stream_refused_total").increment(refused.len() as u64);
        // One line for all of them: somebody may send nothing else.
        let (entry, reason, entries) = (&first.entry.id, &first.reason, refused.len());
        warn!(entry, reason, entries, "entries of the stream cannot be accepted and are set aside");
        self.stream.set_aside(&refused).await
    }

    /// What the entries mean. A tenant that nobody knows is looked for once.
    async fn read(&self, entries: Vec<Entry>, stop: &CancellationToken) -> Vec<(Entry, Meaning)> {
        let is_unknown = |entry: &Entry| match schema(entry) {
            Ok(schema) => self.app.catalogue.find_schema(schema).is_none(),
            Err(_) => false,
        };
        if entries.iter().any(is_unknown) {
            // Only a store that answers can say that there is no such tenant.
            let mut pause = PAUSE_MIN;
            while self.app.catalogue.refresh_all().await.is_err() {
                tokio::select! {
                    // They come again.
                    () = stop.cancelled() => return Vec::new(),
                    () = self.app.ports.clock.sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
                }
            }
        }
        entries
            .into_iter()
            .map(|entry| {
                let meaning = self.meaning(&entry).unwrap_or_else(Meaning::Refused);
                (entry, meaning)
            })
            .collect()
    }

    fn meaning(&self, entry: &Entry) -> Result<Meaning, String> {
        if entry.fields.is_empty() {
            return Err("it was deleted from the stream before it was read".to_owned());
        }
        let schema = schema(entry)?;
        let tenant = self.app.catalogue.find_schema(schema);
        let tenant =
            tenant.ok_or_else(|| format!("schema: no tenant has the schema {schema:?}"))?;
        let text = entry.field("event").ok_or("it has no field `event`")?;
        let mut event = (self.read_event)(&self.app, &tenant.tenant, text)?;
        // Whoever puts entries in is no part of the engine.
        event.attributes = Attributes { by_engine: false, ..event.attributes };
        if event.external_id.is_none() {
            event.external_id = Some(format!("{}/{}", self.stream.name(), entry.id));
        }
        Ok(Meaning::Event(tenant, Box::new(event)))
    }

    /// Submits until the store has said yes or no to each, or the tenant's quota not yet.
    async fn submit(
        &self,
        tenant: &TenantDefinitions,
        run: Run,
        stop: &CancellationToken,
    ) -> Submitted {
        let events: Vec<NewEvent> = run.iter().map(|(_, event)| event.clone()).collect();
        let mut pause = PAUSE_MIN;
        loop {
            let request = SubmitEvents {
                tenant: tenant.tenant.id,
                events: events.clone(),
                idempotency: None,
            };
            let caller = self.caller(tenant);
            let error = match submit_events(&self.app, &caller, request).await {
                Ok(_) => {
                    let accepted = run.into_iter().map(|(entry, _)| entry.id).collect();
                    return Submitted { accepted, ..Submitted::default() };
                }
                Err(SubmitEventsError::Quota(error)) if error.retry_after().is_some() => {
                    return Submitted { held: run, ..Submitted::default() };
                }
                Err(error) => error,
            };
            if is_final(&error) {
                return self.submit_halves(tenant, run, &error, stop).await;
            }
            tokio::select! {
                () = stop.cancelled() => return Submitted::default(),
                () = self.app.ports.clock.sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
            }
        }
    }

    /// One of them is bad, or they are too many at once: it is searched for by halves, and the others
    /// do not suffer.
    async fn submit_halves(
        &self,
        tenant: &TenantDefinitions,
        mut run: Run,
        error: &SubmitEventsError,
        stop: &CancellationToken,
    ) -> Submitted {
        if run.len() == 1 {
            let reason = error.to_string();
            let refused =
                run.into_iter().map(|(entry, _)| RefusedEntry { entry, reason: reason.clone() });
            return Submitted { refused: refused.collect(), ..Submitted::default() };
        }
        let second = run.split_off(run.len() / 2);
        let mut submitted = Box::pin(self.submit(tenant, run, stop)).await;
        if submitted.held.is_empty() {
            submitted.add(Box::pin(self.submit(tenant, second, stop)).await);
        } else {
            // In their order.
            submitted.held.extend(second);
        }
        submitted
    }

    fn caller(&self, tenant: &TenantDefinitions) -> AuthorizationContext {
        let ports = &self.app.ports;
        let request_id = EventId::mint(ports.clock.now(), ports.dice.bytes()).to_string();
        AuthorizationContext::of_stream(self.stream.name(), tenant.tenant.id, request_id)
    }
}

fn is_full(held: &Held) -> bool {
    let entries = held.iter().flat_map(|(_, run)| run).map(|(entry, _)| entry);
    let (count, bytes) =
        entries.fold((0, 0), |(count, bytes), entry| (count + 1, bytes + entry.bytes()));
    count >= HELD_MAX || bytes >= HELD_BYTES_MAX
}

/// The founding field that names the tenant.
fn schema(entry: &Entry) -> Result<&str, String> {
    let schema = entry.field("schema").ok_or("it has no field `schema`")?;
    std::str::from_utf8(schema).map_err(|_| "schema: it is no UTF-8".to_owned())
}

/// A read that came back full is followed by a larger one, as far as bytes allow.
fn count_after(batch: &[Entry], count: usize) -> usize {
    if batch.len() < count {
        return COUNT;
    }
    let each = batch.iter().map(Entry::bytes).sum::<usize>() / batch.len().max(1);
    (READ_BYTES_MAX / each.max(1)).clamp(COUNT, COUNT_MAX)
}

/// Whether the same events can never be accepted.
fn is_final(error: &SubmitEventsError) -> bool {
    match error {
        SubmitEventsError::Busy
        | SubmitEventsError::Store(_)
        | SubmitEventsError::Ingress(
            IngressError::Unavailable | IngressError::Unknown | IngressError::Full,
        ) => false,
        SubmitEventsError::Forbidden(_)
        | SubmitEventsError::UnknownTenant
        | SubmitEventsError::Suspended
        | SubmitEventsError::BatchSize { .. }
        | SubmitEventsError::TooLarge { .. }
        | SubmitEventsError::AttributeTooLong { .. }
        | SubmitEventsError::AttributesTooLarge { .. }
        | SubmitEventsError::ChainTooDeep { .. }
        | SubmitEventsError::TooFarAhead { .. }
        | SubmitEventsError::FanOut { .. }
        | SubmitEventsError::IdempotencyMismatch
        // Too many at once; what only has to wait is held.
        | SubmitEventsError::Quota(_)
        | SubmitEventsError::Ingress(IngressError::Refused { .. }) => true,
    }
}
