//! What happened, read from memory. Simple scans: memory is for small amounts.

use std::collections::BTreeMap;

use async_trait::async_trait;

use actions_domain::Timestamp;
use actions_domain::event::Event;
use actions_domain::execution::{Execution, LeftOut, Status};
use actions_domain::id::{ActionId, EventId, ExecutionId, TenantId};
use actions_domain::json::Json;
use actions_domain::limits::LISTED_BYTES_MAX;
use actions_domain::ports::history::{
    ActionCounts, DeadLetter, DeadLetterGroup, DeadLetterQuery, EventQuery, ExecutionQuery,
    History, ListedEvent, QueueMetric, RefusedIntake, TenantCounts,
};
use actions_domain::ports::store::StoreError;
use actions_domain::terms::{Conflict, YieldNote};
use actions_domain::work::{Finish, Item};

use super::{Memory, Place, Tables};

#[async_trait]
impl History for Memory {
    async fn find_event(&self, tenant: TenantId, id: EventId) -> Result<Option<Event>, StoreError> {
        let tables = self.tables();
        let event = tables.events.get(&id).filter(|event| event.tenant == tenant);
        Ok(event.map(|event| (**event).clone()))
    }

    async fn list_events(&self, query: EventQuery) -> Result<Vec<ListedEvent>, StoreError> {
        let tables = self.tables();
        let events = match query.before {
            Some(before) => tables.events.range(..before),
            None => tables.events.range(..),
        };
        let wanted = |event: &&Event| {
            event.tenant == query.tenant
                && query.event_type.as_deref().is_none_or(|kind| kind == event.event_type.as_str())
        };
        let newest = events.rev().map(|(_, event)| &**event).filter(wanted);
        Ok(newest.take(count(query.limit)).map(listed_event).collect())
    }

    async fn executions_of_event(
        &self,
        tenant: TenantId,
        event: EventId,
    ) -> Result<Vec<Execution>, StoreError> {
        let tables = self.tables();
        let mut ids = tables.executions_of_event.get(&event).cloned().unwrap_or_default();
        ids.sort_unstable();
        let executions = ids.into_iter().filter_map(|id| tables.execution(id));
        Ok(executions.filter(|execution| execution.tenant == tenant).collect())
    }

    async fn yields_of_event(
        &self,
        tenant: TenantId,
        event: EventId,
    ) -> Result<Vec<YieldNote>, StoreError> {
        let tables = self.tables();
        let is_own = tables.events.get(&event).is_some_and(|known| known.tenant == tenant);
        if !is_own {
            return Ok(Vec::new());
        }
        let joined = tables.members.iter().flat_map(|(head, rows)| {
            let own = rows.iter().filter(|row| row.member.event == Some(event));
            own.map(|row| YieldNote {
                action: row.action,
                to: *head,
                on_conflict: Conflict::Existing,
                has_joined: true,
            })
        });
        let mut joined: Vec<YieldNote> = joined.collect();
        joined.sort_by_key(|note| note.to);
        let yielded = tables.yields_of_event.get(&event).into_iter().flatten().copied();
        Ok(yielded.chain(joined).collect())
    }

    async fn members_of(
        &self,
        tenant: TenantId,
        head: ExecutionId,
    ) -> Result<Vec<Option<EventId>>, StoreError> {
        let tables = self.tables();
        let rows = tables.members.get(&head).into_iter().flatten();
        Ok(rows.filter(|row| row.tenant == tenant).map(|row| row.member.event).collect())
    }

    async fn find_execution(
        &self,
        tenant: TenantId,
        id: ExecutionId,
    ) -> Result<Option<Execution>, StoreError> {
        Ok(self.tables().execution(id).filter(|execution| execution.tenant == tenant))
    }

    async fn list_executions(&self, query: ExecutionQuery) -> Result<Vec<Execution>, StoreError> {
        let tables = self.tables();
        let places = match query.before {
            Some(before) => tables.places.range(..before),
            None => tables.places.range(..),
        };
        let wanted = |execution: &Execution| {
            execution.tenant == query.tenant
                && query.action.is_none_or(|action| action == execution.action)
                && (query.statuses.is_empty() || query.statuses.contains(&execution.status))
        };
        let newest = places.rev().filter_map(|(id, _)| tables.execution(*id)).filter(wanted);
        Ok(newest.take(count(query.limit)).map(listed).collect())
    }

    async fn list_dead_letters(
        &self,
        query: DeadLetterQuery,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let tables = self.tables();
        let wanted = |letter: &DeadLetter| {
            query.fingerprint.as_ref().is_none_or(|wanted| *wanted == letter.fingerprint)
                && query.action.is_none_or(|action| action == letter.execution.action)
                && query.before.is_none_or(|before| letter.execution.id < before)
        };
        let letters = tables.dead_letters(query.tenant).filter(wanted);
        let listed =
            |letter: DeadLetter| DeadLetter { execution: listed(letter.execution), ..letter };
        Ok(letters.take(count(query.limit)).map(listed).collect())
    }

    async fn find_dead_letter(
        &self,
        tenant: TenantId,
        id: ExecutionId,
    ) -> Result<Option<DeadLetter>, StoreError> {
        let tables = self.tables();
        Ok(tables.dead_letter(id).filter(|letter| letter.execution.tenant == tenant))
    }

    async fn dead_letter_groups(
        &self,
        tenant: TenantId,
        limit: u32,
    ) -> Result<Vec<DeadLetterGroup>, StoreError> {
        let tables = self.tables();
        let mut groups: BTreeMap<(String, ActionId), DeadLetterGroup> = BTreeMap::new();
        for letter in tables.dead_letters(tenant) {
            let at = (letter.fingerprint.clone(), letter.execution.action);
            groups.entry(at).and_modify(|group| widen(group, &letter)).or_insert_with(|| {
                // Newest first, so the first one of a group is its sample.
                DeadLetterGroup {
                    fingerprint: letter.fingerprint.clone(),
                    action: letter.execution.action,
                    count: 1,
                    first_at: letter.died_at,
                    last_at: letter.died_at,
                    sample: letter.execution.error.clone(),
                }
            });
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort_by_key(|group| (std::cmp::Reverse(group.count), group.fingerprint.clone()));
        groups.truncate(count(limit));
        Ok(groups)
    }

    async fn action_counts(
        &self,
        tenant: TenantId,
        action: Option<ActionId>,
        since: Option<Timestamp>,
    ) -> Result<Vec<ActionCounts>, StoreError> {
        let tables = self.tables();
        let mut counts: BTreeMap<ActionId, ActionCounts> = BTreeMap::new();
        let finishes = (tables.finishes(tenant))
            .filter(|finish| action.is_none_or(|action| action == finish.item.work.action))
            .filter(|finish| since.is_none_or(|since| finish.ended_at >= since));
        for finish in finishes {
            let action = finish.item.work.action;
            add(counts.entry(action).or_insert_with(|| no_counts(action)), finish);
        }
        Ok(counts.into_values().collect())
    }

    async fn recent_durations(
        &self,
        tenant: TenantId,
        action: ActionId,
        limit: u32,
    ) -> Result<Vec<i64>, StoreError> {
        let tables = self.tables();
        let of_action = |finish: &&Finish| finish.item.work.action == action;
        let durations = tables.finishes(tenant).filter(of_action).filter_map(duration_ms);
        Ok(durations.take(count(limit)).collect())
    }

    async fn record_queue_metrics(&self, samples: &[QueueMetric]) -> Result<(), StoreError> {
        self.tables().queue_metrics.extend_from_slice(samples);
        Ok(())
    }

    async fn queue_metrics(
        &self,
        tenant: TenantId,
        limit: u32,
    ) -> Result<Vec<QueueMetric>, StoreError> {
        let tables = self.tables();
        let samples = tables.queue_metrics.iter().filter(|sample| sample.tenant == tenant);
        let mut samples: Vec<QueueMetric> = samples.rev().cloned().collect();
        samples.sort_by_key(|sample| std::cmp::Reverse(sample.sampled_at));
        samples.truncate(count(limit));
        Ok(samples)
    }

    async fn refused_intake(
        &self,
        tenant: TenantId,
        limit: u32,
    ) -> Result<Vec<RefusedIntake>, StoreError> {
        let tables = self.tables();
        let own = tables.refused_intake.iter().rev().filter(|refused| refused.row.tenant == tenant);
        let mut own: Vec<RefusedIntake> = own.cloned().collect();
        own.sort_by_key(|refused| std::cmp::Reverse(refused.row.id));
        own.truncate(count(limit));
        Ok(own)
    }

    async fn counts_by_tenant(&self, since: Timestamp) -> Result<Vec<TenantCounts>, StoreError> {
        let tables = self.tables();
        let mut counts: Vec<TenantCounts> = Vec::new();
        for tenant in tables.tenants.keys() {
            let mut sum = TenantCounts::of(*tenant);
            for finish in tables.finishes(*tenant).filter(|finish| finish.ended_at >= since) {
                let mut one = no_counts(finish.item.work.action);
                add(&mut one, finish);
                sum.completed += one.completed;
                sum.failed += one.failed;
                sum.duration_ms += one.duration_ms;
            }
            if sum != TenantCounts::of(*tenant) {
                counts.push(sum);
            }
        }
        Ok(counts)
    }
}

impl Tables {
    fn execution(&self, id: ExecutionId) -> Option<Execution> {
        match self.places.get(&id)? {
            Place::Log { .. } => self.item(id).map(|item| unfinished(item, None)),
            Place::Later(row) => Some(unfinished(row.item(), Some(row.due_at))),
            Place::Finished(finish) => Some(finished(finish)),
        }
    }

    /// Newest first.
    fn finishes(&self, tenant: TenantId) -> impl Iterator<Item = &Finish> {
        let finishes = self.places.values().rev().filter_map(|place| match place {
            Place::Finished(finish) => Some(&**finish),
            Place::Log { .. } | Place::Later(_) => None,
        });
        finishes.filter(move |finish| finish.item.work.tenant == tenant)
    }

    /// Newest first.
    fn dead_letters(&self, tenant: TenantId) -> impl Iterator<Item = DeadLetter> {
        let letters = self.dead.keys().rev().filter_map(|id| self.dead_letter(*id));
        letters.filter(move |letter| letter.execution.tenant == tenant)
    }

    fn dead_letter(&self, id: ExecutionId) -> Option<DeadLetter> {
        let fingerprint = self.dead.get(&id)?.clone();
        let execution = self.execution(id)?;
        Some(DeadLetter { fingerprint, died_at: execution.ended_at?, execution })
    }
}

fn unfinished(item: Item, due_at: Option<Timestamp>) -> Execution {
    let status = if item.attempts.is_empty() { Status::Pending } else { Status::Retrying };
    let started_at = item.attempts.first().map(|attempt| attempt.started_at);
    let seed = Finish {
        item,
        fin: 0,
        epoch: actions_domain::work::Epoch(0),
        status,
        started_at,
        ended_at: Timestamp::UNIX_EPOCH,
        output: None,
        error: None,
        rejected: false,
        dead: None,
    };
    Execution { due_at, ended_at: None, ..finished(&seed) }
}

fn finished(finish: &Finish) -> Execution {
    let work = &finish.item.work;
    Execution {
        id: work.id,
        tenant: work.tenant,
        action: work.action,
        defs: work.defs,
        event: work.event,
        parent: work.parent,
        priority: work.lane,
        key: work.key.clone(),
        status: finish.status,
        queued_at: work.queued_at,
        due_at: None,
        started_at: finish.started_at,
        ended_at: Some(finish.ended_at),
        input: work.input.clone(),
        output: finish.output.clone(),
        error: finish.error.clone(),
        attempts: finish.item.attempts.clone(),
        left_out: LeftOut::default(),
    }
}

fn listed_event(event: &Event) -> ListedEvent {
    let mut listed = ListedEvent { data_bytes: event.data.as_str().len(), event: event.clone() };
    if !listed.is_whole() {
        listed.event.data = Json::null();
    }
    listed
}

fn listed(mut execution: Execution) -> Execution {
    execution.left_out.input = leave_out(&mut execution.input);
    execution.left_out.output = leave_out(&mut execution.output);
    execution
}

fn leave_out(payload: &mut Option<Json>) -> Option<usize> {
    let bytes = payload.as_ref()?.as_str().len();
    if bytes <= LISTED_BYTES_MAX {
        return None;
    }
    *payload = None;
    Some(bytes)
}

fn widen(group: &mut DeadLetterGroup, letter: &DeadLetter) {
    group.count += 1;
    group.first_at = group.first_at.min(letter.died_at);
    group.last_at = group.last_at.max(letter.died_at);
}

fn no_counts(action: ActionId) -> ActionCounts {
    ActionCounts {
        action,
        completed: 0,
        failed: 0,
        cancelled: 0,
        retries: 0,
        duration_ms: 0,
        last_at: None,
    }
}

fn add(counts: &mut ActionCounts, finish: &Finish) {
    match finish.status {
        Status::Completed => counts.completed += 1,
        Status::Failed | Status::Timeout => counts.failed += 1,
        Status::Cancelled => counts.cancelled += 1,
        Status::Pending
        | Status::Running
        | Status::Retrying
        | Status::Skipped
        | Status::Paused
        | Status::Blocked => {}
    }
    let retries = finish.item.attempts.len().saturating_sub(1);
    counts.retries += i64::try_from(retries).unwrap_or(i64::MAX);
    counts.duration_ms += duration_ms(finish).unwrap_or(0);
    counts.last_at = counts.last_at.max(Some(finish.ended_at));
}

/// From the first start to the end.
fn duration_ms(finish: &Finish) -> Option<i64> {
    Some((finish.ended_at - finish.started_at?).num_milliseconds())
}

fn count(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
