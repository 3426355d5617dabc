//! Judges definitions before they are stored, by the same code that will run them.

use std::collections::BTreeSet;
use std::sync::Arc;

use actions_domain::action::{ActionSpec, ActionType, DeliveryMode};
use actions_domain::id::TenantId;
use actions_domain::limits::RATE_MAX;
use actions_domain::matching::condition::Condition;
use actions_domain::matching::pattern::Pattern;
use actions_domain::matching::pattern::warnings::{PatternWarning, warnings};
use actions_domain::ports::handler::{Descriptor, FieldNote, Handler, KEEPS_CONFIG, REPEATS};
use actions_domain::ports::matcher::MatchError;
use actions_domain::secret::references;
use actions_domain::subscription::SubscriptionSpec;
use actions_domain::tenant::reach::Reach;
use serde_json::{Value, json};

use crate::app::App;
use crate::config_secrets::keeps_config;
use crate::secrets;
use crate::workflows::{Called, calls_of};

/// What is wrong with a definition, and what is only doubtful.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    pub errors: Vec<Finding>,
    pub warnings: Vec<FieldNote>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub kind: FindingKind,
    /// A JSON pointer into the definition.
    pub pointer: String,
    pub message: String,
    /// Place inside a text, from 1.
    pub line: Option<u32>,
    pub column: Option<u32>,
}

/// Which part of a definition is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    /// A value outside its published limits.
    Limit,
    Pattern,
    Condition,
    Config,
}

impl Finding {
    pub(crate) fn new(
        kind: FindingKind,
        pointer: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { kind, pointer: pointer.into(), message: message.into(), line: None, column: None }
    }

    /// The same finding in a document that holds the definition at `place`.
    #[must_use]
    pub fn below(self, place: &str) -> Self {
        Self { pointer: format!("{place}{}", self.pointer), ..self }
    }
}

impl Findings {
    /// Adds what was found in a part of the definition.
    pub fn merge(&mut self, place: &str, other: Self) {
        self.errors.extend(other.errors.into_iter().map(|error| error.below(place)));
        self.warnings.extend(
            other
                .warnings
                .into_iter()
                .map(|note| FieldNote::new(format!("{place}{}", note.pointer), note.message)),
        );
    }
}

/// Finds everything that is wrong with an action. A handler that is not installed is none of
/// it: such an action is kept and shown as blocked.
pub fn check_action(app: &App, tenant: TenantId, spec: &ActionSpec) -> Findings {
    let mut findings = Findings::default();
    findings.errors.extend(
        spec.check()
            .into_iter()
            .map(|error| Finding::new(FindingKind::Limit, error.pointer(), error.to_string())),
    );
    for (index, pattern) in spec.event_patterns.iter().enumerate() {
        let place = format!("/event_patterns/{index}");
        findings.errors.extend(check_match(app, Some(pattern), &Condition::default(), &place, ""));
    }
    findings.errors.extend(check_match(app, None, &spec.conditions, "", "/conditions"));
    findings.warnings.extend(doubtful_patterns(tenant, &spec.event_patterns));
    match app.handlers.find_within(&spec.handler, &reach_of(app, tenant)) {
        Some(handler) => {
            findings.merge("/config", check_config(app, handler.as_ref(), &spec.config));
            findings.warnings.extend(doubtful_type(handler.as_ref(), spec.action_type));
            findings.errors.extend(check_delivery(handler.as_ref(), spec.delivery));
            if spec.is_workflow() && findings.errors.is_empty() {
                findings.merge("/config", check_steps(app, tenant, &spec.config));
            }
        }
        None => findings.warnings.push(FieldNote::new(
            "/handler",
            format!("no handler {} is installed; the action is blocked until one is", spec.handler),
        )),
    }
    findings
}

/// Judges what the steps of a workflow call. What is not there yet may come.
fn check_steps(app: &App, tenant: TenantId, config: &Value) -> Findings {
    let mut findings = Findings::default();
    let known = app.catalogue.find(tenant);
    for (place, called) in calls_of(config) {
        let lacking = match called {
            Called::Handler(id, config) => {
                match app.handlers.find_within(&id, &reach_of(app, tenant)) {
                    Some(handler) => {
                        let config = if config.is_null() { json!({}) } else { config };
                        let found = check_config(app, handler.as_ref(), &config);
                        findings.merge(&format!("{place}/config"), found);
                        continue;
                    }
                    None => format!("no handler {id} is installed; the step waits until one is"),
                }
            }
            Called::Action(name) => {
                if known.as_ref().is_some_and(|known| known.action_named(&name).is_some()) {
                    continue;
                }
                format!("there is no action {name} yet; without it the step fails")
            }
            Called::Workflow(name) => {
                let found = known.as_ref().and_then(|known| known.action_named(&name));
                if found.is_some_and(|found| found.spec.is_workflow()) {
                    continue;
                }
                format!("there is no workflow {name} yet; without it the step fails")
            }
        };
        findings.warnings.push(FieldNote::new(place, lacking));
    }
    findings
}

/// Where the handlers of a tenant may connect to.
pub(crate) fn reach_of(app: &App, tenant: TenantId) -> Arc<Reach> {
    let known = app.catalogue.find(tenant);
    known.map(|known| known.controls().reach.clone()).unwrap_or_default()
}

/// What a handler does more than once by itself cannot happen at most once.
fn check_delivery(handler: &dyn Handler, delivery: DeliveryMode) -> Option<Finding> {
    let Descriptor { id, capabilities, .. } = handler.descriptor();
    let repeats = capabilities.contains(&REPEATS) && delivery == DeliveryMode::AtMostOnce;
    let message = format!("{id} may act more than once in one attempt; use at_least_once");
    repeats.then(|| Finding::new(FindingKind::Limit, "/delivery", message))
}

/// Finds everything that is wrong with a subscription.
pub fn check_subscription(app: &App, tenant: TenantId, spec: &SubscriptionSpec) -> Findings {
    let mut findings = Findings::default();
    let pattern = Some(&spec.event_pattern);
    let nothing = Condition::default();
    findings.errors.extend(check_match(app, pattern, &nothing, "/event_pattern", ""));
    findings.errors.extend(check_match(app, None, &spec.conditions, "", "/conditions"));
    let rates = [
        ("rate_limit_per_minute", spec.rate_limit_per_minute),
        ("rate_limit_per_hour", spec.rate_limit_per_hour),
    ];
    for (field, rate) in rates {
        if rate.is_some_and(|given| !(1..=RATE_MAX).contains(&given)) {
            let message = format!("{field} is outside 1 to {RATE_MAX}");
            findings.errors.push(Finding::new(FindingKind::Limit, format!("/{field}"), message));
        }
    }
    let own = std::slice::from_ref(&spec.event_pattern);
    let notes = doubtful_patterns(tenant, own);
    let place = |note: FieldNote| FieldNote::new("/event_pattern", note.message);
    findings.warnings.extend(notes.into_iter().map(place));
    findings
}

/// Finds everything that is wrong with a config, with pointers into it. What names a secret is
/// judged when it is used: nobody knows its text before.
pub fn check_config(app: &App, handler: &dyn Handler, config: &Value) -> Findings {
    let mut findings = Findings::default();
    let named = check_secrets(handler, config, &mut findings);
    match app.ports.schemas.check(&handler.descriptor().config_schema, config) {
        Ok(notes) => {
            // A secret is a text, whatever it says.
            let is_known =
                |note: &FieldNote| !named.contains(&note.pointer) || is_of_type(&note.message);
            findings.errors.extend(notes.into_iter().filter(is_known).map(config_finding));
        }
        Err(error) => {
            findings.errors.push(Finding::new(FindingKind::Config, "", error.to_string()));
        }
    }
    // What the schema refuses already would only be said twice.
    if findings.errors.is_empty() {
        let report = handler.check_config(config);
        let is_known = |note: &FieldNote| !named.contains(&note.pointer);
        findings.errors.extend(report.errors.into_iter().filter(is_known).map(config_finding));
        findings.warnings.extend(report.warnings.into_iter().filter(is_known));
        let plain = secrets::plain_places(&handler.descriptor().config_schema, config);
        findings.warnings.extend(plain.into_iter().map(|pointer| FieldNote::new(pointer, PLAIN)));
    }
    findings
}

/// What is said of a secret that is part of the definition.
const PLAIN: &str = "this secret is stored in plain text with the definition; store it with `actions secret put NAME` and write {{ secrets.NAME }} here";

/// Finds the places that name secrets, and what is wrong with them.
fn check_secrets(
    handler: &dyn Handler,
    config: &Value,
    findings: &mut Findings,
) -> BTreeSet<String> {
    let keeps = handler.descriptor().capabilities.contains(&KEEPS_CONFIG);
    let mut named = BTreeSet::new();
    for (pointer, found) in references(config) {
        if keeps {
            let note = FieldNote::new(&pointer, keeps_config(handler.descriptor()));
            findings.errors.push(config_finding(note));
        } else if let Err(error) = found {
            findings.errors.push(config_finding(FieldNote::new(&pointer, error.to_string())));
        }
        named.insert(pointer);
    }
    named
}

/// Whether a schema says that something else than a text is expected.
fn is_of_type(message: &str) -> bool {
    message.contains("not of type")
}

fn config_finding(note: FieldNote) -> Finding {
    Finding::new(FindingKind::Config, note.pointer, note.message)
}

fn check_match(
    app: &App,
    pattern: Option<&Pattern>,
    condition: &Condition,
    pattern_place: &str,
    condition_place: &str,
) -> Option<Finding> {
    Some(match app.ports.matchers.check(pattern, condition).err()? {
        MatchError::Pattern { message } => {
            Finding::new(FindingKind::Pattern, pattern_place, message)
        }
        MatchError::Condition { message, pointer, line, column } => Finding {
            line,
            column,
            ..Finding::new(FindingKind::Condition, format!("{condition_place}{pointer}"), message)
        },
    })
}

fn doubtful_patterns(tenant: TenantId, patterns: &[Pattern]) -> Vec<FieldNote> {
    let mut notes = Vec::new();
    for warning in warnings(patterns) {
        let about = match &warning {
            // The platform may ask for its own events.
            PatternWarning::Reserved { .. } if tenant == TenantId::ADMIN => continue,
            PatternWarning::Broad { pattern }
            | PatternWarning::Reserved { pattern, .. }
            | PatternWarning::Never { pattern } => patterns.iter().position(|one| one == pattern),
            PatternWarning::Duplicate { pattern } => {
                patterns.iter().rposition(|one| one == pattern)
            }
            PatternWarning::OneDomain { .. } => None,
        };
        let place = match about {
            Some(index) => format!("/event_patterns/{index}"),
            None => "/event_patterns".to_owned(),
        };
        notes.push(FieldNote::new(place, warning.to_string()));
    }
    notes
}

fn doubtful_type(handler: &dyn Handler, action_type: ActionType) -> Option<FieldNote> {
    let descriptor = handler.descriptor();
    let fits = action_type == ActionType::Custom
        || descriptor.action_types.is_empty()
        || descriptor.action_types.contains(&action_type);
    (!fits).then(|| {
        let message = format!("{} is not made for this type of action", descriptor.id);
        FieldNote::new("/action_type", message)
    })
}
