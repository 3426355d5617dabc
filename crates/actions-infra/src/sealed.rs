//! Rows of sealed secrets, one for each version, gathered into secrets.

use actions_domain::Timestamp;
use actions_domain::id::{SecretId, TenantId};
use actions_domain::ports::store::StoreError;
use actions_domain::secret::{
    MasterKeyId, Sealed, SealedSecret, Secret, SecretName, SecretVersion,
};

/// A secret with one of its versions.
pub(crate) struct VersionRow {
    pub(crate) id: SecretId,
    pub(crate) tenant: TenantId,
    pub(crate) name: SecretName,
    pub(crate) created_at: Timestamp,
    pub(crate) created_by: String,
    pub(crate) version: SecretVersion,
    pub(crate) sealed: Sealed,
}

/// The secrets of rows in which versions follow one another, the newest first.
pub(crate) fn gather(
    rows: impl Iterator<Item = Result<VersionRow, StoreError>>,
) -> Result<Vec<SealedSecret>, StoreError> {
    let mut found: Vec<SealedSecret> = Vec::new();
    for row in rows {
        let row = row?;
        match found.last_mut().filter(|last| last.secret.id == row.id) {
            Some(newer) if newer.previous.is_none() => {
                newer.secret.previous = Some(row.version);
                newer.previous = Some(row.sealed);
            }
            Some(_) => {}
            None => {
                let VersionRow { id, tenant, name, created_at, created_by, version, sealed } = row;
                let secret = Secret {
                    id,
                    tenant,
                    name,
                    created_at,
                    created_by,
                    current: version,
                    previous: None,
                };
                found.push(SealedSecret { secret, current: sealed, previous: None });
            }
        }
    }
    Ok(found)
}

pub(crate) fn secret_name(raw: &str) -> Result<SecretName, StoreError> {
    SecretName::parse(raw)
        .map_err(|error| StoreError::Corrupt { what: format!("name of a secret: {error}") })
}

pub(crate) fn master_key(raw: &str) -> Result<MasterKeyId, StoreError> {
    MasterKeyId::parse(raw)
        .map_err(|error| StoreError::Corrupt { what: format!("key_id of a secret: {error}") })
}
