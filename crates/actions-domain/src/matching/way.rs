//! Ways from events to actions, and the one evaluation that says whether an event goes along.
//!
//! An index may leave out ways that cannot match. What it does not leave out is judged here,
//! with a log or without, so that an explanation and a match never differ.

use serde_json::Value;
use uuid::Uuid;

use super::condition::{Evaluate, Expression, Facts, Note, TextMatch, shown};
use super::explanation::{Check, Explanation};
use super::pattern::Pattern;
use crate::action::{Action, ActionName, HandlerId};
use crate::event::Event;
use crate::execution::Priority;
use crate::id::{ActionId, SubscriptionId};
use crate::subscription::{Subscription, SubscriptionSpec};

/// Where ways lead: what matching needs to know of an action.
#[derive(Debug)]
pub struct Target<R, C> {
    pub id: ActionId,
    pub name: ActionName,
    pub priority: Priority,
    pub is_active: bool,
    pub is_healthy: bool,
    /// What the last health check said.
    pub health_error: Option<String>,
    pub handler: HandlerId,
    /// Must hold on every way.
    pub condition: Expression<R, C>,
}

/// One pattern that leads to an action: the action's own, or a subscription's.
#[derive(Debug)]
pub struct Way<R, C> {
    pub action: ActionId,
    pub subscription: Option<SubscriptionId>,
    pub pattern: Pattern,
    pub is_active: bool,
    pub priority: u32,
    /// Most ways have none.
    pub filters: Option<Box<Filters>>,
    pub condition: Expression<R, C>,
}

/// Who an event must be about or come from. An empty list lets everyone pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filters {
    pub tenants: Vec<Uuid>,
    pub organizations: Vec<Uuid>,
    pub users: Vec<Uuid>,
    pub source_services: Vec<String>,
}

/// An event on its way to an action.
pub struct Question<'q, F> {
    pub event: &'q Event,
    pub facts: &'q F,
    /// Whether the way's pattern matches the event's type, as the index found out.
    pub pattern_fits: bool,
    pub is_installed: &'q dyn Fn(&HandlerId) -> bool,
}

/// Receives the steps of an evaluation.
pub trait Log {
    type Note: Note;

    /// Takes a step down and answers whether it passed.
    fn check(&mut self, check: &'static str, passed: bool, note: Self::Note) -> bool;
}

/// Takes nothing down.
pub struct Silent;

impl Log for Silent {
    type Note = ();

    fn check(&mut self, _: &'static str, passed: bool, (): ()) -> bool {
        passed
    }
}

impl Log for Vec<Check> {
    type Note = String;

    fn check(&mut self, check: &'static str, passed: bool, detail: String) -> bool {
        self.push(Check { check, passed, detail });
        passed
    }
}

impl<R, C> Target<R, C> {
    pub fn new(action: &Action, condition: Expression<R, C>) -> Self {
        Self {
            id: action.id,
            name: action.spec.name.clone(),
            priority: action.spec.priority,
            is_active: action.spec.is_active,
            is_healthy: action.health.is_healthy,
            health_error: action.health.error.clone(),
            handler: action.spec.handler.clone(),
            condition,
        }
    }
}

impl<R, C> Way<R, C> {
    /// The way of one of an action's own patterns.
    pub fn of_action(action: &Action, pattern: &Pattern) -> Self {
        Self {
            action: action.id,
            subscription: None,
            pattern: pattern.clone(),
            is_active: true,
            priority: 0,
            filters: None,
            condition: Expression::always(),
        }
    }

    pub fn of_subscription(subscription: &Subscription, condition: Expression<R, C>) -> Self {
        Self {
            action: subscription.action,
            subscription: Some(subscription.id),
            pattern: subscription.spec.event_pattern.clone(),
            is_active: subscription.spec.is_active,
            priority: subscription.spec.priority,
            filters: Filters::of(&subscription.spec),
            condition,
        }
    }

    /// Orders the ways to one action: the greatest is reported. Subscriptions come before the
    /// action's own patterns, then by priority, then the older one.
    pub fn rank(&self) -> impl Ord + use<R, C> {
        (self.subscription.is_some(), self.priority, std::cmp::Reverse(self.subscription))
    }
}

impl Filters {
    /// The filters of a subscription. `None` when it has none.
    pub fn of(spec: &SubscriptionSpec) -> Option<Box<Self>> {
        let filters = Self {
            tenants: spec.tenant_filter.clone(),
            organizations: spec.organization_filter.clone(),
            users: spec.user_filter.clone(),
            source_services: spec.source_service_filter.clone(),
        };
        (filters != Self::default()).then(|| Box::new(filters))
    }
}

/// Says whether the event leads along this way to its action. Stops at the first step that does
/// not pass.
pub fn judge<R, C, F, L>(
    way: &Way<R, C>,
    target: &Target<R, C>,
    question: &Question<'_, F>,
    log: &mut L,
) -> bool
where
    R: TextMatch,
    C: Evaluate<F>,
    F: Facts,
    L: Log,
{
    check_pattern(way, question, log)
        && check_switches(way, target, log)
        && check_handler(target, question, log)
        && way.filters.as_ref().is_none_or(|filters| check_filters(filters, question.event, log))
        && check_condition("action_conditions", &target.condition, question.facts, log)
        && check_condition("subscription_conditions", &way.condition, question.facts, log)
}

fn check_pattern<R, C, F, L: Log>(
    way: &Way<R, C>,
    question: &Question<'_, F>,
    log: &mut L,
) -> bool {
    let event = question.event;
    let fits = question.pattern_fits;
    let note = L::Note::tell(|| {
        let verb = if fits { "matches" } else { "does not match" };
        format!("{} {verb} {}", way.pattern, event.event_type)
    });
    log.check("pattern", fits, note)
        && (!event.attributes.by_engine || check_first_word(way, event, log))
}

/// Otherwise an action for every event would answer its own success with itself, for ever.
fn check_first_word<R, C, L: Log>(way: &Way<R, C>, event: &Event, log: &mut L) -> bool {
    let first = event.event_type.first_word();
    let is_named = way.pattern.first_word().as_deref() == Some(first);
    let note = L::Note::tell(|| {
        let verb = if is_named { "names" } else { "does not name" };
        format!("{} {verb} {first}, as it must for an event of the engine itself", way.pattern)
    });
    log.check("engine_event", is_named, note)
}

fn check_switches<R, C, L: Log>(way: &Way<R, C>, target: &Target<R, C>, log: &mut L) -> bool {
    let subscription_is_on = || way.subscription.is_none() || way.is_active;
    let switched = |what: &str, is_on| {
        L::Note::tell(|| format!("the {what} is switched {}", if is_on { "on" } else { "off" }))
    };
    let health = || {
        L::Note::tell(|| match (target.is_healthy, &target.health_error) {
            (true, _) => "the action is healthy".to_owned(),
            (false, None) => "the action is not healthy".to_owned(),
            (false, Some(error)) => format!("the action is not healthy: {error}"),
        })
    };
    let is_on = subscription_is_on();
    (way.subscription.is_none()
        || log.check("subscription_active", is_on, switched("subscription", is_on)))
        && log.check("action_active", target.is_active, switched("action", target.is_active))
        && log.check("action_healthy", target.is_healthy, health())
}

fn check_handler<R, C, F, L: Log>(
    target: &Target<R, C>,
    question: &Question<'_, F>,
    log: &mut L,
) -> bool {
    let is_installed = (question.is_installed)(&target.handler);
    let note = L::Note::tell(|| {
        let state = if is_installed { "is" } else { "is not" };
        format!("handler {} {state} installed", target.handler)
    });
    log.check("handler_installed", is_installed, note)
}

fn check_filters<L: Log>(filters: &Filters, event: &Event, log: &mut L) -> bool {
    let about = &event.attributes;
    let service = about.source_service.as_ref();
    check_filter("tenant_filter", "tenant", &filters.tenants, about.tenant_id.as_ref(), log)
        && check_filter(
            "organization_filter",
            "organization",
            &filters.organizations,
            about.organization_id.as_ref(),
            log,
        )
        && check_filter("user_filter", "user", &filters.users, about.user_id.as_ref(), log)
        && check_filter(
            "source_service_filter",
            "source service",
            &filters.source_services,
            service,
            log,
        )
}

fn check_filter<T, L>(
    check: &'static str,
    what: &str,
    wanted: &[T],
    given: Option<&T>,
    log: &mut L,
) -> bool
where
    T: PartialEq + std::fmt::Display,
    L: Log,
{
    if wanted.is_empty() {
        return true;
    }
    let passed = given.is_some_and(|given| wanted.contains(given));
    let note = L::Note::tell(|| {
        let given = given.map_or_else(|| "nothing".to_owned(), |given| quoted(given));
        match wanted {
            [only] => format!("{what} = {}, got {given}", quoted(only)),
            several => format!("{what} is one of {}, got {given}", several.len()),
        }
    });
    log.check(check, passed, note)
}

fn quoted(text: &impl std::fmt::Display) -> String {
    shown(&Value::String(text.to_string()))
}

fn check_condition<R, C, F, L>(
    check: &'static str,
    condition: &Expression<R, C>,
    facts: &F,
    log: &mut L,
) -> bool
where
    R: TextMatch,
    C: Evaluate<F>,
    F: Facts,
    L: Log,
{
    if condition.is_always() {
        return true;
    }
    let (truth, note) = condition.evaluate::<F, L::Note>(facts);
    log.check(check, truth == Ok(true), note)
}

/// Judges with a log and puts the result into words.
pub fn explain<R, C, F>(
    way: &Way<R, C>,
    target: &Target<R, C>,
    question: &Question<'_, F>,
) -> Explanation
where
    R: TextMatch,
    C: Evaluate<F>,
    F: Facts,
{
    let mut checks = Vec::new();
    let matched = judge(way, target, question, &mut checks);
    Explanation {
        action_id: target.id,
        action: target.name.to_string(),
        subscription: way.subscription,
        pattern: way.pattern.to_string(),
        matched,
        because: because(matched, &checks),
        checks,
    }
}

fn because(matched: bool, checks: &[Check]) -> String {
    let detail = |check: &str| checks.iter().find(|c| c.check == check).map(|c| c.detail.as_str());
    if !matched {
        return checks.last().map(|check| check.detail.clone()).unwrap_or_default();
    }
    let reasons =
        ["pattern", "action_conditions", "subscription_conditions"].into_iter().filter_map(detail);
    reasons.collect::<Vec<_>>().join(", and ")
}
