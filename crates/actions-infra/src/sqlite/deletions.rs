//! Tenants that go, in SQLite. Tables are found by their columns, so the statements are built at run
//! time; the names in them are those that the schema has.
//!
//! While a tenant is erased, SQLite overwrites what it frees with zeros, and at the end the log of
//! writes is emptied. What was freed before, by executions that ended, stays until it is used again
//! or the file is vacuumed.

use std::collections::BTreeMap;

use actions_domain::Timestamp;
use actions_domain::audit::Act;
use actions_domain::id::{ActionId, SubscriptionId, TenantId};
use actions_domain::ports::audit::Audit;
use actions_domain::ports::deletions::{BeginDeletionError, Deletions, Erased};
use actions_domain::ports::store::StoreError;
use actions_domain::tenant::deletion::{DeletionRequest, Rows, TenantDeletion};
use actions_domain::tenant::{Controls, TenantSlug};
use actions_domain::throttle::Scope;
use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use uuid::Uuid;

use super::SqliteStore;
use super::audit::append;
use super::error::{commit_error, store_error};
use super::record::{self, from_text, get, micros, to_text};

/// Rows that one transaction removes: about ten milliseconds.
const ROWS_AT_ONCE: u32 = 500;
/// Kept until the rest is gone: limits are found by the definitions, and who reads the audit
/// meanwhile sees all of it or nothing.
const SPARED: [&str; 4] = ["action", "subscription", "audit", "audit_head"];
/// What our tables' names begin with. Others may be in the file.
const PREFIX: &str = "engine_";

/// What hangs on rows of a tenant, and has no tenant of its own. The second parameter is how many.
const HANGING: [(&str, &str); 5] = [
    ("report", include_str!("deletions/erase_reports.sql")),
    ("bulk_item", include_str!("deletions/erase_bulk_items.sql")),
    ("secret_version", include_str!("deletions/erase_secret_versions.sql")),
    ("api_key_token", include_str!("deletions/erase_tokens.sql")),
    ("action_version", include_str!("deletions/erase_action_versions.sql")),
];

#[async_trait]
impl Deletions for SqliteStore {
    async fn begin_deletion(
        &self,
        slug: &TenantSlug,
        request: &DeletionRequest,
        act: Option<&Act>,
    ) -> Result<TenantDeletion, BeginDeletionError> {
        let mut tx = self.begin().await?;
        let found = sqlx::query("select * from engine_tenant where slug = ?")
            .bind(slug.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(store_error)?;
        let Some(row) = found else {
            return find(&mut tx, slug).await?.ok_or(BeginDeletionError::NotFound);
        };
        let controls: Controls = from_text(&row, "controls")?;
        if controls.suspension.is_none() {
            return Err(BeginDeletionError::NotSuspended);
        }
        let tenant = record::tenant(&row)?;
        let audit = self.audit_head(tenant.id).await?;
        let deletion = TenantDeletion::new(&tenant, request, audit);
        take_away(&mut tx, &deletion).await?;
        append(&mut tx, act).await?;
        tx.commit().await.map_err(commit_error)?;
        Ok(deletion)
    }

    async fn find_deletion(&self, slug: &TenantSlug) -> Result<Option<TenantDeletion>, StoreError> {
        let mut conn = self.readers.acquire().await.map_err(store_error)?;
        find(&mut conn, slug).await
    }

    async fn open_deletions(&self) -> Result<Vec<TenantDeletion>, StoreError> {
        let text =
            "select record from engine_tenant_deletion where finished_at is null order by id";
        let rows = sqlx::query(text).fetch_all(&self.readers).await.map_err(store_error)?;
        rows.iter().map(|row| from_text(row, "record")).collect()
    }

    async fn erase(&self, tenant: TenantId) -> Result<Erased, StoreError> {
        // Of the one connection that writes. Whoever is interrupted here leaves it on, which only
        // costs a little.
        self.overwrite_what_is_freed(true).await?;
        let erased = self.erase_piece(tenant).await;
        self.overwrite_what_is_freed(false).await?;
        erased
    }

    async fn finish_deletion(
        &self,
        tenant: TenantId,
        at: Timestamp,
        act: &Act,
    ) -> Result<Option<TenantDeletion>, StoreError> {
        let mut tx = self.begin().await?;
        let Some(deletion) = read(&mut tx, tenant).await? else { return Ok(None) };
        if deletion.is_finished() {
            return Ok(Some(deletion));
        }
        let mut left = Rows::new();
        for table in tables(&mut tx).await? {
            let text = format!("select count(*) from {} where {} = ?", table.name, table.column);
            let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(text))
                .bind(tenant.0)
                .fetch_one(&mut *tx)
                .await
                .map_err(store_error)?;
            left.insert(table.word().to_owned(), u64::try_from(rows).unwrap_or(0));
        }
        let Some(finished) = deletion.certified(left, at) else { return Ok(None) };
        write(&mut tx, &finished).await?;
        append(&mut tx, Some(&act.clone().to(finished.shown()))).await?;
        tx.commit().await.map_err(commit_error)?;
        // What was overwritten in the file still stands in the log of writes. Readers may keep that
        // from being emptied; then the next restart does it.
        let emptied = sqlx::query("pragma wal_checkpoint(truncate)").execute(&self.writer).await;
        if let Err(error) = emptied {
            tracing::debug!(%error, "the log of writes is not emptied now");
        }
        Ok(Some(finished))
    }
}

impl SqliteStore {
    async fn overwrite_what_is_freed(&self, is_on: bool) -> Result<(), StoreError> {
        let text = if is_on { "pragma secure_delete = on" } else { "pragma secure_delete = off" };
        sqlx::query(text).fetch_all(&self.writer).await.map_err(store_error)?;
        Ok(())
    }

    async fn erase_piece(&self, tenant: TenantId) -> Result<Erased, StoreError> {
        let mut tx = self.begin().await?;
        let Some(mut deletion) = read(&mut tx, tenant).await? else { return Ok(Erased::Nothing) };
        let mut removed = erase(&mut tx, tenant, &SPARED).await?;
        if removed.is_empty() {
            removed = erase_limits(&mut tx, tenant).await?;
            removed.append(&mut erase(&mut tx, tenant, &[]).await?);
        }
        let rows = removed.values().sum();
        if rows == 0 {
            return Ok(Erased::Nothing);
        }
        // A certificate says what was counted when it was written.
        if !deletion.is_finished() {
            deletion.note(removed);
            write(&mut tx, &deletion).await?;
        }
        tx.commit().await.map_err(commit_error)?;
        Ok(Erased::Rows(rows))
    }

    /// Removes what came late: a user's own transaction may have begun before its tenant went.
    pub(super) async fn erase_late_rows(&self, since: Timestamp) -> Result<(), StoreError> {
        let text = "select id from engine_tenant_deletion where finished_at > ? order by id";
        let gone: Vec<i32> = sqlx::query_scalar(text)
            .bind(micros(since))
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        for tenant in gone {
            while let Erased::Rows(rows) = self.erase(TenantId(tenant)).await? {
                tracing::info!(tenant, rows, "rows of a deleted tenant came late and were removed");
            }
        }
        Ok(())
    }
}

/// The tenants that are gone, for a commit that may not know.
pub(super) async fn gone(conn: &mut SqliteConnection) -> Result<Vec<TenantId>, StoreError> {
    let gone: Vec<i32> = sqlx::query_scalar("select id from engine_tenant_deletion")
        .fetch_all(conn)
        .await
        .map_err(store_error)?;
    Ok(gone.into_iter().map(TenantId).collect())
}

/// Whether a slug was a tenant's that is gone.
pub(super) async fn was_used(
    conn: &mut SqliteConnection,
    slug: &TenantSlug,
) -> Result<bool, StoreError> {
    Ok(find(conn, slug).await?.is_some())
}

async fn find(
    conn: &mut SqliteConnection,
    slug: &TenantSlug,
) -> Result<Option<TenantDeletion>, StoreError> {
    let row = sqlx::query("select record from engine_tenant_deletion where slug = ?")
        .bind(slug.as_str())
        .fetch_optional(conn)
        .await
        .map_err(store_error)?;
    row.as_ref().map(|row| from_text(row, "record")).transpose()
}

async fn read(
    conn: &mut SqliteConnection,
    tenant: TenantId,
) -> Result<Option<TenantDeletion>, StoreError> {
    let row = sqlx::query("select record from engine_tenant_deletion where id = ?")
        .bind(tenant.0)
        .fetch_optional(conn)
        .await
        .map_err(store_error)?;
    row.as_ref().map(|row| from_text(row, "record")).transpose()
}

async fn write(conn: &mut SqliteConnection, deletion: &TenantDeletion) -> Result<(), StoreError> {
    let finished_at = deletion.certificate.as_ref().map(|known| micros(known.finished_at));
    sqlx::query("update engine_tenant_deletion set record = ?2, finished_at = ?3 where id = ?1")
        .bind(deletion.tenant.0)
        .bind(to_text(deletion)?)
        .bind(finished_at)
        .execute(conn)
        .await
        .map_err(store_error)?;
    Ok(())
}

/// Removes the tenant, its name apart, and takes its keys away.
async fn take_away(
    conn: &mut SqliteConnection,
    deletion: &TenantDeletion,
) -> Result<(), StoreError> {
    let version: i64 = sqlx::query_scalar(
        "update engine_api_key_version set version = version + 1 returning version",
    )
    .fetch_one(&mut *conn)
    .await
    .map_err(store_error)?;
    let keys: Vec<Uuid> = sqlx::query_scalar("select id from engine_api_key where tenant = ?")
        .bind(deletion.tenant.0)
        .fetch_all(&mut *conn)
        .await
        .map_err(store_error)?;
    let keys: Vec<u8> = keys.iter().flat_map(|key| *key.as_bytes()).collect();
    sqlx::query(
        "insert into engine_tenant_deletion (id, slug, record, key_version, keys)
         values (?, ?, ?, ?, ?)",
    )
    .bind(deletion.tenant.0)
    .bind(deletion.slug.as_str())
    .bind(to_text(deletion)?)
    .bind(version)
    .bind(keys)
    .execute(&mut *conn)
    .await
    .map_err(store_error)?;
    for text in [
        "update engine_api_key set revoked_at = coalesce(revoked_at, ?2), version = ?3
         where tenant = ?1",
        "delete from engine_tenant where id = ?1 and ?2 is not null and ?3 is not null",
        // Nodes that have its secrets in memory look again.
        "update engine_secrets_version set version = version + 1
         where ?1 is not null and ?2 is not null and ?3 is not null",
    ] {
        sqlx::query(text)
            .bind(deletion.tenant.0)
            .bind(micros(deletion.requested_at))
            .bind(version)
            .execute(&mut *conn)
            .await
            .map_err(store_error)?;
    }
    Ok(())
}

/// A table that holds rows of tenants.
struct Table {
    name: String,
    /// The column that says whose a row is.
    column: String,
    /// The columns of its primary key, joined by commas.
    key: String,
}

impl Table {
    /// As PostgreSQL calls it.
    fn word(&self) -> &str {
        self.name.strip_prefix(PREFIX).unwrap_or(&self.name)
    }
}

/// Every table of ours that has a column for the tenant, so that one that is added later is found.
async fn tables(conn: &mut SqliteConnection) -> Result<Vec<Table>, StoreError> {
    let rows = sqlx::query(include_str!("deletions/tables.sql"))
        .fetch_all(conn)
        .await
        .map_err(store_error)?;
    let table = |row: &SqliteRow| {
        Ok(Table { name: get(row, "name")?, column: get(row, "owner")?, key: get(row, "key")? })
    };
    rows.iter().map(table).collect()
}

/// Removes a piece, and answers what there was.
async fn erase(
    conn: &mut SqliteConnection,
    tenant: TenantId,
    spared: &[&str],
) -> Result<Rows, StoreError> {
    let (mut room, mut removed) = (u64::from(ROWS_AT_ONCE), Rows::new());
    let mut statements: Vec<(String, String)> =
        HANGING.iter().map(|(table, text)| ((*table).to_owned(), (*text).to_owned())).collect();
    for table in tables(conn).await? {
        if spared.contains(&table.word()) {
            continue;
        }
        let Table { name, column, key } = &table;
        let text = format!(
            "delete from {name} where ({key}) in
             (select {key} from {name} where {column} = ?1 limit ?2)"
        );
        statements.push((table.word().to_owned(), text));
    }
    for (table, text) in statements {
        if room == 0 {
            break;
        }
        let gone = sqlx::query(sqlx::AssertSqlSafe(text))
            .bind(tenant.0)
            .bind(i64::try_from(room).unwrap_or(i64::MAX))
            .persistent(false)
            .execute(&mut *conn)
            .await
            .map_err(store_error)?
            .rows_affected();
        room = room.saturating_sub(gone);
        if gone > 0 {
            *removed.entry(table).or_default() += gone;
        }
    }
    Ok(removed)
}

/// Removes what is kept of the limits of a tenant's definitions, which are found by these.
async fn erase_limits(conn: &mut SqliteConnection, tenant: TenantId) -> Result<Rows, StoreError> {
    let actions: Vec<i32> = sqlx::query_scalar("select id from engine_action where tenant = ?")
        .bind(tenant.0)
        .fetch_all(&mut *conn)
        .await
        .map_err(store_error)?;
    let subscriptions: Vec<Uuid> =
        sqlx::query_scalar("select id from engine_subscription where tenant = ?")
            .bind(tenant.0)
            .fetch_all(&mut *conn)
            .await
            .map_err(store_error)?;
    let of_actions = actions.into_iter().map(|id| Scope::Action(ActionId(id)));
    let of_subscriptions =
        subscriptions.into_iter().map(|id| Scope::Subscription(tenant, SubscriptionId(id)));
    let mut removed = BTreeMap::new();
    for scope in
        of_actions.chain(of_subscriptions).chain([Scope::Tenant(tenant), Scope::Events(tenant)])
    {
        let (kind, id) = scope.numbers();
        for (table, text) in [
            ("share", "delete from engine_share where kind = ? and id = ?"),
            ("rate", "delete from engine_rate where kind = ? and id = ?"),
        ] {
            let gone = sqlx::query(text).bind(kind).bind(id).execute(&mut *conn).await;
            let gone = gone.map_err(store_error)?.rows_affected();
            if gone > 0 {
                *removed.entry(table.to_owned()).or_default() += gone;
            }
        }
    }
    Ok(removed)
}
