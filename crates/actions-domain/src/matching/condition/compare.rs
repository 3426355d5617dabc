//! Equality and order of JSON values, by what they mean.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// Tells whether two values mean the same: `1` equals `1.0`, and never `"1"`.
pub fn values_are_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            compare_numbers(left, right) == Some(Ordering::Equal)
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| values_are_equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, value)| {
                    right.get(name).is_some_and(|other| values_are_equal(value, other))
                })
        }
        (left, right) => left == right,
    }
}

/// Orders two numbers exactly, whole numbers and doubles alike.
pub fn compare_numbers(left: &Number, right: &Number) -> Option<Ordering> {
    match (whole(left), whole(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        (Some(left), None) => compare_whole(left, right.as_f64()?),
        (None, Some(right)) => compare_whole(right, left.as_f64()?).map(Ordering::reverse),
        (None, None) => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

/// Orders two values of one kind: numbers, or texts by their code points.
pub(super) fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => compare_numbers(left, right),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

fn whole(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

/// Turning the whole number into a double would lose digits beyond 2^53.
fn compare_whole(whole: i128, double: f64) -> Option<Ordering> {
    // Every 64-bit number lies between these; the cast below is exact inside of them.
    const BOUND: f64 = 36_893_488_147_419_103_232.0;
    if double.is_nan() {
        return None;
    }
    if double >= BOUND {
        return Some(Ordering::Less);
    }
    if double <= -BOUND {
        return Some(Ordering::Greater);
    }
    let floor = double.floor();
    let by_whole = whole.cmp(&(floor as i128));
    Some(if by_whole.is_eq() && floor < double { Ordering::Less } else { by_whole })
}
