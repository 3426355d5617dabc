//! Mistakes in the words of whoever made them: parsers speak of the types of this program.

/// Says what a parser complains about without naming types of ours.
pub(crate) fn plain(message: &str) -> String {
    let complaints = ["invalid digit found in string", "cannot parse integer from empty string"];
    if complaints.contains(&message) {
        return "expected a whole number".to_owned();
    }
    if message.starts_with("number too ") {
        return "the number is outside of what is allowed".to_owned();
    }
    if message.starts_with("UUID parsing failed") {
        return "expected an id like 0199c2f0-5e5b-7c5e-9d7d-0e2b9c3d4f5a".to_owned();
    }
    if let Some(kind) = message.strip_prefix("invalid ").and_then(kind_of) {
        return format!("expected {kind}");
    }
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return message.to_owned();
    };
    let found = found.replace("unit value", "nothing");
    match kind_of(expected) {
        Some(kind) => format!("{found}, expected {kind}"),
        None => format!("{found}, expected {expected}"),
    }
}

/// What people call a type of ours.
fn kind_of(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix("a nonzero ").unwrap_or(name);
    Some(match name {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a string" | "a borrowed string" => "a text",
        "a boolean" | "boolean" | "bool" => "true or false",
        _ if name == "a map" || name == "a mapping" || name.starts_with("struct ") => {
            "an object with named fields"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn types_of_the_program_are_not_named() {
        for (said, told) in [
            ("invalid u32", "expected a whole number that is not negative"),
            (
                "invalid type: string \"x\", expected u32",
                "invalid type: string \"x\", expected a whole number that is not negative",
            ),
            (
                "invalid type: unit value, expected a sequence",
                "invalid type: nothing, expected a list",
            ),
            (
                "invalid type: integer `1`, expected struct ActionSpec",
                "invalid type: integer `1`, expected an object with named fields",
            ),
            ("invalid digit found in string", "expected a whole number"),
            ("missing field `name`", "missing field `name`"),
            ("invalid pattern", "invalid pattern"),
        ] {
            assert_eq!(plain(said), told);
        }
    }
}
