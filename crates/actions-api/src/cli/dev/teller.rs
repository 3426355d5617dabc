//! Prints lines on a thread of its own: a terminal that is not read must not stop the engine.

use std::sync::mpsc::{SyncSender, sync_channel};

use actions_domain::Timestamp;

use super::super::output::Output;

/// Lines that may wait. What comes beyond is not told.
const LINES_MAX: usize = 1_000;

/// A way to the terminal. Cheap to clone.
#[derive(Clone)]
pub(super) struct Teller {
    lines: SyncSender<String>,
}

impl Teller {
    pub(super) fn start(output: Output) -> Self {
        let (lines, waiting) = sync_channel::<String>(LINES_MAX);
        std::thread::spawn(move || {
            // A terminal that went away ends the telling, nothing else.
            for line in waiting {
                if output.print(&line).is_err() {
                    return;
                }
            }
        });
        Self { lines }
    }

    /// Tells that something happened to something.
    pub(super) fn say(&self, at: Timestamp, who: &str, what: &str, name: &str, text: &str) {
        let time = at.format("%H:%M:%S%.3f");
        let line = format!("{time}  {who:8}  {what:11}  {name:22}  {text}");
        // A line that finds no room is lost on purpose.
        let _ = self.lines.try_send(line.trim_end().to_owned());
    }
}
