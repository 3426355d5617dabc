//! What a step does: one of nine things, each under its own name.

use serde_json::{Map, Value};

use super::reader::Reader;
use super::steps::{Turn, Way};
use crate::action::HandlerId;
use crate::flow::graph::{
    Body, Call, Child, Does, KeyTemplate, Map as Mapped, Needs, StepName, Target, Wait,
};
use crate::work::KeyMode;

/// Exactly one of them says what a step does.
const KINDS: [&str; 9] =
    ["handler", "action", "workflow", "wait", "wait_until", "signal", "approval", "choose", "gate"];
/// Most approvals of one step.
const APPROVALS_MAX: u32 = 20;

impl Reader<'_> {
    pub(super) fn does(
        &mut self,
        step: &Map<String, Value>,
        at: &str,
        name: Option<&StepName>,
    ) -> Option<(Does, Turn)> {
        let named: Vec<&str> = KINDS.into_iter().filter(|kind| step.contains_key(*kind)).collect();
        let [kind] = named.as_slice() else {
            let message = format!("name one of {}", KINDS.join(", "));
            self.wrong(at.to_owned(), "workflow.target", message);
            return None;
        };
        if step.contains_key("each") {
            return self.map(step, at).map(|map| (Does::Map(map), Turn::Nothing));
        }
        let does = match *kind {
            "handler" | "action" => Does::Action(self.call(step, at)?),
            "workflow" => Does::SubFlow(self.child(step, at)?),
            "wait" => {
                let millis = self.duration(step, at, "wait")?.as_millis();
                Does::Timer(Wait::ForMs(u64::try_from(millis).unwrap_or(u64::MAX)))
            }
            "wait_until" => {
                let template = self.text(step, at, "wait_until")?.to_owned();
                self.template(&step["wait_until"], &format!("{at}/wait_until"));
                Does::Timer(Wait::Until(template))
            }
            "signal" => Does::WaitSignal { signal: self.text(step, at, "signal")?.to_owned() },
            "gate" => Does::Gate { needs: self.needs(step, at)? },
            "choose" => return self.choice(step, at),
            _ => return self.approval(step, at, name),
        };
        Some((does, Turn::Nothing))
    }

    pub(super) fn call(&mut self, members: &Map<String, Value>, at: &str) -> Option<Call> {
        let config = members.get("config").cloned().unwrap_or_default();
        let (handler, action) =
            (self.text(members, at, "handler"), self.text(members, at, "action"));
        let input = self.input(members, at);
        let key = self.key(members, at);
        let target = match (handler, action) {
            (Some(raw), None) => match HandlerId::parse(raw) {
                Ok(id) => Some(Target::Handler { id, config }),
                Err(error) => {
                    let pointer = format!("{at}/handler");
                    self.wrong(pointer, "workflow.handler", error.to_string());
                    None
                }
            },
            (None, Some(_)) if !config.is_null() => {
                let message = "an action has its own config; leave it out, or name a handler";
                self.wrong(format!("{at}/config"), "workflow.config", message.to_owned());
                None
            }
            (None, Some(raw)) => self.action_name(raw, &format!("{at}/action")),
            (Some(_), Some(_)) | (None, None) => {
                let message = "name either a handler or an action".to_owned();
                self.wrong(at.to_owned(), "workflow.target", message);
                None
            }
        };
        Some(Call { target: target?, input, is_literal: false, key })
    }

    fn child(&mut self, members: &Map<String, Value>, at: &str) -> Option<Child> {
        let flow = self.text(members, at, "workflow")?.to_owned();
        Some(Child { flow, input: self.input(members, at) })
    }

    fn input(&mut self, members: &Map<String, Value>, at: &str) -> Value {
        let name = self.words.input;
        let input = members.get(name).cloned().unwrap_or_default();
        let pointer = format!("{at}/{name}");
        if input.is_null() || input.is_object() {
            self.template(&input, &pointer);
        } else {
            let message = format!("{name} is an object: names, and templates of their values");
            self.wrong(pointer, "workflow.type", message);
        }
        input
    }

    /// A text, or an object with it and a mode.
    fn key(&mut self, members: &Map<String, Value>, at: &str) -> Option<KeyTemplate> {
        let value = members.get("key")?;
        if let Some(text) = value.as_str() {
            return Some(KeyTemplate { text: text.to_owned(), mode: KeyMode::default() });
        }
        let key = serde_json::from_value(value.clone());
        key.map_err(|error| {
            let message =
                format!("key is a text such as order:{{input.id}}, or text and mode: {error}");
            self.wrong(format!("{at}/key"), "workflow.type", message);
        })
        .ok()
    }

    /// The same for each item of a list.
    fn map(&mut self, step: &Map<String, Value>, at: &str) -> Option<Mapped> {
        let items = step.get("each")?.clone();
        self.template(&items, &format!("{at}/each"));
        let concurrency = self.whole(step, at, "limit");
        let failures_max = self.whole(step, at, "failures_max").unwrap_or(0);
        let body = if step.contains_key("workflow") {
            Body::SubFlow(self.child(step, at)?)
        } else {
            Body::Action(self.call(step, at)?)
        };
        Some(Mapped { items, body, concurrency, failures_max })
    }

    fn needs(&mut self, step: &Map<String, Value>, at: &str) -> Option<Needs> {
        let value = step.get("gate")?;
        let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
        let needs = match (value.as_str(), count) {
            (Some("all"), _) => Some(Needs::All),
            (Some("any"), _) => Some(Needs::Any),
            (_, count) => count.map(Needs::Count),
        };
        if needs.is_none() {
            let message = format!("gate is all, any, or how many ways it needs, not {value}");
            self.wrong(format!("{at}/gate"), "workflow.type", message);
        }
        needs
    }

    /// Ways in the order in which they are tried: `- { if: …, then: step }`.
    fn choice(&mut self, step: &Map<String, Value>, at: &str) -> Option<(Does, Turn)> {
        let mut ways = Vec::new();
        for (index, value) in self.list(step, at, "choose").iter().enumerate() {
            let at = format!("{at}/choose/{index}");
            let Some(members) = self.members(value, &at, &["if", "then"]) else { continue };
            let guard = self.expression_of(members, &at, "if");
            let Some(to) = self.needed(members, &at, "then") else { continue };
            let Some((to, pointer)) = self.step_name(to, format!("{at}/then")) else { continue };
            ways.push(Way { to, guard, pointer });
        }
        let names = ways.iter().map(|way| way.to.clone()).collect();
        Some((Does::Choice { ways: names }, Turn::Choice(ways)))
    }

    /// The name of a signal, or an object with it, with how many have to approve, one after the
    /// other, and who comes otherwise.
    fn approval(
        &mut self,
        step: &Map<String, Value>,
        at: &str,
        name: Option<&StepName>,
    ) -> Option<(Does, Turn)> {
        let at = format!("{at}/approval");
        let own = || name.map(ToString::to_string).unwrap_or_default();
        let value = step.get("approval")?;
        if let Some(signal) = value.as_str() {
            let does = Does::WaitSignal { signal: signal.to_owned() };
            return Some((does, Turn::Approval { count: 1, otherwise: None }));
        }
        let members = self.members(value, &at, &["signal", "count", "otherwise"])?;
        let signal = self.text(members, &at, "signal").map_or_else(own, str::to_owned);
        let count = self.whole(members, &at, "count").unwrap_or(1);
        if !(1..=APPROVALS_MAX).contains(&count) {
            let message = format!("1 to {APPROVALS_MAX} approvals are waited for, not {count}");
            self.wrong(format!("{at}/count"), "workflow.approval", message);
        }
        let otherwise = members.get("otherwise");
        let otherwise = otherwise.and_then(|to| self.step_name(to, format!("{at}/otherwise")));
        Some((Does::WaitSignal { signal }, Turn::Approval { count, otherwise }))
    }
}
