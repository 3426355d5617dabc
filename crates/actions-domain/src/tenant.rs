//! Tenants and the names derived from them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;
use crate::id::TenantId;
use crate::limits::SLUG_BYTES_MAX;

/// Someone whose events, actions and executions are kept apart from everyone else's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tenant {
    pub id: TenantId,
    /// The founding `tenant_id`, given to handlers and receivers.
    pub uuid: Uuid,
    pub slug: TenantSlug,
    pub name: String,
    /// Counts every change of the tenant's definitions.
    pub defs_version: i64,
    pub created_at: Timestamp,
}

/// A tenant's name in paths and schema names: a lower-case letter, then letters, digits and `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantSlug(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantSlugError {
    #[error("a tenant's slug has 1 to {max} bytes, not {bytes}", max = SLUG_BYTES_MAX)]
    Length { bytes: usize },
    #[error("a tenant's slug is a lower-case letter followed by a-z, 0-9 or _, not {raw:?}")]
    Characters { raw: String },
    #[error("{slug:?} is a reserved word")]
    Reserved { slug: String },
}

/// Words that would collide with our own schemas or PostgreSQL's.
const RESERVED: [&str; 7] =
    ["template", "public", "engine", "actions", "information_schema", "pg_catalog", "internal"];

impl TenantSlug {
    pub fn parse(raw: &str) -> Result<Self, TenantSlugError> {
        let bytes = raw.len();
        if bytes == 0 || bytes > SLUG_BYTES_MAX {
            return Err(TenantSlugError::Length { bytes });
        }
        let starts_well = raw.starts_with(|c: char| c.is_ascii_lowercase());
        let goes_on_well =
            raw.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !starts_well || !goes_on_well {
            return Err(TenantSlugError::Characters { raw: raw.to_owned() });
        }
        if RESERVED.contains(&raw) || raw.starts_with("pg_") {
            return Err(TenantSlugError::Reserved { slug: raw.to_owned() });
        }
        Ok(Self(raw.to_owned()))
    }

    pub fn admin() -> Self {
        Self("admin".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The schema that shows this tenant's relations: `admin`, or `tenant_<slug>`.
    pub fn schema(&self) -> String {
        if self.0 == "admin" { self.0.clone() } else { format!("tenant_{}", self.0) }
    }
}

impl fmt::Display for TenantSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TenantSlug {
    type Err = TenantSlugError;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        Self::parse(raw)
    }
}

impl TryFrom<String> for TenantSlug {
    type Error = TenantSlugError;

    fn try_from(raw: String) -> Result<Self, Self::Error> {
        Self::parse(&raw)
    }
}

impl From<TenantSlug> for String {
    fn from(slug: TenantSlug) -> Self {
        slug.0
    }
}

#[cfg(test)]
mod tests {
    use super::TenantSlug;

    #[test]
    fn slugs_are_safe_schema_names() {
        for good in ["acme", "a", "a1_b", "admin"] {
            assert!(TenantSlug::parse(good).is_ok(), "{good}");
        }
        let long = "a".repeat(49);
        for bad in ["", "Acme", "1a", "a-b", "a b", "ä", "pg_x", "template", "a\"; drop", &long] {
            assert!(TenantSlug::parse(bad).is_err(), "{bad}");
        }
    }
}
