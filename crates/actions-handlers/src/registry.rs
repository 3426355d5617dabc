//! Which handlers there are. An explicit value: two engines in one process may differ.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use actions_domain::action::HandlerId;
use actions_domain::ports::clock::Clock;
use actions_domain::ports::handler::Handler;
use actions_domain::ports::pull_queue::PullQueue;

use crate::egress::Egress;
use crate::email::sendgrid::SendGridEmail;
use crate::email::smtp::SmtpEmail;
use crate::email::template::TemplateEmail;
use crate::functions::Functions;
use crate::functions::handlers::{FunctionCall, JobRun};
use crate::http_call::HttpCall;
use crate::monitoring::{HealthCheck, MonitoringAlert};
use crate::records::{AuditLog, NotificationInbox};
use crate::slack::SlackMessage;
use crate::sms::aws_sns::SnsSms;
use crate::sms::twilio::TwilioSms;
use crate::teams::TeamsMessage;
use crate::webhook::http::HttpWebhook;
use crate::webhook::retry::RetryWebhook;
use crate::webhook::signed::SignedWebhook;
use crate::worker::WorkerPull;

/// Handlers by their ids and founding class names.
#[derive(Clone, Default)]
pub struct Registry {
    by_id: BTreeMap<&'static str, Arc<dyn Handler>>,
    by_alias: HashMap<&'static str, &'static str>,
}

/// Two handlers with one name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is a handler {name} already")]
pub struct HandlerTaken {
    name: &'static str,
}

impl Registry {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a handler under its id and aliases.
    ///
    /// # Errors
    /// When any of its names is taken. Nothing is added then.
    pub fn register(&mut self, handler: Arc<dyn Handler>) -> Result<(), HandlerTaken> {
        let (id, aliases) = (handler.descriptor().id, handler.descriptor().aliases);
        let is_taken =
            |name: &str| self.by_id.contains_key(name) || self.by_alias.contains_key(name);
        if let Some(name) = std::iter::once(&id).chain(aliases).find(|name| is_taken(name)) {
            return Err(HandlerTaken { name });
        }
        self.by_id.insert(id, handler);
        self.by_alias.extend(aliases.iter().map(|alias| (*alias, id)));
        Ok(())
    }

    /// Finds a handler by its id, or by a founding class name with or without its path.
    pub fn find(&self, id: &HandlerId) -> Option<Arc<dyn Handler>> {
        let name = id.as_str();
        let class = name.rsplit('.').next().unwrap_or(name);
        let by_alias = || self.by_alias.get(name).or_else(|| self.by_alias.get(class));
        let found = self.by_id.get(name).or_else(|| self.by_id.get(by_alias()?));
        found.cloned()
    }

    pub fn is_installed(&self, id: &HandlerId) -> bool {
        self.find(id).is_some()
    }

    /// All handlers, by id.
    pub fn list(&self) -> impl Iterator<Item = &Arc<dyn Handler>> {
        self.by_id.values()
    }
}

/// The handlers that come with the engine.
pub fn builtin(
    egress: &Egress,
    functions: &Functions,
    pull_queue: &Arc<dyn PullQueue>,
    clock: &Arc<dyn Clock>,
) -> Registry {
    let handlers: Vec<Arc<dyn Handler>> = vec![
        Arc::new(HttpWebhook::new(egress.clone())),
        Arc::new(SignedWebhook::new(egress.clone())),
        Arc::new(RetryWebhook::new(egress.clone(), clock.clone())),
        Arc::new(HttpCall::new(egress.clone())),
        Arc::new(SmtpEmail::new(egress.clone())),
        Arc::new(TemplateEmail::new(egress.clone())),
        Arc::new(SendGridEmail::new(egress.clone())),
        Arc::new(TwilioSms::new(egress.clone())),
        Arc::new(SnsSms::new(egress.clone())),
        Arc::new(SlackMessage::new(egress.clone())),
        Arc::new(TeamsMessage::new(egress.clone())),
        Arc::new(MonitoringAlert::new(egress.clone())),
        Arc::new(HealthCheck::new(egress.clone())),
        Arc::new(NotificationInbox::default()),
        Arc::new(AuditLog::default()),
        Arc::new(FunctionCall::new(functions.clone())),
        Arc::new(JobRun::new(functions.clone())),
        Arc::new(WorkerPull::new(pull_queue.clone(), clock.clone())),
    ];
    let mut registry = Registry::new();
    for handler in handlers {
        registry.register(handler).expect("built-in handlers have different names");
    }
    registry
}
