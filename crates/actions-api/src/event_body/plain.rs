//! The plain form: `{"type": "users.created", "data": {…}}`, and what may stand beside.

use std::time::Duration;

use actions_app::commands::submit_event::NewEvent;
use actions_app::durations::parse_duration;
use actions_domain::Timestamp;
use actions_domain::execution::Priority;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Reader, broken, check_pause, event_type, unknown, value, with_type};
use crate::members::Members;
use crate::problem::Problem;

impl Reader {
    pub(super) fn plain(&self, mut members: Members<'_>) -> Result<NewEvent, Problem> {
        let Some(raw_type) = members.take("type") else {
            return Err(broken("/type", "an event needs a type, like users.created"));
        };
        let mut event = with_type(event_type(&value::<String>("type", raw_type)?)?);
        event.delay = self.delay;
        for (name, raw) in members.0 {
            self.member(&mut event, &name, raw)?;
        }
        Ok(event)
    }

    fn member(&self, event: &mut NewEvent, name: &str, raw: &RawValue) -> Result<(), Problem> {
        let attributes = &mut event.attributes;
        match name {
            "data" => event.data = value(name, raw)?,
            "source" => event.source = Some(filled(name, raw)?),
            "id" => event.external_id = Some(filled(name, raw)?),
            "subject" => attributes.subject = Some(value(name, raw)?),
            "time" => attributes.time = Some(value(name, raw)?),
            "priority" => attributes.priority = Some(priority(raw)?),
            "partition_key" | "partitionkey" => {
                attributes.partition_key = Some(filled(name, raw)?);
            }
            "data_schema" | "dataschema" => attributes.data_schema = Some(value(name, raw)?),
            "correlation_id" => attributes.correlation_id = Some(value(name, raw)?),
            "causation_id" => attributes.causation_id = Some(value(name, raw)?),
            "aggregate_id" => attributes.aggregate_id = Some(value(name, raw)?),
            "aggregate_type" => attributes.aggregate_type = Some(value(name, raw)?),
            "event_version" => attributes.event_version = Some(value(name, raw)?),
            "tenant_id" => attributes.tenant_id = Some(value(name, raw)?),
            "organization_id" => attributes.organization_id = Some(value(name, raw)?),
            "user_id" => attributes.user_id = Some(value(name, raw)?),
            "source_service" => attributes.source_service = Some(value(name, raw)?),
            "source_version" => attributes.source_version = Some(value(name, raw)?),
            "metadata" => attributes.metadata = Some(value(name, raw)?),
            "traceparent" => attributes.traceparent = Some(value(name, raw)?),
            "tracestate" => attributes.tracestate = Some(value(name, raw)?),
            "delay" => event.delay = Some(delay(raw)?),
            "delay_ms" => {
                let pause = Duration::from_millis(value(name, raw)?);
                event.delay = Some(check_pause(name, pause)?);
            }
            "run_at" => {
                event.delay = Some(self.pause_until(value::<Timestamp>(name, raw)?)?);
            }
            "tenant" => self.check_tenant(&value::<String>(name, raw)?)?,
            _ => return Err(unknown(name)),
        }
        Ok(())
    }
}

fn filled(name: &str, raw: &RawValue) -> Result<String, Problem> {
    let text: String = value(name, raw)?;
    if text.is_empty() {
        return Err(broken(&format!("/{name}"), format!("{name} is empty")));
    }
    Ok(text)
}

fn delay(raw: &RawValue) -> Result<Duration, Problem> {
    let text: String = value("delay", raw)?;
    let pause = parse_duration(&text).map_err(|error| broken("/delay", error.to_string()))?;
    check_pause("delay", pause)
}

/// A word, or the founding number 0 to 1000.
pub(super) fn priority(raw: &RawValue) -> Result<Priority, Problem> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum WordOrNumber {
        Word(Priority),
        Number(u16),
    }
    let found = match serde_json::from_str(raw.get()) {
        Ok(WordOrNumber::Word(priority)) => Some(priority),
        Ok(WordOrNumber::Number(number)) => Priority::from_number(number),
        Err(_) => None,
    };
    found.ok_or_else(|| {
        let message = "expected low, normal, high, very_high, critical, or a number from 0 to 1000";
        broken("/priority", message)
    })
}
