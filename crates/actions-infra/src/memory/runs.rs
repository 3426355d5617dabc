//! Runs of workflows in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use actions_domain::flow::journal::{CallId, Entry};
use actions_domain::flow::record::{NewRun, RunRecord, RunTimer, RunTurn, Tell, Waiting};
use actions_domain::id::{ExecutionId, RunId, TenantId};
use actions_domain::limits::INBOX_BYTES_MAX;
use actions_domain::ports::runs::{Inbox, RunQuery, Runs};
use actions_domain::ports::store::StoreError;
use actions_domain::work::Part;
use async_trait::async_trait;

use super::store::after;
use super::{Memory, Tables};

/// All that is kept of runs.
#[derive(Default)]
pub(super) struct RunTables {
    records: BTreeMap<(TenantId, RunId), RunRecord>,
    journals: HashMap<(TenantId, RunId), Vec<Entry>>,
    /// Which entry made an execution.
    makers: HashMap<ExecutionId, (TenantId, RunId, u32)>,
    inbox: BTreeMap<i64, Waiting>,
    last_place: i64,
    timers: BTreeMap<(RunId, CallId), RunTimer>,
}

#[async_trait]
impl Runs for Memory {
    async fn inbox(
        &self,
        parts: &[Part],
        held: &[RunId],
        limit: u32,
        ahead: Duration,
    ) -> Result<Inbox, StoreError> {
        let now = self.clock.now();
        let until = after(now, ahead);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let tables = self.tables();
        let mut bytes = 0;
        let mut waiting = Vec::new();
        let is_asked = |part: &Part, run: &RunId| parts.contains(part) && !held.contains(run);
        for row in tables.runs.inbox.values().filter(|row| is_asked(&row.part, &row.run)) {
            if waiting.len() == limit || bytes >= INBOX_BYTES_MAX {
                break;
            }
            bytes += serde_json::to_string(&row.told).map_or(0, |text| text.len());
            waiting.push(row.clone());
        }
        let timers = tables.runs.timers.values();
        let is_due = |timer: &&RunTimer| timer.due_at <= until && is_asked(&timer.part, &timer.run);
        let mut timers: Vec<RunTimer> = timers.filter(is_due).copied().collect();
        timers.sort_by_key(|timer| timer.due_at);
        timers.truncate(limit);
        let is_cut = bytes >= INBOX_BYTES_MAX || waiting.len().max(timers.len()) >= limit;
        Ok(Inbox { now, waiting, timers, is_cut })
    }

    async fn find_run(&self, tenant: TenantId, id: RunId) -> Result<Option<RunRecord>, StoreError> {
        Ok(self.tables().runs.records.get(&(tenant, id)).cloned())
    }

    async fn find_runs(&self, runs: &[(TenantId, RunId)]) -> Result<Vec<RunRecord>, StoreError> {
        let tables = self.tables();
        Ok(runs.iter().filter_map(|key| tables.runs.records.get(key)).cloned().collect())
    }

    async fn list_runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
        let tables = self.tables();
        let RunQuery { tenant, name, status, before, limit } = query;
        let records = &tables.runs.records;
        let place = |run: &RunRecord| (run.started_at, run.id);
        // What is not there any more has no place, as in a database.
        let before = match before {
            None => None,
            Some(id) => match records.get(&(*tenant, *id)) {
                Some(run) => Some(place(run)),
                None => return Ok(Vec::new()),
            },
        };
        let is_asked = |run: &&RunRecord| {
            run.tenant == *tenant
                && name.as_ref().is_none_or(|name| run.name == *name)
                && status.is_none_or(|status| run.state.status == status)
                && before.is_none_or(|before| place(run) < before)
        };
        let mut found: Vec<RunRecord> = records.values().filter(is_asked).cloned().collect();
        found.sort_by_key(|run| std::cmp::Reverse(place(run)));
        found.truncate(usize::try_from(*limit).unwrap_or(usize::MAX));
        Ok(found)
    }

    async fn journal(
        &self,
        tenant: TenantId,
        run: RunId,
        from: u32,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let tables = self.tables();
        let entries = tables.runs.journals.get(&(tenant, run)).into_iter().flatten();
        let (from, limit) = (usize_of(from), usize_of(limit));
        Ok(entries.skip(from).take(limit).cloned().collect())
    }

    async fn run_of(
        &self,
        tenant: TenantId,
        execution: ExecutionId,
    ) -> Result<Option<(RunId, u32)>, StoreError> {
        let tables = self.tables();
        let found = tables.runs.makers.get(&execution).filter(|(owner, ..)| *owner == tenant);
        Ok(found.map(|(_, run, number)| (*run, *number)))
    }
}

fn usize_of(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Tables {
    pub(super) fn write_runs(
        &mut self,
        starts: Vec<NewRun>,
        tells: Vec<Tell>,
        turns: Vec<RunTurn>,
    ) {
        let tenants: BTreeSet<TenantId> = self.tenants.keys().copied().collect();
        for turn in turns {
            self.runs.take(turn);
        }
        for start in starts.into_iter().filter(|start| tenants.contains(&start.tenant)) {
            self.runs.begin(&start);
        }
        for Tell { tenant, part, run, told } in tells {
            if tenants.contains(&tenant) {
                self.runs.tell(tenant, part, run, told);
            }
        }
    }
}

impl RunTables {
    fn take(&mut self, turn: RunTurn) {
        let RunTurn { tenant, part, run, .. } = turn;
        for place in turn.taken {
            self.inbox.remove(&place);
        }
        for call in turn.timers_cleared {
            self.timers.remove(&(run, call));
        }
        for (call, due_at) in turn.timers_set {
            self.timers.insert((run, call), RunTimer { tenant, part, run, call, due_at });
        }
        let journal = self.journals.entry((tenant, run)).or_default();
        for (number, entry) in (turn.first..).zip(turn.entries) {
            if let Some(execution) = entry.execution {
                self.makers.insert(execution, (tenant, run, number));
            }
            journal.push(entry.entry);
        }
        if let (Some(state), Some(record)) = (turn.state, self.records.get_mut(&(tenant, run))) {
            record.state = state;
        }
    }

    fn begin(&mut self, start: &NewRun) {
        if self.records.contains_key(&(start.tenant, start.id)) {
            return;
        }
        self.records.insert((start.tenant, start.id), start.record());
        self.tell(start.tenant, start.part, start.id, start.told());
    }

    fn tell(
        &mut self,
        tenant: TenantId,
        part: Part,
        run: RunId,
        told: actions_domain::flow::told::Told,
    ) {
        self.last_place += 1;
        let place = self.last_place;
        self.inbox.insert(place, Waiting { place, tenant, part, run, told });
    }

    /// How many rows of a tenant there are, by table.
    pub(super) fn rows_of(&self, tenant: TenantId) -> [(&'static str, u64); 4] {
        let count = |rows: usize| u64::try_from(rows).unwrap_or(u64::MAX);
        let is = |id: TenantId| id == tenant;
        let entries = self.journals.iter().filter(|((id, _), _)| is(*id));
        [
            ("run", count(self.records.keys().filter(|(id, _)| is(*id)).count())),
            ("run_entry", count(entries.map(|(_, entries)| entries.len()).sum())),
            ("run_inbox", count(self.inbox.values().filter(|row| is(row.tenant)).count())),
            ("run_timer", count(self.timers.values().filter(|row| is(row.tenant)).count())),
        ]
    }

    pub(super) fn erase(&mut self, tenant: TenantId) {
        self.records.retain(|(id, _), _| *id != tenant);
        self.journals.retain(|(id, _), _| *id != tenant);
        self.makers.retain(|_, (id, ..)| *id != tenant);
        self.inbox.retain(|_, row| row.tenant != tenant);
        self.timers.retain(|_, row| row.tenant != tenant);
    }
}
