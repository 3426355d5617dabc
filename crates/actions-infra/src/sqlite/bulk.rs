//! Statements over many rows. The driver's cost is per statement, so rows go in by the hundred.

use actions_domain::ports::store::StoreError;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Encode, Sqlite, Type};

use super::error::store_error;

/// Rows of one statement, largest first. Any number is made of these, so that few texts are
/// prepared and kept.
const CHUNKS: [usize; 4] = [128, 32, 8, 1];

/// One statement for each chunk size: `head`, then `row` as often as needed, then `tail`.
pub(super) struct Bulk {
    texts: [String; CHUNKS.len()],
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
        let text = |count: usize| format!("{head} {}{tail}", vec![row; count].join(", "));
        Self { texts: CHUNKS.map(text) }
    }

    /// Makes an insert into `table`. `tail` is what follows the values.
    pub(super) fn insert(table: &str, columns: &[&str], tail: &str) -> Self {
        let head = format!("insert into {table} ({}) values", columns.join(", "));
        let row = format!("({})", vec!["?"; columns.len()].join(", "));
        Self::new(&head, &row, tail)
    }

    /// Runs the statement over all rows.
    pub(super) async fn execute<T>(
        &'static self,
        conn: &mut SqliteConnection,
        rows: &[T],
        bind: impl Fn(&T, &mut Values) + Send,
    ) -> Result<(), StoreError> {
        let mut rest = rows;
        while let Some((text, count)) = self.next(rest.len()) {
            let (chunk, others) = rest.split_at(count);
            rest = others;
            let mut values = Values::new(text);
            chunk.iter().for_each(|row| bind(row, &mut values));
            values.finish()?.execute(&mut *conn).await.map_err(store_error)?;
        }
        Ok(())
    }

    /// Asks the statement about all rows, and answers what it found.
    pub(super) async fn fetch<T>(
        &'static self,
        conn: &mut SqliteConnection,
        rows: &[T],
        bind: impl Fn(&T, &mut Values) + Send,
        bind_tail: impl Fn(&mut Values) + Send,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let mut found = Vec::new();
        let mut rest = rows;
        while let Some((text, count)) = self.next(rest.len()) {
            let (chunk, others) = rest.split_at(count);
            rest = others;
            let mut values = Values::new(text);
            chunk.iter().for_each(|row| bind(row, &mut values));
            bind_tail(&mut values);
            found.extend(values.finish()?.fetch_all(&mut *conn).await.map_err(store_error)?);
        }
        Ok(found)
    }

    fn next(&'static self, left: usize) -> Option<(&'static str, usize)> {
        let at = CHUNKS.iter().position(|count| *count <= left)?;
        Some((self.texts[at].as_str(), CHUNKS[at]))
    }
}
