//! Compares a result with an earlier one.

use std::path::Path;

use serde_json::Value;

use super::super::Context;
use super::super::error::CliError;
use super::super::exit::Exit;

/// Two runs on one machine differ by up to a third for no reason of ours.
const RATE_SHARE_MIN: f64 = 0.7;
const P99_TIMES_MAX: f64 = 1.5;
/// Below this a difference is the clock's.
const P99_MS_FLOOR: f64 = 0.05;

/// Reads one result, which must be of the same measurement on the same kind of store.
pub(super) fn read(path: &Path, bench: &str, store: &str) -> Result<Value, CliError> {
    let wrong = |reason: String| CliError::usage(format!("{}: {reason}", path.display()));
    let text = super::super::data::read_file(path)?;
    let before: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    for (name, wanted) in [("bench", bench), ("store", store)] {
        if before.get(name).and_then(Value::as_str) != Some(wanted) {
            return Err(wrong(format!("it measures another {name} than {wanted}")));
        }
    }
    Ok(before)
}

/// Says what is clearly worse than before.
pub(super) fn compare(cx: &Context, before: &Value, now: &Value) -> Exit {
    let worse = regressions(before, now);
    for line in &worse {
        cx.output.note(line);
    }
    if worse.is_empty() { Exit::Done } else { Exit::Failed }
}

fn regressions(before: &Value, now: &Value) -> Vec<String> {
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_f64);
    let mut worse = Vec::new();
    if let (Some(old), Some(new)) = (number(before, "rate_per_s"), number(now, "rate_per_s"))
        && new < old * RATE_SHARE_MIN
    {
        worse.push(format!("regression: {new:.0} a second, the baseline has {old:.0}"));
    }
    if let (Some(old), Some(new)) = (number(before, "p99_ms"), number(now, "p99_ms"))
        && new > old * P99_TIMES_MAX + P99_MS_FLOOR
    {
        worse.push(format!("regression: p99 is {new} ms, the baseline has {old} ms"));
    }
    worse
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::regressions;

    #[test]
    fn only_what_is_clearly_worse_is_told() {
        let before = json!({ "rate_per_s": 10_000.0, "p99_ms": 2.0 });
        let near = json!({ "rate_per_s": 8_000.0, "p99_ms": 2.9 });
        assert!(regressions(&before, &near).is_empty());
        let slow = json!({ "rate_per_s": 6_000.0, "p99_ms": 4.0 });
        assert_eq!(regressions(&before, &slow).len(), 2);
    }
}
