//! Prints lines in the order of their times, on a thread of its own: a terminal that is not read
//! must not stop the engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use actions_domain::Timestamp;
use actions_domain::ports::clock::Clock;

use super::super::output::Output;

/// Lines that may wait. What comes beyond is not told.
const LINES_MAX: usize = 1_000;
/// How long a line waits for earlier ones: whoever looks at the history from time to time learns
/// of some things late.
const HELD_FOR: Duration = Duration::from_millis(600);
/// How often lines are looked at that have waited.
const LOOK: Duration = Duration::from_millis(50);
/// How long the end of the process waits for a terminal.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// A way to the terminal. Cheap to clone.
#[derive(Clone)]
pub(super) struct Teller {
    lines: SyncSender<Said>,
}

enum Said {
    Line(Timestamp, String),
    /// Prints all that waits, and answers.
    Flush(SyncSender<()>),
}

impl Teller {
    pub(super) fn start(output: Output, clock: Arc<dyn Clock>) -> Self {
        let (lines, said) = sync_channel(LINES_MAX);
        // A terminal that went away ends the telling, nothing else.
        std::thread::spawn(move || {
            tell(&said, clock.as_ref(), |line| output.print(line).is_ok());
        });
        Self { lines }
    }

    /// Tells that something happened to something.
    pub(super) fn say(&self, at: Timestamp, who: &str, what: &str, name: &str, text: &str) {
        let time = at.format("%H:%M:%S%.3f");
        let line = format!("{time}  {who:8}  {what:11}  {name:22}  {text}");
        // A line that finds no room is lost on purpose.
        let _ = self.lines.try_send(Said::Line(at, line.trim_end().to_owned()));
    }

    /// Waits until everything that was said is printed, but not for long.
    pub(super) fn flush(&self) {
        let (answer, answered) = sync_channel(1);
        if self.lines.try_send(Said::Flush(answer)).is_ok() {
            let _ = answered.recv_timeout(FLUSH_MAX);
        }
    }
}

/// Prints what is said until nobody can say anything any more, or `print` fails.
fn tell(said: &Receiver<Said>, clock: &dyn Clock, mut print: impl FnMut(&str) -> bool) {
    let mut held = BTreeMap::new();
    let mut count = 0_u64;
    loop {
        let mut is_over = false;
        let mut until = clock.now() - HELD_FOR;
        let mut answer = None;
        match said.recv_timeout(LOOK) {
            Ok(Said::Line(at, line)) => {
                // Lines of one time keep their order.
                count += 1;
                held.insert((at, count), line);
            }
            Ok(Said::Flush(asked)) => (until, answer) = (Timestamp::MAX_UTC, Some(asked)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => (until, is_over) = (Timestamp::MAX_UTC, true),
        }
        while let Some(first) = held.first_entry().filter(|first| first.key().0 <= until) {
            if !print(&first.remove()) {
                return;
            }
        }
        if let Some(answer) = answer {
            // Whoever asked may have given up.
            let _ = answer.send(());
        }
        if is_over {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use actions_domain::ports::clock::Clock;

    use super::{Said, tell};

    #[test]
    fn what_is_learned_late_is_told_in_its_place() {
        let clock = crate::wiring::clock();
        let now = clock.now();
        let (lines, said) = sync_channel(10);
        for (millis, line) in [(20, "second"), (30, "third"), (10, "first")] {
            let at = now + chrono::TimeDelta::milliseconds(millis);
            lines.send(Said::Line(at, line.to_owned())).unwrap();
        }
        drop(lines);
        let mut told = Vec::new();
        tell(&said, clock.as_ref() as &dyn Clock, |line| {
            told.push(line.to_owned());
            true
        });
        assert_eq!(told, ["first", "second", "third"]);
    }
}
