//! Tenants that go, in PostgreSQL. The functions of the database find the tables by their columns and
//! quote what they find; here it is decided what comes next.

use actions_domain::Timestamp;
use actions_domain::audit::{Act, Hash, Head};
use actions_domain::id::{ActionId, SubscriptionId, TenantId};
use actions_domain::ports::deletions::{BeginDeletionError, Deletions, Erased};
use actions_domain::ports::store::StoreError;
use actions_domain::tenant::deletion::{DeletionRequest, Rows, TenantDeletion};
use actions_domain::tenant::{Controls, Tenant, TenantSlug};
use actions_domain::throttle::Scope;
use async_trait::async_trait;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::Postgres;
use super::audit::append;
use super::error::{read_error, write_error};
use super::record::{corrupt, from_text, to_text};

/// Rows that one transaction removes: some ten milliseconds.
const ROWS_AT_ONCE: i32 = 2_000;
/// Kept until the rest is gone: limits are found by the definitions, and who reads the audit
/// meanwhile sees all of it or nothing.
const SPARED: [&str; 4] = ["action", "subscription", "audit", "audit_head"];

#[async_trait]
impl Deletions for Postgres {
    async fn begin_deletion(
        &self,
        slug: &TenantSlug,
        request: &DeletionRequest,
        act: Option<&Act>,
    ) -> Result<TenantDeletion, BeginDeletionError> {
        let mut tx = self.pool.begin().await.map_err(StoreError::unavailable)?;
        let found: Option<TenantRow> = sqlx::query_as(include_str!("deletions/lock_tenant.sql"))
            .bind(slug.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(read_error)?;
        let Some(row) = found else {
            drop(tx);
            return self.find_deletion(slug).await?.ok_or(BeginDeletionError::NotFound);
        };
        let controls: Controls = from_text("controls", &row.controls)?;
        if controls.suspension.is_none() {
            return Err(BeginDeletionError::NotSuspended);
        }
        let audit = head(&mut tx, TenantId(row.id)).await?;
        let deletion = TenantDeletion::new(&row.into_tenant()?, request, audit);
        sqlx::query("select engine.begin_deletion_v1($1, $2)")
            .bind(deletion.tenant.0)
            .bind(to_text(&deletion)?)
            .execute(&mut *tx)
            .await
            .map_err(write_error)?;
        // Nodes that have its secrets in memory look again.
        sqlx::query("update engine.secrets_version set version = version + 1")
            .execute(&mut *tx)
            .await
            .map_err(write_error)?;
        append(&mut tx, act).await.map_err(write_error)?;
        tx.commit().await.map_err(write_error)?;
        Ok(deletion)
    }

    async fn find_deletion(&self, slug: &TenantSlug) -> Result<Option<TenantDeletion>, StoreError> {
        let text = "select record from engine.tenant_deletion where slug = $1";
        let found: Option<String> = sqlx::query_scalar(text)
            .bind(slug.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(read_error)?;
        found.map(|text| from_text("deletion", &text)).transpose()
    }

    async fn open_deletions(&self) -> Result<Vec<TenantDeletion>, StoreError> {
        let text =
            "select record from engine.tenant_deletion where finished_at is null order by id";
        let found: Vec<String> =
            sqlx::query_scalar(text).fetch_all(&self.pool).await.map_err(read_error)?;
        found.iter().map(|text| from_text("deletion", text)).collect()
    }

    async fn erase(&self, tenant: TenantId) -> Result<Erased, StoreError> {
        let mut tx = self.pool.begin().await.map_err(StoreError::unavailable)?;
        let Some(row) = lock(&mut tx, tenant).await? else { return Ok(Erased::Nothing) };
        if !row.is_settled {
            drop(tx);
            return self.settle(tenant, &row).await;
        }
        let mut removed = erase(&mut tx, tenant, &SPARED).await?;
        if removed.is_empty() {
            removed = erase_definitions(&mut tx, tenant).await?;
        }
        if removed.is_empty() {
            removed = erase(&mut tx, tenant, &[]).await?;
        }
        let rows = removed.iter().map(|(_, rows)| rows).sum();
        if rows == 0 {
            return Ok(Erased::Nothing);
        }
        let mut deletion = row.deletion()?;
        // A certificate says what was counted when it was written.
        if !deletion.is_finished() {
            deletion.note(removed);
            write(&mut tx, &deletion).await?;
        }
        tx.commit().await.map_err(write_error)?;
        Ok(Erased::Rows(rows))
    }

    async fn finish_deletion(
        &self,
        tenant: TenantId,
        at: Timestamp,
        act: &Act,
    ) -> Result<Option<TenantDeletion>, StoreError> {
        let mut tx = self.pool.begin().await.map_err(StoreError::unavailable)?;
        let Some(row) = lock(&mut tx, tenant).await? else { return Ok(None) };
        let deletion = row.deletion()?;
        if deletion.is_finished() {
            return Ok(Some(deletion));
        }
        let text = "select relation, sum(amount)::int8 from engine.count_rows_v1($1) group by 1";
        let left: Vec<(String, i64)> =
            sqlx::query_as(text).bind(tenant.0).fetch_all(&mut *tx).await.map_err(read_error)?;
        let left: Rows = left.into_iter().map(|(table, rows)| (table, count(rows))).collect();
        let Some(finished) = deletion.certified(left, at) else { return Ok(None) };
        write(&mut tx, &finished).await?;
        append(&mut tx, Some(&act.clone().to(finished.shown()))).await.map_err(write_error)?;
        tx.commit().await.map_err(write_error)?;
        Ok(Some(finished))
    }
}

impl Postgres {
    /// Sees to it that nobody writes for the tenant any more.
    async fn settle(&self, tenant: TenantId, row: &DeletionRow) -> Result<Erased, StoreError> {
        if !row.has_noted_writers {
            // Each in a transaction of its own: who begins after the first one knows.
            sqlx::query("select engine.prepare_erasure_v1()")
                .execute(&self.pool)
                .await
                .map_err(write_error)?;
            sqlx::query("select engine.note_writers_v1($1)")
                .bind(tenant.0)
                .execute(&self.pool)
                .await
                .map_err(write_error)?;
        }
        // Apart, because somebody may be reading people's views for long, and flushes wait for what
        // the first step holds.
        sqlx::query("select engine.drop_schema_v1($1)")
            .bind(tenant.0)
            .execute(&self.pool)
            .await
            .map_err(write_error)?;
        let have_ended: bool = sqlx::query_scalar("select engine.have_writers_ended_v1($1, $2)")
            .bind(tenant.0)
            .bind(row.deletion()?.requested_at)
            .fetch_one(&self.pool)
            .await
            .map_err(read_error)?;
        if !have_ended {
            return Ok(Erased::Waits);
        }
        let mut tx = self.pool.begin().await.map_err(StoreError::unavailable)?;
        for step in [
            "select engine.keep_numbers_v1($1)",
            "update engine.tenant_deletion set settled_at = clock_timestamp() where id = $1",
        ] {
            sqlx::query(step).bind(tenant.0).execute(&mut *tx).await.map_err(write_error)?;
        }
        tx.commit().await.map_err(write_error)?;
        Ok(Erased::Rows(0))
    }

    /// Removes what came late: a user's own transaction may have begun before its tenant went.
    pub(super) async fn erase_late_rows(&self) -> Result<(), StoreError> {
        let text = "select id from engine.tenant_deletion
            where finished_at > clock_timestamp() - interval '2 days' order by id";
        let gone: Vec<i32> =
            sqlx::query_scalar(text).fetch_all(&self.pool).await.map_err(read_error)?;
        for tenant in gone {
            while let Erased::Rows(rows) = self.erase(TenantId(tenant)).await? {
                tracing::info!(tenant, rows, "rows of a deleted tenant came late and were removed");
            }
        }
        Ok(())
    }
}

async fn head(tx: &mut PgConnection, tenant: TenantId) -> Result<Head, StoreError> {
    let text = "select seq, hash from engine.audit_head where tenant = $1 for no key update";
    let found: Option<(i64, Vec<u8>)> =
        sqlx::query_as(text).bind(tenant.0).fetch_optional(tx).await.map_err(read_error)?;
    Ok(found.map_or_else(Head::default, |(seq, hash)| Head {
        seq,
        hash: Hash::from_record(hash.try_into().unwrap_or_default()),
    }))
}

async fn lock(tx: &mut PgConnection, tenant: TenantId) -> Result<Option<DeletionRow>, StoreError> {
    sqlx::query_as(include_str!("deletions/lock_deletion.sql"))
        .bind(tenant.0)
        .fetch_optional(tx)
        .await
        .map_err(read_error)
}

async fn write(tx: &mut PgConnection, deletion: &TenantDeletion) -> Result<(), StoreError> {
    let finished_at = deletion.certificate.as_ref().map(|certificate| certificate.finished_at);
    sqlx::query("update engine.tenant_deletion set record = $2, finished_at = $3 where id = $1")
        .bind(deletion.tenant.0)
        .bind(to_text(deletion)?)
        .bind(finished_at)
        .execute(tx)
        .await
        .map_err(write_error)?;
    Ok(())
}

/// Removes a piece, and answers what there was.
async fn erase(
    tx: &mut PgConnection,
    tenant: TenantId,
    spared: &[&str],
) -> Result<Vec<(String, u64)>, StoreError> {
    let spared: Vec<String> = spared.iter().map(ToString::to_string).collect();
    let text = "select relation, removed from engine.erase_v1($1, $2, $3) where removed > 0";
    let rows: Vec<(String, i64)> = sqlx::query_as(text)
        .bind(tenant.0)
        .bind(ROWS_AT_ONCE)
        .bind(spared)
        .fetch_all(tx)
        .await
        .map_err(write_error)?;
    Ok(rows.into_iter().map(|(table, rows)| (table, count(rows))).collect())
}

/// Removes a piece of the definitions, with what is kept of their limits.
async fn erase_definitions(
    tx: &mut PgConnection,
    tenant: TenantId,
) -> Result<Vec<(String, u64)>, StoreError> {
    let actions: Vec<i32> =
        sqlx::query_scalar("delete from engine.action where id = any (array(select id from engine.action where tenant = $1 limit $2)) returning id")
            .bind(tenant.0)
            .bind(ROWS_AT_ONCE)
            .fetch_all(&mut *tx)
            .await
            .map_err(write_error)?;
    let subscriptions: Vec<Uuid> =
        sqlx::query_scalar("delete from engine.subscription where tenant = $1 and id = any (array(select id from engine.subscription where tenant = $1 limit $2)) returning id")
            .bind(tenant.0)
            .bind(ROWS_AT_ONCE)
            .fetch_all(&mut *tx)
            .await
            .map_err(write_error)?;
    let of_actions = actions.iter().map(|id| Scope::Action(ActionId(*id)));
    let of_subscriptions =
        subscriptions.iter().map(|id| Scope::Subscription(tenant, SubscriptionId(*id)));
    let scopes =
        of_actions.chain(of_subscriptions).chain([Scope::Tenant(tenant), Scope::Events(tenant)]);
    let (kinds, ids): (Vec<i16>, Vec<i64>) = scopes.map(Scope::numbers).unzip();
    let mut removed = vec![
        ("action".to_owned(), u64::try_from(actions.len()).unwrap_or(u64::MAX)),
        ("subscription".to_owned(), u64::try_from(subscriptions.len()).unwrap_or(u64::MAX)),
    ];
    for (table, text) in [
        (
            "share",
            "delete from engine.share where (kind, id::int8) in (select * from unnest($1::int2[], $2::int8[]))",
        ),
        (
            "rate",
            "delete from engine.rate where (kind, id) in (select * from unnest($1::int2[], $2::int8[]))",
        ),
    ] {
        let gone = sqlx::query(text).bind(&kinds).bind(&ids).execute(&mut *tx).await;
        removed.push((table.to_owned(), gone.map_err(write_error)?.rows_affected()));
    }
    removed.retain(|(_, rows)| *rows > 0);
    Ok(removed)
}

fn count(rows: i64) -> u64 {
    u64::try_from(rows).unwrap_or(0)
}

#[derive(Debug, FromRow)]
struct DeletionRow {
    record: String,
    is_settled: bool,
    has_noted_writers: bool,
}

impl DeletionRow {
    fn deletion(&self) -> Result<TenantDeletion, StoreError> {
        from_text("deletion", &self.record)
    }
}

#[derive(Debug, FromRow)]
struct TenantRow {
    id: i32,
    uuid: Uuid,
    slug: String,
    name: String,
    defs_version: i64,
    created_at: Timestamp,
    controls: String,
}

impl TenantRow {
    fn into_tenant(self) -> Result<Tenant, StoreError> {
        Ok(Tenant {
            id: TenantId(self.id),
            uuid: self.uuid,
            slug: TenantSlug::parse(&self.slug).map_err(|error| corrupt("slug", &error))?,
            name: self.name,
            defs_version: self.defs_version,
            created_at: self.created_at,
        })
    }
}
