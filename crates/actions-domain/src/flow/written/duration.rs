//! Times as people write them: `2 hours`, `90s`, `1h 30m`, `PT2H30M`.

use std::time::Duration;

/// Longer ones are slips: a thousand years.
const SECONDS_MAX: u64 = 1_000 * 366 * 24 * 60 * 60;

/// Answers `None` for what is no time, is negative, or is out of any reason.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let text = text.trim().to_ascii_lowercase();
    let (date, time) = match text.strip_prefix('p') {
        // Of ISO 8601, what has a settled length: weeks, days, hours, minutes, seconds.
        Some(iso) => iso.split_once('t').unwrap_or((iso, "")),
        None => ("", text.as_str()),
    };
    if text.starts_with('p') && (!date.chars().all(is_of_date) || time.contains(['d', 'w'])) {
        return None;
    }
    let total = sum(date)?.checked_add(sum(time)?)?;
    let is_something = !(date.is_empty() && time.is_empty());
    (is_something && total <= Duration::from_secs(SECONDS_MAX)).then_some(total)
}

fn is_of_date(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, 'd' | 'w')
}

/// Numbers with their units, one after the other.
fn sum(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        let after = rest[digits..].trim_start();
        let letters = after.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(after.len());
        let millis = count.checked_mul(unit_millis(&after[..letters])?)?;
        total = total.checked_add(Duration::from_millis(millis))?;
        rest = after[letters..].trim_start();
    }
    Some(total)
}

fn unit_millis(unit: &str) -> Option<u64> {
    Some(match unit {
        "ms" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        "w" | "week" | "weeks" => 604_800_000,
        _ => return None,
    })
}
