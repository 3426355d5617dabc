//! Who did what.

use actions_domain::audit::{Broken, Entry, Head, Verifier};
use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::id::TenantId;
use actions_domain::json::Json;
use actions_domain::limits::{AUDIT_EXPORT_BYTES_MAX, AUDIT_EXPORT_MAX, AUDIT_VERIFY_MAX};

use crate::app::App;
use crate::filter::{Fact, Filter};
use crate::queries::QueryError;
use crate::queries::scan::{Page, Scan, Step};

/// The fields that a filter of the audit may name.
pub const FIELDS: [&str; 9] =
    ["act", "subject", "actor", "actor_kind", "actor_id", "role", "ingress", "request", "reason"];
/// Entries that are read at once to be checked.
const CHECKED_PAGE: u32 = 500;

/// Which entries to list.
#[derive(Debug, Clone)]
pub struct AuditList {
    pub tenant: TenantId,
    pub filter: Filter,
    pub before: Option<i64>,
    pub limit: u32,
}

/// How far a stream holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditCheck {
    /// Entries that were read.
    pub checked: u32,
    /// The last one that holds, or where the check began.
    pub head: Head,
    /// There are more behind it: check again from there.
    pub more: bool,
    pub broken: Option<Broken>,
}

/// Lists entries, newest first.
pub async fn list_audit(
    app: &App,
    caller: &AuthorizationContext,
    list: AuditList,
) -> Result<Page<Entry, i64>, QueryError> {
    app.require(caller, Permission::ReadAudit, list.tenant).await?;
    let filter = list.filter.compile(&FIELDS, app.ports.clock.now())?;
    let mut scan = Scan::new(list.limit, list.before, filter.is_selective());
    loop {
        let (before, limit) = (scan.before(), scan.page());
        let found = app.ports.audit.audit_before(list.tenant, before, limit).await?;
        let keeps = |entry: &Entry| filter.holds(entry.at, |field| fact(entry, field));
        match scan.take(found, |entry| entry.seq, |_| false, keeps) {
            Step::Read(next) => scan = next,
            Step::Done(page) => return Ok(page),
        }
    }
}

fn fact<'a>(entry: &'a Entry, field: &str) -> Fact<'a> {
    match field {
        "act" => Fact::text(entry.act.as_str()),
        "subject" => Fact::text(entry.subject.as_str()),
        "actor" => Fact::text(entry.actor.as_str()),
        "actor_kind" => Fact::text(entry.actor_kind.as_str()),
        "actor_id" => Fact::maybe(entry.actor_id.as_deref()),
        "role" => Fact::text(entry.role.as_str()),
        "ingress" => Fact::text(entry.ingress.as_str()),
        "request" => Fact::text(entry.request_id.as_str()),
        "reason" => Fact::maybe(entry.reason.as_deref()),
        _ => Fact::Absent,
    }
}

/// Reads entries behind a number, oldest first: as many as one answer holds, and one at least. With
/// them comes what the store notes as the newest one.
pub async fn export_audit(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    after: i64,
) -> Result<(Head, Vec<Entry>), QueryError> {
    app.require(caller, Permission::ReadAudit, tenant).await?;
    // Read first: what is written meanwhile comes after it.
    let head = app.ports.audit.audit_head(tenant).await?;
    let mut entries = Vec::new();
    let (mut after, mut bytes) = (after, 0);
    while entries.len() < usize::try_from(AUDIT_EXPORT_MAX).unwrap_or(usize::MAX) {
        let found = app.ports.audit.audit_after(tenant, after, AUDIT_EXPORT_MAX / 10).await?;
        let Some(last) = found.last() else { break };
        after = last.seq;
        for entry in found {
            bytes += bytes_of(&entry);
            if bytes > AUDIT_EXPORT_BYTES_MAX && !entries.is_empty() {
                return Ok((head, entries));
            }
            entries.push(entry);
        }
    }
    Ok((head, entries))
}

fn bytes_of(entry: &Entry) -> usize {
    const REST: usize = 512;
    let state = |state: &Option<Json>| state.as_ref().map_or(0, |state| state.as_str().len());
    REST + state(&entry.before) + state(&entry.after) + entry.reason.as_ref().map_or(0, String::len)
}

/// Checks the stream behind an entry that is trusted, against the heads that were noted before and
/// the one that the store notes.
pub async fn verify_audit(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    from: Head,
    mut noted: Vec<Head>,
) -> Result<AuditCheck, QueryError> {
    app.require(caller, Permission::ReadAudit, tenant).await?;
    // Read first: what is written meanwhile comes after it.
    noted.push(app.ports.audit.audit_head(tenant).await?);
    let mut verifier = Verifier::new(from, noted);
    let mut checked = 0;
    let broken = loop {
        let after = verifier.head().seq;
        let page = CHECKED_PAGE.min(AUDIT_VERIFY_MAX - checked);
        if page == 0 {
            let head = verifier.head();
            return Ok(AuditCheck { checked, head, more: true, broken: None });
        }
        let found = app.ports.audit.audit_after(tenant, after, page).await?;
        if found.is_empty() {
            break verifier.clone().finish().err();
        }
        if let Some(broken) = found.iter().find_map(|entry| {
            checked += 1;
            verifier.check(entry).err()
        }) {
            break Some(broken);
        }
    };
    Ok(AuditCheck { checked, head: verifier.head(), more: false, broken })
}
