//! Keeps house in a SQLite file: removes history beyond its days, in short transactions, so that
//! commits get their turns in between, and gives the room back to the file system.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::id::{EventId, TenantId};
use actions_domain::ports::store::StoreError;
use actions_domain::tenant::Controls;
use chrono::TimeDelta;
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::error::{commit_error, store_error};
use super::record::{from_text, get, micros};

/// How often a process looks for what is over.
const TENDED_EVERY: Duration = Duration::from_secs(3_600);
/// Rows that one transaction removes: about five milliseconds.
const ROWS_AT_ONCE: u32 = 500;
/// Free pages that one transaction gives back: 2 MB.
const PAGES_AT_ONCE: u32 = 512;
/// Free pages that stay for what comes next: 16 MB.
const PAGES_KEPT: i64 = 4_096;
/// Samples of queues, and what was refused from the intake.
const SAMPLES_KEPT: TimeDelta = TimeDelta::days(30);
/// Processes that are gone.
const NODES_KEPT: TimeDelta = TimeDelta::days(90);

/// How long rows of a deleted tenant may come late.
const LATE_ROWS_FOR: TimeDelta = TimeDelta::days(2);
/// Versions of secrets beyond their end, so that clocks may differ.
const SECRETS_KEPT: TimeDelta = TimeDelta::hours(1);

/// A tenant, and before when its history and its dead letters go.
type Bounds = (TenantId, Option<Timestamp>, Option<Timestamp>);

/// Whether somebody keeps house, and when it was done last.
#[derive(Debug, Default)]
pub(super) struct Chores {
    is_tending: AtomicBool,
    /// Held while house is kept: what is needed is noted in one table of the writer's connection.
    alone: tokio::sync::Mutex<()>,
    /// Microseconds since 1970; zero: not yet.
    tended_at: AtomicI64,
}

impl SqliteStore {
    /// Keeps house once an hour, beside the caller. What is missed or stopped half-way is done
    /// an hour later.
    pub(super) fn tend_in_passing(&self) {
        let now = micros(self.clock.now());
        let pause = i64::try_from(TENDED_EVERY.as_micros()).unwrap_or(i64::MAX);
        let tended_at = self.chores.tended_at.load(Ordering::Acquire);
        let is_due = tended_at == 0 || now - tended_at >= pause;
        if !is_due || self.chores.is_tending.swap(true, Ordering::AcqRel) {
            return;
        }
        let store = self.clone();
        tokio::spawn(async move {
            match store.tend().await {
                Ok(removed) => {
                    store.chores.tended_at.store(now, Ordering::Release);
                    if removed > 0 {
                        tracing::info!(rows = removed, "history beyond its days was removed");
                    }
                }
                // Stopping half-way is how a process ends: the next one goes on.
                Err(_) if store.writer.is_closed() => {}
                Err(error) => tracing::warn!(%error, "the database was not tended"),
            }
            store.chores.is_tending.store(false, Ordering::Release);
        });
    }

    /// Removes what is beyond its days, and answers how many rows of history went.
    ///
    /// # Errors
    /// `Unavailable`: the next hour tries again.
    pub async fn tend(&self) -> Result<u64, StoreError> {
        let _alone = self.chores.alone.lock().await;
        let now = self.clock.now();
        self.remove_small_things(now).await?;
        self.remove_claims(now).await?;
        let retentions = self.retentions(now).await?;
        // An event may be needed by what waits since before.
        if let Some(oldest) = retentions.iter().filter_map(|(_, oldest, _)| *oldest).max() {
            self.note_needed_events(oldest).await?;
        }
        let mut removed = 0;
        for (tenant, oldest, dead_before) in retentions {
            if let Some(oldest) = oldest {
                for text in [
                    include_str!("tend/executions.sql"),
                    include_str!("tend/dead.sql"),
                    include_str!("tend/members.sql"),
                    include_str!("tend/events.sql"),
                    include_str!("tend/bulk_items.sql"),
                    include_str!("tend/bulks.sql"),
                    include_str!("tend/run_entries.sql"),
                    include_str!("tend/runs.sql"),
                ] {
                    removed += self.remove_all(text, tenant, oldest).await?;
                }
            }
            if let Some(before) = dead_before {
                let text = include_str!("tend/expired_dead.sql");
                removed += self.remove_all(text, tenant, before).await?;
            }
        }
        self.erase_late_rows(now - LATE_ROWS_FOR).await?;
        self.give_room_back().await?;
        Ok(removed)
    }

    /// For each tenant the instants before which history and dead letters go.
    async fn retentions(&self, now: Timestamp) -> Result<Vec<Bounds>, StoreError> {
        let rows = sqlx::query("select id, controls from engine_tenant order by id")
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        let before = |days: Option<u32>| now.checked_sub_signed(TimeDelta::days(i64::from(days?)));
        let bounds = |row: &SqliteRow| {
            let Controls { retention, .. } = from_text(row, "controls")?;
            let keep_days = retention.keep_days_within(self.keep_days);
            let dead_before = before(retention.dead_letter_days);
            Ok((TenantId(get(row, "id")?), before(keep_days), dead_before))
        };
        rows.iter().map(bounds).collect()
    }

    /// What needs few rows, each in one statement.
    async fn remove_small_things(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query(include_str!("tend/shares.sql"))
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        tx.commit().await.map_err(commit_error)?;
        let steps = [
            ("delete from engine_queue_metrics where sampled_at < ?", now - SAMPLES_KEPT),
            ("delete from engine_intake_refused where refused_at < ?", now - SAMPLES_KEPT),
            (include_str!("tend/nodes.sql"), now - NODES_KEPT),
            ("delete from engine_secret_version where ends_at < ?", now - SECRETS_KEPT),
        ];
        for (text, before) in steps {
            let mut tx = self.begin().await?;
            sqlx::query(text).bind(micros(before)).execute(&mut *tx).await.map_err(store_error)?;
            tx.commit().await.map_err(commit_error)?;
        }
        Ok(())
    }

    async fn remove_claims(&self, now: Timestamp) -> Result<(), StoreError> {
        loop {
            let mut tx = self.begin().await?;
            let gone = sqlx::query(include_str!("tend/claims.sql"))
                .bind(micros(now))
                .bind(ROWS_AT_ONCE)
                .execute(&mut *tx)
                .await
                .map_err(store_error)?
                .rows_affected();
            tx.commit().await.map_err(commit_error)?;
            if gone < u64::from(ROWS_AT_ONCE) {
                return Ok(());
            }
            // Whoever waits for the writer comes first.
            tokio::task::yield_now().await;
        }
    }

    /// Writes the events of unfinished work into a table of the writer's connection.
    async fn note_needed_events(&self, oldest: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for text in [
            "create temp table if not exists needed_event (id blob primary key) without rowid",
            "delete from temp.needed_event",
        ] {
            sqlx::query(text).execute(&mut *tx).await.map_err(store_error)?;
        }
        sqlx::query(include_str!("tend/needed_events.sql"))
            .bind(first_id(oldest))
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        tx.commit().await.map_err(commit_error)
    }

    async fn remove_all(
        &self,
        text: &'static str,
        tenant: TenantId,
        oldest: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let mut tx = self.begin().await?;
            let gone = sqlx::query(text)
                .bind(tenant.0)
                .bind(first_id(oldest))
                .bind(ROWS_AT_ONCE)
                .bind(micros(oldest))
                .execute(&mut *tx)
                .await
                .map_err(store_error)?
                .rows_affected();
            tx.commit().await.map_err(commit_error)?;
            removed += gone;
            if gone < u64::from(ROWS_AT_ONCE) {
                return Ok(removed);
            }
            // Whoever waits for the writer comes first.
            tokio::task::yield_now().await;
        }
    }

    /// Makes the file smaller, where it was made by a version that can.
    async fn give_room_back(&self) -> Result<(), StoreError> {
        let text = format!("pragma incremental_vacuum({PAGES_AT_ONCE})");
        let mut before = i64::MAX;
        loop {
            let free: i64 = sqlx::query_scalar("pragma freelist_count")
                .fetch_one(&self.writer)
                .await
                .map_err(store_error)?;
            if free <= PAGES_KEPT || free >= before {
                return Ok(());
            }
            before = free;
            sqlx::query(sqlx::AssertSqlSafe(text.as_str()))
                .execute(&self.writer)
                .await
                .map_err(store_error)?;
        }
    }
}

/// The least id of an instant: ids begin with their time.
fn first_id(at: Timestamp) -> uuid::Uuid {
    let EventId(id) = EventId::mint(at, [0; 10]);
    id
}
