//! How far something has come, told on stderr: as a bar on a terminal, in plain lines elsewhere.

use std::borrow::Cow;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::ports::clock::Clock;
use indicatif::{ProgressBar, ProgressStyle};

use super::Context;
use super::output::Output;

/// How often a plain line says how far it is. Logs should not fill.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// How often a bar shows that the program is alive.
const TICK: Duration = Duration::from_millis(200);

/// Progress of one piece of work. Gone from the terminal when it is dropped.
pub(super) struct Progress {
    bar: ProgressBar,
    /// Where lines are printed instead of a bar.
    lines: Option<Lines>,
}

struct Lines {
    output: Output,
    clock: Arc<dyn Clock>,
    said_at: Timestamp,
    done: u64,
    total: u64,
    what: &'static str,
}

impl Progress {
    /// So many of something, one after the other.
    pub(super) fn count(cx: &Context, total: u64, what: &'static str) -> Self {
        if cx.output.quiet || total < 2 {
            return Self { bar: ProgressBar::hidden(), lines: None };
        }
        if io::stderr().is_terminal() {
            return Self { bar: ProgressBar::new(total), lines: None };
        }
        let clock = crate::wiring::clock();
        let said_at = clock.now();
        let lines = Lines { output: cx.output.clone(), clock, said_at, done: 0, total, what };
        Self { bar: ProgressBar::hidden(), lines: Some(lines) }
    }

    /// More of them are done.
    pub(super) fn add(&mut self, count: u64) {
        self.bar.inc(count);
        let Some(lines) = &mut self.lines else { return };
        lines.done += count;
        let now = lines.clock.now();
        if (now - lines.said_at).to_std().unwrap_or_default() >= LINE_EVERY {
            lines.said_at = now;
            lines.output.note(&format!("{} of {} {}", lines.done, lines.total, lines.what));
        }
    }

    /// One thing after the other, of which nobody knows how long it takes.
    pub(super) fn step(cx: &Context, text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        if cx.output.quiet || !io::stderr().is_terminal() {
            cx.output.note(&text);
            return Self { bar: ProgressBar::hidden(), lines: None };
        }
        let bar = ProgressBar::new_spinner().with_message(text);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self { bar, lines: None }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
