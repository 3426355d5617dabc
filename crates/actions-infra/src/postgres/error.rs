//! What a driver's error means.

use std::borrow::Cow;

use actions_domain::ports::store::StoreError;
use actions_domain::work::Part;

/// What a failed flush or other write means. A statement that the server refused was not
/// written; a connection that broke leaves that open.
#[expect(clippy::wildcard_enum_match_arm, reason = "what we do not know may have been written")]
pub(super) fn write_error(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::Database(refusal) => {
            let code = refusal.code().unwrap_or(Cow::Borrowed(""));
            match code.as_ref() {
                "AX001" => StoreError::Fenced { lost: lost_parts(refusal.as_ref()) },
                "AX002" => StoreError::Refused { reason: refusal.message().to_owned() },
                // The server is going down: it may have committed before it noticed.
                code if code.starts_with("57P") => {
                    StoreError::Unavailable { unknown: true, source: Box::new(error) }
                }
                // Data, constraints, and a row that no page or index can hold.
                code if ["22", "23", "54"].contains(&code.get(..2).unwrap_or("")) => {
                    StoreError::Refused { reason: refusal.message().to_owned() }
                }
                _ => StoreError::unavailable(error),
            }
        }
        sqlx::Error::Encode(_) => StoreError::Refused { reason: error.to_string() },
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => StoreError::unavailable(error),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            StoreError::Corrupt { what: error.to_string() }
        }
        _ => StoreError::Unavailable { unknown: true, source: Box::new(error) },
    }
}

/// What a failed read means: nothing can have been written.
pub(super) fn read_error(error: sqlx::Error) -> StoreError {
    match write_error(error) {
        StoreError::Unavailable { source, .. } => {
            StoreError::Unavailable { unknown: false, source }
        }
        refused @ (StoreError::Fenced { .. }
        | StoreError::Conflict { .. }
        | StoreError::Refused { .. }
        | StoreError::Newer { .. }
        | StoreError::Corrupt { .. }) => refused,
    }
}

/// Whether the same statement may succeed if it is sent again at once: it was chosen to resolve
/// a deadlock, or asks for another try itself.
pub(super) fn is_transient(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|refusal| refusal.code());
    code.is_some_and(|code| ["AX003", "40P01", "40001"].contains(&code.as_ref()))
}

/// The name of the constraint that was hurt.
pub(super) fn constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error().and_then(sqlx::error::DatabaseError::constraint)
}

fn lost_parts(refusal: &dyn sqlx::error::DatabaseError) -> Vec<Part> {
    let refusal = refusal.try_downcast_ref::<sqlx::postgres::PgDatabaseError>();
    let detail = refusal.and_then(sqlx::postgres::PgDatabaseError::detail).unwrap_or("");
    detail.split(',').filter_map(|part| part.parse().ok()).map(Part).collect()
}
