//! The engine's memory, in memory. One lock makes a commit whole.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;

use actions_domain::Timestamp;
use actions_domain::audit::Deed;
use actions_domain::event::Event;
use actions_domain::execution::report::{Report, ReportOf};
use actions_domain::id::{EventId, ExecutionId, NodeId, TenantId};
use actions_domain::json::Json;
use actions_domain::limits::{DEDUPE_WINDOW, INTAKE_BYTES_MAX};
use actions_domain::ports::history::RefusedIntake;
use actions_domain::ports::store::{DueQuery, IntakeRow, Store, StoreError, Window, WindowBuilder};
use actions_domain::terms::Conflict;
use actions_domain::work::{
    Cancel, Commit, Discard, Fence, Finish, Ingest, Ingested, Item, Later, Part, Receipt,
    RequestKey, Seq, Skip, Submission, Submitted, Work,
};

use uuid::Uuid;

use super::{DedupeRow, LaterRow, Memory, Place, Tables, log_item};

#[async_trait]
impl Store for Memory {
    async fn commit(&self, mut batch: Commit) -> Result<Receipt, StoreError> {
        let now = self.clock.now();
        let mut tables = self.tables();
        // Everything that can fail comes first: after it, all of the batch is written.
        tables.check_fences(batch.node, &batch.fences)?;
        batch.leave_out(&tables.gone());
        tables.check_batch(&batch)?;
        let deed = batch.deed.clone();
        let was_asked = tables.is_asked(deed.as_ref());
        let receipt = tables.write(batch, now);
        let is_asked = (was_asked, tables.is_asked(deed.as_ref()));
        tables.record(deed.and_then(|deed| deed.done(&receipt, is_asked)).as_ref());
        Ok(receipt)
    }

    async fn window(
        &self,
        part: Part,
        from: Seq,
        limit: u32,
        skip: &[Skip],
    ) -> Result<Window, StoreError> {
        let tables = self.tables();
        let row = tables.part(part)?;
        let mut window = WindowBuilder::new(limit);
        let wanted = row.log.range(from..).filter(|(_, work)| !skip.contains(&Skip::of(work)));
        for (seq, work) in wanted {
            if window.is_full() {
                break;
            }
            window.push(log_item(part, *seq, work));
        }
        Ok(window.finish(row.tail.max(from)))
    }

    async fn due(&self, query: DueQuery) -> Result<Vec<Later>, StoreError> {
        let now = self.clock.now();
        let until = after(now, query.ahead);
        let tables = self.tables();
        let mut rows: Vec<&LaterRow> = tables
            .part(query.part)?
            .laters
            .iter()
            .filter_map(|id| tables.later(*id))
            .filter(|row| row.due_at <= until || tables.is_over(row.work.id))
            .collect();
        rows.sort_by_key(|row| (!row.hold, row.due_at, row.work.id));
        rows.truncate(usize::try_from(query.limit).unwrap_or(usize::MAX));
        Ok(rows.into_iter().map(|row| row.later(now)).collect())
    }

    async fn marked(&self, part: Part) -> Result<Vec<Item>, StoreError> {
        let tables = self.tables();
        let marks = tables.marks.iter().filter(|(_, marked_in)| **marked_in == part);
        Ok(marks.filter_map(|(id, _)| tables.item(*id)).collect())
    }

    async fn reported(&self, part: Part) -> Result<Vec<ExecutionId>, StoreError> {
        let tables = self.tables();
        let reports = tables.reports.values().filter(|report| report.part == part);
        Ok(reports.map(|report| report.execution).collect())
    }

    async fn report(&self, id: ExecutionId) -> Result<Option<Report>, StoreError> {
        Ok(self.tables().reports.get(&id).map(|found| found.report.clone()))
    }

    async fn members(&self, head: ExecutionId) -> Result<Vec<Json>, StoreError> {
        let tables = self.tables();
        let rows = tables.members.get(&head).into_iter().flatten();
        Ok(rows.map(|row| row.member.envelope.clone()).collect())
    }

    async fn tails(&self) -> Result<Vec<(Part, Seq)>, StoreError> {
        let tables = self.tables();
        Ok((0..).map(Part).zip(tables.parts.iter().map(|row| row.tail)).collect())
    }

    async fn cancels(&self) -> Result<Vec<Cancel>, StoreError> {
        let tables = self.tables();
        let cancel = |(id, tenant): (&ExecutionId, &TenantId)| Cancel {
            tenant: *tenant,
            execution: *id,
            by: None,
        };
        let superseded = tables.superseded.iter().filter_map(|(id, by)| {
            let tenant = tables.item(*id)?.work.tenant;
            Some(Cancel { tenant, execution: *id, by: Some(*by) })
        });
        Ok(tables.cancels.iter().map(cancel).chain(superseded).collect())
    }

    async fn events(&self, ids: &[EventId]) -> Result<Vec<Event>, StoreError> {
        let tables = self.tables();
        Ok(ids
            .iter()
            .filter_map(|id| tables.events.get(id))
            .map(|event| (**event).clone())
            .collect())
    }

    async fn intake(&self, limit: u32) -> Result<Vec<IntakeRow>, StoreError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let tables = self.tables();
        let fits = |row: &&IntakeRow| {
            let before = bytes;
            bytes += row.body.as_str().len();
            before == 0 || bytes <= INTAKE_BYTES_MAX
        };
        Ok(tables.intake.values().take_while(fits).take(limit).cloned().collect())
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(self.clock.now())
    }

    fn has_single_writer(&self) -> bool {
        true
    }
}

impl Tables {
    pub(super) fn part(&self, part: Part) -> Result<&super::PartRow, StoreError> {
        self.parts.get(usize::from(part.0)).ok_or_else(|| no_part(part))
    }

    fn is_asked(&self, deed: Option<&Deed>) -> bool {
        deed.and_then(Deed::cancels).is_some_and(|id| self.cancels.contains_key(&id))
    }

    fn later(&self, id: ExecutionId) -> Option<&LaterRow> {
        match self.places.get(&id)? {
            Place::Later(row) => Some(row),
            Place::Log { .. } | Place::Finished(_) => None,
        }
    }

    fn check_fences(&self, node: Option<NodeId>, fences: &[Fence]) -> Result<(), StoreError> {
        let holds = |fence: &Fence| {
            self.parts.get(usize::from(fence.part.0)).is_some_and(|row| {
                row.owner.is_some() && row.owner == node && row.epoch == fence.epoch
            })
        };
        let lost: Vec<Part> =
            fences.iter().filter(|fence| !holds(fence)).map(|fence| fence.part).collect();
        if lost.is_empty() { Ok(()) } else { Err(StoreError::Fenced { lost }) }
    }

    /// Refuses what names partitions or tenants that are not there, and writes without a fence.
    fn check_batch(&self, batch: &Commit) -> Result<(), StoreError> {
        if let Some(part) = batch.unfenced() {
            let reason = format!("partition {part} is written without a fence");
            return Err(StoreError::Refused { reason });
        }
        for submission in &batch.submissions {
            if !self.tenants.contains_key(&submission.tenant) {
                let reason = format!("there is no tenant {}", submission.tenant);
                return Err(StoreError::Refused { reason });
            }
            for (part, _) in submission.ingests.iter().flat_map(|ingest| &ingest.works) {
                self.part(*part)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, batch: Commit, now: Timestamp) -> Receipt {
        self.forget_old_dedupes(now);
        let mut receipt = Receipt::default();
        // Before anything joins: what begins or ends in this commit is joined no more.
        for item in batch.marks.iter().chain(batch.finishes.iter().map(|finish| &finish.item)) {
            self.close(&item.work);
        }
        for submission in batch.submissions {
            let submitted = self.submit(submission, now, &mut receipt);
            receipt.submissions.push(submitted);
        }
        for item in batch.marks {
            self.mark(&item);
        }
        for report in batch.reports {
            self.report(report);
        }
        for later in batch.retries {
            self.postpone(later, now);
        }
        for finish in batch.finishes {
            self.finish(finish);
        }
        self.write_runs(batch.starts, batch.tells, batch.turns);
        for cancel in batch.cancels {
            self.cancel(&cancel);
        }
        for discard in batch.discards {
            receipt.discarded += u64::from(self.discard(&discard));
        }
        for refusal in batch.refusals {
            if let Some(row) = self.intake.remove(&refusal.row) {
                let refused = RefusedIntake { row, refused_at: now, reason: refusal.reason };
                self.refused_intake.push(refused);
            }
        }
        receipt
    }

    fn submit(
        &mut self,
        submission: Submission,
        now: Timestamp,
        receipt: &mut Receipt,
    ) -> Submitted {
        let current = self.tenants.get(&submission.tenant).map_or(0, |tenant| tenant.defs_version);
        if submission.defs.is_some_and(|matched_with| matched_with < current) {
            return Submitted::Stale { defs: current };
        }
        if let Some(row) = submission.intake {
            self.intake.remove(&row);
        }
        let tenant = submission.tenant;
        if let Some(known) = submission.request.and_then(|key| self.request(tenant, key)) {
            let is_same = Some(known.body) == submission.request.map(|request| Some(request.body))
                && known.subjects.len() == submission.ingests.len();
            if !is_same {
                return Submitted::Mismatch;
            }
            let duplicate = |subject: &Uuid| Ingested::Duplicate { subject: *subject };
            return Submitted::Accepted(known.subjects.iter().map(duplicate).collect());
        }
        let mut own: Vec<_> = submission.ingests.iter().map(Ingest::subject).collect();
        let mut refused = false;
        let mut ingested = Vec::with_capacity(own.len());
        for (ingest, own) in submission.ingests.into_iter().zip(&mut own) {
            let before = receipt.yielded.len();
            let job = ingest.dedupe.filter(|_| ingest.event.is_none());
            ingested.push(self.ingest(tenant, ingest, now, receipt));
            // Whoever repeats a job that has yielded is answered with the one that it yielded to.
            // What was refused takes its keys back.
            if let (Some(job), Some(yielded)) = (job, receipt.yielded.get(before)) {
                *own = Some(yielded.to.0);
                refused |= yielded.on_conflict == Conflict::Reject;
                match yielded.on_conflict {
                    Conflict::Reject => drop(self.dedupe.remove(&(tenant, job.key))),
                    Conflict::Existing | Conflict::Replace => {
                        self.remember(tenant, job.key, None, vec![yielded.to.0], now);
                    }
                }
            }
        }
        if let Some(RequestKey { key, body }) = submission.request.filter(|_| !refused) {
            let subjects = own.into_iter().zip(&ingested).map(|(own, outcome)| match outcome {
                Ingested::Duplicate { subject } => *subject,
                Ingested::Stored | Ingested::NotDead => own.unwrap_or_default(),
            });
            self.remember(tenant, key, Some(body), subjects.collect(), now);
        }
        Submitted::Accepted(ingested)
    }

    fn request(&self, tenant: TenantId, request: RequestKey) -> Option<&DedupeRow> {
        self.dedupe.get(&(tenant, request.key))
    }

    fn ingest(
        &mut self,
        tenant: TenantId,
        mut ingest: Ingest,
        now: Timestamp,
        receipt: &mut Receipt,
    ) -> Ingested {
        if let Some(duplicate) = self.duplicate_of(tenant, &ingest) {
            return duplicate;
        }
        if let Some(dead) = ingest.requeue_of {
            if !self.is_dead_letter_of(tenant, dead) {
                return Ingested::NotDead;
            }
            self.dead.remove(&dead);
            self.inherit(dead, &ingest);
        }
        if let Some(dedupe) = ingest.dedupe {
            self.remember(tenant, dedupe.key, None, vec![dedupe.subject], now);
        }
        self.claim(tenant, &mut ingest, now, receipt);
        self.gather(tenant, &mut ingest, now, receipt);
        if let Some(event) = ingest.event {
            self.events.insert(event.id, event);
        }
        for (part, work) in ingest.works {
            self.enqueue(part, work, now, &mut receipt.first);
        }
        Ingested::Stored
    }

    /// A submission is a repetition when its key is known, or when its event is: a flush whose
    /// outcome was unknown is sent again with the same ids.
    fn duplicate_of(&self, tenant: TenantId, ingest: &Ingest) -> Option<Ingested> {
        let known = ingest.dedupe.and_then(|dedupe| {
            let row = self.dedupe.get(&(tenant, dedupe.key))?;
            Some(Ingested::Duplicate { subject: *row.subjects.first()? })
        });
        known.or_else(|| {
            let event =
                ingest.event.as_ref().filter(|event| self.events.contains_key(&event.id))?;
            Some(Ingested::Duplicate { subject: event.id.0 })
        })
    }

    fn is_dead_letter_of(&self, tenant: TenantId, id: ExecutionId) -> bool {
        let of_tenant = match self.places.get(&id) {
            Some(Place::Finished(finish)) => finish.item.work.tenant == tenant,
            Some(Place::Log { .. } | Place::Later(_)) | None => false,
        };
        of_tenant && self.dead.contains_key(&id)
    }

    fn remember(
        &mut self,
        tenant: TenantId,
        key: [u8; 16],
        body: Option<[u8; 16]>,
        subjects: Vec<Uuid>,
        now: Timestamp,
    ) {
        let until = after(now, DEDUPE_WINDOW);
        self.dedupe.insert((tenant, key), DedupeRow { body, subjects, until });
        self.dedupe_order.push_back((until, tenant, key));
    }

    fn forget_old_dedupes(&mut self, now: Timestamp) {
        while let Some((until, tenant, key)) = self.dedupe_order.front().copied() {
            if until > now {
                return;
            }
            self.dedupe_order.pop_front();
            if self.dedupe.get(&(tenant, key)).is_some_and(|row| row.until <= now) {
                self.dedupe.remove(&(tenant, key));
            }
        }
    }

    pub(super) fn enqueue(
        &mut self,
        part: Part,
        work: Arc<Work>,
        now: Timestamp,
        first: &mut Vec<(Part, Seq)>,
    ) {
        let Some(row) = self.parts.get_mut(usize::from(part.0)) else { return };
        if self.places.contains_key(&work.id) {
            return;
        }
        if let Some(event) = work.event {
            self.executions_of_event.entry(event).or_default().push(work.id);
        }
        let id = work.id;
        let place = if let Some(delay) = work.delay {
            row.laters.insert(id);
            Place::Later(Box::new(LaterRow::delayed(part, row.tail, work, after(now, delay))))
        } else {
            let seq = row.tail;
            row.tail = Seq(seq.0 + 1);
            row.log.insert(seq, work);
            if !first.iter().any(|(known, _)| *known == part) {
                first.push((part, seq));
            }
            Place::Log { part, seq }
        };
        self.places.insert(id, place);
    }

    fn mark(&mut self, item: &Item) {
        if self.is_unfinished(item.work.id) {
            self.marks.insert(item.work.id, item.part);
        }
    }

    fn report(&mut self, report: ReportOf) {
        if self.is_unfinished(report.execution) {
            self.reports.insert(report.execution, report);
        }
    }

    /// The attempt is over, so the mark goes as well: only a started item may gain a loss.
    fn postpone(&mut self, later: Later, now: Timestamp) {
        let id = later.item.work.id;
        if !self.is_unfinished(id) {
            return;
        }
        self.leave_home(id);
        self.marks.remove(&id);
        if let Some(row) = self.parts.get_mut(usize::from(later.item.part.0)) {
            row.laters.insert(id);
        }
        self.places.insert(id, Place::Later(Box::new(LaterRow::of(later, now))));
    }

    fn finish(&mut self, finish: Finish) {
        let id = finish.item.work.id;
        if !self.is_unfinished(id) {
            return;
        }
        self.leave_home(id);
        self.marks.remove(&id);
        self.reports.remove(&id);
        self.cancels.remove(&id);
        self.superseded.remove(&id);
        if let Some(fingerprint) = &finish.dead {
            self.dead.insert(id, fingerprint.clone());
        }
        if let Some(row) = self.parts.get_mut(usize::from(finish.item.part.0)) {
            row.fin_max = row.fin_max.max(finish.fin);
        }
        self.places.insert(id, Place::Finished(Box::new(finish)));
    }

    fn cancel(&mut self, cancel: &Cancel) {
        let is_of_tenant =
            self.item(cancel.execution).is_some_and(|item| item.work.tenant == cancel.tenant);
        if is_of_tenant {
            self.cancels.insert(cancel.execution, cancel.tenant);
        }
    }

    fn discard(&mut self, discard: &Discard) -> bool {
        self.is_dead_letter_of(discard.tenant, discard.execution)
            && self.dead.remove(&discard.execution).is_some()
    }

    /// Whether an item is to end without a start.
    fn is_over(&self, id: ExecutionId) -> bool {
        self.cancels.contains_key(&id) || self.superseded.contains_key(&id)
    }

    pub(super) fn is_unfinished(&self, id: ExecutionId) -> bool {
        match self.places.get(&id) {
            Some(Place::Log { .. } | Place::Later(_)) => true,
            Some(Place::Finished(_)) | None => false,
        }
    }

    pub(super) fn leave_home(&mut self, id: ExecutionId) {
        match self.places.remove(&id) {
            Some(Place::Log { part, seq }) => {
                if let Some(row) = self.parts.get_mut(usize::from(part.0)) {
                    row.log.remove(&seq);
                }
            }
            Some(Place::Later(row)) => {
                if let Some(part) = self.parts.get_mut(usize::from(row.part.0)) {
                    part.laters.remove(&id);
                }
            }
            Some(Place::Finished(_)) | None => {}
        }
    }
}

impl LaterRow {
    fn delayed(part: Part, ord: Seq, work: Arc<Work>, due_at: Timestamp) -> Self {
        let why = actions_domain::work::Why::Delay;
        Self { part, ord, work, due_at, why, hold: false, attempts: Vec::new(), losses: 0 }
    }

    fn of(later: Later, now: Timestamp) -> Self {
        let Later { item, delay, why, hold } = later;
        Self {
            part: item.part,
            ord: item.ord,
            work: item.work,
            due_at: after(now, delay),
            why,
            hold,
            attempts: item.attempts,
            losses: item.losses,
        }
    }

    fn later(&self, now: Timestamp) -> Later {
        let delay = (self.due_at - now).to_std().unwrap_or(Duration::ZERO);
        Later { item: self.item(), delay, why: self.why, hold: self.hold }
    }
}

/// The instant after a pause, or the end of time.
pub(super) fn after(now: Timestamp, pause: Duration) -> Timestamp {
    TimeDelta::from_std(pause)
        .ok()
        .and_then(|pause| now.checked_add_signed(pause))
        .unwrap_or(Timestamp::MAX_UTC)
}

pub(super) fn no_part(part: Part) -> StoreError {
    StoreError::Refused { reason: format!("there is no partition {part}") }
}
