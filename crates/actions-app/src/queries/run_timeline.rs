//! The life of a run as a person reads it: one line for each thing that happened.

use actions_domain::flow::journal::{
    Completed, Entry as Noted, Failed, Place, Scheduled, Skip, What,
};

use crate::queries::timeline::Entry;

/// Tells what happened to a run, oldest first.
pub fn run_timeline(entries: &[Noted]) -> Vec<Entry> {
    entries.iter().map(line).collect()
}

fn line(entry: &Noted) -> Entry {
    let (subject, text) = told(&entry.what);
    Entry { at: entry.at, subject, text }
}

fn told(what: &What) -> (String, String) {
    let run = |text: String| ("run".to_owned(), text);
    match what {
        What::RunStarted { depth, .. } if *depth > 0 => run(format!("started at depth {depth}")),
        What::RunStarted { .. } => run("started".to_owned()),
        What::StepScheduled(made) => (at(&made.place), begun("asked for", made)),
        What::ChildScheduled(made) => (at(&made.place), begun("started a workflow", made)),
        What::TimerCreated(made) => (at(&made.place), until("waits", made)),
        What::SignalAwaited(made) => (at(&made.place), until("waits for a signal", made)),
        What::CompensationScheduled(made) => (at(&made.place), begun("is undone", made)),
        What::StepCompleted(Completed { place, .. })
        | What::ChildCompleted(Completed { place, .. }) => (at(place), "completed".to_owned()),
        What::StepFailed(Failed { place, fault, .. })
        | What::ChildFailed(Failed { place, fault, .. }) => {
            (at(place), format!("failed: {}", fault.message))
        }
        What::StepRetryScheduled { place, attempt, fault, due_at, .. } => {
            (at(place), format!("{}; attempt {attempt} from {due_at}", fault.message))
        }
        What::StepRepeated { place, round, due_at, .. } => {
            (at(place), format!("is done again; round {round} from {due_at}"))
        }
        What::StepSkipped { step, why } => (step.to_string(), format!("skipped: {}", why_of(*why))),
        What::StepCancelled { place, .. } => (at(place), "given up".to_owned()),
        What::TimerFired { call } => (format!("timer {call}"), "fired".to_owned()),
        What::MapExpanded { step, items } => (step.to_string(), format!("{} items", items.len())),
        What::ChoiceMade { step, to } => (step.to_string(), format!("chose {to}")),
        What::WaysClosed { from, to } => {
            let names: Vec<&str> = to.iter().map(|to| to.as_str()).collect();
            (from.to_string(), format!("does not lead to {}", names.join(", ")))
        }
        What::SignalReceived { name, .. } => run(format!("was sent the signal {name}")),
        What::SignalTaken { step, .. } => (step.to_string(), "took its signal".to_owned()),
        What::CompensationCompleted { place, .. } => (at(place), "undone".to_owned()),
        What::CompensationFailed { place, fault, .. } => {
            (at(place), format!("could not be undone: {}", fault.message))
        }
        What::RunPaused { reason } => run(with_reason("paused", reason.as_deref())),
        What::RunResumed => run("resumed".to_owned()),
        What::RunStopped { cause, compensate: true } => run(format!("stops and undoes: {cause}")),
        What::RunStopped { cause, .. } => run(format!("stops: {cause}")),
        What::RunRetried { from, .. } => run(format!("tried again from {from}")),
        What::RunCompleted { .. } => run("completed".to_owned()),
        What::RunFailed { cause, compensated } => {
            run(format!("failed: {cause}{}", undone(*compensated)))
        }
        What::RunCancelled { reason, compensated } => {
            let text = with_reason("cancelled", reason.as_deref());
            run(format!("{text}{}", undone(*compensated)))
        }
        What::SideEffectRecorded { name, .. } => run(format!("found out {name}")),
        What::PatchMarked { patch } => run(format!("goes the new way of {patch}")),
        What::StatusSet { .. } => run("said how far it is".to_owned()),
        What::RunParked { why } => run(format!("is parked: {why}")),
        What::RunContinued { .. } => run("goes on as another run".to_owned()),
        What::LimitNeared { limit } => {
            let limit = match limit {
                actions_domain::flow::journal::Limit::Entries => "entries",
                actions_domain::flow::journal::Limit::Bytes => "bytes",
            };
            run(format!("its history comes near the limit of {limit}"))
        }
    }
}

fn at(place: &Place) -> String {
    match place.item {
        Some(item) => format!("{}[{item}]", place.step),
        None => place.step.to_string(),
    }
}

fn begun(text: &str, made: &Scheduled) -> String {
    if made.attempt > 1 { format!("{text}, attempt {}", made.attempt) } else { text.to_owned() }
}

fn until(text: &str, made: &Scheduled) -> String {
    made.due_at.map_or_else(|| text.to_owned(), |due_at| format!("{text} until {due_at}"))
}

fn with_reason(text: &str, reason: Option<&str>) -> String {
    reason.map_or_else(|| text.to_owned(), |reason| format!("{text}: {reason}"))
}

fn undone(compensated: Option<bool>) -> &'static str {
    match compensated {
        None => "",
        Some(true) => "; what was done is undone",
        Some(false) => "; not all could be undone",
    }
}

fn why_of(why: Skip) -> &'static str {
    match why {
        Skip::Condition => "its condition does not hold",
        Skip::NotChosen => "no way to it is open",
        Skip::Dependency => "something that it depends on failed",
        Skip::Needless => "nobody waits for it any more",
    }
}
