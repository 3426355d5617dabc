//! Who is the only one for something. Claims are few, so each is looked up by itself.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::id::{EventId, ExecutionId, TenantId};
use actions_domain::ports::store::StoreError;
use actions_domain::terms::{Claim, ClaimHolder, ClaimVerdict, YieldNote, Yielded};
use actions_domain::work::{Cancel, Ingest, Work};
use sqlx::sqlite::SqliteConnection;

use crate::sqlite::error::store_error;
use crate::sqlite::record::{get, micros, timestamp, to_text};

/// The claims of one commit.
#[derive(Default)]
pub(super) struct Claims {
    held: HashMap<(TenantId, [u8; 16]), ClaimHolder>,
    /// Works of this commit that hold claims: they are not written yet.
    open: HashSet<ExecutionId>,
    pub(super) superseded: Vec<Cancel>,
    notes: Vec<(EventId, Vec<YieldNote>)>,
}

/// What became of the claims of one ingest.
#[derive(Default)]
pub(super) struct Settled {
    pub(super) yielded: Vec<Yielded>,
    delays: Vec<(ExecutionId, Option<Duration>)>,
}

impl Settled {
    pub(super) fn has_yielded(&self, work: &Work) -> bool {
        self.yielded.iter().any(|yielded| yielded.execution == work.id)
    }

    pub(super) fn delay(&self, work: &Work) -> Option<Duration> {
        let own = self.delays.iter().find(|(id, _)| *id == work.id);
        own.map_or(work.delay, |(_, delay)| *delay)
    }
}

impl Claims {
    pub(super) async fn settle(
        &mut self,
        conn: &mut SqliteConnection,
        tenant: TenantId,
        ingest: &Ingest,
        now: Timestamp,
    ) -> Result<Settled, StoreError> {
        let mut settled = Settled::default();
        let mut notes = Vec::new();
        for (_, work) in &ingest.works {
            let Some(claim) = work.terms.as_ref().and_then(|terms| terms.claim) else { continue };
            let known = self.find(conn, tenant, &claim).await?;
            let known = match known {
                Some(known) => Some((known, self.is_open(conn, tenant, known.execution).await?)),
                None => None,
            };
            match claim.judge(work.id, work.delay, known, now) {
                ClaimVerdict::Yields { to } => {
                    let on_conflict = claim.on_conflict;
                    let has_joined = false;
                    let yielded = Yielded { execution: work.id, to, on_conflict, has_joined };
                    settled.yielded.push(yielded);
                    notes.push(YieldNote { action: work.action, to, on_conflict, has_joined });
                }
                ClaimVerdict::Holds { holder, delay, supersedes } => {
                    self.held.insert((tenant, claim.key), holder);
                    self.open.insert(work.id);
                    settled.delays.push((work.id, delay));
                    let cancel = |execution| Cancel { tenant, execution, by: Some(work.id) };
                    self.superseded.extend(supersedes.map(cancel));
                }
            }
        }
        if let Some(event) = ingest.event.as_ref().filter(|_| !notes.is_empty()) {
            self.notes.push((event.id, notes));
        }
        Ok(settled)
    }

    /// After the works are written: one of them may have lost its place already.
    pub(super) async fn write(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        for ((tenant, key), holder) in &self.held {
            let text = "insert or replace into engine_claim
                (tenant, k, execution, first_at, until, until_finished, due)
                values (?, ?, ?, ?, ?, ?, ?)";
            sqlx::query(text)
                .bind(tenant.0)
                .bind(&key[..])
                .bind(holder.execution.0)
                .bind(micros(holder.first_at))
                .bind(holder.until.map(micros))
                .bind(holder.until_finished)
                .bind(holder.due.map(micros))
                .execute(&mut *conn)
                .await
                .map_err(store_error)?;
        }
        for Cancel { execution, by, .. } in &self.superseded {
            sqlx::query("update engine_terms set superseded_by = ? where id = ?")
                .bind(by.map(|by| by.to_string()))
                .bind(execution.0)
                .execute(&mut *conn)
                .await
                .map_err(store_error)?;
        }
        for (event, notes) in &self.notes {
            sqlx::query("update engine_event set yielded = ? where id = ?")
                .bind(to_text(notes)?)
                .bind(event.0)
                .execute(&mut *conn)
                .await
                .map_err(store_error)?;
        }
        Ok(())
    }

    async fn find(
        &self,
        conn: &mut SqliteConnection,
        tenant: TenantId,
        claim: &Claim,
    ) -> Result<Option<ClaimHolder>, StoreError> {
        if let Some(held) = self.held.get(&(tenant, claim.key)) {
            return Ok(Some(*held));
        }
        let text = "select execution, first_at, until, until_finished, due from engine_claim
            where tenant = ? and k = ?";
        let row = sqlx::query(text)
            .bind(tenant.0)
            .bind(&claim.key[..])
            .fetch_optional(conn)
            .await
            .map_err(store_error)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(ClaimHolder {
            execution: ExecutionId(get(&row, "execution")?),
            first_at: timestamp(get(&row, "first_at")?)?,
            until: get::<Option<i64>>(&row, "until")?.map(timestamp).transpose()?,
            until_finished: get(&row, "until_finished")?,
            due: get::<Option<i64>>(&row, "due")?.map(timestamp).transpose()?,
        }))
    }

    async fn is_open(
        &self,
        conn: &mut SqliteConnection,
        tenant: TenantId,
        execution: ExecutionId,
    ) -> Result<bool, StoreError> {
        if self.open.contains(&execution) {
            return Ok(true);
        }
        is_unfinished(conn, tenant, execution).await
    }
}

/// Whether an execution waits or runs.
pub(super) async fn is_unfinished(
    conn: &mut SqliteConnection,
    tenant: TenantId,
    execution: ExecutionId,
) -> Result<bool, StoreError> {
    let text = "select (exists (select 1 from engine_later where tenant = ?1 and id = ?2)
            or exists (select 1 from engine_work where tenant = ?1 and id = ?2))
            and not exists (select 1 from engine_execution where tenant = ?1 and id = ?2)
        as is_open";
    let row = sqlx::query(text)
        .bind(tenant.0)
        .bind(execution.0)
        .fetch_one(conn)
        .await
        .map_err(store_error)?;
    get(&row, "is_open")
}
