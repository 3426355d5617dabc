//! What running attempts tell of themselves: in memory at once, and written down now and then, so
//! that a checkpoint outlives its node.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::execution::report::{Report, ReportOf, Reporter};
use actions_domain::id::{ExecutionId, TenantId};
use actions_domain::work::{Fence, Part};

use super::writer::{Lost, Write, Writes};
use crate::app::App;

/// How often reports are written down: as much as a node's death may cost of an attempt's work.
const WRITE_EVERY: Duration = Duration::from_secs(10);
/// An attempt that has left no checkpoint is written down when it runs for longer than this.
const WORTH_WRITING: Duration = Duration::from_secs(2);

/// What the attempts of this node tell, and which executions have told something before.
#[derive(Default)]
pub(crate) struct Reports {
    running: Mutex<HashMap<ExecutionId, Running>>,
    /// Unfinished executions of this node's partitions that have a report in the store.
    written: Mutex<HashMap<ExecutionId, Part>>,
}

/// An attempt that runs.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) tenant: TenantId,
    pub(crate) fence: Fence,
    pub(crate) started_at: Timestamp,
    pub(crate) reporter: Reporter,
}

/// Listens to an attempt for as long as it is held.
pub(crate) struct Listening<'a> {
    reports: &'a Reports,
    execution: ExecutionId,
    reporter: Reporter,
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        // One that was cut off may end after the next one has begun.
        let mut running = lock(&self.reports.running);
        if running.get(&self.execution).is_some_and(|other| other.reporter.is(&self.reporter)) {
            running.remove(&self.execution);
        }
    }
}

impl Reports {
    /// Listens to an attempt until what this answers is dropped.
    pub(crate) fn listen(&self, execution: ExecutionId, running: Running) -> Listening<'_> {
        let reporter = running.reporter.clone();
        lock(&self.running).insert(execution, running);
        Listening { reports: self, execution, reporter }
    }

    /// What the attempt of this execution that runs here has told.
    pub(crate) fn find(&self, execution: ExecutionId) -> Option<Report> {
        lock(&self.running).get(&execution)?.reporter.report()
    }

    /// Whether an attempt before may have left something in the store.
    pub(crate) fn is_written(&self, execution: ExecutionId) -> bool {
        lock(&self.written).contains_key(&execution)
    }

    /// These have reports in the store.
    pub(crate) fn know(&self, part: Part, executions: &[ExecutionId]) {
        if !executions.is_empty() {
            lock(&self.written).extend(executions.iter().map(|id| (*id, part)));
        }
    }

    /// These are finished, and their reports gone.
    pub(crate) fn forget(&self, executions: &[ExecutionId]) {
        let mut written = lock(&self.written);
        if !written.is_empty() {
            for id in executions {
                written.remove(id);
            }
        }
    }

    /// Nothing is owned any more.
    pub(crate) fn forget_all(&self) {
        lock(&self.written).clear();
    }

    /// A partition has another owner.
    pub(crate) fn leave(&self, part: Part) {
        lock(&self.written).retain(|_, at| *at != part);
    }

    /// What is worth being written down, by partition.
    fn news(&self, now: Timestamp) -> Vec<(Fence, ReportOf)> {
        let running = lock(&self.running);
        let mut news = Vec::new();
        for (execution, attempt) in &*running {
            let ran_for = (now - attempt.started_at).to_std().unwrap_or_default();
            let is_worth_it = || {
                let report = attempt.reporter.report();
                ran_for > WORTH_WRITING || report.is_some_and(|told| told.checkpoint.is_some())
            };
            if is_worth_it()
                && let Some(report) = attempt.reporter.take_news()
            {
                news.push((attempt.fence, attempt.of(*execution, report)));
            }
        }
        news
    }
}

impl Running {
    fn of(&self, execution: ExecutionId, report: Report) -> ReportOf {
        ReportOf { execution, tenant: self.tenant, part: self.fence.part, report }
    }

    /// What is left to write down when the attempt has failed: its checkpoint.
    pub(crate) fn last_words(&self, execution: ExecutionId) -> Option<ReportOf> {
        let report = self.reporter.take_news().filter(|report| report.checkpoint.is_some())?;
        Some(self.of(execution, report))
    }
}

/// Writes reports down.
pub(crate) struct ReportKeeper {
    pub(crate) app: App,
    pub(crate) writes: Writes,
}

impl ReportKeeper {
    pub(crate) async fn run(self) -> Lost {
        loop {
            self.app.ports.clock.sleep(WRITE_EVERY).await;
            for (fence, report) in self.app.live.reports.news(self.app.ports.clock.now()) {
                self.app.live.reports.know(fence.part, &[report.execution]);
                // The session ends with its writer.
                self.writes.send(Write::Report { fence, report: Box::new(report) });
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
