//! Tells on the terminal what happens: events, executions, retries, dead letters.
//!
//! It looks at the history from time to time, so it tells of everything, whoever sent it, and
//! slows nothing down.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use actions_app::app::App;
use actions_app::catalogue::TenantDefinitions;
use actions_app::commands::execute_action::why_blocked;
use actions_domain::Timestamp;
use actions_domain::event::Event;
use actions_domain::execution::{Attempt, Execution, Fault, Status};
use actions_domain::id::{EventId, ExecutionId, TenantId};
use actions_domain::ports::history::{EventQuery, ExecutionQuery};
use actions_domain::ports::store::StoreError;

use super::teller::Teller;

/// How often it looks.
const PAUSE: Duration = Duration::from_millis(250);
/// How many of the newest it looks at in one tenant.
const NEWEST: u32 = 100;
/// How many it remembers having told of.
const REMEMBERED: usize = 4_000;

/// Starts to tell of what happens from now on.
pub(super) fn start(app: App, teller: Teller) {
    tokio::spawn(async move {
        let since = app.ports.clock.now();
        let mut narrator =
            Narrator { app, teller, since, told: Told::default(), open: HashMap::new() };
        narrator.tell_blocked();
        loop {
            // While the store is away there is nothing to tell; the log says that it is.
            let looked = narrator.look().await;
            if let Ok(true) = looked {
                continue;
            }
            narrator.app.ports.clock.sleep(PAUSE).await;
        }
    });
}

struct Narrator {
    app: App,
    teller: Teller,
    since: Timestamp,
    told: Told,
    /// Executions that have not ended, with the attempts that were told.
    open: HashMap<ExecutionId, Open>,
}

struct Open {
    tenant: Arc<TenantDefinitions>,
    attempts: usize,
}

/// What was told, without growing for ever.
#[derive(Default)]
struct Told {
    events: HashSet<EventId>,
    executions: HashSet<ExecutionId>,
    order: VecDeque<(Option<EventId>, Option<ExecutionId>)>,
}

impl Told {
    fn event(&mut self, id: EventId) -> bool {
        let is_new = self.events.insert(id);
        if is_new {
            self.remember((Some(id), None));
        }
        is_new
    }

    fn execution(&mut self, id: ExecutionId) -> bool {
        let is_new = self.executions.insert(id);
        if is_new {
            self.remember((None, Some(id)));
        }
        is_new
    }

    fn remember(&mut self, entry: (Option<EventId>, Option<ExecutionId>)) {
        self.order.push_back(entry);
        if self.order.len() > REMEMBERED
            && let Some((event, execution)) = self.order.pop_front()
        {
            event.map(|id| self.events.remove(&id));
            execution.map(|id| self.executions.remove(&id));
        }
    }
}

impl Narrator {
    /// Tells which actions cannot run, once.
    fn tell_blocked(&self) {
        for tenant in self.app.catalogue.list() {
            // Most of the platform's own actions wait for an address of the operator's.
            if tenant.tenant.id == TenantId::ADMIN {
                continue;
            }
            for action in tenant.actions() {
                if let Some(reason) = why_blocked(&self.app, &action) {
                    let name = action.spec.name.as_str();
                    self.say(self.since, &tenant, "blocked", name, &reason);
                }
            }
        }
    }

    /// Tells what is new. Answers whether there may be more at once.
    async fn look(&mut self) -> Result<bool, StoreError> {
        let mut more = false;
        for tenant in self.app.catalogue.list() {
            more |= self.look_at_events(&tenant).await?;
            self.look_at_executions(&tenant).await?;
        }
        self.look_at_open().await?;
        Ok(more)
    }

    async fn look_at_events(
        &mut self,
        tenant: &Arc<TenantDefinitions>,
    ) -> Result<bool, StoreError> {
        let id = tenant.tenant.id;
        let query = EventQuery { tenant: id, event_type: None, before: None, limit: NEWEST };
        let newest = self.app.ports.history.list_events(query).await?;
        let fresh: Vec<Event> = newest
            .into_iter()
            .map(|listed| listed.event)
            .filter(|event| event.accepted_at >= self.since)
            .filter(|event| self.told.event(event.id))
            .collect();
        let is_busy = fresh.len() == NEWEST as usize;
        for event in fresh.iter().rev() {
            let executions = self.app.ports.history.executions_of_event(id, event.id).await?;
            let names: Vec<String> =
                executions.iter().map(|execution| name(tenant, execution)).collect();
            let matched = if names.is_empty() {
                "matched nothing".to_owned()
            } else {
                format!("matched {}", names.join(", "))
            };
            self.say(event.accepted_at, tenant, "event", event.event_type.as_str(), &matched);
        }
        Ok(is_busy)
    }

    async fn look_at_executions(
        &mut self,
        tenant: &Arc<TenantDefinitions>,
    ) -> Result<(), StoreError> {
        let query = ExecutionQuery {
            tenant: tenant.tenant.id,
            action: None,
            statuses: Vec::new(),
            before: None,
            limit: NEWEST,
        };
        let newest = self.app.ports.history.list_executions(query).await?;
        for execution in newest.iter().rev() {
            if execution.queued_at >= self.since && self.told.execution(execution.id) {
                self.follow(tenant, execution, 0);
            }
        }
        Ok(())
    }

    /// Looks again at what had not ended.
    async fn look_at_open(&mut self) -> Result<(), StoreError> {
        let open: Vec<_> =
            self.open.iter().map(|(id, open)| (*id, open.tenant.clone(), open.attempts)).collect();
        for (id, tenant, attempts) in open {
            let found = self.app.ports.history.find_execution(tenant.tenant.id, id).await?;
            match found {
                Some(execution) => self.follow(&tenant, &execution, attempts),
                None => {
                    self.open.remove(&id);
                }
            }
        }
        Ok(())
    }

    /// Tells what happened to an execution since `attempts` attempts were told.
    fn follow(&mut self, tenant: &Arc<TenantDefinitions>, execution: &Execution, attempts: usize) {
        let name = name(tenant, execution);
        let is_final = execution.status.is_final();
        let fresh = execution.attempts.iter().skip(attempts);
        for attempt in fresh {
            let is_last = attempt.number as usize == execution.attempts.len();
            if !(is_final && is_last) {
                let text = retry_text(attempt, execution, is_last);
                self.say(attempt.ended_at, tenant, "retry", &name, &text);
            }
        }
        if is_final {
            self.open.remove(&execution.id);
            self.tell_end(tenant, execution, &name);
        } else {
            let attempts = execution.attempts.len();
            self.open.insert(execution.id, Open { tenant: tenant.clone(), attempts });
        }
    }

    fn tell_end(&self, tenant: &Arc<TenantDefinitions>, execution: &Execution, name: &str) {
        let at = execution.ended_at.unwrap_or(execution.queued_at);
        let attempts = execution.attempts.len();
        let took = execution
            .started_at
            .zip(execution.ended_at)
            .map(|(start, end)| format!(", {} ms", (end - start).num_milliseconds()))
            .unwrap_or_default();
        let fault = execution.error.as_ref().map(told_fault).unwrap_or_default();
        match execution.status {
            Status::Completed => {
                let text = format!("{}{took}", times(attempts));
                self.say(at, tenant, "completed", name, &text);
            }
            Status::Failed | Status::Timeout => {
                let text = format!("after {}: {fault}", times(attempts));
                self.say(at, tenant, "dead letter", name, &text);
            }
            Status::Cancelled
            | Status::Skipped
            | Status::Pending
            | Status::Running
            | Status::Retrying
            | Status::Paused
            | Status::Blocked => self.say(at, tenant, execution.status.word(), name, &fault),
        }
    }

    fn say(&self, at: Timestamp, tenant: &TenantDefinitions, what: &str, name: &str, text: &str) {
        self.teller.say(at, tenant.tenant.slug.as_str(), what, name, text);
    }
}

fn name(tenant: &TenantDefinitions, execution: &Execution) -> String {
    let action = tenant.action(execution.action);
    action.map_or_else(
        || format!("action {}", execution.action),
        |action| action.spec.name.to_string(),
    )
}

fn times(attempts: usize) -> String {
    match attempts {
        1 => "1 attempt".to_owned(),
        many => format!("{many} attempts"),
    }
}

fn retry_text(attempt: &Attempt, execution: &Execution, is_last: bool) -> String {
    let fault = attempt.error.as_ref().map(told_fault).unwrap_or_default();
    let next = match execution.due_at.filter(|_| is_last) {
        Some(due) => {
            let pause = (due - attempt.ended_at).num_milliseconds().max(0);
            format!("; again in {:.1} s", pause as f64 / 1_000.0)
        }
        None => String::new(),
    };
    format!("attempt {} failed: {fault}{next}", attempt.number)
}

fn told_fault(fault: &Fault) -> String {
    format!("{} ({})", fault.message, fault.code)
}
