//! How the items of a map are begun and brought together.

use std::collections::BTreeMap;

use serde_json::Value;

use super::starts::Attempt;
use super::{Command, Decider};
use crate::execution::Fault;
use crate::flow::fault::FlowFault;
use crate::flow::graph::{Map, StepName};
use crate::flow::journal::{CallId, Completed, Place, What};
use crate::flow::run::Phase;
use crate::json::Json;
use crate::limits::{MAP_ITEMS_MAX, RUN_BYTES_MAX};

impl Decider<'_> {
    /// Finds the items of a map and begins the first of them.
    pub(super) fn expand(&mut self, name: &StepName, map: &Map) {
        match self.items(name, map) {
            Ok(items) => {
                self.note(What::MapExpanded { step: name.clone(), items });
                self.tend_map(name);
            }
            Err(fault) => self.fail(Place::step(name), None, fault.into()),
        }
    }

    fn items(&self, name: &StepName, map: &Map) -> Result<Vec<Json>, FlowFault> {
        let step = || name.clone();
        let filled = self.with.fill(&map.items, &self.scope()).map_err(|why| {
            FlowFault::Expression { step: step(), what: "the list of items", why }
        })?;
        let Value::Array(items) = filled.to_value() else {
            return Err(FlowFault::NoList { step: step(), given: kind(&filled.to_value()) });
        };
        if items.len() > MAP_ITEMS_MAX {
            return Err(FlowFault::Items { step: step(), given: items.len() });
        }
        let bytes = u64::try_from(filled.as_str().len()).unwrap_or(u64::MAX);
        if self.run.bytes().saturating_add(bytes) > RUN_BYTES_MAX {
            return Err(FlowFault::Bytes { given: self.run.bytes().saturating_add(bytes) });
        }
        // The texts of the items, so that numbers keep every digit.
        filled
            .to::<Vec<Json>>()
            .map_err(|error| FlowFault::Item { step: step(), why: error.to_string() })
    }

    /// Begins as many items as there is room for. Ends the map when there is nothing left to do.
    pub(super) fn tend_map(&mut self, name: &StepName) {
        let flow = self.flow;
        let Some(step) = flow.step(name) else { return };
        let Some(map) = step.does.as_map() else { return };
        while self.may_start() && self.wants_item(name, map) && self.has_room() {
            let Some(mapping) = self.run.mapping(name) else { return };
            let place = Place::item(name, mapping.next);
            self.start_performed(Attempt::first(place), step);
        }
        self.close_map(name, map);
    }

    fn wants_item(&self, name: &StepName, map: &Map) -> bool {
        self.run.mapping(name).is_some_and(|mapping| {
            mapping.has_more()
                && mapping.failed <= map.failures_max
                && map.concurrency.is_none_or(|max| mapping.open < max)
        })
    }

    /// Ends a map of which no item is under way, when no other one is to come.
    fn close_map(&mut self, name: &StepName, map: &Map) {
        let Some(mapping) = self.run.mapping(name).filter(|mapping| mapping.open == 0) else {
            return;
        };
        let is_stopping = matches!(self.run.phase(), Phase::Stopping { .. });
        let place = Place::step(name);
        if mapping.failed > map.failures_max {
            let fault = mapping.fault.clone().unwrap_or_else(|| FlowFault::Cancelled.into());
            self.fail(place, None, fault);
        } else if mapping.is_through() {
            let (output, context) = (Json::null(), BTreeMap::new());
            self.note(What::StepCompleted(Completed { place, call: None, output, context }));
            self.ended.push_back(name.clone());
        } else if is_stopping {
            self.note(What::StepCancelled { place, call: None });
            self.ended.push_back(name.clone());
        }
    }

    /// An item failed. When that is one too many, the others are given up.
    pub(super) fn fail_item(&mut self, place: &Place, call: Option<CallId>, fault: Fault) {
        self.note_failed(place.clone(), call, fault);
        let Some(map) = self.flow.step(&place.step).and_then(|step| step.does.as_map()) else {
            return;
        };
        let failed = self.run.mapping(&place.step).map_or(0, |mapping| mapping.failed);
        if failed == map.failures_max.saturating_add(1) {
            let of_map: Vec<CallId> = (self.run.calls())
                .filter(|(_, call)| call.place.step == place.step)
                .map(|(id, _)| id)
                .collect();
            of_map.into_iter().for_each(|call| self.give_up(call));
        }
    }

    /// Tells whoever is at it that it is not needed, and forgets what nobody is at.
    pub(super) fn give_up(&mut self, id: CallId) {
        let Some(call) = self.run.call(id).cloned() else { return };
        if call.kind.is_performed() {
            return self.command(Command::Cancel { call: id });
        }
        if call.due_at.is_some() {
            self.command(Command::ClearTimer { call: id });
        }
        self.note(What::StepCancelled { place: call.place, call: Some(id) });
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
