//! Failures that a run finds by itself, before or beside the performing of a step.

use super::graph::StepName;
use crate::Timestamp;
use crate::execution::{ErrorClass, Fault};
use crate::limits::{
    FLOW_DEPTH_MAX, MAP_ITEMS_MAX, RUN_BYTES_MAX, RUN_ENTRIES_MAX, SCHEDULE_AHEAD_MAX,
};

/// Why a step or a run failed although nobody who was called said so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlowFault {
    #[error("{what} of step {step} cannot be evaluated: {why}")]
    Expression { step: StepName, what: &'static str, why: String },
    #[error("the output of the run cannot be made: {why}")]
    Output { why: String },
    #[error("step {step} needs {key} in the context, and {cause}")]
    ContextMissing { step: StepName, key: String, cause: String },
    #[error("step {step} was completed without {}, which it promised to put into the context", listed(.keys))]
    NotProduced { step: StepName, keys: Vec<String> },
    #[error("step {step} put {} into the context, which it did not declare", listed(.keys))]
    Undeclared { step: StepName, keys: Vec<String> },
    #[error("none of the ways of step {step} holds, and none is for all other cases")]
    NoChoice { step: StepName },
    #[error("step {step} waits until {given:?}, which is no instant like 2026-01-31T12:00:00Z")]
    NoInstant { step: StepName, given: String },
    #[error("step {step} waits until {until}, allowed are {max} days", max = SCHEDULE_AHEAD_MAX.as_secs() / 86_400)]
    TooFar { step: StepName, until: Timestamp },
    #[error("the items of step {step} are {given}, not a list")]
    NoList { step: StepName, given: &'static str },
    #[error("step {step} has {given} items, allowed are {max}", max = MAP_ITEMS_MAX)]
    Items { step: StepName, given: usize },
    #[error("an item of step {step} cannot be kept: {why}")]
    Item { step: StepName, why: String },
    #[error(
        "{what} of step {step} has {given} bytes, allowed are {max}; keep it elsewhere and pass a reference"
    )]
    Payload { step: StepName, what: &'static str, given: usize, max: usize },
    #[error("workflows that start one another are at most {max} deep", max = FLOW_DEPTH_MAX)]
    Depth,
    #[error("no signal {signal} came within {seconds} s")]
    SignalTimeout { signal: String, seconds: u32 },
    #[error("the workflow did not end within {seconds} s")]
    ChildTimeout { seconds: u32 },
    #[error("step {step} was done {rounds} times, and what it is repeated until does not hold")]
    Rounds { step: StepName, rounds: u32 },
    #[error("somebody cancelled it")]
    Cancelled,
    #[error("the run has {given} entries, allowed are {max}; split it into several workflows", max = RUN_ENTRIES_MAX)]
    Entries { given: u32 },
    #[error("the history of the run has {given} bytes, allowed are {max}; pass references instead of data", max = RUN_BYTES_MAX)]
    Bytes { given: u64 },
}

impl FlowFault {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Expression { .. } => "flow.expression",
            Self::Output { .. } => "flow.output",
            Self::ContextMissing { .. } => "context.missing",
            Self::NotProduced { .. } => "context.not_produced",
            Self::Undeclared { .. } => "context.undeclared",
            Self::NoChoice { .. } => "flow.no_choice",
            Self::NoInstant { .. } => "flow.no_instant",
            Self::TooFar { .. } => "flow.too_far",
            Self::NoList { .. } => "flow.no_list",
            Self::Items { .. } => "flow.too_many_items",
            Self::Item { .. } => "flow.item",
            Self::Payload { .. } => "flow.payload",
            Self::Depth => "flow.depth",
            Self::SignalTimeout { .. } => "flow.signal_timeout",
            Self::ChildTimeout { .. } => "flow.child_timeout",
            Self::Rounds { .. } => "flow.rounds",
            Self::Cancelled => "flow.cancelled",
            Self::Entries { .. } => "flow.entries",
            Self::Bytes { .. } => "flow.bytes",
        }
    }

    fn class(&self) -> ErrorClass {
        if matches!(self, Self::SignalTimeout { .. } | Self::ChildTimeout { .. }) {
            return ErrorClass::Timeout;
        }
        ErrorClass::HandlerError
    }
}

impl From<FlowFault> for Fault {
    fn from(fault: FlowFault) -> Self {
        Self::new(fault.class(), fault.code(), fault.to_string())
    }
}

fn listed(keys: &[String]) -> String {
    keys.join(", ")
}
