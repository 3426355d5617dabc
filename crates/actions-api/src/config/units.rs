//! Durations and sizes as people write them. A bare number is refused: nobody knows its unit.

use std::time::Duration;

use actions_app::durations::{DURATION_FORM, parse_duration};

/// Reads `500ms`, `30s`, `5m`, `2h` or `7d`.
pub(crate) fn duration(raw: &str) -> Result<Duration, String> {
    parse_duration(raw).map_err(|_| DURATION_FORM.to_owned())
}

/// Reads `64KB`, `4MB` or `1GB`; powers of 1,024.
pub(crate) fn size(raw: &str) -> Result<usize, String> {
    let expected = || "expected a number with its unit, like 64KB or 4MB".to_owned();
    let (number, unit) = split(raw).ok_or_else(expected)?;
    let bytes: u64 = match unit {
        "B" => 1,
        "KB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => return Err(expected()),
    };
    let bytes = number.checked_mul(bytes).and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| "too large".to_owned())
}

/// The same, as it is stored.
pub(crate) fn byte_count(raw: &str) -> Result<u64, String> {
    size(raw).map(|bytes| bytes as u64)
}

fn split(raw: &str) -> Option<(u64, &str)> {
    let at = raw.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = raw.split_at(at);
    Some((number.parse().ok()?, unit))
}
