//! Takes secrets out of what an attempt leaves behind: the other side may repeat what it was sent,
//! and an error may quote it.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::SecretText;
use crate::execution::{Fault, Outcome};
use crate::limits::SECRET_MASKED_BYTES_MIN;

/// What stands where a secret was.
const MASK: &str = "***";
/// Shorter beginnings of a secret at the end of a text are a coincidence.
const CUT_BYTES_MIN: usize = 8;
/// Shorter pieces of base64 are found in any text.
const BASE64_LENGTH_MIN: usize = 8;
const BASE64_DIGITS: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The secrets of one attempt in the forms in which they are sent. Clones know the same ones.
#[derive(Clone, Default)]
pub struct Masking {
    /// The longest first, so that none leaves a part of another one.
    words: Option<Arc<[Zeroizing<String>]>>,
}

impl Masking {
    pub fn of<'a>(secrets: impl IntoIterator<Item = &'a SecretText>) -> Self {
        let mut words = Vec::new();
        for secret in secrets {
            let text = secret.expose();
            if text.len() < SECRET_MASKED_BYTES_MIN {
                continue;
            }
            words.push(Zeroizing::new(text.to_owned()));
            words.push(Zeroizing::new(text.trim().to_owned()));
            words.push(in_json(text));
            words.push(in_url(text));
            words.extend(in_base64(text.as_bytes()));
        }
        words.retain(|word| word.len() >= SECRET_MASKED_BYTES_MIN);
        words.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        words.dedup();
        Self { words: (!words.is_empty()).then(|| words.into()) }
    }

    /// The text without secrets.
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for word in self.words.iter().flat_map(|words| words.iter()) {
            if text.contains(word.as_str()) {
                text = text.replace(word.as_str(), MASK);
            }
        }
        self.hide_cut(&mut text);
        text
    }

    /// Hides a secret that a text ends in the middle of: long answers are cut before they get here.
    fn hide_cut(&self, text: &mut String) {
        let end = text.trim_end_matches(['\u{fffd}', '…']).len();
        let kept = &text.as_bytes()[..end];
        let begun = self.words.iter().flat_map(|words| words.iter()).find_map(|word| {
            let mut lengths = (CUT_BYTES_MIN..word.len().min(end + 1)).rev();
            lengths.find(|length| kept.ends_with(&word.as_bytes()[..*length]))
        });
        if let Some(length) = begun {
            text.truncate(end - length);
            text.push_str(MASK);
        }
    }

    /// The value without secrets, in the names of its members, too.
    pub fn value(&self, value: Value) -> Value {
        if self.words.is_none() {
            return value;
        }
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(members) => {
                let masked = members.into_iter();
                let masked = masked.map(|(name, member)| (self.text(&name), self.value(member)));
                Value::Object(masked.collect::<Map<_, _>>())
            }
            // A secret of digits may come back as a number.
            Value::Number(number) => {
                let text = number.to_string();
                let masked = self.text(&text);
                if masked == text { Value::Number(number) } else { Value::String(masked) }
            }
            Value::Null | Value::Bool(_) => value,
        }
    }

    /// The end of an attempt without secrets.
    pub fn outcome(&self, outcome: Outcome) -> Outcome {
        if self.words.is_none() {
            return outcome;
        }
        match outcome {
            Outcome::Done(mut output) => {
                output.data = self.value(output.data);
                Outcome::Done(output)
            }
            Outcome::Retry(fault) => Outcome::Retry(self.fault(fault)),
            Outcome::Reject(fault) => Outcome::Reject(self.fault(fault)),
        }
    }

    fn fault(&self, fault: Fault) -> Fault {
        Fault {
            message: self.text(&fault.message),
            details: fault.details.map(|details| self.value(details)),
            ..fault
        }
    }
}

impl fmt::Debug for Masking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Masking(…)")
    }
}

/// As it stands inside of a JSON text.
fn in_json(text: &str) -> Zeroizing<String> {
    let quoted = Zeroizing::new(Value::String(text.to_owned()).to_string());
    Zeroizing::new(quoted[1..quoted.len() - 1].to_owned())
}

/// As it stands in a URL or a form.
fn in_url(text: &str) -> Zeroizing<String> {
    let mut written = Zeroizing::new(String::with_capacity(text.len() * 3));
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                written.push(char::from(byte));
            }
            _ => written.push_str(&format!("%{byte:02X}")),
        }
    }
    written
}

/// What base64 shows of it, wherever in the encoded bytes it begins: a password stands behind a
/// name and a colon.
fn in_base64(bytes: &[u8]) -> impl Iterator<Item = Zeroizing<String>> {
    let shifted = (0..3).map(|shift| {
        let bits = |at: usize| -> usize {
            // Six bits from here on, of the bytes behind `shift` unknown ones.
            (0..6).fold(0, |sum, bit| {
                let place = at * 6 + bit - shift * 8;
                sum << 1 | usize::from(bytes[place / 8] >> (7 - place % 8) & 1)
            })
        };
        // The first and the last letter are made of other bytes, too.
        let (first, end) = ((shift * 8).div_ceil(6), (shift + bytes.len()) * 8 / 6);
        let letters = (first..end).map(|at| char::from(BASE64_DIGITS[bits(at)]));
        Zeroizing::new(letters.collect::<String>())
    });
    let long: Vec<_> = shifted.filter(|word| word.len() >= BASE64_LENGTH_MIN).collect();
    let for_urls: Vec<_> = (long.iter())
        .map(|word| Zeroizing::new(word.replace('+', "-").replace('/', "_")))
        .collect();
    long.into_iter().chain(for_urls)
}
