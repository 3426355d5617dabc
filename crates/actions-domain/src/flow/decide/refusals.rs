//! What a run cannot take as it is now.

use std::collections::BTreeMap;

use super::{Input, spent};
use crate::flow::checked::Flow;
use crate::flow::digest::FlowDigest;
use crate::flow::graph::StepName;
use crate::flow::run::{Phase, Run};
use crate::flow::told::Told;
use crate::json::Json;
use crate::limits::{
    EVENT_BYTES_MAX, FLOW_DEPTH_MAX, NAME_BYTES_MAX, REASON_BYTES_MAX, RUN_PAYLOAD_BYTES_MAX,
    RUN_SIGNALS_MAX,
};

/// Why an input was refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the run follows another version of its workflow")]
    OtherVersion,
    #[error("the run has started already")]
    AlreadyStarted,
    #[error("the run has not started")]
    NotStarted,
    #[error("cannot {what} a run that is {state}")]
    State { what: &'static str, state: &'static str },
    #[error("the run is paused already")]
    AlreadyPaused,
    #[error("the run is not paused")]
    NotPaused,
    #[error("there is no step {step}")]
    UnknownStep { step: StepName },
    #[error("workflows that start one another are at most {max} deep", max = FLOW_DEPTH_MAX)]
    Depth,
    #[error("the run has to be started with {key} in its context")]
    SeedMissing { key: String },
    #[error("{what} has {given} bytes, allowed are {max}; keep it elsewhere and pass a reference")]
    TooLarge { what: &'static str, given: usize, max: usize },
    #[error("a signal has a name of 1 to {max} bytes", max = NAME_BYTES_MAX)]
    SignalName,
    #[error("{max} signals wait for a step that takes them; more are refused", max = RUN_SIGNALS_MAX)]
    SignalsFull,
    #[error("the history of the run is full: it has {entries} entries and {bytes} bytes")]
    HistoryFull { entries: u32, bytes: u64 },
    #[error("the run cannot go on: {why}")]
    Parked { why: String },
    #[error("a run of code has no steps to begin again from; start a new one")]
    OfCode,
}

impl Refusal {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherVersion => "run.other_version",
            Self::AlreadyStarted => "run.already_started",
            Self::NotStarted => "run.not_started",
            Self::State { .. } => "run.state",
            Self::AlreadyPaused => "run.already_paused",
            Self::NotPaused => "run.not_paused",
            Self::UnknownStep { .. } => "run.unknown_step",
            Self::Depth => "run.depth",
            Self::SeedMissing { .. } => "run.seed_missing",
            Self::TooLarge { .. } => "run.too_large",
            Self::SignalName => "run.signal_name",
            Self::SignalsFull => "run.signals_full",
            Self::HistoryFull { .. } => "run.history_full",
            Self::Parked { .. } => "run.parked",
            Self::OfCode => "run.of_code",
        }
    }
}

pub(super) fn refuse(flow: &Flow, run: &Run, input: &Input) -> Result<(), Refusal> {
    refuse_any(flow.digest(), run, input)?;
    match input {
        Input::Start { context, .. } => {
            let missing = flow.graph().seeds.iter().find(|key| !context.contains_key(*key));
            missing.map_or(Ok(()), |key| Err(Refusal::SeedMissing { key: key.clone() }))
        }
        Input::RetryFrom { step } if flow.step(step).is_none() => {
            Err(Refusal::UnknownStep { step: step.clone() })
        }
        Input::RetryFrom { .. }
        | Input::Ended { .. }
        | Input::TimerFired { .. }
        | Input::Signal { .. }
        | Input::Pause { .. }
        | Input::Resume
        | Input::Cancel { .. } => Ok(()),
    }
}

/// What no run takes, however far it is: names, reasons and payloads that do not fit.
///
/// # Errors
/// What does not fit.
pub fn check_words(told: &Told) -> Result<(), Refusal> {
    match told {
        Told::Signal { name, id, payload } => {
            refuse_signal(&Run::default(), name, id.as_deref(), payload)
        }
        Told::Pause { reason } | Told::Cancel { reason, .. } => reason_fits(reason.as_deref()),
        Told::Start { .. } | Told::Ended { .. } | Told::Resume | Told::RetryFrom { .. } => Ok(()),
    }
}

/// What no run can take, whatever it follows.
pub(in crate::flow) fn refuse_any(
    digest: FlowDigest,
    run: &Run,
    input: &Input,
) -> Result<(), Refusal> {
    if run.flow().is_some_and(|pinned| pinned != digest) {
        return Err(Refusal::OtherVersion);
    }
    let is_new = *run.phase() == Phase::New;
    let state = |what| Refusal::State { what, state: run.phase().word() };
    match input {
        Input::Start { .. } if !is_new => Err(Refusal::AlreadyStarted),
        Input::Start { depth, .. } if *depth > FLOW_DEPTH_MAX => Err(Refusal::Depth),
        Input::Start { input, context, .. } => refuse_start(input, context),
        // Answers are never refused: nobody could do anything about it.
        Input::Ended { .. } | Input::TimerFired { .. } => Ok(()),
        _ if is_new => Err(Refusal::NotStarted),
        Input::Signal { .. } if *run.phase() != Phase::Running => Err(state("signal")),
        Input::Signal { name, id, payload } => refuse_signal(run, name, id.as_deref(), payload),
        Input::Pause { .. } if run.phase().is_final() => Err(state("pause")),
        Input::Pause { .. } if run.is_paused() => Err(Refusal::AlreadyPaused),
        Input::Pause { reason } => {
            reason_fits(reason.as_deref())?;
            has_room(run)
        }
        Input::Resume if !run.is_paused() => Err(Refusal::NotPaused),
        Input::Resume => Ok(()),
        Input::Cancel { .. } if *run.phase() != Phase::Running => Err(state("cancel")),
        Input::Cancel { reason, .. } => reason_fits(reason.as_deref()),
        Input::RetryFrom { .. } => match run.phase() {
            Phase::Failed { .. } | Phase::Cancelled => has_room(run),
            Phase::New
            | Phase::Running
            | Phase::Stopping { .. }
            | Phase::Completed { .. }
            | Phase::Continued => Err(state("retry")),
        },
    }
}

fn refuse_start(input: &Json, context: &BTreeMap<String, Json>) -> Result<(), Refusal> {
    fits("the input", input, EVENT_BYTES_MAX)?;
    let given = context.iter().map(|(key, value)| key.len() + value.as_str().len()).sum();
    if given > EVENT_BYTES_MAX {
        return Err(Refusal::TooLarge { what: "the context", given, max: EVENT_BYTES_MAX });
    }
    Ok(())
}

fn refuse_signal(run: &Run, name: &str, id: Option<&str>, payload: &Json) -> Result<(), Refusal> {
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
        return Err(Refusal::SignalName);
    }
    let given = id.map_or(0, str::len);
    if given > NAME_BYTES_MAX {
        return Err(Refusal::TooLarge { what: "the id of a signal", given, max: NAME_BYTES_MAX });
    }
    fits("the signal", payload, RUN_PAYLOAD_BYTES_MAX)?;
    // One that is known already changes nothing, so it is not one too many.
    if id.is_some_and(|id| run.knows_signal(id)) {
        return Ok(());
    }
    if run.buffered_signals() >= RUN_SIGNALS_MAX {
        return Err(Refusal::SignalsFull);
    }
    has_room(run)
}

fn fits(what: &'static str, payload: &Json, max: usize) -> Result<(), Refusal> {
    let given = payload.as_str().len();
    if given > max { Err(Refusal::TooLarge { what, given, max }) } else { Ok(()) }
}

fn reason_fits(reason: Option<&str>) -> Result<(), Refusal> {
    let given = reason.map_or(0, str::len);
    if given > REASON_BYTES_MAX {
        return Err(Refusal::TooLarge { what: "the reason", given, max: REASON_BYTES_MAX });
    }
    Ok(())
}

fn has_room(run: &Run) -> Result<(), Refusal> {
    match spent(run) {
        Some(_) => Err(Refusal::HistoryFull { entries: run.entry_count(), bytes: run.bytes() }),
        None => Ok(()),
    }
}
