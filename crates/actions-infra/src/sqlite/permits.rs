//! Shares of limits and the ledger of rates in SQLite. The one write lock stands for the locks on
//! the rows.

use actions_domain::Timestamp;
use actions_domain::id::NodeId;
use actions_domain::ports::permits::Permits;
use actions_domain::ports::store::StoreError;
use actions_domain::throttle::{Bucket, Draw, Drawn, Holder, Scope, Share, ShareAsk, exchange};
use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::SqliteStore;
use super::error::{commit_error, store_error};
use super::leases::{fenced, is_alive};
use super::record::{get, micros, timestamp};

#[async_trait]
impl Permits for SqliteStore {
    async fn exchange(&self, node: NodeId, asks: &[ShareAsk]) -> Result<Vec<Share>, StoreError> {
        let mut tx = self.begin().await?;
        let now = self.clock.now();
        if !is_alive(&mut tx, node).await? {
            return Err(fenced(&mut tx, node).await);
        }
        let mut shares = Vec::with_capacity(asks.len());
        for ask in asks {
            let mut others = living_holders(&mut tx, ask.scope).await?;
            let own = others.iter().copied().find(|holder| holder.node == node);
            others.retain(|holder| holder.node != node);
            let (share, noted) = exchange(ask, node, own, &others, now);
            if noted != own {
                note_share(&mut tx, ask.scope, node, noted).await?;
            }
            shares.push(share);
        }
        tx.commit().await.map_err(commit_error)?;
        Ok(shares)
    }

    async fn draw(&self, draws: &[Draw]) -> Result<Vec<Drawn>, StoreError> {
        let mut tx = self.begin().await?;
        let now = self.clock.now();
        let mut drawn = Vec::with_capacity(draws.len());
        for draw in draws {
            let mut bucket = bucket(&mut tx, draw.scope).await?;
            let (count, again_in) = draw.rate.draw(&mut bucket, now, draw.want);
            note_bucket(&mut tx, draw.scope, bucket).await?;
            drawn.push(Drawn { scope: draw.scope, count, again_in });
        }
        tx.commit().await.map_err(commit_error)?;
        Ok(drawn)
    }
}

async fn living_holders(
    conn: &mut SqliteConnection,
    scope: Scope,
) -> Result<Vec<Holder>, StoreError> {
    let (kind, id) = scope.numbers();
    let rows = sqlx::query(include_str!("permits/living_holders.sql"))
        .bind(kind)
        .bind(id)
        .fetch_all(conn)
        .await
        .map_err(store_error)?;
    rows.iter().map(holder).collect()
}

fn holder(row: &SqliteRow) -> Result<Holder, StoreError> {
    Ok(Holder {
        node: NodeId(get(row, "node")?),
        amount: get(row, "amount")?,
        want: get(row, "want")?,
        took_at: timestamp(get(row, "took_at")?)?,
    })
}

/// Writes a node's entry, and removes those of the dead.
async fn note_share(
    conn: &mut SqliteConnection,
    scope: Scope,
    node: NodeId,
    noted: Option<Holder>,
) -> Result<(), StoreError> {
    let (kind, id) = scope.numbers();
    let text = "delete from engine_share
        where kind = ?1 and id = ?2
          and (node = ?3 or node not in (select id from engine_node where alive = 1))";
    sqlx::query(text)
        .bind(kind)
        .bind(id)
        .bind(node.0)
        .execute(&mut *conn)
        .await
        .map_err(store_error)?;
    let Some(Holder { node, amount, want, took_at }) = noted else { return Ok(()) };
    let text = "insert into engine_share (kind, id, node, amount, want, took_at)
        values (?, ?, ?, ?, ?, ?)";
    sqlx::query(text)
        .bind(kind)
        .bind(id)
        .bind(node.0)
        .bind(amount)
        .bind(want)
        .bind(micros(took_at))
        .execute(conn)
        .await
        .map_err(store_error)?;
    Ok(())
}

async fn bucket(conn: &mut SqliteConnection, scope: Scope) -> Result<Bucket, StoreError> {
    let (kind, id) = scope.numbers();
    let row = sqlx::query("select minute, hour from engine_rate where kind = ? and id = ?")
        .bind(kind)
        .bind(id)
        .fetch_optional(conn)
        .await
        .map_err(store_error)?;
    let Some(row) = row else { return Ok(Bucket::default()) };
    Ok(Bucket { minute: instant(&row, "minute")?, hour: instant(&row, "hour")? })
}

fn instant(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>, StoreError> {
    get::<Option<i64>>(row, column)?.map(timestamp).transpose()
}

async fn note_bucket(
    conn: &mut SqliteConnection,
    scope: Scope,
    bucket: Bucket,
) -> Result<(), StoreError> {
    let (kind, id) = scope.numbers();
    let text = "insert or replace into engine_rate (kind, id, minute, hour) values (?, ?, ?, ?)";
    sqlx::query(text)
        .bind(kind)
        .bind(id)
        .bind(bucket.minute.map(micros))
        .bind(bucket.hour.map(micros))
        .execute(conn)
        .await
        .map_err(store_error)?;
    Ok(())
}
