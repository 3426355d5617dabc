//! Ownership of partitions in PostgreSQL.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{FromRow, PgPool};

use actions_domain::Timestamp;
use actions_domain::id::NodeId;
use actions_domain::ports::leases::{Lease, Leases, Peer, Vitals};
use actions_domain::ports::store::StoreError;
use actions_domain::work::{Epoch, Fence, Part, Seq};

use super::Postgres;
use super::error::{read_error, write_error};
use super::record::{corrupt, part_number, part_of};

#[async_trait]
impl Leases for Postgres {
    async fn part_count(&self) -> Result<u16, StoreError> {
        let count: i64 = sqlx::query_scalar("select count(*) from engine.lease")
            .fetch_one(&self.engine)
            .await
            .map_err(read_error)?;
        u16::try_from(count).map_err(|_| corrupt("number of partitions", &count))
    }

    async fn join(&self, name: &str) -> Result<NodeId, StoreError> {
        sqlx::query_scalar(include_str!("leases/join.sql"))
            .bind(name)
            .fetch_one(&self.engine)
            .await
            .map(NodeId)
            .map_err(write_error)
    }

    async fn beat(&self, node: NodeId, vitals: &Vitals) -> Result<Vec<Peer>, StoreError> {
        let beats: Option<i64> = sqlx::query_scalar(include_str!("leases/beat.sql"))
            .bind(node.0)
            .bind(&vitals.version)
            .bind(&vitals.role)
            .bind(count(vitals.running))
            .bind(count(vitals.waiting))
            .bind(vitals.is_draining)
            .fetch_optional(&self.beats)
            .await
            .map_err(write_error)?;
        if beats.is_none() {
            return Err(StoreError::Fenced { lost: self.owned(node).await? });
        }
        nodes_but(&self.beats, Some(node)).await
    }

    async fn nodes(&self) -> Result<Vec<Peer>, StoreError> {
        nodes_but(&self.engine, None).await
    }

    async fn has_free(&self) -> Result<bool, StoreError> {
        sqlx::query_scalar(include_str!("leases/has_free.sql"))
            .fetch_one(&self.engine)
            .await
            .map_err(read_error)
    }

    async fn claim(
        &self,
        node: NodeId,
        dead: &[NodeId],
        most: u16,
    ) -> Result<Vec<Lease>, StoreError> {
        let claimed: Vec<(i16, i64, bool)> = sqlx::query_as(include_str!("leases/claim.sql"))
            .bind(node.0)
            .bind(dead.iter().map(|node| node.0).collect::<Vec<_>>())
            .bind(i32::from(most))
            .fetch_all(&self.engine)
            .await
            .map_err(write_error)?;
        if claimed.is_empty() {
            return Ok(Vec::new());
        }
        let contents: Vec<(i16, i64, i64, i64)> =
            sqlx::query_as(include_str!("leases/claimed.sql"))
                .bind(node.0)
                .bind(claimed.iter().map(|(part, _, _)| *part).collect::<Vec<_>>())
                .fetch_all(&self.engine)
                .await
                // The claim itself is committed.
                .map_err(|error| StoreError::Unavailable { unknown: true, source: error.into() })?;
        let mut leases = Vec::with_capacity(claimed.len());
        for (part, epoch, clean) in claimed {
            // One that is missing was taken from us again in between.
            let found = contents.iter().find(|content| content.0 == part);
            if let Some((_, low, tail, next_fin)) = found.copied() {
                let (part, epoch) = (part_of(part)?, Epoch(epoch));
                let (low, tail) = (Seq(low), Seq(tail));
                leases.push(Lease { part, epoch, clean, low, tail, next_fin });
            }
        }
        leases.sort_by_key(|lease| lease.part);
        Ok(leases)
    }

    async fn release(&self, node: NodeId, fences: &[Fence]) -> Result<(), StoreError> {
        sqlx::query(include_str!("leases/release.sql"))
            .bind(node.0)
            .bind(fences.iter().map(|fence| part_number(fence.part)).collect::<Vec<_>>())
            .bind(fences.iter().map(|fence| fence.epoch.0).collect::<Vec<_>>())
            .execute(&self.engine)
            .await
            .map(|_| ())
            .map_err(write_error)
    }

    async fn note_low(&self, node: NodeId, lows: &[(Fence, Seq)]) -> Result<(), StoreError> {
        sqlx::query(include_str!("leases/note_low.sql"))
            .bind(node.0)
            .bind(lows.iter().map(|(fence, _)| part_number(fence.part)).collect::<Vec<_>>())
            .bind(lows.iter().map(|(fence, _)| fence.epoch.0).collect::<Vec<_>>())
            .bind(lows.iter().map(|(_, low)| low.0).collect::<Vec<_>>())
            .execute(&self.engine)
            .await
            .map_err(write_error)?;
        self.tend_in_passing();
        Ok(())
    }

    async fn leave(&self, node: NodeId) -> Result<(), StoreError> {
        sqlx::query(include_str!("leases/leave.sql"))
            .bind(node.0)
            .execute(&self.engine)
            .await
            .map(|_| ())
            .map_err(write_error)
    }
}

async fn nodes_but(pool: &PgPool, node: Option<NodeId>) -> Result<Vec<Peer>, StoreError> {
    let rows: Vec<PeerRecord> = sqlx::query_as(include_str!("leases/nodes.sql"))
        .bind(node.map(|node| node.0))
        .fetch_all(pool)
        .await
        .map_err(read_error)?;
    rows.into_iter().map(PeerRecord::into_peer).collect()
}

impl Postgres {
    async fn owned(&self, node: NodeId) -> Result<Vec<Part>, StoreError> {
        let parts: Vec<i16> = sqlx::query_scalar(include_str!("leases/owned.sql"))
            .bind(node.0)
            .fetch_all(&self.engine)
            .await
            .map_err(read_error)?;
        parts.into_iter().map(part_of).collect()
    }
}

/// A number as the store keeps it.
fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[derive(Debug, FromRow)]
struct PeerRecord {
    id: i32,
    name: String,
    beats: i64,
    alive: bool,
    joined_at: Timestamp,
    silent_ms: i64,
    version: String,
    role: String,
    running: i32,
    waiting: i32,
    draining: bool,
    parts: Vec<i16>,
}

impl PeerRecord {
    fn into_peer(self) -> Result<Peer, StoreError> {
        Ok(Peer {
            node: NodeId(self.id),
            name: self.name,
            beats: self.beats,
            alive: self.alive,
            parts: self.parts.into_iter().map(part_of).collect::<Result<_, _>>()?,
            joined_at: self.joined_at,
            silent_for: Duration::from_millis(u64::try_from(self.silent_ms).unwrap_or(0)),
            vitals: Vitals {
                version: self.version,
                role: self.role,
                running: u32::try_from(self.running).unwrap_or(0),
                waiting: u32::try_from(self.waiting).unwrap_or(0),
                is_draining: self.draining,
            },
        })
    }
}
