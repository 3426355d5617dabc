//! `CloudEvents` 1.0.2 in JSON.

use actions_app::commands::submit_event::NewEvent;
use actions_domain::Timestamp;
use actions_domain::limits::EXTENSION_NAME_BYTES_MAX;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::value::RawValue;

use super::plain::priority;
use super::{Reader, binary_data, broken, event_type, text_data, value, with_type};
use crate::body::is_json;
use crate::members::Members;
use crate::problem::Problem;

/// The version of the specification that we read.
const SPEC_VERSION: &str = "1.0";

impl Reader {
    pub(super) fn cloud_event(&self, mut members: Members<'_>) -> Result<NewEvent, Problem> {
        let spec_version = required(&mut members, "specversion")?;
        if spec_version != SPEC_VERSION {
            let message = format!("specversion is {spec_version:?}, known is {SPEC_VERSION:?}");
            return Err(broken("/specversion", message));
        }
        let mut event = with_type(event_type(&required(&mut members, "type")?)?);
        event.source = Some(required(&mut members, "source")?);
        event.external_id = Some(required(&mut members, "id")?);
        event.delay = self.delay;
        let content_type = members.take("datacontenttype").filter(|raw| raw.get() != "null");
        if let Some(raw) = content_type {
            event.attributes.content_type = Some(value("datacontenttype", raw)?);
        }
        self.data(&mut event, &mut members)?;
        for (name, raw) in members.0 {
            // An absent attribute may be written as null.
            if raw.get() != "null" {
                self.attribute(&mut event, &name, raw)?;
            }
        }
        Ok(event)
    }

    fn data(&self, event: &mut NewEvent, members: &mut Members<'_>) -> Result<(), Problem> {
        match (members.take("data"), members.take("data_base64")) {
            (Some(_), Some(_)) => {
                return Err(broken("/data_base64", "data and data_base64 exclude each other"));
            }
            (Some(data), None) => event.data = value("data", data)?,
            (None, Some(raw)) => {
                let base64: String = value("data_base64", raw)?;
                let bytes = STANDARD
                    .decode(&base64)
                    .map_err(|_| broken("/data_base64", "not base64 of the standard alphabet"))?;
                let media = event.attributes.content_type.as_deref();
                event.data = decoded(media, &bytes, &base64)?;
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// Sets an optional attribute or an extension.
    pub(super) fn attribute(
        &self,
        event: &mut NewEvent,
        name: &str,
        raw: &RawValue,
    ) -> Result<(), Problem> {
        let attributes = &mut event.attributes;
        match name {
            "time" => attributes.time = Some(value::<Timestamp>(name, raw)?),
            "subject" => attributes.subject = Some(value(name, raw)?),
            "dataschema" => attributes.data_schema = Some(value(name, raw)?),
            "partitionkey" => attributes.partition_key = Some(value(name, raw)?),
            "traceparent" => attributes.traceparent = Some(value(name, raw)?),
            "tracestate" => attributes.tracestate = Some(value(name, raw)?),
            "priority" => attributes.priority = Some(priority(raw)?),
            "correlationid" => attributes.correlation_id = Some(value(name, raw)?),
            "causationid" => attributes.causation_id = Some(value(name, raw)?),
            "userid" => attributes.user_id = Some(value(name, raw)?),
            "organizationid" => attributes.organization_id = Some(value(name, raw)?),
            "sourceservice" => attributes.source_service = Some(value(name, raw)?),
            "tenant" => self.check_tenant(&value::<String>(name, raw)?)?,
            _ => {
                check_extension(name)?;
                let extension: Value = value(name, raw)?;
                if extension.is_array() || extension.is_object() || extension.is_f64() {
                    let message = "an extension is a text, an integer or a boolean";
                    return Err(broken(&format!("/{name}"), message));
                }
                attributes.extensions.insert(name.to_owned(), extension);
            }
        }
        Ok(())
    }
}

/// What bytes with this content type mean as data.
pub(super) fn decoded(
    media: Option<&str>,
    bytes: &[u8],
    base64: &str,
) -> Result<actions_domain::json::Json, Problem> {
    let media =
        media.map(|media| media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let is_json = media.as_deref().is_none_or(is_json);
    match std::str::from_utf8(bytes) {
        Ok(text) if is_json => {
            let parsed = actions_domain::json::Json::parse(text);
            parsed.map_err(|error| broken("/data", error.to_string()))
        }
        Ok(text) if media.as_deref().is_some_and(|media| media.starts_with("text/")) => {
            text_data(text)
        }
        Err(_) if is_json => Err(broken("/data", "JSON data is not UTF-8")),
        _ => Ok(binary_data(base64)),
    }
}

fn required(members: &mut Members<'_>, name: &str) -> Result<String, Problem> {
    let Some(raw) = members.take(name) else {
        return Err(broken(&format!("/{name}"), format!("a CloudEvent needs {name}")));
    };
    let text: String = value(name, raw)?;
    if text.is_empty() {
        return Err(broken(&format!("/{name}"), format!("{name} is empty")));
    }
    Ok(text)
}

/// Extensions have names of lower-case letters and digits.
fn check_extension(name: &str) -> Result<(), Problem> {
    let is_valid = name.len() <= EXTENSION_NAME_BYTES_MAX
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if is_valid {
        return Ok(());
    }
    let pointer = format!("/{}", name.chars().take(EXTENSION_NAME_BYTES_MAX).collect::<String>());
    Err(broken(&pointer, "an extension's name has 1 to 64 letters a-z and digits"))
}
