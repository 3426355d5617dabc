//! Dead letters: executions that failed for good and wait for a person, one by one and by cause.

use actions_domain::authorization::{AuthorizationContext, Permission};
use actions_domain::id::{ActionId, ExecutionId, TenantId};
use actions_domain::limits::PAGE_MAX;
use actions_domain::ports::history::{DeadLetter, DeadLetterGroup, DeadLetterQuery};
use actions_domain::ports::store::StoreError;

use crate::app::App;
use crate::filter::{Compiled, Fact, Filter};
use crate::queries::executions::class_word;
use crate::queries::scan::{Page, Scan, Step};
use crate::queries::{QueryError, definitions_of};

/// The fields that a filter of dead letters may name.
pub const FIELDS: [&str; 8] =
    ["action", "fingerprint", "group", "error", "class", "event", "attempts", "message"];

/// Dead letters that a command reads, and then changes, at once.
const CHUNK: u32 = 200;

/// Which dead letters to list.
#[derive(Debug, Clone)]
pub struct DeadLetterList {
    pub tenant: TenantId,
    pub filter: Filter,
    pub before: Option<ExecutionId>,
    pub limit: u32,
}

/// Which dead letters a command is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Selection {
    Ids(Vec<ExecutionId>),
    /// All with this fingerprint.
    Group(String),
    /// All that this lists.
    Where(Filter),
}

/// Lists dead letters, newest execution first.
pub async fn list_dead_letters(
    app: &App,
    caller: &AuthorizationContext,
    list: DeadLetterList,
) -> Result<Page<DeadLetter, ExecutionId>, QueryError> {
    app.require(caller, Permission::ReadExecutions, list.tenant).await?;
    let plan = Plan::new(app, list.tenant, &list.filter)?;
    scan(app, list.tenant, &plan, list.before, list.limit).await
}

/// Lists the dead letters with a fingerprint, newest execution first.
pub(crate) async fn list_group(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    fingerprint: &str,
    (before, limit): (Option<ExecutionId>, u32),
) -> Result<Page<DeadLetter, ExecutionId>, QueryError> {
    app.require(caller, Permission::ReadExecutions, tenant).await?;
    scan(app, tenant, &Plan::of_group(fingerprint.to_owned()), before, limit).await
}

async fn scan(
    app: &App,
    tenant: TenantId,
    plan: &Plan,
    before: Option<ExecutionId>,
    limit: u32,
) -> Result<Page<DeadLetter, ExecutionId>, QueryError> {
    let mut scan = Scan::new(limit, before, plan.rest.is_selective());
    loop {
        let found = plan.read(app, tenant, scan.before(), scan.page()).await?;
        let keeps = |letter: &DeadLetter| plan.keeps(app, letter);
        match scan.take(found, |letter| letter.execution.id, |_| false, keeps) {
            Step::Read(next) => scan = next,
            Step::Done(page) => return Ok(page),
        }
    }
}

/// Finds a dead letter with its attempts.
pub async fn find_dead_letter(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    id: ExecutionId,
) -> Result<DeadLetter, QueryError> {
    app.require(caller, Permission::ReadExecutions, tenant).await?;
    let found = app.ports.history.find_dead_letter(tenant, id).await?;
    found.ok_or(QueryError::NotFound { what: "dead letter" })
}

/// Counts dead letters by cause, the largest group first.
pub async fn list_groups(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    limit: u32,
) -> Result<Vec<DeadLetterGroup>, QueryError> {
    app.require(caller, Permission::ReadExecutions, tenant).await?;
    Ok(app.ports.history.dead_letter_groups(tenant, limit).await?)
}

/// Finds one group.
pub async fn find_group(
    app: &App,
    caller: &AuthorizationContext,
    tenant: TenantId,
    fingerprint: &str,
) -> Result<DeadLetterGroup, QueryError> {
    let groups = list_groups(app, caller, tenant, PAGE_MAX).await?;
    let found = groups.into_iter().find(|group| group.fingerprint == fingerprint);
    found.ok_or(QueryError::NotFound { what: "group of dead letters" })
}

/// A filter, divided into what the store looks for and what is asked of each.
struct Plan {
    action: Option<ActionId>,
    fingerprint: Option<String>,
    rest: Compiled,
}

impl Plan {
    fn new(app: &App, tenant: TenantId, filter: &Filter) -> Result<Self, QueryError> {
        let definitions = definitions_of(app, tenant)?;
        let mut rest = filter.compile(&FIELDS, app.ports.clock.now())?;
        let mut fingerprint = None;
        for field in ["fingerprint", "group"] {
            if let Some([one]) = rest.clone().take(field).as_deref() {
                rest.take(field);
                fingerprint = Some(one.clone());
            }
        }
        let mut action = None;
        if let Some([name]) = rest.clone().take("action").as_deref()
            && let Some(known) = definitions.action_named(name)
        {
            rest.take("action");
            action = Some(known.id);
        }
        Ok(Self { action, fingerprint, rest })
    }

    fn of_group(fingerprint: String) -> Self {
        Self { action: None, fingerprint: Some(fingerprint), rest: Compiled::default() }
    }

    fn keeps(&self, app: &App, letter: &DeadLetter) -> bool {
        self.rest.holds(letter.died_at, |field| fact(app, letter, field))
    }

    async fn read(
        &self,
        app: &App,
        tenant: TenantId,
        before: Option<ExecutionId>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let fingerprint = self.fingerprint.clone();
        let query = DeadLetterQuery { tenant, fingerprint, action: self.action, before, limit };
        app.ports.history.list_dead_letters(query).await
    }
}

fn fact<'a>(app: &App, letter: &'a DeadLetter, field: &str) -> Fact<'a> {
    let error = letter.execution.error.as_ref();
    match field {
        "action" => Fact::maybe(
            app.catalogue
                .find(letter.execution.tenant)
                .and_then(|known| known.action(letter.execution.action))
                .map(|action| action.spec.name.to_string()),
        ),
        "fingerprint" | "group" => Fact::text(letter.fingerprint.as_str()),
        "error" => Fact::maybe(error.map(|fault| fault.code.as_str())),
        "message" => Fact::maybe(error.map(|fault| fault.message.as_str())),
        "class" => Fact::maybe(error.map(|fault| class_word(fault.class))),
        "event" => Fact::maybe(letter.execution.event.map(|event| event.to_string())),
        "attempts" => Fact::count(letter.execution.attempts.len()),
        _ => Fact::Absent,
    }
}

/// Reads selected dead letters in chunks.
pub(crate) struct Reader<'a> {
    app: &'a App,
    tenant: TenantId,
    source: Source,
    left: u32,
    ended: bool,
}

enum Source {
    Ids { ids: Vec<ExecutionId>, at: usize },
    List { plan: Plan, before: Option<ExecutionId> },
}

impl<'a> Reader<'a> {
    /// Reads at most `max`.
    pub(crate) fn new(
        app: &'a App,
        tenant: TenantId,
        selection: Selection,
        max: u32,
    ) -> Result<Self, QueryError> {
        let source = match selection {
            Selection::Ids(ids) => Source::Ids { ids, at: 0 },
            Selection::Group(fingerprint) => {
                Source::List { plan: Plan::of_group(fingerprint), before: None }
            }
            Selection::Where(filter) => {
                Source::List { plan: Plan::new(app, tenant, &filter)?, before: None }
            }
        };
        Ok(Self { app, tenant, source, left: max, ended: false })
    }

    /// Whether there may be more than the maximum allowed to read.
    pub(crate) fn has_more(&self) -> bool {
        !self.ended
    }

    /// The next chunk, which may be empty. `None`: that was all, or the maximum is reached.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<DeadLetter>>, StoreError> {
        if self.ended || self.left == 0 {
            return Ok(None);
        }
        let limit = CHUNK.min(self.left);
        let size = usize::try_from(limit).unwrap_or(usize::MAX);
        let chunk = match &mut self.source {
            Source::Ids { ids, at } => {
                let end = ids.len().min(*at + size);
                let mut chunk = Vec::new();
                for id in &ids[*at..end] {
                    let found = self.app.ports.history.find_dead_letter(self.tenant, *id).await?;
                    chunk.extend(found);
                }
                *at = end;
                self.ended = end == ids.len();
                chunk
            }
            Source::List { plan, before } => {
                let mut chunk = plan.read(self.app, self.tenant, *before, limit).await?;
                self.ended = chunk.len() < size;
                *before = chunk.last().map(|letter| letter.execution.id).or(*before);
                chunk.retain(|letter| plan.keeps(self.app, letter));
                for letter in &mut chunk {
                    // What is to run again needs all of its input. What is no dead letter any
                    // more will be refused.
                    let id = letter.execution.id;
                    if letter.execution.left_out.input.is_some()
                        && let Some(whole) =
                            self.app.ports.history.find_dead_letter(self.tenant, id).await?
                    {
                        *letter = whole;
                    }
                }
                chunk
            }
        };
        self.left = self.left.saturating_sub(u32::try_from(chunk.len()).unwrap_or(u32::MAX));
        Ok(Some(chunk))
    }
}
