//! Which affinity key an execution takes, and what it is counted by.

use std::sync::Arc;
use std::time::Duration;

use actions_domain::action::{Action, Batch, Unique};
use actions_domain::event::Event;
use actions_domain::gathering::Gathering;
use actions_domain::id::SubscriptionId;
use actions_domain::json::Json;
use actions_domain::limits::{KEY_TOKEN_BYTES_MAX, KEY_TOKENS_MAX};
use actions_domain::terms::{Claim, Conflict, Terms};
use actions_domain::work::{Key, KeyMode};
use serde_json::Value;

use crate::commands::submit_event::hash_texts;

/// The key of an execution of `action` for `event`: the action's own affinity; else what leads it
/// to where its keys are counted; else the event's partition key, per action; else, for an action
/// that runs one at a time, the action.
///
/// A value that the event lacks becomes `-`, so that events without it are kept in order among
/// themselves instead of not at all.
pub(crate) fn key_for(action: &Action, event: &Event, data: &Value) -> Option<Key> {
    if let Some(affinity) = &action.spec.affinity {
        return Some(named(&rendered(&affinity.key, data), affinity.mode));
    }
    if action.spec.counts_keys() {
        return key_counted(action, data);
    }
    // What gathers for the action is not kept apart by something else.
    if let Some(partition_key) = &event.attributes.partition_key
        && action.spec.batch.is_none()
    {
        let name = format!("partition-{}:{}", action.id, token(partition_key));
        return Some(named(&name, KeyMode::Mutate));
    }
    key_alone(action)
}

/// The key of a job: as for an event whose data is the job's input.
pub(crate) fn key_for_job(action: &Action, input: &Json) -> Option<Key> {
    match &action.spec.affinity {
        Some(affinity) => Some(named(&rendered(&affinity.key, &input.to_value()), affinity.mode)),
        None if action.spec.counts_keys() => key_counted(action, &input.to_value()),
        None => key_alone(action),
    }
}

/// What an execution claims to be the only one for.
fn claim_of(action: &Action, data: &Value) -> Option<Claim> {
    let hashed = |key| {
        let action = action.id.to_string();
        hash_texts(&["claim", &action, &rendered(key, data)])
    };
    if let Some(Unique { key, period_seconds, until, on_conflict }) = &action.spec.unique {
        return Some(Claim {
            key: hashed(key),
            until_finished: until.is_some() || period_seconds.is_none(),
            period: period_seconds.map(|period| Duration::from_secs(period.into())),
            on_conflict: *on_conflict,
            waits: false,
            max_wait: None,
        });
    }
    let debounce = action.spec.debounce.as_ref()?;
    Some(Claim {
        key: hashed(&debounce.key),
        until_finished: true,
        period: None,
        on_conflict: Conflict::Replace,
        waits: true,
        max_wait: debounce.max_wait_seconds.map(|wait| Duration::from_secs(wait.into())),
    })
}

/// How long an execution waits before it starts: what was asked for, or longer, so that a newer one
/// can take its place or join it.
pub(crate) fn delay_of(action: &Action, asked: Option<Duration>) -> Option<Duration> {
    let asked = asked.filter(|delay| !delay.is_zero());
    if let Some(batch) = &action.spec.batch {
        return asked.or_else(|| Some(batch.max_wait()));
    }
    let wait = action.spec.debounce.as_ref();
    let wait = wait.map(|debounce| Duration::from_secs(debounce.wait_seconds.into()));
    asked.max(wait).filter(|delay| !delay.is_zero())
}

/// What an execution is accepted as.
pub(crate) struct Accepted<'a> {
    pub(crate) action: &'a Action,
    pub(crate) subscription: Option<SubscriptionId>,
    pub(crate) key: Option<&'a Key>,
    /// When it was asked for later.
    pub(crate) asked: Option<Duration>,
    pub(crate) depth: u8,
    pub(crate) data: &'a Value,
}

impl Accepted<'_> {
    pub(crate) fn terms(&self) -> Option<Arc<Terms>> {
        let terms = terms_of(self.action, self.subscription, self.data);
        let Some(gathering) = self.gathering(terms.as_deref()) else { return terms };
        let terms = terms.as_deref().cloned().unwrap_or_default();
        Terms { gathering: Some(gathering), ..terms }.unless_empty()
    }

    /// Those gather that one execution can stand for: they are done in the same way, wait for the
    /// same keys, and are as far from what began it. What was asked for later runs by itself.
    fn gathering(&self, terms: Option<&Terms>) -> Option<Gathering> {
        let Batch { key, max_size, .. } = self.action.spec.batch.as_ref()?;
        if self.asked.is_some_and(|delay| !delay.is_zero()) {
            return None;
        }
        let text = |text: Option<&Arc<str>>| text.map_or_else(String::new, ToString::to_string);
        let hashed = hash_texts(&[
            "batch",
            &self.action.id.to_string(),
            &self.action.version.to_string(),
            &self.depth.to_string(),
            &self.subscription.map_or_else(String::new, |id| id.to_string()),
            &text(self.key.map(|key| &key.name)),
            &text(terms.and_then(|terms| terms.concurrency_key.as_ref())),
            &text(terms.and_then(|terms| terms.throttle_key.as_ref())),
            &key.as_ref().map_or_else(String::new, |key| rendered(key, self.data)),
        ]);
        Some(Gathering { key: Some(hashed), size_max: *max_size })
    }
}

/// The key that leads all executions that are counted together to one owner. It excludes nobody:
/// nothing but readers has it.
fn key_counted(action: &Action, data: &Value) -> Option<Key> {
    let concurrency = action.spec.concurrency.as_ref().map(|known| &known.key);
    let template = concurrency.or_else(|| action.spec.throttle.as_ref().map(|known| &known.key))?;
    key_alone(action).or_else(|| {
        let counted = named(&rendered(template, data), KeyMode::Read);
        let name = format!("counted-{}:{}", action.id, token(counted.root()));
        Some(named(&name, KeyMode::Read))
    })
}

/// Whether the data are needed to tell the key or the terms of an execution.
pub(crate) fn wants_data(action: &Action) -> bool {
    let spec = &action.spec;
    let claims = spec.unique.is_some() || spec.debounce.is_some();
    let gathers = spec.batch.as_ref().is_some_and(|batch| batch.key.is_some());
    spec.affinity.is_some() || spec.counts_keys() || claims || gathers
}

/// What an execution is counted by beside its tenant and its action.
pub(crate) fn terms_of(
    action: &Action,
    subscription: Option<SubscriptionId>,
    data: &Value,
) -> Option<Arc<Terms>> {
    let name = |key: &String| named(&rendered(key, data), KeyMode::Read).name;
    let terms = Terms {
        subscription,
        concurrency_key: action.spec.concurrency.as_ref().map(|known| name(&known.key)),
        throttle_key: action.spec.throttle.as_ref().map(|known| name(&known.key)),
        gathering: None,
        step: None,
        claim: claim_of(action, data),
        superseded_by: None,
    };
    terms.unless_empty()
}

/// The key that makes `max_concurrent_executions = 1` exact over all nodes.
pub(crate) fn key_alone(action: &Action) -> Option<Key> {
    let is_alone = action.spec.max_concurrent_executions == Some(1);
    is_alone.then(|| named(&format!("action:{}", action.id), KeyMode::Mutate))
}

/// The key with this name, whatever it is: work that asked for a key never runs without one.
///
/// A long token is cut, and ends with a hash of all of it. That is done token by token and always
/// the same way, so that long keys keep their places in the hierarchy.
pub(crate) fn named(name: &str, mode: KeyMode) -> Key {
    let mut tokens: Vec<String> = name.split(':').map(fitted).collect();
    if tokens.len() > KEY_TOKENS_MAX {
        // Only a template of before the limit: the end of the hierarchy becomes one token.
        let rest = tokens.split_off(KEY_TOKENS_MAX - 1);
        tokens.push(format!("~{}", digest(&rest.join(":"))));
    }
    if tokens.len() == 1 {
        tokens.insert(0, "key".to_owned());
    }
    Key { name: tokens.join(":").into(), mode }
}

fn fitted(token: &str) -> String {
    if token.len() <= KEY_TOKEN_BYTES_MAX {
        return if token.is_empty() { "-".to_owned() } else { token.to_owned() };
    }
    let digest = digest(token);
    let kept = token.floor_char_boundary(KEY_TOKEN_BYTES_MAX - digest.len() - 1);
    format!("{}~{digest}", &token[..kept])
}

/// 64 bits: a collision makes two events wait for each other, which is safe.
fn digest(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
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

/// A value as one token of a key.
fn token(value: &str) -> String {
    if value.is_empty() {
        return "-".to_owned();
    }
    value.chars().map(|c| if c == ':' || c.is_control() { '_' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use actions_domain::limits::KEY_BYTES_MAX;
    use actions_domain::work::{Key, KeyMode};

    use super::{named, rendered};

    #[test]
    fn values_become_tokens() {
        let data = json!({ "order": { "id": 9, "name": "a:b" }, "none": null, "list": ["x"] });
        assert_eq!(rendered("order:{data.order.id}", &data), "order:9");
        assert_eq!(rendered("order:{order.id}:{data.order.name}", &data), "order:9:a_b");
        assert_eq!(rendered("order:{data.none}:{data.gone}", &data), "order:-:-");
        assert_eq!(rendered("order:{event.data.list.0}", &data), "order:x");
        assert_eq!(rendered("order:{open", &data), "order:{open");
    }

    #[test]
    fn a_long_value_makes_a_key_of_its_own() {
        let key = |name: &str| named(name, KeyMode::Mutate).name.to_string();
        let (one, other) = ("ä".repeat(60) + "1", "ä".repeat(60) + "2");
        assert_eq!(key(&format!("order:{one}")), key(&format!("order:{one}")));
        assert_ne!(key(&format!("order:{one}")), key(&format!("order:{other}")));
        assert!(key(&format!("order:{one}:line")).starts_with(&key(&format!("order:{one}"))));
        assert_eq!(key("order:9"), "order:9");
    }

    #[test]
    fn whatever_the_values_are_there_is_a_valid_key() {
        let long = "x".repeat(5_000);
        let many = vec![long.as_str(); 200].join(":");
        for name in [long.as_str(), &many, "", ":", "a:", &format!("{long}:{long}")] {
            let key = named(name, KeyMode::Mutate);
            assert!(key.name.len() <= KEY_BYTES_MAX, "{}", key.name);
            assert_eq!(Key::parse(&key.name, KeyMode::Mutate), Ok(key));
        }
    }
}
