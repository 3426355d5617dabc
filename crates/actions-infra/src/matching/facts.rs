//! What conditions know of one event. Everything is worked out once, and only when asked for.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use actions_domain::event::Event;
use actions_domain::matching::condition::Facts;
use actions_domain::tenant::Tenant;
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelTimestamp,
    CelUInt,
};
use cel::common::value::Val;
use cel::{Context, Env};
use serde_json::Value;

type CelValue = Box<dyn Val>;

/// An event as conditions see it.
pub(super) struct EventFacts<'e> {
    event: &'e Event,
    tenant: &'e Tenant,
    env: &'e Arc<Env>,
    data: OnceCell<Value>,
    scope: OnceCell<Context<'static, 'static>>,
    longest: OnceCell<usize>,
}

impl Facts for EventFacts<'_> {
    fn data(&self) -> &Value {
        self.data.get_or_init(|| self.event.data.to_value())
    }
}

impl<'e> EventFacts<'e> {
    pub(super) fn new(event: &'e Event, tenant: &'e Tenant, env: &'e Arc<Env>) -> Self {
        Self {
            event,
            tenant,
            env,
            data: OnceCell::new(),
            scope: OnceCell::new(),
            longest: OnceCell::new(),
        }
    }

    /// The variables of CEL: `event` and `tenant`.
    pub(super) fn scope(&self) -> &Context<'static, 'static> {
        self.scope.get_or_init(|| {
            let mut scope = Context::with_env(Arc::clone(self.env));
            scope.add_variable_as_val("event", self.event_value());
            scope.add_variable_as_val("tenant", self.tenant_value());
            scope
        })
    }

    /// About the bytes of what a sender chose: data, metadata and extensions.
    pub(super) fn bytes(&self) -> usize {
        let about = &self.event.attributes;
        let metadata = about.metadata.as_ref().map_or(0, |metadata| metadata.as_str().len());
        let extensions = about.extensions.iter();
        let extensions: usize = extensions.map(|(name, value)| name.len() + bytes(value)).sum();
        self.event.data.as_str().len() + metadata + extensions
    }

    /// Members of the longest list or object of these, at least 1.
    pub(super) fn longest_collection(&self) -> usize {
        *self.longest.get_or_init(|| {
            let about = &self.event.attributes;
            let metadata = about.metadata.as_ref().map(|metadata| metadata.to_value());
            let extensions = about.extensions.values().map(longest_collection).max();
            longest_collection(self.data())
                .max(metadata.as_ref().map_or(0, longest_collection))
                .max(extensions.unwrap_or(0))
                .max(about.extensions.len())
                .max(1)
        })
    }

    fn event_value(&self) -> CelValue {
        let event = self.event;
        let about = &event.attributes;
        let time = about.time.unwrap_or(event.accepted_at);
        let mut members = Members::default();
        members.text("id", Some(&event.id));
        members.text("type", Some(&event.event_type));
        members.text("event_type", Some(&event.event_type));
        members.text("source", Some(&event.source));
        members.text("external_id", event.external_id.as_ref());
        members.text("subject", about.subject.as_ref());
        members.text("tenant_id", about.tenant_id.as_ref());
        members.text("organization_id", about.organization_id.as_ref());
        members.text("user_id", about.user_id.as_ref());
        members.text("source_service", about.source_service.as_ref());
        members.text("source_version", about.source_version.as_ref());
        members.text("aggregate_id", about.aggregate_id.as_ref());
        members.text("aggregate_type", about.aggregate_type.as_ref());
        members.text("correlation_id", about.correlation_id.as_ref());
        members.text("causation_id", about.causation_id.as_ref());
        members.text("partition_key", about.partition_key.as_ref());
        members.value("time", Box::new(CelTimestamp::from(time.fixed_offset())));
        members.value("data", cel_value(self.data()));
        if let Some(metadata) = &about.metadata {
            members.value("metadata", cel_value(&metadata.to_value()));
        }
        if !about.extensions.is_empty() {
            members.value("extensions", cel_map(&about.extensions));
        }
        members.done()
    }

    fn tenant_value(&self) -> CelValue {
        let mut members = Members::default();
        members.text("id", Some(&self.tenant.uuid));
        members.text("slug", Some(&self.tenant.slug));
        members.text("name", Some(&self.tenant.name));
        members.done()
    }
}

#[derive(Default)]
struct Members(HashMap<CelMapKey<'static>, CelValue>);

impl Members {
    fn value(&mut self, name: &'static str, value: CelValue) {
        self.0.insert(CelMapKey::from(name), value);
    }

    fn text(&mut self, name: &'static str, text: Option<&impl ToString>) {
        if let Some(text) = text {
            self.value(name, Box::new(CelString::from(text.to_string())));
        }
    }

    fn done(self) -> CelValue {
        Box::new(CelMap::from(self.0))
    }
}

/// Turns JSON into CEL. Whole numbers become `int` where they fit, as literals are, so that
/// arithmetic between both is possible.
pub(super) fn cel_value(value: &Value) -> CelValue {
    match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(flag) => Box::new(CelBool::from(*flag)),
        Value::Number(number) => {
            if let Some(whole) = number.as_i64() {
                Box::new(CelInt::from(whole))
            } else if let Some(whole) = number.as_u64() {
                Box::new(CelUInt::from(whole))
            } else {
                Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN)))
            }
        }
        Value::String(text) => Box::new(CelString::from(text.clone())),
        Value::Array(items) => {
            Box::new(CelList::from(items.iter().map(cel_value).collect::<Vec<_>>()))
        }
        Value::Object(members) => cel_map(members),
    }
}

fn cel_map(members: &serde_json::Map<String, Value>) -> CelValue {
    let members =
        members.iter().map(|(name, value)| (CelMapKey::from(name.clone()), cel_value(value)));
    Box::new(CelMap::from(members.collect::<HashMap<_, _>>()))
}

pub(super) fn bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 4,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(bytes).sum(),
        Value::Object(members) => members.iter().map(|(name, item)| name.len() + bytes(item)).sum(),
    }
}

pub(super) fn longest_collection(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        Value::Array(items) => {
            items.iter().map(longest_collection).max().unwrap_or(0).max(items.len())
        }
        Value::Object(members) => {
            members.values().map(longest_collection).max().unwrap_or(0).max(members.len())
        }
    }
}
