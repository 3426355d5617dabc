//! Bulks, and what became of their items.

use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::bulk::{Bulk, BulkItem};
use actions_domain::id::{BulkId, TenantId};

use crate::app::App;
use crate::filter::{Fact, Filter, FilterError};
use crate::queries::QueryError;
use crate::queries::scan::{Page, Scan, Step};

/// The fields that a filter of a bulk's items may name.
pub const ITEM_FIELDS: [&str; 3] = ["outcome", "target", "reason"];
/// What the outcome of an item may be called.
const OUTCOMES: [&str; 3] = ["pending", "done", "refused"];

/// Which items of a bulk to list.
#[derive(Debug, Clone)]
pub struct BulkItemList {
    pub tenant: TenantId,
    pub bulk: BulkId,
    pub filter: Filter,
    pub after: Option<u32>,
    pub limit: u32,
}

/// Lists bulks, newest first.
pub async fn list_bulks(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    before: Option<BulkId>,
    limit: u32,
) -> Result<Page<Bulk, BulkId>, QueryError> {
    app.require(caller, Permission::ReadExecutions, tenant).await?;
    let mut items = app.ports.bulks.list_bulks(tenant, before, limit.saturating_add(1)).await?;
    let size = usize::try_from(limit).unwrap_or(usize::MAX);
    let is_cut = items.len() > size;
    items.truncate(size);
    let next = items.last().filter(|_| is_cut).map(|bulk| bulk.id);
    Ok(Page { items, next })
}

pub async fn find_bulk(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    id: BulkId,
) -> Result<Bulk, QueryError> {
    app.require(caller, Permission::ReadExecutions, tenant).await?;
    let found = app.ports.bulks.find_bulk(tenant, id).await?;
    found.ok_or(QueryError::NotFound { what: "bulk" })
}

/// Lists the items of a bulk in the order in which they are done.
pub async fn list_bulk_items(
    app: &App,
    caller: &AuthorizationContext,
    list: BulkItemList,
) -> Result<Page<BulkItem, u32>, QueryError> {
    let BulkItemList { tenant, bulk, filter, after, limit } = list;
    find_bulk(app, caller, tenant, bulk).await?;
    let filter = filter.compile(&ITEM_FIELDS, app.ports.clock.now())?;
    if let Some(word) = filter.values("outcome").find(|word| !OUTCOMES.contains(word)) {
        let (field, value) = ("outcome".to_owned(), word.to_owned());
        let expected = "pending, done or refused";
        return Err(FilterError::Value { field, value, expected }.into());
    }
    let mut scan = Scan::new(limit, after, filter.is_selective());
    loop {
        let after = scan.before().unwrap_or(0);
        let found = app.ports.bulks.bulk_items(tenant, bulk, after, scan.page()).await?;
        let keeps = |item: &BulkItem| {
            let at = item.handled.as_ref().map_or_else(|| app.ports.clock.now(), |(at, _)| *at);
            filter.holds(at, |field| fact(item, field))
        };
        match scan.take(found, |item| item.number, |_| false, keeps) {
            Step::Read(next) => scan = next,
            Step::Done(page) => return Ok(page),
        }
    }
}

/// The word for what became of an item.
pub fn outcome_word(item: &BulkItem) -> &'static str {
    let [pending, done, refused] = OUTCOMES;
    match &item.handled {
        None => pending,
        Some((_, outcome)) if outcome.refusal().is_none() => done,
        Some(_) => refused,
    }
}

fn fact<'a>(item: &'a BulkItem, field: &str) -> Fact<'a> {
    match field {
        "outcome" => Fact::text(outcome_word(item)),
        "target" => Fact::text(item.target.to_string()),
        "reason" => Fact::maybe(item.handled.as_ref().and_then(|(_, outcome)| outcome.refusal())),
        _ => Fact::Absent,
    }
}
