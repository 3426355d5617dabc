//! A shop that keeps its orders and the engine's state in one SQLite file: an order and its
//! event are there together, or not at all.

use std::path::Path;
use std::time::Duration;

use actions::library::{Error, Fail};
use actions::{Actions, Cx, Event};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

/// What a customer bought.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub id: i64,
    pub email: String,
    pub total: f64,
}

/// What the typed function answers.
#[derive(Debug, Serialize)]
pub struct Receipt {
    pub sent_to: String,
    pub key: String,
}

/// The service: its own pool, and the engine beside it.
pub struct Shop {
    pub pool: SqlitePool,
    pub actions: Actions,
}

impl Shop {
    /// Opens the file, creates the shop's own table, and registers what happens on events.
    pub async fn open(file: &Path) -> Result<Self, Error> {
        let actions = Actions::builder().sqlite(file).source("shop").build().await?;
        actions.on("orders.placed", send_receipt).await?;

        let options =
            SqliteConnectOptions::new().filename(file).busy_timeout(Duration::from_secs(5));
        let pool = SqlitePool::connect_with(options).await?;
        let table = "create table if not exists shop_order (id integer primary key, email text, total real)";
        sqlx::query(table).execute(&pool).await?;
        Ok(Self { pool, actions })
    }

    /// Stores an order together with its event, and answers what came of it.
    pub async fn place(&self, email: &str, total: f64) -> Result<String, Error> {
        let mut tx = self.pool.begin().await?;
        let insert = "insert into shop_order (email, total) values (?, ?)";
        let id = sqlx::query(insert)
            .bind(email)
            .bind(total)
            .execute(&mut *tx)
            .await?
            .last_insert_rowid();
        let order = Order { id, email: email.to_owned(), total };
        let event = self.actions.emit_in(&mut tx, Event::new("orders.placed", &order)).await?;
        tx.commit().await?;

        let executions = self.actions.wait(event).await?;
        let output = executions.first().and_then(|execution| execution.output.clone());
        Ok(output.map(|output| output.to_string()).unwrap_or_default())
    }
}

/// Runs for every order. `?` on any error means *try again*.
async fn send_receipt(cx: Cx, order: Order) -> Result<Receipt, Fail> {
    if !order.email.contains('@') {
        return Err(Fail::reject(format!("{} is no address", order.email)));
    }
    cx.info(format!("receipt for order {} over {}", order.id, order.total));
    Ok(Receipt { sent_to: order.email, key: cx.idempotency_key() })
}
