//! Tenants that go, in memory: all that they had, in one piece.

use std::collections::HashMap;

use actions_domain::Timestamp;
use actions_domain::audit::Act;
use actions_domain::id::{ActionId, ExecutionId, TenantId};
use actions_domain::ports::deletions::{BeginDeletionError, Deletions, Erased};
use actions_domain::ports::store::StoreError;
use actions_domain::tenant::TenantSlug;
use actions_domain::tenant::deletion::{DeletionRequest, Rows, TenantDeletion};
use actions_domain::throttle::Scope;
use async_trait::async_trait;

use super::accounts::{AccountRow, SessionRow};
use super::{Memory, Place, Tables};

#[async_trait]
impl Deletions for Memory {
    async fn begin_deletion(
        &self,
        slug: &TenantSlug,
        request: &DeletionRequest,
        act: Option<&Act>,
    ) -> Result<TenantDeletion, BeginDeletionError> {
        let mut tables = self.tables();
        let found = tables.tenants.values().find(|tenant| tenant.slug == *slug).cloned();
        let Some(tenant) = found else {
            return tables.deletion(slug).cloned().ok_or(BeginDeletionError::NotFound);
        };
        let controls = tables.controls.get(&tenant.id);
        if controls.is_none_or(|controls| controls.suspension.is_none()) {
            return Err(BeginDeletionError::NotSuspended);
        }
        let deletion = TenantDeletion::new(&tenant, request, tables.head(tenant.id));
        tables.tenants.remove(&tenant.id);
        tables.api_key_version += 1;
        let version = tables.api_key_version;
        let own = tables.api_keys.iter_mut().filter(|(_, row)| row.tenant() == tenant.id);
        let keys = own.map(|(id, row)| {
            row.revoke(request.at);
            *id
        });
        let keys = keys.collect();
        tables.keys_of_gone.push((version, keys));
        tables.end_sessions(request.at, |session| session.tenant == tenant.id);
        let own = tables.sessions.values().map(SessionRow::session);
        let own = own.filter(|session| session.tenant == tenant.id).map(|session| session.id);
        let own = own.collect();
        let version = tables.api_key_version;
        tables.sessions_of_gone.push((version, own));
        tables.secrets_version += 1;
        tables.deletions.insert(tenant.id, deletion.clone());
        tables.record(act);
        Ok(deletion)
    }

    async fn find_deletion(&self, slug: &TenantSlug) -> Result<Option<TenantDeletion>, StoreError> {
        Ok(self.tables().deletion(slug).cloned())
    }

    async fn open_deletions(&self) -> Result<Vec<TenantDeletion>, StoreError> {
        let tables = self.tables();
        let open = tables.deletions.values().filter(|deletion| !deletion.is_finished());
        Ok(open.cloned().collect())
    }

    async fn erase(&self, tenant: TenantId) -> Result<Erased, StoreError> {
        let mut tables = self.tables();
        if !tables.deletions.contains_key(&tenant) {
            return Ok(Erased::Nothing);
        }
        let removed = tables.erase(tenant);
        let rows = removed.values().sum();
        let Some(deletion) = tables.deletions.get_mut(&tenant) else { return Ok(Erased::Nothing) };
        if !deletion.is_finished() {
            deletion.note(removed);
        }
        Ok(if rows == 0 { Erased::Nothing } else { Erased::Rows(rows) })
    }

    async fn finish_deletion(
        &self,
        tenant: TenantId,
        at: Timestamp,
        act: &Act,
    ) -> Result<Option<TenantDeletion>, StoreError> {
        let mut tables = self.tables();
        let Some(deletion) = tables.deletions.get(&tenant).cloned() else { return Ok(None) };
        if deletion.is_finished() {
            return Ok(Some(deletion));
        }
        let Some(finished) = deletion.certified(tables.rows_of(tenant), at) else {
            return Ok(None);
        };
        tables.deletions.insert(tenant, finished.clone());
        tables.record(Some(&act.clone().to(finished.shown())));
        Ok(Some(finished))
    }
}

impl Tables {
    pub(super) fn deletion(&self, slug: &TenantSlug) -> Option<&TenantDeletion> {
        self.deletions.values().find(|deletion| deletion.slug == *slug)
    }

    pub(super) fn gone(&self) -> Vec<TenantId> {
        self.deletions.keys().copied().collect()
    }

    /// How many rows of a tenant there are, by table.
    fn rows_of(&self, tenant: TenantId) -> Rows {
        // Each member by its name: one that is added has to be thought of here.
        let Self {
            parts: _,
            nodes: _,
            shares: _,
            rates: _,
            events,
            executions_of_event: _,
            places,
            marks: _,
            reports,
            cancels,
            superseded: _,
            claims,
            yields_of_event: _,
            batches,
            members,
            dead: _,
            dedupe,
            dedupe_order: _,
            intake,
            intake_next: _,
            refused_intake,
            tenants,
            controls,
            actions,
            subscriptions,
            schedules,
            bulks,
            api_keys,
            api_key_version: _,
            keys_of_gone: _,
            accounts,
            sessions,
            sessions_of_gone: _,
            audit,
            secrets,
            secrets_version: _,
            queue_metrics,
            deletions: _,
            usage,
            backlog,
            runs,
        } = self;
        let count = |is_theirs: &mut dyn Iterator<Item = bool>| {
            u64::try_from(is_theirs.filter(|is_theirs| *is_theirs).count()).unwrap_or(u64::MAX)
        };
        let is = |id: TenantId| id == tenant;
        let entries = audit.get(&tenant).map_or(0, Vec::len);
        let mut members = members.values().flatten().map(|row| is(row.tenant));
        let counts = [
            ("event", count(&mut events.values().map(|event| is(event.tenant)))),
            ("execution", count(&mut places.keys().map(|id| self.is_of(*id, tenant)))),
            ("report", count(&mut reports.values().map(|report| is(report.tenant)))),
            ("control", count(&mut cancels.values().map(|id| is(*id)))),
            ("claim", count(&mut claims.keys().map(|(id, _)| is(*id)))),
            ("batch", count(&mut batches.keys().map(|(id, _)| is(*id)))),
            ("member", count(&mut members)),
            ("dedupe", count(&mut dedupe.keys().map(|(id, _)| is(*id)))),
            ("intake", count(&mut intake.values().map(|row| is(row.tenant)))),
            ("intake_refused", count(&mut refused_intake.iter().map(|row| is(row.row.tenant)))),
            ("tenant", u64::from(tenants.contains_key(&tenant))),
            ("controls", u64::from(controls.contains_key(&tenant))),
            ("action", count(&mut actions.values().map(|versions| is_of(versions, tenant)))),
            ("subscription", count(&mut subscriptions.keys().map(|(id, _)| is(*id)))),
            ("schedule", count(&mut schedules.keys().map(|(id, _)| is(*id)))),
            ("bulk", count(&mut bulks.keys().map(|(id, _)| is(*id)))),
            ("api_key", count(&mut api_keys.values().map(|row| is(row.tenant())))),
            ("account", count(&mut accounts.values().map(AccountRow::tenant).map(is))),
            ("session", count(&mut sessions.values().map(|row| is(row.session().tenant)))),
            ("audit", u64::try_from(entries).unwrap_or(u64::MAX)),
            ("secret", count(&mut secrets.keys().map(|(id, _)| is(*id)))),
            ("usage_day", count(&mut usage.keys().map(|(id, _)| is(*id)))),
            ("backlog", u64::from(backlog.contains_key(&tenant))),
            ("queue_metric", count(&mut queue_metrics.iter().map(|metric| is(metric.tenant)))),
        ];
        let counts = counts.into_iter().chain(runs.rows_of(tenant));
        counts.map(|(table, rows)| (table.to_owned(), rows)).collect()
    }

    fn erase(&mut self, tenant: TenantId) -> Rows {
        let rows = self.rows_of(tenant);
        let own: Vec<ExecutionId> =
            self.places.keys().copied().filter(|id| self.is_of(*id, tenant)).collect();
        for id in &own {
            self.leave_home(*id);
            self.marks.remove(id);
            self.reports.remove(id);
            self.superseded.remove(id);
            self.dead.remove(id);
            self.members.remove(id);
        }
        let events = self.events.values().filter(|event| event.tenant == tenant);
        for id in events.map(|event| event.id) {
            self.executions_of_event.remove(&id);
            self.yields_of_event.remove(&id);
        }
        self.events.retain(|_, event| event.tenant != tenant);
        self.reports.retain(|_, report| report.tenant != tenant);
        self.cancels.retain(|_, id| *id != tenant);
        self.claims.retain(|(id, _), _| *id != tenant);
        self.batches.retain(|(id, _), _| *id != tenant);
        self.members.retain(|_, rows| rows.iter().all(|row| row.tenant != tenant));
        self.dedupe.retain(|(id, _), _| *id != tenant);
        self.dedupe_order.retain(|(_, id, _)| *id != tenant);
        self.intake.retain(|_, row| row.tenant != tenant);
        self.refused_intake.retain(|refused| refused.row.tenant != tenant);
        self.controls.remove(&tenant);
        let actions: HashMap<ActionId, bool> =
            self.actions.iter().map(|(id, versions)| (*id, is_of(versions, tenant))).collect();
        let is_gone = |scope: &Scope| match scope {
            Scope::Tenant(id) | Scope::Events(id) | Scope::Subscription(id, _) => *id == tenant,
            Scope::Action(action) => actions.get(action).is_some_and(|is_theirs| *is_theirs),
        };
        self.shares.retain(|scope, _| !is_gone(scope));
        self.rates.retain(|scope, _| !is_gone(scope));
        self.actions.retain(|_, versions| !is_of(versions, tenant));
        self.subscriptions.retain(|(id, _), _| *id != tenant);
        self.schedules.retain(|(id, _), _| *id != tenant);
        self.bulks.retain(|(id, _), _| *id != tenant);
        self.api_keys.retain(|_, row| row.tenant() != tenant);
        self.accounts.retain(|_, row| row.tenant() != tenant);
        self.sessions.retain(|_, row| row.session().tenant != tenant);
        self.audit.remove(&tenant);
        self.secrets.retain(|(id, _), _| *id != tenant);
        self.queue_metrics.retain(|metric| metric.tenant != tenant);
        self.usage.retain(|(id, _), _| *id != tenant);
        self.backlog.remove(&tenant);
        self.runs.erase(tenant);
        rows
    }

    fn is_of(&self, id: ExecutionId, tenant: TenantId) -> bool {
        match self.places.get(&id) {
            Some(Place::Log { .. } | Place::Later(_)) => {
                self.item(id).is_some_and(|item| item.work.tenant == tenant)
            }
            Some(Place::Finished(finish)) => finish.item.work.tenant == tenant,
            None => false,
        }
    }
}

fn is_of(versions: &[actions_domain::action::Action], tenant: TenantId) -> bool {
    versions.first().is_some_and(|action| action.tenant == tenant)
}
