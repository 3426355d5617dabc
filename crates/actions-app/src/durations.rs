//! Durations as people write them: `500ms`, `30s`, `5m`, `2h`, `7d`. A bare number is refused,
//! because everybody reads another unit into it.

use std::time::Duration;

/// What is expected of a duration.
pub const DURATION_FORM: &str = "expected a duration like 500ms, 30s, 5m, 2h or 7d";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{DURATION_FORM}, got {raw:?}")]
pub struct DurationError {
    raw: String,
}

/// Parses a whole number with its unit.
pub fn parse_duration(raw: &str) -> Result<Duration, DurationError> {
    let error = || DurationError { raw: raw.chars().take(40).collect() };
    let text = raw.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| error())?;
    let millis_per_unit: u64 = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60 * 1_000,
        "h" => 60 * 60 * 1_000,
        "d" => 24 * 60 * 60 * 1_000,
        _ => return Err(error()),
    };
    number.checked_mul(millis_per_unit).map(Duration::from_millis).ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::parse_duration;

    #[test]
    fn a_duration_has_a_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(7 * 24 * 60 * 60)));
        for bad in ["", "5", "s", "-1s", "1.5s", "1 s", "99999999999999999999s", "5ü"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
