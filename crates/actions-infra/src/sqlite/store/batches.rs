//! Who gathers with whom.

use std::collections::HashMap;
use std::sync::LazyLock;

use actions_domain::Timestamp;
use actions_domain::gathering::{Gathered, Gathering, Member, OpenBatch};
use actions_domain::id::{ActionId, ExecutionId, TenantId};
use actions_domain::json::Json;
use actions_domain::ports::store::StoreError;
use actions_domain::terms::{Conflict, Yielded};
use actions_domain::work::{Commit, Ingest, Part, Work};
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::claims::{Settled, is_unfinished};
use crate::sqlite::bulk::Bulk;
use crate::sqlite::error::store_error;
use crate::sqlite::record::{get, micros};

static INSERT_MEMBERS: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = ["head", "place", "tenant", "action", "event", "body"];
    Bulk::insert("engine_member", &columns, "")
});

/// The batches of one commit.
#[derive(Default)]
pub(super) struct Batches {
    /// Those that were looked up. `None`: nobody may join one.
    known: HashMap<(TenantId, [u8; 16]), Option<OpenBatch>>,
    members: Vec<MemberRow>,
    /// Closed by what they hold.
    full: Vec<OpenBatch>,
    /// Dead heads and those that repeat them.
    repeats: Vec<(ExecutionId, ExecutionId)>,
}

struct MemberRow {
    head: ExecutionId,
    place: u32,
    tenant: TenantId,
    action: ActionId,
    member: Member,
}

impl Batches {
    /// Lets go of the works of an ingest that join batches, and lets the others begin some.
    pub(super) async fn settle(
        &mut self,
        conn: &mut SqliteConnection,
        tenant: TenantId,
        ingest: &Ingest,
        settled: &mut Settled,
    ) -> Result<(), StoreError> {
        for (part, work) in &ingest.works {
            let Some(gathering) = work.terms.as_ref().and_then(|terms| terms.gathering) else {
                continue;
            };
            let Some(key) = gathering.key else {
                self.repeats.extend(ingest.requeue_of.map(|dead| (dead, work.id)));
                continue;
            };
            let member = Member::of(work, ingest.event.as_deref());
            let bytes = member.envelope.as_str().len();
            let known = self.find(conn, tenant, key).await?;
            let batch = match Gathering::judge(work.id, *part, bytes, known) {
                Gathered::Joins(batch) => {
                    let (head, action) = (batch.head, work.action);
                    settled.yielded.push(Yielded {
                        execution: work.id,
                        to: head,
                        on_conflict: Conflict::Existing,
                        has_joined: true,
                    });
                    let place = batch.size - 1;
                    self.members.push(MemberRow { head, place, tenant, action, member });
                    batch
                }
                Gathered::Begins { batch, closes } => {
                    self.full.extend(closes);
                    batch
                }
            };
            let is_full = batch.is_full(gathering.size_max);
            self.full.extend(Some(batch).filter(|_| is_full));
            self.known.insert((tenant, key), Some(batch).filter(|_| !is_full));
        }
        Ok(())
    }

    /// After the works are written. Answers where batches are due now.
    pub(super) async fn write(
        &self,
        conn: &mut SqliteConnection,
        now: Timestamp,
    ) -> Result<Vec<Part>, StoreError> {
        for ((tenant, key), batch) in &self.known {
            let Some(batch) = batch else {
                sqlx::query("delete from engine_batch where tenant = ? and k = ?")
                    .bind(tenant.0)
                    .bind(&key[..])
                    .execute(&mut *conn)
                    .await
                    .map_err(store_error)?;
                continue;
            };
            let text = "insert or replace into engine_batch (tenant, k, head, part, size, bytes)
                values (?, ?, ?, ?, ?, ?)";
            sqlx::query(text)
                .bind(tenant.0)
                .bind(&key[..])
                .bind(batch.head.0)
                .bind(batch.part.0)
                .bind(batch.size)
                .bind(i64::try_from(batch.bytes).unwrap_or(i64::MAX))
                .execute(&mut *conn)
                .await
                .map_err(store_error)?;
        }
        INSERT_MEMBERS
            .execute(conn, &self.members, |row, values| {
                values
                    .add(row.head.0)
                    .add(row.place)
                    .add(row.tenant.0)
                    .add(row.action.0)
                    .add(row.member.event.map(|event| event.0))
                    .add(row.member.envelope.as_str());
            })
            .await?;
        for OpenBatch { head, .. } in &self.full {
            sqlx::query("update engine_later set due = ?2 where id = ?1 and due > ?2")
                .bind(head.0)
                .bind(micros(now))
                .execute(&mut *conn)
                .await
                .map_err(store_error)?;
        }
        for (dead, again) in &self.repeats {
            let text = "insert into engine_member (head, place, tenant, action, event, body)
                select ?2, place, tenant, action, event, body from engine_member where head = ?1";
            sqlx::query(text)
                .bind(dead.0)
                .bind(again.0)
                .execute(&mut *conn)
                .await
                .map_err(store_error)?;
        }
        Ok(self.full.iter().map(|batch| batch.part).collect())
    }

    async fn find(
        &self,
        conn: &mut SqliteConnection,
        tenant: TenantId,
        key: [u8; 16],
    ) -> Result<Option<OpenBatch>, StoreError> {
        if let Some(known) = self.known.get(&(tenant, key)) {
            return Ok(*known);
        }
        let text = "select head, part, size, bytes from engine_batch where tenant = ? and k = ?";
        let row = sqlx::query(text)
            .bind(tenant.0)
            .bind(&key[..])
            .fetch_optional(&mut *conn)
            .await
            .map_err(store_error)?;
        let Some(row) = row else { return Ok(None) };
        let batch = OpenBatch {
            head: ExecutionId(get(&row, "head")?),
            part: Part(get(&row, "part")?),
            size: get(&row, "size")?,
            bytes: usize::try_from(get::<i64>(&row, "bytes")?).unwrap_or(usize::MAX),
        };
        // What is to be cancelled is joined no more either.
        let is_cancelled: bool =
            sqlx::query_scalar("select exists (select 1 from engine_control where id = ?)")
                .bind(batch.head.0)
                .fetch_one(&mut *conn)
                .await
                .map_err(store_error)?;
        let is_open = !is_cancelled && is_unfinished(conn, tenant, batch.head).await?;
        Ok(Some(batch).filter(|_| is_open))
    }
}

/// Lets nobody join any more the batches whose heads begin, or have ended.
pub(super) async fn close(conn: &mut SqliteConnection, batch: &Commit) -> Result<(), StoreError> {
    let items = batch.marks.iter().chain(batch.finishes.iter().map(|finish| &finish.item));
    let open = items.filter_map(|item| Some((&*item.work, item.work.open_key()?)));
    for (Work { id, tenant, .. }, key) in open {
        sqlx::query("delete from engine_batch where tenant = ? and k = ? and head = ?")
            .bind(tenant.0)
            .bind(&key[..])
            .bind(id.0)
            .execute(&mut *conn)
            .await
            .map_err(store_error)?;
    }
    Ok(())
}

pub(super) fn envelope(row: &SqliteRow) -> Result<Json, StoreError> {
    Ok(Json::from_record(get::<String>(row, "body")?))
}
