//! Writes what the scheduler decided: gathers ends, retries and marks into commits under the
//! leases of this session.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use actions_domain::dispatch::{Input, Token};
use actions_domain::execution::report::ReportOf;
use actions_domain::execution::{Fault, Status};
use actions_domain::flow::record::{StepOf, Tell};
use actions_domain::flow::told::{CallEnd, Told};
use actions_domain::id::{ExecutionId, NodeId};
use actions_domain::limits::FLUSH_BYTES_MAX;
use actions_domain::ports::store::StoreError;
use actions_domain::trace::of_execution;
use actions_domain::work::{Commit, Fence, Finish, Item, Later, Submission, Submitted};
use metrics::{counter, histogram};
use tokio::sync::{Semaphore, mpsc};
use tracing::{error, warn};

use super::engine_events;
use super::live::Message;
use crate::app::App;
use crate::ingress::{arrivals, tell_of_work};

/// Writes of one commit.
const FLUSH_MAX: usize = 1_000;
/// Pauses between tries while the store is away.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Something the scheduler wants to have written.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    Mark {
        fence: Fence,
        items: Vec<(Token, Item)>,
    },
    /// `has_run`: its result has a place among those that may wait.
    Finish {
        fence: Fence,
        finish: Box<Finish>,
        has_run: bool,
    },
    Retry {
        fence: Fence,
        later: Box<Later>,
        has_run: bool,
    },
    Report {
        fence: Fence,
        report: Box<ReportOf>,
    },
}

/// Why a session cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error("another node owns partitions {parts:?} now")]
    Fenced { parts: Vec<u16> },
    #[error("it is unknown whether a commit was written")]
    Unknown,
    #[error("this node was not heard for too long")]
    Silent,
    #[error("this node was declared dead")]
    DeclaredDead,
    #[error("the store is unavailable")]
    Store(#[source] StoreError),
    #[error("a loop of the node has ended")]
    LoopEnded,
}

/// The way to the writers. Everything about one partition goes to one of them, so that it is
/// written in the order in which it was decided.
#[derive(Clone)]
pub(crate) struct Writes(Arc<[mpsc::UnboundedSender<Write>]>);

impl Writes {
    /// The way to so many writers, and what each of them has to write.
    pub(crate) fn new(writer_count: usize) -> (Self, Vec<mpsc::UnboundedReceiver<Write>>) {
        let (ways, ends): (Vec<_>, Vec<_>) =
            (0..writer_count.max(1)).map(|_| mpsc::unbounded_channel()).unzip();
        (Self(ways.into()), ends)
    }

    /// The writers end with the session, which then drops whatever is left.
    pub(crate) fn send(&self, write: Write) {
        let writer = usize::from(write.fence().part.0) % self.0.len();
        let _ = self.0[writer].send(write);
    }
}

impl Write {
    fn fence(&self) -> &Fence {
        match self {
            Self::Mark { fence, .. }
            | Self::Finish { fence, .. }
            | Self::Retry { fence, .. }
            | Self::Report { fence, .. } => fence,
        }
    }

    /// What it adds to a commit, about.
    fn bytes(&self) -> usize {
        match self {
            Self::Mark { items, .. } => items.iter().map(|(_, item)| item.work.input_bytes()).sum(),
            Self::Finish { finish, .. } => {
                let output = finish.output.as_ref().map_or(0, |output| output.as_str().len());
                finish.item.work.input_bytes() + output
            }
            Self::Retry { later, .. } => later.item.work.input_bytes(),
            Self::Report { report, .. } => {
                report.report.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.as_str().len())
            }
        }
    }
}

/// How many of the first writes one commit takes: one at least.
fn fitting(writes: &[Write]) -> usize {
    let mut bytes = 0;
    let fits = |write: &&Write| {
        bytes += write.bytes();
        bytes <= FLUSH_BYTES_MAX
    };
    writes.iter().take_while(fits).count().max(1)
}

impl Lost {
    /// The session had worked, so the next one may start soon.
    pub(crate) fn is_of_a_session_that_worked(&self) -> bool {
        !matches!(self, Self::Store(_))
    }

    /// Another node owns what this one worked on, or may own it by now.
    pub(crate) fn is_of_the_lease(&self) -> bool {
        matches!(self, Self::Fenced { .. } | Self::Silent | Self::DeclaredDead)
    }
}

#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) app: App,
    pub(crate) node: NodeId,
    pub(crate) scheduler: mpsc::UnboundedSender<Message>,
    /// One permit for each result that may wait for its commit.
    pub(crate) results: Arc<Semaphore>,
}

impl Writer {
    /// Runs until the session's scheduler has gone or the leases are lost.
    pub(crate) async fn run(self, mut writes: mpsc::UnboundedReceiver<Write>) -> Lost {
        let mut batch = Vec::with_capacity(FLUSH_MAX);
        loop {
            if writes.recv_many(&mut batch, FLUSH_MAX).await == 0 {
                return Lost::LoopEnded;
            }
            while !batch.is_empty() {
                let rest = batch.split_off(fitting(&batch));
                if let Err(lost) = self.flush(std::mem::replace(&mut batch, rest)).await {
                    return lost;
                }
            }
        }
    }

    async fn flush(&self, writes: Vec<Write>) -> Result<(), Lost> {
        let submissions = self.engine_events(&writes);
        let mut pause = PAUSE_MIN;
        loop {
            let commit = self.commit_of(&writes, &submissions);
            match self.app.ports.store.commit(commit).await {
                Ok(receipt) => {
                    self.tell(writes, &submissions, &receipt).await;
                    return Ok(());
                }
                Err(StoreError::Fenced { lost }) => {
                    return Err(Lost::Fenced { parts: lost.iter().map(|part| part.0).collect() });
                }
                // Never sent again: a second try could not tell our own rows from another's.
                Err(StoreError::Unavailable { unknown: true, .. }) => return Err(Lost::Unknown),
                Err(StoreError::Refused { reason }) => {
                    return Box::pin(self.isolate(writes, &reason)).await;
                }
                // Results are kept; the session ends by itself when the leases run out.
                Err(
                    error @ (StoreError::Unavailable { .. }
                    | StoreError::Newer { .. }
                    | StoreError::Conflict { .. }
                    | StoreError::Corrupt { .. }),
                ) => {
                    warn!(%error, source = ?std::error::Error::source(&error), "results wait for the store");
                    self.app.ports.clock.sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// One write of the batch is bad for its data. Halves the batch until that one is alone,
    /// and writes it without the data.
    async fn isolate(&self, mut writes: Vec<Write>, reason: &str) -> Result<(), Lost> {
        if writes.len() > 1 {
            let rest = writes.split_off(writes.len() / 2);
            self.flush(writes).await?;
            return self.flush(rest).await;
        }
        // It may be what the engine has to say of a tenant that is gone since.
        if !self.engine_events(&writes).is_empty() {
            if let Err(error) = self.app.catalogue.refresh_all().await {
                warn!(%error, "the tenants cannot be read");
            }
            if self.engine_events(&writes).is_empty() {
                return self.flush(writes).await;
            }
        }
        let last = writes.pop();
        if let Some(Write::Report { report, .. }) = &last {
            warn!(reason, execution = %report.execution, "the store refuses a report");
            return Ok(());
        }
        let Some(Write::Finish { fence, finish, has_run }) = last else {
            error!(reason, "the store refuses a retry or a mark");
            return Err(Lost::Unknown);
        };
        if finish.output.is_none()
            && finish.error.as_ref().is_some_and(|fault| fault.code == REFUSED)
        {
            error!(reason, execution = %finish.item.work.id, "the store refuses a bare result");
            return Err(Lost::Unknown);
        }
        let message = format!("the result could not be stored: {reason}");
        let mut bare = *finish;
        bare.output = None;
        bare.error = Some(Fault::system(REFUSED, message));
        for attempt in &mut bare.item.attempts {
            attempt.error = None;
        }
        self.flush(vec![Write::Finish { fence, finish: Box::new(bare), has_run }]).await
    }

    fn engine_events(&self, writes: &[Write]) -> Vec<Submission> {
        let now = self.app.ports.clock.now();
        let mut submissions = Vec::new();
        for write in writes {
            match write {
                Write::Finish { fence, finish, .. }
                    if engine_events::wanted(&self.app, &finish.item) =>
                {
                    submissions.extend(engine_events::about_finish(&self.app, fence.part, finish));
                }
                Write::Retry { later, .. } if engine_events::wanted(&self.app, &later.item) => {
                    submissions.extend(engine_events::about_retry(&self.app, later, now));
                }
                Write::Finish { .. }
                | Write::Retry { .. }
                | Write::Mark { .. }
                | Write::Report { .. } => {}
            }
        }
        submissions
    }

    fn commit_of(&self, writes: &[Write], submissions: &[Submission]) -> Commit {
        let mut commit = Commit {
            node: Some(self.node),
            submissions: submissions.to_vec(),
            ..Commit::default()
        };
        let mut fences = BTreeSet::new();
        for write in writes {
            match write {
                Write::Mark { fence, items } => {
                    fences.insert(*fence);
                    commit.marks.extend(items.iter().map(|(_, item)| item.clone()));
                }
                Write::Finish { fence, finish, .. } => {
                    fences.insert(*fence);
                    commit.tells.extend(tell_of(finish));
                    commit.finishes.push(finish.as_ref().clone());
                }
                Write::Retry { fence, later, .. } => {
                    fences.insert(*fence);
                    commit.retries.push(later.as_ref().clone());
                }
                Write::Report { fence, report } => {
                    fences.insert(*fence);
                    commit.reports.push(report.as_ref().clone());
                }
            }
        }
        commit.fences = fences.into_iter().collect();
        commit
    }

    /// Tells everybody who waits for this commit. From here on it is done.
    async fn tell(
        &self,
        writes: Vec<Write>,
        submissions: &[Submission],
        receipt: &actions_domain::work::Receipt,
    ) {
        let mut committed = Vec::with_capacity(writes.len());
        let mut ended = Vec::with_capacity(writes.len());
        let mut gone_actions = Vec::new();
        let mut told_parts = BTreeSet::new();
        let mut places = 0;
        for write in writes {
            match write {
                Write::Mark { items, .. } => {
                    let tokens = items.into_iter().map(|(token, _)| token).collect();
                    self.send(Input::Marked(tokens));
                }
                Write::Finish { finish, has_run, .. } => {
                    places += usize::from(has_run);
                    count(&finish);
                    self.trace(&finish);
                    let work = &finish.item.work;
                    told_parts.extend(work.step().map(|step| step.part));
                    // A step that names a handler runs as its workflow, which is not to be switched
                    // off for it.
                    let is_own =
                        work.step().is_some_and(|step| step.workflow.action == work.action);
                    if finish.error.as_ref().is_some_and(|fault| fault.disables) && !is_own {
                        gone_actions.push((work.tenant, work.action, work.defs));
                    }
                    committed.push(finish.item.work.id);
                    ended.push(finish.item.work.id);
                }
                Write::Retry { later, has_run, .. } => {
                    places += usize::from(has_run);
                    committed.push(later.item.work.id);
                }
                // It is known as written since it was sent.
                Write::Report { .. } => {}
            }
        }
        self.results.add_permits(places);
        self.send(Input::Committed(committed));
        self.app.tell_of_runs(told_parts);
        self.announce(ended);
        tell_of_work(&self.app.hints, &self.app.live, submissions.iter(), receipt);
        for input in arrivals(submissions.iter(), receipt) {
            self.send(input);
        }
        self.republish(submissions, receipt).await;
        for (tenant, action, defs) in gone_actions {
            crate::commands::disable_action::disable_gone(&self.app, tenant, action, defs).await;
        }
    }

    fn trace(&self, finish: &Finish) {
        let Some(traces) = &self.app.ports.traces else { return };
        let work = &finish.item.work;
        let Some(known) = self.app.catalogue.find(work.tenant) else { return };
        let action = known.action(work.action);
        let action = action.as_ref().map_or("", |action| action.spec.name.as_str());
        let spans = of_execution(finish, known.tenant.slug.as_str(), action);
        if !spans.is_empty() {
            traces.record(spans);
        }
    }

    fn announce(&self, ended: Vec<ExecutionId>) {
        self.app.live.reports.forget(&ended);
        self.app.completions.ended(ended);
    }

    /// Definitions changed at the very moment of the commit: what the engine has to say goes
    /// through the ordinary way in, which matches it again.
    async fn republish(&self, submissions: &[Submission], receipt: &actions_domain::work::Receipt) {
        for (submission, submitted) in submissions.iter().zip(&receipt.submissions) {
            let Submitted::Stale { defs } = submitted else { continue };
            let refreshed = self.app.catalogue.refresh(submission.tenant, *defs).await;
            if let Err(error) = refreshed {
                warn!(%error, "an event of the engine is not published");
                continue;
            }
            for ingest in &submission.ingests {
                let Some(event) = ingest.event.clone() else { continue };
                let app = self.app.clone();
                tokio::spawn(async move {
                    if let Err(error) = crate::commands::submit_event::republish(&app, event).await
                    {
                        warn!(%error, "an event of the engine is not published");
                    }
                });
            }
        }
    }

    fn send(&self, input: Input) {
        // The scheduler has gone only when the session has ended.
        let _ = self.scheduler.send(Message::Input(Box::new(input)));
    }
}

/// What a run is told of the end of one of its steps, in the commit in which it ends.
fn tell_of(finish: &Finish) -> Option<Tell> {
    let work = &finish.item.work;
    let StepOf { run, part, call, .. } = *work.step()?;
    let told = Told::Ended { call: call?, end: CallEnd::of_execution(finish) };
    Some(Tell { tenant: work.tenant, part, run, told })
}

/// The code of a result that the store refused to keep.
const REFUSED: &str = "output.refused";

fn count(finish: &Finish) {
    counter!("actions_executions_total", "status" => finish.status.word()).increment(1);
    if finish.dead.is_some() {
        counter!("actions_dead_letters_total").increment(1);
    }
    if let (Status::Completed, Some(started_at)) = (finish.status, finish.started_at)
        && let Ok(took) = (finish.ended_at - started_at).to_std()
    {
        histogram!("actions_execution_duration_seconds").record(took.as_secs_f64());
    }
}
