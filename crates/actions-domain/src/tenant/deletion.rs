//! The end of a tenant: how far its removal is, and the proof that nothing of it is left.

use std::collections::BTreeMap;

use chrono::SubsecRound;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Tenant, TenantSlug};
use crate::Timestamp;
use crate::audit::{Hash, Head, Sealer};
use crate::id::TenantId;

/// What the hashed bytes of every certificate begin with: the format, and what it is for.
const DOMAIN: &[u8] = b"actions.tenant_deletion.1\0";

/// Rows by table, under the names that the tables have in every store.
pub type Rows = BTreeMap<String, u64>;

/// Who wants a tenant to be gone, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionRequest {
    pub at: Timestamp,
    pub by: String,
    pub reason: Option<String>,
}

/// A tenant that is being deleted, or that was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantDeletion {
    pub tenant: TenantId,
    pub uuid: Uuid,
    pub slug: TenantSlug,
    pub name: String,
    pub requested_at: Timestamp,
    pub requested_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many entries the tenant's audit had, and the hash of the newest: whoever has an export of
    /// it can tell later that it is whole.
    pub audit_length: i64,
    pub audit_hash: Hash,
    /// What was removed up to now.
    #[serde(default)]
    pub removed: Rows,
    /// `None`: something may still be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
}

/// What was counted after everything was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    pub finished_at: Timestamp,
    /// Of every table that has tenants. All are zero.
    pub left: Rows,
    /// BLAKE3 over all of the deletion.
    pub digest: Hash,
}

impl TenantDeletion {
    pub fn new(tenant: &Tenant, request: &DeletionRequest, audit: Head) -> Self {
        Self {
            tenant: tenant.id,
            uuid: tenant.uuid,
            slug: tenant.slug.clone(),
            name: tenant.name.clone(),
            // What every store can keep.
            requested_at: request.at.trunc_subsecs(6),
            requested_by: request.by.clone(),
            reason: request.reason.clone(),
            audit_length: audit.seq,
            audit_hash: audit.hash,
            removed: Rows::new(),
            certificate: None,
        }
    }

    pub fn is_finished(&self) -> bool {
        self.certificate.is_some()
    }

    /// Adds what one piece of the work has removed.
    pub fn note(&mut self, removed: impl IntoIterator<Item = (String, u64)>) {
        for (table, rows) in removed.into_iter().filter(|(_, rows)| *rows > 0) {
            *self.removed.entry(table).or_default() += rows;
        }
    }

    /// The deletion with its certificate. `None` while something is left.
    pub fn certified(&self, left: Rows, at: Timestamp) -> Option<Self> {
        if left.values().any(|rows| *rows > 0) {
            return None;
        }
        let finished_at = at.trunc_subsecs(6);
        let certificate = Certificate { finished_at, left, digest: Hash::default() };
        let mut finished = Self { certificate: Some(certificate), ..self.clone() };
        let digest = finished.seal();
        if let Some(certificate) = &mut finished.certificate {
            certificate.digest = digest?;
        }
        Some(finished)
    }

    /// Whether the certificate is as it was written.
    pub fn is_intact(&self) -> bool {
        let digest = self.certificate.as_ref().map(|certificate| certificate.digest);
        digest.is_some() && digest == self.seal()
    }

    /// What the platform's audit says of it.
    pub fn shown(&self) -> Value {
        let certificate = self.certificate.as_ref();
        json!({
            "id": self.uuid,
            "slug": self.slug,
            "requested_at": self.requested_at,
            "requested_by": self.requested_by,
            "audit": Head { seq: self.audit_length, hash: self.audit_hash }.to_string(),
            "rows": self.removed.values().sum::<u64>(),
            "digest": certificate.map(|certificate| certificate.digest),
        })
    }

    /// The digest that it should have.
    fn seal(&self) -> Option<Hash> {
        let certificate = self.certificate.as_ref()?;
        let mut sealer = Sealer::new(DOMAIN);
        sealer.number(i64::from(self.tenant.0));
        sealer.text(&self.uuid.to_string());
        sealer.text(self.slug.as_str());
        sealer.text(&self.name);
        sealer.number(self.requested_at.timestamp_micros());
        sealer.text(&self.requested_by);
        sealer.optional(self.reason.as_deref());
        sealer.number(self.audit_length);
        sealer.text(&self.audit_hash.to_string());
        for rows in [&self.removed, &certificate.left] {
            sealer.number(i64::try_from(rows.len()).unwrap_or(i64::MAX));
            for (table, count) in rows {
                sealer.text(table);
                sealer.number(i64::try_from(*count).unwrap_or(i64::MAX));
            }
        }
        sealer.number(certificate.finished_at.timestamp_micros());
        Some(sealer.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deletion() -> TenantDeletion {
        let tenant = Tenant {
            id: TenantId(7),
            uuid: Uuid::from_u128(7),
            slug: TenantSlug::parse("acme").unwrap(),
            name: "Acme".to_owned(),
            defs_version: 3,
            created_at: Timestamp::UNIX_EPOCH,
        };
        let at = Timestamp::from_timestamp_nanos(1_800_000_000_123_456_789);
        let request = DeletionRequest { at, by: "key:root".to_owned(), reason: None };
        let mut deletion = TenantDeletion::new(&tenant, &request, Head::default());
        deletion.note([("event".to_owned(), 2), ("work".to_owned(), 0)]);
        deletion.note([("event".to_owned(), 3)]);
        deletion
    }

    fn rows(left: u64) -> Rows {
        Rows::from([("event".to_owned(), left), ("work".to_owned(), 0)])
    }

    #[test]
    fn there_is_no_certificate_while_a_row_is_left() {
        let deletion = deletion();
        assert_eq!(deletion.removed, Rows::from([("event".to_owned(), 5)]));
        assert_eq!(deletion.certified(rows(1), Timestamp::UNIX_EPOCH), None);
        assert!(!deletion.is_intact(), "it has none yet");
    }

    #[test]
    fn a_certificate_is_told_from_a_changed_one() {
        let finished = deletion().certified(rows(0), Timestamp::UNIX_EPOCH).unwrap();
        assert!(finished.is_intact());
        let text = serde_json::to_string(&finished).unwrap();
        let read: TenantDeletion = serde_json::from_str(&text).unwrap();
        assert_eq!(read, finished);
        assert!(read.is_intact());
        let changes: [fn(&mut TenantDeletion); 8] = [
            |it| it.tenant = TenantId(8),
            |it| it.uuid = Uuid::from_u128(8),
            |it| it.slug = TenantSlug::parse("other").unwrap(),
            |it| it.name.push('x'),
            |it| it.requested_by.push('x'),
            |it| it.reason = Some(String::new()),
            |it| it.audit_length += 1,
            |it| *it.removed.get_mut("event").unwrap() += 1,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = finished.clone();
            change(&mut changed);
            assert!(!changed.is_intact(), "change {number}");
        }
    }
}
