//! Ownership of partitions in SQLite. The one write lock stands for the locks on the rows.

use actions_domain::Timestamp;
use actions_domain::id::NodeId;
use actions_domain::ports::leases::{Lease, Leases, Peer, Vitals};
use actions_domain::ports::store::StoreError;
use actions_domain::work::{Epoch, Fence, Part, Seq};
use async_trait::async_trait;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::SqliteStore;
use super::error::{commit_error, store_error};
use super::record::{self, get, micros};
use super::store::held_fences;

/// Log entries that one transaction removes. Commits wait for it: about five milliseconds.
const TRIM_BATCH: u64 = 1_000;
/// Transactions of one call. The next call goes on.
const TRIM_BATCHES: usize = 1_000;

#[async_trait]
impl Leases for SqliteStore {
    async fn part_count(&self) -> Result<u16, StoreError> {
        sqlx::query("select count(*) from engine_lease")
            .fetch_one(&self.readers)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(store_error)
    }

    async fn join(&self, name: &str) -> Result<NodeId, StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("update engine_node set alive = 0 where name = ? and alive = 1")
            .bind(name)
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        let now = micros(self.clock.now());
        let text =
            "insert into engine_node (name, joined_at, seen_at) values (?, ?, ?) returning id";
        let row = sqlx::query(text)
            .bind(name)
            .bind(now)
            .bind(now)
            .fetch_one(&mut *tx)
            .await
            .map_err(store_error)?;
        tx.commit().await.map_err(commit_error)?;
        get(&row, "id").map(NodeId)
    }

    async fn beat(&self, node: NodeId, vitals: &Vitals) -> Result<Vec<Peer>, StoreError> {
        let mut tx = self.begin().await?;
        let text = "update engine_node
            set beats = beats + 1, seen_at = ?, version = ?, role = ?, running = ?, waiting = ?,
                draining = ?
            where id = ? and alive = 1";
        let now = self.clock.now();
        let beaten = sqlx::query(text)
            .bind(micros(now))
            .bind(&vitals.version)
            .bind(&vitals.role)
            .bind(vitals.running)
            .bind(vitals.waiting)
            .bind(vitals.is_draining)
            .bind(node.0)
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        if beaten.rows_affected() == 0 {
            return Err(fenced(&mut tx, node).await);
        }
        let peers = read_nodes(&mut tx, Some(node), now).await?;
        tx.commit().await.map_err(commit_error)?;
        Ok(peers)
    }

    async fn nodes(&self) -> Result<Vec<Peer>, StoreError> {
        let mut reader = self.readers.acquire().await.map_err(store_error)?;
        read_nodes(&mut reader, None, self.clock.now()).await
    }

    async fn has_free(&self) -> Result<bool, StoreError> {
        let text = "select exists (
            select 1 from engine_lease
            where owner is null or owner not in (select id from engine_node where alive = 1))";
        sqlx::query(text)
            .fetch_one(&self.readers)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(store_error)
    }

    async fn claim(
        &self,
        node: NodeId,
        dead: &[NodeId],
        most: u16,
    ) -> Result<Vec<Lease>, StoreError> {
        let mut tx = self.begin().await?;
        if !is_alive(&mut tx, node).await? {
            return Err(fenced(&mut tx, node).await);
        }
        for judged in dead.iter().filter(|judged| **judged != node) {
            sqlx::query("update engine_node set alive = 0 where id = ?")
                .bind(judged.0)
                .execute(&mut *tx)
                .await
                .map_err(store_error)?;
        }
        let free = sqlx::query(include_str!("leases/free.sql"))
            .bind(most)
            .fetch_all(&mut *tx)
            .await
            .map_err(store_error)?;
        let leases = free.iter().map(claimed).collect::<Result<Vec<Lease>, StoreError>>()?;
        for lease in &leases {
            let text = "update engine_lease set epoch = ?, owner = ?, clean = 0 where part = ?";
            sqlx::query(text)
                .bind(lease.epoch.0)
                .bind(node.0)
                .bind(lease.part.0)
                .execute(&mut *tx)
                .await
                .map_err(store_error)?;
        }
        tx.commit().await.map_err(commit_error)?;
        Ok(leases)
    }

    async fn release(&self, node: NodeId, fences: &[Fence]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for fence in fences {
            let text = "update engine_lease set owner = null, clean = 1
                where part = ? and epoch = ? and owner = ?";
            sqlx::query(text)
                .bind(fence.part.0)
                .bind(fence.epoch.0)
                .bind(node.0)
                .execute(&mut *tx)
                .await
                .map_err(store_error)?;
        }
        tx.commit().await.map_err(commit_error)
    }

    /// Also removes from the logs what is finished or moved and lies before.
    async fn note_low(&self, node: NodeId, lows: &[(Fence, Seq)]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let held = held_fences(&mut tx, Some(node)).await?;
        let lows: Vec<(Part, Seq)> = (lows.iter())
            .filter(|(fence, _)| held.contains(fence))
            .map(|(fence, low)| (fence.part, *low))
            .collect();
        for (part, low) in &lows {
            sqlx::query(include_str!("leases/note_low.sql"))
                .bind(part.0)
                .bind(low.0)
                .execute(&mut *tx)
                .await
                .map_err(store_error)?;
        }
        tx.commit().await.map_err(commit_error)?;
        for (part, low) in lows {
            self.trim_log(part, low).await?;
        }
        self.tend_in_passing();
        Ok(())
    }

    async fn leave(&self, node: NodeId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("update engine_node set alive = 0 where id = ?")
            .bind(node.0)
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        tx.commit().await.map_err(commit_error)
    }
}

impl SqliteStore {
    /// Removes log entries before `low` whose items are finished or among the later items, in
    /// short transactions, so that commits get their turns in between.
    async fn trim_log(&self, part: Part, low: Seq) -> Result<(), StoreError> {
        for _ in 0..TRIM_BATCHES {
            let mut tx = self.begin().await?;
            let trimmed = sqlx::query(include_str!("leases/trim_log.sql"))
                .bind(part.0)
                .bind(low.0)
                .bind(i64::try_from(TRIM_BATCH).unwrap_or(i64::MAX))
                .execute(&mut *tx)
                .await
                .map_err(store_error)?;
            tx.commit().await.map_err(commit_error)?;
            if trimmed.rows_affected() < TRIM_BATCH {
                break;
            }
        }
        Ok(())
    }
}

fn claimed(row: &SqliteRow) -> Result<Lease, StoreError> {
    Ok(Lease {
        part: record::part(row)?,
        epoch: Epoch(get::<i64>(row, "epoch")? + 1),
        clean: get(row, "clean")?,
        low: Seq(get(row, "low")?),
        tail: Seq(get(row, "tail")?),
        next_fin: get::<i64>(row, "fin")? + 1,
    })
}

pub(super) async fn is_alive(
    conn: &mut SqliteConnection,
    node: NodeId,
) -> Result<bool, StoreError> {
    sqlx::query("select count(*) from engine_node where id = ? and alive = 1")
        .bind(node.0)
        .fetch_one(conn)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(store_error)
}

/// The refusal for a node that was declared dead, with what it still held.
pub(super) async fn fenced(conn: &mut SqliteConnection, node: NodeId) -> StoreError {
    match held_fences(conn, Some(node)).await {
        Ok(held) => StoreError::Fenced { lost: held.iter().map(|fence| fence.part).collect() },
        Err(error) => error,
    }
}

/// Everybody who is alive, and the dead whose partitions nobody has taken yet.
async fn read_nodes(
    conn: &mut SqliteConnection,
    without: Option<NodeId>,
    now: Timestamp,
) -> Result<Vec<Peer>, StoreError> {
    let rows = sqlx::query(include_str!("leases/nodes.sql"))
        .bind(without.map(|node| node.0))
        .fetch_all(conn)
        .await
        .map_err(store_error)?;
    let mut peers: Vec<Peer> = Vec::new();
    for row in &rows {
        let id = NodeId(get(row, "id")?);
        let part = get::<Option<u16>>(row, "part")?.map(Part);
        if let Some(known) = peers.last_mut().filter(|peer| peer.node == id) {
            known.parts.extend(part);
            continue;
        }
        peers.push(Peer {
            node: id,
            name: get(row, "name")?,
            beats: get(row, "beats")?,
            alive: get(row, "alive")?,
            parts: part.into_iter().collect(),
            joined_at: record::timestamp(get(row, "joined_at")?)?,
            silent_for: (now - record::timestamp(get(row, "seen_at")?)?)
                .to_std()
                .unwrap_or_default(),
            vitals: Vitals {
                version: get(row, "version")?,
                role: get(row, "role")?,
                running: get(row, "running")?,
                waiting: get(row, "waiting")?,
                is_draining: get(row, "draining")?,
            },
        });
    }
    Ok(peers)
}
