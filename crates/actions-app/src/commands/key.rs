//! Which affinity key an execution takes.

use actions_domain::action::Action;
use actions_domain::event::Event;
use actions_domain::json::Json;
use actions_domain::work::{Key, KeyMode};
use serde_json::Value;

/// The key of an execution of `action` for `event`: the action's own affinity; else the
/// event's partition key, per action; else, for an action that runs one at a time, the action.
///
/// A value that the event lacks becomes `-`, so that events without it are kept in order among
/// themselves instead of not at all.
pub(crate) fn key_for(action: &Action, event: &Event, data: &Value) -> Option<Key> {
    if let Some(affinity) = &action.spec.affinity {
        return Key::parse(&rendered(&affinity.key, data), affinity.mode).ok();
    }
    if let Some(partition_key) = &event.attributes.partition_key {
        let name = format!("partition-{}:{}", action.id, token(partition_key));
        return Key::parse(&name, KeyMode::Mutate).ok();
    }
    key_alone(action)
}

/// The key of a job: as for an event whose data is the job's input.
pub(crate) fn key_for_job(action: &Action, input: &Json) -> Option<Key> {
    match &action.spec.affinity {
        Some(affinity) => {
            Key::parse(&rendered(&affinity.key, &input.to_value()), affinity.mode).ok()
        }
        None => key_alone(action),
    }
}

/// The key that makes `max_concurrent_executions = 1` exact over all nodes.
pub(crate) fn key_alone(action: &Action) -> Option<Key> {
    let is_alone = action.spec.max_concurrent_executions == Some(1);
    is_alone.then(|| Key::parse(&format!("action:{}", action.id), KeyMode::Mutate).ok()).flatten()
}

fn rendered(template: &str, data: &Value) -> String {
    let mut name = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((path, tail)) = after.split_once('}') else { break };
        name.push_str(before);
        name.push_str(&token(&value_at(path, data)));
        rest = tail;
    }
    name.push_str(rest);
    name
}

/// `data.customer.id` in the event's data.
fn value_at(path: &str, data: &Value) -> String {
    let path = path.trim().trim_start_matches("event.");
    let path = path.strip_prefix("data.").unwrap_or(path);
    let found = path.split('.').try_fold(data, |value, word| match word.parse::<usize>() {
        Ok(index) if value.is_array() => value.get(index),
        Ok(_) | Err(_) => value.get(word),
    });
    match found {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    }
}

/// A value as one token of a key. Long values are cut: their events share a key, which is safe.
fn token(value: &str) -> String {
    let value: String =
        value.chars().map(|c| if c == ':' || c.is_control() { '_' } else { c }).take(64).collect();
    if value.is_empty() { "-".to_owned() } else { value }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::rendered;

    #[test]
    fn values_become_tokens() {
        let data = json!({ "order": { "id": 9, "name": "a:b" }, "none": null, "list": ["x"] });
        assert_eq!(rendered("order:{data.order.id}", &data), "order:9");
        assert_eq!(rendered("order:{order.id}:{data.order.name}", &data), "order:9:a_b");
        assert_eq!(rendered("order:{data.none}:{data.gone}", &data), "order:-:-");
        assert_eq!(rendered("order:{event.data.list.0}", &data), "order:x");
        assert_eq!(rendered("order:{open", &data), "order:{open");
    }
}
