//! Fingerprints: dead executions with the same one have the same cause.

use super::Fault;
use crate::id::ActionId;

/// Hashes what is common to failures with one cause: the action, the fault's code, and its
/// message without the parts that differ from case to case (numbers, ids, quoted texts).
///
/// BLAKE3 cut to 64 bits, as 16 hexadecimal digits. Stored, so it must never change.
pub fn fingerprint(action: ActionId, fault: &Fault) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&action.0.to_le_bytes());
    hasher.update(fault.code.as_bytes());
    hasher.update(&[0]);
    hasher.update(normalised(&fault.message).as_bytes());
    hasher.finalize().to_hex()[..16].to_owned()
}

/// Replaces every word that holds a digit by `#` and every quoted text by `"…"`.
fn normalised(message: &str) -> String {
    let mut parts = message.split('"');
    let mut text = String::with_capacity(message.len());
    while let Some(open) = parts.next() {
        for word in open.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
            if word.bytes().any(|byte| byte.is_ascii_digit()) {
                text.push('#');
                text.extend(word.chars().last().filter(|c| !c.is_ascii_alphanumeric()));
            } else {
                text.push_str(word);
            }
        }
        if parts.next().is_some() {
            text.push_str("\"…\"");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::fingerprint;
    use crate::execution::Fault;
    use crate::id::ActionId;

    fn of(message: &str) -> String {
        fingerprint(ActionId(7), &Fault::handler("http.status", message))
    }

    #[test]
    fn what_differs_from_case_to_case_is_left_out() {
        assert_eq!(
            of("answered 503 to \"order 12\" after 31 ms"),
            of("answered 503 to \"order 99, late\" after 7 ms")
        );
        assert_ne!(of("answered with an error"), of("did not answer"));
    }

    #[test]
    fn a_fingerprint_never_changes() {
        assert_eq!(of("connection refused"), of("connection refused"));
        assert_eq!(of("connection refused").len(), 16);
    }
}
