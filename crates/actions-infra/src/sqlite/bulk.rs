//! Statements over many rows. The driver's cost is per statement, so rows go in by the hundred.

use actions_domain::ports::store::StoreError;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Encode, Sqlite, Type};

use super::error::store_error;

/// Rows of one statement: one text for each power of two, so that any number of rows takes few
/// statements and few texts are prepared and kept.
const SIZES: usize = 9;
/// Rows of the largest statement. It stays far below SQLite's 32,766 places.
const ROWS_MAX: usize = 1 << (SIZES - 1);

/// One statement for each size: `head`, then `row` as often as needed, then `tail`.
pub(super) struct Bulk {
    texts: [String; SIZES],
    /// Places of one row.
    width: usize,
}

/// The values of one statement.
pub(super) struct Values {
    query: Query<'static, Sqlite, SqliteArguments>,
    failure: Option<sqlx::error::BoxDynError>,
}

impl Values {
    fn new(text: &'static str) -> Self {
        Self { query: sqlx::query(text), failure: None }
    }

    /// Adds the next value.
    pub(super) fn add<'t, T: Encode<'t, Sqlite> + Type<Sqlite>>(&mut self, value: T) -> &mut Self {
        if let Err(error) = self.query.try_bind(value) {
            self.failure.get_or_insert(error);
        }
        self
    }

    fn finish(self) -> Result<Query<'static, Sqlite, SqliteArguments>, StoreError> {
        match self.failure {
            None => Ok(self.query),
            Some(error) => Err(store_error(sqlx::Error::Encode(error))),
        }
    }
}

impl Bulk {
    /// `row` is one row's places, like `(?, ?)`.
    pub(super) fn new(head: &str, row: &str, tail: &str) -> Self {
        let text = |size: usize| format!("{head} {}{tail}", vec![row; 1 << size].join(", "));
        Self { texts: std::array::from_fn(text), width: row.matches('?').count() }
    }

    /// Makes an insert into `table`. `tail` is what follows the values.
    ///
    /// `or fail`: a refused row ends the whole transaction anyway, so SQLite need not keep the
    /// pages of the statement's beginning. It would write each of them to a temporary file,
    /// which costs as much as the insert.
    pub(super) fn insert(table: &str, columns: &[&str], tail: &str) -> Self {
        let head = format!("insert or fail into {table} ({}) values", columns.join(", "));
        let row = format!("({})", vec!["?"; columns.len()].join(", "));
        Self::new(&head, &row, tail)
    }

    /// Runs the statement over all rows, in statements that they fill.
    pub(super) async fn execute<T>(
        &'static self,
        conn: &mut SqliteConnection,
        rows: &[T],
        bind: impl Fn(&T, &mut Values) + Send,
    ) -> Result<(), StoreError> {
        let mut rest = rows;
        while !rest.is_empty() {
            let size = rest.len().min(ROWS_MAX).ilog2() as usize;
            let (chunk, others) = rest.split_at(1 << size);
            rest = others;
            let mut values = Values::new(&self.texts[size]);
            chunk.iter().for_each(|row| bind(row, &mut values));
            values.finish()?.execute(&mut *conn).await.map_err(store_error)?;
        }
        Ok(())
    }

    /// Removes what the rows name. See [`Bulk::fetch`].
    pub(super) async fn delete<T>(
        &'static self,
        conn: &mut SqliteConnection,
        rows: &[T],
        bind: impl Fn(&T, &mut Values) + Send,
    ) -> Result<(), StoreError> {
        self.fetch(conn, rows, bind, |_| ()).await.map(drop)
    }

    /// Asks the statement about all rows, and answers what it found. What is left of the last
    /// statement is filled with nulls, which are equal to nothing.
    pub(super) async fn fetch<T>(
        &'static self,
        conn: &mut SqliteConnection,
        rows: &[T],
        bind: impl Fn(&T, &mut Values) + Send,
        bind_tail: impl Fn(&mut Values) + Send,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let mut found = Vec::new();
        for chunk in rows.chunks(ROWS_MAX) {
            let size = chunk.len().next_power_of_two().ilog2() as usize;
            let mut values = Values::new(&self.texts[size]);
            chunk.iter().for_each(|row| bind(row, &mut values));
            for _ in chunk.len() * self.width..self.width << size {
                values.add(None::<i64>);
            }
            bind_tail(&mut values);
            found.extend(values.finish()?.fetch_all(&mut *conn).await.map_err(store_error)?);
        }
        Ok(found)
    }
}
