//! The life of an execution as a person reads it: one line for each thing that happened.

use std::fmt::Write as _;

use actions_domain::Timestamp;
use actions_domain::event::Event;
use actions_domain::execution::{Attempt, AttemptOutcome, Cause, Execution, Fault, Status};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub at: Timestamp,
    /// What it is about: `orders.paid`, `attempt 2`, `execution`.
    pub subject: String,
    pub text: String,
}

/// Tells what happened to an execution, oldest first.
pub fn timeline(execution: &Execution, event: Option<&Event>, action: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    match event {
        Some(event) => entries.push(entry(
            execution.queued_at,
            event.event_type.as_str(),
            format!("matched {action}"),
        )),
        None => entries.push(entry(execution.queued_at, "job", format!("asked for {action}"))),
    }
    if let Some(parent) = execution.parent {
        entries.push(entry(execution.queued_at, "execution", format!("repeats {parent}")));
    }
    for (index, attempt) in execution.attempts.iter().enumerate() {
        let next = execution.attempts.get(index + 1);
        let subject = format!("attempt {}", attempt.number);
        if attempt.cause == Cause::LeaseLost {
            let epoch = attempt.lost_epoch.map(|epoch| format!(" of epoch {}", epoch.0));
            let epoch = epoch.unwrap_or_default();
            let text = format!("starts again: the node before lost its lease{epoch}");
            entries.push(entry(attempt.started_at, &subject, text));
        }
        let text = attempt_text(execution, attempt, next);
        entries.push(entry(attempt.ended_at, &subject, text));
    }
    let is_told = execution.attempts.last().is_some_and(|last| ends(last, execution.status));
    if let Some(ended_at) = execution.ended_at
        && !is_told
    {
        entries.push(entry(ended_at, "execution", execution.status.word().to_owned()));
    }
    if execution.status == Status::Running {
        let number = execution.attempts.len() + 1;
        let at = execution.attempts.last().map_or(execution.queued_at, |last| last.ended_at);
        entries.push(entry(at, &format!("attempt {number}"), "runs".to_owned()));
    } else if let Some(due_at) = execution.due_at {
        let text = "starts no earlier".to_owned();
        entries.push(entry(due_at, &format!("attempt {}", execution.attempts.len() + 1), text));
    }
    entries
}

/// A timeline as text, with times from the first entry on: `00:01.250  attempt 1  completed`.
pub fn text(entries: &[Entry]) -> String {
    let Some(first) = entries.first() else { return String::new() };
    let width = entries.iter().map(|entry| entry.subject.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for entry in entries {
        let offset = offset(entry.at - first.at);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{offset}  {:width$}  {}", entry.subject, entry.text);
    }
    text
}

fn entry(at: Timestamp, subject: &str, text: String) -> Entry {
    Entry { at, subject: subject.to_owned(), text }
}

fn attempt_text(execution: &Execution, attempt: &Attempt, next: Option<&Attempt>) -> String {
    let cause = attempt.error.as_ref().map(|fault| format!("{}: {}", fault.code, fault.message));
    let outcome = match attempt.outcome {
        AttemptOutcome::Completed => "completed",
        AttemptOutcome::Failed => "failed",
        AttemptOutcome::Timeout => "timed out",
        AttemptOutcome::Cancelled => "cancelled",
        AttemptOutcome::Lost => "lost with its node",
        AttemptOutcome::Unknown => "has an unknown outcome",
    };
    let follow = if let Some(next) = next {
        format!(", retried after {}", pause(next.started_at - attempt.ended_at))
    } else if let Some(due_at) = execution.due_at.filter(|_| !execution.status.is_final()) {
        format!(", retry in {}", pause(due_at - attempt.ended_at))
    } else if execution.status.is_final() && execution.status != Status::Completed {
        match execution.status.word() {
            word if word == outcome => ", gave up".to_owned(),
            word => format!(", execution {word}"),
        }
    } else {
        String::new()
    };
    let (why, node) = (reason(attempt.cause), attempt.node);
    if attempt.error.as_ref().is_some_and(Fault::is_before_call) {
        let cause = cause.unwrap_or_default();
        return format!(
            "{why}{outcome} before the handler was called, on node {node} ({cause}){follow}"
        );
    }
    match cause {
        Some(cause) => format!("{why}{outcome} on node {node} ({cause}){follow}"),
        None => format!("{why}{outcome} on node {node}{follow}"),
    }
}

/// Why there was one more attempt.
fn reason(cause: Cause) -> &'static str {
    match cause {
        Cause::First => "",
        Cause::Retry => "retry: ",
        Cause::Timeout => "retry after a timeout: ",
        Cause::LeaseLost => "again after a lost lease: ",
        Cause::Replay => "asked for again: ",
    }
}

/// Whether the last attempt's line tells the end of the execution.
fn ends(last: &Attempt, status: Status) -> bool {
    match last.outcome {
        AttemptOutcome::Completed => status == Status::Completed,
        AttemptOutcome::Failed => status == Status::Failed,
        AttemptOutcome::Timeout => status == Status::Timeout,
        AttemptOutcome::Cancelled => status == Status::Cancelled,
        AttemptOutcome::Lost | AttemptOutcome::Unknown => false,
    }
}

fn pause(delta: chrono::TimeDelta) -> String {
    let millis = delta.num_milliseconds().max(0);
    if millis < 1_000 {
        return format!("{millis} ms");
    }
    let (seconds, rest) = (millis / 1_000, millis % 1_000);
    if rest == 0 { format!("{seconds} s") } else { format!("{seconds}.{} s", rest / 100) }
}

fn offset(delta: chrono::TimeDelta) -> String {
    let millis = delta.num_milliseconds().max(0);
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let (seconds, rest) = (millis / 1_000 % 60, millis % 1_000);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}.{rest:03}")
    } else {
        format!("{minutes:02}:{seconds:02}.{rest:03}")
    }
}
