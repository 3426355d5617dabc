//! Instants as the API writes them: RFC 3339, UTC, microseconds.

use actions_domain::Timestamp;
use chrono::SecondsFormat;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// An instant like `2026-01-31T12:00:00.000000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = DateTime)]
pub(crate) struct Time(pub(crate) Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}
