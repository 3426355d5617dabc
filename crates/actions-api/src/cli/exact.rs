//! JSON made readable without touching a token of it: numbers keep every digit.

use serde::Deserialize;
use serde_json::value::RawValue;

/// Lays out valid JSON text, two spaces a level.
pub(super) fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut rest = json.trim();
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '"' => {
                taken = string_length(rest);
                out.push_str(&rest[..taken]);
            }
            '{' | '[' => {
                out.push(c);
                let inner = rest[1..].trim_start();
                if inner.starts_with(['}', ']']) {
                    out.push_str(&inner[..1]);
                    taken = rest.len() - inner.len() + 1;
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_whitespace() => {}
            c => out.push(c),
        }
        rest = &rest[taken..];
    }
    out
}

/// The text of one member of an object, as it was sent.
pub(super) fn member(json: &str, name: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Members<'a>(#[serde(borrow)] std::collections::HashMap<String, &'a RawValue>);
    let members: Members<'_> = serde_json::from_str(json).ok()?;
    members.0.get(name).map(|raw| raw.get().to_owned())
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Bytes of the string that `rest` begins with, quotes included.
fn string_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::{member, pretty};

    #[test]
    fn nothing_but_white_space_changes() {
        let json =
            r#"{"a":12345678901234567890123, "b":[1.50,{}, [ ]],"c":"x, \"y\": {z}","d":1e400}"#;
        let expected = r#"{
  "a": 12345678901234567890123,
  "b": [
    1.50,
    {},
    []
  ],
  "c": "x, \"y\": {z}",
  "d": 1e400
}"#;
        assert_eq!(pretty(json), expected);
        assert_eq!(pretty("\"ü\""), "\"ü\"");
    }

    #[test]
    fn a_member_is_taken_as_it_is() {
        let json = r#"{"id":"x","data":{"n":1.50}}"#;
        assert_eq!(member(json, "data").as_deref(), Some(r#"{"n":1.50}"#));
        assert_eq!(member(json, "gone"), None);
    }
}
