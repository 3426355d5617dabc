//! What SQLite's refusals mean.

use actions_domain::ports::store::StoreError;

/// Translates an error of anything but a `commit`: nothing has been written.
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    translate(error, false)
}

/// Translates an error of a `commit`. A busy or full database refuses it whole; after any other
/// failure it may be on the disk all the same.
pub(super) fn commit_error(error: sqlx::Error) -> StoreError {
    let is_refusal = matches!(primary_code(&error), Some(BUSY | LOCKED | FULL));
    translate(error, !is_refusal)
}

// Primary result codes, https://www.sqlite.org/rescode.html
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const TOO_BIG: i32 = 18;
const CONSTRAINT: i32 = 19;
const MISMATCH: i32 = 20;
const NOT_A_DATABASE: i32 = 26;

fn translate(error: sqlx::Error, unknown: bool) -> StoreError {
    match primary_code(&error) {
        Some(TOO_BIG | CONSTRAINT | MISMATCH) => {
            return StoreError::Refused { reason: error.to_string() };
        }
        Some(CORRUPT | NOT_A_DATABASE) => return StoreError::Corrupt { what: error.to_string() },
        _ => {}
    }
    let is_unreadable = matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_));
    if is_unreadable {
        return StoreError::Corrupt { what: error.to_string() };
    }
    if matches!(error, sqlx::Error::Encode(_)) {
        return StoreError::Refused { reason: error.to_string() };
    }
    StoreError::Unavailable { unknown, source: Box::new(error) }
}

/// The result code without its detail.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}
